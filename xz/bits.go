package xz

import "math/bits"

// A rangeDecoder reads binary decisions, each with its own probability, from
// a sequence of bytes. It is a value: functions take one and return the next,
// so that its fields live in registers.
//
// Input is a ring of 64 KiB, the size of the largest LZMA2 chunk. Indexes wrap,
// so damaged input that asks for too many bytes reads old ones, and the caller
// notices afterwards, by pos. That saves a test for every bit.
type rangeDecoder struct {
	pos  uint32 // of the next byte, not yet wrapped
	rng  uint32 // the width of the current interval; at least 1<<24 when used
	code uint32 // where in the interval the input points; less than rng
}

const inputSize = 1 << 16

type input [inputSize]byte

// A prob is the probability that the next bit is 0, in units of 1/2048. It
// stays between 31 and 2017.
type prob = uint16

const (
	probBits = 11
	probInit = 1 << (probBits - 1)
	moveBits = 5 // a probability moves by 1/32 of the distance to what came
	topValue = 1 << 24
)

// zeroTarget and oneTarget are where a probability p moves to when a bit is
// 0 or 1: p += (target-p)>>moveBits, with an arithmetic shift. The 31 makes
// the shift round like the specification's p -= p>>moveBits.
const (
	zeroTarget = 1 << probBits
	oneTarget  = 1<<moveBits - 1
)

// normalize takes a byte of input when the interval has become narrow. That
// is the one branch left for each bit; it is taken for each byte.
func (d rangeDecoder) normalize(in *input) rangeDecoder {
	if d.rng < topValue {
		d.rng <<= 8
		d.code = d.code<<8 | uint32(in[d.pos%inputSize])
		d.pos++
	}
	return d
}

// choose decides a bit that is 0 with probability p, without a branch. It
// returns whether the bit is zero, the bit, and the moved probability.
func (d rangeDecoder) choose(p uint32) (lt bool, bit uint, moved prob, next rangeDecoder) {
	bound := d.rng >> probBits * p
	lt = d.code < bound
	bit = 1
	if lt {
		bit = 0
	}
	zero := uint32(bit) - 1
	d.rng -= bound
	if lt {
		d.rng = bound
	}
	d.code -= bound &^ zero
	target := oneTarget + zero&(zeroTarget-oneTarget)
	return lt, bit, prob(p + uint32(int32(target-p)>>moveBits)), d
}

// bound is where the part of the interval that stands for 0 ends. The few
// decisions that steer the decoder branch on it: a branch follows in any case.
func (d rangeDecoder) bound(p *prob) uint32 { return d.rng >> probBits * uint32(*p) }

// zero is the way on when code is less than bound(p).
func (d rangeDecoder) zero(p *prob, bound uint32) rangeDecoder {
	*p += (zeroTarget - *p) >> moveBits
	d.rng = bound
	return d
}

// one is the way on when it is not.
func (d rangeDecoder) one(p *prob, bound uint32) rangeDecoder {
	*p -= *p >> moveBits
	d.rng -= bound
	d.code -= bound
	return d
}

// The trees below are most of the work of decoding, and nobody can predict
// their bits, so they are decoded without branches. This has a form that the
// compiler turns into conditional moves:
//
//   - there is one comparison, lt, and for each value an if of its own;
//   - no value that a conditional move has chosen becomes part of an address;
//     the symbol is therefore built from bit, which comes from lt alone;
//   - half of the choices are made by a mask instead, because conditional
//     moves compete for two of the processor's units;
//   - both children's probabilities are loaded before it is known which one
//     is needed;
//   - each tree is a function that is not inlined: only then do its values
//     stay in registers;
//   - a loop's condition bounds the index, so that no check is left.
//
// A tree has twice the probabilities that it needs, so that the children of
// the last bit, which do not exist, can be loaded like the others.
// BenchmarkBranchFree shows it when a compiler undoes all this.

// tree3 decodes a symbol of 3 bits, the highest first.
//
//go:noinline
func (d rangeDecoder) tree3(in *input, probs *[2 << 3]prob) (uint, rangeDecoder) {
	sym, p := uint(1), uint32(probs[1])
	for sym < 1<<3 {
		p0, p1 := uint32(probs[2*sym]), uint32(probs[2*sym+1])
		lt, bit, moved, next := d.normalize(in).choose(p)
		probs[sym] = moved
		p = p1
		if lt {
			p = p0
		}
		sym = sym<<1 + bit
		d = next
	}
	return sym - 1<<3, d
}

// tree6 decodes a symbol of 6 bits, the highest first.
//
//go:noinline
func (d rangeDecoder) tree6(in *input, probs *[2 << 6]prob) (uint, rangeDecoder) {
	sym, p := uint(1), uint32(probs[1])
	for sym < 1<<6 {
		p0, p1 := uint32(probs[2*sym]), uint32(probs[2*sym+1])
		lt, bit, moved, next := d.normalize(in).choose(p)
		probs[sym] = moved
		p = p1
		if lt {
			p = p0
		}
		sym = sym<<1 + bit
		d = next
	}
	return sym - 1<<6, d
}

// tree8 decodes a symbol of 8 bits, the highest first.
//
//go:noinline
func (d rangeDecoder) tree8(in *input, probs *[2 << 8]prob) (uint, rangeDecoder) {
	sym, p := uint(1), uint32(probs[1])
	for sym < 1<<8 {
		p0, p1 := uint32(probs[2*sym]), uint32(probs[2*sym+1])
		lt, bit, moved, next := d.normalize(in).choose(p)
		probs[sym] = moved
		p = p1
		if lt {
			p = p0
		}
		sym = sym<<1 + bit
		d = next
	}
	return sym - 1<<8, d
}

// matched decodes a literal of 8 bits, the highest first, that follows a
// match. Its bits are likely to be those of other, the byte which would have
// continued the match: as long as they are, the tree is the second or third
// third of probs, by other's next bit; from the first difference on the first.
//
//go:noinline
func (d rangeDecoder) matched(in *input, probs *[literalSize]prob, other byte) (uint, rangeDecoder) {
	rest := int64(other) << 56 // its bits to come, the next one on top
	same := ^uint(0)           // all ones while there is no difference, then 0
	sym := uint(1)
	i := 0x101 + uint(other)>>7<<8 // where p is from
	p := uint32(probs[i])
	for sym < 1<<8 {
		// Of the two children, the one by the expected bit (all ones or 0)
		// is in the third by the bit after that; the other is in the first.
		expect := uint(rest >> 63)
		rest <<= 1
		third := (0x100 + uint(uint64(rest)>>55)&0x100) & same
		p0 := uint32(probs[2*sym+third&^expect])
		p1 := uint32(probs[2*sym+1+third&expect])
		lt, bit, moved, next := d.normalize(in).choose(p)
		probs[i&(literalSize-1)] = moved
		p = p1
		if lt {
			p = p0
		}
		sym = sym<<1 + bit
		same &= expect ^ (bit - 1)
		i = sym + third&same
		d = next
	}
	return sym & 0xff, d
}

// reverse decodes a symbol of n ≤ 5 bits, the lowest first.
//
//go:noinline
func (d rangeDecoder) reverse(in *input, probs *[2 << 5]prob, n uint) (uint, rangeDecoder) {
	sym, p := uint(1), uint32(probs[1])
	for end := uint(1) << (n % 8); sym < end; {
		p0, p1 := uint32(probs[2*sym%(2<<5)]), uint32(probs[(2*sym+1)%(2<<5)])
		lt, bit, moved, next := d.normalize(in).choose(p)
		probs[sym%(2<<5)] = moved
		p = p1
		if lt {
			p = p0
		}
		sym = sym<<1 + bit
		d = next
	}
	return uint(bits.Reverse8(uint8(sym << (8 - n%8)))), d
}

// direct decodes n bits that have no probability, the highest first, and then
// 4 with probabilities, the lowest first.
//
//go:noinline
func (d rangeDecoder) direct(in *input, probs *[2 << 4]prob, n uint) (uint, rangeDecoder) {
	high := uint(0)
	for ; n > 0; n-- {
		d = d.normalize(in)
		d.rng >>= 1
		lt := d.code < d.rng
		bit := uint(1)
		if lt {
			bit = 0
		}
		rest := d.code - d.rng
		if lt {
			rest = d.code
		}
		d.code = rest
		high = high<<1 + bit
	}
	sym, p := uint(1), uint32(probs[1])
	for sym < 1<<4 {
		p0, p1 := uint32(probs[2*sym]), uint32(probs[2*sym+1])
		lt, bit, moved, next := d.normalize(in).choose(p)
		probs[sym] = moved
		p = p1
		if lt {
			p = p0
		}
		sym = sym<<1 + bit
		d = next
	}
	return high<<4 + uint(bits.Reverse8(uint8(sym<<4))), d
}
