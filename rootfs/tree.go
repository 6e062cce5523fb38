package rootfs

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Tree holds the small part of a root file system that is made up by the
// program, not unpacked: directories, links, a few files. It is in no order
// until [Tree.Send] sends it parents first and otherwise sorted. The zero value
// is an empty tree, without even a root.
type Tree struct {
	nodes map[string]node
}

type node struct {
	entry   Entry
	content []byte
	open    func() (io.ReadCloser, error) // in place of content
}

// Put adds an entry, or replaces the one that has its path. content becomes a
// regular file's Size and data; the tree keeps it.
func (t *Tree) Put(e Entry, content []byte) {
	e.Size = int64(len(content))
	t.put(node{entry: e, content: content})
}

// PutFile adds a regular file, or replaces the entry that has its path. Its
// content is opened when it is sent, and must then have the size that the entry
// says.
func (t *Tree) PutFile(e Entry, open func() (io.ReadCloser, error)) {
	t.put(node{entry: e, open: open})
}

func (t *Tree) put(n node) {
	if t.nodes == nil {
		t.nodes = map[string]node{}
	}
	t.nodes[n.entry.Path] = n
}

// Lay adds all entries of over, which replace those that have their paths. What
// t has below a path where over has no directory goes away.
func (t *Tree) Lay(over *Tree) {
	maps.DeleteFunc(t.nodes, func(path string, _ node) bool {
		for path != "." {
			path, _ = Split(path)
			if n, ok := over.nodes[path]; ok {
				return !n.entry.Mode.IsDir()
			}
		}
		return false
	})
	for _, n := range over.nodes {
		t.put(n)
	}
}

// Has reports whether there is an entry at path.
func (t *Tree) Has(path string) bool {
	_, ok := t.nodes[path]
	return ok
}

// Get returns the entry at path, and whether there is one.
func (t *Tree) Get(path string) (Entry, bool) {
	n, ok := t.nodes[path]
	return n.entry, ok
}

// All yields the entries, parents first and otherwise sorted.
func (t *Tree) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for _, path := range t.paths() {
			if !yield(t.nodes[path].entry) {
				return
			}
		}
	}
}

func (t *Tree) paths() []string { return slices.SortedFunc(maps.Keys(t.nodes), comparePaths) }

// Dirs adds the parents of path that are not there, up to but without the root,
// as copies of like.
func (t *Tree) Dirs(path string, like Entry) {
	for dir, _ := Split(path); dir != "." && !t.Has(dir); dir, _ = Split(dir) {
		like.Path = dir
		t.Put(like, nil)
	}
}

// Send adds the entries to s, in the order of [Tree.All].
func (t *Tree) Send(s Sink) error {
	for _, path := range t.paths() {
		if err := t.nodes[path].send(s); err != nil {
			return err
		}
	}
	return nil
}

func (n node) send(s Sink) error {
	if n.open != nil {
		return n.sendFile(s)
	}
	if n.entry.Mode.IsRegular() {
		return s.Add(n.entry, bytes.NewReader(n.content))
	}
	return s.Add(n.entry, nil)
}

// sendFile adds a file with the content that it has now.
func (n node) sendFile(s Sink) error {
	f, err := n.open()
	if err != nil {
		return fmt.Errorf("%q: %w", n.entry.Path, err)
	}
	defer f.Close()
	r := exactReader{r: f, left: n.entry.Size}
	err = s.Add(n.entry, &r)
	if r.err == io.ErrUnexpectedEOF {
		return &EntryError{n.entry.Path, fmt.Sprintf("its content has become shorter: %d of %d bytes are left", n.entry.Size-r.left, n.entry.Size)}
	}
	if err == nil && r.left == 0 {
		err = r.end(n.entry.Path)
	}
	return err
}

// comparePaths orders the root first and a directory before what is in it.
func comparePaths(a, b string) int {
	return cmp.Or(boolCompare(b == ".", a == "."), strings.Compare(a, b))
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Dir returns the entry of a directory.
func Dir(path string, perm fs.FileMode) Entry { return Entry{Path: path, Mode: fs.ModeDir | perm} }

// Link returns the entry of a symbolic link.
func Link(path, target string) Entry {
	return Entry{Path: path, Mode: fs.ModeSymlink | 0o777, Target: target}
}
