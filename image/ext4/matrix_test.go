package ext4_test

import (
	"errors"
	"math"
	"path/filepath"
	"testing"

	"thaw/image/ext4"
	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

// TestMatrix has trees of chance judged by e2fsck, debugfs and Linux.
func TestMatrix(t *testing.T) { rootfstest.TestMatrix(t, matrix(t)) }

func FuzzMatrix(f *testing.F) { rootfstest.FuzzMatrix(f, matrix(f)) }

func matrix(t testing.TB) rootfstest.Matrix {
	t.Helper()
	needMount(t)
	e2fsck, debugfs, dumpe2fs := testbed.Tool(t, "e2fsck"), testbed.Tool(t, "debugfs"), testbed.Tool(t, "dumpe2fs")
	refuse := func(rootfs.Entry) string { return "" }
	can := func(number uint64) rootfstest.Abilities {
		blockSize := matrixBlockSize(number)
		can := abilities(ext4.Options{BlockSize: blockSize}, refuse)
		can.MaxID = math.MaxUint32 - 1
		can.Xattrs = func(e rootfs.Entry) bool {
			left := blockSize - 32 - 4 // as if there were no room in the inode
			for _, x := range e.Xattrs {
				left -= 16 + (len(x.Name)+3)&^3 + (len(x.Value)+3)&^3
			}
			return left >= 0
		}
		return can
	}
	return rootfstest.Matrix{
		Create: func(dir string, t *rootfstest.Tree, _ int) (rootfstest.Writer, error) {
			return create(matrixOptions(t), refuse)(dir, math.MaxInt64)
		},
		Judges: []rootfstest.Judge{
			{Name: "e2fsck and Linux", Can: can(0), Read: func(dir string, t *rootfstest.Tree) (nodes []rootfstest.Node, err error) {
				path := filepath.Join(dir, imageName)
				if err := check(e2fsck, path); err != nil {
					return nil, err
				}
				err = mounted(path, "ro,noload", func(root string) error {
					all, err := rootfstest.Walk(root)
					for _, n := range all {
						if n.Path != "lost+found" {
							nodes = append(nodes, n)
						}
					}
					return err
				})
				return nodes, err
			}},
			{Name: "debugfs", Can: can(0), Read: func(dir string, t *rootfstest.Tree) ([]rootfstest.Node, error) {
				if len(t.Entries) > 3000 || t.Bytes() > gib {
					return nil, errors.ErrUnsupported // it takes long
				}
				path := filepath.Join(dir, imageName)
				inodes, err := usedInodes(dumpe2fs, path)
				if err != nil {
					return nil, err
				}
				return readDebugfs(debugfs, path, inodes)
			}},
		},
		Can: can,
	}
}

func matrixOptions(t *rootfstest.Tree) ext4.Options {
	rnd := t.Rand()
	o := testOptions
	o.Label = []string{"", "thaw", "sixteen bytes..."}[rnd.IntN(3)]
	for i := range o.HashSeed {
		o.HashSeed[i] = byte(rnd.Uint32())
	}
	switch rnd.IntN(4) {
	case 0:
		o.Size = 300*mib + rnd.Int64N(gib)
	case 1:
		o.Free = rnd.Int64N(300 * mib)
	case 2:
		o.FreePercent = rnd.IntN(200)
	}
	if o.BlockSize = matrixBlockSize(t.Number); rnd.IntN(2) == 0 && o.BlockSize == 4096 {
		o.Capacity = 4*gib + rnd.Int64N(64*gib)
	}
	switch rnd.IntN(4) {
	case 0:
		o.Inodes = int64(len(t.Entries)) + 100 + rnd.Int64N(50_000)
	case 1:
		o.BytesPerInode = 1024 << rnd.IntN(17)
	}
	if rnd.IntN(3) == 0 {
		o.ReservedPercent = rnd.IntN(51)
	}
	if rnd.IntN(4) == 0 {
		o.Journal = []int64{ext4.JournalAuto, 4 * mib}[rnd.IntN(2)]
	}
	return o
}

// matrixBlockSize is that of the tree of a number.
func matrixBlockSize(number uint64) int {
	return []int{4096, 1024, 4096, 2048}[number%4]
}
