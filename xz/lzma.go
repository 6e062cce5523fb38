package xz

// This file decodes LZMA's symbols: literals, matches, repeated matches.

// Sizes in the LZMA format.
const (
	states      = 16    // 12, rounded up: what the last few symbols were; below 7 the last was a literal
	maxPosBits  = 4     // pb: low bits of the position that choose probabilities
	maxLitBits  = 4     // lc+lp: bits that choose a literal's probabilities
	literalSize = 0x400 // probabilities for one literal: 0x300, rounded up
	minMatch    = 2     // bytes in the shortest match
	maxMatch    = 273   // bytes in the longest match
	endMarker   = 1<<32 - 1
)

// copySlack is how far beyond its limit decode may write: a match begun below
// the limit, copied in steps of 8 bytes.
const copySlack = maxMatch + 16

// properties are LZMA's three parameters, packed in one byte: (pb*5+lp)*9+lc.
type properties struct {
	lc uint // high bits of the previous byte that choose a literal's probabilities
	lp uint // low bits of the position that do
	pb uint // low bits of the position that choose the other probabilities
}

// parseProperties reports whether b holds valid properties, which includes
// lc+lp ≤ 4.
func parseProperties(b byte) (properties, bool) {
	p := properties{lc: uint(b % 9), lp: uint(b / 9 % 5), pb: uint(b / 45)}
	return p, p.pb <= maxPosBits && p.lc+p.lp <= maxLitBits
}

// lengthProbs decode the length of a match: up to 8, 16 or 272 more than
// minMatch.
type lengthProbs struct {
	choice, choice2 prob
	low, mid        [1 << maxPosBits][2 << 3]prob
	high            [2 << 8]prob
}

// An lzmaDecoder is the state of LZMA between two calls of decode.
type lzmaDecoder struct {
	rc    rangeDecoder
	props properties
	state uint      // below states
	rep   [4]uint32 // the last distances, less one

	match    [states << maxPosBits]prob
	isRep    [states]prob
	isRep0   [states]prob
	isRep1   [states]prob
	isRep2   [states]prob
	longRep0 [states << maxPosBits]prob
	length   lengthProbs
	repLen   lengthProbs
	slot     [4][2 << 6]prob
	special  [10][2 << 5]prob // low bits of the distances with slots 4 to 13
	align    [2 << 4]prob     // the lowest 4 bits of farther distances
	literal  [1 << maxLitBits][literalSize]prob

	input input // the coded bytes
}

// reset sets all probabilities and the rest of the state to their initial
// values, for new properties.
func (d *lzmaDecoder) reset(p properties) {
	d.props = p
	d.state = 0
	d.rep = [4]uint32{}
	for _, probs := range [][]prob{
		d.match[:], d.isRep[:], d.isRep0[:], d.isRep1[:], d.isRep2[:], d.longRep0[:], d.align[:],
	} {
		fill(probs)
	}
	d.length.reset()
	d.repLen.reset()
	for i := range d.slot {
		fill(d.slot[i][:])
	}
	for i := range d.special {
		fill(d.special[i][:])
	}
	for i := range d.literal[:1<<(p.lc+p.lp)] {
		fill(d.literal[i][:])
	}
}

func (l *lengthProbs) reset() {
	l.choice, l.choice2 = probInit, probInit
	for i := range l.low {
		fill(l.low[i][:])
		fill(l.mid[i][:])
	}
	fill(l.high[:])
}

// fill sets probs to probInit, by copies that double.
func fill(probs []prob) {
	probs[0] = probInit
	for n := 1; n < len(probs); n *= 2 {
		copy(probs[n:], probs[:n])
	}
}

// startSize is how many bytes start the range decoder.
const startSize = 5

// start begins a sequence of coded bytes, at rc.pos in input. It reports
// whether the first startSize bytes are valid.
func (d *lzmaDecoder) start() bool {
	valid := d.input[d.rc.pos%inputSize] == 0
	d.rc.rng, d.rc.code = 1<<32-1, 0
	for range startSize {
		d.rc.code = d.rc.code<<8 | uint32(d.input[d.rc.pos%inputSize])
		d.rc.pos++
	}
	return valid && d.rc.code != d.rc.rng
}

// finished reports whether the range decoder is at a place where a sequence
// of coded bytes may end.
func (d *lzmaDecoder) finished() bool {
	d.rc = d.rc.normalize(&d.input)
	return d.rc.code == 0
}

// stop says why decode returned.
type stop int

const (
	atLimit  stop = iota // pos has reached limit, or is beyond it by less than maxMatch
	atMarker             // the end marker was read
	atBadDistance
)

// decode decodes symbols to w while w.pos is below limit. The window's memory
// must be longer than limit by copySlack; what lies behind the new pos may be
// overwritten.
func (d *lzmaDecoder) decode(w *window, limit int) stop {
	var (
		rc       = d.rc
		state    = d.state
		buf      = w.buf
		pos      = w.pos
		base     = w.base
		dict     = uint(w.dict)
		posMask  = uint(1)<<(d.props.pb%8) - 1
		litMask  = uint(1)<<(d.props.lp%8) - 1
		litShift = d.props.lc % 8
		prev     = uint(w.last())
		why      = atLimit
	)
	for pos < limit {
		posState := uint(pos-base) & posMask
		p := &d.match[(state<<maxPosBits+posState)&0xff]
		rc = rc.normalize(&d.input)
		bound := rc.bound(p)
		if rc.code < bound {
			rc = rc.zero(p, bound)
			// A literal: the high bits of the previous byte and the low bits
			// of the position choose the probabilities.
			context := uint(pos-base)&litMask<<litShift + prev>>(8-litShift)
			probs := &d.literal[context%(1<<maxLitBits)]
			if state < 7 {
				prev, rc = rc.tree8(&d.input, (*[2 << 8]prob)(probs[:]))
			} else {
				from := pos - 1 - int(d.rep[0])
				if from < 0 {
					from += w.wrap
				}
				prev, rc = rc.matched(&d.input, probs, buf[from])
			}
			buf[pos] = byte(prev)
			pos++
			state = uint(afterLiteral[state&0xf])
			continue
		}
		rc = rc.one(p, bound).normalize(&d.input)

		// A match, or a repeated one.
		p = &d.isRep[state&0xf]
		bound = rc.bound(p)
		match := rc.code < bound
		lengths := &d.length
		if match {
			rc = rc.zero(p, bound)
			state = nextState(state, 7)
		} else {
			rc = rc.one(p, bound).normalize(&d.input)
			lengths = &d.repLen
			p = &d.isRep0[state&0xf]
			bound = rc.bound(p)
			if rc.code < bound {
				rc = rc.zero(p, bound).normalize(&d.input)
				p = &d.longRep0[(state<<maxPosBits+posState)&0xff]
				bound = rc.bound(p)
				if rc.code < bound {
					// A short repeat: one byte.
					rc = rc.zero(p, bound)
					rep := uint(d.rep[0])
					if rep >= uint(pos-base) || rep >= dict {
						why = atBadDistance
						break
					}
					from := pos - 1 - int(rep)
					if from < 0 {
						from += w.wrap
					}
					b := buf[from]
					buf[pos] = b
					prev = uint(b)
					pos++
					state = nextState(state, 9)
					continue
				}
				rc = rc.one(p, bound)
			} else {
				rc = rc.one(p, bound)
				rc = d.repeat(rc, state)
			}
			state = nextState(state, 8)
		}

		var n uint
		rc = rc.normalize(&d.input)
		p = &lengths.choice
		bound = rc.bound(p)
		if rc.code < bound {
			rc = rc.zero(p, bound)
			n, rc = rc.tree3(&d.input, &lengths.low[posState%(1<<maxPosBits)])
		} else {
			rc = rc.one(p, bound).normalize(&d.input)
			p = &lengths.choice2
			bound = rc.bound(p)
			if rc.code < bound {
				rc = rc.zero(p, bound)
				n, rc = rc.tree3(&d.input, &lengths.mid[posState%(1<<maxPosBits)])
				n += 8
			} else {
				rc = rc.one(p, bound)
				n, rc = rc.tree8(&d.input, &lengths.high)
				n += 16
			}
		}

		if match {
			// The slot gives the distance's two highest bits and how many
			// are to follow.
			var dist uint
			dist, rc = rc.tree6(&d.input, &d.slot[min(n, 3)])
			if slot := dist; slot >= 4 {
				var rest uint
				low := slot>>1 - 1
				dist = (2 | slot&1) << (low & 31)
				if slot < 14 {
					rest, rc = rc.reverse(&d.input, &d.special[slot-4], low)
				} else {
					rest, rc = rc.direct(&d.input, &d.align, low-4)
				}
				dist += rest
			}
			d.rep = [4]uint32{uint32(dist), d.rep[0], d.rep[1], d.rep[2]}
			if uint32(dist) == endMarker {
				why = atMarker
				break
			}
		}
		n += minMatch
		rep := uint(d.rep[0])
		if rep >= uint(pos-base) || rep >= dict {
			why = atBadDistance
			break
		}
		from := pos - 1 - int(rep)
		if from >= 0 {
			copyMatch(buf, pos, from, int(n))
		} else if from += w.wrap; from+int(n) <= w.wrap {
			copyMatch(buf, pos, from, int(n))
		} else {
			copyAround(buf, pos, from, int(n), w.wrap)
		}
		pos += int(n)
		prev = uint(buf[pos-1])
	}
	d.rc = rc
	d.state = state
	w.pos = pos
	return why
}

// repeat decodes which of the older distances is repeated, and makes it the
// latest.
func (d *lzmaDecoder) repeat(rc rangeDecoder, state uint) rangeDecoder {
	i := 1
	for _, p := range [...]*prob{&d.isRep1[state&0xf], &d.isRep2[state&0xf]} {
		rc = rc.normalize(&d.input)
		bound := rc.bound(p)
		if rc.code < bound {
			rc = rc.zero(p, bound)
			break
		}
		rc = rc.one(p, bound)
		i++
	}
	rep := d.rep[i]
	copy(d.rep[1:], d.rep[:i])
	d.rep[0] = rep
	return rc
}

// afterLiteral is the state that follows a literal.
var afterLiteral = [16]uint8{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5}

// nextState is the state after a match (to is 7), a repeated one (8) or a
// short repeat (9).
func nextState(state, to uint) uint {
	switch {
	case state < 7:
		return to
	case to == 7:
		return 10
	default:
		return 11
	}
}

// copyMatch copies n bytes to buf[pos:] from buf[from:]. Bytes that it has
// written may be copied again. It may read and write up to 15 bytes more.
func copyMatch(buf []byte, pos, from, n int) {
	dst := buf[pos : pos+n+15]
	src := buf[from:][:len(dst)]
	if uint(pos-from) < 16 {
		for i := range dst[:n] {
			dst[i] = src[i]
		}
		return
	}
	for i := 0; i <= len(dst)-16; i += 16 {
		*(*[16]byte)(dst[i:]) = *(*[16]byte)(src[i:])
	}
}

// copyAround copies n bytes to buf[pos:] from buf[from:wrap] and, after that,
// from buf[0:].
func copyAround(buf []byte, pos, from, n, wrap int) {
	for i := range n {
		buf[pos+i] = buf[from]
		if from++; from == wrap {
			from = 0
		}
	}
}
