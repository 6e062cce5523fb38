package cpio_test

import (
	"math"
	"os"
	"testing"

	"thaw/rootfs/rootfstest"
)

// TestMatrix has trees of chance read by a reader of its own and by GNU cpio.
func TestMatrix(t *testing.T) { rootfstest.TestMatrix(t, matrix(t)) }

func FuzzMatrix(f *testing.F) { rootfstest.FuzzMatrix(f, matrix(f)) }

func matrix(t testing.TB) rootfstest.Matrix {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can set owners and make devices")
	}
	tool := gnuCpio(t)
	can := can
	can.MaxFile = 100 << 20 // TestLargest has a larger one
	can.MaxID = math.MaxUint32 - 1
	return rootfstest.Matrix{
		Create: func(dir string, _ *rootfstest.Tree, _ int) (rootfstest.Writer, error) {
			return create(dir, math.MaxInt64)
		},
		Judges: []rootfstest.Judge{{Name: "GNU cpio", Can: can, Read: func(dir string, _ *rootfstest.Tree) ([]rootfstest.Node, error) {
			return readBoth(tool, dir)
		}}},
		Can: func(uint64) rootfstest.Abilities { return can },
	}
}
