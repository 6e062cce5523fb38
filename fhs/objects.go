package fhs

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"thaw/rootfs"
	"thaw/storepath"
)

// node is one file of the store, or a directory above it: 48 bytes besides its
// name and the pointer to it.
type node struct {
	name   string
	parent *node // the root's is the root
	mode   fs.FileMode
	size   int64 // of a regular file
	more   *more // of a directory or link, never nil there
}

// more is what only few nodes have.
type more struct {
	children []*node // of a directory, sorted by name
	target   string  // of a link
}

func (n *node) isDir() bool  { return n != nil && n.mode.IsDir() }
func (n *node) isLink() bool { return n.mode.Type() == fs.ModeSymlink }

// find returns where the child of a directory is, or would be.
func (n *node) find(name string) (int, bool) {
	return slices.BinarySearchFunc(n.more.children, name, func(c *node, name string) int { return strings.Compare(c.name, name) })
}

func (n *node) child(name string) *node {
	if i, ok := n.find(name); ok {
		return n.more.children[i]
	}
	return nil
}

// below returns the path from the directory top, which is above n, to n.
func (n *node) below(top *node) string {
	var names []string
	for ; n != top; n = n.parent {
		names = append(names, n.name)
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}

// objects is what is known of the files of the store objects of an image. An
// entry costs about 65 bytes and its name, whatever the length of its path; a
// directory or link another 48, and its target.
type objects struct {
	root, store *node
	texts       texts
	dir         *node  // where the last entry was noted
	path        string // of dir, below the store
}

func newObjects() *objects {
	root := &node{mode: fs.ModeDir, more: &more{}}
	root.parent = root
	o := &objects{root: root, store: root}
	for name := range strings.SplitSeq(storepath.Dir[1:], "/") {
		n := &node{name: name, parent: o.store, mode: fs.ModeDir, more: &more{}}
		o.store.more.children = []*node{n}
		o.store = n
	}
	return o
}

// inObject reports whether n is a store object or in one.
func (o *objects) inObject(n *node) bool {
	for outside := o.store; n != outside; outside = outside.parent {
		if outside == o.root {
			return true
		}
	}
	return false
}

// pathOf returns the absolute path of n, which has no links in it.
func (o *objects) pathOf(n *node) string { return "/" + n.below(o.root) }

// note remembers an entry below the store. It takes little time where the
// entries of a directory come sorted, as in a Nix archive.
func (o *objects) note(e *rootfs.Entry) {
	rel, ok := strings.CutPrefix(e.Path, storepath.Dir[1:]+"/")
	if !ok {
		return
	}
	dir, name := rootfs.Split(rel)
	parent := o.parent(dir)
	if !parent.isDir() {
		return // rootfs.Check refuses it
	}
	i, there := parent.find(name)
	if there {
		return // likewise
	}
	n := &node{name: o.texts.keep(name), parent: parent, mode: e.Mode, size: e.Size}
	switch {
	case n.isDir():
		n.more = &more{}
	case n.isLink():
		n.more = &more{target: o.texts.keep(e.Target)}
	}
	parent.more.children = slices.Insert(parent.more.children, i, n)
}

// parent finds the directory that was noted at rel, below the store. Entries of
// one directory mostly follow each other.
func (o *objects) parent(rel string) *node {
	if rel == "." {
		return o.store
	}
	if o.dir == nil || o.path != rel {
		n := o.store
		for name := range strings.SplitSeq(rel, "/") {
			if !n.isDir() {
				return nil
			}
			n = n.child(name)
		}
		o.dir, o.path = n, rel
	}
	return o.dir
}

// texts keeps copies of short strings together, so that none has memory of its
// own or keeps a longer one alive.
type texts struct{ block strings.Builder }

const textBlock = 16 << 10 // bytes

func (t *texts) keep(s string) string {
	if t.block.Cap()-t.block.Len() < len(s) {
		t.block = strings.Builder{}
		t.block.Grow(max(textBlock, len(s)))
	}
	start := t.block.Len()
	t.block.WriteString(s)
	return t.block.String()[start:]
}

// maxLinks is how many symbolic links one path may lead through, as in Linux.
const maxLinks = 40

// found is what a path leads to.
type found struct {
	node  *node  // nil for what does not exist, or is not in a store object
	lost  string // for such: where it would be; "" for what leads nowhere
	links int    // how many links the path leads through
	cost  int    // bytes of their targets
}

// walk follows a path, and the links on the way and at its end, as Linux does,
// from the directory at, to which a path led through so many links before.
func (o *objects) walk(at *node, text string, links int) found {
	f := found{links: links}
	var few [4]string
	todo := few[:0] // what remains of the path and of targets, the next one last
	if !begin(&at, &todo, o.root, text) {
		return f
	}
	for len(todo) > 0 {
		last := len(todo) - 1
		name, rest, slash := strings.Cut(todo[last], "/")
		if slash {
			todo[last] = rest // even an empty one: only a directory has a slash behind it
		} else {
			todo = todo[:last]
		}
		var next *node
		switch {
		case !at.isDir():
		case name == "" || name == ".":
			next = at
		case name == "..":
			next = at.parent
		default:
			next = at.child(name)
		}
		switch {
		case next == nil:
			slices.Reverse(todo)
			f.lost = path.Join(o.pathOf(at), name, strings.Join(todo, "/"))
			return f
		case next.isLink():
			f.links++
			f.cost += len(next.more.target)
			if f.links > maxLinks || !begin(&at, &todo, o.root, next.more.target) {
				return f
			}
		default:
			at = next
		}
	}
	if o.inObject(at) {
		f.node = at
	} else {
		f.lost = o.pathOf(at)
	}
	return f
}

// begin adds text to what is to be walked. An empty one leads nowhere.
func begin(at **node, todo *[]string, root *node, text string) bool {
	if strings.HasPrefix(text, "/") {
		*at = root
	}
	*todo = append(*todo, text)
	return text != ""
}
