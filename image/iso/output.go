package iso

import (
	"bytes"
	"io"
)

const (
	bufferSize = 256 << 10
	// blockSize is the piece of zeros that is not written.
	blockSize = 4096
)

var zeroBlock [blockSize]byte

// An output writes what lies side by side at once, and leaves out zeros.
type output struct {
	w   io.WriterAt
	at  int64 // where buf begins
	buf []byte
	err error // sticky
}

// pos returns where the next byte goes.
func (o *output) pos() int64 { return o.at + int64(len(o.buf)) }

// seek says where the next bytes go.
func (o *output) seek(off int64) {
	if off != o.pos() {
		o.flush()
		o.at = off
	}
}

// space returns at most n bytes at the end of the buffer, which it counts as
// filled.
func (o *output) space(n int64) []byte {
	if o.buf == nil {
		o.buf = make([]byte, 0, bufferSize)
	}
	if len(o.buf) == cap(o.buf) {
		o.flush()
	}
	from := len(o.buf)
	o.buf = o.buf[:from+int(min(n, int64(cap(o.buf)-from)))]
	return o.buf[from:]
}

// copy appends n bytes of r.
func (o *output) copy(r io.Reader, n int64) error {
	for n > 0 && o.err == nil {
		p := o.space(n)
		if _, err := io.ReadFull(r, p); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		n -= int64(len(p))
	}
	return o.err
}

// write appends p, and zeros up to the next sector.
func (o *output) write(p []byte) {
	for len(p) > 0 {
		p = p[copy(o.space(int64(len(p))), p):]
	}
	o.pad()
}

// pad appends zeros up to the next sector.
func (o *output) pad() {
	for n := -o.pos() & (sectorSize - 1); n > 0; {
		p := o.space(n)
		clear(p)
		n -= int64(len(p))
	}
}

// flush writes out what is buffered, without blocks of zeros at its ends.
func (o *output) flush() {
	p, at := o.buf, o.at
	o.at += int64(len(p))
	o.buf = p[:0]
	for len(p) >= blockSize && bytes.Equal(p[:blockSize], zeroBlock[:]) {
		p, at = p[blockSize:], at+blockSize
	}
	for len(p) >= blockSize && bytes.Equal(p[len(p)-blockSize:], zeroBlock[:]) {
		p = p[:len(p)-blockSize]
	}
	o.writeAt(p, at)
}

// writeAt writes what lies elsewhere.
func (o *output) writeAt(p []byte, off int64) {
	if len(p) == 0 || o.err != nil {
		return
	}
	n, err := o.w.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	o.err = err
}
