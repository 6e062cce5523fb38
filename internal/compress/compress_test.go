package compress

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"thaw/internal/testbed"
)

// text is n bytes that compress somewhat, and from 100,000 on more and faster, as
// they repeat.
func text(n int) []byte {
	return bytes.Repeat(someText(min(n, 100_000)), n/100_000+1)[:n]
}

func someText(n int) []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	var words [2000][]byte
	for i := range words {
		words[i] = fmt.Appendf(nil, "%x ", rnd.Uint64()>>rnd.IntN(60))
	}
	b := make([]byte, 0, n+40)
	for len(b) < n {
		if rnd.IntN(200) == 0 && len(b) > 3000 {
			at := rnd.IntN(len(b) - 2000)
			b = append(b, b[at:at+rnd.IntN(2000)]...)
		}
		b = append(b, words[rnd.IntN(len(words))]...)
	}
	return b[:n]
}

func pack(name string, r io.Reader) ([]byte, error) {
	var out bytes.Buffer
	w, err := NewWriter(name, &out)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(w, r); err != nil {
		return nil, err
	}
	err = w.Close()
	return out.Bytes(), err
}

// The judges read what was written, of sizes around those of chunks and windows.
func TestJudges(t *testing.T) {
	long := text(2*chunkSize + 12345)
	dir := t.TempDir()
	for _, name := range []string{"gzip", "zstd"} {
		tool := testbed.Tool(t, name)
		for _, data := range [][]byte{nil, {0}, long[:1000], long[:reach+1], long[:chunkSize], long[:chunkSize+1],
			long, make([]byte, 3*chunkSize), random(2*chunkSize + 7)} {
			b, err := pack(name, bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, fmt.Sprintf("%d.%s", len(data), name))
			if err := os.WriteFile(file, b, 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(tool, "-dc")
			cmd.Stdin = bytes.NewReader(b)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if got, err := cmd.Output(); err != nil || !bytes.Equal(got, data) || stderr.Len() > 0 {
				t.Errorf("%s of %d bytes: %d come back, %v: %s", name, len(data), len(got), err, stderr.Bytes())
			}
		}
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// Bytes do not depend on the number of processors or on the sizes of writes.
func TestSameBytes(t *testing.T) {
	data := text(2*chunkSize + 999)
	for _, name := range []string{"gzip", "zstd"} {
		want, err := pack(name, bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		for procs, r := range map[int]io.Reader{1: iotest.HalfReader(bytes.NewReader(data)), 3: bytes.NewReader(data), 16: iotest.HalfReader(bytes.NewReader(data))} {
			old := runtime.GOMAXPROCS(procs)
			if got, err := pack(name, r); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s with %d processors: %d bytes and not %d, or others: %v", name, procs, len(got), len(want), err)
			}
			runtime.GOMAXPROCS(old)
		}
		small := data[:100_000]
		a, _ := pack(name, bytes.NewReader(small))
		b, _ := pack(name, iotest.OneByteReader(bytes.NewReader(small)))
		if !bytes.Equal(a, b) {
			t.Errorf("%s: other bytes when they come one by one", name)
		}
	}
}

// A change of these digests is a change of every compressed image.
func TestDigests(t *testing.T) {
	data := text(2*chunkSize + 999)
	for name, want := range map[string]string{
		"gzip": "517305 ea6d3ea42639d1c42799166aa8ed178b283a439b32a44d0565b26802a6150630",
		"zstd": "23194 5f485b8e1228fd4dbe66c4ce0c34e25e90098db5f631c46c393ddc245ae62822",
	} {
		b, err := pack(name, bytes.NewReader(data))
		if got := fmt.Sprintf("%d %x", len(b), sha256.Sum256(b)); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, want)
		}
	}
}

// The bytes before a chunk help to compress it: chunks cost next to nothing.
func TestChunksCostLittle(t *testing.T) {
	data := someText(chunkSize + chunkSize/2)
	ours, err := pack("gzip", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var whole bytes.Buffer
	z, _ := gzip.NewWriterLevel(&whole, 6)
	z.Write(data)
	z.Close()
	if len(ours) > whole.Len()*21/20 {
		t.Errorf("%d bytes in chunks, %d by the standard library", len(ours), whole.Len())
	}
	if h, err := gzip.NewReader(bytes.NewReader(ours)); err != nil || h.Name != "" || !h.ModTime.IsZero() || h.OS != 255 {
		t.Errorf("header %+v, %v", h, err)
	}
}

func TestErrors(t *testing.T) {
	if _, err := NewWriter("lzma", io.Discard); err == nil || err.Error() != `no compression is called "lzma": there are gzip, zstd and none` {
		t.Error(err)
	}
	full := errors.New("disk full")
	data := random(10 * chunkSize)
	for _, name := range []string{"", "none", "gzip", "zstd"} {
		for _, room := range []int{0, 5, 10, 1 << 20, 9 << 20} {
			w, err := NewWriter(name, &limited{room, full})
			if err != nil {
				t.Fatal(err)
			}
			for rest := data; err == nil && len(rest) > 0; rest = rest[100_000:] {
				_, err = w.Write(rest[:min(100_000, len(rest))])
				if len(rest) < 100_000 {
					break
				}
			}
			if closed := w.Close(); err == nil {
				err = closed
			}
			if err != full {
				t.Errorf("%s, with room for %d bytes: %v", name, room, err)
			}
			if _, again := w.Write(data[:10]); again == nil && name != "" && name != "none" {
				t.Errorf("%s, with room for %d bytes: Write works after an error", name, room)
			}
		}
	}
	for _, name := range []string{"gzip", "zstd"} {
		w, _ := NewWriter(name, io.Discard)
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if _, err := w.Write(data[:10]); err == nil {
			t.Errorf("%s: Write works after Close", name)
		}
	}
	w := newGzip(io.Discard)
	if err := w.Close(); err != nil || !errors.Is(w.Close(), fs.ErrClosed) {
		t.Error("closing twice")
	}
}

type limited struct {
	room int
	err  error
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.room {
		return l.room, l.err
	}
	l.room -= len(p)
	return len(p), nil
}

// A writer holds no more chunks than its workers, and one.
func TestMemory(t *testing.T) {
	z := newGzip(io.Discard)
	data := random(chunkSize)
	for range 3 * z.workers {
		if _, err := z.Write(data); err != nil {
			t.Fatal(err)
		}
		if n := len(z.pending) + len(z.free); n > z.workers {
			t.Fatalf("%d chunks beside the one that is filled, and %d workers", n, z.workers)
		}
	}
}

func FuzzGzip(f *testing.F) {
	f.Add([]byte("hello"), 3)
	f.Add([]byte(strings.Repeat("ab", 5000)), 70)
	f.Fuzz(func(t *testing.T, data []byte, times int) {
		data = bytes.Repeat(data, min(max(times, 0), 3*chunkSize/max(len(data), 1)))
		b, err := pack("gzip", bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(z)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d of %d bytes come back: %v", len(got), len(data), err)
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	data := someText(16 << 20)
	for _, name := range []string{"gzip", "zstd"} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := pack(name, bytes.NewReader(data)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
