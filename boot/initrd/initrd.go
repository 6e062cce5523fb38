// Package initrd makes the tree of an initramfs that finds and mounts the root
// file system of a machine and starts its init: a BusyBox with all it needs,
// kernel modules, firmware, and a short script, init.sh, which is /init.
//
// What it holds comes out of store objects, which are walked, never run, and
// whose contents are not kept: an object is read once, that of the modules and
// those of firmware twice. Memory is bounded: [MaxModule] for a compressed file,
// [kmod.MaxList] for each list of modules, and a name for each file of firmware
// that there is. The bytes are determined by the [Options] alone.
//
// The kernel must have devtmpfs, and for an overlay, tmpfs; it unpacks what
// [Build] sends as a cpio archive, alone or behind that of [Microcode].
//
// At boot, the words of the kernel's command line have the last say:
//
//	root=WHAT          LABEL=, UUID=, PARTLABEL=, PARTUUID=, /dev/…, MAJOR:MINOR
//	rootimage=PATH     behind root=: a file there is the root file system
//	rootfstype=TYPE    several are separated by commas; without it, all are tried
//	rootflags=OPTIONS  of the mount
//	ro, rw             whether it can be written to
//	rootwait[=N]       waits for it for ever, or N seconds
//	rootdelay=N        waits N seconds first
//	init=PATH          in the root; without it, /init and /sbin/init are tried
//	overlay=WHAT       tmpfs or a device as for root: takes what is written
//	rescue             opens a shell where the root or its init is missing
//	thaw.shell         opens a shell before the root is mounted
//	MODULE.NAME=VALUE  is a parameter of a module ('_' for '-' in its name)
//
// The root is not checked, and nothing is decrypted or assembled from several
// devices.
package initrd

import (
	"bytes"
	"debug/elf"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"thaw/rootfs"
)

// MaxModule is how many bytes a module or a piece of firmware may have, where it
// is compressed: it is decompressed in memory. Plain ones have no limit.
const MaxModule = 64 << 20

// MaxRest is how many bytes an archive of all but the Objects has at most, so that it
// can be said how large an initrd may become before anything of it is read.
const MaxRest = 512 << 20

// Object is a store object, or any tree of files that has a place of its own.
type Object struct {
	// Path is where it is, absolute: /nix/store/…
	Path string
	// Walk calls visit for each entry, parents first; the paths are relative
	// to the object, which is ".". data is nil unless the entry is a regular
	// file, and need not be read. An error of visit ends the walk, and is in
	// its error. Each call walks the same entries.
	Walk func(visit func(e rootfs.Entry, data io.Reader) error) error
}

// Options say all about an initrd. BusyBox and its objects are required.
type Options struct {
	// Busybox is the absolute path of the program, in one of the Objects.
	Busybox string
	// Objects are copied whole, each to its own path: BusyBox and all that it
	// refers to.
	Objects []Object

	// Modules holds lib/modules/VERSION. Without a Walk, the kernel is taken
	// to have all in itself.
	Modules Object
	// Version is that of the kernel, which must be set if Modules has several.
	Version string
	// Names are modules to load, or aliases of some, in order and before
	// others, with all that they need. A kernel that has one built in is fine,
	// one that lacks it is not.
	Names []string
	// Buses load the drivers of disks: see [Buses]. Of all drivers together
	// the kernel must have one.
	Buses []string
	// FSTypes load file systems, which the kernel must have: the types of the
	// root, of the device Overlay, and of what Image is in. What overlays and
	// images themselves take is loaded with them.
	FSTypes []string

	// Firmware are objects that hold lib/firmware, of which those files are
	// taken, decompressed, that FirmwareNames match: paths below lib/firmware
	// without .xz or .zst, as package path matches them.
	Firmware      []Object
	FirmwareNames []string

	// Root, Image, FSType, Flags, Init, Overlay and Rescue are as root=,
	// rootimage=, rootfstype=, rootflags=, init=, overlay= and rescue on the
	// command line, where that does not say it. All may be empty.
	Root, Image, FSType, Flags, Init, Overlay string
	Rescue                                    bool
	// ReadOnly is as ro: otherwise the root is mounted for writing if it can.
	ReadOnly bool
	// Timeout is how long the root is waited for, in whole seconds. Zero means
	// [DefaultTimeout].
	Timeout time.Duration

	// Time is that of all files which do not come from Objects. It is required:
	// a cpio archive cannot hold the zero time.
	Time time.Time
}

// DefaultTimeout is for how long the initrd waits for a device.
const DefaultTimeout = 30 * time.Second

// Result says what has come into an initrd.
type Result struct {
	// Version is that of the kernel for which there are modules, or "".
	Version string
	// Modules are paths below lib/modules/Version, in the order of loading.
	Modules []string
	// Firmware are paths below lib/firmware, sorted.
	Firmware []string
}

// program is the script.
//
//go:embed init.sh
var program []byte

// applets are those of BusyBox that the script calls. Others are linked where it
// opens a shell.
var applets = strings.Fields("[ busybox cat cttyhack dd echo findfs hexdump insmod mkdir mount printf readlink setsid sh sleep switch_root tr umount")

// Build sends an initrd to s, which stands behind [rootfs.Check] if objects may
// break the laws.
func Build(s rootfs.Sink, o Options) (*Result, error) {
	conf, err := o.conf()
	if err != nil {
		return nil, err
	}
	if path.Clean(o.Busybox) != o.Busybox || !path.IsAbs(o.Busybox) {
		return nil, fmt.Errorf("busybox %q is not the absolute path of a program", o.Busybox)
	}
	b := builder{o: o, sink: s}
	b.put(rootfs.Dir(".", 0o755), nil)
	for _, dir := range []string{"dev", "proc", "root", "sys"} {
		b.put(rootfs.Dir(dir, 0o755), nil)
	}
	// The kernel opens it before anything is mounted.
	b.put(rootfs.Entry{Path: "dev/console", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o600, Dev: rootfs.Mkdev(5, 1)}, nil)
	b.put(rootfs.Entry{Path: "init", Mode: 0o755}, program)
	b.put(rootfs.Entry{Path: "etc/initrd.conf", Mode: 0o644}, conf)
	for _, name := range applets {
		b.put(rootfs.Link("bin/"+name, o.Busybox), nil)
	}
	for _, object := range o.Objects {
		if path.Clean(object.Path) != object.Path || len(object.Path) < 2 || !rootfs.ValidPath(object.Path[1:]) {
			return nil, fmt.Errorf("%q is not an absolute path that an object can be at", object.Path)
		}
		b.dirs(object.Path[1:])
	}
	if err := b.modules(); err != nil {
		return nil, err
	}
	if err := b.firmware(); err != nil {
		return nil, err
	}

	room := int64(MaxRest)
	for e := range b.tree.All() {
		room -= entrySize(e.Path, e.Size+int64(len(e.Target)))
	}
	if room < 0 {
		return nil, errTooMuch
	}
	if err := b.tree.Send(s); err != nil {
		return nil, err
	}
	for _, object := range o.Objects {
		if err := b.copy(object); err != nil {
			return nil, err
		}
	}
	if !b.busybox {
		return nil, fmt.Errorf("busybox %s: none of the objects has such a program", o.Busybox)
	}
	for _, p := range b.picks {
		if err := p.send(s, o.Time, &room); err != nil {
			return nil, err
		}
	}
	return &b.result, nil
}

// builder is one call of Build.
type builder struct {
	o       Options
	sink    rootfs.Sink
	tree    rootfs.Tree // what does not come from objects, and the directories of what does
	picks   []*pick
	busybox bool // has been seen
	result  Result
}

// put adds an entry with its parents to the tree.
func (b *builder) put(e rootfs.Entry, content []byte) {
	e.ModTime = b.o.Time
	b.tree.Put(e, content)
	b.dirs(e.Path)
}

func (b *builder) dirs(path string) {
	b.tree.Dirs(path, rootfs.Entry{Mode: fs.ModeDir | 0o755, ModTime: b.o.Time})
}

// copy sends an object to its place.
func (b *builder) copy(object Object) error {
	return object.Walk(func(e rootfs.Entry, data io.Reader) error {
		e.Path = path.Join(object.Path[1:], e.Path)
		if "/"+e.Path == b.o.Busybox {
			b.busybox = e.Kind() == fs.ModeSymlink || e.Mode.IsRegular() && e.Mode&0o111 != 0
			if e.Mode.IsRegular() {
				var err error
				if data, err = isELF(data); err != nil {
					return fmt.Errorf("busybox %s: %w", b.o.Busybox, err)
				}
			}
		}
		return b.sink.Add(e, data)
	})
}

// isELF returns the same data, if it begins as an ELF program does: a script
// would need the shell that it is to be.
func isELF(data io.Reader) (io.Reader, error) {
	head := make([]byte, len(elf.ELFMAG))
	if _, err := io.ReadFull(data, head); err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	if string(head) != elf.ELFMAG {
		return nil, errors.New("is not an ELF program")
	}
	return io.MultiReader(bytes.NewReader(head), data), nil
}

// conf returns what the script reads of the options.
func (o *Options) conf() ([]byte, error) {
	for _, device := range []struct{ key, value string }{{"root", o.Root}, {"overlay", o.Overlay}} {
		if device.value != "" && !(device.key == "overlay" && device.value == "tmpfs") && !ValidDevice(device.value) {
			return nil, fmt.Errorf("%s %q names no device: want LABEL=, UUID=, PARTLABEL=, PARTUUID=, /dev/… or MAJOR:MINOR", device.key, device.value)
		}
	}
	for _, file := range []struct{ key, value string }{{"init", o.Init}, {"image", o.Image}} {
		if file.value != "" && !path.IsAbs(file.value) {
			return nil, fmt.Errorf("%s %q is not an absolute path", file.key, file.value)
		}
		if strings.ContainsAny(file.value, " \t") {
			return nil, fmt.Errorf("%s %q has blanks", file.key, file.value)
		}
	}
	timeout := o.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	if timeout < time.Second || timeout%time.Second != 0 {
		return nil, fmt.Errorf("timeout %v is no number of seconds", timeout)
	}
	mode, rescue := "rw", ""
	if o.ReadOnly {
		mode = "ro"
	}
	if o.Rescue {
		rescue = "yes"
	}
	var conf strings.Builder
	conf.WriteString("# What holds where the kernel's command line does not say it.\n")
	for _, line := range []struct{ name, value string }{
		{"root", o.Root}, {"image", o.Image}, {"type", o.FSType}, {"flags", o.Flags}, {"mode", mode}, {"init", o.Init}, {"overlay", o.Overlay},
		{"timeout", fmt.Sprint(int64(timeout / time.Second))}, {"delay", ""}, {"rescue", rescue}, {"shell", ""},
	} {
		if strings.ContainsAny(line.value, "\x00\n") {
			return nil, fmt.Errorf("%s %q has a newline or a NUL", line.name, line.value)
		}
		fmt.Fprintf(&conf, "%s='%s'\n", line.name, strings.ReplaceAll(line.value, "'", `'\''`))
	}
	return []byte(conf.String()), nil
}

// ValidDevice reports whether the script can make something of a value of root=.
func ValidDevice(s string) bool {
	for _, prefix := range []string{"LABEL=", "UUID=", "PARTLABEL=", "PARTUUID=", "/dev/"} {
		if rest, ok := strings.CutPrefix(s, prefix); ok {
			return rest != ""
		}
	}
	major, minor, ok := strings.Cut(s, ":")
	return ok && number(major) && number(minor)
}

func number(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
