// Package sparse writes files that are mostly holes.
//
// What is appended is written in large pieces, without the blocks of zeros at
// their ends: what is written to must be empty or all zeros, and whoever made it
// extends it to the length it is to have.
package sparse

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

// A Writer appends at a place that can be changed. Errors are sticky: after one,
// nothing is written.
type Writer struct {
	w   io.WriterAt
	at  int64 // where buf begins
	buf []byte
	err error
}

// NewWriter returns a Writer that appends to w from off on.
func NewWriter(w io.WriterAt, off int64) *Writer {
	return &Writer{w: w, at: off, buf: make([]byte, 0, bufferSize)}
}

// Pos returns where the next byte goes.
func (w *Writer) Pos() int64 { return w.at + int64(len(w.buf)) }

// Move says where the next bytes go.
func (w *Writer) Move(off int64) {
	if off != w.Pos() {
		w.Flush()
		w.at = off
	}
}

// space returns at most n bytes at the end of the buffer, which it counts as
// filled.
func (w *Writer) space(n int64) []byte {
	if len(w.buf) == cap(w.buf) {
		w.Flush()
	}
	from := len(w.buf)
	w.buf = w.buf[:from+int(min(n, int64(cap(w.buf)-from)))]
	return w.buf[from:]
}

// Append appends p.
func (w *Writer) Append(p []byte) {
	for len(p) > 0 {
		p = p[copy(w.space(int64(len(p))), p):]
	}
}

// Pad appends n zeros.
func (w *Writer) Pad(n int64) {
	for n > 0 {
		p := w.space(n)
		clear(p)
		n -= int64(len(p))
	}
}

// Copy appends n bytes of r. Where r has fewer it is [io.ErrUnexpectedEOF], and what
// was appended is of no use.
func (w *Writer) Copy(r io.Reader, n int64) error {
	for n > 0 && w.err == nil {
		p := w.space(n)
		if _, err := io.ReadFull(r, p); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		n -= int64(len(p))
	}
	return w.err
}

// Flush writes out what is buffered.
func (w *Writer) Flush() error {
	p, at := w.buf, w.at
	w.at += int64(len(p))
	w.buf = p[:0]
	for len(p) >= blockSize && bytes.Equal(p[:blockSize], zeroBlock[:]) {
		p, at = p[blockSize:], at+blockSize
	}
	for len(p) >= blockSize && bytes.Equal(p[len(p)-blockSize:], zeroBlock[:]) {
		p = p[:len(p)-blockSize]
	}
	if len(p) > 0 && w.err == nil {
		n, err := w.w.WriteAt(p, at)
		if err == nil && n < len(p) {
			err = io.ErrShortWrite
		}
		w.err = err
	}
	return w.err
}

// Err returns the first error of writing, of what was written out until now.
func (w *Writer) Err() error { return w.err }
