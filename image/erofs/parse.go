package erofs

import (
	"math"
	"slices"
)

// maxSteps bounds how far ahead matches are chosen together.
const maxSteps = 4096

// A step is the cheapest way to a place: by a literal, or a match that ends
// there.
type step struct {
	price    int32 // bytes of the sequences up to there
	literals int32 // that are in no sequence yet
	length   int32 // of the match, or 1
	back     int32 // of the match, or 0
}

// choose returns which matches to make of those from a match on that overlap:
// the ones that take the fewest bytes in all. Literals from anchor on are in no
// sequence yet.
func (z *lz4) choose(m match, start, anchor int) []match {
	z.matches = append(z.matches[:0], m)
	if z.depth == 1 || m.length >= goodMatch {
		return z.matches
	}
	z.matches = z.matches[:0]
	literals := m.at - anchor
	z.steps[0] = step{price: int32(literals + extension(literals)), literals: int32(literals)}
	first, last := m.at, 0 // the places of the first step and the last one that is reached
	for here := 0; ; here++ {
		if here > 0 {
			z.stepLiteral(here)
			if here == last {
				break
			}
			// What comes after a step that is no dearer is worth no match here.
			if z.steps[here+1].price <= z.steps[here].price || first+here > len(z.src)-lastMatch {
				continue
			}
			if m = z.find(first+here, start); m.length == 0 {
				continue
			}
		}
		if m.length >= goodMatch || here+m.length >= maxSteps {
			last = here
			z.matches = append(z.matches, m)
			break
		}
		for ; last < here+m.length; last++ {
			z.steps[last+1].price = math.MaxInt32
		}
		z.stepMatch(here, m)
	}
	for last > 0 {
		s := &z.steps[last]
		last -= int(s.length)
		if s.back > 0 {
			z.matches = append(z.matches, match{first + last, int(s.length), int(s.back)})
		}
	}
	slices.Reverse(z.matches)
	return z.matches
}

// stepLiteral goes to a place by a literal if that is cheaper.
func (z *lz4) stepLiteral(to int) {
	s := step{z.steps[to-1].price + 1, z.steps[to-1].literals + 1, 1, 0}
	if s.literals >= 15 && (s.literals-15)%255 == 0 {
		s.price++
	}
	if s.price < z.steps[to].price {
		z.steps[to] = s
	}
}

// stepMatch goes to all places where a match may end to which that is cheaper.
func (z *lz4) stepMatch(here int, m match) {
	price := z.steps[here].price
	for n := minMatch; n <= m.length; n++ {
		if p := price + int32(sequenceSize(0, n)); p < z.steps[here+n].price {
			z.steps[here+n] = step{p, 0, int32(n), int32(m.back)}
		}
	}
}
