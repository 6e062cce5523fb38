package squashfs_test

import (
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"thaw/image/squashfs"
	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

const imageName = "image"

// testOptions are those of images whose options do not matter.
var testOptions = squashfs.Options{Time: 1_000_000_000, Fast: true}

// maxFile bounds the files of the suite: [TestHuge] and [TestMatrix] have larger
// ones.
const maxFile = 1 << 30

func tooLong(e rootfs.Entry) string {
	if e.Size > maxFile {
		return "it takes long"
	}
	return ""
}

// abilities are what squashfs holds, but for what refuse says that a judge
// cannot tell.
func abilities(refuse func(rootfs.Entry) string) rootfstest.Abilities {
	return rootfstest.Abilities{
		MaxFile:   maxFile,
		MaxTarget: rootfs.MaxTarget,
		MaxMajor:  1<<12 - 1, MaxMinor: 1<<20 - 1,
		Fifos:      true,
		HardLinks:  true,
		Modes:      rootfstest.Held,
		Owners:     rootfstest.Held,
		Times:      rootfstest.Held,
		MaxTime:    squashfs.MaxTime,
		Resolution: time.Second,
		Xattrs: func(e rootfs.Entry) bool {
			for _, x := range e.Xattrs {
				if x.Name == "bogus" {
					return false
				}
			}
			return refuse(e) == ""
		},
	}
}

// image is a writer and the file it writes to.
type image struct {
	*squashfs.Writer
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

func create(o squashfs.Options, refuse func(rootfs.Entry) string) func(string, int64) (rootfstest.Writer, error) {
	return func(dir string, limit int64) (rootfstest.Writer, error) {
		f, err := rootfstest.OpenFile(filepath.Join(dir, imageName), limit)
		if err != nil {
			return nil, err
		}
		w, err := squashfs.NewWriter(f, o)
		return &image{w, f, refuse}, err
	}
}

// TestUnsquashfs has the suite judged by unsquashfs.
func TestUnsquashfs(t *testing.T) {
	t.Parallel()
	tool := testbed.Tool(t, "unsquashfs")
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can set owners and make devices")
	}
	const maxPath = 3800
	refuse := func(e rootfs.Entry) string {
		if max(e.UID, e.GID) == math.MaxUint32 {
			return "Linux has no such owner"
		}
		if len(e.Path) > maxPath {
			return "unsquashfs goes by whole paths"
		}
		size := 0
		for _, x := range e.Xattrs {
			size += len(x.Name) + len(x.Value)
			if e.Kind() != 0 && e.Kind() != fs.ModeDir && strings.HasPrefix(x.Name, "user.") {
				return "Linux sets these only on files and directories"
			}
			if e.Kind() == fs.ModeSymlink && x.Name == "security.capability" {
				return "setting the owner, which comes later, takes it away"
			}
		}
		if size > 3500 {
			return "the file system below holds no more"
		}
		return tooLong(e)
	}
	can := abilities(refuse)
	can.MaxID = math.MaxUint32 - 1
	can.MaxPath = maxPath
	rootfstest.Test(t, rootfstest.Format{
		Create: create(testOptions, refuse),
		Read: func(dir string) ([]rootfstest.Node, error) {
			root := filepath.Join(dir, "root")
			return unsquash(tool, filepath.Join(dir, imageName), root)
		},
		Can: can,
	})
}

// unsquash reads an image by unsquashfs.
func unsquash(tool, path, root string) ([]rootfstest.Node, error) {
	out, err := exec.Command(tool, "-no-progress", "-xattrs", "-strict-errors", "-d", root, path).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("unsquashfs: %v\n%.3000s", err, out)
	}
	return rootfstest.Walk(root)
}

// TestKernel has the suite judged by Linux.
func TestKernel(t *testing.T) {
	t.Parallel()
	needMount(t)
	refuse := func(e rootfs.Entry) string {
		if max(e.UID, e.GID) == math.MaxUint32 {
			return "Linux has no such owner"
		}
		for _, x := range e.Xattrs {
			if e.Kind() != 0 && e.Kind() != fs.ModeDir && strings.HasPrefix(x.Name, "user.") {
				return "Linux shows these only of files and directories"
			}
		}
		return tooLong(e)
	}
	can := abilities(refuse)
	can.MaxID = math.MaxUint32 - 1
	rootfstest.Test(t, rootfstest.Format{
		Create: create(testOptions, refuse),
		Read:   func(dir string) ([]rootfstest.Node, error) { return mountAndWalk(filepath.Join(dir, imageName)) },
		Can:    can,
	})
}

// needMount skips the test where images cannot be mounted.
func needMount(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root can mount")
	}
	testbed.Tool(t, "mount")
	if err := mountable(); err != nil {
		t.Skipf("SKIPPED: this system mounts no squashfs: %v", err)
	}
}

// mountable tries to mount an image that is not ours.
var mountable = sync.OnceValue(func() error {
	dir, err := os.MkdirTemp("", "squashfs")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, imageName)
	if out, err := exec.Command("mksquashfs", os.DevNull, path, "-quiet", "-no-progress").CombinedOutput(); err != nil {
		return fmt.Errorf("mksquashfs: %v: %s", err, out)
	}
	return mounted(path, func(string) error { return nil })
})

func mountAndWalk(path string) (nodes []rootfstest.Node, err error) {
	err = mounted(path, func(root string) (err error) {
		nodes, err = rootfstest.Walk(root)
		return err
	})
	return nodes, err
}

// mounted mounts an image while do runs.
func mounted(path string, do func(root string) error) error {
	return testbed.Mounted(path, "squashfs", "ro", do)
}
