package erofs

import "crypto/sha256"

// A packedFile is a regular file that is being compressed.
type packedFile struct {
	parent *dir
	name   string
	inode  inode
	attrs  []attr

	// What is known of the segments that are written.
	start  int64 // their first block
	pos    int64 // up to where they go in the file
	packed bool  // some of them are compressed
	index  index
	sum    [sha256.Size]byte
	sums   bool // sum is known
}

// writeSegment writes the blocks of a segment, and behind the last one the inode.
func (w *Writer) writeSegment(s *segment) {
	f := s.file
	if f.pos == 0 {
		f.start = w.out.next
		f.index.big = w.opt.ClusterSize > blockSize
		f.sums = true
	}
	f.sums = f.sums && s.sums
	f.sum = sha256.Sum256(append(f.sum[:], s.sum[:]...))
	pos, out := 0, s.out
	for _, e := range s.extents {
		if e.blocks > 0 {
			f.packed = true
			f.index.add(f.pos+int64(pos), f.pos+int64(e.end), w.out.next, e.blocks)
			for range e.blocks {
				w.out.append(out[:blockSize])
				out = out[blockSize:]
			}
			pos = e.end
		}
		for pos < e.end {
			end := min(pos+blockSize, e.end)
			f.index.add(f.pos+int64(pos), f.pos+int64(end), w.out.next, 0)
			w.out.append(s.src[pos:end])
			pos = end
		}
	}
	f.pos += int64(pos)
	if !s.last {
		return
	}
	i, b, tail := &f.inode, w.attrs.body(f.attrs), s.src[s.tail:]
	if f.packed || len(s.packed) > 0 {
		tail = w.writePacked(f, b, tail, s.packed)
	} else {
		tail = w.writeUnpacked(f, b, tail)
	}
	f.parent.entries.Add(f.name, w.putInode(i, b, tail))
}

// writeUnpacked ends a file of which nothing is compressed. tail is the end of it
// that is in no block. It returns what follows the inode.
func (w *Writer) writeUnpacked(f *packedFile, b body, tail []byte) []byte {
	if !w.fits(&f.inode, b, len(tail)) {
		f.inode.data = uint32(f.start)
		w.out.append(tail)
		return nil
	}
	if blocks := w.out.next - f.start; blocks > 0 {
		f.inode.data = uint32(w.share(f.sum, f.start, f.sums))
	}
	return tail
}

// writePacked ends a file of which something is compressed. tail is the end of
// it that is in no block, and packed that end compressed, if that is shorter. It
// returns what follows the inode and its extended attributes: the index, and
// the end where it fits into the block in which the index ends.
func (w *Writer) writePacked(f *packedFile, b body, tail, packed []byte) []byte {
	i := &f.inode
	i.layout = layoutCompressed
	w.features |= incompatPadding
	if f.index.big {
		w.features |= incompatConfigs
	}
	end := tail
	if len(packed) > 0 {
		end = packed
	}
	size := i.bytes(w.opt.Time) + len(b.bytes)
	pad := roundUp(size, indexAlign) - size
	inline := (size+pad+indexHeader+indexBytes(i.size))%blockSize+len(end) <= blockSize
	blocks := w.out.next - f.start
	switch {
	case inline && w.opt.Dedupe && blocks > 0:
		start := w.share(f.sum, f.start, f.sums)
		if start != f.start {
			w.features |= incompatDedupe
		}
		f.index.move(start - f.start)
	case inline:
	case len(packed) > 0 && len(tail) > blockSize:
		f.index.add(f.pos, i.size, w.out.next, 1)
		w.out.append(append(make([]byte, blockSize-len(packed)), packed...))
		blocks++
	default:
		// Compressed to a block it would take no less, and kernels object.
		f.index.add(f.pos, i.size, w.out.next, 0)
		w.out.append(tail)
		blocks++
	}
	i.data = uint32(blocks)
	p := make([]byte, pad, pad+indexHeader+indexBytes(i.size)+len(end))
	if !inline || len(end) == 0 {
		return f.index.encode(p, i.size, 0)
	}
	w.features |= incompatTails
	f.index.add(f.pos, i.size, 0, min(len(packed), 1))
	return append(f.index.encode(p, i.size, len(end)), end...)
}
