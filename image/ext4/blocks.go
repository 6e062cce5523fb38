package ext4

import "io"

const bufferSize = 1 << 20

// A blockWriter hands out blocks in rising order and writes them through a
// buffer, so that what lies side by side is written at once.
//
// It leaves out the fronts of the groups that keep a copy of the superblock
// and of the group descriptors, with the blocks set aside for more of these.
type blockWriter struct {
	w        io.WriterAt
	reserved int64 // blocks in front of a group with a copy
	next     int64 // every block before it is in use
	front    int64 // where the next such front begins
	limit    int64 // blocks there may be
	buf      []byte
	at       int64 // the block where buf begins
	err      error // sticky
}

func newBlockWriter(w io.WriterAt, reserved, limit int64) blockWriter {
	return blockWriter{
		w:        w,
		reserved: reserved,
		next:     reserved,
		front:    nextCopy(1) * groupBlocks,
		limit:    limit,
		buf:      make([]byte, 0, bufferSize),
	}
}

// hasCopy reports whether a group keeps a copy of the superblock: groups 0, 1
// and the powers of 3, 5 and 7 ("Sparse Super").
func hasCopy(group int64) bool {
	if group <= 1 {
		return true
	}
	for _, base := range [...]int64{3, 5, 7} {
		n := base
		for n < group {
			n *= base
		}
		if n == group {
			return true
		}
	}
	return false
}

// nextCopy returns the first group from the given one on that keeps a copy.
func nextCopy(group int64) int64 {
	for !hasCopy(group) {
		group++
	}
	return group
}

// alloc returns the number of a fresh block.
func (b *blockWriter) alloc() int64 {
	if b.next == b.front {
		b.next += b.reserved
		b.front = nextCopy(b.front/groupBlocks+1) * groupBlocks
	}
	n := b.next
	if n >= b.limit && b.err == nil {
		b.err = &NoSpaceError{Needed: (n + 1) * blockSize, Given: b.limit * blockSize}
	}
	b.next++
	return n
}

// append writes p, filled up with zeros, to a fresh block and returns its
// number.
func (b *blockWriter) append(p []byte) int64 {
	n := b.alloc()
	b.put(n, p)
	return n
}

// put writes p, of at most a block, filled up with zeros, to a block.
func (b *blockWriter) put(block int64, p []byte) {
	if block != b.at+int64(len(b.buf)/blockSize) || len(b.buf) == cap(b.buf) {
		b.flush()
		b.at = block
	}
	if b.err != nil {
		return
	}
	n := len(b.buf)
	b.buf = b.buf[:n+blockSize]
	clear(b.buf[n+copy(b.buf[n:], p):])
}

// flush writes out what is buffered.
func (b *blockWriter) flush() {
	if len(b.buf) > 0 {
		b.writeAt(b.buf, b.at*blockSize)
	}
	b.buf = b.buf[:0]
}

// writeAt writes p to a place in bytes that no buffered block touches.
func (b *blockWriter) writeAt(p []byte, off int64) {
	if b.err != nil {
		return
	}
	n, err := b.w.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	b.err = err
}
