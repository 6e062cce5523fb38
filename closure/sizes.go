package closure

import "math/bits"

// Sizes returns for each path the bytes of NAR of all that it refers to,
// directly or not, and of itself.
//
// It passes each reference once for every 64 paths, and not once for every path
// that leads there: with 10,000 paths of ten references each that is eight million
// times instead of hundreds of millions.
func (g *Graph) Sizes() []int64 {
	of, count := g.circles()
	own := make([]int64, count) // by circle: the bytes of its paths
	refs := make([][]int32, count)
	for i, c := range of {
		own[c] += g.Infos[i].NarSize
		for _, j := range g.refs[i] {
			if of[j] != c {
				refs[c] = append(refs[c], of[j])
			}
		}
	}
	total := make([]int64, count)
	reached := make([]uint64, count) // which of 64 circles, from the first on, each one leads to
	var sum sums
	for first := 0; first < count; first += 64 {
		sum.of(own[first:min(first+64, count)])
		for c := first; c < count; c++ { // those before lead to none of them
			var set uint64
			if c < first+64 {
				set = 1 << (c - first)
			}
			for _, d := range refs[c] {
				if int(d) >= first {
					set |= reached[d]
				}
			}
			reached[c] = set
			total[c] += sum.over(set)
		}
	}
	sizes := make([]int64, len(of))
	for i, c := range of {
		sizes[i] = total[c]
	}
	return sizes
}

// sums has the sum of any of 64 numbers, by eight of which there are.
type sums [8][256]int64

// of takes the numbers, at most 64.
func (s *sums) of(numbers []int64) {
	for k := range s {
		for set := 1; set < 256; set++ {
			at := bits.TrailingZeros(uint(set))
			s[k][set] = s[k][set&(set-1)]
			if n := 8*k + at; n < len(numbers) {
				s[k][set] += numbers[n]
			}
		}
	}
}

func (s *sums) over(set uint64) (sum int64) {
	for k := range s {
		sum += s[k][byte(set>>(8*k))]
	}
	return sum
}

// circles returns for each path the number of its circle: those that lead to each
// other have the same one, mostly each path its own, and what a circle refers to has a
// lower number. This is Tarjan's algorithm, without recursion, since chains may be long.
func (g *Graph) circles() (of []int32, count int) {
	const unseen, open = 0, -1
	n := len(g.Infos)
	of = make([]int32, n)      // open until it is known
	seen := make([]int32, n)   // when a path was seen first, from 1
	low := make([]int32, n)    // the earliest seen that it leads to, as far as is known
	next := make([]int32, n)   // which reference is to be followed
	var chain, waiting []int32 // the way to the path that is looked at; what was seen and is open
	clock := int32(0)
	enter := func(i int32) {
		clock++
		seen[i], low[i], of[i] = clock, clock, open
		chain, waiting = append(chain, i), append(waiting, i)
	}
	for start := range g.Infos {
		if seen[start] != unseen {
			continue
		}
		for enter(int32(start)); len(chain) > 0; {
			i := chain[len(chain)-1]
			if int(next[i]) < len(g.refs[i]) {
				j := g.refs[i][next[i]]
				next[i]++
				if seen[j] == unseen {
					enter(j)
				} else if of[j] == open {
					low[i] = min(low[i], seen[j])
				}
				continue
			}
			chain = chain[:len(chain)-1]
			if len(chain) > 0 {
				before := chain[len(chain)-1]
				low[before] = min(low[before], low[i])
			}
			if low[i] < seen[i] {
				continue
			}
			for {
				j := waiting[len(waiting)-1]
				waiting = waiting[:len(waiting)-1]
				of[j] = int32(count)
				if j == i {
					break
				}
			}
			count++
		}
	}
	return of, count
}
