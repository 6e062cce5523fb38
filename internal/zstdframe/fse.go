package zstdframe

import "math/bits"

// Of FSE tables (RFC 8878, section 4.1). Those of sequences have at most 53
// symbols and 512 states.
const (
	maxSymbols = 53
	maxLog     = 9
	minLog     = 5
)

// A distribution is how many of the 1<<log states each symbol has; -1 is one
// state, of those at the end of the table.
type distribution struct {
	log    uint
	states []int16
}

// A table encodes the symbols of a distribution. A state is a number from
// 1<<log to 2<<log - 1: the decoder's state and 1<<log.
type table struct {
	log     uint
	symbols [maxSymbols]transition
	next    [1 << maxLog]uint16
}

// A transition says how a symbol is encoded in state s: the low bits>>16 bits
// of s are written, where bits is s + the field of that name, and the rest of
// s and first are the place in table.next of the state that follows.
type transition struct {
	bits  uint32
	first int32
}

// build makes t the table of d. States are spread as section 4.1.1 says it, and
// those of a symbol are numbered in the order in which they lie.
func (t *table) build(d distribution) {
	size := 1 << d.log
	t.log = d.log
	var symbolAt [1 << maxLog]uint8
	high := size - 1
	for s, n := range d.states {
		if n == -1 {
			symbolAt[high] = uint8(s)
			high--
		}
	}
	step, mask, at := size>>1+size>>3+3, size-1, 0
	for s, n := range d.states {
		for range max(n, 0) {
			symbolAt[at] = uint8(s)
			for at = (at + step) & mask; at > high; at = (at + step) & mask {
			}
		}
	}
	var place [maxSymbols]uint16
	sum := 0
	for s, n := range d.states {
		place[s] = uint16(sum)
		switch n {
		case 0:
			t.symbols[s] = transition{}
			continue
		case -1, 1:
			t.symbols[s] = transition{uint32(d.log<<16 - 1<<d.log), int32(sum - 1)}
			sum++
		default:
			most := d.log - uint(bits.Len16(uint16(n-1))-1)
			t.symbols[s] = transition{uint32(most<<16 - uint(n)<<most), int32(sum) - int32(n)}
			sum += int(n)
		}
	}
	for at := range size {
		s := symbolAt[at]
		t.next[place[s]] = uint16(size + at)
		place[s]++
	}
}

// start returns a state that encodes the symbol for nothing: the decoder is told
// which it is.
func (t *table) start(symbol uint8) uint32 {
	tr := t.symbols[symbol]
	n := (tr.bits + 1<<15) >> 16
	return uint32(t.next[int32((n<<16-tr.bits)>>n)+tr.first])
}

// normalize returns the distribution of 1<<log states that is nearest to the
// counts, of which at least two are not zero. Each symbol that occurs gets a state;
// what is left goes, one by one, to where it saves the most bits: to the greatest
// count in proportion to the states that the symbol has and half a state.
func normalize(states []int16, counts []uint32, total uint32, log uint) distribution {
	size := uint32(1) << log
	left := int(size)
	for s, c := range counts {
		states[s] = 0
		if c > 0 {
			// Not more than its share, so that there is something left to give.
			states[s] = int16(max(1, uint64(c)*uint64(size)/uint64(total)))
			left -= int(states[s])
		}
	}
	for ; left > 0; left-- {
		best := -1
		for s, c := range counts {
			if c > 0 && (best < 0 || c*uint32(2*states[best]+1) > counts[best]*uint32(2*states[s]+1)) {
				best = s
			}
		}
		states[best]++
	}
	for ; left < 0; left++ {
		least := -1
		for s, c := range counts {
			if states[s] > 1 && (least < 0 || c*uint32(2*states[least]-1) < counts[least]*uint32(2*states[s]-1)) {
				least = s
			}
		}
		states[least]--
	}
	return distribution{log, states}
}

// logFor returns a size for the table of n symbols out of a number of kinds: more
// than a few states for each occurrence only make the description longer.
func logFor(n uint32, kinds int, most uint) uint {
	log := min(most, uint(max(bits.Len32(n-1)-3, 0)))
	least := min(bits.Len32(n), bits.Len(uint(kinds-1))+1)
	return min(max(log, uint(least), minLog), most)
}

// appendTo appends the description of the distribution (section 4.1.1).
func (d distribution) appendTo(b []byte) []byte {
	acc, n := uint64(d.log-minLog), uint(4)
	remaining := 1<<d.log + 1 // states that are left, and one
	zeros := false            // the last value was no state at all
	for s := 0; remaining > 1; {
		if zeros {
			skip := 0
			for d.states[s+skip] == 0 {
				skip++
			}
			s += skip
			for ; skip >= 3; skip -= 3 {
				acc |= 3 << n
				if n += 2; n >= 32 {
					b, acc, n = le.AppendUint32(b, uint32(acc)), acc>>32, n-32
				}
			}
			acc |= uint64(skip) << n
			n += 2
		}
		// Values are 0 to remaining. With the bits that the largest needs, some
		// would not be used: as many small values take a bit less.
		width := uint(bits.Len(uint(remaining)))
		short := 1<<width - 1 - remaining
		value := int(d.states[s]) + 1
		remaining -= max(value-1, 1-value)
		zeros = value == 1
		switch {
		case value < short:
			width--
		case value >= 1<<(width-1):
			value += short
		}
		acc |= uint64(value) << n
		if n += width; n >= 32 {
			b, acc, n = le.AppendUint32(b, uint32(acc)), acc>>32, n-32
		}
		s++
	}
	for ; n > 0; n -= min(n, 8) {
		b, acc = append(b, byte(acc)), acc>>8
	}
	return b
}
