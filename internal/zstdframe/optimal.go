package zstdframe

import "math"

// An optimizer finds the cheapest way through a block: its places are the nodes of
// a graph, literals and matches the edges. It goes from place to place and notes
// for each how it is reached for the lowest price; where only one way is left, that
// is taken, and all begins anew.
type optimizer struct {
	search
	prices prices
	nodes  [mostNodes + enough + 1]node // what is behind reach has the price unreached
	recent [mostNodes + enough + 1]recent
	reach  int // the last node to which there is a way
}

// A node is a place, and the cheapest way there that is known.
type node struct {
	price    uint32
	length   uint32 // of the match that ends here; 0 is a literal
	distance uint32
	literals uint32 // that lie in front of the place; of places whose matches are looked for
}

const (
	mostNodes = 4096
	// enough is the length of a match that is taken without more ado.
	enough = 20
	// candidates is how many places in a chain are looked at.
	candidates = 5
	// slack is how much dearer the next place must be for a search to begin at this
	// one, in 256ths of a bit.
	slack     = 8 << 8
	unreached = math.MaxUint32
	// origin is the price of the first node. It is not 0, as one literal more
	// may make their number cheaper.
	origin = 1 << 20
)

// A match is an edge.
type match struct{ length, distance uint32 }

// parseOptimally finds sequences of which the block takes the fewest bits, as far
// as prices are right and matches found.
func (e *Encoder) parseOptimally(start, end int) {
	o := &e.optimizer
	if o.nodes[1].price == 0 {
		for i := range o.nodes {
			o.nodes[i].price = unreached
		}
	}
	src := e.src[:end]
	o.prices.begin(src[start:])
	limit := end - 8
	anchor := start
	o.recent[0] = e.known
	for p := max(start, 1); p < limit; {
		o.nodes[0] = node{price: origin, literals: uint32(p - anchor)}
		final := o.edges(src, p, 0)
		if o.reach == 0 && final.length == 0 {
			p += 1 + (p-anchor)>>8
			continue
		}
		at := 0
		if final.length == 0 {
			at, final = o.walk(src, p)
		}
		first := len(e.seqs)
		e.seqs = o.back(e.seqs, at, final)
		for _, s := range e.seqs[first:] {
			v := o.recent[0].value(s.distance, s.literals)
			o.prices.count(s, v, src[anchor:anchor+int(s.literals)])
			anchor += int(s.literals + s.length)
		}
		for i := range o.nodes[:o.reach+1] {
			o.nodes[i].price = unreached
		}
		o.reach = 0
		p += at + int(final.length)
		if o.prices.fresh >= refresh {
			o.prices.set()
		}
	}
}

// walk goes from node 0, whose matches are known, to a node that all ways lead
// through, and returns it with a match that is taken there, if any.
func (o *optimizer) walk(src []byte, p int) (at int, final match) {
	literals, now := o.nodes[0].literals, o.recent[0]
	for {
		// One literal further on.
		n := &o.nodes[at]
		price := n.price + o.prices.literal[src[p+at]] + o.prices.more[min(literals, uint32(len(o.prices.more)-1))]
		at++
		n = &o.nodes[at]
		if price < n.price {
			n.price, n.length = price, 0
			literals++
		} else {
			from := at - int(n.length)
			now = o.recent[from]
			now.move(n.distance, o.nodes[from].literals)
			literals = 0
		}
		if at >= mostNodes || p+at >= len(src)-8 {
			return at, match{}
		}
		// Where the next place is hardly dearer, a match from there is as good as
		// one from here.
		if o.nodes[at+1].price <= n.price+slack {
			continue
		}
		n.literals, o.recent[at] = literals, now
		if final = o.edges(src, p+at, at); final.length > 0 || at >= o.reach {
			return at, final
		}
	}
}

// back appends the sequences of the way to a node and of the match there.
func (o *optimizer) back(seqs []sequence, at int, final match) []sequence {
	first := len(seqs)
	for m := final; ; {
		literals := uint32(0)
		for ; at > 0 && o.nodes[at].length == 0; at-- {
			literals++
		}
		if at == 0 {
			literals += o.nodes[0].literals
		}
		if m.length > 0 {
			seqs = append(seqs, sequence{literals, m.length, m.distance})
		}
		if at == 0 {
			break
		}
		m = match{o.nodes[at].length, o.nodes[at].distance}
		at -= int(m.length)
	}
	for i, k := first, len(seqs)-1; i < k; i, k = i+1, k-1 {
		seqs[i], seqs[k] = seqs[k], seqs[i]
	}
	return seqs
}

// edges offers the matches of a place, which is node at: those at recent distances,
// the last of three bytes, and those of four bytes or more that are longer than all
// nearer ones. It returns one that is long enough to be taken as it is, if any.
func (o *optimizer) edges(src []byte, p, at int) match {
	n := &o.nodes[at]
	base := n.price + o.prices.run[0]
	here := load32(src, p)
	length := minMatch - 1 // of the longest match so far
	r := o.recent[at]
	if n.literals == 0 { // as value has it
		r = recent{r[1], r[2], r[0] - 1}
	}
	for i, d := range &r {
		if d-1 >= uint32(p) || (load32(src, p-int(d))^here)<<8 != 0 {
			continue
		}
		if k := minMatch + common(src, p+minMatch-int(d), p+minMatch); k > length {
			if k >= enough {
				return match{uint32(k), d}
			}
			o.offer(at, minMatch, k, d, base+o.prices.offset[(i+1)>>1])
			length = k
		}
	}
	if p+length >= len(src) {
		return match{}
	}
	three, c := o.enter(p)
	least := minMatch // what no match before has been offered for
	if length < minMatch && three >= o.base {
		q := int(three - o.base)
		if (load32(src, q)^here)<<8 == 0 {
			length = minMatch + common(src, q+minMatch, p+minMatch)
			if length >= enough {
				return match{uint32(length), uint32(p - q)}
			}
			o.offer(at, least, length, uint32(p-q), base+o.prices.distance(p-q))
			least = length + 1
		}
	}
	if length < minMatch {
		length = minMatch
	}
	if p+length >= len(src) {
		return match{}
	}
	chain := o.chain[:len(src)]
	tail := load32(src, p+length-minMatch) // with the byte that would make it longer
	for n := candidates; c >= o.base && n > 0; n-- {
		q := int(c - o.base)
		if load32(src, q+length-minMatch) == tail {
			if k := common(src, q, p); k > length {
				if k >= enough {
					return match{uint32(k), uint32(p - q)}
				}
				o.offer(at, least, k, uint32(p-q), base+o.prices.distance(p-q))
				length, least = k, k+1
				if p+k >= len(src) {
					break
				}
				tail = load32(src, p+k-minMatch)
			}
		}
		c = chain[q]
	}
	return match{}
}

// offer offers a match to the nodes behind one, in lengths from least to most. The
// price is of all but the length.
func (o *optimizer) offer(at, least, most int, distance, price uint32) {
	o.reach = max(o.reach, at+most)
	prices := o.prices.match[least-minMatch : most-minMatch+1]
	nodes := o.nodes[at+least:][:len(prices)]
	for i := range nodes {
		if k := price + prices[i]; k < nodes[i].price {
			nodes[i].price, nodes[i].length, nodes[i].distance = k, uint32(least+i), distance
		}
	}
}
