package xz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

// decodeLZMA2 decodes a sequence of chunks alone.
func decodeLZMA2(d *lzma2Decoder, in []byte, dict int64, most int64) (out, rest []byte, err error) {
	var src source
	r := bytes.NewReader(in)
	src.reset(r)
	d.reset(dict, 0)
	for {
		p, err := d.next(&src, limit{output: most - int64(len(out)), block: unlimited})
		if err != nil {
			return out, nil, err
		}
		if p == nil {
			return out, in[src.offset():], nil
		}
		out = append(out, p...)
	}
}

// Random chunks of all kinds, with all resets, properties, repeats and far and
// near distances, come back as what they mean; so does the slow decoder, which
// is the judge in other tests.
func TestRandomChunks(t *testing.T) {
	var d lzma2Decoder
	rounds := 100
	if testing.Short() {
		rounds = 30
	}
	for seed := range rounds {
		r := rand.New(rand.NewPCG(1, uint64(seed)))
		w := randomChunks(r, 4096<<r.IntN(3), 1+r.IntN(30))
		slow, _, err := slowLZMA2(w.data, w.dict, 1<<30)
		if err != nil || !bytes.Equal(slow, w.out) {
			t.Fatalf("seed %d: slow decoder: wrong output or %v", seed, err)
		}
		out, rest, err := decodeLZMA2(&d, w.data, int64(w.dict), unlimited)
		if err != nil || !bytes.Equal(out, w.out) || len(rest) > 0 {
			t.Fatalf("seed %d: wrong output, %d bytes left or %v", seed, len(rest), err)
		}
	}
}

// A window that slides often, in the middle of dictionaries that begin at
// every alignment, keeps positions and distances right.
func TestWindowSlides(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	w := &chunkWriter{dict: 4096}
	p := properties{lc: 0, lp: 4, pb: 4}
	w.plain(chunkPlainReset, []byte("seven b"))
	w.coded(chunkDict, p, w.randomSymbols(r, 10))
	for len(w.out) < 9<<20 {
		switch r.IntN(40) {
		case 0:
			w.plain(chunkPlain, w.out[len(w.out)-1-r.IntN(9):])
		case 1:
			w.coded(chunkDict, p, w.randomSymbols(r, 1+r.IntN(5000)))
		default:
			n := 0
			w.coded(chunkLZMA, p, func() (symbol, bool) {
				n++
				if n == 1 {
					return symbol{literal: true, value: byte(r.IntN(256))}, true
				}
				reach := min(len(w.out)-w.start, w.dict)
				return symbol{length: maxMatch - r.IntN(30), dist: uint32(r.IntN(reach))}, n < 400
			})
		}
	}
	w.data = append(w.data, chunkEnd)
	var d lzma2Decoder
	out, _, err := decodeLZMA2(&d, w.data, int64(w.dict), unlimited)
	if err != nil || !bytes.Equal(out, w.out) {
		t.Fatalf("wrong output, or %v", err)
	}
	if limit := w.dict + maxChunk + 1024; len(d.buf) > limit {
		t.Errorf("window of %d bytes, want at most %d", len(d.buf), limit)
	}
}

// A window that is still small when a large chunk comes keeps its dictionary.
func TestWindowGrows(t *testing.T) {
	p := properties{lc: 3, pb: 2}
	for _, sizes := range [][]int{
		{5000, maxChunk, 100, maxChunk, 100, maxChunk}, {4096, maxChunk}, {4100, maxChunk, maxChunk},
		{1, maxChunk, maxChunk, 1}, {9000, maxChunk - 4000, maxChunk - 1, 5, 70000, maxChunk},
	} {
		for _, plain := range []bool{false, true} {
			r := rand.New(rand.NewPCG(11, uint64(len(sizes))))
			w := &chunkWriter{dict: 4096}
			for i, size := range sizes {
				control := byte(chunkState)
				if i == 0 {
					control = chunkDict
				} else if plain {
					w.plain(chunkPlain, sample(1<<16, uint64(i)))
				}
				from := len(w.out)
				w.coded(control, p, func() (symbol, bool) {
					left, reach := from+size-len(w.out), min(len(w.out), w.dict)
					if left == 0 || left > 1 && reach > 0 && r.IntN(8) > 0 {
						n := min(left, 2+r.IntN(maxMatch-1))
						return symbol{length: n, dist: uint32(reach - 1 - r.IntN(min(reach, 40)))}, left > 0
					}
					return symbol{literal: true, value: byte(r.IntN(256))}, true
				})
			}
			w.data = append(w.data, chunkEnd)
			var d lzma2Decoder
			out, _, err := decodeLZMA2(&d, w.data, int64(w.dict), unlimited)
			if err != nil || !bytes.Equal(out, w.out) {
				t.Fatalf("sizes %v: wrong output, or %v", sizes, err)
			}
		}
	}
}

// What LZMA2 forbids is refused.
func TestBadChunks(t *testing.T) {
	p := properties{lc: 3, pb: 2}
	literals := func(w *chunkWriter, s string) func() (symbol, bool) {
		i := -1
		return func() (symbol, bool) {
			i++
			if i == len(s) {
				return symbol{}, false
			}
			return symbol{literal: true, value: s[i]}, true
		}
	}
	build := func(f func(w *chunkWriter)) []byte {
		w := &chunkWriter{dict: 4096}
		f(w)
		return append(w.data, chunkEnd)
	}
	change := func(data []byte, at int, b byte) []byte {
		data = bytes.Clone(data)
		data[at] = b
		return data
	}
	hello := build(func(w *chunkWriter) { w.coded(chunkDict, p, literals(w, "hello, hello")) })
	far := func(dist uint32, before int) []byte {
		return build(func(w *chunkWriter) {
			w.plain(chunkPlainReset, bytes.Repeat([]byte("x"), before))
			n := 0
			w.coded(chunkProps, p, func() (symbol, bool) {
				n++
				return symbol{length: 2, dist: dist}, n == 1
			})
		})
	}
	var d lzma2Decoder
	if _, _, err := decodeLZMA2(&d, hello, 4096, unlimited); err != nil {
		t.Fatal(err)
	}
	if _, _, err := decodeLZMA2(&d, far(4095, 4096), 4096, unlimited); err != nil {
		t.Fatal("farthest distance:", err)
	}
	for name, data := range map[string][]byte{
		"plain without reset":       build(func(w *chunkWriter) { w.plain(chunkPlain, []byte("x")) }),
		"coded without reset":       change(hello, 0, chunkProps),
		"no properties after reset": build(func(w *chunkWriter) { w.plain(chunkPlainReset, []byte("x")); w.coded(chunkState, p, literals(w, "x")) }),
		"state kept after reset": build(func(w *chunkWriter) {
			w.plain(chunkPlainReset, []byte("x"))
			w.model.reset(3, 0, 2)
			w.coded(chunkLZMA, p, literals(w, "x"))
		}),
		"control 0x03":                   change(hello, 0, 0x03),
		"control 0x7f":                   change(hello, 0, 0x7f),
		"lc+lp of 5":                     change(hello, 5, (2*5+1)*9+4),
		"pb of 5":                        change(hello, 5, 225),
		"first byte not 0":               change(hello, 6, 1),
		"more output than coded":         change(hello, 2, hello[2]+1),
		"less output than coded":         change(hello, 2, hello[2]-1),
		"larger than coded":              append(change(hello, 4, hello[4]+1), 0),
		"smaller than coded":             change(hello, 4, hello[4]-1),
		"no room for a start":            change(change(hello, 3, 0), 4, 3),
		"distance before the start":      far(4096, 4096),
		"distance beyond the dictionary": far(4096, 5000),
		"end marker":                     far(endMarker, 4096),
	} {
		var format *FormatError
		if out, _, err := decodeLZMA2(&d, data, 4096, unlimited); !errors.As(err, &format) {
			t.Errorf("%s: got %d bytes and error %v, want a FormatError", name, len(out), err)
		}
		if _, _, err := slowLZMA2(data, 4096, 1<<20); err == nil {
			t.Errorf("%s: the slow decoder accepts it", name)
		}
	}
	for n := range hello {
		if _, _, err := decodeLZMA2(&d, hello[:n], 4096, unlimited); err != io.ErrUnexpectedEOF {
			t.Errorf("cut off after %d bytes: got %v", n, err)
		}
	}
	if _, _, err := decodeLZMA2(&d, hello, 4096, 11); err != ErrSize {
		t.Errorf("one byte more than allowed: got %v", err)
	}
}

// LZMA of a known size may do without an end marker, or not.
func TestKnownSize(t *testing.T) {
	var z Reader
	for seed := range uint64(40) {
		in, want := knownSize(seed, seed%2 == 0)
		for _, size := range []int64{0, int64(max(1, len(want)))} {
			z.Reset(bytes.NewReader(in), Config{Format: LZMA, MaxSize: size})
			if out, err := io.ReadAll(&z); err != nil || !bytes.Equal(out, want) {
				t.Errorf("seed %d: wrong output of %d bytes, want %d, or %v", seed, len(out), len(want), err)
			}
		}
		if out, err := slowAlone(in, 1<<20, 1<<20); err != nil || !bytes.Equal(out, want) {
			t.Errorf("seed %d: slow decoder: wrong output or %v", seed, err)
		}
		for _, wrong := range []int64{-1, 1} {
			bad := bytes.Clone(in)
			binary.LittleEndian.PutUint64(bad[5:], uint64(int64(len(want))+wrong))
			z.Reset(bytes.NewReader(bad), Config{Format: LZMA})
			if out, err := io.ReadAll(&z); err == nil {
				t.Errorf("seed %d: a size that is wrong by %d: %d bytes without an error", seed, wrong, len(out))
			}
		}
	}
}
