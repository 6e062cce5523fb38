package zstdframe

import "math/bits"

// parseLazily takes the longest match where there is one, unless the next bytes
// have one that saves more. It looks at so many candidates, and so many times one
// further on.
func (e *Encoder) parseLazily(start, end, depth, tries int) {
	src := e.src[:end]
	last := int(e.known[0])
	other := int(e.known[1])
	limit := end - 8
	anchor := start
	for p := max(start, 1); p < limit; {
		length, distance, from := 3, 0, p
		if p+1 > last && load32(src, p+1) == load32(src, p+1-last) {
			length, distance, from = common(src, p+1-last, p+1), last, p+1
		}
		if n, d := e.longest(p, end, length, depth); d > 0 {
			length, distance, from = n, d, p
		}
		if distance == 0 {
			p += (p-anchor)>>8 + 1
			continue
		}
		for try := 1; try <= tries && p+1 < limit; try++ {
			p++
			better := 4
			gain := length*4 - bits.Len32(uint32(distance))
			if distance == last {
				gain = length*4 - 1
			}
			if p > last && load32(src, p) == load32(src, p-last) && distance != last {
				n := common(src, p-last, p)
				if n*3 > length*3-bits.Len32(uint32(distance))+1 && n >= 4 {
					length, distance, from = n, last, p
					gain = length*4 - 1
				}
			}
			if try == 2 {
				better = 7
			}
			if n, d := e.longest(p, end, length-1, depth); d > 0 && n >= 4 {
				if n*4-bits.Len32(uint32(d)) > gain+better {
					length, distance, from = n, d, p
					try = 0
				}
			}
		}
		for from > anchor && from > distance && src[from-1] == src[from-1-distance] && distance != last {
			from--
			length++
		}
		e.seqs = append(e.seqs, sequence{uint32(from - anchor), uint32(length), uint32(distance)})
		if distance != last {
			last, other = distance, last
		}
		p = from + length
		anchor = p
		for p < limit && p > other && load32(src, p) == load32(src, p-other) {
			n := common(src, p-other, p)
			e.seqs = append(e.seqs, sequence{0, uint32(n), uint32(other)})
			last, other = other, last
			p += n
			anchor = p
		}
	}
}
