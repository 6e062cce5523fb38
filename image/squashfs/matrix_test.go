package squashfs_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"thaw/image/squashfs"
	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

// TestMatrix has trees of chance judged by unsquashfs and Linux.
func TestMatrix(t *testing.T) { rootfstest.TestMatrix(t, matrix(t)) }

func FuzzMatrix(f *testing.F) { rootfstest.FuzzMatrix(f, matrix(f)) }

func matrix(t testing.TB) rootfstest.Matrix {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can set owners, make devices and mount")
	}
	unsquashfs := testbed.Tool(t, "unsquashfs")
	can := abilities(func(rootfs.Entry) string { return "" })
	can.MaxFile = 0
	can.MaxID = math.MaxUint32 - 1
	m := rootfstest.Matrix{
		Create: func(dir string, t *rootfstest.Tree, jobs int) (rootfstest.Writer, error) {
			return create(matrixOptions(t, jobs), func(rootfs.Entry) string { return "" })(dir, math.MaxInt64)
		},
		Judges: []rootfstest.Judge{
			{Name: "unsquashfs", Can: can, Read: func(dir string, t *rootfstest.Tree) ([]rootfstest.Node, error) {
				if t.Bytes() > maxFile || !belowHolds(t) {
					return nil, errors.ErrUnsupported
				}
				return unsquash(unsquashfs, filepath.Join(dir, imageName), filepath.Join(dir, "root"))
			}},
		},
		Can:  func(uint64) rootfstest.Abilities { return can },
		Jobs: true,
	}
	if err := mountable(); err != nil {
		t.Logf("SKIPPED: Linux as a judge: %v", err)
	} else {
		m.Judges = append(m.Judges, rootfstest.Judge{Name: "Linux", Can: can, Read: func(dir string, _ *rootfstest.Tree) ([]rootfstest.Node, error) {
			return mountAndWalk(filepath.Join(dir, imageName))
		}})
	}
	return m
}

// belowHolds reports whether the file system to which unsquashfs writes holds the
// extended attributes.
func belowHolds(t *rootfstest.Tree) bool {
	for _, e := range t.Entries {
		size := 0
		for _, x := range e.Xattrs {
			size += len(x.Name) + len(x.Value)
		}
		if size > 3500 {
			return false
		}
	}
	return true
}

func matrixOptions(t *rootfstest.Tree, jobs int) squashfs.Options {
	rnd := t.Rand()
	o := squashfs.Options{
		Time:        rnd.Int64N(squashfs.MaxTime + 1),
		Compression: squashfs.Compression(t.Number % 5),
		Fast:        rnd.IntN(4) > 0,
		BlockSize:   squashfs.MinBlockSize << rnd.IntN(9),
		Jobs:        jobs,
	}
	if t.Bytes() > 2<<20 { // or it would take long
		o.Fast, o.BlockSize = true, max(o.BlockSize, 64<<10)
		if o.Compression == squashfs.XZ {
			o.Compression = squashfs.Zstd
		}
	}
	return o
}
