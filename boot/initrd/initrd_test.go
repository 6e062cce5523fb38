package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thaw/image/cpio"
	"thaw/internal/testbed"
	"thaw/rootfs"
)

// files is an object of a test: contents by path, and a target behind "-> ".
func files(at string, contents map[string]string) Object {
	var tree rootfs.Tree
	tree.Put(rootfs.Dir(".", 0o555), nil)
	for file, content := range contents {
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			tree.Put(rootfs.Link(file, target), nil)
		} else {
			tree.Put(rootfs.Entry{Path: file, Mode: 0o444}, []byte(content))
		}
		if path.Base(file) == "busybox" {
			tree.Put(rootfs.Entry{Path: file, Mode: 0o555}, []byte(content))
		}
		tree.Dirs(file, rootfs.Dir("", 0o555))
	}
	return Object{at, func(visit func(rootfs.Entry, io.Reader) error) error { return tree.Send(visitor(visit)) }}
}

type visitor func(rootfs.Entry, io.Reader) error

func (v visitor) Add(e rootfs.Entry, data io.Reader) error { return v(e, data) }

// lister is a sink that writes down what it gets.
type lister struct{ strings.Builder }

func (l *lister) Add(e rootfs.Entry, data io.Reader) error {
	fmt.Fprintf(l, "%v %d %s", e.Mode, e.ModTime.Unix(), e.Path)
	if e.Target != "" {
		fmt.Fprintf(l, " -> %s", e.Target)
	}
	if e.Mode.IsRegular() {
		b, err := io.ReadAll(data)
		if err != nil {
			return err
		}
		if e.Path == "init" {
			b = b[:9]
		}
		fmt.Fprintf(l, " %q", b)
	}
	l.WriteByte('\n')
	return nil
}

// packed returns content as a real tool compresses it.
func packed(t *testing.T, tool, content string) string {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return string(testbed.Run(t, tool, "-c", file))
}

const busyboxPath = "/nix/store/b-busybox"

// sample returns options whose initrd has something of everything.
func sample(t *testing.T) Options {
	return Options{
		Busybox: busyboxPath + "/bin/busybox",
		Objects: []Object{
			files("/nix/store/m-musl", map[string]string{"lib/libc.so": "libc"}),
			files(busyboxPath, map[string]string{"bin/busybox": "\x7fELF program", "bin/sh": "-> busybox"}),
		},
		Modules: files("/nix/store/k-modules", map[string]string{
			"lib/modules/6.1/modules.dep": "kernel/x.ko.xz: kernel/z-z.ko.zst\nkernel/z-z.ko.zst:\nkernel/g.ko.gz:\nkernel/p.ko:\nkernel/unused.ko:\n" +
				"kernel/virtio_blk.ko:\nkernel/squashfs.ko:\nkernel/nls_cp437.ko:\nkernel/vfat.ko:\nkernel/sd_mod.ko:\n",
			"lib/modules/6.1/modules.alias":        "alias fs-squashfs squashfs\n",
			"lib/modules/6.1/modules.softdep":      "softdep p pre: g\n",
			"lib/modules/6.1/modules.builtin":      "kernel/ext4.ko\nkernel/overlay.ko\n",
			"lib/modules/6.1/kernel/x.ko.xz":       packed(t, "xz", "module x"),
			"lib/modules/6.1/kernel/z-z.ko.zst":    packed(t, "zstd", "module z"),
			"lib/modules/6.1/kernel/g.ko.gz":       packed(t, "gzip", "module g"),
			"lib/modules/6.1/kernel/p.ko":          "module p",
			"lib/modules/6.1/kernel/unused.ko":     "module unused",
			"lib/modules/6.1/kernel/virtio_blk.ko": "module virtio_blk",
			"lib/modules/6.1/kernel/sd_mod.ko":     "module sd_mod",
			"lib/modules/6.1/kernel/squashfs.ko":   "module squashfs",
			"lib/modules/6.1/kernel/nls_cp437.ko":  "module nls_cp437",
			"lib/modules/6.1/kernel/vfat.ko":       "module vfat",
			"lib/modules/6.1/source":               "-> /nix/store/dev",
		}),
		Names:   []string{"x", "p"},
		Buses:   []string{"nvme", "virtio"},
		FSTypes: []string{"ext4", "squashfs", "vfat"},
		Firmware: []Object{
			files("/nix/store/f-firmware", map[string]string{
				"lib/firmware/a/real.bin.zst":   packed(t, "zstd", "firmware"),
				"lib/firmware/a/link.bin.zst":   "-> ../b/other.bin.zst",
				"lib/firmware/b/other.bin.zst":  "-> ../c/real.bin.zst",
				"lib/firmware/c":                "-> a",
				"lib/firmware/plain.bin":        "plain",
				"lib/firmware/dangling.bin":     "-> nowhere",
				"lib/firmware/out.bin":          "-> ../../etc/passwd",
				"lib/firmware/out2.bin":         "-> /etc/passwd",
				"lib/firmware/circle.bin":       "-> circle.bin",
				"lib/firmware/directory":        "-> a",
				"share/doc/firmware/plain2.bin": "",
			}),
			files("/nix/store/g-more", map[string]string{"lib/firmware/plain.bin": "second", "lib/firmware/more/x": "more"}),
		},
		FirmwareNames: []string{"a/*.bin", "plain.bin", "more/?"},
		Root:          "LABEL=it's", FSType: "squashfs", Flags: "x", Init: "/start", Overlay: "tmpfs", Rescue: true, ReadOnly: true,
		Timeout: 9 * time.Second,
		Time:    time.Unix(7, 0),
	}
}

const sampleTree = `drwxr-xr-x 7 .
drwxr-xr-x 7 bin
%s
drwxr-xr-x 7 dev
Dcrw------- 7 dev/console
drwxr-xr-x 7 etc
-rw-r--r-- 7 etc/initrd.conf "# What holds where the kernel's command line does not say it.\nroot='LABEL=it'\\''s'\nimage=''\ntype='squashfs'\nflags='x'\nmode='ro'\ninit='/start'\noverlay='tmpfs'\ntimeout='9'\ndelay=''\nrescue='yes'\nshell=''\n"
-rw-r--r-- 7 etc/initrd.modules "z_z /lib/modules/6.1/kernel/z-z.ko\nx /lib/modules/6.1/kernel/x.ko z_z\ng /lib/modules/6.1/kernel/g.ko\np /lib/modules/6.1/kernel/p.ko\nvirtio_blk /lib/modules/6.1/kernel/virtio_blk.ko\nsd_mod /lib/modules/6.1/kernel/sd_mod.ko\nsquashfs /lib/modules/6.1/kernel/squashfs.ko\nvfat /lib/modules/6.1/kernel/vfat.ko\nnls_cp437 /lib/modules/6.1/kernel/nls_cp437.ko\n"
-rwxr-xr-x 7 init "#!/bin/sh"
drwxr-xr-x 7 lib
drwxr-xr-x 7 lib/firmware
drwxr-xr-x 7 lib/firmware/a
Lrwxrwxrwx 7 lib/firmware/a/link.bin -> real.bin
drwxr-xr-x 7 lib/firmware/more
drwxr-xr-x 7 lib/modules
drwxr-xr-x 7 lib/modules/6.1
drwxr-xr-x 7 lib/modules/6.1/kernel
drwxr-xr-x 7 nix
drwxr-xr-x 7 nix/store
drwxr-xr-x 7 proc
drwxr-xr-x 7 root
drwxr-xr-x 7 sys
dr-xr-xr-x -62135596800 nix/store/m-musl
dr-xr-xr-x -62135596800 nix/store/m-musl/lib
-r--r--r-- -62135596800 nix/store/m-musl/lib/libc.so "libc"
dr-xr-xr-x -62135596800 nix/store/b-busybox
dr-xr-xr-x -62135596800 nix/store/b-busybox/bin
-r-xr-xr-x -62135596800 nix/store/b-busybox/bin/busybox "\x7fELF program"
Lrwxrwxrwx -62135596800 nix/store/b-busybox/bin/sh -> busybox
-r--r--r-- 7 lib/modules/6.1/kernel/g.ko "module g"
-r--r--r-- 7 lib/modules/6.1/kernel/nls_cp437.ko "module nls_cp437"
-r--r--r-- 7 lib/modules/6.1/kernel/p.ko "module p"
-r--r--r-- 7 lib/modules/6.1/kernel/sd_mod.ko "module sd_mod"
-r--r--r-- 7 lib/modules/6.1/kernel/squashfs.ko "module squashfs"
-r--r--r-- 7 lib/modules/6.1/kernel/vfat.ko "module vfat"
-r--r--r-- 7 lib/modules/6.1/kernel/virtio_blk.ko "module virtio_blk"
-r--r--r-- 7 lib/modules/6.1/kernel/x.ko "module x"
-r--r--r-- 7 lib/modules/6.1/kernel/z-z.ko "module z"
-r--r--r-- 7 lib/firmware/a/real.bin "firmware"
-r--r--r-- 7 lib/firmware/plain.bin "plain"
-r--r--r-- 7 lib/firmware/more/x "more"
`

func TestBuild(t *testing.T) {
	var links []string
	for _, name := range applets {
		links = append(links, "Lrwxrwxrwx 7 bin/"+name+" -> "+busyboxPath+"/bin/busybox")
	}
	want := fmt.Sprintf(sampleTree, strings.Join(links, "\n"))
	for range 2 { // the second time it is the same
		var l lister
		r, err := Build(rootfs.Check(&l), sample(t))
		if err != nil {
			t.Fatal(err)
		}
		if l.String() != want {
			t.Errorf("%s\nwant\n%s", l.String(), want)
		}
		if got := fmt.Sprint(*r); got != "{6.1 [kernel/z-z.ko kernel/x.ko kernel/g.ko kernel/p.ko kernel/virtio_blk.ko kernel/sd_mod.ko kernel/squashfs.ko kernel/vfat.ko kernel/nls_cp437.ko] [a/link.bin a/real.bin more/x plain.bin]}" {
			t.Error(got)
		}
	}
}

// TestApplets finds each program that the script calls among the links.
func TestApplets(t *testing.T) {
	if !slices.IsSorted(applets) {
		t.Error("the applets are not sorted")
	}
	script := string(program)
	for _, name := range applets {
		if name != "[" && !strings.Contains(script, name) {
			t.Errorf("%s is linked, and the script does not call it", name)
		}
	}
	list := strings.Fields(string(testbed.Run(t, "busybox", "--list")))
	for _, name := range list {
		called := strings.Contains(" "+strings.Join(strings.FieldsFunc(script, func(r rune) bool { return strings.ContainsRune(" \t\n;|&()\"'`$", r) }), " ")+" ", " "+name+" ")
		builtin := slices.Contains([]string{"break", "false", "true", "test"}, name)
		word := slices.Contains([]string{"find", "init", "head", "link", "more", "comm", "last", "which", "timeout"}, name) // in comments, and variables
		if called && !builtin && !word && !slices.Contains(applets, name) {
			t.Errorf("the script calls %s, which is not linked", name)
		}
	}
}

func TestErrors(t *testing.T) {
	broken := errors.New("the walk has ended")
	for _, c := range []struct {
		name   string
		change func(o *Options)
		want   string
	}{
		{"no busybox", func(o *Options) { o.Busybox = "" }, `busybox "" is not the absolute path of a program`},
		{"relative", func(o *Options) { o.Busybox = "bin/busybox" }, `busybox "bin/busybox" is not the absolute path of a program`},
		{"other busybox", func(o *Options) { o.Busybox = busyboxPath + "/bin/nope" }, "busybox /nix/store/b-busybox/bin/nope: none of the objects has such a program"},
		{"busybox is a directory", func(o *Options) { o.Busybox = busyboxPath + "/bin" }, "busybox /nix/store/b-busybox/bin: none of the objects has such a program"},
		{"busybox is a script", func(o *Options) {
			o.Objects[1] = files(busyboxPath, map[string]string{"bin/busybox": "#!/bin/sh"})
		}, "busybox /nix/store/b-busybox/bin/busybox: is not an ELF program"},
		{"busybox is empty", func(o *Options) { o.Objects[1] = files(busyboxPath, map[string]string{"bin/busybox": ""}) }, "busybox /nix/store/b-busybox/bin/busybox: is not an ELF program"},
		{"object's path", func(o *Options) { o.Objects[0].Path = "/nix/../etc" }, `"/nix/../etc" is not an absolute path that an object can be at`},
		{"object at the root", func(o *Options) { o.Objects[0].Path = "/" }, `"/" is not an absolute path that an object can be at`},
		{"object twice", func(o *Options) { o.Objects[0] = o.Objects[1] }, `"nix/store/b-busybox": comes twice`},
		{"object's walk", func(o *Options) {
			o.Objects[0].Walk = func(func(rootfs.Entry, io.Reader) error) error { return broken }
		}, broken.Error()},
		{"root", func(o *Options) { o.Root = "nixos" }, `root "nixos" names no device: want LABEL=, UUID=, PARTLABEL=, PARTUUID=, /dev/… or MAJOR:MINOR`},
		{"root is tmpfs", func(o *Options) { o.Root = "tmpfs" }, `root "tmpfs" names no device: want LABEL=, UUID=, PARTLABEL=, PARTUUID=, /dev/… or MAJOR:MINOR`},
		{"overlay", func(o *Options) { o.Overlay = "LABEL=" }, `overlay "LABEL=" names no device: want LABEL=, UUID=, PARTLABEL=, PARTUUID=, /dev/… or MAJOR:MINOR`},
		{"image", func(o *Options) { o.Image = "root.squashfs" }, `image "root.squashfs" is not an absolute path`},
		{"image with blanks", func(o *Options) { o.Image = "/a b" }, `image "/a b" has blanks`},
		{"no overlay", func(o *Options) {
			*o = only(*o, "x.ko:\n", "", "")
			o.Overlay = "tmpfs"
		}, `/k: the kernel has no module "overlay"`},
		{"image without loop", func(o *Options) { o.Image = "/a" }, `/nix/store/k-modules: the kernel has no module "loop"`},
		{"init", func(o *Options) { o.Init = "sbin/init" }, `init "sbin/init" is not an absolute path`},
		{"init with blanks", func(o *Options) { o.Init = "/sbin/init x" }, `init "/sbin/init x" has blanks`},
		{"newline", func(o *Options) { o.Flags = "a\nb" }, `flags "a\nb" has a newline or a NUL`},
		{"timeout", func(o *Options) { o.Timeout = time.Millisecond }, "timeout 1ms is no number of seconds"},
		{"unknown module", func(o *Options) { o.Names = []string{"virtioblk"} }, `/nix/store/k-modules: the kernel has no module "virtioblk" (near it: virtio_blk)`},
		{"unknown file system", func(o *Options) { o.FSTypes = []string{"vfa"} }, `/nix/store/k-modules: the kernel has no module "vfa" (near it: vfat)`},
		{"unknown file system of another name", func(o *Options) { o.FSTypes = []string{"iso9660"} }, `/nix/store/k-modules: the kernel has no module "isofs"`},
		{"unknown bus", func(o *Options) { o.Buses = []string{"isa"} }, `no bus is called "isa": there are ata, hyperv, mmc, nvme, scsi, usb, virtio, vmware, xen`},
		{"bus without drivers", func(o *Options) { o.Buses = []string{"nvme", "xen"} }, "/nix/store/k-modules: the kernel has no module for disks at nvme, xen"},
		{"no modules", func(o *Options) { o.Modules = Object{} }, "modules x, p: there is no object that has them"},
		{"no lists", func(o *Options) { o.Modules = files("/k", nil) }, "/k: has no lib/modules/modules.dep"},
		{"two versions", func(o *Options) {
			o.Modules = files("/k", map[string]string{"lib/modules/1/x": "", "lib/modules/2/x": ""})
		}, "/k: has modules for 1 and for 2: say for which version"},
		{"other version", func(o *Options) { o.Version = "6.2" }, "/nix/store/k-modules: has no lib/modules/6.2/modules.dep"},
		{"modules elsewhere", func(o *Options) {
			o.Modules = files("/k", map[string]string{"lib/modules/1": "-> /nix/store/other"})
		}, "/k: lib/modules/1 is a link to /nix/store/other: name the object that has the modules themselves"},
		{"bad list", func(o *Options) {
			o.Modules = files("/k", map[string]string{"lib/modules/1/modules.dep": "x"})
		}, "/k: lib/modules/1: modules.dep:1: no colon behind the name of a file"},
		{"large list", func(o *Options) {
			o.Modules = files("/k", map[string]string{"lib/modules/1/modules.dep": string(make([]byte, 8<<20+1))})
		}, "/k: lib/modules/1/modules.dep has 8388609 bytes, and 8388608 are the most that is read"},
		{"listed, not there", func(o *Options) { *o = only(*o, "x.ko:\n", "", "") }, "/k: has no file lib/modules/1/x.ko, which its list names"},
		{"blank", func(o *Options) {
			*o = only(*o, "a b/x.ko:\n", "", "")
		}, `/k: the module "a b/x.ko" has a blank or a backslash in its name`},
		{"not compressed", func(o *Options) { *o = only(*o, "x.ko.xz:\n", "x.ko.xz", "plain") }, "/k/lib/modules/1/x.ko.xz: *"},
		{"cut off", func(o *Options) { *o = only(*o, "x.ko.zst:\n", "x.ko.zst", packed(t, "zstd", "module")[:12]) }, "/k/lib/modules/1/x.ko.zst: *"},
		{"bomb", func(o *Options) {
			*o = only(*o, "x.ko.gz:\n", "x.ko.gz", packed(t, "gzip", string(make([]byte, MaxModule+1))))
		}, "/k/lib/modules/1/x.ko.gz: expands to more than 64 MiB"},
		{"no firmware", func(o *Options) { o.FirmwareNames = []string{"plain*", "nope/*"} }, `firmware "nope/*": none of the objects has such a file below lib/firmware`},
		{"pattern", func(o *Options) { o.FirmwareNames = []string{"["} }, `firmware "[": syntax error in pattern`},
		{"firmware's link", func(o *Options) { o.FirmwareNames = []string{"dangling.bin"} }, "/nix/store/f-firmware: lib/firmware/dangling.bin leads to nowhere, which is not there"},
		{"firmware's link out", func(o *Options) { o.FirmwareNames = []string{"out.bin"} }, "/nix/store/f-firmware: lib/firmware/out.bin is a link that leads out of there"},
		{"firmware's absolute link", func(o *Options) { o.FirmwareNames = []string{"out2.bin"} }, "/nix/store/f-firmware: lib/firmware/out2.bin is a link that leads out of there, or in circles"},
		{"firmware's circle", func(o *Options) { o.FirmwareNames = []string{"circle.bin"} }, "/nix/store/f-firmware: lib/firmware/circle.bin is a link that leads out of there, or in circles"},
		{"firmware's directory", func(o *Options) { o.FirmwareNames = []string{"directory"} }, "/nix/store/f-firmware: lib/firmware/directory leads to what is no file"},
	} {
		o := sample(t)
		c.change(&o)
		_, err := Build(rootfs.Check(&lister{}), o)
		got := fmt.Sprint(err)
		if prefix, ok := strings.CutSuffix(c.want, "*"); ok && err != nil && len(got) > len(prefix) && !strings.Contains(got, "\n") {
			got = got[:len(prefix)] + "*"
		}
		if got != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// Modules and firmware have so much in all.
func TestRest(t *testing.T) {
	content := packed(t, "zstd", "module")
	o := only(Options{}, "", "x.ko.zst", content)
	room := 2*entrySize("x.ko", 6) - 1
	for _, want := range []error{nil, errTooMuch} {
		p := pick{o.Modules, map[string]string{"lib/modules/1/x.ko.zst": "x.ko"}}
		if err := p.send(&lister{}, epoch, &room); !errors.Is(err, want) {
			t.Errorf("%v, and %d bytes are left", err, room)
		}
	}
}

// only returns options with one module, x.
func only(o Options, dep, file, content string) Options {
	contents := map[string]string{"lib/modules/1/modules.dep": dep}
	if file != "" {
		contents["lib/modules/1/"+file] = content
	}
	o.Modules, o.Names, o.Buses, o.FSTypes, o.Overlay = files("/k", contents), []string{"x"}, nil, nil, ""
	return o
}

func TestMonolithic(t *testing.T) {
	o := sample(t)
	o.Modules, o.Names = Object{}, nil
	var l lister
	r, err := Build(&l, o)
	if err != nil || r.Version != "" || len(r.Modules) > 0 || !strings.Contains(l.String(), "etc/initrd.modules \"\"\n") {
		t.Errorf("%v %v\n%s", r, err, l.String())
	}
}

// microcode returns an archive as the makers of microcode have it.
func microcode(t *testing.T) []byte {
	var b bytes.Buffer
	w := cpio.NewWriter(&b)
	for _, dir := range []string{".", "kernel", "kernel/x86", "kernel/x86/microcode"} {
		if err := w.Add(rootfs.Entry{Path: dir, Mode: fs.ModeDir | 0o755, ModTime: epoch}, nil); err != nil {
			t.Fatal(err)
		}
	}
	const file = "kernel/x86/microcode/GenuineIntel.bin"
	if err := errors.Join(w.Add(rootfs.Entry{Path: file, Mode: 0o644, ModTime: epoch, Size: 3}, strings.NewReader("new")), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestMicrocode(t *testing.T) {
	archive := microcode(t)
	var b bytes.Buffer
	if err := Microcode(&b, bytes.NewReader(archive)); err != nil || b.Len()%512 != 0 || b.Len() < len(archive) ||
		!bytes.Equal(bytes.TrimRight(b.Bytes(), "\x00"), bytes.TrimRight(archive, "\x00")) {
		t.Errorf("%v, %d bytes of %d", err, b.Len(), len(archive))
	}
	for head, want := range map[string]string{
		"":           `microcode: not an uncompressed cpio archive (newc), which begins with 070701: ""`,
		"0707":       `microcode: not an uncompressed cpio archive (newc), which begins with 070701: "0707"`,
		"\x1f\x8b\b": `microcode: not an uncompressed cpio archive (newc), which begins with 070701: "\x1f\x8b\b"`,
	} {
		if err := Microcode(&b, strings.NewReader(head)); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	large := io.MultiReader(strings.NewReader("070701"), io.LimitReader(zeros{}, MaxMicrocode))
	if err := Microcode(io.Discard, large); err == nil || err.Error() != "microcode: more than 64 MiB" {
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
