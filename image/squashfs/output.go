package squashfs

import "io"

const outputBuffer = 1 << 20

// output is what has been written, or waits in buf to be. Errors are sticky.
type output struct {
	w    io.WriterAt
	at   int64 // where buf goes
	buf  []byte
	high int64 // how far w has been written to
	err  error
}

func newOutput(w io.WriterAt, at int64) output { return output{w: w, at: at} }

// pos returns where the next byte goes.
func (o *output) pos() int64 { return o.at + int64(len(o.buf)) }

func (o *output) write(p []byte) {
	if len(o.buf)+len(p) > outputBuffer {
		o.flush()
	}
	o.buf = append(o.buf, p...)
}

func (o *output) flush() {
	if o.err == nil && len(o.buf) > 0 {
		_, o.err = o.w.WriteAt(o.buf, o.at)
	}
	o.at += int64(len(o.buf))
	o.buf = o.buf[:0]
	o.high = max(o.high, o.at)
}

// rewind makes pos the place of the next byte again.
func (o *output) rewind(pos int64) {
	if pos >= o.at {
		o.buf = o.buf[:pos-o.at]
		return
	}
	o.at, o.buf = pos, o.buf[:0]
}

// finish writes zeros up to a multiple of unit, and over what a rewind has left
// behind that. It returns the size.
func (o *output) finish(unit int64) int64 {
	size := (o.pos() + unit - 1) / unit * unit
	zeros := make([]byte, unit)
	for end := max(size, o.high); o.pos() < end; {
		o.write(zeros[:min(unit, end-o.pos())])
	}
	o.flush()
	return size
}
