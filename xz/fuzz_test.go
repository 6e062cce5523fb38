package xz

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
)

// fuzzLimit bounds the output of a fuzzed input.
const fuzzLimit = 1 << 16

// FuzzLZMA2 compares the decoder with the slow one on sequences of chunks.
func FuzzLZMA2(f *testing.F) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(3, seed))
		f.Add(randomChunks(r, 4096, 1+r.IntN(3)).data)
	}
	var d lzma2Decoder
	f.Fuzz(func(t *testing.T, in []byte) {
		want, wantRest, wantErr := slowLZMA2(in, 4096, fuzzLimit)
		got, rest, err := decodeLZMA2(&d, in, 4096, fuzzLimit)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("got error %v, want %v", err, wantErr)
		}
		if err == nil && (!bytes.Equal(got, want) || !bytes.Equal(rest, wantRest)) {
			t.Fatal("wrong output")
		}
		if !bytes.HasPrefix(want, got) && !bytes.HasPrefix(got, want) {
			t.Fatal("wrong output before an error")
		}
	})
}

// FuzzReader compares Reader with the slow decoder on whole files.
func FuzzReader(f *testing.F) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(4, seed))
		c := container{check: [...]checkID{checkNone, checkCRC32, checkCRC64, checkSHA256}[r.IntN(4)]}
		for range r.IntN(3) {
			w := randomChunks(r, 4096, 1)
			c.blocks = append(c.blocks, containerBlock{data: w.data, output: w.out, sized: r.IntN(2) == 0})
		}
		f.Add(c.bytes())
	}
	var z Reader
	f.Fuzz(func(t *testing.T, in []byte) {
		want, wantErr := slowXZ(in, 1<<16, fuzzLimit)
		for workers := range 2 {
			z.Reset(bytes.NewReader(in), Config{MaxDict: 1 << 16, MaxSize: fuzzLimit, Workers: 2 * workers, MaxBlock: 1 << 20})
			got, err := io.ReadAll(&z)
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%d workers: got error %v, want %v", 2*workers, err, wantErr)
			}
			if err == nil && !bytes.Equal(got, want) {
				t.Fatalf("%d workers: wrong output", 2*workers)
			}
		}
	})
}

// FuzzBare compares Reader with the slow decoder on .lzma and .lz.
func FuzzBare(f *testing.F) {
	for _, v := range vectors {
		if v.config.Format != XZ {
			f.Add(v.read(f), v.config.Format == Lzip)
		}
	}
	for seed := range uint64(6) {
		in, _ := knownSize(seed, seed%2 == 0)
		f.Add(in, false)
	}
	var z Reader
	f.Fuzz(func(t *testing.T, in []byte, lzip bool) {
		c := Config{Format: LZMA, MaxDict: 1 << 20, MaxSize: fuzzLimit}
		slow := slowAlone
		if lzip {
			c.Format = Lzip
			slow = slowLzip
		}
		want, wantErr := slow(in, c.MaxDict, fuzzLimit)
		z.Reset(bytes.NewReader(in), c)
		got, err := io.ReadAll(&z)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("got error %v, want %v", err, wantErr)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Fatal("wrong output")
		}
	})
}
