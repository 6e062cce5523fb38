package zstdframe

// step is how many places of a match are passed over for each that is kept.
const step = 2

// parseFast takes the first match that it sees, unless the next byte has a longer
// one. A place has two candidates: the last that had the same eight bytes, and the
// last that had the same four.
func (e *Encoder) parseFast(start, end int) {
	src := e.src[:end]
	limit := end - 10
	last := int(e.known[0])
	anchor := start // all before is in sequences
	for p := max(start, 1); p < limit; {
		from, length, distance := p, 0, 0
		if p+1 > last && load32(src, p+1) == load32(src, p+1-last) {
			from, length, distance = p+1, 4+common(src, p+5-last, p+5), last
		}
		if n, d := e.pair(src, p); n > length+1 || n > 0 && length == 0 {
			from, length, distance = p, n, d
		}
		if length == 0 {
			// The longer nothing is found, the less there is to be found.
			p += 1 + (p-anchor)>>7
			continue
		}
		if from == p && length < enough {
			if n, d := e.pair(src, p+1); n > length {
				from, length, distance = p+1, n, d
			}
		}
		for from > anchor && from > distance && src[from-1] == src[from-1-distance] {
			from--
			length++
		}
		e.seqs = append(e.seqs, sequence{uint32(from - anchor), uint32(length), uint32(distance)})
		last = distance
		anchor = from + length
		for i := p + 2; i < min(anchor, limit); i += step {
			v, place := load64(src, i), e.base+uint32(i)
			e.fours[hash4(v)] = place
			e.eights[hash8(v)] = place
		}
		p = anchor
	}
}

// pair returns the match of a place that is the better of two, and keeps the place.
// Its length is 0 if there is none.
func (s *search) pair(src []byte, p int) (length, distance int) {
	v, place := load64(src, p), s.base+uint32(p)
	h4, h8 := hash4(v), hash8(v)
	near, far := s.fours[h4], s.eights[h8]
	s.fours[h4], s.eights[h8] = place, place
	if q := int(far - s.base); far >= s.base && load64(src, q) == v {
		return 8 + common(src, q+8, p+8), p - q
	}
	if q := int(near - s.base); near >= s.base && load32(src, q) == uint32(v) {
		return 4 + common(src, q+4, p+4), p - q
	}
	return 0, 0
}
