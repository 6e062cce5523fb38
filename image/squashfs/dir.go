package squashfs

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"thaw/rootfs"
)

// A dir is a directory whose entries are still coming in; later, one that is
// listed.
type dir struct {
	path     string
	node     uint32 // place in nodes
	parent   *dir   // nil for the root
	children []child
	byName   map[string]uint32 // of the first named children; made when needed
	named    int

	start   position // of its listing
	size    uint32   // of its listing
	index   []byte   // "Directory Index"
	indexed int      // how many entries that has
}

type child struct {
	name string
	node uint32 // place in nodes
}

func (d *dir) add(name string, node uint32) {
	d.children = append(d.children, child{name, node})
}

// scanned is how many children are looked through rather than named in a map.
const scanned = 32

// lookup returns the node of a child.
func (d *dir) lookup(name string) (uint32, bool) {
	if len(d.children) > scanned {
		if d.byName == nil {
			d.byName = make(map[string]uint32, len(d.children))
		}
		for _, c := range d.children[d.named:] {
			d.byName[c.name] = c.node
		}
		d.named = len(d.children)
		node, ok := d.byName[name]
		return node, ok
	}
	i := slices.IndexFunc(d.children, func(c child) bool { return c.name == name })
	if i < 0 {
		return 0, false
	}
	return d.children[i].node, true
}

const (
	dirHeader  = 12 // bytes in front of up to maxRun entries
	dirEntry   = 8  // bytes in front of a name
	maxRun     = 256
	maxIndexed = math.MaxUint16
	// maxListing is up to where Linux counts, less what writeInode adds.
	maxListing = math.MaxInt32 - 3
)

// writeDirs writes all inodes and listings. An inode of a directory tells where
// its listing is, and a listing where the inodes are; going from the directory
// that was added last to the first, both are known when they are needed. The
// inodes of one directory's children lie together.
func (w *Writer) writeDirs() error {
	number := uint32(0)
	give := func(n *node) {
		if n.number == 0 { // no hard link to what has one
			number++
			n.number = number
		}
	}
	for _, d := range slices.Backward(w.dirs) {
		slices.SortFunc(d.children, func(a, b child) int { return strings.Compare(a.name, b.name) })
		for _, c := range d.children {
			give(&w.nodes[c.node])
		}
	}
	root := &w.nodes[w.dirs[0].node]
	give(root)
	w.references = make([]uint64, number)

	written := uint32(0)
	for _, d := range slices.Backward(w.dirs) {
		for _, c := range d.children {
			if n := &w.nodes[c.node]; n.number > written {
				w.writeInode(n)
				written++
			}
		}
		if err := w.writeListing(d); err != nil {
			return err
		}
		if max(w.inodes.done, w.listing.done) > math.MaxUint32 {
			return fmt.Errorf("squashfs: the tables of inodes and of directories take more than 4 GiB")
		}
	}
	w.writeInode(root)
	return nil
}

// writeListing writes what is in a directory ("Directory Table").
func (w *Writer) writeListing(d *dir) error {
	d.start = w.listing.pos()
	total := int64(dirHeader)
	for _, c := range d.children {
		total += dirEntry + int64(len(c.name))
	}
	if total+total/dirEntry*dirHeader > maxListing { // were each entry alone
		return &rootfs.EntryError{Path: d.path, Reason: "squashfs holds no directory of so many entries"}
	}
	index := total > metadataSize
	block := d.start.block
	for rest := d.children; len(rest) > 0; {
		at := w.listing.pos()
		if index && at.block != block && d.indexed < maxIndexed {
			block = at.block
			d.addIndex(at, rest[0].name)
		}
		room := math.MaxInt
		if index {
			room = metadataSize - int(at.offset)
		}
		n := w.runLength(rest, room)
		w.writeRun(d, rest[:n])
		rest = rest[n:]
	}
	d.children, d.byName = nil, nil
	return nil
}

// addIndex notes that a header at this position is the first in its block.
func (d *dir) addIndex(at position, name string) {
	d.index = le.AppendUint32(d.index, d.size)
	d.index = le.AppendUint32(d.index, uint32(at.block))
	d.index = le.AppendUint32(d.index, uint32(len(name)-1))
	d.index = append(d.index, name...)
	d.indexed++
}

// runLength returns how many children can share a header: their inodes begin in
// one block and have numbers that are close, and all but the first begin within
// room bytes of the header.
func (w *Writer) runLength(children []child, room int) int {
	first := w.nodes[children[0].node].number
	length := dirHeader
	for i, c := range children {
		number := w.nodes[c.node].number
		distance := int64(number) - int64(first)
		if i > 0 && (i == maxRun || length >= room || distance < math.MinInt16 || distance > math.MaxInt16 ||
			w.references[number-1]>>16 != w.references[first-1]>>16) {
			return i
		}
		length += dirEntry + len(c.name)
	}
	return len(children)
}

func (w *Writer) writeRun(d *dir, children []child) {
	first := w.nodes[children[0].node].number
	b := w.scratch[:0]
	b = le.AppendUint32(b, uint32(len(children)-1))
	b = le.AppendUint32(b, uint32(w.references[first-1]>>16))
	b = le.AppendUint32(b, first)
	for _, c := range children {
		n := &w.nodes[c.node]
		b = le.AppendUint16(b, uint16(w.references[n.number-1]))
		b = le.AppendUint16(b, uint16(n.number-first))
		b = le.AppendUint16(b, uint16(n.kind))
		b = le.AppendUint16(b, uint16(len(c.name)-1))
		b = append(b, c.name...)
	}
	w.listing.write(b)
	w.scratch = b
	d.size += uint32(len(b))
}
