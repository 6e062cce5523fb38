package erofs

import (
	"fmt"
	"io"
)

const bufferSize = 1 << 20

// A blockWriter hands out blocks in rising order and writes contents through a
// buffer, so that what lies side by side is written at once.
type blockWriter struct {
	w    io.WriterAt
	next int64 // every block before it is in use
	buf  []byte
	at   int64 // the block where buf begins
	end  int64 // no block from it on has ever been written
	err  error // sticky
}

func newBlockWriter(w io.WriterAt) blockWriter {
	return blockWriter{w: w, next: 1, buf: make([]byte, 0, bufferSize)}
}

// take hands out n blocks in a row, for the caller to put or write.
func (b *blockWriter) take(n int64) (first int64) {
	first = b.next
	if n > maxBlocks-first {
		b.fail(fmt.Errorf("erofs: a file system has at most %d bytes", int64(maxBlocks*blockSize)))
		return 0
	}
	b.next += n
	return first
}

func (b *blockWriter) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// append puts p, of at most a block, filled up with zeros, into the next block.
func (b *blockWriter) append(p []byte) {
	block := b.take(1)
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

// rewind takes back the blocks from next on, which were all appended in a row.
func (b *blockWriter) rewind(next int64) {
	b.next = next
	if next < b.at {
		b.buf = b.buf[:0]
		return
	}
	b.buf = b.buf[:min(int64(len(b.buf)), (next-b.at)*blockSize)]
}

// flush writes out what is buffered.
func (b *blockWriter) flush() {
	if len(b.buf) > 0 {
		b.writeAt(b.buf, b.at*blockSize)
	}
	b.buf = b.buf[:0]
}

// writeAt writes p to a place in bytes, in blocks that were handed out and that
// the buffer does not hold.
func (b *blockWriter) writeAt(p []byte, off int64) {
	if b.err != nil {
		return
	}
	n, err := b.w.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	b.err = err
	b.end = max(b.end, ceilDiv(off+int64(len(p)), blockSize))
}

// finish writes out what is buffered, and zeros over what was written behind the
// last block before it was taken back.
func (b *blockWriter) finish() {
	b.flush()
	clear(b.buf[:cap(b.buf)])
	for at := b.next; at < b.end && b.err == nil; {
		n := min(b.end-at, bufferSize/blockSize)
		b.writeAt(b.buf[:n*blockSize], at*blockSize)
		at += n
	}
}
