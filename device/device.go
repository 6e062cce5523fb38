// Package device finds block devices of Linux, says why one must not be overwritten, and
// writes disk images to them.
//
// Its laws:
//   - a device that anything uses is never written to: what is mounted on it or on
//     what it is part of, swap, holders such as LUKS, LVM and RAID, and whatever
//     else the kernel knows by opening it exclusively;
//   - what is written is read back from the device itself, not from memory, and
//     compared, all of it;
//   - the beginning of the image, with the partition table, comes last, when all
//     the rest has been found right. A device whose writing was interrupted, or
//     that is bad, never looks as if it held the image;
//   - zeros of the image are zeros on the device, whatever was there. The kernel
//     is told to make them, which spares their transfer where the device can.
package device

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Device is a block device, as sysfs tells of it.
type Device struct {
	Name      string   // of the kernel, such as sda or nvme0n1p1
	Path      string   // such as /dev/sda
	Number    string   // major and minor, such as 8:1
	Size      int64    // bytes
	Sector    int      // bytes of a logical sector
	Model     string   // "" if it does not say
	Bus       string   // usb, mmc, nvme, loop …; "" if that is not known
	Removable bool     // it, or its medium
	ReadOnly  bool     // for the kernel
	Disk      string   // the whole disk that it is a partition of, "" if it is one itself
	Parts     []string // its partitions
	// Uses are why it must not be written to: what uses it, or its partitions. A
	// device without any may still be in use in ways that only opening it tells.
	Uses []Use
}

// A Use is something that a device is needed for.
type Use struct {
	Part string // the device itself, or a partition of it, or what it is part of
	What string // in words, such as "mounted at /home"
	// System tells that the running system is on it.
	System bool
}

func (u Use) String() string { return u.Part + " " + u.What }

// Host is the system whose devices are looked at.
type Host struct {
	// Root is where its /sys, /proc and /dev are; "" is "/".
	Root string
}

func (h Host) path(elem ...string) string {
	return filepath.Join(append([]string{"/", h.Root}, elem...)...)
}

// sys is the directory of a block device.
func (h Host) sys(name string, elem ...string) string {
	return h.path(append([]string{"sys/class/block", name}, elem...)...)
}

// attribute reads a file of sysfs, "" if there is none.
func (h Host) attribute(name string, elem ...string) string {
	text, err := os.ReadFile(h.sys(name, elem...))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func (h Host) number(name string, elem ...string) int64 {
	n, err := strconv.ParseInt(h.attribute(name, elem...), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// names lists a directory, nothing if it is not there.
func names(dir string) (out []string) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

// List returns the disks that an image can be meant for: with a size, and no RAM, no
// compact disc, and nothing that lies on other devices. They are in the order of their
// names.
func (h Host) List() ([]*Device, error) {
	if _, err := os.Stat(h.path("sys/class/block")); err != nil {
		return nil, fmt.Errorf("block devices are known where Linux has sysfs: %w", err)
	}
	uses := h.uses()
	var out []*Device
	for _, name := range names(h.path("sys/class/block")) {
		if slices.ContainsFunc([]string{"ram", "zram", "sr", "fd", "dm-", "md"}, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		if d := h.device(name, uses); d.Size > 0 && d.Disk == "" {
			out = append(out, d)
		}
	}
	return out, nil
}

// ErrNotBlock says that something is no block device.
var ErrNotBlock = errors.New("not a block device")

// Find returns the block device that is at a path, or that a link there leads to.
func (h Host) Find(path string) (*Device, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Mode()&fs.ModeDevice == 0 || st.Mode()&fs.ModeCharDevice != 0 {
		return nil, fmt.Errorf("%s: %w", path, ErrNotBlock)
	}
	name, ok := h.named(path)
	if !ok {
		return nil, fmt.Errorf("%s: the kernel has no such block device", path)
	}
	d := h.device(name, h.uses())
	d.Path = path
	return d, nil
}

// named returns the name of the device whose node is at a path, wherever that is.
func (h Host) named(path string) (string, bool) {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil || s.Mode&unix.S_IFMT != unix.S_IFBLK {
		return "", false
	}
	number := fmt.Sprintf("%d:%d", unix.Major(s.Rdev), unix.Minor(s.Rdev))
	for _, name := range names(h.path("sys/class/block")) {
		if h.attribute(name, "dev") == number {
			return name, true
		}
	}
	return "", false
}

// device reads what sysfs has of a device.
func (h Host) device(name string, uses map[string][]Use) *Device {
	disk := h.disk(name)
	d := &Device{
		Name: name, Path: "/dev/" + strings.ReplaceAll(name, "!", "/"),
		Number:   h.attribute(name, "dev"),
		Size:     h.number(name, "size") * 512,
		Sector:   int(h.number(disk, "queue/logical_block_size")),
		Model:    strings.TrimSpace(h.attribute(disk, "device/vendor") + " " + h.attribute(disk, "device/model")),
		ReadOnly: h.number(name, "ro") != 0,
		Parts:    h.parts(name),
	}
	if strings.HasPrefix(h.attribute(disk, "device/vendor"), "0x") { // a number of PCI or of MMC
		d.Model = h.attribute(disk, "device/model")
	}
	if d.Model == "" {
		d.Model = h.attribute(disk, "device/name") // of memory cards
	}
	if file := h.attribute(name, "loop/backing_file"); file != "" {
		d.Model, d.Bus = file, "loop"
	} else {
		d.Bus = h.bus(disk)
	}
	d.Removable = h.number(disk, "removable") != 0 || d.Bus == "usb" || d.Bus == "mmc"
	if d.Sector < 512 {
		d.Sector = 512
	}
	if disk != name {
		d.Disk = disk
	}
	d.Uses = append(d.Uses, uses[name]...)
	for _, p := range d.Parts {
		d.Uses = append(d.Uses, uses[p]...)
	}
	if d.Disk != "" {
		// A partition of a disk that the system is on is none to write to.
		for _, part := range append([]string{disk}, h.parts(disk)...) {
			for _, u := range uses[part] {
				if part == disk || u.System && part != name {
					d.Uses = append(d.Uses, u)
				}
			}
		}
	}
	return d
}

// disk returns the whole disk of a partition, and other names as they are.
func (h Host) disk(name string) string {
	if h.attribute(name, "partition") == "" {
		return name
	}
	dir, err := filepath.EvalSymlinks(h.sys(name))
	if err != nil {
		return name
	}
	return filepath.Base(filepath.Dir(dir))
}

// parts returns the partitions of a disk.
func (h Host) parts(name string) (out []string) {
	for _, n := range names(h.sys(name)) {
		if h.attribute(name, n, "partition") != "" {
			out = append(out, n)
		}
	}
	return out
}

// bus tells how a disk is connected, by its place in sysfs.
func (h Host) bus(name string) string {
	dir, err := filepath.EvalSymlinks(h.sys(name))
	if err != nil {
		return ""
	}
	for _, b := range []struct{ part, name string }{{"/usb", "usb"}, {"/mmc", "mmc"}, {"/nvme", "nvme"}, {"/virtio", "virtio"}, {"/ata", "ata"}, {"/loop", "loop"}} {
		if strings.Contains(dir, b.part) {
			return b.name
		}
	}
	return ""
}
