package dir_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thaw/image/dir"
	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

// TestMatrix walks trees of chance.
func TestMatrix(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can keep owners and make devices")
	}
	f := format(t, dir.KeepOwners)
	f.Can.MaxFile = 100 << 20 // TestConformance has a file of more than 4 GiB
	holds := f.Can.Xattrs
	f.Can.Xattrs = func(e rootfs.Entry) bool {
		for _, x := range e.Xattrs { // the file system's room has their names in it, too
			e.Xattrs = append(e.Xattrs, rootfs.Xattr{Name: x.Name, Value: []byte(x.Name + strings.Repeat("-", 20))})
		}
		return holds(e)
	}
	rootfstest.TestMatrix(t, rootfstest.Matrix{
		Create: func(tmp string, _ *rootfstest.Tree, _ int) (rootfstest.Writer, error) {
			return f.Create(tmp, math.MaxInt64)
		},
		Judges: []rootfstest.Judge{{Name: "Linux", Can: f.Can, Read: func(tmp string, _ *rootfstest.Tree) ([]rootfstest.Node, error) {
			return f.Read(tmp)
		}}},
		Can: func(uint64) rootfstest.Abilities { return f.Can },
	})
}

// TestFaults gives a writer fewer inodes than it needs, and each time the file
// system's error must come out of the entry that has none.
func TestFaults(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can mount")
	}
	var entries []rootfs.Entry
	for i := range 5 {
		for _, kind := range []fs.FileMode{fs.ModeDir | 0o755, 0o644, fs.ModeSymlink | 0o777, fs.ModeNamedPipe | 0o644} {
			e := rootfs.Entry{Path: fmt.Sprintf("%v%d", kind.Type(), i), Mode: kind, ModTime: time.Unix(1, 0)}
			if kind.Type() == fs.ModeSymlink {
				e.Target = "target"
			}
			entries = append(entries, e)
		}
	}
	for room := range entries {
		tree := t.TempDir()
		if err := unix.Mount("tmpfs", tree, "tmpfs", 0, fmt.Sprintf("nr_inodes=%d", room+1)); err != nil { // one for the root
			t.Fatal(err)
		}
		w := newWriter(t, tree, dir.KeepOwners)
		add(t, w, rootfs.Entry{Path: ".", Mode: fs.ModeDir | 0o755, ModTime: time.Unix(1, 0)})
		for i, e := range entries[:room+1] {
			var data io.Reader
			if e.Kind() == 0 {
				data = strings.NewReader("")
			}
			err := w.Add(e, data)
			if i < room && err != nil || i == room && !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%d inodes, entry %d: %v", room, i, err)
			}
		}
		if w.Add(rootfs.Entry{Path: "after", Mode: fs.ModeDir | 0o755, ModTime: time.Unix(1, 0)}, nil) == nil || w.Close() == nil {
			t.Errorf("%d inodes: the writer works on", room)
		}
		if err := testbed.Unmount(tree); err != nil {
			t.Fatal(err)
		}
	}
}
