package zstdframe

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"

	"thaw/internal/testbed"
)

// A shape is data of a kind.
type shape struct {
	name string
	data []byte
}

// shapes are the data that encoders go wrong on.
func shapes(t testing.TB) []shape {
	rnd := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 2<<20)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	text := words(rnd, 1<<20)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	all := []shape{}
	add := func(data []byte, format string, args ...any) {
		all = append(all, shape{fmt.Sprintf(format, args...), data})
	}
	for n := range 301 {
		add(text[:n], "%d bytes of text", n)
		add(noise[:n], "%d bytes of noise", n)
		add(make([]byte, n), "%d zeros", n)
	}
	for _, n := range []int{4 << 10, 128<<10 - 1, 128 << 10, 128<<10 + 1, 256<<10 + 1, 1<<16 + 255, 1<<16 + 256, MaxSize - 1, MaxSize} {
		add(text[:n], "%d bytes of text", n)
		add(noise[:n], "%d bytes of noise", n)
		add(make([]byte, n), "%d zeros", n)
		add(program[len(program)/2:][:n], "%d bytes of a program", n)
		add(append(bytes.Repeat([]byte{7}, n-1), 8), "%d bytes, the last another", n)
	}
	for period := 1; period <= 70; period++ {
		add(bytes.Repeat(noise[:period], 10_000/period), "period %d", period)
		add(bytes.Repeat(text[:period], 140_000/period), "text, period %d", period)
	}
	add(slices.Concat(noise[:70_000], text[:10_000], noise[:60_000]), "a run of literals of 70,000 bytes, and matches")
	add(slices.Concat(noise[:50_000], noise[:40_000], noise[:70_000]), "matches that are far away")
	add(slices.Concat(noise[:200_000], noise[:200_000], make([]byte, 200_000), noise[100_000:300_000]), "matches beyond a block")
	add(slices.Concat(text[:500], make([]byte, 128<<10), text[:500]), "a match of more than 65538 bytes")
	add(slices.Concat(noise[:128<<10], text[:128<<10], noise[:128<<10], text[:300_000]), "blocks of noise between blocks of text")
	few := make([]byte, 300_000)
	for i := range few {
		few[i] = "ab"[rnd.IntN(2)]
	}
	add(few, "two bytes at random")
	near := slices.Clone(noise[:3000])
	for len(near) < 300_000 {
		at := rnd.IntN(len(near) - 100)
		near = append(append(near, byte(rnd.Uint32())), near[at:at+3+rnd.IntN(6)]...)
	}
	add(near, "short matches")
	ramp := make([]byte, 0, 300_000)
	for len(ramp) < 300_000 {
		ramp = le.AppendUint32(ramp, uint32(len(ramp)*37))
	}
	add(ramp, "a table of numbers")
	return all
}

// words returns n bytes of words, some of which follow others more often.
func words(rnd *rand.Rand, n int) []byte {
	var list [3000]string
	for i := range list {
		list[i] = fmt.Sprintf("%x ", rnd.Uint64()>>rnd.IntN(60))
	}
	var b []byte
	for at := 0; len(b) < n; at = (at*at + rnd.IntN(90)) % len(list) {
		b = append(b, list[at]...)
	}
	return b[:n]
}

func decoder(t testing.TB) *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(8*MaxSize))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// TestShapes has both a decoder in Go and the zstd tool read what becomes of all
// shapes.
func TestShapes(t *testing.T) {
	d := decoder(t)
	all := shapes(t)
	for _, fast := range []bool{false, true} {
		e := Encoder{Fast: fast}
		var frames, want []byte
		for _, s := range all {
			frame := e.Append(nil, s.data)
			if most := len(s.data) + len(s.data)/maxBlock*3 + 13; len(frame) > most {
				t.Errorf("%s: %d bytes, more than %d", s.name, len(frame), most)
			}
			got, err := d.DecodeAll(frame, nil)
			if err != nil || !bytes.Equal(got, s.data) {
				t.Errorf("%s: fast %v: %d bytes of %d, %v", s.name, fast, len(got), len(s.data), err)
			}
			frames, want = append(frames, frame...), append(want, s.data...)
		}
		judge(t, frames, want)
	}
}

// judge has the zstd tool decode frames.
func judge(t *testing.T, frames, want []byte) {
	t.Helper()
	cmd := exec.Command(testbed.Tool(t, "zstd"), "-dc")
	cmd.Stdin = bytes.NewReader(frames)
	if got, err := cmd.Output(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("zstd -d: %v: %d bytes of %d", err, len(got), len(want))
	}
}

// TestSequences encodes what no search finds: as many sequences as a block may
// have, the longest match, and one that changes what is recent.
func TestSequences(t *testing.T) {
	d := decoder(t)
	for _, test := range []struct {
		name string
		size int
		seqs func(size uint32) []sequence
	}{
		{"as many as can be", maxBlock, func(size uint32) []sequence {
			return append([]sequence{{literals: 4, length: 3, distance: 1}},
				slices.Repeat([]sequence{{length: 3, distance: 2}, {length: 3, distance: 3}, {length: 3, distance: 4}}, int(size)/9-1)...)
		}},
		{"0x7f00", maxBlock, func(size uint32) []sequence {
			return slices.Repeat([]sequence{{literals: 1, length: 3, distance: 1}}, 0x7f00)
		}},
		{"127", 1000, func(uint32) []sequence { return slices.Repeat([]sequence{{1, 3, 1}}, 127) }},
		{"128", 1000, func(uint32) []sequence { return slices.Repeat([]sequence{{1, 3, 1}}, 128) }},
		{"the longest", maxBlock, func(size uint32) []sequence { return []sequence{{literals: 1, length: size - 1, distance: 1}} }},
		{"most literals", maxBlock, func(size uint32) []sequence {
			return []sequence{{literals: size - 3, length: 3, distance: size - 3}}
		}},
		{"all that is recent", 60_000, func(size uint32) (seqs []sequence) {
			rnd := rand.New(rand.NewPCG(3, 4))
			last := recent{1, 4, 8}
			left := size - 30
			seqs = append(seqs, sequence{20, 10, 10})
			for left > 20 {
				s := sequence{uint32(rnd.IntN(3)), uint32(3 + rnd.IntN(5)), 0}
				switch s.distance = last[rnd.IntN(3)]; rnd.IntN(4) {
				case 0:
					s.distance = uint32(1 + rnd.IntN(20))
				case 1:
					s.distance = max(last[0]-1, 1)
				}
				last.value(s.distance, s.literals)
				seqs = append(seqs, s)
				left -= s.literals + s.length
			}
			return seqs
		}},
	} {
		var e Encoder
		frame := e.Append(nil, nil)
		seqs := test.seqs(uint32(test.size))
		data := replay(rand.New(rand.NewPCG(5, 6)), test.size, seqs)
		e.known = firstRecent
		e.forget(firstRecent)
		frame = le.AppendUint32(append(frame[:4], 0xa0), uint32(test.size))
		frame = e.block(frame, data, seqs, true, true)
		if kind := frame[9] >> 1 & 3; kind != blockCompressed {
			t.Errorf("%s: a block of kind %d", test.name, kind)
		}
		got, err := d.DecodeAll(frame, nil)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes of %d, %v", test.name, len(got), len(data), err)
		}
		judge(t, frame, data)
	}
}

// replay makes data that the sequences are right for: literals of four kinds.
func replay(rnd *rand.Rand, size int, seqs []sequence) []byte {
	var b []byte
	for _, s := range seqs {
		for range s.literals {
			b = append(b, byte(rnd.IntN(4)))
		}
		for range s.length {
			b = append(b, b[len(b)-int(s.distance)])
		}
	}
	for len(b) < size {
		b = append(b, byte(rnd.IntN(4)))
	}
	return b
}

// TestForgets demands that what becomes of data does not depend on what the encoder
// has seen before.
func TestForgets(t *testing.T) {
	all := shapes(t)
	rand.New(rand.NewPCG(7, 8)).Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	for _, fast := range []bool{false, true} {
		used := Encoder{Fast: fast}
		for i, s := range all {
			if i == len(all)/2 {
				used.base = 1<<31 - 1 // as after 2 GiB
			}
			fresh := Encoder{Fast: fast}
			if got := used.Append(nil, s.data); !bytes.Equal(got, fresh.Append(nil, s.data)) {
				t.Errorf("%s: fast %v: not what a new encoder makes of it", s.name, fast)
			}
		}
	}
}

// TestLong has more than a frame.
func TestLong(t *testing.T) {
	data := words(rand.New(rand.NewPCG(1, 2)), MaxSize*5/2)
	e := Encoder{Fast: true}
	frames := e.Append([]byte("before"), data)[len("before"):]
	got, err := decoder(t).DecodeAll(frames, nil)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes of %d, %v", len(got), len(data), err)
	}
	judge(t, frames, data)
}

// FuzzEncoder has what is encoded decoded.
func FuzzEncoder(f *testing.F) {
	for _, s := range shapes(f) {
		if len(s.data) < 20_000 && len(s.data)%50 == 0 {
			f.Add(s.data, uint16(3), uint8(1))
		}
	}
	d := decoder(f)
	encoders := []Encoder{{}, {Fast: true}}
	f.Fuzz(func(t *testing.T, seed []byte, times uint16, step uint8) {
		// Repeated with changes, what the fuzzer makes up gets long, too.
		data := slices.Clone(seed)
		for i := 0; i < int(times) && len(data)+len(seed) < MaxSize; i++ {
			at := len(data)
			data = append(data, seed...)
			for k := at; step > 0 && k < len(data); k += int(step) + i {
				data[k] += byte(i)
			}
		}
		for i := range encoders {
			frame := encoders[i].Append(nil, data)
			got, err := d.DecodeAll(frame, nil)
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("fast %v: %d bytes of %d, %v", encoders[i].Fast, len(got), len(data), err)
			}
			var fresh Encoder
			fresh.Fast = encoders[i].Fast
			if len(data) < 5000 && !bytes.Equal(frame, fresh.Append(nil, data)) {
				t.Fatalf("fast %v: not what a new encoder makes of it", fresh.Fast)
			}
		}
	})
}
