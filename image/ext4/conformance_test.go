package ext4_test

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/image/ext4"
	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

const imageName = "image"

// abilities are what ext4 holds, but for what refuse says that a judge cannot
// tell.
func abilities(o ext4.Options, refuse func(rootfs.Entry) string) rootfstest.Abilities {
	blockSize := cmp.Or(o.BlockSize, 4096)
	return rootfstest.Abilities{
		MaxTarget: blockSize - 1,
		MaxMajor:  1<<12 - 1, MaxMinor: 1<<20 - 1,
		Fifos:     true,
		HardLinks: true,
		Modes:     rootfstest.Held,
		Owners:    rootfstest.Held,
		Times:     rootfstest.Held,
		MinTime:   ext4.MinTime, MaxTime: ext4.MaxTime,
		Resolution: time.Nanosecond,
		Xattrs: func(e rootfs.Entry) bool {
			if refuse(e) != "" {
				return false
			}
			for _, x := range e.Xattrs {
				if x.Name == "bogus" || len(x.Value) > blockSize-32-4-16-len(x.Name)&^3 {
					return false
				}
			}
			return true
		},
	}
}

// image is a writer and the file it writes to.
type image struct {
	*ext4.Writer
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

func create(o ext4.Options, refuse func(rootfs.Entry) string) func(string, int64) (rootfstest.Writer, error) {
	return func(dir string, limit int64) (rootfstest.Writer, error) {
		f, err := rootfstest.OpenFile(filepath.Join(dir, imageName), limit)
		if err != nil {
			return nil, err
		}
		w, err := ext4.NewWriter(f, o)
		return &image{w, f, refuse}, err
	}
}

// TestDebugfs has the suite judged by e2fsck and debugfs.
func TestDebugfs(t *testing.T) {
	t.Parallel()
	debugfsSuite(t, testOptions)
}

// TestDebugfs1K has other options judged likewise.
func TestDebugfs1K(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("SKIPPED: the same with other options")
	}
	o := testOptions
	o.BlockSize, o.Journal = 1024, ext4.JournalAuto
	debugfsSuite(t, o)
}

func debugfsSuite(t *testing.T, o ext4.Options) {
	tool, e2fsck, dumpe2fs := testbed.Tool(t, "debugfs"), testbed.Tool(t, "e2fsck"), testbed.Tool(t, "dumpe2fs")
	refuse := func(e rootfs.Entry) string {
		for _, x := range e.Xattrs {
			if strings.ContainsAny(x.Name, "\n=") {
				return "debugfs has no way to name the attribute"
			}
		}
		if e.Size > 1<<30 {
			return "debugfs takes long for it"
		}
		return ""
	}
	can := abilities(o, refuse)
	can.MaxFile = 1 << 30
	rootfstest.Test(t, rootfstest.Format{
		Create: create(o, refuse),
		Read: func(dir string) ([]rootfstest.Node, error) {
			path := filepath.Join(dir, imageName)
			if err := check(e2fsck, path); err != nil {
				return nil, err
			}
			inodes, err := usedInodes(dumpe2fs, path)
			if err != nil {
				return nil, err
			}
			return readDebugfs(tool, path, inodes)
		},
		Can: can,
	})
}

// usedInodes returns how many inodes are in use, which are the first ones.
func usedInodes(dumpe2fs, path string) (int, error) {
	out, err := exec.Command(dumpe2fs, "-h", path).Output()
	if err != nil {
		return 0, err
	}
	all, free := 0, math.MaxInt
	for line := range strings.Lines(string(out)) {
		fmt.Sscanf(line, "Inode count: %d", &all)
		fmt.Sscanf(line, "Free inodes: %d", &free)
	}
	if all < free {
		return 0, fmt.Errorf("dumpe2fs: %s", out)
	}
	return all - free, nil
}

// TestKernel has the suite judged by Linux.
func TestKernel(t *testing.T) {
	t.Parallel()
	kernelSuite(t, testOptions, false)
}

// TestKernelVariants has other options judged likewise, but without a huge file.
func TestKernelVariants(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("SKIPPED: the same with other options")
	}
	for _, v := range variants[1:4] {
		t.Run(v.name, func(t *testing.T) { kernelSuite(t, v.options, true) })
	}
}

func kernelSuite(t *testing.T, o ext4.Options, noHuge bool) {
	needMount(t)
	e2fsck := testbed.Tool(t, "e2fsck")
	refuse := func(e rootfs.Entry) string {
		if max(e.UID, e.GID) == math.MaxUint32 {
			return "Linux has no such owner"
		}
		if noHuge && e.Size > 1<<30 {
			return "another test has it"
		}
		for _, x := range e.Xattrs {
			if e.Kind() != 0 && e.Kind() != fs.ModeDir && strings.HasPrefix(x.Name, "user.") {
				return "Linux shows these only of files and directories"
			}
		}
		return ""
	}
	can := abilities(o, refuse)
	can.MaxID = math.MaxUint32 - 1
	if noHuge {
		can.MaxFile = 1 << 30
	}
	rootfstest.Test(t, rootfstest.Format{
		Create: create(o, refuse),
		Read: func(dir string) (nodes []rootfstest.Node, err error) {
			path := filepath.Join(dir, imageName)
			if err := check(e2fsck, path); err != nil {
				return nil, err
			}
			err = mounted(path, "ro", func(root string) error {
				all, err := rootfstest.Walk(root)
				for _, n := range all {
					if n.Path != "lost+found" {
						nodes = append(nodes, n)
					}
				}
				return err
			})
			return nodes, err
		},
		Can: can,
	})
}

// needMount skips the test where images cannot be mounted.
func needMount(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root can mount")
	}
	testbed.Tool(t, "mount")
	path := filepath.Join(t.TempDir(), imageName)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	testbed.Run(t, "mkfs.ext4", "-q", path, "1M")
	if err := mounted(path, "ro", func(string) error { return nil }); err != nil {
		t.Skipf("SKIPPED: this system mounts nothing: %v", err)
	}
}

// mounted mounts an image while do runs.
func mounted(path, options string, do func(root string) error) error {
	return testbed.Mounted(path, "ext4", options, do)
}
