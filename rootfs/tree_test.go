package rootfs_test

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"thaw/rootfs"
)

// opener opens a text, and counts how many are open.
func opener(text string, open *int) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		*open++
		return closer{strings.NewReader(text), open}, nil
	}
}

type closer struct {
	io.Reader
	open *int
}

func (c closer) Close() error {
	*c.open--
	return nil
}

func TestTree(t *testing.T) {
	var tree rootfs.Tree
	open := 0
	tree.PutFile(rootfs.Entry{Path: "a/b/lazy", Mode: 0o600, Size: 4}, opener("lazy", &open))
	tree.PutFile(rootfs.Entry{Path: "a/empty"}, opener("", &open))
	tree.Put(rootfs.Entry{Path: "a/now"}, []byte("now"))
	tree.Put(rootfs.Link("a-b", "a"), nil)
	tree.Dirs("a/b/lazy", rootfs.Dir("", 0o700))
	tree.Put(rootfs.Dir("a", 0o755), nil)
	tree.Put(rootfs.Dir(".", 0o755), nil)

	var sink recorder
	if err := tree.Send(rootfs.Check(&sink)); err != nil {
		t.Fatal(err)
	}
	if want := []string{".", "a", "a-b", "a/b", "a/b/lazy=lazy", "a/empty=", "a/now=now"}; !slices.Equal(sink.got, want) {
		t.Errorf("sent %q", sink.got)
	}
	if open != 0 {
		t.Errorf("%d files are still open", open)
	}
	i := 0
	for e := range tree.All() {
		if path, _, _ := strings.Cut(sink.got[i], "="); e.Path != path {
			t.Errorf("%q is in the place of %q", e.Path, path)
		}
		if i++; i == 3 {
			break
		}
	}
	if e, ok := tree.Get("a/b"); !ok || e.Mode != fs.ModeDir|0o700 {
		t.Errorf("a/b is %v, %v", e, ok)
	}
	if _, ok := tree.Get("b"); ok || tree.Has("b") || !tree.Has("a-b") {
		t.Error("what is there is not known")
	}
}

// TestTreeChanged has files that are no longer what their entries say.
func TestTreeChanged(t *testing.T) {
	open := 0
	broken := func() (io.ReadCloser, error) { return nil, fs.ErrNotExist }
	for _, test := range []struct {
		open func() (io.ReadCloser, error)
		want string
	}{
		{opener("ab", &open), `"f": its content has become shorter: 2 of 3 bytes are left`},
		{opener("", &open), `"f": its content has become shorter: 0 of 3 bytes are left`},
		{opener("abcd", &open), `"f": more data follows than its size says`},
		{broken, `"f": file does not exist`},
	} {
		for _, checked := range []bool{false, true} {
			var tree rootfs.Tree
			tree.Put(rootfs.Dir(".", 0o755), nil)
			tree.PutFile(rootfs.Entry{Path: "f", Size: 3}, test.open)
			var sink rootfs.Sink = &recorder{}
			if checked {
				sink = rootfs.Check(sink)
			} else {
				sink = &reader{}
			}
			if err := tree.Send(sink); err == nil || err.Error() != test.want {
				t.Errorf("the error is %v, want %s", err, test.want)
			}
		}
	}
	if open != 0 {
		t.Errorf("%d files are still open", open)
	}
	var tree rootfs.Tree
	tree.PutFile(rootfs.Entry{Path: "f", Size: 1}, opener("a", &open))
	if err := tree.Send(&recorder{fail: io.ErrShortWrite}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("the error is %v", err)
	}
}

// reader is a Sink that reads as much as the size says.
type reader struct{}

func (reader) Add(e rootfs.Entry, data io.Reader) error {
	if data == nil {
		return nil
	}
	_, err := io.CopyN(io.Discard, data, e.Size)
	return err
}

func TestLay(t *testing.T) {
	var under, over rootfs.Tree
	for _, dir := range []string{".", "d", "d/e", "gone", "gone/d", "stays"} {
		under.Put(rootfs.Dir(dir, 0o755), nil)
	}
	for _, file := range []string{"d/e/f", "d/g", "gone/d/f", "gone-not", "stays/f", "file"} {
		under.Put(rootfs.Entry{Path: file}, []byte("under"))
	}
	over.Put(rootfs.Dir("d", 0o700), nil)
	over.Put(rootfs.Dir("d/e", 0o700), nil)
	over.Put(rootfs.Entry{Path: "d/e/f"}, []byte("over"))
	over.Put(rootfs.Link("gone", "d"), nil)
	over.Put(rootfs.Dir("file", 0o700), nil)
	over.Put(rootfs.Entry{Path: "file/f"}, []byte("over"))
	under.Lay(&over)
	var sink recorder
	if err := under.Send(rootfs.Check(&sink)); err != nil {
		t.Fatal(err)
	}
	want := []string{".", "d", "d/e", "d/e/f=over", "d/g=under", "file", "file/f=over", "gone", "gone-not=under", "stays", "stays/f=under"}
	if !slices.Equal(sink.got, want) {
		t.Errorf("sent %q", sink.got)
	}
	if e, _ := under.Get("d"); e.Mode != fs.ModeDir|0o700 {
		t.Errorf("d has mode %v", e.Mode)
	}
	var empty rootfs.Tree
	empty.Lay(&over)
	empty.Lay(&rootfs.Tree{})
	if !empty.Has("file/f") || empty.Has(".") {
		t.Error("an empty tree does not become the other")
	}
}
