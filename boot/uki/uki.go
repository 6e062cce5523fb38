// Package uki writes unified kernel images: one EFI program of a stub, a kernel, its
// initrd and its command line.
//
// An [Image] is made of [Parts]. The stub, such as systemd's linuxx64.efi.stub, stays
// as it is, with its SBAT; behind it come sections whose names are those of the UAPI
// Group's specification "Unified Kernel Image". Kernel and initrd are read where they
// are: once for the checksum, and once for each time that the image is. The bytes
// depend on the parts alone: the time in the header is zero, and what a linker leaves
// behind the last section, such as symbols, is gone.
//
// The format is that of Microsoft's "PE Format", with the rules of UEFI's loaders:
// sections rise and do not overlap. Stub and kernel are untrusted, and everything that
// is used of them is checked first; nothing of them is run. The package signs nothing,
// and refuses a stub that is signed: its signature would not hold.
package uki

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// MaxStub is how many bytes a stub has at most.
	MaxStub = 16 << 20
	// maxImage is what offsets in a PE file reach, when they are rounded up.
	maxImage = 1<<32 - maxAlign
	maxAlign = 1 << 16
	// pageSize is what the places of new sections are multiples of at least: a
	// firmware protects whole pages.
	pageSize = 4096
	// initrdAlign is where Linux looks for the next archive of an initrd.
	initrdAlign = 4

	initrdSection = ".initrd"
)

// Parts are what an image is made of.
type Parts struct {
	Stub  []byte            // required: a program for the kernel's machine
	Linux *io.SectionReader // required: a kernel that is an EFI program itself
	// Initrds are archives that follow each other, such as microcode and an
	// initrd.
	Initrds []*io.SectionReader
	// Cmdline is the kernel's command line. If empty, it is the firmware's or
	// the boot loader's.
	Cmdline string
	// OSRelease is the system's os-release, without which systemd-boot does not
	// show the image.
	OSRelease []byte
	// Uname is the kernel's version. If empty, it is what the kernel says, and
	// missing where that is nothing.
	Uname  string
	Splash []byte // a picture: BMP
	DTB    []byte // a device tree, compiled
	// Align is a power of two, up to 4096, of which the places of kernel and initrd
	// are multiples if OSRelease or Cmdline is there, too: what reads sectors finds
	// them then. Zero means what the stub's sections have.
	Align int64
}

// Image is a unified kernel image. It may be read several times, also at once.
type Image struct {
	machine  Machine
	pieces   []piece
	size     int64
	sections []section
}

// A piece is some content of an image, and how many zeros follow.
type piece struct {
	what string
	r    *io.SectionReader
	pad  int64
}

// A section is what is added to a stub.
type section struct {
	name    string
	content []piece
	virtual int64 // bytes in memory, if more than content
	code    bool
	at      int64 // in the image
	end     int64 // of what it takes there
}

func (s *section) size() int64 {
	n := int64(0)
	for _, p := range s.content {
		n += p.r.Size() + p.pad
	}
	return n
}

// New makes an image. It reads all parts.
func New(p Parts) (*Image, error) {
	stub, err := parseStub(p.Stub)
	if err != nil {
		return nil, fmt.Errorf("the stub %w", err)
	}
	if p.Linux == nil {
		return nil, errors.New("there is no kernel")
	}
	kernel, err := ReadKernel(p.Linux)
	if err != nil {
		return nil, err
	}
	if kernel.Machine != stub.machine {
		return nil, fmt.Errorf("the kernel is for %v, the stub for %v", kernel.Machine, stub.machine)
	}
	if p.Uname == "" {
		p.Uname = kernel.Version
	}
	if err := CheckCmdline(p.Cmdline); err != nil {
		return nil, err
	}
	if err := checkLine("the kernel's version", p.Uname); err != nil {
		return nil, err
	}
	if len(p.Splash) > 0 && !bytes.HasPrefix(p.Splash, []byte("BM")) {
		return nil, errors.New("the picture is no BMP")
	}
	if len(p.DTB) > 0 && !bytes.HasPrefix(p.DTB, []byte("\xd0\x0d\xfe\xed")) {
		return nil, errors.New("the device tree is not a compiled one (.dtb)")
	}
	if p.Align < 0 || p.Align > pageSize || p.Align&(p.Align-1) != 0 {
		return nil, fmt.Errorf("an alignment of %d is not a power of two up to %d", p.Align, pageSize)
	}
	sections := p.sections(kernel.imageSize)
	header, err := stub.with(sections, max(stub.fileAlign, p.Align))
	if err != nil {
		return nil, err
	}
	i := &Image{machine: stub.machine, sections: sections}
	i.add(pieceOf("the header", header))
	i.add(piece{"the stub", io.NewSectionReader(bytes.NewReader(stub.file), stub.headers, stub.end-stub.headers), roundUp(stub.end, stub.fileAlign) - stub.end})
	for _, s := range sections {
		for _, c := range s.content {
			i.add(c)
		}
		rest := s.end - s.at - s.size()
		i.pieces[len(i.pieces)-1].pad += rest
		i.size += rest
	}
	var sum checksum
	if _, err := i.WriteTo(&sum); err != nil {
		return nil, err
	}
	le.PutUint32(header[stub.optional+optCheckSum:], sum.value())
	return i, nil
}

// sections returns the sections of parts. The kernel comes last: older stubs run it
// where it is, and it grows as it unpacks itself.
func (p *Parts) sections(kernelMemory int64) []section {
	var all []section
	small := func(name string, content []byte) {
		if len(content) > 0 {
			all = append(all, section{name: name, content: []piece{pieceOf(name, content)}})
		}
	}
	small(".osrel", p.OSRelease)
	small(".cmdline", []byte(p.Cmdline))
	small(".dtb", p.DTB)
	small(".uname", []byte(p.Uname))
	small(".splash", p.Splash)
	initrd := section{name: initrdSection}
	for _, r := range p.Initrds {
		initrd.content = append(initrd.content, piece{"the initrd", r, roundUp(r.Size(), initrdAlign) - r.Size()})
	}
	if initrd.size() > 0 {
		initrd.content[len(initrd.content)-1].pad = 0
		all = append(all, initrd)
	}
	linux := section{name: ".linux", content: []piece{{"the kernel", p.Linux, 0}}, virtual: kernelMemory, code: true}
	return append(all, linux)
}

func pieceOf(what string, content []byte) piece {
	return piece{what, io.NewSectionReader(bytes.NewReader(content), 0, int64(len(content))), 0}
}

func (i *Image) add(p piece) {
	i.pieces = append(i.pieces, p)
	i.size += p.r.Size() + p.pad
}

// Machine returns what the image is for.
func (i *Image) Machine() Machine { return i.machine }

// Size returns how many bytes the image has.
func (i *Image) Size() int64 { return i.size }

// Linux returns where in the image the kernel is, which lies in one piece.
func (i *Image) Linux() (off int64) { return i.sections[len(i.sections)-1].at }

// Initrd returns where in the image the initrds are, which lie in one piece, and
// whether there are any.
func (i *Image) Initrd() (off int64, ok bool) {
	n := slices.IndexFunc(i.sections, func(s section) bool { return s.name == initrdSection })
	if n < 0 {
		return 0, false
	}
	return i.sections[n].at, true
}

// WriteTo writes the image.
func (i *Image) WriteTo(w io.Writer) (int64, error) {
	n := int64(0)
	for _, p := range i.pieces {
		// A Reader of its own, as others may be reading.
		m, err := io.Copy(w, io.NewSectionReader(p.r, 0, p.r.Size()))
		n += m
		if err != nil {
			return n, fmt.Errorf("%s: %w", p.what, err)
		}
		if m < p.r.Size() {
			return n, fmt.Errorf("%s: %w after %d of %d bytes", p.what, io.ErrUnexpectedEOF, m, p.r.Size())
		}
		m, err = io.CopyN(w, zeros{}, p.pad)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Open returns a reader of the image, as [thaw/rootfs.Tree.PutFile] wants it.
func (i *Image) Open() (io.ReadCloser, error) {
	all := make([]io.Reader, 0, 2*len(i.pieces))
	for _, p := range i.pieces {
		all = append(all, io.NewSectionReader(p.r, 0, p.r.Size()), io.LimitReader(zeros{}, p.pad))
	}
	return io.NopCloser(io.MultiReader(all...)), nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// MaxCmdline is how many bytes of a command line Linux takes on x86-64 and aarch64. It
// cuts off the rest.
const MaxCmdline = 2047

// CheckCmdline reports what no boot loader can say in a kernel's command line, which is
// one line of UTF-8 of up to [MaxCmdline] bytes.
func CheckCmdline(s string) error {
	if len(s) > MaxCmdline {
		return fmt.Errorf("the command line has %d bytes, and Linux takes %d", len(s), MaxCmdline)
	}
	return checkLine("the command line", s)
}

func checkLine(what, s string) error {
	switch control := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }; {
	case !utf8.ValidString(s):
		return fmt.Errorf("%s %q is not UTF-8", what, s)
	case strings.ContainsFunc(s, control):
		r := []rune(s)[slices.IndexFunc([]rune(s), control)]
		return fmt.Errorf("%s has %q in it, and must be one line of text", what, r)
	}
	return nil
}

func roundUp(n, align int64) int64 { return (n + align - 1) / align * align }
