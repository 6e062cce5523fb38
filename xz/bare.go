package xz

// This file decodes LZMA that is not cut into chunks, as in .lzma and .lz. Its
// coded bytes go through the ring of the range decoder in small batches.

const (
	// batchSize is how many bytes are decoded between looks at the input.
	batchSize = 4096
	// batchInput is more than what they can take of it: a literal takes at
	// most 9 bits of 6.1 bits each, 7 bytes; a match of 2 bytes takes
	// 16 bytes.
	batchInput = 8*batchSize + 64
	// bareOutput is how much is decoded before it is handed out.
	bareOutput = 1 << 16
)

// A bareInput fills the ring of the range decoder.
type bareInput struct {
	src  *source
	lzma *lzmaDecoder
	end  uint32 // of what is in the ring; like rc.pos not wrapped
}

// left is how much is in the ring. It is negative if the range decoder has
// read more than there was.
func (b *bareInput) left() int { return int(int32(b.end - b.lzma.rc.pos)) }

// fill reads until n bytes are in the ring, or the input ends.
func (b *bareInput) fill(n int) {
	for b.left() < n {
		at := b.end % inputSize
		free := inputSize - b.left()
		got := b.src.some(b.lzma.input[at:min(int(at)+free, inputSize)])
		if got == 0 {
			return
		}
		b.end += uint32(got)
	}
}

// take reads what is not LZMA.
func (b *bareInput) take(p []byte) error {
	b.fill(len(p))
	if b.left() < len(p) {
		return b.src.ended()
	}
	for i := range p {
		p[i] = b.lzma.input[b.lzma.rc.pos%inputSize]
		b.lzma.rc.pos++
	}
	return nil
}

// atEnd reports whether the input ends here.
func (b *bareInput) atEnd() (bool, error) {
	if b.fill(1); b.left() > 0 {
		return false, nil
	}
	return b.src.atEnd()
}

// corrupt is a FormatError at the place that was reached.
func (b *bareInput) corrupt(reason string) error {
	return &FormatError{Offset: b.offset(), Reason: reason}
}

// offset is the position in the input of the next byte.
func (b *bareInput) offset() int64 { return b.src.offset() - int64(b.left()) }

// bareStart begins a sequence of LZMA.
func (z *Reader) bareStart(p properties, dict, output int64) error {
	if err := z.admit(dict, output); err != nil {
		return err
	}
	z.block = blockHeader{dict: dict, output: output}
	z.output = 0
	z.lzma2.reset(dict, z.hint())
	z.lzma2.lzma.reset(p)
	if z.bare.fill(startSize); z.bare.left() < startSize {
		return z.src.ended()
	}
	if !z.lzma2.lzma.start() {
		return z.bare.corrupt("invalid start of LZMA data")
	}
	return nil
}

// bareBody decodes the next piece to z.out. It reports whether that was the
// end of the sequence: where the header says, or at the end marker, which may
// follow in any case.
func (z *Reader) bareBody() (done bool, err error) {
	w, d := &z.lzma2.window, &z.lzma2.lzma
	w.reserve(bareOutput)
	begin := w.pos
	for !done && w.pos-begin < bareOutput-2*batchSize {
		z.bare.fill(batchInput)
		if z.output == z.block.output && d.finished() {
			done = true
			break
		}
		// Where nothing may follow but the end marker, one byte more shows
		// whether something does.
		rest := max(1, min(z.left, z.block.output-z.output))
		from := w.pos
		why := w.expand(d, int(min(batchSize, rest)))
		n := int64(w.pos - from)
		z.left -= n
		z.output += n
		done = why == atMarker
		finished := done && d.finished()
		switch {
		case z.bare.left() < 0:
			return false, z.src.ended()
		case done && !finished:
			return false, z.bare.corrupt("LZMA data does not end at its end marker")
		case why == atBadDistance:
			return false, z.bare.corrupt("distance beyond the dictionary")
		case z.output > z.block.output:
			return false, z.bare.corrupt("more data than its header says")
		case z.left < 0:
			return false, ErrSize
		case done && z.block.output != unlimited && z.output < z.block.output:
			return false, z.bare.corrupt("less data than its header says")
		}
	}
	if z.bare.left() < 0 {
		return false, z.src.ended()
	}
	z.out = w.buf[begin:w.pos]
	z.checker.write(z.out)
	return done, nil
}
