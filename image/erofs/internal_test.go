package erofs

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	lz4block "github.com/pierrec/lz4/v4"

	"thaw/rootfs"
)

// FuzzLZ4 compresses data into blocks of a size and has another implementation
// decode them.
func FuzzLZ4(f *testing.F) {
	rnd := rand.New(rand.NewPCG(5, 6))
	noise := make([]byte, 70_000)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	zeros := make([]byte, 70_000)
	few := make([]byte, 20_000) // matches overlap all the way
	for i := range few {
		few[i] = "abcd"[rnd.IntN(4)]
	}
	for _, data := range [][]byte{
		{}, {1}, []byte("abcabcabcabc"), []byte("aaaaaaaaaaaaa"), []byte(strings.Repeat("a", 300)), zeros, noise,
		[]byte(strings.Repeat("The quick brown fox jumps over the lazy dog. ", 2000)),
		append(append(bytes.Clone(noise), zeros...), noise...),                            // a match at the longest distance and beyond
		append(append(bytes.Clone(noise[:1000]), zeros[:65535-1000]...), noise[:1000]...), // exactly at it
		bytes.Repeat(noise[:5000], 5), few,
		slices.Concat([]byte("12345"), noise[:300], []byte("2345"), noise[300:900], zeros[:50], []byte("12345"), noise[300:900]), // a long match behind a short one
		bytes.Repeat(append(bytes.Clone(noise[:9]), zeros[:200]...), 300),
	} {
		for _, size := range []uint32{64, 4096, 10_000, 1 << 16} {
			f.Add(data, size)
		}
	}
	var encoders []*lz4
	for _, c := range []Compression{LZ4, LZ4HC} {
		encoders = append(encoders, newLZ4(c))
	}
	f.Fuzz(func(t *testing.T, data []byte, size uint32) {
		dst := make([]byte, 64+size%(1<<17))
		for i, z := range encoders {
			blocks := compressAll(t, z, data, dst)
			if fresh := compressAll(t, newLZ4(Compression(i+1)), data, dst); !bytes.Equal(blocks, fresh) {
				t.Fatal("what comes out depends on what came before")
			}
		}
	})
}

func compressAll(t *testing.T, z *lz4, data, dst []byte) (blocks []byte) {
	z.reset(data)
	for start := 0; start < len(data); {
		end, size := z.compress(dst, start)
		if end <= start || size > len(dst) {
			t.Fatalf("%d bytes of %d for %d to %d", size, len(dst), start, end)
		}
		checkBlock(t, dst[:size], data[start:end])
		blocks = append(blocks, dst[:size]...)
		if c := z.cut; c.end > 0 && c.end < size {
			last := c.anchor + min(end-c.anchor, maxLiterals(c.end-c.size))
			size := c.size + putSequence(dst[c.size:], data[c.anchor:last], match{})
			if size > c.end || size < c.end-1 {
				t.Fatalf("a cut to %d bytes has %d", c.end, size)
			}
			checkBlock(t, dst[:size], data[start:last])
		}
		start = end
	}
	return blocks
}

// TestLZ4Reset has an encoder that has seen nearly as much as it can count.
func TestLZ4Reset(t *testing.T) {
	data := []byte(strings.Repeat("The quick brown fox jumps over the lazy dog. ", 2000))
	dst := make([]byte, 1<<17)
	want := compressAll(t, newLZ4(LZ4HC), data, dst)
	for _, left := range []uint32{0, 1, uint32(len(data)), 1 << 20} {
		z := newLZ4(LZ4HC)
		z.base = 1<<31 - left
		for range 3 {
			if got := compressAll(t, z, data, dst); !bytes.Equal(got, want) {
				t.Fatalf("with %d left: %d bytes and not %d", left, len(got), len(want))
			}
		}
	}
}

// checkBlock holds a block against what it is to hold and against the rules for
// its end.
func checkBlock(t *testing.T, block, want []byte) {
	t.Helper()
	if block[0] == 0 {
		t.Fatal("a block begins with a zero, as what is in front of it does")
	}
	got := make([]byte, len(want))
	if n, err := lz4block.UncompressBlock(block, got); err != nil || n != len(want) || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes and not %d: %v", n, len(want), err)
	}
	at, matchAt := 0, -1 // of what is decoded
	length := func(n int, p []byte) (int, []byte) {
		for more := n == 15; more; p = p[1:] {
			n += int(p[0])
			more = p[0] == 255
		}
		return n, p
	}
	for p := block; ; {
		literals, rest := length(int(p[0]>>4), p[1:])
		at += literals
		if p, rest = p[:1], rest[literals:]; len(rest) == 0 {
			if matchAt >= 0 && (literals < lastLiterals || at-matchAt < lastMatch) {
				t.Fatalf("the last match begins %d bytes before the end and has %d literals behind it", at-matchAt, literals)
			}
			return
		}
		matchAt = at
		var n int
		n, rest = length(int(p[0]&15), rest[2:])
		at += n + minMatch
		p = rest
	}
}

// TestLastBlock has files end where block numbers do.
func TestLastBlock(t *testing.T) {
	for left, ok := range map[int64]bool{0: false, 1: false, 2: false, 3: true} {
		w, err := NewWriter(&discard{}, Options{UUID: [16]byte{1}})
		if err != nil {
			t.Fatal(err)
		}
		err = w.Add(rootfs.Dir(".", 0o755), nil)
		w.out.next = maxBlocks - left // a block for data, one for inodes
		data := strings.Repeat("x", blockSize)
		if err == nil {
			err = w.Add(rootfs.Entry{Path: "file", Mode: 0o644, Size: blockSize}, strings.NewReader(data))
		}
		if err == nil {
			err = w.Add(rootfs.Entry{Path: "more", Mode: 0o644, Size: blockSize}, strings.NewReader(strings.ToUpper(data)))
		}
		if err == nil {
			err = w.Close()
		}
		if (err == nil) != ok {
			t.Errorf("%d blocks are left: %v", left, err)
		}
		if err != nil && !strings.Contains(err.Error(), "at most 17592186040320 bytes") {
			t.Error(err)
		}
	}
}

type discard struct{}

func (*discard) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > math.MaxInt64-int64(len(p)) || off+int64(len(p)) > maxBlocks*blockSize {
		return 0, fmt.Errorf("%d bytes at %d", len(p), off)
	}
	return len(p), nil
}
