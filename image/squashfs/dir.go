package squashfs

import (
	"fmt"
	"math"
	"slices"

	"thaw/internal/names"
	"thaw/rootfs"
)

// A dir is a directory whose entries are still coming in; later, one that is
// listed.
type dir struct {
	path    string
	node    uint32              // place in nodes
	parent  *dir                // nil for the root
	entries names.Table[uint32] // places in nodes

	start   position // of its listing
	size    uint32   // of its listing
	index   []byte   // "Directory Index"
	indexed int      // how many entries that has
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
	for _, d := range slices.Backward(w.dirs.All) {
		d.entries.Sort()
		for _, e := range d.entries.List {
			give(&w.nodes[e.Ref])
		}
	}
	root := &w.nodes[w.dirs.All[0].node]
	give(root)
	w.references = make([]uint64, number)

	written := uint32(0)
	for _, d := range slices.Backward(w.dirs.All) {
		for _, e := range d.entries.List {
			if n := &w.nodes[e.Ref]; n.number > written {
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
	for _, e := range d.entries.List {
		total += dirEntry + int64(len(e.Name))
	}
	if total+total/dirEntry*dirHeader > maxListing { // were each entry alone
		return &rootfs.EntryError{Path: d.path, Reason: "squashfs holds no directory of so many entries"}
	}
	index := total > metadataSize
	block := d.start.block
	for rest := d.entries.List; len(rest) > 0; {
		at := w.listing.pos()
		if index && at.block != block && d.indexed < maxIndexed {
			block = at.block
			d.addIndex(at, rest[0].Name)
		}
		room := math.MaxInt
		if index {
			room = metadataSize - int(at.offset)
		}
		n := w.runLength(rest, room)
		w.writeRun(d, rest[:n])
		rest = rest[n:]
	}
	d.entries = names.Table[uint32]{}
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

// runLength returns how many entries can share a header: their inodes begin in
// one block and have numbers that are close, and all but the first begin within
// room bytes of the header.
func (w *Writer) runLength(entries []names.Entry[uint32], room int) int {
	first := w.nodes[entries[0].Ref].number
	length := dirHeader
	for i, e := range entries {
		number := w.nodes[e.Ref].number
		distance := int64(number) - int64(first)
		if i > 0 && (i == maxRun || length >= room || distance < math.MinInt16 || distance > math.MaxInt16 ||
			w.references[number-1]>>16 != w.references[first-1]>>16) {
			return i
		}
		length += dirEntry + len(e.Name)
	}
	return len(entries)
}

func (w *Writer) writeRun(d *dir, entries []names.Entry[uint32]) {
	first := w.nodes[entries[0].Ref].number
	b := w.scratch[:0]
	b = le.AppendUint32(b, uint32(len(entries)-1))
	b = le.AppendUint32(b, uint32(w.references[first-1]>>16))
	b = le.AppendUint32(b, first)
	for _, e := range entries {
		n := &w.nodes[e.Ref]
		b = le.AppendUint16(b, uint16(w.references[n.number-1]))
		b = le.AppendUint16(b, uint16(n.number-first))
		b = le.AppendUint16(b, uint16(n.kind))
		b = le.AppendUint16(b, uint16(len(e.Name)-1))
		b = append(b, e.Name...)
	}
	w.listing.write(b)
	w.scratch = b
	d.size += uint32(len(b))
}
