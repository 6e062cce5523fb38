package main

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"thaw/internal/faultserver"
	"thaw/internal/testbed"
	"thaw/nar"
)

// bootProgram is thaw with a cache of what boots, but for BusyBox made by tests.
func bootProgram(t *testing.T) *program {
	const signer = faultserver.Signer("boot-1")
	files := faultserver.Load(t, repository(t, "testdata/example"))
	add := func(name string, tree map[string]string, refs ...string) {
		i := files.Add(signer, name, "none", narOfTree(t, tree))
		for _, r := range refs {
			i.References = append(i.References, faultserver.Path(r))
		}
		i.Sigs = nil
		signer.Sign(i)
		files.Put(i)
	}
	const modules = "lib/modules/6.1/"
	add("linux", map[string]string{
		"bzImage": efiProgram(0x8664), "Image": efiProgram(0xaa64),
		modules + "modules.dep":   "virtio_blk.ko:\next4.ko: virtio_blk.ko\nsquashfs.ko:\noverlay.ko:\n",
		modules + "virtio_blk.ko": "b", modules + "ext4.ko": "e", modules + "squashfs.ko": "s", modules + "overlay.ko": "o",
	})
	add("initrd", map[string]string{"initrd": "an initrd"})
	add("system", map[string]string{
		"init": "#!/bin/sh\n", "kernel-params": "console=ttyS0  quiet\n",
		"kernel": "-> " + faultserver.Path("linux").String() + "/bzImage", "initrd": "-> " + faultserver.Path("initrd").String() + "/initrd",
	}, "initrd", "linux")
	add("bare", map[string]string{"init": "#!/bin/sh\n"})
	add("long", map[string]string{"kernel-params": strings.Repeat("x", maxParams+1)})
	add("wordy", map[string]string{"kernel-params": strings.Repeat("word ", 500)})
	p := newProgram(t, "--cache", "cache", "--trusted-key", signer.Key().String(), "--trusted-key", testbedKey, "-q")
	for name, content := range files {
		file := filepath.Join(p.dir, "cache", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		write(t, file, string(content))
	}
	for name, content := range map[string]string{
		"stub": efiProgram(0x8664), "arm.stub": efiProgram(0xaa64), "text": "no program\n", "empty": "", "ldlinux.c32": "c32", "mbr.bin": "\xfa",
	} {
		write(t, filepath.Join(p.dir, name), content)
	}
	return p
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

// narOfTree is the archive of a directory. What begins with "-> " is a link.
func narOfTree(t *testing.T, tree map[string]string) []byte {
	t.Helper()
	nodes := map[string]bool{".": true} // and whether they are directories
	for file := range tree {
		nodes[file] = false
		for dir := filepath.Dir(file); dir != "."; dir = filepath.Dir(dir) {
			nodes[dir] = true
		}
	}
	var paths [][]string
	for name := range nodes {
		if name != "." {
			paths = append(paths, strings.Split(name, "/"))
		}
	}
	slices.SortFunc(paths, slices.Compare[[]string])
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	header := func(h nar.Header, content string) {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	header(nar.Header{Path: ".", Kind: nar.Directory}, "")
	for _, parts := range paths {
		name := strings.Join(parts, "/")
		content := tree[name]
		switch target, link := strings.CutPrefix(content, "-> "); {
		case nodes[name]:
			header(nar.Header{Path: name, Kind: nar.Directory}, "")
		case link:
			header(nar.Header{Path: name, Kind: nar.Symlink, Target: target}, "")
		default:
			header(nar.Header{Path: name, Kind: nar.Executable, Size: int64(len(content))}, content)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// efiProgram is a program for UEFI that does nothing, as a stub or a kernel.
func efiProgram(machine uint16) string {
	le := binary.LittleEndian
	b := make([]byte, 2048)
	copy(b, "MZ")
	le.PutUint32(b[60:], 128)
	copy(b[128:], "PE\x00\x00")
	coff, opt, section := b[132:], b[152:], b[152+240:]
	le.PutUint16(coff, machine)
	le.PutUint16(coff[2:], 1)     // section
	le.PutUint16(coff[16:], 240)  // bytes of the optional header
	le.PutUint16(opt, 0x20b)      // PE32+
	le.PutUint32(opt[32:], 4096)  // alignment in memory
	le.PutUint32(opt[36:], 512)   // and in the file
	le.PutUint32(opt[56:], 1<<20) // bytes in memory
	le.PutUint32(opt[60:], 1024)  // bytes of headers
	le.PutUint16(opt[68:], 10)    // an EFI application
	le.PutUint32(opt[108:], 16)   // directories
	copy(section, ".text")
	for at, v := range map[int]uint32{8: 700, 12: 0x4000, 16: 1024, 20: 1024, 36: 0x60000020} {
		le.PutUint32(section[at:], v)
	}
	return string(b)
}

// bootSpec is a spec of a disk with a boot partition and an ext4 root. Names in angle
// brackets stand for store paths.
func bootSpec(boot, table string) string {
	text := fmt.Sprintf(`version: 1
name: vm
arch: x86_64-linux
packages: [ <system> ]
boot: { %s }
outputs: { disk: { type: disk, table: %s, partitions: [ { fs: vfat, content: boot }, { fs: ext4 } ] } }
`, boot, table)
	return withPaths(text)
}

func withPaths(text string) string {
	text = strings.ReplaceAll(text, "<busybox>", "/nix/store/4816nf1754f3jnz5brkh5n9y252l4san-busybox-static-1.35.0")
	return regexp.MustCompile(`<([a-z]+)>`).ReplaceAllStringFunc(text, func(name string) string {
		return faultserver.Path(strings.Trim(name, "<>")).String()
	})
}

const bootInitrd = "generate: { busybox: <busybox>/bin/busybox, modules: <linux> }"

// What is wrong with what boots is one line that says where, and leaves nothing.
func TestBootErrors(t *testing.T) {
	p := bootProgram(t)
	for _, c := range []struct{ name, boot, change, to, want string }{
		{name: "no kernel", boot: "loader: uki, stub: { source: stub }", change: "<system>", to: "<bare>",
			want: `boot\.kernel: no requested path has a kernel \(looked for kernel, bzImage, Image, vmlinux\)`},
		{name: "kernel of another machine", boot: "loader: extlinux, kernel: <linux>/Image", want: `boot\.kernel: <linux>/Image is for aarch64, and arch is x86_64-linux`},
		{name: "stub of another machine", boot: "loader: uki, stub: { source: arm.stub }", want: `boot\.stub: the kernel is for x86-64, the stub for aarch64`},
		{name: "kernel of another machine than the stub, without arch", boot: "loader: uki, kernel: <linux>/Image, stub: { source: stub }", change: "arch: x86_64-linux\n", want: `boot\.stub: the kernel is for aarch64, the stub for x86-64`},
		{name: "kernel without EFI stub", boot: "loader: efi, kernel: <busybox>/bin/busybox", want: `boot\.kernel: <busybox>/bin/busybox: the kernel is an ELF file, which no firmware starts`},
		{name: "kernel that is a directory", boot: "loader: extlinux, kernel: <linux>/lib", want: `boot\.kernel: <linux>/lib is not a file`},
		{name: "kernel that is not there", boot: "loader: extlinux, kernel: <linux>/vmlinuz", want: `boot\.kernel: <linux>/vmlinuz is not there`},
		{name: "initrd that is not there", boot: "loader: extlinux, initrd: <initrd>/nope", want: `boot\.initrd: <initrd>/nope is not there`},
		{name: "stub that is not there", boot: "loader: uki, stub: { source: nope }", want: `boot\.stub: nope: no such file or directory`},
		{name: "stub that is a directory", boot: "loader: uki, stub: { source: cache }", want: `boot\.stub: it is a directory, and a file is needed`},
		{name: "stub that is empty", boot: "loader: uki, stub: { source: empty }", want: `boot\.stub: the stub is no EFI program`},
		{name: "stub that is none", boot: "loader: uki, stub: { source: text }", want: `boot\.stub: the stub is no EFI program`},
		{name: "systemd-boot that is none", boot: "loader: systemd-boot, program: { source: text }", want: `boot\.program: it is no EFI program`},
		{name: "systemd-boot of another machine", boot: "loader: systemd-boot, program: { source: arm.stub }", want: `boot\.program: it is for aarch64, and the kernel for x86-64`},
		{name: "syslinux that is none", boot: "loader: syslinux, program: { source: text }, ldlinux: { source: ldlinux.c32 }, mbr: { source: mbr.bin }", want: `boot\.program: the installer has no boot sector`},
		{name: "syslinux that is not there", boot: "loader: syslinux, program: { source: nope }, ldlinux: { source: ldlinux.c32 }, mbr: { source: mbr.bin }", want: `boot\.program: nope: no such file or directory`},
		{name: "firmware that is a file", boot: "loader: raspberry-pi, firmware: { source: text }", want: `boot\.firmware: it is a file, and a directory is needed`},
		{name: "arguments that are too long", boot: "loader: uki, stub: { source: stub }, kernel: <linux>/bzImage", change: "<system>", to: "<wordy>", want: `boot\.stub: the command line has 2559 bytes, and Linux takes 2047`},
		{name: "kernel-params that are too long", boot: "loader: uki, stub: { source: stub }, kernel: <linux>/bzImage", change: "<system>", to: "<long>", want: `boot\.cmdline: <long>/kernel-params: it is longer than 65536 bytes`},
		{name: "BusyBox that is none", boot: "loader: uki, stub: { source: stub }, generate: { busybox: <system>/init, modules: <linux> }", want: `boot\.generate: busybox <system>/init: is not an ELF program`},
		{name: "modules that are not there", boot: "loader: uki, stub: { source: stub }, generate: { busybox: <busybox>/bin/busybox, modules: <bare> }", want: `boot\.generate: <bare>: has no lib/modules/modules.dep`},
		{name: "no driver of disks", boot: "loader: uki, stub: { source: stub }, generate: { busybox: <busybox>/bin/busybox, modules: <linux>, buses: [nvme] }", want: `boot\.generate: <linux>: the kernel has no module for disks at nvme`},
		{name: "no driver of the root", boot: "loader: uki, stub: { source: stub }, " + bootInitrd, change: "fs: ext4", to: "fs: erofs", want: `boot\.generate: <linux>: the kernel has no module "erofs"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			os.Remove(filepath.Join(p.dir, "disk.img"))
			spec := bootSpec(c.boot, "gpt")
			if c.change != "" {
				spec = strings.Replace(spec, withPaths(c.change), withPaths(c.to), 1)
			}
			write(t, filepath.Join(p.dir, "spec.yaml"), spec)
			o := p.try(t, "build", "spec.yaml", "-o", "disk.img", "--json")
			if o.code == 0 || o.stdout != "" || !regexp.MustCompile(`^thaw: (spec\.yaml:\S* )?`+strings.ReplaceAll(withPaths(c.want), "/.", `/\.`)).MatchString(o.stderr) || strings.Count(o.stderr, "\nthaw:") > 0 {
				t.Errorf("exit %d, %s%s", o.code, o.stdout, o.stderr)
			}
			if _, err := os.Stat(filepath.Join(p.dir, "disk.img")); err == nil {
				t.Error("there is an image")
			}
		})
	}
}

// A unified kernel image has the kernel, the arguments of the system and of the spec,
// and the initrd, which comes out beside the disk, too.
func TestBootUnified(t *testing.T) {
	p := bootProgram(t)
	write(t, filepath.Join(p.dir, "spec.yaml"), bootSpec("loader: uki, stub: { source: stub }, cmdline: panic=-1, "+bootInitrd, "gpt"))
	o := p.run(t, "build", "spec.yaml", "-o", "disk.img", "--json", "--kernel-out", "kernel", "--initrd-out", "initrd", "--check")
	var result struct {
		Boot booting
	}
	if err := json.Unmarshal([]byte(o.stdout), &result); err != nil {
		t.Fatal(err)
	}
	want := booting{Kernel: withPaths("<linux>/bzImage"), Initrd: "generated", Cmdline: withPaths("init=<system>/init console=ttyS0 quiet panic=-1")}
	if result.Boot != want {
		t.Errorf("boot is %+v instead of %+v", result.Boot, want)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(p.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	program, err := pe.NewFile(bytes.NewReader(testbed.Run(t, "mtype", "-i", filepath.Join(p.dir, "disk.img")+"@@1M", "::/EFI/BOOT/BOOTX64.EFI")))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{".cmdline": want.Cmdline, ".linux": read("kernel"), ".initrd": read("initrd")} {
		if data, err := program.Section(name).Data(); err != nil || strings.TrimRight(string(data), "\x00") != strings.TrimRight(want, "\x00") {
			t.Errorf("%s is another: %v\n%.200q", name, err, data)
		}
	}
	if read("kernel") != efiProgram(0x8664) {
		t.Error("the kernel is another")
	}

	// The same with other jobs and an empty cache.
	again := p.run(t, "build", "spec.yaml", "-o", "again.img", "--initrd-out", "again", "--jobs", "1", "--no-cache")
	if image := "sha256:" + strings.Fields(string(testbed.Run(t, "sha256sum", filepath.Join(p.dir, "disk.img"))))[0]; again.digest(t) != image {
		t.Errorf("once more it is %s instead of %s", again.digest(t), image)
	}
	if read("again") != read("initrd") {
		t.Error("once more the initrd is another")
	}
}

// A generated initrd looks for the root where the partition table has it.
func TestBootRoot(t *testing.T) {
	p := bootProgram(t)
	for _, table := range []string{"gpt", "mbr", "hybrid"} {
		t.Run(table, func(t *testing.T) {
			write(t, filepath.Join(p.dir, "spec.yaml"), bootSpec("loader: extlinux, "+bootInitrd, table))
			p.run(t, "build", "spec.yaml", "-o", "disk.img", "--initrd-out", "initrd.zst")
			testbed.Run(t, "zstd", "-qdf", filepath.Join(p.dir, "initrd.zst"), "-o", filepath.Join(p.dir, "initrd"))
			conf := string(testbed.Run(t, "cpio", "-i", "--quiet", "--to-stdout", "-F", filepath.Join(p.dir, "initrd"), "etc/initrd.conf"))
			var disk struct {
				Partitiontable struct {
					ID         string
					Partitions []struct{ UUID string }
				}
			}
			if err := json.Unmarshal(testbed.Run(t, "sfdisk", "--json", filepath.Join(p.dir, "disk.img")), &disk); err != nil {
				t.Fatal(err)
			}
			root := disk.Partitiontable.ID[2:] + "-02" // as Linux makes it for an MBR
			if table != "mbr" {
				root = disk.Partitiontable.Partitions[1].UUID
			}
			if want := "PARTUUID=" + strings.ToLower(root); !regexp.MustCompile(`(?m)^root='?` + want + `'?$`).MatchString(conf) {
				t.Errorf("the root is not %s:\n%s", want, conf)
			}
		})
	}
}

// An overlay needs its driver, and a device for it that of ext4. This was not so, and
// such a machine stopped with "mounting overlay on /root failed".
func TestBootOverlay(t *testing.T) {
	p := bootProgram(t)
	for overlay, want := range map[string]string{"tmpfs": "overlay squashfs virtio_blk", "LABEL=data": "ext4 overlay squashfs virtio_blk"} {
		spec := strings.Replace(bootSpec("loader: extlinux, "+strings.Replace(bootInitrd, "modules:", "overlay: "+overlay+", modules:", 1), "gpt"), "fs: ext4", "fs: squashfs", 1)
		write(t, filepath.Join(p.dir, "spec.yaml"), spec)
		p.run(t, "build", "spec.yaml", "-o", "disk.img", "--initrd-out", "initrd.zst")
		testbed.Run(t, "zstd", "-qdf", filepath.Join(p.dir, "initrd.zst"), "-o", filepath.Join(p.dir, "initrd"))
		var got []string
		for line := range strings.Lines(string(testbed.Run(t, "cpio", "-i", "--quiet", "--to-stdout", "-F", filepath.Join(p.dir, "initrd"), "etc/initrd.modules"))) {
			got = append(got, strings.Fields(line)[0])
		}
		if slices.Sort(got); strings.Join(got, " ") != want {
			t.Errorf("with an overlay on %s it loads %q instead of %q", overlay, got, want)
		}
	}
}
