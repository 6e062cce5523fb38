package erofs

import "crypto/sha256"

const (
	// segmentSize is how many bytes of a file are compressed on their own. The
	// last cluster of a segment is seldom full.
	segmentSize = 1 << 20
	// maxCompressed bounds the files that are compressed: the index of one is
	// in memory until it is complete, with 8 bytes for each block.
	maxCompressed = 16 << 30
	// minSaving is how much compression must save, as a divisor.
	minSaving = 32
)

// An extent is a piece of a file that lies in blocks of its own, either
// compressed to fewer blocks than it would fill, or as it is: then each of its
// blocks is an extent for the format.
type extent struct {
	end    int // in the segment; it begins where the one before ends
	blocks int // that it is compressed to, or 0
}

// A segment is a piece of a file on its way through a worker.
type segment struct {
	file *packedFile
	last bool // of the file
	sums bool // sum is wanted even if extents are compressed
	src  []byte
	done chan struct{}

	// What the worker makes of src.
	extents []extent
	out     []byte            // the blocks of extents that are compressed
	tail    int               // where the end begins that is in no extent; of the last segment only
	packed  []byte            // the end compressed to less than a block, if that is shorter
	sum     [sha256.Size]byte // of src, if it is wanted
	cluster []byte            // an LZ4 block being made
}

// compress cuts a segment into extents. If that saves too little, there is one
// that is plain.
func (s *segment) compress(z *lz4) {
	s.extents, s.out, s.packed = s.extents[:0], s.out[:0], s.packed[:0]
	z.reset(s.src)
	n, pos := len(s.src), 0
	used := indexHeader + indexBytes(int64(n))
	for pos < n {
		end, size := z.compress(s.cluster, pos)
		if s.last && end == n && size%blockSize != 0 {
			if size < min(blockSize, n-pos) {
				s.packed = append(s.packed, s.cluster[:size]...)
				break
			}
			end, size = s.cut(z, end, size)
		}
		blocks := int(ceilDiv(int64(size), blockSize))
		if end-pos > blocks*blockSize {
			// Compressed data end where their blocks end.
			s.out = append(s.out, zeroBlock[:blocks*blockSize-size]...)
			s.out = append(s.out, s.cluster[:size]...)
		} else if left := n - pos; left < blockSize && s.last {
			break
		} else {
			end, blocks = pos+left, 0
			if left >= blockSize {
				end = pos + min(left, len(s.cluster))&^(blockSize-1)
			}
			used += roundUp(end-pos, blockSize)
		}
		s.extents = append(s.extents, extent{end, blocks})
		pos = end
	}
	s.tail = pos
	if used += len(s.out) + len(s.packed); len(s.packed) == 0 {
		used += n - pos
	}
	plain := used > n-n/minSaving
	if plain {
		s.out, s.packed, s.tail = s.out[:0], s.packed[:0], n
		if s.last {
			s.tail = n &^ (blockSize - 1)
		}
		s.extents = append(s.extents[:0], extent{end: s.tail})
	}
	if s.sums = s.sums || plain; s.sums {
		s.sum = sha256.Sum256(s.src)
	}
}

// cut ends an LZ4 block that goes to the end of the file at the last multiple of
// blockSize within it, if what is left over then fills less than a block. It
// returns where the block ends, and its size.
func (s *segment) cut(z *lz4, end, size int) (int, int) {
	c := z.cut
	if c.end == 0 || c.end >= size {
		return end, size
	}
	last := c.anchor + min(end-c.anchor, maxLiterals(c.end-c.size))
	if end-last >= blockSize {
		var b [blockSize - 1]byte
		if e, _ := z.compress(b[:], last); e < end {
			return end, size
		}
	}
	return last, c.size + putSequence(s.cluster[c.size:], s.src[c.anchor:last], match{})
}
