package erofs_test

import (
	"bytes"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"thaw/image/erofs"
	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

// An entry is one call to a Writer: Add, or AddSame if same is set.
type entry struct {
	rootfs.Entry
	data []byte
	same string
}

var testTime = time.Unix(testOptions.Time, 0)

func directory(path string) entry {
	return entry{Entry: rootfs.Entry{Path: path, Mode: fs.ModeDir | 0o755, ModTime: testTime}}
}

func file(path string, data []byte) entry {
	return entry{Entry: rootfs.Entry{Path: path, Mode: 0o644, ModTime: testTime, Size: int64(len(data))}, data: data}
}

func withXattrs(e entry, xattrs ...rootfs.Xattr) entry {
	e.Xattrs = xattrs
	return e
}

// random returns bytes of chance.
func random(size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// text returns bytes that can be compressed: words of chance, in an order of
// chance.
func text(rnd *rand.Rand, size int) []byte {
	words := make([][]byte, 1+rnd.IntN(1<<rnd.IntN(12)))
	for i := range words {
		words[i] = make([]byte, 1+rnd.IntN(1<<rnd.IntN(9)))
		for k := range words[i] {
			words[i][k] = byte(rnd.Uint32())
		}
	}
	b := make([]byte, 0, size+1<<9)
	for len(b) < size {
		b = append(b, words[rnd.IntN(len(words))]...)
	}
	return b[:size]
}

// add adds entries behind a root directory, cut into reads by chunk, and closes
// w.
func add(w *erofs.Writer, entries []entry, chunk func(io.Reader) io.Reader) error {
	err := w.Add(directory(".").Entry, nil)
	for _, e := range entries {
		switch {
		case err != nil:
			return err
		case e.same != "":
			err = w.AddSame(e.Path, e.same)
		case e.Kind() != 0:
			err = w.Add(e.Entry, nil)
		default:
			err = w.Add(e.Entry, chunk(bytes.NewReader(e.data)))
		}
	}
	if err != nil {
		return err
	}
	return w.Close()
}

func whole(r io.Reader) io.Reader { return r }

// build writes a new image of entries, behind a root directory.
func build(t testing.TB, o erofs.Options, entries ...entry) (path string, err error) {
	t.Helper()
	path = filepath.Join(t.TempDir(), imageName)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := erofs.NewWriter(f, o)
	if err != nil {
		return path, err
	}
	if err := add(w, entries, whole); err != nil {
		return path, err
	}
	return path, f.Truncate(w.Size())
}

func mustBuild(t testing.TB, o erofs.Options, entries ...entry) (path string) {
	t.Helper()
	path, err := build(t, o, entries...)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// everything is what a judge that leaves nothing out can tell.
var everything = abilities(func(rootfs.Entry) string { return "" })

// verify holds an image against the entries that it was built of, as Linux reads
// it, or where it mounts nothing, as fsck.erofs extracts it.
func verify(t testing.TB, path string, kernel bool, root entry, entries []entry) {
	t.Helper()
	want := []rootfstest.Node{{Entry: root.Entry}}
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
			n.SHA256, _, _ = rootfstest.Digest(bytes.NewReader(e.data))
		}
		index[e.Path] = len(want)
		want = append(want, n)
	}
	can := everything
	var got []rootfstest.Node
	var err error
	if kernel {
		got, err = readKernel(path)
	} else {
		can.Owners, can.Times, can.HardLinks = rootfstest.Dropped, rootfstest.Dropped, false
		for i := range want {
			want[i].Xattrs, want[i].Inode = nil, 0
		}
		got, err = readFsck(testbed.Tool(t, "fsck.erofs"), path)
	}
	if err == nil {
		err = rootfstest.Diff(can, want, got)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// memory is an image that is held in memory.
type memory struct{ bytes.Buffer }

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if missing := off + int64(len(p)) - int64(m.Len()); missing > 0 {
		m.Write(make([]byte, missing))
	}
	return copy(m.Bytes()[off:], p), nil
}
