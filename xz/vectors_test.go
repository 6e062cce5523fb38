package xz

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// A vector is a file in testdata, made by xz or lzip.
type vector struct {
	name   string
	config Config
	size   int // of the content, which is the beginning of testdata/content
}

const contentSize = 6000

var vectors = []vector{
	{name: "none.xz", size: contentSize},
	{name: "crc32.xz", size: contentSize},
	{name: "crc64.xz", size: contentSize},
	{name: "sha256.xz", size: contentSize},
	{name: "lp4-pb4.xz", size: contentSize},
	{name: "lc4-pb0.xz", size: contentSize},
	{name: "blocks.xz", size: contentSize},
	{name: "blocks-sized.xz", size: contentSize},
	{name: "streams.xz", size: contentSize},
	{name: "empty.xz", size: 0},
	{name: "unknown-size.lzma", config: Config{Format: LZMA}, size: contentSize},
	{name: "marker-and-size.lzma", config: Config{Format: LZMA}, size: contentSize},
	{name: "one-member.lz", config: Config{Format: Lzip}, size: contentSize},
	{name: "two-members.lz", config: Config{Format: Lzip}, size: contentSize},
}

func (v vector) read(t testing.TB) []byte {
	t.Helper()
	p, err := os.ReadFile(filepath.Join("testdata", v.name))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// content is what the vector decodes to.
func (v vector) content(t testing.TB) []byte {
	return vector{name: "content"}.read(t)[:v.size]
}

// The vectors decode in every way of reading, with one Reader used again.
func TestVectors(t *testing.T) {
	var z Reader
	defer z.Close()
	for _, v := range vectors {
		in, want := v.read(t), v.content(t)
		for _, workers := range []int{0, 1, 2, 5} {
			for _, skip := range []bool{false, true} {
				for _, bound := range []int64{0, int64(len(want)), 1 << 40} {
					for _, piece := range []int{1, 7, 1 << 20} {
						c := v.config
						c.Workers, c.SkipCheck, c.MaxSize = workers, skip, bound
						z.Reset(pieceReader{bytes.NewReader(in), piece}, c)
						var got bytes.Buffer
						if n, err := z.WriteTo(&got); err != nil || n != int64(len(want)) || !bytes.Equal(got.Bytes(), want) {
							t.Errorf("%s, %+v: WriteTo: wrong output of %d bytes, or %v", v.name, c, n, err)
						}
						z.Reset(bytes.NewReader(in), c)
						all, err := io.ReadAll(pieceReader{&z, piece})
						if err != nil || !bytes.Equal(all, want) {
							t.Errorf("%s, %+v: Read: wrong output of %d bytes, or %v", v.name, c, len(all), err)
						}
						if n, err := z.Read(make([]byte, 1)); n != 0 || err != io.EOF {
							t.Errorf("%s, %+v: Read after the end: %d, %v", v.name, c, n, err)
						}
					}
				}
			}
		}
	}
}

// A bound of one byte less than the output is an error, in every format.
func TestMaxSize(t *testing.T) {
	for _, v := range vectors {
		if v.size == 0 {
			continue
		}
		for _, workers := range []int{1, 2} {
			c := v.config
			c.MaxSize, c.Workers = int64(v.size-1), workers
			z := NewReader(bytes.NewReader(v.read(t)), c)
			if n, err := z.WriteTo(io.Discard); err != ErrSize || n > c.MaxSize {
				t.Errorf("%s, %d workers: got %d bytes and %v, want %v", v.name, workers, n, err, ErrSize)
			}
			z.Close()
		}
	}
}

// pieceReader reads at most size bytes at once.
type pieceReader struct {
	r    io.Reader
	size int
}

func (p pieceReader) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), p.size)]) }
