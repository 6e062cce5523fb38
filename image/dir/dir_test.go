package dir_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

func TestConformance(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can keep owners and make devices; TestUser runs the suite without")
	}
	rootfstest.Test(t, format(t, dir.KeepOwners))
}

// TestUser runs the suite as an ordinary user: as the one it is, or else in a
// process of its own.
func TestUser(t *testing.T) {
	if os.Geteuid() != 0 {
		rootfstest.Test(t, format(t, dir.IgnoreOwners))
		return
	}
	tmp, err := os.MkdirTemp("", "dir-user")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	const user = 65534
	if err := errors.Join(os.Chown(tmp, user, user), os.Chmod(tmp, 0o700)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^(TestUser|TestUserOwners)$", fmt.Sprintf("-test.short=%v", testing.Short()))
	cmd.Dir = tmp
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("as user %d: %v\n%s", user, err, out)
	}
}

// TestUserOwners checks that a user who asks for owners he cannot give is told.
func TestUserOwners(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("run by TestUser")
	}
	w := newWriter(t, t.TempDir(), dir.KeepOwners)
	add(t, w, rootfs.Entry{Path: ".", Mode: fs.ModeDir | 0o755, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())})
	err := w.Add(rootfs.Entry{Path: "theirs", Mode: 0o644, UID: 0, GID: 0}, strings.NewReader(""))
	var refusal *rootfs.EntryError
	if !errors.As(err, &refusal) || refusal.Error() != `"theirs": chown to 0:0: operation not permitted` {
		t.Errorf("error %v", err)
	}
}

func format(t *testing.T, owners dir.Owners) rootfstest.Format {
	f := rootfstest.Format{
		Create: func(tmp string, limit int64) (rootfstest.Writer, error) {
			if limit < 0 {
				return nil, errors.ErrUnsupported // see TestFaults
			}
			tree := filepath.Join(tmp, "tree")
			if err := os.Mkdir(tree, 0o755); err != nil {
				return nil, err
			}
			if limit < math.MaxInt64 {
				return onFullDisk(tree, limit, owners)
			}
			root, err := os.OpenRoot(tree)
			if err != nil {
				return nil, err
			}
			defer root.Close()
			return dir.NewWriter(root, dir.Options{Owners: owners})
		},
		Read: func(tmp string) ([]rootfstest.Node, error) {
			return rootfstest.Walk(filepath.Join(tmp, "tree"))
		},
		Can: rootfstest.Abilities{
			MaxTarget: rootfs.MaxTarget,
			Fifos:     true, HardLinks: true,
			Modes: rootfstest.Held, Owners: rootfstest.Dropped,
			Times: rootfstest.Held, Resolution: time.Nanosecond,
		},
	}
	f.Can.MinTime, f.Can.MaxTime = timeRange(t)
	held := []string{"user."}
	if owners == dir.KeepOwners {
		f.Can.MaxMajor, f.Can.MaxMinor = 1<<12-1, 1<<20-1
		f.Can.Owners, f.Can.MaxID = rootfstest.Held, math.MaxUint32-1
		held = append(held, "security.", "trusted.")
	}
	largest := largestXattr(t)
	f.Can.Xattrs = func(e rootfs.Entry) bool {
		size := 0
		for _, x := range e.Xattrs {
			size += len(x.Value)
			name, _, _ := strings.Cut(x.Name, ".")
			switch {
			case !slices.Contains(held, name+"."):
				return false
			case name == "user" && e.Kind() != 0 && e.Kind() != fs.ModeDir:
				return false // Linux: xattr(7)
			}
		}
		return size <= largest
	}
	return f
}

// mounted is a Writer on a file system that is unmounted with it.
type mounted struct {
	*dir.Writer
	tree string
}

func (m mounted) Close() error {
	return errors.Join(m.Writer.Close(), testbed.Unmount(m.tree))
}

// onFullDisk mounts a small file system on tree. Without the right to do so it
// makes a writer of a closed directory.
func onFullDisk(tree string, limit int64, owners dir.Owners) (rootfstest.Writer, error) {
	root := os.Geteuid() == 0
	if root {
		if err := unix.Mount("tmpfs", tree, "tmpfs", 0, fmt.Sprintf("size=%d", max(limit, 1))); err != nil {
			return nil, err
		}
	}
	r, err := os.OpenRoot(tree)
	if err != nil {
		return nil, err
	}
	if !root {
		r.Close()
	}
	w, err := dir.NewWriter(r, dir.Options{Owners: owners})
	if err != nil {
		return nil, err
	}
	return mounted{w, tree}, r.Close()
}

// timeRange asks the file system of temporary files how far times go.
func timeRange(t *testing.T) (first, last int64) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	far := func(sec int64) int64 {
		ts := unix.Timespec{Sec: sec}
		var st unix.Stat_t
		if err := errors.Join(unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{ts, ts}, 0), unix.Stat(name, &st)); err != nil {
			t.Fatal(err)
		}
		return st.Mtim.Sec
	}
	return far(-1 << 41), far(1 << 41)
}

// largestXattr asks the same for the values of extended attributes, roughly: as
// many bytes of those that the suite has.
func largestXattr(t *testing.T) int {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{65536, 5000, 3000, 1000, 100} {
		if unix.Setxattr(name, "user.test", make([]byte, size), 0) == nil {
			return size
		}
	}
	return -1
}

func newWriter(t *testing.T, path string, owners dir.Owners) *dir.Writer {
	t.Helper()
	root, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	w, err := dir.NewWriter(root, dir.Options{Owners: owners})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func add(t *testing.T, w rootfs.Sink, entries ...rootfs.Entry) {
	t.Helper()
	for _, e := range entries {
		e.ModTime = time.Unix(1, 0)
		var err error
		if e.Kind() == 0 {
			err = w.Add(e, bytes.NewReader(make([]byte, e.Size)))
		} else {
			err = w.Add(e, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

var rootEntry = rootfs.Entry{Path: ".", Mode: fs.ModeDir | 0o755, ModTime: time.Unix(1, 0)}

// TestGiven checks that a file which is given away keeps its setuid bit: chown took
// it where nothing else of the mode was to be set.
func TestGiven(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can give files away")
	}
	tree := t.TempDir()
	w := newWriter(t, tree, dir.KeepOwners)
	add(t, w, rootEntry)
	for _, kind := range []fs.FileMode{0, fs.ModeNamedPipe} {
		e := rootfs.Entry{Path: "given" + kind.String(), Mode: kind | fs.ModeSetuid | 0o755, UID: 7}
		add(t, w, e)
		if info, err := os.Lstat(filepath.Join(tree, e.Path)); err != nil || info.Mode() != e.Mode {
			t.Errorf("%v, %v instead of %v", err, info.Mode(), e.Mode)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestExisting checks that nothing there is written over or through.
func TestExisting(t *testing.T) {
	for _, kind := range []fs.FileMode{0, fs.ModeDir, fs.ModeSymlink, fs.ModeNamedPipe} {
		for _, there := range []string{"file", "dir", "link to outside", "dangling link"} {
			tmp := t.TempDir()
			outside := filepath.Join(tmp, "outside")
			tree := filepath.Join(tmp, "tree")
			name := filepath.Join(tree, "name")
			err := errors.Join(os.Mkdir(tree, 0o755), os.WriteFile(outside, []byte("kept"), 0o644))
			switch there {
			case "file":
				err = errors.Join(err, os.WriteFile(name, []byte("kept"), 0o644))
			case "dir":
				err = errors.Join(err, os.Mkdir(name, 0o755))
			case "link to outside":
				err = errors.Join(err, os.Symlink("../outside", name))
			case "dangling link":
				err = errors.Join(err, os.Symlink("../new", name))
			}
			if err != nil {
				t.Fatal(err)
			}
			w := newWriter(t, tree, dir.IgnoreOwners)
			add(t, w, rootEntry)
			e := rootfs.Entry{Path: "name", Mode: kind | 0o755}
			if kind == fs.ModeSymlink {
				e.Target = "x"
			}
			err = w.Add(e, strings.NewReader(""))
			var refusal *rootfs.EntryError
			if !errors.As(err, &refusal) || refusal.Error() != `"name": exists already` {
				t.Errorf("%v over %s: error %v", kind, there, err)
			}
			if w.Close() == nil {
				t.Errorf("%v over %s: Close works", kind, there)
			}
			if got, err := os.ReadFile(outside); string(got) != "kept" || err != nil {
				t.Errorf("%v over %s: the file outside is %q, %v", kind, there, got, err)
			}
			if _, err := os.Lstat(filepath.Join(tmp, "new")); err == nil {
				t.Errorf("%v over %s: made a file outside", kind, there)
			}
		}
	}
}

// TestSwapped checks that a directory that was replaced by a link under the
// writer's hands is not followed, although nothing but the laws of rootfs
// forbids it to the stream.
func TestSwapped(t *testing.T) {
	tmp := t.TempDir()
	tree, outside := filepath.Join(tmp, "tree"), filepath.Join(tmp, "outside")
	if err := errors.Join(os.Mkdir(tree, 0o755), os.Mkdir(outside, 0o755)); err != nil {
		t.Fatal(err)
	}
	w := newWriter(t, tree, dir.IgnoreOwners)
	add(t, w, rootEntry, rootfs.Entry{Path: "a", Mode: fs.ModeSymlink | 0o777, Target: "../outside"})
	for _, e := range []rootfs.Entry{
		{Path: "a/file", Mode: 0o644},
		{Path: "a/dir", Mode: fs.ModeDir | 0o755},
		{Path: "a/b/file", Mode: 0o644},
	} {
		w := newWriter(t, tree, dir.IgnoreOwners)
		if err := w.Add(e, strings.NewReader("")); err == nil {
			t.Errorf("%q: written through a link", e.Path)
		}
	}
	if names, err := os.ReadDir(outside); len(names) != 0 || err != nil {
		t.Errorf("outside: %v, %v", names, err)
	}
}

// TestUnfinished checks that until Close the tree is its owner's alone, and that
// it can be removed after an error.
func TestUnfinished(t *testing.T) {
	tree := t.TempDir()
	w := newWriter(t, tree, dir.IgnoreOwners)
	add(t, w, rootfs.Entry{Path: ".", Mode: fs.ModeDir | 0o555},
		rootfs.Entry{Path: "a", Mode: fs.ModeDir | 0o777 | fs.ModeSticky},
		rootfs.Entry{Path: "a/b", Mode: fs.ModeDir},
		rootfs.Entry{Path: "a/b/file", Mode: 0o444})
	for _, path := range []string{".", "a", "a/b"} {
		info, err := os.Stat(filepath.Join(tree, path))
		if err != nil || info.Mode() != fs.ModeDir|0o700 {
			t.Errorf("%q: mode %v, %v", path, info.Mode(), err)
		}
	}
	if w.Add(rootfs.Entry{Path: "a", Mode: 0o644}, strings.NewReader("")) == nil {
		t.Error("a second entry of one path works")
	}
	if err := w.Close(); err == nil {
		t.Error("Close works after an error")
	}
	if err := os.RemoveAll(filepath.Join(tree, "a")); err != nil {
		t.Error(err)
	}
}

// TestRoot checks that a root without an entry is left as it is, but for its time,
// and that what comes into it does not take after it.
func TestRoot(t *testing.T) {
	tree := t.TempDir()
	const mode = fs.ModeDir | fs.ModeSetgid | 0o751
	if err := os.Chmod(tree, mode); err != nil {
		t.Fatal(err)
	}
	w := newWriter(t, tree, dir.IgnoreOwners)
	add(t, w, rootfs.Entry{Path: "dir", Mode: fs.ModeDir | 0o555}, rootfs.Entry{Path: "dir/file", Mode: 0o444})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{".": mode, "dir": fs.ModeDir | 0o555, "dir/file": 0o444} {
		if info, err := os.Stat(filepath.Join(tree, path)); err != nil || info.Mode() != want {
			t.Errorf("%q: mode %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	if err := os.Chmod(filepath.Join(tree, "dir"), 0o755); err != nil {
		t.Fatal(err) // so that it can be removed
	}
}

// TestUmask checks modes under umasks that take away much and nothing.
func TestUmask(t *testing.T) {
	for _, mask := range []int{0, 0o077, 0o777} {
		tree := t.TempDir()
		old := unix.Umask(mask)
		w := newWriter(t, tree, dir.IgnoreOwners)
		entries := []rootfs.Entry{
			{Path: ".", Mode: fs.ModeDir | 0o755},
			{Path: "file", Mode: 0o664, Size: 3},
			{Path: "su", Mode: 0o755 | fs.ModeSetuid},
			{Path: "dir", Mode: fs.ModeDir | 0o777},
			{Path: "dir/file", Mode: 0o444},
			{Path: "fifo", Mode: fs.ModeNamedPipe | 0o666},
		}
		add(t, w, entries...)
		err := w.Close()
		unix.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			info, err := os.Lstat(filepath.Join(tree, e.Path))
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode() != e.Mode {
				t.Errorf("umask %03o: %q has mode %v, want %v", mask, e.Path, info.Mode(), e.Mode)
			}
		}
	}
}

// TestDescriptors checks that a tree of many directories keeps few of them open
// and closes all.
func TestDescriptors(t *testing.T) {
	count := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	before := count()
	w := newWriter(t, t.TempDir(), dir.IgnoreOwners)
	add(t, w, rootEntry)
	for i := range 1000 {
		d := fmt.Sprintf("d%d", i)
		add(t, w, rootfs.Entry{Path: d, Mode: fs.ModeDir | 0o755}, rootfs.Entry{Path: d + "/f", Mode: 0o644})
	}
	if n := count() - before; n > 130 {
		t.Errorf("%d descriptors are open", n)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if n := count() - before; n != 0 {
		t.Errorf("%d descriptors are left open", n)
	}
}

// BenchmarkStore writes a tree of the kind of a store: 2,000 files of 4 kB in
// 200 directories.
func BenchmarkStore(b *testing.B) {
	data := make([]byte, 4000)
	const files = 2000
	for b.Loop() {
		b.StopTimer()
		tmp := b.TempDir()
		root, err := os.OpenRoot(tmp)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		w, err := dir.NewWriter(root, dir.Options{})
		if err != nil {
			b.Fatal(err)
		}
		must := func(err error) {
			if err != nil {
				b.Fatal(err)
			}
		}
		one := time.Unix(1, 0)
		must(w.Add(rootEntry, nil))
		path := ""
		for i := range files {
			if i%10 == 0 {
				path = fmt.Sprintf("object%d", i)
				must(w.Add(rootfs.Entry{Path: path, Mode: fs.ModeDir | 0o555, ModTime: one}, nil))
			}
			e := rootfs.Entry{Path: fmt.Sprintf("%s/file%d", path, i), Mode: 0o444, ModTime: one, Size: int64(len(data))}
			must(w.Add(e, bytes.NewReader(data)))
		}
		must(w.Close())
		b.StopTimer()
		root.Close()
		must(os.RemoveAll(tmp))
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/files, "µs/file")
}
