package erofs

import (
	"bytes"

	"thaw/internal/names"
)

// A dir is a directory whose entries are still coming in.
type dir struct {
	number  int // among w.dirs
	parent  *dir
	inode   inode
	attrs   []attr
	body    body // of attrs, once the directory has its place
	off     int64
	entries names.Table[uint64]
}

// What a directory's entry refers to a file by has the kind of the file in the lowest
// 3 bits and above them, for a directory, its number among w.dirs; otherwise whether
// its inode is extended, and above that the inode's number.
const (
	refType     = 7
	refExtended = 8
	refShift    = 4
)

func (d *dir) ref() uint64 { return uint64(d.number)<<refShift | typeDir }

const (
	direntSize = 12       // without the name
	dirBuffer  = 64 << 10 // of inodes, until they are written
)

// size returns how many bytes a directory's entries take. Every block of them
// but the last counts whole.
func (d *dir) size() int64 {
	size, used := int64(0), 0
	for _, e := range d.entries.List {
		need := direntSize + len(e.Name)
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
	for rest := d.entries.List; len(rest) > 0; {
		n, used := 0, 0
		for n < len(rest) && used+direntSize+len(rest[n].Name) <= blockSize {
			used += direntSize + len(rest[n].Name)
			n++
		}
		name := n * direntSize
		for i, e := range rest[:n] {
			p := b[i*direntSize:]
			le.PutUint64(p[0:], number(e.Ref))
			le.PutUint16(p[8:], uint16(name))
			p[10] = byte(e.Ref & refType)
			p[11] = 0
			name += copy(b[name:], e.Name)
		}
		rest = rest[n:]
		yield(b[:used], len(rest) == 0)
	}
}

// number returns the number of the inode that a child refers to.
func (w *Writer) number(ref uint64) uint64 {
	if ref&refType == typeDir {
		return uint64(w.dirs.All[ref>>refShift].off) / slotSize
	}
	return ref >> refShift
}

// writeDirs writes all directories behind all else: their inodes in the order of
// adding, each with the end of its entries where that fits into a block, then
// the blocks of entries. It returns the root's inode, which lies in front.
func (w *Writer) writeDirs() (root []byte) {
	pos := w.out.next * blockSize
	for _, d := range w.dirs.All {
		pos = w.placeDir(d, pos)
	}
	at, end := w.out.next*blockSize, ceilDiv(pos, blockSize)*blockSize
	w.out.take(end/blockSize - w.out.next)
	var buf, piece []byte
	for _, d := range w.dirs.All {
		piece = w.writeDir(d, piece[:0])
		if d == w.dirs.All[0] {
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
	d.entries.Add(".", d.ref())
	d.entries.Add("..", d.parent.ref())
	d.entries.Sort()
	d.inode.size = d.size()
	d.body = w.attrs.body(d.attrs)
	d.attrs = nil

	size := d.inode.bytes(w.opt.Time) + len(d.body.bytes)
	tail := int(d.inode.size % blockSize)
	room := blockSize
	if d == w.dirs.All[0] {
		room = w.rootRoom
	}
	if tail > 0 && size+tail <= room {
		d.inode.layout = layoutInline
		size += tail
	}
	if d != w.dirs.All[0] {
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
	d.entries, d.body = names.Table[uint64]{}, body{}
	return b
}
