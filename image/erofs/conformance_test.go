package erofs_test

import (
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/image/erofs"
	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

const imageName = "image"

// testOptions are those of images whose options do not matter.
var testOptions = erofs.Options{
	UUID:  [16]byte{0x6b, 0xad, 0xca, 0xfe, 15: 1},
	Label: "thaw",
	Time:  1_000_000_000,
}

// abilities are what erofs holds, but for what refuse says that a judge cannot
// tell.
func abilities(refuse func(rootfs.Entry) string) rootfstest.Abilities {
	return rootfstest.Abilities{
		MaxTarget: rootfs.MaxTarget,
		MaxMajor:  1<<12 - 1, MaxMinor: 1<<20 - 1,
		Fifos:      true,
		HardLinks:  true,
		Modes:      rootfstest.Held,
		Owners:     rootfstest.Held,
		Times:      rootfstest.Held,
		MinTime:    math.MinInt64,
		MaxTime:    math.MaxInt64,
		Resolution: time.Nanosecond,
		Xattrs: func(e rootfs.Entry) bool {
			if refuse(e) != "" {
				return false
			}
			for _, x := range e.Xattrs {
				if x.Name == "bogus" || len(x.Value) > math.MaxUint16 {
					return false
				}
			}
			return true
		},
	}
}

// image is a writer and the file it writes to.
type image struct {
	*erofs.Writer
	file   *rootfstest.File
	refuse func(rootfs.Entry) string
}

func (i *image) Add(e rootfs.Entry, data io.Reader) error {
	if reason := i.refuse(e); reason != "" {
		i.Writer.Close()
		return &rootfs.EntryError{Path: e.Path, Reason: reason}
	}
	return i.Writer.Add(e, data)
}

func (i *image) Close() error {
	err := i.Writer.Close()
	if err == nil {
		err = i.file.Truncate(i.Size())
	}
	if cerr := i.file.Close(); err == nil {
		err = cerr
	}
	return err
}

func create(o erofs.Options, refuse func(rootfs.Entry) string) func(string, int64) (rootfstest.Writer, error) {
	return func(dir string, limit int64) (rootfstest.Writer, error) {
		f, err := rootfstest.OpenFile(filepath.Join(dir, imageName), limit)
		if err != nil {
			return nil, err
		}
		w, err := erofs.NewWriter(f, o)
		return &image{w, f, refuse}, err
	}
}

// TestKernel has the suite judged by Linux.
func TestKernel(t *testing.T) {
	t.Parallel()
	needMount(t)
	tool := testbed.Tool(t, "fsck.erofs")
	refuse := func(e rootfs.Entry) string {
		if max(e.UID, e.GID) == math.MaxUint32 {
			return "Linux has no such owner"
		}
		for _, x := range e.Xattrs {
			if e.Kind() != 0 && !e.Mode.IsDir() && strings.HasPrefix(x.Name, "user.") {
				return "Linux shows these only of files and directories"
			}
		}
		return ""
	}
	can := abilities(refuse)
	can.MaxID = math.MaxUint32 - 1
	rootfstest.Test(t, rootfstest.Format{
		Create: create(testOptions, refuse),
		Read: func(dir string) (nodes []rootfstest.Node, err error) {
			path := filepath.Join(dir, imageName)
			if err := fsck(tool, path); err != nil {
				return nil, err
			}
			err = mounted(path, func(root string) (err error) {
				nodes, err = rootfstest.Walk(root)
				return err
			})
			return nodes, err
		},
		Can: can,
	})
}

// fsck demands that fsck.erofs has no complaint about an image.
func fsck(tool, path string, options ...string) error {
	out, err := exec.Command(tool, append(options, path)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		return fmt.Errorf("fsck.erofs: %v\n%.3000s", err, out)
	}
	return nil
}

// needMount skips the test where images cannot be mounted.
func needMount(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root can mount")
	}
	testbed.Tool(t, "mount")
	dir := t.TempDir()
	path := filepath.Join(dir, imageName)
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o777); err != nil {
		t.Fatal(err)
	}
	testbed.Run(t, "mkfs.erofs", path, filepath.Join(dir, "empty"))
	if err := mounted(path, func(string) error { return nil }); err != nil {
		t.Skipf("SKIPPED: this system mounts nothing: %v", err)
	}
}

// mounted mounts an image while do runs.
func mounted(path string, do func(root string) error) (err error) {
	root := path + ".mnt"
	if err := os.Mkdir(root, 0o777); err != nil {
		return err
	}
	defer os.Remove(root)
	if out, err := exec.Command("mount", "-t", "erofs", "-o", "ro,loop", path, root).CombinedOutput(); err != nil {
		return fmt.Errorf("mount: %v: %s", err, out)
	}
	defer func() {
		if out, uerr := exec.Command("umount", root).CombinedOutput(); uerr != nil {
			err = fmt.Errorf("umount: %v: %s", uerr, out)
		}
	}()
	return do(root)
}
