package xz

// A window holds the output that matches may refer to. It is linear: output
// is appended, and when the memory is full the last dictionary's worth of it
// moves to the front. That is rare, and decode has no edge to look after.
type window struct {
	buf   []byte
	start int // where the dictionary was reset; nothing before is referred to
	pos   int // end of the output
	dict  int // the dictionary's size: how far back a distance may reach
	hint  int // how much output is expected; 0 if that is not known
}

const (
	minDict  = 4096    // a smaller dictionary counts as this, as in liblzma
	maxChunk = 1 << 21 // the most that is decoded at a time
)

// reset empties the window for a dictionary of dict bytes and output of about
// hint bytes. It keeps the memory.
func (w *window) reset(dict, hint int64) {
	w.start, w.pos = 0, 0
	w.dict = int(max(dict, minDict))
	w.hint = int(max(0, min(hint, 2*dict)))
}

// reserve makes room for n ≤ maxChunk more bytes. All output must have been
// taken, because it may move. The low bits of the position in the dictionary,
// on which decoding depends, stay as they are.
func (w *window) reserve(n int) {
	if w.pos+n+copySlack <= len(w.buf) {
		return
	}
	const align = 1 << maxPosBits
	full := w.dict + max(w.dict, maxChunk) + align + copySlack
	if have := w.pos - w.start; w.pos+n+copySlack > full && have > w.dict {
		keep := w.dict + (have-w.dict)%align
		copy(w.buf, w.buf[w.pos-keep:w.pos])
		w.start, w.pos = 0, keep
	}
	if need := w.pos + n + copySlack; need > len(w.buf) {
		size := max(need, min(full, max(4*len(w.buf), w.hint+copySlack)))
		w.grow(size)
	}
}

// grow moves the output to memory of size bytes.
func (w *window) grow(size int) {
	buf := make([]byte, size)
	copy(buf, w.buf[:w.pos])
	w.buf = buf
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
		at := w.pos - w.start
		at, why = d.decode(w.buf[w.start:], at, at+min(end-w.pos, expandStep), w.dict)
		w.pos = w.start + at
	}
	return why
}
