package initrd

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"thaw/image/cpio"
	"thaw/image/disk"
	"thaw/image/erofs"
	"thaw/image/ext4"
	"thaw/image/squashfs"
	"thaw/internal/compress"
	"thaw/internal/testbed"
	"thaw/internal/testkernel"
	"thaw/rootfs"
)

// TestBoot boots two of these machines, and all of them with this flag. What they
// have in common with other images is for .ci/boot-matrix to see.
var all = flag.Bool("all", false, "boot all machines")

var epoch = time.Unix(1, 0)

// tells is the init of the machines.
const tells = `#!%s/bin/sh
PATH=%[1]s/bin
echo 1 >/proc/sys/kernel/printk # lines of the kernel's may come within ours
while read -r dev dir type options rest; do
	[ "$dir" != / ] || [ "$type" = rootfs ] || echo "ROOT $dev $type ${options%%%%,*}"
	case $dir in /run | /run/*) echo "MOUNT $dir $type" ;; esac
done </proc/mounts
echo "SELF $0 ARGS $*"
for file in /proc/self /sys/class /dev/null; do [ -e $file ] || echo "NO $file"; done
echo word >>/words && echo "WORDS $(wc -l </words)"
set -- /dev/console # the shell of an initrd would be waiting there
sync # first: where it takes long to power off, nobody waits for it
echo TESTBED-MARKER-OK
mount -o remount,ro / 2>/dev/null
poweroff -f
`

const (
	rootGUID disk.GUID = "AAAAAAAA-BBBB-8CCC-8DDD-0123456789AB"
	dataGUID disk.GUID = "AAAAAAAA-BBBB-8CCC-8DDD-0123456789AC"
	rootUUID           = "00112233-4455-8677-8899-aabbccddeeff"
)

func TestBoot(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: boots take seconds")
	}
	check := testbed.Dir(t, "boot/boot-check.sh")
	testbed.Tool(t, "qemu-system-x86_64")
	dir := t.TempDir()
	kernel := filepath.Join(dir, "bzImage")
	busybox := object(t, `busybox-static-[\d.]+`)
	err := os.WriteFile(kernel, testkernel.Kernel(t), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	fstypes := []string{"ext4", "squashfs", "erofs", "overlay"}
	if *all {
		fstypes = append(fstypes, "btrfs", "xfs", "vfat")
	}
	initrd := filepath.Join(dir, "initrd")
	write(t, initrd, Options{
		Busybox: busybox.Path + "/bin/busybox",
		Objects: []Object{busybox},
		Modules: object(t, `linux-[\d.]+-cloud-modules`),
		Buses:   Buses(),
		FSTypes: fstypes,
		Root:    "LABEL=nowhere",
		Timeout: 10 * time.Minute,
		Time:    epoch,
	})
	for _, m := range []struct {
		name   string
		always bool // not with -all alone
		fs     string
		mbr    bool
		args   []string // of boot-check
		append string
		want   []string // lines on the console
	}{
		{name: "label, virtio", fs: "ext4", append: "root=LABEL=the-root one two=2 -- three",
			want: []string{"ROOT /dev/vda1 ext4 rw", "SELF /init ARGS one three$", "WORDS 1"}},
		{name: "partition's label, overlay", always: true, fs: "squashfs", append: `root=PARTLABEL=the-root overlay=tmpfs quiet`,
			want: []string{"ROOT overlay overlay rw", "MOUNT /run/overlay/root squashfs", "MOUNT /run/overlay/data tmpfs", "WORDS 1"}},
		{name: "partition's UUID, scsi", fs: "squashfs", args: []string{"--bus", "scsi"}, append: "root=PARTUUID=" + strings.ToLower(string(rootGUID)) + " rootfstype=squashfs init=/init",
			want: []string{"ROOT /dev/sda1 squashfs ro", "SELF /init ARGS $"}},
		{name: "UUID, nvme, overlay on a partition", always: true, fs: "erofs", args: []string{"--bus", "nvme"}, append: "root=UUID=" + rootUUID + " overlay=LABEL=data rootwait",
			want: []string{"ROOT overlay overlay rw", "MOUNT /run/overlay/data ext4", "WORDS 2"}},
		{name: "partition's UUID in an MBR", fs: "squashfs", mbr: true, append: "root=PARTUUID=1234abcd-01 rootdelay=1"},
		{name: "device", fs: "ext4", append: "root=/dev/vda1 ro rootflags=noatime", want: []string{"ROOT /dev/vda1 ext4 ro"}},
		{name: "number", fs: "erofs", append: "root=254:1", want: []string{"ROOT /dev/vda1 erofs ro"}},
		{name: "link", fs: "erofs", append: "root=/dev/disk/by-partlabel/the-root", want: []string{"ROOT /dev/vda1 erofs ro"}},
		{name: "btrfs", fs: "btrfs", append: "root=LABEL=the-root", want: []string{"ROOT /dev/vda1 btrfs rw"}},
		{name: "xfs", fs: "xfs", append: "root=LABEL=the-root", want: []string{"ROOT /dev/vda1 xfs rw"}},
		{name: "no such root", fs: "erofs", append: "quiet rootwait=5", args: []string{"--marker", "Attempted to kill init"},
			want: []string{"initrd: LABEL=nowhere is not there after 5 seconds; there are:", " .* vda1", "initrd: no root, no init"}},
		{name: "no init", fs: "erofs", append: "root=LABEL=the-root init=/nope", args: []string{"--marker", "Attempted to kill init"},
			want: []string{"initrd: the root file system, LABEL=the-root, has no program /nope"}},
		{name: "not this file system", fs: "erofs", append: "root=LABEL=the-root rootfstype=ext4", args: []string{"--marker", "Attempted to kill init"},
			want: []string{"mount: mounting /dev/vda1 on /root failed: Invalid argument"}},
		{name: "shell", fs: "erofs", append: "root=LABEL=the-root thaw.shell", args: []string{"--marker", "a shell; exit to go on"}},
		{name: "rescue", fs: "erofs", append: "root=LABEL=the-rot rescue rootwait=5", args: []string{"--marker", "a shell; exit to try again"}},
	} {
		if !m.always && !*all {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			image := filepath.Join(dir, "disk.img")
			writeDisk(t, image, m.fs, m.mbr, busybox)
			log := filepath.Join(dir, "log")
			boots := 1
			args := append([]string{check, image, "--kernel", kernel, "--initrd", initrd, "--append", "no_timer_check " + m.append, "--log", log, "--timeout", "600"}, m.args...)
			if strings.Contains(m.append, "overlay=LABEL") {
				boots, args = 2, append(args, "--write")
			}
			for range boots {
				out, err := exec.Command("bash", args...).CombinedOutput()
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			serial, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			serial = bytes.ReplaceAll(serial, []byte("\r"), nil)
			for _, want := range m.want {
				if !regexp.MustCompile(`(?m)^` + want).Match(serial) {
					t.Errorf("no line %q:\n%s", want, serial)
				}
			}
			if bad := regexp.MustCompile(`(?m)^(NO |insmod).*|^initrd: .*`).Find(serial); bad != nil && !slices.Contains(m.args, "--marker") {
				t.Errorf("%s", bad)
			}
		})
	}
}

// write writes an initrd to a file, behind microcode.
func write(t *testing.T, file string, o Options) *Result {
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Microcode(f, bytes.NewReader(microcode(t))); err != nil {
		t.Fatal(err)
	}
	z, err := compress.NewWriter("zstd", f)
	if err != nil {
		t.Fatal(err)
	}
	c := cpio.NewWriter(z)
	r, err := Build(rootfs.Check(c), o)
	if err := errors.Join(err, c.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return r
}

// object returns an object of the large caches, by a pattern of its name.
func object(t *testing.T, name string) Object {
	t.Helper()
	path, open := testkernel.Object(t, name)
	return Object{path, func(visit func(rootfs.Entry, io.Reader) error) error {
		for r := open(); ; {
			h, err := r.Next()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			e := rootfs.Entry{Path: h.Path, Mode: h.Kind.Mode(), Size: h.Size, Target: h.Target, ModTime: epoch}
			var data io.Reader
			if h.Kind.IsFile() {
				data = r
			}
			if err := visit(e, data); err != nil {
				return err
			}
		}
	}}
}

// writeDisk writes a disk with a root file system whose init tells what it finds
// and powers off, and an empty ext4 of the label data.
func writeDisk(t *testing.T, image, fstype string, mbr bool, busybox Object) {
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o := disk.Options{GUID: "AAAAAAAA-BBBB-8CCC-8DDD-0123456789AA", Signature: 0x1234abcd}
	if mbr {
		o.Table = disk.MBR
	}
	d, err := disk.NewWriter(f, o)
	if err != nil {
		t.Fatal(err)
	}
	add := func(p disk.Partition, write func(s *disk.Section) int64) {
		if p.Type = disk.TypeLinux; mbr {
			p.GUID, p.Name = "", ""
		}
		s, err := d.Add(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.End(write(s)); err != nil {
			t.Fatal(err)
		}
	}
	add(disk.Partition{GUID: rootGUID, Name: "the-root"}, func(s *disk.Section) int64 { return writeRoot(t, s, fstype, busybox) })
	add(disk.Partition{GUID: dataGUID, Name: "data"}, func(s *disk.Section) int64 {
		w, err := ext4.NewWriter(s, ext4.Options{UUID: [16]byte{1}, Label: "data", Size: 8 << 20})
		if err == nil {
			err = errors.Join(w.Add(rootfs.Entry{Path: ".", Mode: fs.ModeDir | 0o755, ModTime: epoch}, nil), w.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		return w.Size()
	})
	if err := errors.Join(d.Close(), f.Truncate(d.Size())); err != nil {
		t.Fatal(err)
	}
}

// fileSystem is a writer of one.
type fileSystem interface {
	rootfs.Sink
	Close() error
	Size() int64
}

func writeRoot(t *testing.T, s *disk.Section, fstype string, busybox Object) int64 {
	uuid := [16]byte{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x86, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}
	var w fileSystem
	var err error
	switch fstype {
	case "ext4":
		w, err = ext4.NewWriter(s, ext4.Options{UUID: uuid, Label: "the-root", Free: 1 << 20})
	case "squashfs":
		w, err = squashfs.NewWriter(s, squashfs.Options{})
	case "erofs":
		w, err = erofs.NewWriter(s, erofs.Options{UUID: uuid, Label: "the-root"})
	default:
		return makeRoot(t, s, fstype, busybox)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sendRoot(w, busybox), w.Close()); err != nil {
		t.Fatal(err)
	}
	return w.Size()
}

// sendRoot sends the root file system of the machines. Its init lies behind links
// that mean nothing outside of it.
func sendRoot(w rootfs.Sink, busybox Object) error {
	var tree rootfs.Tree
	put := func(e rootfs.Entry, content []byte) {
		e.ModTime = epoch
		tree.Put(e, content)
	}
	for _, dir := range []string{".", "dev", "proc", "sys", "run", "nix", "nix/store", "opt", "opt/tells-1"} {
		put(rootfs.Dir(dir, 0o755), nil)
	}
	put(rootfs.Entry{Path: "opt/tells-1/start", Mode: 0o755}, fmt.Appendf(nil, tells, busybox.Path))
	put(rootfs.Link("opt/tells", "/./../opt//tells-1/"), nil)
	put(rootfs.Link("init", "opt/tells/start"), nil)
	put(rootfs.Link("sbin", "/opt/tells"), nil)
	put(rootfs.Link("opt/tells-1/init", "../tells/start"), nil)
	if err := tree.Send(w); err != nil {
		return err
	}
	return busybox.Walk(func(e rootfs.Entry, data io.Reader) error {
		e.Path = path.Join(busybox.Path[1:], e.Path)
		return w.Add(e, data)
	})
}

// makeRoot has the real tools make a file system that we cannot write.
func makeRoot(t *testing.T, s *disk.Section, fstype string, busybox Object) int64 {
	image := filepath.Join(t.TempDir(), "root.img")
	if err := errors.Join(os.WriteFile(image, nil, 0o644), os.Truncate(image, 320<<20)); err != nil {
		t.Fatal(err)
	}
	testbed.Run(t, "mkfs."+fstype, "-q", "-L", "the-root", image)
	err := testbed.Mounted(image, fstype, "", func(root string) error {
		return sendRoot(onto(root), busybox)
	})
	if err != nil {
		t.Skipf("SKIPPED: this system does not mount %s: %v", fstype, err)
	}
	b, err := os.ReadFile(image)
	if err == nil {
		_, err = s.WriteAt(b, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return int64(len(b))
}

// onto is a directory as a sink.
type onto string

func (o onto) Add(e rootfs.Entry, data io.Reader) error {
	file := filepath.Join(string(o), e.Path)
	switch e.Kind() {
	case fs.ModeDir:
		return os.MkdirAll(file, 0o755)
	case fs.ModeSymlink:
		return os.Symlink(e.Target, file)
	}
	b, err := io.ReadAll(data)
	return errors.Join(err, os.WriteFile(file, b, e.Mode.Perm()))
}
