package vfat_test

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thaw/image/vfat"
	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

// TestMatrix has trees of chance judged by fsck.vfat, by the tests' own reader and
// by mtools.
func TestMatrix(t *testing.T) { rootfstest.TestMatrix(t, matrix(t)) }

func FuzzMatrix(f *testing.F) { rootfstest.FuzzMatrix(f, matrix(f)) }

func matrix(t testing.TB) rootfstest.Matrix {
	t.Helper()
	fsck, mcopy := testbed.Tool(t, "fsck.vfat"), testbed.Tool(t, "mcopy")
	can := abilities()
	can.MaxFile = 100 * mib // TestLargest has a larger one
	return rootfstest.Matrix{
		Create: func(dir string, t *rootfstest.Tree, _ int) (rootfstest.Writer, error) {
			o, err := matrixOptions(t)
			if err != nil {
				return nil, err
			}
			return create(o, func(rootfs.Entry) string { return "" })(dir, math.MaxInt64)
		},
		Judges: []rootfstest.Judge{
			{Name: "fsck.vfat", Can: can, Read: func(dir string, t *rootfstest.Tree) ([]rootfstest.Node, error) {
				path := filepath.Join(dir, imageName)
				if err := check(fsck, path); err != nil {
					return nil, err
				}
				_, nodes, err := readImage(path)
				return nodes, err
			}},
			{Name: "mtools", Can: can, Read: func(dir string, t *rootfstest.Tree) ([]rootfstest.Node, error) {
				for _, e := range t.Entries {
					if mtoolsRefuses(e) != "" {
						return nil, errors.ErrUnsupported
					}
				}
				return readMtools(mcopy, dir)
			}},
		},
		Can: func(uint64) rootfstest.Abilities { return can },
	}
}

func matrixOptions(t *rootfstest.Tree) (vfat.Options, error) {
	rnd := t.Rand()
	o := vfat.Options{Serial: 0x1234abcd, Capacity: 200 * mib, SectorSize: []int{0, 512, 512, 1024, 2048, 4096}[rnd.IntN(6)]}
	if rnd.IntN(2) == 0 {
		o.Label = "LABEL"
	}
	slots := 0 // in the root directory, of which FAT12 and FAT16 have 512
	for _, e := range t.Entries {
		if !strings.Contains(e.Path, "/") {
			slots += 2 + len(e.Path)/13
		}
	}
	switch bits := []int{0, 12, 16, 32}[rnd.IntN(4)]; {
	case bits == 32 || slots > 500:
		o.Bits, o.SectorSize, o.ClusterSize = 32, 512, 512 // or it would be large
	case bits != 12 || t.Bytes() < mib && len(t.Entries) < 1000:
		o.Bits = bits
		if rnd.IntN(3) == 0 && bits != 12 {
			o.ClusterSize = max(o.SectorSize, 512<<rnd.IntN(4))
		}
	}
	switch rnd.IntN(4) {
	case 0:
		o.Free = rnd.Int64N(mib)
	case 1:
		o.FreePercent = rnd.IntN(200)
	}
	if rnd.IntN(2) == 0 {
		return o, nil
	}
	return vfat.Fit(o, slices.Values(t.Entries))
}
