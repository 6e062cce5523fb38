// Package rawtest is the conformance suite of disk images: what a writer makes of
// raw images is, as qemu-img sees it, the same disk. Tests use it.
package rawtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"thaw/image/raw"
	"thaw/internal/testbed"
)

// A Format is a kind of disk image.
type Format struct {
	Name  string // qemu-img's
	Block int    // what is left out if it is all zeros, in bytes
	Check bool   // qemu-img can check it
	// MaxSize is the size of the largest disk. Zero means that there is none.
	MaxSize int64
	// Slow says that qemu-img reads blocks that are not there, which takes
	// long.
	Slow bool
	// Digest is the SHA-256 of one of the images in hexadecimal. A change of
	// it is one of every image.
	Digest string
	// Write writes a disk image to an empty file.
	Write func(w *os.File, r io.ReaderAt, size int64) error
	// NewWriter returns a writer that needs no raw image, of a disk of up to
	// limit bytes. It is nil if there is none.
	NewWriter func(w io.WriterAt, limit int64) (*raw.Writer, error)
}

const mib = 1 << 20

// A disk is a raw image.
type disk struct {
	name string
	size int64
	data []extent
}

type extent struct {
	off  int64
	data []byte
}

// Random returns n bytes that nothing can compress, the same each time.
func Random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// Text returns n bytes that compress somewhat, the same each time.
func Text(n int) []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, n+20)
	for len(b) < n {
		b = fmt.Appendf(b, "%x ", rnd.Uint64()>>rnd.IntN(60))
	}
	return b[:n]
}

// disks are cases around the block size of a format.
func (f *Format) disks() []disk {
	block := int64(f.Block)
	mixed := append(append(Text(3*f.Block), make([]byte, 5*f.Block)...), Random(2*f.Block+777)...)
	var stripes []extent // one block packs, the next one does not, one is empty
	for i, data := 0, append(Text(f.Block), Random(f.Block)...); i < 9; i++ {
		stripes = append(stripes, extent{int64(i) * 3 * block, data})
	}
	disks := []disk{
		{"a byte", 1, []extent{{0, []byte{1}}}},
		{"a sector", 512, []extent{{0, Random(512)}}},
		{"zeros", 8 * mib, nil},
		{"a block", block, []extent{{0, Text(f.Block)}}},
		{"no whole blocks", 3*block + 1536, []extent{{0, Text(3*f.Block + 1536)}}},
		{"no whole sectors", 5*block + 1000, []extent{{5*block + 999, []byte{9}}}},
		{"random", 12 * mib, []extent{{0, Random(12 * mib)}}},
		{"mixed", 20*block + 512, []extent{{0, mixed}, {15*block - 5, []byte("over a border")}}},
		{"stripes", 30 * block, stripes},
		{"holes", 6<<30 + 3*mib, []extent{{512, []byte("x")}, {4<<30 - 512, Text(2 * f.Block)}, {6<<30 + 3*mib - 1, []byte{1}}}},
		{"wide", 2040 << 30, []extent{{1 << 30, Text(100)}, {2040<<30 - 1, []byte{1}}}},
		{"wider", 5<<40 + 512, []extent{{5 << 40, Text(100)}}},
	}
	return slices.DeleteFunc(disks, func(d disk) bool { return f.MaxSize > 0 && d.size > f.MaxSize })
}

// file makes a sparse file of a disk.
func (d *disk) file(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "raw"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	for _, e := range d.data {
		if _, err := f.WriteAt(e.data, e.off); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(d.size); err != nil {
		t.Skipf("SKIPPED: the file system has no file of %d bytes: %v", d.size, err)
	}
	return f
}

// write makes a disk image, and returns its path and digest.
func (f *Format) write(t *testing.T, r io.ReaderAt, size int64) (path string, sum [32]byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "image")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := f.Write(out, r, size); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, out); err != nil {
		t.Fatal(err)
	}
	return path, [32]byte(h.Sum(nil))
}

// Run runs the suite.
func Run(t *testing.T, f Format) {
	for _, d := range f.disks() {
		t.Run(d.name, func(t *testing.T) {
			r := d.file(t)
			path, sum := f.write(t, r, d.size)
			var places []int64
			if d.size > 8<<30 || f.Slow && d.size > 1<<30 {
				places = append(places, d.size/2, d.size)
				for _, e := range d.data {
					places = append(places, e.off)
				}
			}
			f.Judge(t, path, r.Name(), d.size, places...)
			if got := fmt.Sprintf("%x", sum); d.name == "mixed" && got != f.Digest {
				t.Errorf("its digest is %s, and was %s", got, f.Digest)
			}
			if d.size > 1<<30 {
				return
			}
			// Neither what is known of holes nor the number of
			// processors makes a difference.
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
			for _, procs := range []int{1, 5} {
				runtime.GOMAXPROCS(procs)
				if _, other := f.write(t, struct{ io.ReaderAt }{r}, d.size); other != sum {
					t.Errorf("other bytes with %d processors, and a file that does not tell of holes", procs)
				}
			}
		})
	}
	t.Run("errors", f.errors)
	if f.NewWriter != nil {
		t.Run("stream", f.stream)
		t.Run("stream errors", f.streamErrors)
	}
}

// Judge has qemu-img compare an image with the raw one: all of it, or the MiB before
// and after some places.
func (f *Format) Judge(t *testing.T, path, rawPath string, size int64, places ...int64) {
	t.Helper()
	var info struct {
		Size int64 `json:"virtual-size"`
	}
	out := testbed.Run(t, "qemu-img", "info", "-f", f.Name, "--output=json", path)
	if err := json.Unmarshal(out, &info); err != nil {
		t.Fatal(err)
	}
	if want := (size + 511) / 512 * 512; info.Size != want {
		t.Errorf("a disk of %d bytes, not %d", info.Size, want)
	}
	if len(places) == 0 {
		testbed.Run(t, "qemu-img", "compare", "-f", f.Name, "-F", "raw", path, rawPath)
	}
	for _, at := range places {
		start := max(0, at/mib-1) * mib
		window := fmt.Sprintf("driver=raw,offset=%d,size=%d,file.driver=", start, min(info.Size, start+3*mib)-start)
		testbed.Run(t, "qemu-img", "compare", "--image-opts", window+f.Name+",file.file.filename="+path, window+"file,file.filename="+rawPath)
	}
	f.check(t, path)
}

// check has qemu-img check an image, where it can.
func (f *Format) check(t *testing.T, path string) {
	t.Helper()
	if !f.Check {
		return
	}
	var check struct {
		Leaks       int `json:"leaks"`
		Corruptions int `json:"corruptions"`
		Errors      int `json:"check-errors"`
	}
	cmd := exec.Command(testbed.Tool(t, "qemu-img"), "check", "-f", f.Name, "--output=json", path)
	out, err := cmd.CombinedOutput()
	if err == nil {
		err = json.Unmarshal(out, &check)
	}
	if err != nil || check.Leaks+check.Corruptions+check.Errors > 0 {
		t.Errorf("qemu-img check: %v\n%s", err, out)
	}
}

// errors are of what cannot be read, written or held.
func (f *Format) errors(t *testing.T) {
	data := Text(5*f.Block + 100)
	refuse := func(what string, r io.ReaderAt, size int64, want string) error {
		t.Helper()
		out, err := os.Create(filepath.Join(t.TempDir(), "image"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if err = f.Write(out, r, size); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", what, err)
		}
		return err
	}
	for _, size := range []int64{-1 << 63, -1, 0, raw.MaxSize + 1, 1<<63 - 1} {
		refuse("a size", bytes.NewReader(data), size, fmt.Sprintf("a disk of %d bytes", size))
	}
	for _, more := range []int64{1, 1000, 1 << 33} {
		err := refuse("a short image", bytes.NewReader(data), int64(len(data))+more, "raw image of")
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("a short image: %v", err)
		}
	}
	bad := errors.New("bad sector")
	for _, at := range []int64{0, int64(f.Block), int64(len(data)) - 1} {
		err := refuse("an image that cannot be read", &broken{bytes.NewReader(data), at, bad}, int64(len(data)), "bad sector")
		if !errors.Is(err, bad) {
			t.Errorf("a byte that cannot be read: %v", err)
		}
	}
	out, err := os.Open(os.DevNull) // for reading
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := f.Write(out, bytes.NewReader(data), int64(len(data))); err == nil {
		t.Error("a file that cannot be written to: no error")
	}
}

// broken cannot read one byte.
type broken struct {
	r   io.ReaderAt
	at  int64
	err error
}

func (b *broken) ReadAt(p []byte, off int64) (int, error) {
	if n := b.at - off; n >= 0 && n < int64(len(p)) {
		n, _ := b.r.ReadAt(p[:n], off)
		return n, b.err
	}
	return b.r.ReadAt(p, off)
}
