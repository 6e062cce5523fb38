package ext4

import "io"

const bufferSize = 1 << 20

// A blockWriter hands out blocks in rising order and writes them through a
// buffer, so that what lies side by side is written at once.
//
// It leaves out the fronts of the groups that keep a copy of the superblock
// and of the group descriptors, with the blocks set aside for more of these.
// What does not fit is handed out and not written.
type blockWriter struct {
	geometry
	w     io.WriterAt
	place cursor // every block before it is in use
	limit int64  // blocks there may be
	buf   []byte
	at    int64 // the block where buf begins
	stale int64 // where the blocks end that were written and taken back
	err   error // sticky
}

func newBlockWriter(w io.WriterAt, place cursor, limit int64) blockWriter {
	return blockWriter{
		geometry: place.geometry,
		w:        w,
		place:    place,
		limit:    limit,
		buf:      make([]byte, 0, bufferSize),
	}
}

// alloc returns the number of a fresh block.
func (b *blockWriter) alloc() int64 { return b.place.take(1) }

// append writes p, filled up with zeros, to a fresh block and returns its
// number.
func (b *blockWriter) append(p []byte) int64 {
	n := b.alloc()
	b.put(n, p)
	return n
}

// put writes p, of at most a block, filled up with zeros, to a block.
func (b *blockWriter) put(block int64, p []byte) {
	if block >= b.limit {
		return
	}
	if block != b.at+int64(len(b.buf)>>b.shift) || len(b.buf) == cap(b.buf) {
		b.flush()
		b.at = block
	}
	if b.err != nil {
		return
	}
	n := len(b.buf)
	b.buf = b.buf[:n+int(b.block())]
	clear(b.buf[n+copy(b.buf[n:], p):])
}

// takeBack makes all blocks fresh again that were handed out from a place on.
func (b *blockWriter) takeBack(to cursor) {
	b.place = to
	if to.next <= b.at { // behind which all has been written out
		b.stale = max(b.stale, b.at)
		b.buf = b.buf[:0]
		return
	}
	b.buf = b.buf[:min(len(b.buf), int(to.next-b.at)<<b.shift)]
}

// wipe writes zeros over what was taken back and is not in use again.
func (b *blockWriter) wipe() {
	for n := b.place.next; n < b.stale; n++ {
		b.put(n, nil)
	}
	b.stale = 0
}

// flush writes out what is buffered.
func (b *blockWriter) flush() {
	if len(b.buf) > 0 {
		b.writeAt(b.buf, b.at<<b.shift)
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
