package zstdframe

// Prices are what things are expected to take in the block, in 256ths of a bit:
// the entropy of what there has been so far, and of a guess to begin with.
type prices struct {
	literal [256]uint32
	run     [64]uint32     // by number of literals
	more    [64]uint32     // what one literal more adds to run; the last is of all longer runs
	offset  [32]uint32     // by code
	match   [enough]uint32 // by length, less minMatch

	// Counts of what has been encoded, by code.
	literals [256]uint32
	runs     [36]uint32
	offsets  [32]uint32
	matches  [53]uint32
	fresh    int // sequences since prices were set
}

// The guess: what sequences of programs and texts are like.
var (
	guessRuns = [36]uint32{
		120, 150, 60, 22, 12, 10, 5, 4, 3, 3, 2, 2, 1, 1, 1, 1,
		1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
	}
	guessOffsets = [32]uint32{
		137, 23, 4, 8, 16, 20, 22, 22, 23, 23, 23, 22, 20, 16, 12, 8,
		4, 2, 1, 1,
	}
	guessMatches = [53]uint32{
		90, 55, 40, 40, 40, 14, 10, 10, 16, 6, 5, 9, 14, 3, 3, 3,
		3, 3, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
	}
)

// begin sets prices for a block, of which only the bytes are known: each fourth of
// them is looked at, and all together weigh about as much as a thousand literals. The
// guess weighs as much as 800 sequences.
func (p *prices) begin(src []byte) {
	p.literals = [256]uint32{}
	for i := 0; i < len(src); i += 4 {
		p.literals[src[i]]++
	}
	for i := range p.literals {
		p.literals[i] = p.literals[i]>>5 + 1 // nothing is impossible
	}
	for i := range p.runs {
		p.runs[i] = 1 + guessRuns[i]*2
	}
	for i := range p.offsets {
		p.offsets[i] = 1 + guessOffsets[i]*2
	}
	for i := range p.matches {
		p.matches[i] = 1 + guessMatches[i]*2
	}
	p.set()
}

// refresh is after how many sequences prices are set anew.
const refresh = 200

// set makes prices of counts.
func (p *prices) set() {
	p.fresh = 0
	var run [36]uint32
	var match [53]uint32
	entropy(p.literal[:], p.literals[:], nil)
	entropy(run[:], p.runs[:], literalBits[:])
	entropy(p.offset[:], p.offsets[:], nil)
	entropy(match[:], p.matches[:], matchBits[:])
	for code := range p.offset { // as many bits follow
		p.offset[code] += uint32(code) << 8
	}
	for n := range p.run {
		p.run[n] = run[literalCodes[n]]
	}
	for n := range len(p.run) - 1 {
		p.more[n] = p.run[n+1] - p.run[n]
	}
	for n := range p.match {
		p.match[n] = match[matchCodes[n]]
	}
}

// distance returns the price of a distance that is not recent.
func (p *prices) distance(d int) uint32 { return p.offset[offsetCode(uint32(d)+3)] }

// entropy sets what each symbol takes, with the bits that follow it.
func entropy(price, counts []uint32, extra []uint8) {
	sum := uint32(0)
	for _, c := range counts {
		sum += c
	}
	all := log2of(sum)
	for i, c := range counts {
		price[i] = all - log2of(c)
		if extra != nil {
			price[i] += uint32(extra[i]) << 8
		}
	}
}

// count takes a sequence into account, whose distance has that value. Literals weigh
// more than the bytes of which they were guessed.
func (p *prices) count(s sequence, value uint32, literals []byte) {
	for _, c := range literals {
		p.literals[c] += 4
	}
	p.runs[literalCode(s.literals)]++
	p.offsets[offsetCode(value)]++
	p.matches[matchCode(s.length-minMatch)]++
	p.fresh++
}
