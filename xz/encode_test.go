package xz

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
)

// A chunkWriter writes LZMA2 chunks of any kind, and keeps what they mean.
type chunkWriter struct {
	model slowModel
	dict  int
	out   []byte // what the chunks decode to
	start int    // where the dictionary was reset
	data  []byte // the chunks
}

// plain writes a chunk of plain bytes.
func (w *chunkWriter) plain(control byte, p []byte) {
	w.data = append(w.data, control, byte((len(p)-1)>>8), byte(len(p)-1))
	w.data = append(w.data, p...)
	if control == chunkPlainReset {
		w.start = len(w.out)
	}
	w.out = append(w.out, p...)
}

// coded writes a chunk of LZMA with the symbols that next gives until it
// returns false.
func (w *chunkWriter) coded(control byte, p properties, next func() (symbol, bool)) {
	if control >= chunkDict {
		w.start = len(w.out)
	}
	if control >= chunkState {
		w.model.reset(p.lc, p.lp, p.pb)
	}
	e := newSlowEncoder()
	from := len(w.out)
	for {
		s, ok := next()
		if !ok {
			break
		}
		w.model.code(e, s, w.out[w.start:])
		var err error
		if w.out, err = w.model.apply(s, w.out, w.start, w.dict); err != nil {
			w.out = append(w.out, make([]byte, s.length)...) // as if it were valid
		}
	}
	coded := e.finish()
	size := len(w.out) - from - 1
	w.data = append(w.data, control|byte(size>>16), byte(size>>8), byte(size))
	w.data = binary.BigEndian.AppendUint16(w.data, uint16(len(coded)-1))
	if control >= chunkProps {
		w.data = append(w.data, byte((p.pb*5+p.lp)*9+p.lc))
	}
	w.data = append(w.data, coded...)
}

// randomSymbols gives valid symbols of about n bytes.
func (w *chunkWriter) randomSymbols(r *rand.Rand, n int) func() (symbol, bool) {
	from := len(w.out)
	return func() (symbol, bool) {
		have := len(w.out) - w.start
		reach := min(have, w.dict)
		if len(w.out) >= from+n {
			return symbol{}, false
		}
		lengths := [...]int{2, 2 + r.IntN(8), 10 + r.IntN(8), 18 + r.IntN(256), maxMatch}
		length := lengths[r.IntN(len(lengths))]
		switch kind := r.IntN(10); {
		case kind < 3 && have > 0:
			dists := [...]int{r.IntN(reach), min(r.IntN(20), reach-1), reach - 1, 0}
			return symbol{length: length, dist: uint32(dists[r.IntN(len(dists))])}, true
		case kind < 6:
			rep := 1 + r.IntN(4)
			if int(w.model.rep[rep-1]) < reach {
				if rep == 1 && r.IntN(2) == 0 {
					length = 1
				}
				return symbol{rep: rep, length: length}, true
			}
		}
		return symbol{literal: true, value: "abcd\x00\x80\xff"[r.IntN(7)] + byte(r.IntN(1+r.IntN(4)))}, true
	}
}

// randomChunks writes n chunks of all kinds, and the end.
func randomChunks(r *rand.Rand, dict, n int) *chunkWriter {
	w := &chunkWriter{dict: dict}
	var props properties
	needProps := true
	for i := range n {
		control := [...]byte{chunkPlainReset, chunkPlain, chunkLZMA, chunkState, chunkProps, chunkDict}[r.IntN(6)]
		if i == 0 && control != chunkPlainReset {
			control = chunkDict
		}
		switch {
		case control == chunkPlainReset || control == chunkPlain:
			p := make([]byte, 1+r.IntN(300))
			for i := range p {
				p[i] = byte(r.IntN(5))
			}
			w.plain(control, p)
			needProps = needProps || control == chunkPlainReset
			continue
		case control < chunkProps && needProps:
			control = chunkProps
		}
		if control >= chunkProps {
			props.lc = uint(r.IntN(5))
			props.lp = uint(r.IntN(5 - int(props.lc)))
			props.pb = uint(r.IntN(5))
			needProps = false
		}
		w.coded(control, props, w.randomSymbols(r, 1+r.IntN(4000)))
	}
	w.data = append(w.data, chunkEnd)
	return w
}

// knownSize makes an .lzma file whose header has the size of its content, and
// the content.
func knownSize(seed uint64, marker bool) (in, content []byte) {
	p := properties{lc: 1, lp: 2, pb: 3}
	r := rand.New(rand.NewPCG(10, seed))
	w := &chunkWriter{dict: 1 << 14}
	w.model.reset(p.lc, p.lp, p.pb)
	e := newSlowEncoder()
	next := w.randomSymbols(r, r.IntN(30000))
	for s, ok := next(); ok; s, ok = next() {
		w.model.code(e, s, w.out)
		w.out, _ = w.model.apply(s, w.out, 0, w.dict)
	}
	if marker {
		w.model.code(e, symbol{length: 2, dist: endMarker}, w.out)
	}
	in = append(in, byte((p.pb*5+p.lp)*9+p.lc))
	in = le.AppendUint32(in, uint32(w.dict))
	in = le.AppendUint64(in, uint64(len(w.out)))
	return append(in, e.finish()...), w.out
}

// A container wraps LZMA2 data as .xz. Its fields say what the headers hold,
// rightly or not; checksums of headers are right.
type container struct {
	check  checkID
	blocks []containerBlock

	count     *int64          // of blocks in the index; nil: the right one
	backward  *uint32         // in the footer
	index     func(p []byte)  // may change the index before its checksum
	footFlags *[2]byte        // instead of the header's
	header    func(p *[]byte) // may change block headers before their checksum
}

type containerBlock struct {
	data           []byte // LZMA2
	output         []byte
	dict           byte
	sized          bool
	packed, unpack int64 // added to the sizes in the header
	listed         int64 // added to the size in the index
}

func (c *container) bytes() []byte {
	out := []byte(headerMagic)
	flags := []byte{0, byte(c.check)}
	out = append(out, flags...)
	out = le.AppendUint32(out, crc32.ChecksumIEEE(flags))
	var sizes []byte
	for _, b := range c.blocks {
		head := []byte{0, 0}
		if b.sized {
			head[1] = 0xc0
			head = binary.AppendUvarint(head, uint64(int64(len(b.data))+b.packed))
			head = binary.AppendUvarint(head, uint64(int64(len(b.output))+b.unpack))
		}
		head = append(head, filterLZMA2, 1, b.dict)
		if c.header != nil {
			c.header(&head)
		}
		for len(head)%4 != 0 {
			head = append(head, 0)
		}
		head[0] = byte(len(head) / 4)
		head = le.AppendUint32(head, crc32.ChecksumIEEE(head))
		out = append(out, head...)
		out = append(out, b.data...)
		var k checker
		if err := k.reset(c.check, false); err != nil {
			panic(err)
		}
		k.write(b.output)
		k.matches(nil)
		sizes = binary.AppendUvarint(sizes, uint64(len(head)+len(b.data)+len(k.sum)))
		sizes = binary.AppendUvarint(sizes, uint64(int64(len(b.output))+b.listed))
		out = append(out, make([]byte, -len(b.data)&3)...)
		out = append(out, k.sum...)
	}
	count := int64(len(c.blocks))
	if c.count != nil {
		count = *c.count
	}
	index := append(binary.AppendUvarint([]byte{0}, uint64(count)), sizes...)
	for len(index)%4 != 0 {
		index = append(index, 0)
	}
	if c.index != nil {
		c.index(index)
	}
	index = le.AppendUint32(index, crc32.ChecksumIEEE(index))
	backward := uint32(len(index)/4 - 1)
	if c.backward != nil {
		backward = *c.backward
	}
	foot := le.AppendUint32(nil, backward)
	if c.footFlags != nil {
		flags = c.footFlags[:]
	}
	foot = append(foot, flags...)
	out = append(out, index...)
	out = le.AppendUint32(out, crc32.ChecksumIEEE(foot))
	return append(append(out, foot...), footerMagic...)
}

// dictByte is the property of the smallest dictionary of at least size bytes.
func dictByte(size int64) byte {
	b := byte(0)
	for dictSize(b) < size {
		b++
	}
	return b
}
