// Package names holds the directories of a file system while its entries come in:
// by path, and in each the names of its entries and what they lead to.
//
// A name costs its own bytes and those of an [Entry]. It trusts the laws of package
// rootfs: a name comes once.
package names

import (
	"fmt"
	"slices"
	"strings"

	"thaw/rootfs"
)

// An Entry is a name in a directory and what it leads to, such as the number of an
// inode.
type Entry[R any] struct {
	Name string
	Ref  R
}

// A Table holds the entries of one directory. The zero value is empty.
type Table[R any] struct {
	List    []Entry[R]   // in the order of adding until Sort
	index   map[string]R // of the first indexed entries; made when needed
	indexed int
}

// Add adds an entry. The name must stay as it is, see [Dirs.Keep].
func (t *Table[R]) Add(name string, ref R) { t.List = append(t.List, Entry[R]{name, ref}) }

// scanned is how many entries are looked through rather than indexed.
const scanned = 32

// Lookup returns what a name leads to, and whether it is there.
func (t *Table[R]) Lookup(name string) (ref R, ok bool) {
	if len(t.List) > scanned {
		if t.index == nil {
			t.index = make(map[string]R, len(t.List))
		}
		for _, e := range t.List[t.indexed:] {
			t.index[e.Name] = e.Ref
		}
		t.indexed = len(t.List)
		ref, ok = t.index[name]
		return ref, ok
	}
	for _, e := range t.List {
		if e.Name == name {
			return e.Ref, true
		}
	}
	return ref, false
}

// Sort sorts the entries by their names, when all have been added and looked up.
func (t *Table[R]) Sort() {
	t.index, t.indexed = nil, 0
	slices.SortFunc(t.List, func(a, b Entry[R]) int { return strings.Compare(a.Name, b.Name) })
}

// Dirs holds the directories of a file system, whose types have them as D. The zero
// value is empty.
type Dirs[D any] struct {
	All    []*D // in the order of adding, the root first
	byPath map[string]*D
	last   struct { // the parent of the entry before
		path string
		dir  *D
	}
	piece strings.Builder
}

// AddRoot adds the root directory. A second one is a [rootfs.EntryError].
func (d *Dirs[D]) AddRoot(root *D) error {
	if len(d.All) > 0 {
		return &rootfs.EntryError{Path: ".", Reason: "comes twice"}
	}
	d.byPath = map[string]*D{}
	d.Add(".", root)
	return nil
}

// Add adds a directory behind the root. The path must stay as it is, see
// [Dirs.Keep].
func (d *Dirs[D]) Add(path string, dir *D) {
	d.All = append(d.All, dir)
	d.byPath[path] = dir
}

// Parent returns the directory that a path lies in, and the path's last element. A
// directory that has not come is a [rootfs.EntryError].
func (d *Dirs[D]) Parent(path string) (parent *D, name string, err error) {
	above, name := rootfs.Split(path)
	if d.last.dir == nil || d.last.path != above {
		dir := d.byPath[above]
		if dir == nil {
			return nil, "", &rootfs.EntryError{Path: path, Reason: fmt.Sprintf("comes before its parent %q", above)}
		}
		d.last.path, d.last.dir = above, dir
	}
	return d.last.dir, name, nil
}

const pieceSize = 64 << 10

// Keep returns a copy of a name or path. It costs its own bytes and no allocation,
// as such copies lie in large pieces.
func (d *Dirs[D]) Keep(name string) string {
	if d.piece.Cap()-d.piece.Len() < len(name) {
		d.piece = strings.Builder{}
		d.piece.Grow(max(pieceSize, len(name)))
	}
	start := d.piece.Len()
	d.piece.WriteString(name)
	return d.piece.String()[start:]
}
