package xz

// This file reads LZMA2: a sequence of chunks, each of which is a piece of
// LZMA or of plain bytes, and may reset the dictionary, the state and the
// properties.

// The first byte of a chunk. That of an LZMA chunk is a bit set; the lowest 5
// bits are the highest of the chunk's size.
const (
	chunkEnd        = 0x00 // the end of the sequence
	chunkPlainReset = 0x01 // plain bytes after a reset of the dictionary
	chunkPlain      = 0x02 // plain bytes
	chunkLZMA       = 0x80 // LZMA with the state as it is
	chunkState      = 0xa0 // LZMA after a reset of the state
	chunkProps      = 0xc0 // LZMA after a reset of the state, with new properties
	chunkDict       = 0xe0 // LZMA after a reset of everything
)

// An lzma2Decoder decodes LZMA2 chunk by chunk.
type lzma2Decoder struct {
	window
	lzma      lzmaDecoder
	needDict  bool // the dictionary was not yet reset
	needProps bool // there are no properties since that
	scratch   [4]byte
}

// reset prepares for a new sequence with a dictionary of dict bytes and output
// of about hint bytes.
func (d *lzma2Decoder) reset(dict, hint int64) {
	d.window.reset(dict, hint)
	d.needDict, d.needProps = true, true
}

// next decodes one chunk of at most limit bytes from src. The result is valid
// until the next call. It is nil at the end of the sequence, and never nil or
// empty before.
func (d *lzma2Decoder) next(src *source, limit limit) ([]byte, error) {
	control, err := src.byte()
	if err != nil || control == chunkEnd {
		return nil, err
	}
	if control >= chunkDict || control == chunkPlainReset {
		d.needDict, d.needProps = false, true
		d.window.resetDict()
	}
	switch {
	case d.needDict:
		return nil, src.corrupt("LZMA2 does not begin with a dictionary reset")
	case control >= chunkLZMA:
		return d.coded(src, control, limit)
	case control > chunkPlain:
		return nil, src.corrupt("invalid LZMA2 chunk")
	default:
		return d.plain(src, limit)
	}
}

// plain reads a chunk of plain bytes: its size less one, and the bytes.
func (d *lzma2Decoder) plain(src *source, limit limit) ([]byte, error) {
	head := d.scratch[:2]
	if err := src.full(head); err != nil {
		return nil, err
	}
	size := int(head[0])<<8 + int(head[1]) + 1
	if err := limit.check(src, size); err != nil {
		return nil, err
	}
	d.reserve(size)
	out := d.buf[d.pos : d.pos+size]
	if err := src.full(out); err != nil {
		return nil, err
	}
	d.pos += size
	return out, nil
}

// coded reads a chunk of LZMA: the size of its output less one, the size of
// the coded bytes less one, properties if they are new, and the coded bytes,
// of which the first 5 start the range decoder.
func (d *lzma2Decoder) coded(src *source, control byte, limit limit) ([]byte, error) {
	head := d.scratch[:4]
	if err := src.full(head); err != nil {
		return nil, err
	}
	size := int(control&^chunkDict)<<16 + int(head[0])<<8 + int(head[1]) + 1
	packed := int(head[2])<<8 + int(head[3]) + 1
	if err := limit.check(src, size); err != nil {
		return nil, err
	}
	switch {
	case control >= chunkProps:
		b, err := src.byte()
		if err != nil {
			return nil, err
		}
		props, ok := parseProperties(b)
		if !ok {
			return nil, src.corrupt("invalid LZMA properties")
		}
		d.lzma.reset(props)
		d.needProps = false
	case d.needProps:
		return nil, src.corrupt("LZMA2 chunk without properties")
	case control >= chunkState:
		d.lzma.reset(d.lzma.props)
	}
	if packed < startSize {
		return nil, src.corrupt("LZMA2 chunk is too small")
	}
	if err := src.full(d.lzma.input[:packed]); err != nil {
		return nil, err
	}
	d.lzma.rc.pos = 0
	if !d.lzma.start() {
		return nil, src.corrupt("invalid start of LZMA data")
	}
	d.reserve(size)
	from := d.pos
	switch d.expand(&d.lzma, size) {
	case atBadDistance:
		return nil, src.corrupt("distance beyond the dictionary")
	case atMarker:
		return nil, src.corrupt("end marker within LZMA2")
	}
	if d.pos != from+size || !d.lzma.finished() || d.lzma.rc.pos != uint32(packed) {
		return nil, src.corrupt("LZMA2 chunk does not end where its header says")
	}
	return d.buf[from:d.pos], nil
}
