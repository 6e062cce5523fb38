package erofs

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/bits"
)

const (
	chunkSize = 128 << 10 // bytes of contents that are read at a time
	// holeBlocks is how many zero blocks in a row become a hole. A file with
	// a hole has 4 bytes for each of its chunks, and is read in pieces.
	holeBlocks = 16
	// maxChunks bounds how many chunks a file is cut into for that.
	maxChunks     = 1 << 16
	maxChunkShift = 31
)

// addFile adds a regular file that is not compressed: its blocks at once, then
// its inode, with the end of the contents behind it where that fits.
func (w *Writer) addFile(parent *dir, name string, i inode, attrs []attr, data io.Reader) error {
	b := w.attrs.body(attrs)
	tail := i.size % blockSize
	if !w.fits(&i, b, int(tail)) {
		tail = 0
	}
	c := newContents(w, i.size-tail)
	for left := i.size - tail; left > 0 && w.out.err == nil; {
		p := w.chunk[:min(left, chunkSize)]
		if err := readFull(data, p); err != nil {
			return err
		}
		left -= int64(len(p))
		for ; len(p) > 0; p = p[min(blockSize, len(p)):] {
			c.add(p[:min(blockSize, len(p))])
		}
	}
	p := w.chunk[:tail]
	if err := readFull(data, p); err != nil {
		return err
	}
	if len(p) > 0 && c.holes(true) {
		c.add(p) // where there are holes, all must be in blocks
		p = nil
	}
	c.storeZeros(true)
	switch {
	case c.chunks != nil:
		i.layout = layoutChunks
		p, i.data = c.chunkMap()
		w.features |= incompatChunks
	case c.size > 0:
		i.data = uint32(w.share([sha256.Size]byte(w.hash.Sum(nil)), c.start, true))
	}
	parent.entries.Add(name, w.putInode(&i, b, p))
	return w.out.err
}

func readFull(r io.Reader, p []byte) error {
	_, err := io.ReadFull(r, p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// contents are the blocks of a file as they come. Which of them become holes
// depends on the contents alone.
type contents struct {
	w      *Writer
	start  int64    // where the blocks begin that are stored
	size   int64    // blocks that are stored or in holes
	zeros  int64    // zero blocks after them that have come
	shift  int      // a chunk has 1<<shift blocks
	chunks []uint32 // where each chunk begins, or noBlock; nil until there is a hole
}

func newContents(w *Writer, size int64) *contents {
	c := &contents{w: w, start: w.out.next}
	w.hash.Reset()
	c.shift = min(bits.Len64(uint64(max(size-1, 0)>>blockBits)/maxChunks), maxChunkShift)
	return c
}

// add takes a block, which only at the end may be shorter than others.
func (c *contents) add(block []byte) {
	if bytes.Equal(block, zeroBlock[:len(block)]) {
		c.zeros++
		return
	}
	c.storeZeros(false)
	c.store(block)
}

func (c *contents) store(block []byte) {
	if c.chunks == nil {
		c.w.hash.Write(block)
		c.w.hash.Write(zeroBlock[len(block):])
	} else if c.size&(1<<c.shift-1) == 0 {
		c.chunks = append(c.chunks, uint32(c.w.out.next))
	}
	c.w.out.append(block)
	c.size++
}

// hole returns the chunks within the zero blocks that have come: from first on
// to before end. At the end of the file, the last chunk may be cut off.
func (c *contents) hole(atEnd bool) (first, end int64) {
	first, end = ceilDiv(c.size, 1<<c.shift), (c.size+c.zeros)>>c.shift
	if atEnd {
		end = ceilDiv(c.size+c.zeros, 1<<c.shift)
	}
	return first, end
}

// holes reports whether the file has holes, or has one when the zero blocks are
// stored.
func (c *contents) holes(atEnd bool) bool {
	first, end := c.hole(atEnd)
	return c.chunks != nil || min(end<<c.shift, c.size+c.zeros)-first<<c.shift >= holeBlocks
}

// storeZeros stores the zero blocks that have come, or leaves them out.
func (c *contents) storeZeros(atEnd bool) {
	first, end := c.hole(atEnd)
	if first < end && c.holes(atEnd) {
		last := c.size + c.zeros
		c.zeros -= first<<c.shift - c.size
		for c.size < first<<c.shift {
			c.store(nil)
		}
		if c.chunks == nil { // the blocks until now lie in a row
			c.chunks = []uint32{}
			for at := range first {
				c.chunks = append(c.chunks, uint32(c.start+at<<c.shift))
			}
		}
		for range end - first {
			c.chunks = append(c.chunks, noBlock)
		}
		c.size = min(end<<c.shift, last)
		c.zeros = last - c.size
	}
	for ; c.zeros > 0; c.zeros-- {
		c.store(nil)
	}
}

// share returns where the blocks of contents with a sum begin that were appended
// from start on: where the same ones already are, if sum is known.
func (w *Writer) share(sum [sha256.Size]byte, start int64, known bool) int64 {
	if !known {
		return start
	}
	if earlier, ok := w.blocks[sum]; ok {
		w.out.rewind(start)
		return int64(earlier)
	}
	w.blocks[sum] = uint32(start)
	return start
}

// chunkMap returns the map of a file with holes and what the inode says about
// it (struct erofs_inode_chunk_info), with the largest chunks that do.
func (c *contents) chunkMap() (list []byte, format uint32) {
	for c.shift < maxChunkShift && len(c.chunks) > 1 && c.merge() {
	}
	for _, at := range c.chunks {
		list = le.AppendUint32(list, at)
	}
	return list, uint32(c.shift)
}

// merge makes one chunk of any two, if each two are a hole or lie in a row.
func (c *contents) merge() bool {
	var merged []uint32
	for rest := c.chunks; len(rest) > 0; rest = rest[min(2, len(rest)):] {
		switch {
		case len(rest) == 1, rest[0] == noBlock && rest[1] == noBlock,
			rest[0] != noBlock && rest[1] == rest[0]+1<<c.shift:
			merged = append(merged, rest[0])
		default:
			return false
		}
	}
	c.chunks = merged
	c.shift++
	return true
}
