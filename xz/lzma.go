package xz

import "encoding/binary"

// This file decodes LZMA's symbols: literals, matches, repeated matches.

// Sizes in the LZMA format.
const (
	states      = 12    // what the last few symbols were; below 7 the last was a literal
	maxPosBits  = 4     // pb: low bits of the position that choose probabilities
	maxLitBits  = 4     // lc+lp: bits that choose a literal's probabilities
	literalSize = 0x300 // probabilities for one literal
	minMatch    = 2     // bytes in the shortest match
	maxMatch    = 273   // bytes in the longest match
	endMarker   = 1<<32 - 1
)

// copySlack is how far beyond its limit decode may write: a match begun below
// the limit, copied in steps of 8 bytes.
const copySlack = maxMatch + 8

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
	special  [10][1 << 5]prob // low bits of the distances with slots 4 to 13
	align    [1 << 5]prob     // the lowest 4 bits of farther distances
	literal  [1 << maxLitBits][literalSize]prob
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

func fill(probs []prob) {
	for i := range probs {
		probs[i] = probInit
	}
}

// startSize is how many bytes start the range decoder.
const startSize = 5

// start begins a sequence of coded bytes, which must lie in in from 0. It
// reports whether the first startSize bytes are valid.
func (d *lzmaDecoder) start(in *[inputSize]byte) bool {
	d.rc = rangeDecoder{in: in, pos: startSize, rng: 1<<32 - 1, code: binary.BigEndian.Uint32(in[1:])}
	return in[0] == 0 && d.rc.code != d.rc.rng
}

// finished reports whether the range decoder is at a place where a sequence
// of coded bytes may end.
func (d *lzmaDecoder) finished() bool {
	d.rc = d.rc.normalize()
	return d.rc.code == 0
}

// stop says why decode returned.
type stop int

const (
	atLimit  stop = iota // pos has reached limit, or is beyond it by less than maxMatch
	atMarker             // the end marker was read
	atBadDistance
)

// decode decodes symbols to buf[pos:] while pos is below limit, and returns
// the new pos. buf[:pos] is what was decoded before; distances reach back up
// to dict bytes in it. buf is longer than limit by copySlack at least; behind
// the new pos it may be overwritten.
func (d *lzmaDecoder) decode(buf []byte, pos, limit, dict int) (int, stop) {
	var (
		rc                     = d.rc
		state                  = d.state
		rep0, rep1, rep2, rep3 = d.rep[0], d.rep[1], d.rep[2], d.rep[3]
		posMask                = uint(1)<<d.props.pb - 1
		litMask                = uint(1)<<(d.props.lp+8) - 1
		litShift               = d.props.lc
		why                    = atLimit
	)
loop:
	for pos < limit {
		var one bool
		posState := uint(pos) & posMask
		if one, rc = rc.bit(&d.match[state<<maxPosBits+posState]); !one {
			// A literal: the high bits of the previous byte and the low bits
			// of the position choose the probabilities.
			context := uint(pos) << 8
			if pos > 0 {
				context += uint(buf[pos-1])
			}
			probs := &d.literal[context&litMask<<litShift>>8%(1<<maxLitBits)]
			var sym uint
			if state < 7 {
				sym, rc = rc.tree8((*[2 << 8]prob)(probs[:]))
			} else {
				sym, rc = rc.matched(probs, buf[pos-1-int(rep0)])
			}
			buf[pos] = byte(sym)
			pos++
			switch {
			case state < 4:
				state = 0
			case state < 10:
				state -= 3
			default:
				state -= 6
			}
			continue
		}

		var n uint
		if one, rc = rc.bit(&d.isRep[state]); !one {
			n, rc = rc.matchLength(&d.length, posState)
			rep1, rep2, rep3 = rep0, rep1, rep2
			rep0, rc = d.distance(rc, n)
			if rep0 == endMarker {
				why = atMarker
				break loop
			}
			state = nextState(state, 7)
		} else {
			if one, rc = rc.bit(&d.isRep0[state]); !one {
				if one, rc = rc.bit(&d.longRep0[state<<maxPosBits+posState]); !one {
					// A short repeat: one byte.
					if uint(rep0) >= uint(pos) || uint(rep0) >= uint(dict) {
						why = atBadDistance
						break loop
					}
					buf[pos] = buf[pos-1-int(rep0)]
					pos++
					state = nextState(state, 9)
					continue
				}
			} else if one, rc = rc.bit(&d.isRep1[state]); !one {
				rep0, rep1 = rep1, rep0
			} else if one, rc = rc.bit(&d.isRep2[state]); !one {
				rep0, rep1, rep2 = rep2, rep0, rep1
			} else {
				rep0, rep1, rep2, rep3 = rep3, rep0, rep1, rep2
			}
			n, rc = rc.matchLength(&d.repLen, posState)
			state = nextState(state, 8)
		}
		if uint(rep0) >= uint(pos) || uint(rep0) >= uint(dict) {
			why = atBadDistance
			break loop
		}
		copyMatch(buf, pos, int(rep0)+1, int(n))
		pos += int(n)
	}
	d.rc = rc
	d.state = state
	d.rep = [4]uint32{rep0, rep1, rep2, rep3}
	return pos, why
}

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

// matchLength decodes the length of a match.
func (d rangeDecoder) matchLength(probs *lengthProbs, posState uint) (uint, rangeDecoder) {
	var n uint
	one, d := d.bit(&probs.choice)
	if !one {
		n, d = d.tree3(&probs.low[posState%(1<<maxPosBits)])
		return minMatch + n, d
	}
	if one, d = d.bit(&probs.choice2); !one {
		n, d = d.tree3(&probs.mid[posState%(1<<maxPosBits)])
		return minMatch + 8 + n, d
	}
	n, d = d.tree8(&probs.high)
	return minMatch + 16 + n, d
}

// distance decodes the distance, less one, of a match of n bytes.
func (d *lzmaDecoder) distance(rc rangeDecoder, n uint) (uint32, rangeDecoder) {
	slot, rc := rc.tree6(&d.slot[min(n-minMatch, 3)])
	if slot < 4 {
		return uint32(slot), rc
	}
	// The slot gives the two highest bits and how many are to follow.
	low := slot>>1 - 1
	dist := (2 | slot&1) << low
	var bits uint
	if slot < 14 {
		bits, rc = rc.reverse(&d.special[slot-4], low)
		return uint32(dist + bits), rc
	}
	bits, rc = rc.direct(low - 4)
	dist += bits << 4
	bits, rc = rc.reverse(&d.align, 4)
	return uint32(dist + bits), rc
}

// copyMatch copies n bytes to buf[pos:] from dist bytes before. If dist is less
// than n, bytes that it has written are copied again. It may write up to 7
// bytes more.
func copyMatch(buf []byte, pos, dist, n int) {
	dst, src := buf[pos:pos+n+7], buf[pos-dist:]
	if dist < 8 {
		for i := range dst[:n] {
			dst[i] = src[i]
		}
		return
	}
	for len(dst) >= 8 {
		binary.LittleEndian.PutUint64(dst, binary.LittleEndian.Uint64(src))
		dst, src = dst[8:], src[8:]
	}
}
