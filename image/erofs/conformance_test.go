package erofs_test

import (
	"io"
	"math"
	"os"
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
		MaxFile:   maxFile,
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

// withCompression returns options for one that is done by two at a time.
func withCompression(c erofs.Compression, cluster int) erofs.Options {
	o := testOptions
	o.Compression, o.ClusterSize, o.Jobs = c, cluster, 2
	return o
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
		return tooLong(e)
	}
	can := abilities(refuse)
	can.MaxID = math.MaxUint32 - 1
	rootfstest.Test(t, rootfstest.Format{
		Create: create(testOptions, refuse),
		Read: func(dir string) ([]rootfstest.Node, error) {
			path := filepath.Join(dir, imageName)
			if err := fsck(tool, path); err != nil {
				return nil, err
			}
			return readKernel(path)
		},
		Can: can,
	})
}

// tooLong refuses what takes a judge long: TestLarge has a file like that.
func tooLong(e rootfs.Entry) string {
	if e.Size > maxFile {
		return "it takes long to read"
	}
	return ""
}

const maxFile = 1 << 30

// TestFsck has the suite judged by what fsck.erofs extracts. Its files cannot be
// compressed, but go that way.
func TestFsck(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root can extract devices")
	}
	tool := testbed.Tool(t, "fsck.erofs")
	const maxPath, maxTime = 3000, 1<<31 - 1
	refuse := func(e rootfs.Entry) string {
		switch sec := e.ModTime.Unix(); {
		case len(e.Path) > maxPath:
			return "fsck.erofs has no room for the path"
		case sec < 0 || sec > maxTime:
			return "the file system below may not hold the time"
		case len(e.Xattrs) > 0:
			return "fsck.erofs extracts none"
		}
		return tooLong(e)
	}
	can := abilities(refuse)
	can.HardLinks = false           // fsck.erofs extracts a file for each name
	can.Owners = rootfstest.Dropped // changing them would clear setuid
	can.MaxPath, can.MinTime, can.MaxTime = maxPath, 0, maxTime
	rootfstest.Test(t, rootfstest.Format{
		Create: create(withCompression(erofs.LZ4, 4<<10), refuse),
		Read: func(dir string) ([]rootfstest.Node, error) {
			return readFsck(tool, filepath.Join(dir, imageName))
		},
		Can: can,
	})
}
