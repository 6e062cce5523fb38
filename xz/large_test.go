package xz

import (
	"bytes"
	"hash/crc32"
	"io"
	"runtime"
	"testing"
)

// More than 4 GiB in one block, and in one .lzma file: no count is of 32 bits.
func TestOver4GiB(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: -short")
	}
	// The same chunk of 2 MiB again and again: its state is reset, and its
	// size is a multiple of all that the position is taken modulo of.
	p := properties{lc: 3, pb: 2}
	w := &chunkWriter{dict: 1 << 16}
	zeros := func(size int) func() (symbol, bool) {
		left := size
		return func() (symbol, bool) {
			switch {
			case left == 0:
				return symbol{}, false
			case left == size:
				left--
				return symbol{literal: true}, true
			}
			n := min(left, maxMatch)
			if left-n == 1 {
				n--
			}
			left -= n
			return symbol{length: n}, true
		}
	}
	const chunks = 2050
	w.coded(chunkDict, p, zeros(maxChunk))
	first := len(w.data)
	w.coded(chunkState, p, zeros(maxChunk))
	data := append(bytes.Clone(w.data[:first]), bytes.Repeat(w.data[first:], chunks-1)...)
	data = append(data, chunkEnd)
	f := container{blocks: []containerBlock{{
		data: data, dict: dictByte(1 << 16), sized: true, unpack: chunks * maxChunk, listed: chunks * maxChunk,
	}}}
	z := NewReader(bytes.NewReader(f.bytes()), Config{Workers: 2, MaxSize: chunks * maxChunk})
	defer z.Close()
	crc := crc32.NewIEEE()
	n, err := z.WriteTo(crc)
	if want := int64(chunks * maxChunk); err != nil || n != want || n <= 1<<32 {
		t.Errorf("got %d bytes and %v, want %d", n, err, want)
	}
	want := crc32.NewIEEE()
	if _, err := io.CopyN(want, zeroReader{}, n); err != nil || crc.Sum32() != want.Sum32() {
		t.Error("wrong content")
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// 20 MB of stated size with the usual dictionary of 8 MiB take less than 12 MiB from
// beginning to end: all that is allocated, so it does not depend on when it is freed.
func TestPeak(t *testing.T) {
	tool(t, "xz")
	const size = 20 << 20
	packed := pipe(t, sample(size, 11), "xz", "-c", "--lzma2=preset=0,dict=8MiB", "-T1")
	buf := make([]byte, 1<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	z := NewReader(bytes.NewReader(packed), Config{MaxSize: size})
	for {
		if _, err := z.Read(buf); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 12<<20 {
		t.Errorf("%d bytes allocated", n)
	}
}

// BenchmarkSmall decodes a stream that holds 2 KB.
func BenchmarkSmall(b *testing.B) {
	tool(b, "xz")
	in := pipe(b, sample(2048, 12), "xz", "-c")
	src := bytes.NewReader(nil)
	var z Reader
	b.ReportAllocs()
	b.SetBytes(2048)
	for b.Loop() {
		src.Reset(in)
		z.Reset(src, Config{MaxSize: 2048, SkipCheck: true})
		if _, err := z.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
