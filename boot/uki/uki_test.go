package uki_test

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"thaw/boot/uki"
	"thaw/internal/testbed"
)

var le = binary.LittleEndian

// sec is a section of a program that a test makes.
type sec struct {
	name          string
	address, size uint32
	raw, rawSize  uint32 // 0: behind the one before, as long as size
}

// program is a small PE file.
type program struct {
	machine               uki.Machine
	wide                  bool // PE32+
	subsystem             uint16
	align, fileAlign      uint32
	headers, at, dirs     uint32
	sections              []sec
	security, debug, tail uint32
	imageSize             uint32
}

func stubOf(m uki.Machine) program {
	return program{machine: m, wide: m != uki.IA32 && m != uki.ARM, subsystem: 10, align: 4096, fileAlign: 512, headers: 1024, at: 128, dirs: 16,
		sections: []sec{{name: ".text", address: 0x4000, size: 700}, {name: ".sbat", address: 0x5000, size: 20}}}
}

func (p program) bytes() []byte {
	optSize := 96 + 8*p.dirs
	if p.wide {
		optSize += 16
	}
	b := make([]byte, p.headers)
	copy(b, "MZ")
	le.PutUint32(b[60:], p.at)
	h := b[p.at:]
	copy(h, "PE\x00\x00")
	le.PutUint16(h[4:], uint16(p.machine))
	le.PutUint16(h[6:], uint16(len(p.sections)))
	le.PutUint32(h[8:], 12345)
	le.PutUint16(h[20:], uint16(optSize))
	le.PutUint16(h[22:], 2)
	opt := h[24:]
	le.PutUint16(opt, 0x10b)
	dirs := opt[96:]
	if p.wide {
		le.PutUint16(opt, 0x20b)
		dirs = opt[112:]
	}
	le.PutUint32(opt[32:], p.align)
	le.PutUint32(opt[36:], p.fileAlign)
	le.PutUint32(opt[56:], p.imageSize)
	le.PutUint32(opt[60:], p.headers)
	le.PutUint16(opt[68:], p.subsystem)
	if p.dirs > 0 {
		le.PutUint32(b[int(p.at)+24+int(optSize)-8*int(p.dirs)-4:], p.dirs)
		le.PutUint32(dirs[8*4:], p.security)
		le.PutUint32(dirs[8*6+4:], p.debug)
	}
	next, end := p.headers, p.headers
	for i, s := range p.sections {
		e := b[p.at+24+optSize+uint32(i)*40:]
		copy(e, s.name)
		if s.raw == 0 {
			s.raw, s.rawSize = next, (s.size+p.fileAlign-1)/p.fileAlign*p.fileAlign
		}
		for at, v := range map[int]uint32{8: s.size, 12: s.address, 16: s.rawSize, 20: s.raw, 36: 0x40000040} {
			le.PutUint32(e[at:], v)
		}
		next = s.raw + s.rawSize
		end = max(end, min(next, 1<<20))
	}
	for i := len(b); i < int(end+p.tail); i++ {
		b = append(b, byte(i>>3))
	}
	return b
}

func reader(s string) *io.SectionReader {
	return io.NewSectionReader(strings.NewReader(s), 0, int64(len(s)))
}

func kernelOf(m uki.Machine) *io.SectionReader {
	p := stubOf(m)
	p.imageSize = 1 << 20
	return reader(string(p.bytes()))
}

func build(t *testing.T, p uki.Parts) []byte {
	t.Helper()
	i, err := uki.New(p)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if n, err := i.WriteTo(&b); err != nil || n != i.Size() || n != int64(b.Len()) {
		t.Fatalf("wrote %d of %d bytes: %v", n, i.Size(), err)
	}
	r, err := i.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if again, err := io.ReadAll(r); err != nil || !bytes.Equal(again, b.Bytes()) {
		t.Fatalf("Open reads other bytes than WriteTo writes: %v", err)
	}
	return b.Bytes()
}

// sum is the checksum of a PE file, word by word as in the documentation of
// CheckSumMappedFile.
func sum(file []byte) uint32 {
	at := int(le.Uint32(file[60:])) + 24 + 64
	s := uint32(0)
	for i := 0; i < len(file); i += 2 {
		w := uint32(file[i])
		if i+1 < len(file) {
			w |= uint32(file[i+1]) << 8
		}
		if i == at || i == at+2 {
			w = 0
		}
		s += w
		s = s>>16 + s&0xffff
	}
	return s + uint32(len(file))
}

// parts are all that an image can have.
func parts(m uki.Machine) (uki.Parts, map[string]string) {
	p := uki.Parts{
		Stub: stubOf(m).bytes(), Linux: kernelOf(m), Initrds: []*io.SectionReader{reader("micro"), reader(strings.Repeat("initrd", 3000))},
		Cmdline: "root=LABEL=nixos quiet", OSRelease: []byte("ID=nixos\nNAME=NixOS\n"), Uname: "6.1.0", Splash: []byte("BM"), DTB: []byte("\xd0\x0d\xfe\xed"),
	}
	linux, _ := io.ReadAll(io.NewSectionReader(p.Linux, 0, p.Linux.Size()))
	return p, map[string]string{
		".linux": string(linux), ".initrd": "micro\x00\x00\x00" + strings.Repeat("initrd", 3000),
		".cmdline": p.Cmdline, ".osrel": string(p.OSRelease), ".uname": "6.1.0", ".splash": "BM", ".dtb": string(p.DTB),
	}
}

// open opens a PE file, as of a machine that Go knows.
func open(t *testing.T, file []byte) *pe.File {
	t.Helper()
	known := bytes.Clone(file)
	switch at := le.Uint32(file[60:]) + 4; uki.Machine(le.Uint16(file[at:])) {
	case uki.ARM:
		le.PutUint16(known[at:], uint16(uki.IA32))
	case uki.LoongArch64:
		le.PutUint16(known[at:], uint16(uki.X64))
	}
	f, err := pe.NewFile(bytes.NewReader(known))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// check reads an image with Go's reader of PE files.
func check(t *testing.T, image []byte, stub []byte, want map[string]string) {
	t.Helper()
	f, old := open(t, image), open(t, stub)
	if f.TimeDateStamp != 0 || f.PointerToSymbolTable != 0 || f.NumberOfSymbols != 0 {
		t.Errorf("time %d, symbols %d at %d", f.TimeDateStamp, f.NumberOfSymbols, f.PointerToSymbolTable)
	}
	var align, sizeOfImage, checkSum, headers uint32
	switch o := f.OptionalHeader.(type) {
	case *pe.OptionalHeader64:
		align, sizeOfImage, checkSum, headers = o.SectionAlignment, o.SizeOfImage, o.CheckSum, o.SizeOfHeaders
	case *pe.OptionalHeader32:
		align, sizeOfImage, checkSum, headers = o.SectionAlignment, o.SizeOfImage, o.CheckSum, o.SizeOfHeaders
	}
	if checkSum != sum(image) {
		t.Errorf("checksum %#x, want %#x", checkSum, sum(image))
	}
	address, raw := headers, headers
	for i, s := range f.Sections {
		// A stub's own may lie in any order in the file.
		if s.VirtualAddress < address || i >= len(old.Sections) && s.Offset < raw {
			t.Errorf("%s at %#x, in the file at %#x: overlaps what comes before", s.Name, s.VirtualAddress, s.Offset)
		}
		address, raw = s.VirtualAddress+s.VirtualSize, max(raw, s.Offset+s.Size)
		content, err := s.Data()
		if err != nil {
			t.Fatal(err)
		}
		if i < len(old.Sections) {
			if was, _ := old.Sections[i].Data(); s.Name != old.Sections[i].Name || !bytes.Equal(content, was) || s.VirtualAddress != old.Sections[i].VirtualAddress {
				t.Errorf("%s of the stub has changed", old.Sections[i].Name)
			}
			continue
		}
		if s.VirtualAddress%max(align, 4096) != 0 || s.Offset%512 != 0 || s.Size%512 != 0 {
			t.Errorf("%s: address %#x, offset %#x, size %#x are not aligned", s.Name, s.VirtualAddress, s.Offset, s.Size)
		}
		if s.Name != ".linux" && int(s.VirtualSize) != len(want[s.Name]) {
			t.Errorf("%s has %d bytes in memory, want %d", s.Name, s.VirtualSize, len(want[s.Name]))
		}
		if got := strings.TrimRight(string(content), "\x00"); got != strings.TrimRight(want[s.Name], "\x00") || want[s.Name] == "" {
			t.Errorf("%s has other content: %.40q", s.Name, got)
		}
		delete(want, s.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	if int(raw) != len(image) || sizeOfImage != (address+align-1)/align*align {
		t.Errorf("the file ends at %d, its sections at %d; SizeOfImage is %#x", len(image), raw, sizeOfImage)
	}
}

func TestMachines(t *testing.T) {
	for _, m := range []uki.Machine{uki.X64, uki.AA64, uki.IA32, uki.ARM, uki.RISCV64, uki.LoongArch64} {
		t.Run(m.String(), func(t *testing.T) {
			p, want := parts(m)
			image := build(t, p)
			check(t, image, p.Stub, want)
			if i, _ := uki.New(p); i.Machine() != m {
				t.Errorf("Machine() = %v", i.Machine())
			}
			if got, err := uki.ReadProgram(bytes.NewReader(image)); got != m || err != nil {
				t.Errorf("ReadProgram: %v, %v", got, err)
			}
		})
	}
}

func TestReadProgram(t *testing.T) {
	if _, err := uki.ReadProgram(strings.NewReader("text")); err == nil || err.Error() != "is no EFI program" {
		t.Errorf("a text: %v", err)
	}
}

// TestHeaders has stubs with more or less room, and what linkers leave behind.
func TestHeaders(t *testing.T) {
	for name, change := range map[string]func(*program){
		"no room":        func(p *program) { p.headers = 512 },
		"odd room":       func(p *program) { p.headers = 500 },
		"symbols":        func(p *program) { p.tail = 777 },
		"no directories": func(p *program) { p.dirs = 0 },
		"fine alignment": func(p *program) { p.align = 512 },
		"bss":            func(p *program) { p.sections[0] = sec{name: ".bss", address: 0x4000, size: 99, raw: 1024} },
		"out of order": func(p *program) {
			p.sections[0].raw, p.sections[0].rawSize = 2048, 1024
			p.sections[1].raw, p.sections[1].rawSize = 1024, 512
		},
		"not page by page": func(p *program) { p.align = 512; p.sections[1].address = 0x4300 },
	} {
		t.Run(name, func(t *testing.T) {
			stub := stubOf(uki.X64)
			change(&stub)
			p, want := parts(uki.X64)
			p.Stub = stub.bytes()
			check(t, build(t, p), p.Stub, want)
		})
	}
}

func TestFewParts(t *testing.T) {
	p, want := parts(uki.AA64)
	p = uki.Parts{Stub: p.Stub, Linux: p.Linux}
	check(t, build(t, p), p.Stub, map[string]string{".linux": want[".linux"]})
}

// Kernel and initrd are where the image says, at multiples of what is asked for.
func TestPlaces(t *testing.T) {
	const initrd, align = "an initrd", 2048
	p := uki.Parts{Stub: stubOf(uki.X64).bytes(), Linux: kernelOf(uki.X64), Cmdline: "quiet", Align: align}
	for _, p.Initrds = range [][]*io.SectionReader{nil, {reader(initrd)}} {
		i, err := uki.New(p)
		if err != nil {
			t.Fatal(err)
		}
		b := build(t, p)
		kernel, err := io.ReadAll(io.NewSectionReader(p.Linux, 0, p.Linux.Size()))
		if err != nil {
			t.Fatal(err)
		}
		if at := i.Linux(); at%align != 0 || !bytes.HasPrefix(b[at:], kernel) {
			t.Errorf("the kernel is not at %d", at)
		}
		at, ok := i.Initrd()
		if ok != (p.Initrds != nil) || ok && (at%align != 0 || !bytes.HasPrefix(b[at:], []byte(initrd+"\x00"))) {
			t.Errorf("the initrd is not at %d", at)
		}
		f, err := pe.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		for n, s := range f.Sections[3:] { // those of the stub come before
			if before := f.Sections[n+2]; s.Offset != before.Offset+before.Size {
				t.Errorf("there is a gap in front of %s", s.Name)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	stub := func(change func(*program)) func(*uki.Parts) {
		return func(p *uki.Parts) {
			s := stubOf(uki.X64)
			change(&s)
			p.Stub = s.bytes()
		}
	}
	kernel := func(text string) func(*uki.Parts) { return func(p *uki.Parts) { p.Linux = reader(text) } }
	at := func(n int, magic string) string {
		return strings.Repeat("\x00", n) + magic + strings.Repeat("\x00", 2000)
	}
	for _, c := range []struct {
		want   string
		change func(*uki.Parts)
	}{
		{"the kernel is for x86-64, the stub for aarch64", func(p *uki.Parts) { p.Stub = stubOf(uki.AA64).bytes() }},
		{"the stub is no EFI program", func(p *uki.Parts) { p.Stub = nil }},
		{"there is no kernel", func(p *uki.Parts) { p.Linux = nil }},
		{"the stub is signed", stub(func(s *program) { s.security = 4096 })},
		{"the stub has a section .linux already", stub(func(s *program) { s.sections[1].name = ".linux" })},
		{"no EFI application, but of subsystem 3", stub(func(s *program) { s.subsystem = 3 })},
		{"is for machine 0x1234, which is unknown", stub(func(s *program) { s.machine = 0x1234 })},
		{`section ".sbat" below what comes before`, stub(func(s *program) { s.sections[1].address = 0x4001 })},
		{`section ".text" below what comes before`, stub(func(s *program) { s.sections[0].address = 0 })},
		{`section ".sbat" beyond 4 GiB`, stub(func(s *program) { s.sections[1].size, s.sections[1].raw = 1<<32-1, 1024; s.tail = 512 })},
		{`section ".sbat" outside of the file`, stub(func(s *program) { s.sections[1].raw, s.sections[1].rawSize = 1024, 1<<31 })},
		{"headers that overlap", stub(func(s *program) { s.sections[0].address = 600 })},
		{"no room for the headers of 7 more", stub(func(s *program) { s.headers, s.sections[0].address, s.align = 512, 512, 512 })},
		{"debug data", stub(func(s *program) { s.headers, s.debug = 512, 28 })},
		{"alignments of 0 and 4096", stub(func(s *program) { s.fileAlign, s.sections = 0, nil })},
		{"alignments of 512 and 3", stub(func(s *program) { s.align = 3 })},
		{"an alignment of 3 is not", func(p *uki.Parts) { p.Align = 3 }},
		{"table of sections that is beyond", stub(func(s *program) { s.sections = nil })},
		{"its header is too far away", func(p *uki.Parts) { le.PutUint32(p.Stub[60:], 1<<30) }},
		{"it has no PE header", func(p *uki.Parts) { p.Stub[128] = 'X' }},
		{"cut off", func(p *uki.Parts) { p.Stub = p.Stub[:200] }},
		{"the kernel is empty", kernel("")},
		{"the kernel is a bzImage without an EFI stub (CONFIG_EFI_STUB)", kernel(at(0x202, "HdrS"))},
		{"an Image for aarch64 without an EFI stub", kernel(at(0x38, "ARM\x64"))},
		{"a zImage for arm without an EFI stub", kernel(at(0x24, "\x18\x28\x6f\x01"))},
		{"an Image for riscv without an EFI stub", kernel(at(0x38, "RSC\x05"))},
		{"an ELF file", kernel(at(0, "\x7fELF"))},
		{"a uImage", kernel(at(0, "\x27\x05\x19\x56"))},
		{"a FIT image", kernel(at(0, "\xd0\x0d\xfe\xed"))},
		{"is compressed", kernel(at(0, "\x1f\x8b"))},
		{"the kernel is no EFI program", kernel("hello")},
		{"the kernel is no EFI program", kernel("MZ")},
		{"takes 4294967295 bytes of memory", func(p *uki.Parts) {
			k := stubOf(uki.X64)
			k.imageSize = 1<<32 - 1
			p.Linux = reader(string(k.bytes()))
		}},
		{`the command line has '\n' in it`, func(p *uki.Parts) { p.Cmdline = "quiet\n" }},
		{"the command line has 2048 bytes, and Linux takes 2047", func(p *uki.Parts) { p.Cmdline = strings.Repeat("a", 2048) }},
		{"the picture is no BMP", func(p *uki.Parts) { p.Splash = []byte("PNG") }},
		{"the device tree is not a compiled one", func(p *uki.Parts) { p.DTB = []byte("/dts-v1/;") }},
		{"is not UTF-8", func(p *uki.Parts) { p.Cmdline = "\xff" }},
		{"the kernel's version has", func(p *uki.Parts) { p.Uname = "6\x00" }},
		{"at most 4 GiB, and .initrd", func(p *uki.Parts) {
			p.Initrds = []*io.SectionReader{io.NewSectionReader(strings.NewReader(""), 0, 1<<32)}
		}},
		{"the initrd: unexpected EOF after 3 of 9 bytes", func(p *uki.Parts) {
			p.Initrds = []*io.SectionReader{io.NewSectionReader(strings.NewReader("abc"), 0, 9)}
		}},
		{"the kernel cannot be read: broken", func(p *uki.Parts) { p.Linux = io.NewSectionReader(broken{}, 0, 9) }},
	} {
		t.Run(c.want, func(t *testing.T) {
			p, _ := parts(uki.X64)
			c.change(&p)
			if _, err := uki.New(p); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errors.New("broken") }

// debianStub returns systemd's stub.
func debianStub(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("systemd-boot-efi is missing, and CI must have it")
		}
		t.Skipf("SKIPPED: systemd's stub is not installed: %v", err)
	}
	return b
}

// TestObjdump has binutils read what was made with a real stub.
func TestObjdump(t *testing.T) {
	p, want := parts(uki.X64)
	p.Stub = debianStub(t)
	// The linker's checksum is a judge of ours.
	if at := int(le.Uint32(p.Stub[60:])) + 24 + 64; le.Uint32(p.Stub[at:]) != sum(p.Stub) {
		t.Errorf("the stub has the checksum %#x, and the test finds %#x", le.Uint32(p.Stub[at:]), sum(p.Stub))
	}
	image := build(t, p)
	dir := t.TempDir()
	file := filepath.Join(dir, "linux.efi")
	if err := os.WriteFile(file, image, 0o666); err != nil {
		t.Fatal(err)
	}
	listing := string(testbed.Run(t, "objdump", "-h", file))
	if !strings.Contains(listing, "file format pei-x86-64") || !strings.Contains(listing, " .sbat ") {
		t.Errorf("objdump says:\n%s", listing)
	}
	for name, content := range want {
		line := regexp.MustCompile(`(?m)^ +\d+ ` + regexp.QuoteMeta(name) + ` +([0-9a-f]{8}) .*\n +(.*)$`).FindStringSubmatch(listing)
		flags := "CONTENTS, ALLOC, LOAD, READONLY, DATA"
		if name == ".linux" {
			flags = "CONTENTS, ALLOC, LOAD, READONLY, CODE"
		}
		if line == nil || line[2] != flags {
			t.Errorf("objdump shows %s as %q in\n%s", name, line, listing)
			continue
		}
		out := filepath.Join(dir, "section")
		cmd := exec.Command(testbed.Tool(t, "objcopy"), "-O", "binary", "--only-section="+name, file, out)
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("objcopy: %v: %s", err, said)
		}
		got, err := os.ReadFile(out)
		if err != nil || strings.TrimRight(string(got), "\x00") != strings.TrimRight(content, "\x00") {
			t.Errorf("objcopy reads %s as %.40q: %v", name, got, err)
		}
	}
	check(t, image, p.Stub, want)
}

// TestVersion reads a version as file(1) does in a bzImage.
func TestVersion(t *testing.T) {
	bz := func(pointer int, version string) *io.SectionReader {
		b := append(stubOf(uki.X64).bytes(), make([]byte, 4096)...)
		copy(b[0x202:], "HdrS")
		le.PutUint16(b[0x20e:], uint16(pointer))
		if version != "" {
			copy(b[pointer+0x200:], version)
		}
		return reader(string(b))
	}
	for _, c := range []struct {
		kernel *io.SectionReader
		want   string
	}{
		{bz(0x800, "6.1.0-cloud (a@b) #1\x00"), "6.1.0-cloud"},
		{bz(0x800, "6.1.0\x00"), "6.1.0"},
		{bz(0, ""), ""},
		{kernelOf(uki.AA64), ""},
		{bz(0x800, strings.Repeat("6", 600)), "the kernel is a bzImage whose header points to no version"},
		{bz(0x800, "\x01\x00"), "the kernel is a bzImage whose header points to no version"},
		{bz(0xffff, ""), "the kernel is a bzImage whose header points to no version"},
	} {
		got := ""
		if k, err := uki.ReadKernel(c.kernel); err != nil {
			got = err.Error()
		} else {
			got = k.Version
		}
		if got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func FuzzNew(f *testing.F) {
	f.Add(stubOf(uki.X64).bytes(), stubOf(uki.X64).bytes(), "quiet")
	f.Fuzz(func(t *testing.T, stub, kernel []byte, cmdline string) {
		i, err := uki.New(uki.Parts{Stub: stub, Linux: reader(string(kernel)), Cmdline: cmdline})
		if err != nil {
			return
		}
		if n, err := i.WriteTo(io.Discard); err != nil || n != i.Size() {
			t.Errorf("wrote %d of %d bytes: %v", n, i.Size(), err)
		}
	})
}
