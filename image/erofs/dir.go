package erofs

import (
	"bytes"
	"slices"
	"strings"
)

// A dir is a directory whose entries are still coming in.
type dir struct {
	path     string
	number   int // among w.dirs
	parent   *dir
	inode    inode
	attrs    []attr
	body     body // of attrs, once the directory has its place
	off      int64
	children []child
	index    map[string]uint64 // of the first indexed children; made when needed
	indexed  int
}

// A child is an entry of a directory. ref has the kind of its file in the lowest
// 3 bits and above them, for a directory, its number among w.dirs; otherwise
// whether its inode is extended, and above that the inode's number.
type child struct {
	name string
	ref  uint64
}

const (
	refType     = 7
	refExtended = 8
	refShift    = 4
)

func (d *dir) ref() uint64 { return uint64(d.number)<<refShift | typeDir }

// scanned is how many children are looked through rather than indexed.
const scanned = 32

func (d *dir) add(name string, ref uint64) {
	d.children = append(d.children, child{name, ref})
}

// lookup returns the ref of a child, or 0.
func (d *dir) lookup(name string) uint64 {
	if len(d.children) > scanned {
		if d.index == nil {
			d.index = make(map[string]uint64, len(d.children))
		}
		for _, c := range d.children[d.indexed:] {
			d.index[c.name] = c.ref
		}
		d.indexed = len(d.children)
		return d.index[name]
	}
	for _, c := range d.children {
		if c.name == name {
			return c.ref
		}
	}
	return 0
}

// A nameArena keeps strings in large pieces: a name costs its own bytes and no
// allocation.
type nameArena struct{ piece strings.Builder }

const arenaPiece = 64 << 10

// clone returns a copy of a name.
func (a *nameArena) clone(name string) string {
	if a.piece.Cap()-a.piece.Len() < len(name) {
		a.piece = strings.Builder{}
		a.piece.Grow(arenaPiece)
	}
	start := a.piece.Len()
	a.piece.WriteString(name)
	return a.piece.String()[start:]
}

const (
	direntSize = 12       // without the name
	dirBuffer  = 64 << 10 // of inodes, until they are written
)

// size returns how many bytes a directory's entries take. Every block of them
// but the last counts whole.
func (d *dir) size() int64 {
	size, used := int64(0), 0
	for _, c := range d.children {
		need := direntSize + len(c.name)
		if used+need > blockSize {
			size += blockSize
			used = 0
		}
		used += need
	}
	return size + int64(used)
}

// blocks calls yield with what is in use of each block of the directory's
// entries, which are sorted. A block has the fixed parts of its entries first
// and then the names.
func (d *dir) blocks(number func(ref uint64) uint64, yield func(block []byte, last bool)) {
	var b [blockSize]byte
	for rest := d.children; len(rest) > 0; {
		n, used := 0, 0
		for n < len(rest) && used+direntSize+len(rest[n].name) <= blockSize {
			used += direntSize + len(rest[n].name)
			n++
		}
		name := n * direntSize
		for i, c := range rest[:n] {
			p := b[i*direntSize:]
			le.PutUint64(p[0:], number(c.ref))
			le.PutUint16(p[8:], uint16(name))
			p[10] = byte(c.ref & refType)
			p[11] = 0
			name += copy(b[name:], c.name)
		}
		rest = rest[n:]
		yield(b[:used], len(rest) == 0)
	}
}

// number returns the number of the inode that a child refers to.
func (w *Writer) number(ref uint64) uint64 {
	if ref&refType == typeDir {
		return uint64(w.dirs[ref>>refShift].off) / slotSize
	}
	return ref >> refShift
}

// writeDirs writes all directories behind all else: their inodes in the order of
// adding, each with the end of its entries where that fits into a block, then
// the blocks of entries. It returns the root's inode, which lies in front.
func (w *Writer) writeDirs() (root []byte) {
	pos := w.out.next * blockSize
	for _, d := range w.dirs {
		pos = w.placeDir(d, pos)
	}
	at, end := w.out.next*blockSize, ceilDiv(pos, blockSize)*blockSize
	w.out.take(end/blockSize - w.out.next)
	var buf, piece []byte
	for _, d := range w.dirs {
		piece = w.writeDir(d, piece[:0])
		if d == w.dirs[0] {
			root = bytes.Clone(piece)
			continue
		}
		if len(buf) >= dirBuffer {
			w.out.writeAt(buf, at)
			at += int64(len(buf))
			buf = buf[:0]
		}
		buf = append(buf, zeroBlock[:d.off-at-int64(len(buf))]...)
		buf = append(buf, piece...)
	}
	buf = append(buf, zeroBlock[:end-at-int64(len(buf))]...)
	w.out.writeAt(buf, at)
	return root
}

// placeDir decides where a directory's inode lies, at pos or in the next block
// and what of the entries lies with it. It returns where the next one may begin.
func (w *Writer) placeDir(d *dir, pos int64) (next int64) {
	d.children = append(d.children, child{".", d.ref()}, child{"..", d.parent.ref()})
	slices.SortFunc(d.children, func(a, b child) int { return strings.Compare(a.name, b.name) })
	d.inode.size = d.size()
	d.body = w.attrs.body(d.attrs)
	d.attrs, d.index = nil, nil

	size := d.inode.bytes(w.opt.Time) + len(d.body.bytes)
	tail := int(d.inode.size % blockSize)
	room := blockSize
	if d == w.dirs[0] {
		room = w.rootRoom
	}
	if tail > 0 && size+tail <= room {
		d.inode.layout = layoutInline
		size += tail
	}
	if d != w.dirs[0] {
		if pos%blockSize+int64(size) > blockSize {
			pos = ceilDiv(pos, blockSize) * blockSize
		}
		d.off = pos
		pos += int64(roundUp(size, slotSize))
	}
	w.attrs.place(&d.body, d.off+int64(d.inode.bytes(w.opt.Time)))
	return pos
}

// writeDir writes a directory's blocks of entries, and appends to b its inode and
// what follows that.
func (w *Writer) writeDir(d *dir, b []byte) []byte {
	if d.inode.layout == layoutPlain || d.inode.size > blockSize {
		d.inode.data = uint32(w.out.next)
	}
	b = d.inode.encode(b, w.opt.Time, w.nextNumber(), len(d.body.bytes))
	b = append(b, d.body.bytes...)
	d.blocks(w.number, func(block []byte, last bool) {
		if last && d.inode.layout == layoutInline {
			b = append(b, block...)
		} else {
			w.out.append(block)
		}
	})
	d.children, d.body = nil, body{}
	return b
}
