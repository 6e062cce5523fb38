package xz

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
)

// branchyTree8 is tree8 as one would write it first, with a branch for each
// bit.
//
//go:noinline
func (d rangeDecoder) branchyTree8(in *input, probs *[2 << 8]prob) (uint, rangeDecoder) {
	sym := uint(1)
	for sym < 1<<8 {
		d = d.normalize(in)
		p := &probs[sym]
		if bound := d.bound(p); d.code < bound {
			d = d.zero(p, bound)
			sym <<= 1
		} else {
			d = d.one(p, bound)
			sym = sym<<1 | 1
		}
	}
	return sym - 1<<8, d
}

// BenchmarkBranchFree shows whether the compiler still turns the trees into
// conditional moves: its metric twin/tree8 is how much longer the branchy twin
// takes for symbols whose bits nobody can predict. It should be 1.5 or more;
// near 1 something has changed, and the comments in bits.go say what to look
// for. The two run in turns, in short batches, and the fastest batch counts,
// because other programs may disturb the rest.
func BenchmarkBranchFree(b *testing.B) {
	const batch = 60_000
	r := rand.New(rand.NewPCG(9, 9))
	e := newSlowEncoder()
	var probs [2 << 8]prob
	fill(probs[:])
	for range batch {
		for node := 1; node < 1<<8; {
			node = node<<1 | e.bit(&probs[node], r.IntN(2))
		}
	}
	var in input
	coded := e.finish()
	if copy(in[:], coded) < len(coded) {
		b.Fatal("the batch does not fit")
	}
	trees := [2]func(rangeDecoder, *input, *[2 << 8]prob) (uint, rangeDecoder){
		rangeDecoder.tree8, rangeDecoder.branchyTree8,
	}
	fastest := [2]time.Duration{time.Hour, time.Hour}
	for b.Loop() {
		var ends [2]rangeDecoder
		for i, tree := range trees {
			d := rangeDecoder{pos: startSize, rng: 1<<32 - 1, code: binary.BigEndian.Uint32(in[1:])}
			fill(probs[:])
			begin := time.Now()
			for range batch {
				_, d = tree(d, &in, &probs)
			}
			fastest[i] = min(fastest[i], time.Since(begin))
			ends[i] = d
		}
		if ends[0] != ends[1] {
			b.Fatal("the twins differ")
		}
	}
	b.ReportMetric(float64(fastest[0].Nanoseconds())/batch, "ns/tree8")
	b.ReportMetric(float64(fastest[1].Nanoseconds())/batch, "ns/twin")
	b.ReportMetric(float64(fastest[1])/float64(fastest[0]), "twin/tree8")
}
