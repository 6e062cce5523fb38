package fhs

import (
	"io/fs"
	"slices"
	"strings"

	"thaw/rootfs"
	"thaw/storepath"
)

// node is one file of a store object, about 100 bytes besides its name.
type node struct {
	name     string
	mode     fs.FileMode
	size     int64
	target   string
	children []*node // of a directory, sorted by name
}

func (n *node) child(name string) *node {
	i, ok := slices.BinarySearchFunc(n.children, name, func(c *node, name string) int { return strings.Compare(c.name, name) })
	if !ok {
		return nil
	}
	return n.children[i]
}

// objects is what is known of the files of the store objects of an image.
type objects struct {
	byBase map[string]*node
	dir    *node  // where the last entry was noted
	path   string // of dir, below the store
}

// note remembers an entry below the store.
func (o *objects) note(e *rootfs.Entry) {
	rel, ok := strings.CutPrefix(e.Path, storepath.Dir[1:]+"/")
	if !ok {
		return
	}
	n := &node{mode: e.Mode, size: e.Size, target: e.Target}
	dir, name := rootfs.Split(rel)
	n.name = strings.Clone(name)
	if dir == "." {
		o.byBase[n.name] = n
		return
	}
	parent := o.parent(dir)
	if i, there := slices.BinarySearchFunc(parent.children, n.name, func(c *node, name string) int { return strings.Compare(c.name, name) }); !there {
		parent.children = slices.Insert(parent.children, i, n)
	}
}

// parent finds the directory that was noted at rel. Entries of one directory
// mostly follow each other.
func (o *objects) parent(rel string) *node {
	if o.dir == nil || o.path != rel {
		base, rest, _ := strings.Cut(rel, "/")
		n := o.byBase[base]
		for rest != "" && n != nil {
			var name string
			name, rest, _ = strings.Cut(rest, "/")
			n = n.child(name)
		}
		if n == nil {
			n = &node{} // for an entry without a parent, which rootfs.Check refuses
		}
		o.dir, o.path = n, strings.Clone(rel)
	}
	return o.dir
}

// maxLinks is how many symbolic links one path may lead through, as in Linux.
const maxLinks = 40

// resolve follows all links of an absolute path and returns what it leads to, by
// a path without links. It returns nil for what does not exist, or lies outside
// the store objects of the image.
func (o *objects) resolve(path string) (*node, string) {
	var (
		at    []*node // from the object down to where we are
		names []string
		links int
		rest  = path
	)
	for {
		if strings.HasPrefix(rest, "/") {
			inStore, ok := strings.CutPrefix(rest, storepath.Dir+"/")
			if !ok {
				return nil, ""
			}
			base, more, _ := strings.Cut(strings.TrimLeft(inStore, "/"), "/")
			n := o.byBase[base] // none for "", "." and ".."
			if n == nil {
				return nil, ""
			}
			at, names, rest = append(at[:0], n), append(names[:0], base), more
		} else {
			var name string
			name, rest, _ = strings.Cut(rest, "/")
			switch name {
			case "", ".":
			case "..":
				if len(at) == 1 {
					rest = storepath.Dir + "/" + strings.TrimLeft(rest, "/")
					continue
				}
				at, names = at[:len(at)-1], names[:len(names)-1]
			default:
				n := at[len(at)-1].child(name)
				if n == nil {
					return nil, ""
				}
				at, names = append(at, n), append(names, name)
			}
		}
		if n := at[len(at)-1]; n.mode.Type() == fs.ModeSymlink {
			if links++; links > maxLinks {
				return nil, ""
			}
			at, names = at[:len(at)-1], names[:len(names)-1]
			if len(at) == 0 && !strings.HasPrefix(n.target, "/") {
				// The object itself is a link: its target starts from the store.
				rest = storepath.Dir + "/" + n.target + "/" + rest
			} else {
				rest = n.target + "/" + rest
			}
			continue
		}
		if rest == "" {
			return at[len(at)-1], storepath.Dir + "/" + strings.Join(names, "/")
		}
		if at[len(at)-1].mode.Type() != fs.ModeDir && strings.Trim(rest, "/") != "" {
			return nil, ""
		}
	}
}

// lookup returns what is at an absolute path in the store, following links on
// the way but not at the end.
func (o *objects) lookup(path string) *node {
	dir, name := rootfs.Split(path)
	if dir == storepath.Dir {
		return o.byBase[name]
	}
	if d, _ := o.resolve(dir); d != nil {
		return d.child(name)
	}
	return nil
}
