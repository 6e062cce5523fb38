package zstdframe

import (
	"math/bits"
	"slices"
)

// A search finds earlier places where a frame has the same bytes.
//
// Places are in chains: heads has the last one for each hash of four bytes, chain
// the one before each. In both, the first byte of a frame is base, which grows from
// frame to frame: what is less is of another frame, and nothing is ever cleared.
type search struct {
	src    []byte
	base   uint32
	heads  *[1 << headsLog]uint32
	chain  []uint32
	next   int // the first place that is in no chain yet
	heads3 *[1 << 15]uint32
}

const headsLog = 16

// begin prepares for a frame. All that the search does depends on src alone.
func (s *search) begin(src []byte) {
	s.base += uint32(len(s.src))
	if s.heads == nil || s.base > 1<<31 {
		s.heads = new([1 << headsLog]uint32)
		s.heads3 = new([1 << 15]uint32)
		s.base = 1
	}
	s.src, s.next = src, 0
	s.chain = slices.Grow(s.chain[:0], len(src))[:len(src)]
}

func load32(b []byte, i int) uint32 { return le.Uint32(b[i:]) }

func hash4(v uint32) uint32 { return v * 2654435761 >> (32 - headsLog) }

// insert puts the places up to p into their chains. There are 8 bytes from p on.
func (s *search) insert(p int) {
	i := s.next
	s.next = p + 1
	heads, at := s.heads, s.base+uint32(i)
	src := s.src[i : p+8]
	chain := s.chain[i : p+1]
	for len(chain) >= 4 && len(src) >= 8 {
		v := le.Uint64(src)
		h0, h1, h2, h3 := hash4(uint32(v)), hash4(uint32(v>>8)), hash4(uint32(v>>16)), hash4(uint32(v>>24))
		chain[0] = heads[h0]
		heads[h0] = at
		chain[1] = heads[h1]
		heads[h1] = at + 1
		chain[2] = heads[h2]
		heads[h2] = at + 2
		chain[3] = heads[h3]
		heads[h3] = at + 3
		chain, src = chain[4:], src[4:]
		at += 4
	}
	for k := range chain {
		h := hash4(le.Uint32(src[k:]))
		chain[k] = heads[h]
		heads[h] = at
		at++
	}
}

// longest returns the longest match of p before end, if it is longer than least,
// among so many candidates, the last first. There are 8 bytes from p to end.
func (s *search) longest(p, end, least, depth int) (length, distance int) {
	length = least
	if p+least >= end {
		return length, 0
	}
	s.insert(p)
	src := s.src[:end]
	chain := s.chain[:len(src)]
	tail := load32(src, p+length-3)
	for c := chain[p]; c >= s.base && depth > 0; depth-- {
		q := int(c - s.base)
		if load32(src, q+length-3) == tail {
			if n := common(src, q, p); n > length {
				length, distance = n, p-q
				if p+n >= end {
					break
				}
				tail = load32(src, p+length-3)
			}
		}
		c = chain[q]
	}
	return length, distance
}

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

// enter puts the places up to p into their chains. It returns the last that may have
// the same three bytes as p, and the last that may have the same four.
func (s *search) enter(p int) (three, four uint32) {
	heads, heads3, at := s.heads, s.heads3, s.base+uint32(s.next)
	src := s.src[s.next : p+8]
	chain := s.chain[s.next : p+1]
	for i := range chain {
		v := le.Uint32(src)
		src = src[1:]
		h3, h4 := hash3(v), hash4(v)
		three, four = heads3[h3], heads[h4]
		heads3[h3], heads[h4] = at, at
		chain[i] = four
		at++
	}
	s.next = p + 1
	return three, four
}

const heads3Log = 15

func hash3(v uint32) uint32 { return v << 8 * 2654435761 >> (32 - heads3Log) }
