package zstdframe

// A sum counts what a run of sequences consists of: what tables are made of.
type sum struct {
	literals [256]uint32
	runs     [36]uint32
	offsets  [32]uint32
	matches  [53]uint32
}

// mostPieces is into how many a block is cut, at most; half as many if it is to be fast.
const mostPieces = 16

// split returns where to cut the sequences of a block: into blocks of their own,
// whose tables fit better. Only the cuts between pieces of as many sequences each
// are considered. sums[i] is of all before piece i.
func (e *Encoder) split(src []byte, seqs []sequence) (cuts []int) {
	pieces := mostPieces
	if e.Fast {
		pieces /= 2
	}
	if len(seqs) < 8*pieces {
		return append(e.cuts[:0], len(seqs))
	}
	if e.sums == nil {
		e.sums = new([mostPieces + 1]sum)
	}
	now := sum{}
	known := e.known
	at := uint32(0)
	for i := range pieces {
		e.sums[i] = now
		for _, s := range seqs[i*len(seqs)/pieces : (i+1)*len(seqs)/pieces] {
			for _, c := range src[at:][:s.literals] {
				now.literals[c]++
			}
			at += s.literals + s.length
			now.runs[literalCode(s.literals)%36]++
			now.offsets[offsetCode(known.value(s.distance, s.literals))%32]++
			now.matches[matchCode(s.length-minMatch)%53]++
		}
	}
	for _, c := range src[at:] {
		now.literals[c]++
	}
	e.sums[pieces] = now
	e.cuts = e.cuts[:0]
	e.divide(0, pieces, e.cost(0, pieces))
	for i := range e.cuts {
		e.cuts[i] = e.cuts[i] * len(seqs) / pieces
	}
	return e.cuts
}

// divide appends the ends of the blocks that pieces, which together cost so much, are
// best cut into.
func (e *Encoder) divide(first, end int, whole uint64) {
	best, cut := whole, 0
	var left, right uint64
	for i := first + 1; i < end; i++ {
		l, r := e.cost(first, i), e.cost(i, end)
		if l+r < best {
			best, cut, left, right = l+r, i, l, r
		}
	}
	if cut == 0 {
		e.cuts = append(e.cuts, end)
		return
	}
	e.divide(first, cut, left)
	e.divide(cut, end, right)
}

// cost returns how many bits the tables and the codes of a block of pieces are likely
// to take, in 256ths.
func (e *Encoder) cost(first, end int) uint64 {
	a, b := &e.sums[first], &e.sums[end]
	const (
		headers   = 15 * 8 << 8 // of the block and its sections
		weights   = 3 << 8      // what a symbol takes in the description of a Huffman table
		fractions = 5 << 8      // and of an FSE table
	)
	return headers +
		information(a.literals[:], b.literals[:], weights) +
		information(a.runs[:], b.runs[:], fractions) +
		information(a.offsets[:], b.offsets[:], fractions) +
		information(a.matches[:], b.matches[:], fractions)
}

// information returns the entropy of the symbols between two sums, in 256ths of
// a bit, and so much for the description of each that occurs.
func information(from, to []uint32, description uint64) (bits uint64) {
	from = from[:len(to)]
	total := uint64(0)
	for i, n := range to {
		if c := n - from[i]; c > 0 {
			total += uint64(c)
			bits += description
			bits -= uint64(c) * uint64(log2of(c))
		}
	}
	if total == 0 {
		return 0
	}
	return bits + total*uint64(log2of(uint32(total)))
}
