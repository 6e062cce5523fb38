package testbed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Mounted mounts the image of a file system, at a directory beside it, while do
// runs.
func Mounted(image, fstype, options string, do func(root string) error) (err error) {
	root := image + ".mnt"
	if err := os.Mkdir(root, 0o777); err != nil {
		return err
	}
	defer os.Remove(root)
	if out, err := exec.Command("mount", "-t", fstype, "-o", "loop,"+options, image, root).CombinedOutput(); err != nil {
		return fmt.Errorf("mount: %v: %s", err, out)
	}
	defer func() { err = errors.Join(err, Unmount(root)) }()
	return do(root)
}

// Unmount unmounts a file system. It waits for programs that are just being started:
// until they run, they share all that this process has open.
func Unmount(root string) error {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Unmount(root, 0)
		if err == syscall.EBUSY && time.Now().Before(end) {
			continue
		}
		return os.NewSyscallError("umount "+root, err)
	}
}
