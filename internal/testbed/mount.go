package testbed

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Mounted mounts the image of a file system, at a directory beside it, while do
// runs. The options are those of mount(8), of which "ro" and "rw" are known here.
func Mounted(image, fstype, options string, do func(root string) error) (err error) {
	root := image + ".mnt"
	if err := os.Mkdir(root, 0o777); err != nil {
		return err
	}
	// That also unmounts it where somebody has copied the namespace of mounts.
	defer os.Remove(root)
	var flags uintptr
	var data []string
	for o := range strings.SplitSeq(options, ",") {
		switch o {
		case "ro":
			flags |= unix.MS_RDONLY
		case "rw", "":
		default:
			data = append(data, o)
		}
	}
	device, err := attach(image, flags&unix.MS_RDONLY != 0)
	if err != nil {
		return err
	}
	defer os.Remove(node(image))
	err = unix.Mount(device.Name(), root, fstype, flags, strings.Join(data, ","))
	device.Close() // the last to close it detaches it
	if err != nil {
		return fmt.Errorf("mount %s at %s: %w", device.Name(), root, err)
	}
	defer func() { err = errors.Join(err, Unmount(root)) }()
	return do(root)
}

// attach makes a file a loop device. Others may do so at the same time: mount(8)
// gives up where it was the slower one, and takes a device that the file has
// already, as long as somebody who looks at all devices has it open, with the size
// that the file had.
func attach(image string, readOnly bool) (*os.File, error) {
	mode := unix.O_RDWR
	config := unix.LoopConfig{Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
	if readOnly {
		mode = unix.O_RDONLY
		config.Info.Flags |= unix.LO_FLAGS_READ_ONLY
	}
	copy(config.Info.File_name[:unix.LO_NAME_SIZE-1], image)
	file, err := os.OpenFile(image, mode, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	config.Fd = uint32(file.Fd())
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, os.NewSyscallError("a free loop device", err)
		}
		device, err := open(number, node(image), mode)
		if err == nil {
			if err = unix.IoctlLoopConfigure(int(device.Fd()), &config); err == nil {
				return device, nil
			}
			device.Close()
		}
		// Another one has taken it, or has it no more and it is being detached.
		if taken := errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENXIO); !taken || time.Now().After(end) {
			return nil, fmt.Errorf("loop device %d of %s: %w", number, image, err)
		}
	}
}

// node is where an image has the node of its loop device, if /dev has none.
func node(image string) string { return image + ".loop" }

// open opens a loop device. There are systems whose /dev has but the first eight.
func open(number int, node string, mode int) (*os.File, error) {
	device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", number), mode, 0)
	if !errors.Is(err, unix.ENOENT) {
		return device, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/sys/block/loop%d/dev", number))
	if err != nil {
		return nil, err
	}
	var major, minor uint32
	if _, err := fmt.Sscanf(string(text), "%d:%d", &major, &minor); err != nil {
		return nil, err
	}
	os.Remove(node) // of a device that another one has taken
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(major, minor))); err != nil {
		return nil, &os.PathError{Op: "mknod", Path: node, Err: err}
	}
	return os.OpenFile(node, mode, 0)
}

// Unmount unmounts a file system. It waits for programs that are just being started:
// until they run, they share all that this process has open.
func Unmount(root string) error {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Unmount(root, 0)
		if err == unix.EBUSY && time.Now().Before(end) {
			continue
		}
		return os.NewSyscallError("umount "+root, err)
	}
}
