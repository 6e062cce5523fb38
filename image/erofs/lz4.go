package erofs

import "math/bits"

// Rules of the LZ4 block format: how short a match may be and how far back, and
// how a block ends.
const (
	minMatch     = 4
	maxDistance  = 1<<16 - 1
	lastLiterals = 5  // the last bytes are no part of a match
	lastMatch    = 12 // the last match begins at least so many bytes before the end
	// endSize is the room that the end of a block needs behind any sequence.
	endSize = 1 + max(lastLiterals, lastMatch-minMatch)
)

const (
	hashBits = 15
	// goodMatch is a match so long that no better one is searched for.
	goodMatch = 256
)

// An lz4 makes LZ4 blocks of pieces of data, each as long as fits into a given
// size. Block and data are then cut into sequences: literals, and a match with
// data before. What it makes of a piece does not depend on those before it.
type lz4 struct {
	depth   int // places that are tried for a match; only the last one if 1
	skip    int // how soon it hurries through data without matches, as a shift
	maxSkip int

	src   []byte
	base  uint32                // what stands for the place 0 in heads
	next  int                   // the first place that is not in the chains
	heads [1 << hashBits]uint32 // the last place for each hash
	chain [1 << 16]uint16       // how far back the next place with the hash is, or 0

	cut     cut
	steps   [maxSteps]step
	matches []match
}

// A match is data that came before: so many bytes back.
type match struct{ at, length, back int }

func newLZ4(c Compression) *lz4 {
	if c == LZ4 {
		return &lz4{depth: 1, skip: 6, maxSkip: 32}
	}
	return &lz4{depth: 64, skip: 8, maxSkip: 4}
}

// reset begins with another piece, of less than a GiB.
func (z *lz4) reset(src []byte) {
	z.base += uint32(len(z.src)) + 1 // places of the piece before are below it
	if z.base > 1<<31 {
		z.base = 1
		clear(z.heads[:])
	}
	z.src, z.next = src, 0
}

// compress makes an LZ4 block of what follows the place start, as much of it as
// fits into dst. It returns where that ends, and how long the block is.
func (z *lz4) compress(dst []byte, start int) (end, size int) {
	anchor := start // the first byte that is in no sequence yet
	z.cut = cut{}
	full := false
	for at := start; !full && at <= len(z.src)-lastMatch && at-anchor < len(dst)-size; {
		var m match
		if z.depth == 1 {
			m = z.scan(at, start, anchor, min(len(z.src)-lastMatch+1, anchor+len(dst)-size))
		} else {
			m = z.find(at, start)
		}
		if m.length == 0 {
			at = m.at + z.hurry(m.at-anchor)
			continue
		}
		for _, m := range z.choose(m, start, anchor) {
			for m.at > anchor && m.at-m.back > start && z.src[m.at-1] == z.src[m.at-m.back-1] {
				m.at--
				m.length++
			}
			literals := z.src[anchor:m.at]
			room := len(dst) - size - sequenceSize(len(literals), minMatch) - endSize
			if full = room < 0; full {
				break
			}
			m.length = min(m.length, minMatch+14+255*room)
			z.cut.note(anchor, size, size+sequenceSize(len(literals), m.length))
			size += putSequence(dst[size:], literals, m)
			anchor = m.at + m.length
			at = anchor
		}
	}
	end = anchor + min(len(z.src)-anchor, maxLiterals(len(dst)-size))
	z.cut.note(anchor, size, size+putSequence(dst[size:], z.src[anchor:end], match{})-endSize)
	return end, size + 1 + extension(end-anchor) + end - anchor
}

// A cut is where an LZ4 block could end at a multiple of blockSize: behind what
// is in its first size bytes, if literals from anchor on fill it up to end.
type cut struct{ anchor, size, end int }

// note notes the last cut that is possible in front of a sequence from size to
// next, and would not be behind it.
func (c *cut) note(anchor, size, next int) {
	if end := (next + endSize) / blockSize * blockSize; end >= size+endSize {
		*c = cut{anchor, size, end}
	}
}

// hurry returns how far the next place is from one that has no match, behind so many
// literals.
func (z *lz4) hurry(literals int) int { return 1 + min(literals>>z.skip, z.maxSkip) }

// scan returns the first match from the place at on, and before end, of those with the
// last place that has the same hash. If its length is 0, there is none.
func (z *lz4) scan(at, start, anchor, end int) match {
	src := z.src
	for at < end {
		begin := le.Uint32(src[at:])
		head := &z.heads[bucket(begin)]
		from := int(*head) - int(z.base)
		*head = z.base + uint32(at)
		// Places from at on are there when a block ended before them.
		if from >= max(start, at-maxDistance) && from < at && le.Uint32(src[from:]) == begin {
			return match{at, commonLength(src, from, at, len(src)-lastLiterals), at - from}
		}
		at += z.hurry(at - anchor)
	}
	return match{at: at}
}

// find returns the longest match for the place at with data from start on, or
// one of length 0.
func (z *lz4) find(at, start int) match {
	src := z.src
	z.insert(at)
	begin := le.Uint32(src[at:])
	from := int(z.heads[bucket(begin)]) - int(z.base)
	m := match{at: at}
	start = max(start, at-maxDistance)
	end := len(src) - lastLiterals
	for tries := z.depth; tries > 0 && from >= start; tries-- {
		// Places from at on are there when a block ended before them.
		if from < at && le.Uint32(src[from:]) == begin && src[from+m.length] == src[at+m.length] {
			if n := commonLength(src, from, at, end); n > m.length {
				m = match{at, n, at - from}
				if n >= goodMatch || at+n == end {
					break
				}
			}
		}
		back := int(z.chain[uint16(from)])
		if back == 0 {
			break
		}
		from -= back
	}
	return m
}

// commonLength returns how long the data at two places are equal, which they are
// for minMatch bytes, up to where those at the second one end.
func commonLength(src []byte, from, at, end int) int {
	n := minMatch
	for at+n+8 <= end {
		if x := le.Uint64(src[from+n:]) ^ le.Uint64(src[at+n:]); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
		n += 8
	}
	for at+n < end && src[from+n] == src[at+n] {
		n++
	}
	return n
}

// bucket is the hash of the first bytes of a match.
func bucket(begin uint32) uint32 { return begin * 2654435761 >> (32 - hashBits) }

// insert puts the places before end into the chains.
func (z *lz4) insert(end int) {
	for ; z.next < end; z.next++ {
		here, head := z.base+uint32(z.next), &z.heads[bucket(le.Uint32(z.src[z.next:]))]
		back := uint32(0)
		if *head >= z.base && here-*head <= maxDistance {
			back = here - *head
		}
		z.chain[uint16(z.next)] = uint16(back)
		*head = here
	}
}

// sequenceSize returns the bytes that a sequence takes.
func sequenceSize(literals, match int) int {
	return 1 + extension(literals) + literals + 2 + extension(match-minMatch)
}

// extension returns the bytes of a length that its four bits in the first byte
// have no room for.
func extension(n int) int {
	if n < 15 {
		return 0
	}
	return (n-15)/255 + 1
}

// maxLiterals returns how many literals fit into the last sequence of a block.
func maxLiterals(room int) int {
	n := room - 1
	for 1+extension(n)+n > room {
		n--
	}
	return n
}

// putSequence writes a sequence, the last one if m has no length, and returns
// its size.
func putSequence(dst, literals []byte, m match) int {
	dst[0] = byte(min(len(literals), 15) << 4)
	n := 1 + putExtension(dst[1:], len(literals))
	n += copy(dst[n:], literals)
	if m.length > 0 {
		dst[0] |= byte(min(m.length-minMatch, 15))
		le.PutUint16(dst[n:], uint16(m.back))
		n += 2
		n += putExtension(dst[n:], m.length-minMatch)
	}
	return n
}

func putExtension(dst []byte, n int) int {
	size := extension(n)
	for i := range size {
		dst[i] = 255
	}
	if size > 0 {
		dst[size-1] = byte((n - 15) % 255)
	}
	return size
}
