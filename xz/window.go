package xz

// A window holds the output that matches may refer to. Output is appended;
// when the memory is full, it begins at the front again, where what it
// overwrites is out of a distance's reach. That happens between two calls of
// decode only, so each piece of output is in one piece.
type window struct {
	buf  []byte
	pos  int // end of the output
	base int // pos-base is how much output there is since the dictionary's reset
	wrap int // where the output ended when it last began at the front again
	dict int // the dictionary's size: how far back a distance may reach
	hint int // how much output is expected; 0 if that is not known
}

const (
	minDict  = 4096    // a smaller dictionary counts as this, as in liblzma
	maxChunk = 1 << 21 // the most that is decoded at a time
)

// reset empties the window for a dictionary of dict bytes and output of about
// hint bytes. It keeps the memory.
func (w *window) reset(dict, hint int64) {
	*w = window{buf: w.buf, dict: int(max(dict, minDict))}
	w.hint = int(max(0, min(hint, int64(w.full()))))
}

// full is the largest size that the memory needs to have: what decode may
// write, up to copySlack beyond its output, and what it may still read, a
// dictionary before that, must not meet.
func (w *window) full() int { return w.dict + maxChunk + 2*copySlack }

// resetDict forgets the output so far.
func (w *window) resetDict() { w.base = w.pos }

// reserve makes room for n ≤ maxChunk more bytes. All output must have been
// taken, because it may move.
func (w *window) reserve(n int) {
	need := w.pos + n + copySlack
	if need <= len(w.buf) {
		return
	}
	full := w.full()
	if need <= full {
		w.grow(max(need, min(full, max(4*len(w.buf), w.hint+copySlack))))
		return
	}
	if len(w.buf) < full {
		w.grow(full)
	}
	w.wrap = w.pos
	w.base -= w.pos
	w.pos = 0
}

// grow moves the output to memory of size bytes.
func (w *window) grow(size int) {
	buf := make([]byte, size)
	copy(buf, w.buf[:w.pos])
	w.buf = buf
}

// last is the last byte of the output, 0 at its beginning.
func (w *window) last() byte {
	switch {
	case w.pos == w.base:
		return 0
	case w.pos == 0:
		return w.buf[w.wrap-1]
	}
	return w.buf[w.pos-1]
}

// expandStep is how many bytes are decoded between chances for the Go runtime
// to stop the goroutine, which it may not find otherwise: a fraction of a
// millisecond.
const expandStep = 1 << 15

// expand decodes LZMA symbols until n more bytes are there, or up to
// maxMatch-1 more. There must be room for n.
func (w *window) expand(d *lzmaDecoder, n int) stop {
	why := atLimit
	for end := w.pos + n; w.pos < end && why == atLimit; {
		why = d.decode(w, min(end, w.pos+expandStep))
	}
	return why
}
