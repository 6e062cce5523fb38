package ext4_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"thaw/image/ext4"
	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

// An entry is one call to a Writer: Add, or AddSame if same is set.
type entry struct {
	rootfs.Entry
	data blocks
	same string
}

// blocks are the contents of a file: size bytes in which every block that is
// set in data has bytes of its own, and the others are zeros.
type blocks struct {
	size int64
	data func(block int64) bool
}

func all(int64) bool  { return true }
func none(int64) bool { return false }

func (b blocks) reader() io.Reader { return &blockReader{b: b} }

type blockReader struct {
	b     blocks
	block int64
	rest  []byte
	buf   [4096]byte
}

func (r *blockReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		left := r.b.size - r.block*4096
		if left <= 0 {
			return 0, io.EOF
		}
		clear(r.buf[:])
		if r.b.data(r.block) {
			binary.LittleEndian.PutUint64(r.buf[:], uint64(r.block)*0x9e3779b97f4a7c15|1)
			r.buf[4095] = 1
		}
		r.rest = r.buf[:min(4096, left)]
		r.block++
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

var testTime = time.Unix(1_234_567_890, 987_654_321)

func directory(path string) entry {
	return entry{Entry: rootfs.Entry{Path: path, Mode: fs.ModeDir | 0o755, ModTime: testTime}}
}

func file(path string, size int64, data func(int64) bool) entry {
	return entry{Entry: rootfs.Entry{Path: path, Mode: 0o644, ModTime: testTime, Size: size}, data: blocks{size, data}}
}

func symlink(path, target string) entry {
	return entry{Entry: rootfs.Entry{Path: path, Mode: fs.ModeSymlink | 0o777, ModTime: testTime, Target: target}}
}

func withXattrs(e entry, xattrs ...rootfs.Xattr) entry {
	e.Xattrs = xattrs
	return e
}

// add adds entries, cut into reads by chunk if that is set.
func add(w *ext4.Writer, entries []entry, chunk func(io.Reader) io.Reader) error {
	for _, e := range entries {
		var err error
		switch {
		case e.same != "":
			err = w.AddSame(e.Path, e.same)
		case e.Kind() != 0:
			err = w.Add(e.Entry, nil)
		case chunk != nil:
			err = w.Add(e.Entry, chunk(e.data.reader()))
		default:
			err = w.Add(e.Entry, e.data.reader())
		}
		if err != nil {
			return err
		}
	}
	return w.Close()
}

// build writes a new image of entries, behind a root directory.
func build(t testing.TB, o ext4.Options, entries ...entry) (path string, err error) {
	t.Helper()
	path = filepath.Join(t.TempDir(), imageName)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := ext4.NewWriter(f, o)
	if err != nil {
		return path, err
	}
	if err := add(w, append([]entry{directory(".")}, entries...), nil); err != nil {
		return path, err
	}
	return path, f.Truncate(w.Size())
}

func mustBuild(t testing.TB, o ext4.Options, entries ...entry) (path string) {
	t.Helper()
	path, err := build(t, o, entries...)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// verify holds an image against the entries that it was built of.
func verify(t testing.TB, path string, entries []entry) {
	t.Helper()
	fsck(t, path)
	inodes, err := usedInodes(testbed.Tool(t, "dumpe2fs"), path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readDebugfs(testbed.Tool(t, "debugfs"), path, inodes)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, got, entries)
}

func compare(t testing.TB, got []rootfstest.Node, entries []entry) {
	t.Helper()
	want := []rootfstest.Node{{Entry: directory(".").Entry}}
	index := map[string]int{}
	for _, e := range entries {
		n := rootfstest.Node{Entry: e.Entry}
		if e.same != "" {
			first := &want[index[e.same]]
			if first.Inode == 0 {
				first.Inode = uint64(index[e.same])
			}
			n = *first
			n.Path = e.Path
		} else if e.Kind() == 0 {
			n.SHA256, _, _ = rootfstest.Digest(e.data.reader())
		}
		if e.Path != "lost+found" {
			index[e.Path] = len(want)
			want = append(want, n)
		}
	}
	w, g := lines(want), lines(got)
	for _, path := range slices.Sorted(maps.Keys(w)) {
		if w[path] != g[path] {
			t.Fatalf("%.100q\n is   %.1000s\n want %.1000s", path, g[path], w[path])
		}
	}
	if len(w) != len(g) {
		t.Fatalf("%d entries and not %d", len(g), len(w))
	}
}

// lines writes each node as one line, with hard links named by their least path.
func lines(nodes []rootfstest.Node) map[string]string {
	least := map[uint64]string{}
	for _, n := range nodes {
		if p, ok := least[n.Inode]; !ok || n.Path < p {
			least[n.Inode] = n.Path
		}
	}
	m := map[string]string{}
	for _, n := range nodes {
		s := fmt.Sprintf("%v %d:%d %d.%09d %d %x %q %d", n.Mode, n.UID, n.GID, n.ModTime.Unix(), n.ModTime.Nanosecond(), n.Size, n.SHA256, n.Target, n.Dev)
		for _, x := range n.Xattrs {
			s += fmt.Sprintf(" %q=%x", x.Name, x.Value)
		}
		if n.Inode != 0 {
			s += fmt.Sprintf(" same as %q", least[n.Inode])
		}
		m[n.Path] = s
	}
	return m
}

// memory is an image that is held in memory.
type memory struct{ bytes.Buffer }

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if missing := off + int64(len(p)) - int64(m.Len()); missing > 0 {
		m.Write(make([]byte, missing))
	}
	return copy(m.Bytes()[off:], p), nil
}
