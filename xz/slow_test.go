package xz

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"hash/crc64"
)

// This file is a second LZMA, written for being obviously right: it follows
// the specification bit by bit, with a branch for each decision, and its
// model works in both directions, so that tests can also encode what no
// encoder would.

// A slowCoder codes one decision. A decoder returns the bit that it finds; an
// encoder writes the bit that it is given, and returns it.
type slowCoder interface {
	bit(p *uint16, bit int) int
	fair(bit int) int // a bit without a probability
}

var errSlow = errors.New("slow decoder: invalid input")

// slowDecoder is the range decoder of the LZMA specification.
type slowDecoder struct {
	in        []byte
	rng, code uint32
	overrun   bool
}

func newSlowDecoder(in []byte) (*slowDecoder, error) {
	if len(in) < 5 || in[0] != 0 || binary.BigEndian.Uint32(in[1:]) == 1<<32-1 {
		return nil, errSlow
	}
	return &slowDecoder{in: in[5:], rng: 1<<32 - 1, code: binary.BigEndian.Uint32(in[1:])}, nil
}

func (d *slowDecoder) normalize() {
	if d.rng < 1<<24 {
		b := byte(0)
		if len(d.in) == 0 {
			d.overrun = true
		} else {
			b, d.in = d.in[0], d.in[1:]
		}
		d.rng <<= 8
		d.code = d.code<<8 | uint32(b)
	}
}

func (d *slowDecoder) bit(p *uint16, _ int) int {
	d.normalize()
	bound := d.rng >> 11 * uint32(*p)
	if d.code < bound {
		d.rng = bound
		*p += (2048 - *p) >> 5
		return 0
	}
	d.rng -= bound
	d.code -= bound
	*p -= *p >> 5
	return 1
}

func (d *slowDecoder) fair(int) int {
	d.normalize()
	d.rng >>= 1
	if d.code < d.rng {
		return 0
	}
	d.code -= d.rng
	return 1
}

// slowEncoder is the range encoder.
type slowEncoder struct {
	out   []byte
	low   uint64
	rng   uint32
	cache byte
	count int // of bytes that a carry may still change
}

func newSlowEncoder() *slowEncoder { return &slowEncoder{rng: 1<<32 - 1, count: 1} }

func (e *slowEncoder) shift() {
	if uint32(e.low) < 0xff000000 || e.low>>32 != 0 {
		carry := byte(e.low >> 32)
		for ; e.count > 0; e.count-- {
			e.out = append(e.out, e.cache+carry)
			e.cache = 0xff
		}
		e.cache = byte(e.low >> 24)
	}
	e.count++
	e.low = uint64(uint32(e.low) << 8)
}

func (e *slowEncoder) normalize() {
	for e.rng < 1<<24 {
		e.rng <<= 8
		e.shift()
	}
}

func (e *slowEncoder) bit(p *uint16, bit int) int {
	bound := e.rng >> 11 * uint32(*p)
	if bit == 0 {
		e.rng = bound
		*p += (2048 - *p) >> 5
	} else {
		e.low += uint64(bound)
		e.rng -= bound
		*p -= *p >> 5
	}
	e.normalize()
	return bit
}

func (e *slowEncoder) fair(bit int) int {
	e.rng >>= 1
	if bit == 1 {
		e.low += uint64(e.rng)
	}
	e.normalize()
	return bit
}

func (e *slowEncoder) finish() []byte {
	for range 5 {
		e.shift()
	}
	return e.out
}

// slowModel is LZMA's state.
type slowModel struct {
	lc, lp, pb uint
	state      int
	rep        [4]uint32
	probs      [slowKinds][]uint16
}

func (m *slowModel) reset(lc, lp, pb uint) {
	*m = slowModel{lc: lc, lp: lp, pb: pb, probs: m.probs}
	for kind, size := range slowSizes {
		if m.probs[kind] == nil {
			m.probs[kind] = make([]uint16, size[0]*size[1]*size[2])
		}
		used := m.probs[kind]
		if kind == slowLiteral {
			used = used[:0x300<<(lc+lp)]
		}
		for i := range used {
			used[i] = 1024
		}
	}
}

// The kinds of probabilities, the first index of probs.
const (
	slowIsMatch = iota
	slowIsRep
	slowIsRep0
	slowIsRep0Long
	slowIsRep1
	slowIsRep2
	slowLiteral
	slowSlot
	slowSpecial
	slowAlign
	slowLength
	slowLow
	slowMid
	slowHigh
	slowRepLength // and its three trees
	slowKinds     = slowRepLength + 4
)

// slowSizes is how many probabilities of each kind there are, by three indexes.
var slowSizes = [slowKinds][3]int{
	slowIsMatch:    {12, 16, 1},
	slowIsRep:      {12, 1, 1},
	slowIsRep0:     {12, 1, 1},
	slowIsRep0Long: {12, 16, 1},
	slowIsRep1:     {12, 1, 1},
	slowIsRep2:     {12, 1, 1},
	slowLiteral:    {16, 0x300, 1},
	slowSlot:       {4, 1, 64},
	slowSpecial:    {14, 1, 32},
	slowAlign:      {1, 1, 16},
	slowLength:     {2, 1, 1},
	slowLow:        {16, 1, 8},
	slowMid:        {16, 1, 8},
	slowHigh:       {1, 1, 256},

	slowRepLength + 0: {2, 1, 1},
	slowRepLength + 1: {16, 1, 8},
	slowRepLength + 2: {16, 1, 8},
	slowRepLength + 3: {1, 1, 256},
}

func (m *slowModel) prob(kind, a, b, c int) *uint16 {
	size := slowSizes[kind]
	return &m.probs[kind][(a*size[1]+b)*size[2]+c]
}

// A symbol is one step of LZMA.
type symbol struct {
	literal bool
	value   byte   // of a literal
	rep     int    // 0: a new distance; 1 to 4: a repeated one
	length  int    // 1 with rep 1: a short repeat
	dist    uint32 // less one; of a new distance
}

func (m *slowModel) tree(c slowCoder, kind, a, b, bits, value int) int {
	node := 1
	for i := bits - 1; i >= 0; i-- {
		node = node<<1 | c.bit(m.prob(kind, a, b, node), value>>i&1)
	}
	return node - 1<<bits
}

func (m *slowModel) reverse(c slowCoder, kind, a, bits, value int) int {
	node, out := 1, 0
	for i := range bits {
		bit := c.bit(m.prob(kind, a, 0, node), value>>i&1)
		node = node<<1 | bit
		out |= bit << i
	}
	return out
}

func bool2int(b bool) int {
	if b {
		return 1
	}
	return 0
}

// code codes one symbol at the end of out.
func (m *slowModel) code(c slowCoder, s symbol, out []byte) symbol {
	posState := len(out) & (1<<m.pb - 1)
	if c.bit(m.prob(slowIsMatch, m.state, posState, 0), bool2int(!s.literal)) == 0 {
		prev := 0
		if len(out) > 0 {
			prev = int(out[len(out)-1])
		}
		context := (len(out)&(1<<m.lp-1))<<m.lc + prev>>(8-m.lc)
		node := 1
		differs := m.state < 7
		for i := 7; i >= 0; i-- {
			index := node
			expect := 0
			if !differs {
				expect = int(out[len(out)-1-int(m.rep[0])]) >> i & 1
				index += (1 + expect) << 8
			}
			bit := c.bit(m.prob(slowLiteral, context, index, 0), int(s.value)>>i&1)
			node = node<<1 | bit
			differs = differs || bit != expect
		}
		switch {
		case m.state < 4:
			m.state = 0
		case m.state < 10:
			m.state -= 3
		default:
			m.state -= 6
		}
		return symbol{literal: true, value: byte(node)}
	}
	after := func(a, b int) {
		if m.state < 7 {
			m.state = a
		} else {
			m.state = b
		}
	}
	if c.bit(m.prob(slowIsRep, m.state, 0, 0), bool2int(s.rep > 0)) == 0 {
		length := m.length(c, slowLength, posState, s.length)
		dist := m.distance(c, length, s.dist)
		m.rep = [4]uint32{dist, m.rep[0], m.rep[1], m.rep[2]}
		after(7, 10)
		return symbol{length: length, dist: dist}
	}
	rep := 1
	if c.bit(m.prob(slowIsRep0, m.state, 0, 0), bool2int(s.rep > 1)) == 0 {
		if c.bit(m.prob(slowIsRep0Long, m.state, posState, 0), bool2int(s.length > 1)) == 0 {
			after(9, 11)
			return symbol{rep: 1, length: 1}
		}
	} else if c.bit(m.prob(slowIsRep1, m.state, 0, 0), bool2int(s.rep > 2)) == 0 {
		rep = 2
		m.rep[0], m.rep[1] = m.rep[1], m.rep[0]
	} else if c.bit(m.prob(slowIsRep2, m.state, 0, 0), bool2int(s.rep > 3)) == 0 {
		rep = 3
		m.rep[0], m.rep[1], m.rep[2] = m.rep[2], m.rep[0], m.rep[1]
	} else {
		rep = 4
		m.rep[0], m.rep[1], m.rep[2], m.rep[3] = m.rep[3], m.rep[0], m.rep[1], m.rep[2]
	}
	length := m.length(c, slowRepLength, posState, s.length)
	after(8, 11)
	return symbol{rep: rep, length: length}
}

func (m *slowModel) length(c slowCoder, kind, posState, length int) int {
	n := length - 2
	if c.bit(m.prob(kind, 0, 0, 0), bool2int(n >= 8)) == 0 {
		return 2 + m.tree(c, kind+1, posState, 0, 3, n)
	}
	if c.bit(m.prob(kind, 1, 0, 0), bool2int(n >= 16)) == 0 {
		return 10 + m.tree(c, kind+2, posState, 0, 3, n-8)
	}
	return 18 + m.tree(c, kind+3, 0, 0, 8, n-16)
}

func (m *slowModel) distance(c slowCoder, length int, dist uint32) uint32 {
	slot := int(dist)
	if dist >= 4 {
		top := 31
		for dist>>top == 0 {
			top--
		}
		slot = 2*top + int(dist>>(top-1)&1)
	}
	slot = m.tree(c, slowSlot, min(length-2, 3), 0, 6, slot)
	if slot < 4 {
		return uint32(slot)
	}
	low := slot/2 - 1
	base := uint32(2|slot&1) << low
	rest := dist - base
	if slot < 14 {
		return base + uint32(m.reverse(c, slowSpecial, slot, low, int(rest)))
	}
	high := uint32(0)
	for i := low - 1; i >= 4; i-- {
		high = high<<1 | uint32(c.fair(int(rest>>i&1)))
	}
	return base + high<<4 + uint32(m.reverse(c, slowAlign, 0, 4, int(rest&15)))
}

// apply appends what a symbol means. The distance must not reach farther back
// than out[start] and dict.
func (m *slowModel) apply(s symbol, out []byte, start, dict int) ([]byte, error) {
	if s.literal {
		return append(out, s.value), nil
	}
	if int64(m.rep[0]) >= int64(len(out)-start) || int64(m.rep[0]) >= int64(dict) {
		return out, errSlow
	}
	for range s.length {
		out = append(out, out[len(out)-1-int(m.rep[0])])
	}
	return out, nil
}

// slowLZMA2 decodes LZMA2 of at most limit bytes, and returns what follows it.
func slowLZMA2(in []byte, dict, limit int) (out, rest []byte, err error) {
	var m slowModel
	dict = max(dict, 4096)
	start := 0
	needDict, needProps := true, true
	take := func(n int) []byte {
		if len(in) < n {
			err = errSlow
			return make([]byte, n)
		}
		p := in[:n]
		in = in[n:]
		return p
	}
	for {
		control := take(1)[0]
		if err != nil {
			return out, nil, err
		}
		if control == 0 {
			return out, in, nil
		}
		if control == 1 || control >= 0xe0 {
			start = len(out)
			needDict, needProps = false, true
		}
		if needDict || control < 0x80 && control > 2 {
			return out, nil, errSlow
		}
		if control < 0x80 {
			size := int(binary.BigEndian.Uint16(take(2))) + 1
			plain := take(size)
			if err != nil || len(out)+size > limit {
				return out, nil, errSlow
			}
			out = append(out, plain...)
			continue
		}
		size := int(control&0x1f)<<16 + int(binary.BigEndian.Uint16(take(2))) + 1
		packed := int(binary.BigEndian.Uint16(take(2))) + 1
		if len(out)+size > limit {
			return out, nil, errSlow
		}
		switch {
		case control >= 0xc0:
			b := uint(take(1)[0])
			lc, lp, pb := b%9, b/9%5, b/45
			if pb > 4 || lc+lp > 4 {
				return out, nil, errSlow
			}
			m.reset(lc, lp, pb)
			needProps = false
		case needProps:
			return out, nil, errSlow
		case control >= 0xa0:
			m.reset(m.lc, m.lp, m.pb)
		}
		coded := take(packed)
		if err != nil {
			return out, nil, err
		}
		d, err := newSlowDecoder(coded)
		if err != nil {
			return out, nil, err
		}
		end := len(out) + size
		for len(out) < end {
			s := m.code(d, symbol{}, out[start:])
			out, err = m.apply(s, out, start, dict)
			if err != nil || d.overrun {
				return out, nil, errSlow
			}
		}
		d.normalize()
		if len(out) != end || d.code != 0 || len(d.in) > 0 || d.overrun {
			return out, nil, errSlow
		}
	}
}

// slowXZ decodes a whole .xz file of at most limit bytes of output.
func slowXZ(in []byte, maxDict int64, limit int) ([]byte, error) {
	var out []byte
	for first := true; ; first = false {
		if !first {
			for len(in) >= 4 && binary.LittleEndian.Uint32(in) == 0 {
				in = in[4:]
			}
			if len(in) == 0 {
				return out, nil
			}
		}
		var err error
		if out, in, err = slowStream(in, out, maxDict, limit); err != nil {
			return out, err
		}
	}
}

func slowStream(in, out []byte, maxDict int64, limit int) ([]byte, []byte, error) {
	fail := func() ([]byte, []byte, error) { return out, nil, errSlow }
	if len(in) < 12 || string(in[:6]) != "\xfd7zXZ\x00" || in[6] != 0 || in[7] > 15 ||
		crc32.ChecksumIEEE(in[6:8]) != binary.LittleEndian.Uint32(in[8:]) {
		return fail()
	}
	flags := in[6:8]
	sum := map[byte]func(p []byte) []byte{
		0: func([]byte) []byte { return nil },
		1: func(p []byte) []byte { return binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(p)) },
		4: func(p []byte) []byte {
			return binary.LittleEndian.AppendUint64(nil, crc64.Checksum(p, crc64.MakeTable(crc64.ECMA)))
		},
		10: func(p []byte) []byte { s := sha256.Sum256(p); return s[:] },
	}[flags[1]]
	in = in[12:]
	var index []byte
	blocks := uint64(0)
	for {
		if len(in) == 0 {
			return fail()
		}
		if in[0] == 0 {
			break
		}
		if sum == nil {
			return fail()
		}
		size := (int(in[0]) + 1) * 4
		if len(in) < size || crc32.ChecksumIEEE(in[:size-4]) != binary.LittleEndian.Uint32(in[size-4:]) {
			return fail()
		}
		head := in[1 : size-4]
		flags, head := head[0], head[1:]
		if flags&0x3f != 0 {
			return fail()
		}
		bad := false
		vli := func() uint64 {
			v, n := binary.Uvarint(head)
			if n <= 0 || n > 9 || n > 1 && head[n-1] == 0 {
				bad = true
				return 0
			}
			head = head[n:]
			return v
		}
		packed, output := uint64(1<<63), uint64(1<<63)
		if flags&0x40 != 0 {
			packed = vli()
		}
		if flags&0x80 != 0 {
			output = vli()
		}
		if vli() != 0x21 || vli() != 1 || bad || len(head) == 0 || head[0] > 40 || packed == 0 ||
			len(bytes.Trim(head[1:], "\x00")) > 0 {
			return fail()
		}
		dict := int64(2|head[0]&1) << (head[0]/2 + 11)
		if head[0] == 40 {
			dict = 1<<32 - 1
		}
		if dict > maxDict || output != 1<<63 && output > uint64(limit-len(out)) {
			return fail()
		}
		content, rest, err := slowLZMA2(in[size:], int(dict), limit-len(out))
		if err != nil {
			return fail()
		}
		realPacked := len(in) - size - len(rest)
		if packed != 1<<63 && packed != uint64(realPacked) || output != 1<<63 && output != uint64(len(content)) {
			return fail()
		}
		in = rest
		for n := realPacked; n%4 != 0; n++ {
			if len(in) == 0 || in[0] != 0 {
				return fail()
			}
			in = in[1:]
		}
		want := sum(content)
		if !bytes.HasPrefix(in, want) {
			return fail()
		}
		in = in[len(want):]
		index = binary.AppendUvarint(index, uint64(size+realPacked+len(want)))
		index = binary.AppendUvarint(index, uint64(len(content)))
		blocks++
		out = append(out, content...)
	}
	index = append(binary.AppendUvarint([]byte{0}, blocks), index...)
	for len(index)%4 != 0 {
		index = append(index, 0)
	}
	index = binary.LittleEndian.AppendUint32(index, crc32.ChecksumIEEE(index))
	if !bytes.HasPrefix(in, index) {
		return fail()
	}
	in = in[len(index):]
	foot := binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1))
	foot = append(foot, flags...)
	foot = append(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(foot)), foot...)
	foot = append(foot, "YZ"...)
	if !bytes.HasPrefix(in, foot) {
		return fail()
	}
	return out, in[12:], nil
}

// slowBare decodes LZMA up to its end marker, or up to size bytes, if that is
// not negative; a marker may follow then.
func slowBare(in []byte, m *slowModel, dict, size int64, limit int) (out, rest []byte, err error) {
	d, err := newSlowDecoder(in)
	if err != nil {
		return nil, nil, err
	}
	for {
		if int64(len(out)) == size {
			if d.normalize(); d.code == 0 {
				return out, d.in, nil
			}
		}
		s := m.code(d, symbol{}, out)
		if !s.literal && s.rep == 0 && s.dist == endMarker {
			if d.normalize(); d.code != 0 || d.overrun || size >= 0 && int64(len(out)) != size {
				return out, nil, errSlow
			}
			return out, d.in, nil
		}
		out, err = m.apply(s, out, 0, int(max(dict, 4096)))
		if err != nil || d.overrun || len(out) > limit || size >= 0 && int64(len(out)) > size {
			return out, nil, errSlow
		}
	}
}

// slowAlone decodes .lzma.
func slowAlone(in []byte, maxDict int64, limit int) ([]byte, error) {
	if len(in) < 13 {
		return nil, errSlow
	}
	b := uint(in[0])
	dict, size := int64(binary.LittleEndian.Uint32(in[1:])), int64(binary.LittleEndian.Uint64(in[5:]))
	if b >= 225 || b%9+b/9%5 > 4 || dict > maxDict || size < -1 || size > int64(limit) {
		return nil, errSlow
	}
	var m slowModel
	m.reset(b%9, b/9%5, b/45)
	out, rest, err := slowBare(in[13:], &m, dict, size, limit)
	if err == nil && len(rest) > 0 {
		err = errSlow
	}
	return out, err
}

// slowLzip decodes .lz.
func slowLzip(in []byte, maxDict int64, limit int) (out []byte, err error) {
	for first := true; first || len(in) > 0; first = false {
		if len(in) < 6 || string(in[:5]) != "LZIP\x01" {
			return out, errSlow
		}
		dict := int64(1) << (in[5] & 31)
		dict -= dict / 16 * int64(in[5]>>5)
		if dict < 4096 || dict > 1<<29 || dict > maxDict {
			return out, errSlow
		}
		var m slowModel
		m.reset(3, 0, 2)
		member, rest, err := slowBare(in[6:], &m, dict, -1, limit-len(out))
		if err != nil || len(rest) < 20 || binary.LittleEndian.Uint32(rest) != crc32.ChecksumIEEE(member) ||
			binary.LittleEndian.Uint64(rest[4:]) != uint64(len(member)) ||
			binary.LittleEndian.Uint64(rest[12:]) != uint64(len(in)-len(rest)+20) {
			return out, errSlow
		}
		out = append(out, member...)
		in = rest[20:]
	}
	return out, nil
}
