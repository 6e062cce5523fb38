package xz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// decodeAll decodes in.
func decodeAll(z *Reader, in []byte, c Config) (int64, error) {
	z.Reset(bytes.NewReader(in), c)
	return z.WriteTo(io.Discard)
}

// Input that ends anywhere before its end is cut off, not complete.
func TestTruncated(t *testing.T) {
	var z Reader
	defer z.Close()
	for _, v := range vectors {
		in := v.read(t)
		for n := range in {
			complete := false
			switch v.name {
			case "streams.xz": // may end after a stream, or after four bytes of padding
				_, err := slowXZ(in[:n], 1<<30, 1<<20)
				complete = err == nil
			case "two-members.lz":
				_, err := slowLzip(in[:n], 1<<30, 1<<20)
				complete = err == nil
			}
			for _, workers := range []int{1, 2} {
				c := v.config
				c.Workers = workers
				_, err := decodeAll(&z, in[:n], c)
				if complete && err != nil || !complete && err != io.ErrUnexpectedEOF {
					t.Errorf("%s, %d of %d bytes, %d workers: got %v", v.name, n, len(in), workers, err)
				}
			}
		}
	}
}

// A flipped bit anywhere is noticed.
func TestFlippedBits(t *testing.T) {
	var z Reader
	defer z.Close()
	r := rand.New(rand.NewPCG(6, 6))
	for _, v := range vectors {
		if v.config.Format == LZMA || v.name == "none.xz" {
			continue // nothing protects these
		}
		in := v.read(t)
		for range 2000 {
			bit := r.IntN(8 * len(in))
			if v.config.Format == Lzip && bit/8 == 5 {
				continue // the size of the dictionary has no check
			}
			in[bit/8] ^= 1 << (bit % 8)
			c := v.config
			c.Workers = 1 + r.IntN(2)
			if n, err := decodeAll(&z, in, c); err == nil {
				t.Errorf("%s: flipped bit %d of byte %d: %d bytes without an error", v.name, bit%8, bit/8, n)
			}
			in[bit/8] ^= 1 << (bit % 8)
		}
	}
}

// Headers that lie, with right checksums of themselves, are refused, and the
// slow decoder agrees.
func TestLies(t *testing.T) {
	w := randomChunks(rand.New(rand.NewPCG(7, 7)), 4096, 3)
	block := containerBlock{data: w.data, output: w.out}
	sized := block
	sized.sized = true
	with := func(b containerBlock, f func(b *containerBlock)) *container {
		f(&b)
		return &container{check: checkCRC32, blocks: []containerBlock{b}}
	}
	one, three, backward, huge := int64(1), int64(3), uint32(0), uint32(1<<32-1)
	for _, c := range []struct {
		name string
		want string // in the error's text; nothing: it is valid
		file *container
	}{
		{"valid", "", &container{check: checkCRC64, blocks: []containerBlock{block, sized}}},
		{"no blocks", "", &container{check: checkSHA256}},
		{"packed size too large", "", with(sized, func(b *containerBlock) {})},
		{"packed size too large", "size that its header says", with(sized, func(b *containerBlock) { b.packed = 1 })},
		{"packed size too small", "header says", with(sized, func(b *containerBlock) { b.packed = -1 })},
		{"packed size of a whole word too small", "header says", with(sized, func(b *containerBlock) { b.packed = -4 })},
		{"packed size huge", "header says", with(sized, func(b *containerBlock) { b.packed = 1 << 50 })},
		{"size too large", "size that its header says", with(sized, func(b *containerBlock) { b.unpack = 1 })},
		{"size too small", "header says", with(sized, func(b *containerBlock) { b.unpack = -1 })},
		{"size of 0", "header says", with(sized, func(b *containerBlock) { b.unpack = -int64(len(w.out)) })},
		{"size in the index", "other sizes", with(block, func(b *containerBlock) { b.listed = 1 })},
		{"too few blocks in the index", "number of blocks", &container{blocks: []containerBlock{block, block}, count: &one}},
		{"too many blocks in the index", "number of blocks", &container{blocks: []containerBlock{block}, count: &three}},
		{"backward size", "size of the index", &container{blocks: []containerBlock{block}, backward: &backward}},
		{"huge backward size", "size of the index", &container{blocks: []containerBlock{block}, backward: &huge}},
		{"check in the footer", "differ", &container{blocks: []containerBlock{block}, footFlags: &[2]byte{0, 1}}},
		{"flags in the footer", "differ", &container{blocks: []containerBlock{block}, footFlags: &[2]byte{1, 0}}},
		{"padding of the index", "padded", &container{blocks: []containerBlock{block}, index: func(p []byte) { p[len(p)-1] |= 1 }}},
		{"padding of the header", "padded", &container{blocks: []containerBlock{block}, header: func(p *[]byte) { *p = append(*p, 0, 0, 1) }}},
		{"reserved block flag", "unsupported block flags", &container{blocks: []containerBlock{block}, header: func(p *[]byte) { (*p)[1] |= 4 }}},
		{"two filters", "last filter", &container{blocks: []containerBlock{block}, header: func(p *[]byte) { (*p)[1] |= 1 }}},
		{"delta", "unsupported filter 0x3", &container{blocks: []containerBlock{block}, header: func(p *[]byte) {
			*p = append([]byte{0, 1, 3, 1, 0}, (*p)[2:]...)
		}}},
		{"BCJ", "unsupported filter 0x4", &container{blocks: []containerBlock{block}, header: func(p *[]byte) {
			*p = append([]byte{0, 1, 4, 0}, (*p)[2:]...)
		}}},
		{"no size of the dictionary", "dictionary size", &container{blocks: []containerBlock{block}, header: func(p *[]byte) { (*p)[3] = 0 }}},
		{"dictionary byte 41", "dictionary size", with(block, func(b *containerBlock) { b.dict = 41 })},
		{"dictionary of 4 GiB", "dictionary exceeds", with(block, func(b *containerBlock) { b.dict = 40 })},
		{"dictionary over the limit", "dictionary exceeds", with(block, func(b *containerBlock) { b.dict = dictByte(64<<20) + 1 })},
		{"dictionary at the limit", "", with(block, func(b *containerBlock) { b.dict = dictByte(64 << 20) })},
		{"header with a size of zero", "block header", with(sized, func(b *containerBlock) { b.packed = -int64(len(w.data)) })},
		{"overlong number", "block header", &container{blocks: []containerBlock{block}, header: func(p *[]byte) {
			*p = append([]byte{0, 0, 0xa1, 0}, (*p)[3:]...)
		}}},
	} {
		in := c.file.bytes()
		_, slowErr := slowXZ(in, defaultMaxDict, 1<<20)
		if (slowErr == nil) != (c.want == "") {
			t.Errorf("%s: the slow decoder says %v", c.name, slowErr)
		}
		for _, workers := range []int{1, 3} {
			for _, skip := range []bool{false, true} {
				_, err := decodeAll(new(Reader), in, Config{Workers: workers, SkipCheck: skip})
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					if err == io.ErrUnexpectedEOF && c.file.blocks[0].packed > 1<<20 {
						continue // read aside, the block is cut off
					}
					t.Errorf("%s, %d workers: got %v, want %q", c.name, workers, err, c.want)
				}
			}
		}
	}
}

// A wrong check is noticed, unless it is skipped; so is one that is not known.
func TestChecks(t *testing.T) {
	out := []byte("content")
	w := &chunkWriter{dict: 4096}
	w.plain(chunkPlainReset, out)
	w.data = append(w.data, chunkEnd)
	for _, id := range []checkID{checkNone, checkCRC32, checkCRC64, checkSHA256} {
		for _, workers := range []int{1, 2} {
			f := container{check: id, blocks: []containerBlock{{data: w.data, output: []byte("Content"), sized: true}}}
			_, err := decodeAll(new(Reader), f.bytes(), Config{Workers: workers})
			var format *FormatError
			if id != checkNone && !errors.As(err, &format) || id == checkNone && err != nil {
				t.Errorf("check %x: got %v", id, err)
			}
			if _, err := decodeAll(new(Reader), f.bytes(), Config{SkipCheck: true, Workers: workers}); err != nil {
				t.Errorf("check %x, skipped: got %v", id, err)
			}
		}
	}
}

// Errors of the source come out as they are; it may return data with them, or
// nothing for a while.
func TestSourceErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, v := range vectors {
		in, want := v.read(t), v.content(t)
		for _, workers := range []int{1, 2} {
			c := v.config
			c.Workers = workers
			src := io.MultiReader(bytes.NewReader(in[:len(in)-1]), iotest.ErrReader(broken))
			z := NewReader(src, c)
			if _, err := z.WriteTo(io.Discard); err != broken {
				t.Errorf("%s: got %v, want %v", v.name, err, broken)
			}
			z.Reset(iotest.DataErrReader(bytes.NewReader(in)), c)
			if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, data with EOF: wrong output or %v", v.name, err)
			}
			z.Reset(stubborn{}, c)
			if _, err := z.Read(make([]byte, 1)); err != io.ErrNoProgress {
				t.Errorf("%s, no progress: got %v", v.name, err)
			}
			z.Close()
		}
	}
}

type stubborn struct{}

func (stubborn) Read([]byte) (int, error) { return 0, nil }

// Memory stays within the bounds whatever a header announces.
func TestMemory(t *testing.T) {
	tiny := &chunkWriter{dict: 4096}
	tiny.plain(chunkPlainReset, []byte("x"))
	tiny.data = append(tiny.data, chunkEnd)
	var alone [18]byte
	alone[0] = 0x5d
	binary.LittleEndian.PutUint32(alone[1:], 64<<20)
	binary.LittleEndian.PutUint64(alone[5:], 1<<40)
	for _, c := range []struct {
		name   string
		in     []byte
		config Config
		limit  uint64
	}{
		{"large dictionary", (&container{blocks: []containerBlock{{data: tiny.data, output: tiny.out, dict: dictByte(64 << 20)}}}).bytes(), Config{}, 1 << 20},
		{"large sizes", (&container{blocks: []containerBlock{{data: tiny.data, output: tiny.out, sized: true, packed: 60 << 20, unpack: 60 << 20}}}).bytes(), Config{Workers: 8}, 3 << 20},
		{"sizes over MaxBlock", (&container{blocks: []containerBlock{{data: tiny.data, output: tiny.out, sized: true, packed: 60 << 40, unpack: 60 << 40}}}).bytes(), Config{Workers: 8}, 1 << 20},
		{"size over MaxSize", (&container{blocks: []containerBlock{{data: tiny.data, output: tiny.out, sized: true, unpack: 60 << 20}}}).bytes(), Config{Workers: 8, MaxSize: 1 << 20}, 1 << 20},
		{".lzma", alone[:], Config{Format: LZMA}, 1 << 20},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = decodeAll(new(Reader), c.in, c.config)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > c.limit {
			t.Errorf("%s: allocates %d bytes, want at most %d", c.name, n, c.limit)
		}
	}
}

// Small streams allocate nothing but what their source does.
func TestReuse(t *testing.T) {
	var z Reader
	for _, v := range vectors {
		in := v.read(t)
		src := bytes.NewReader(in)
		c := v.config
		c.MaxSize = contentSize
		n := testing.AllocsPerRun(50, func() {
			src.Reset(in)
			z.Reset(src, c)
			if _, err := z.WriteTo(io.Discard); err != nil {
				t.Fatal(err)
			}
		})
		if n > 0 {
			t.Errorf("%s: %v allocations", v.name, n)
		}
	}
}
