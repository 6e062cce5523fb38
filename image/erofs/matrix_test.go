package erofs_test

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"thaw/image/erofs"
	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

// TestMatrix has trees of chance judged by fsck.erofs, dump.erofs and Linux.
func TestMatrix(t *testing.T) { rootfstest.TestMatrix(t, matrix(t)) }

func FuzzMatrix(f *testing.F) { rootfstest.FuzzMatrix(f, matrix(f)) }

func matrix(t testing.TB) rootfstest.Matrix {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can extract devices and mount")
	}
	fsckTool, dumpTool := testbed.Tool(t, "fsck.erofs"), testbed.Tool(t, "dump.erofs")
	can := everything
	can.MaxFile = 0
	can.MaxID = math.MaxUint32 - 1
	extracted := can
	extracted.HardLinks, extracted.Xattrs = false, nil
	extracted.Owners, extracted.Times = rootfstest.Dropped, rootfstest.Dropped
	dedupes := newLinux(t)
	options := func(t *rootfstest.Tree, jobs int) erofs.Options {
		o := matrixOptions(t, jobs)
		o.Dedupe = o.Dedupe && dedupes
		return o
	}
	m := rootfstest.Matrix{
		Create: func(dir string, t *rootfstest.Tree, jobs int) (rootfstest.Writer, error) {
			return create(options(t, jobs), func(rootfs.Entry) string { return "" })(dir, math.MaxInt64)
		},
		Judges: []rootfstest.Judge{
			{Name: "fsck.erofs", Can: extracted, Read: func(dir string, t *rootfstest.Tree) ([]rootfstest.Node, error) {
				o := options(t, 1)
				if o.Dedupe && o.Compression != erofs.None { // which fsck.erofs 1.5 does not know
					return nil, errors.ErrUnsupported
				}
				path := filepath.Join(dir, imageName)
				if err := dump(dumpTool, path, t); err != nil {
					return nil, err
				}
				if o.Compression == erofs.None { // it leaves off a hole at a file's end
					return nil, cmp.Or(fsck(fsckTool, path, "--extract"), errors.ErrUnsupported)
				}
				return readFsck(fsckTool, path)
			}},
		},
		Can:  func(uint64) rootfstest.Abilities { return can },
		Jobs: true,
	}
	if err := mountError(t); err != nil {
		t.Logf("SKIPPED: Linux as a judge: %v", err)
	} else {
		m.Judges = append(m.Judges, rootfstest.Judge{Name: "Linux", Can: can, Read: func(dir string, _ *rootfstest.Tree) ([]rootfstest.Node, error) {
			return readKernel(filepath.Join(dir, imageName))
		}})
	}
	return m
}

// dump demands that dump.erofs finds as many inodes as there are entries, but for
// hard links.
func dump(tool, path string, t *rootfstest.Tree) error {
	out, err := exec.Command(tool, "-s", path).CombinedOutput()
	m := regexp.MustCompile(`(?m)^Filesystem inode count: +(\d+)$`).FindSubmatch(out)
	if err != nil || m == nil || string(m[1]) != fmt.Sprint(t.Inodes()) {
		return fmt.Errorf("dump.erofs: %v; %d inodes are right\n%.3000s", err, t.Inodes(), out)
	}
	return nil
}

func matrixOptions(t *rootfstest.Tree, jobs int) erofs.Options {
	rnd := t.Rand()
	o := testOptions
	o.Label = []string{"", "thaw", "fifteen bytes.."}[rnd.IntN(3)]
	if o.Compression = erofs.Compression(t.Number % 3); t.Bytes() > maxFile {
		o.Compression = erofs.None // or it would take long
	}
	o.ClusterSize = []int{0, 4 << 10, 8 << 10, 12 << 10, 64 << 10, erofs.MaxClusterSize}[rnd.IntN(6)]
	o.Dedupe = rnd.IntN(2) == 0
	o.Jobs = jobs
	return o
}
