package rootfs

import (
	"bytes"
	"cmp"
	"io"
	"io/fs"
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
}

// Put adds an entry, or replaces the one that has its path. content becomes a
// regular file's Size and data; the tree keeps it.
func (t *Tree) Put(e Entry, content []byte) {
	if t.nodes == nil {
		t.nodes = map[string]node{}
	}
	e.Size = int64(len(content))
	t.nodes[e.Path] = node{e, content}
}

// Has reports whether there is an entry at path.
func (t *Tree) Has(path string) bool {
	_, ok := t.nodes[path]
	return ok
}

// Dirs adds the parents of path that are not there, up to but without the root,
// as copies of like.
func (t *Tree) Dirs(path string, like Entry) {
	for dir, _ := Split(path); dir != "." && !t.Has(dir); dir, _ = Split(dir) {
		like.Path = dir
		t.Put(like, nil)
	}
}

// Send adds the entries to s.
func (t *Tree) Send(s Sink) error {
	for _, path := range slices.SortedFunc(maps.Keys(t.nodes), comparePaths) {
		n := t.nodes[path]
		var data io.Reader
		if n.entry.Mode.IsRegular() {
			data = bytes.NewReader(n.content)
		}
		if err := s.Add(n.entry, data); err != nil {
			return err
		}
	}
	return nil
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
