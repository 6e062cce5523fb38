package tarball_test

import (
	"math"
	"os"
	"testing"

	"thaw/rootfs/rootfstest"
)

// TestMatrix has trees of chance read by archive/tar and by GNU tar.
func TestMatrix(t *testing.T) { rootfstest.TestMatrix(t, matrix(t)) }

func FuzzMatrix(f *testing.F) { rootfstest.FuzzMatrix(f, matrix(f)) }

func matrix(t testing.TB) rootfstest.Matrix {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can set owners and make devices")
	}
	tool := gnuTar(t)
	can := can
	can.MaxFile = 100 << 20 // TestConformance has a file of more than 4 GiB
	can.MaxID = math.MaxUint32 - 1
	return rootfstest.Matrix{
		Create: func(dir string, _ *rootfstest.Tree, _ int) (rootfstest.Writer, error) {
			return create(dir, math.MaxInt64)
		},
		Judges: []rootfstest.Judge{{Name: "GNU tar", Can: can, Read: func(dir string, _ *rootfstest.Tree) ([]rootfstest.Node, error) {
			return readBoth(tool, dir)
		}}},
		Can: func(uint64) rootfstest.Abilities { return can },
	}
}
