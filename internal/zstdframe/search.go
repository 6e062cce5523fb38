package zstdframe

import (
	"math/bits"
	"slices"
)

// A search finds earlier places where a frame has the same bytes, by tables of the
// last place for each hash of three, four or eight bytes.
//
// In all tables the first byte of a frame is place base, which grows from frame to
// frame: what is less is of another frame, and nothing is ever cleared.
type search struct {
	src    []byte
	base   uint32
	fours  *[1 << foursLog]uint32
	eights *[1 << eightsLog]uint32 // of a fast search only
	// Of a thorough search only: the last place of three bytes, and for each
	// place the one before that had the same hash of four.
	threes *[1 << threesLog]uint32
	chain  []uint32
	next   int // the first place that is in no table yet
}

const (
	threesLog = 15
	foursLog  = 17
	eightsLog = 16
)

// begin prepares for a frame. All that the search does depends on src alone.
func (s *search) begin(src []byte, fast bool) {
	s.base += uint32(len(s.src))
	if s.fours == nil || s.base > 1<<31 {
		*s = search{base: 1, fours: new([1 << foursLog]uint32)}
	}
	s.src, s.next = src, 0
	if fast {
		if s.eights == nil {
			s.eights = new([1 << eightsLog]uint32)
		}
		return
	}
	if s.threes == nil {
		s.threes = new([1 << threesLog]uint32)
	}
	s.chain = slices.Grow(s.chain[:0], len(src))[:len(src)]
}

// enter keeps the places up to p. It returns the last before p that may have the
// same three bytes, and the last that may have the same four. There are 8 bytes from
// p on.
func (s *search) enter(p int) (three, four uint32) {
	threes, fours, place := s.threes, s.fours, s.base+uint32(s.next)
	src := s.src[s.next : p+8]
	chain := s.chain[s.next : p+1]
	for i := range chain {
		v := le.Uint64(src)
		src = src[1:]
		h3, h4 := hash3(v), hash4(v)
		three, four = threes[h3], fours[h4]
		threes[h3], fours[h4] = place, place
		chain[i] = four
		place++
	}
	s.next = p + 1
	return three, four
}

// Hashes of the first bytes of v, by primes.

func hash3(v uint64) uint32 { return uint32(v) << 8 * 2654435761 >> (32 - threesLog) }

func hash4(v uint64) uint32 { return uint32(v) * 2654435761 >> (32 - foursLog) }

func hash8(v uint64) uint32 { return uint32(v * 0x9e3779b185ebca87 >> (64 - eightsLog)) }

func load32(b []byte, i int) uint32 { return le.Uint32(b[i:]) }

func load64(b []byte, i int) uint64 { return le.Uint64(b[i:]) }

// common returns how many bytes from q and p on are the same, q < p.
func common(src []byte, q, p int) int {
	a, b := src[q:], src[p:]
	n := 0
	for ; n+8 <= len(b); n += 8 {
		if x := le.Uint64(a[n:]) ^ le.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)>>3
		}
	}
	for n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
