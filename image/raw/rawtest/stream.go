package rawtest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"thaw/image/raw"
	"thaw/internal/testbed"
)

// writes are a disk as it comes: what is written to it one after the other.
type writes struct {
	size int64
	ops  []extent
	raw  []byte // what the disk is then
}

// random returns writes that overlap, have zeros, and go beyond the end of the disk,
// where zeros are the last.
func (f *Format) random(seed uint64) *writes {
	rnd := rand.New(rand.NewPCG(seed, uint64(f.Block)))
	limit := 6*f.Block + rnd.IntN(2*f.Block)
	size := limit - rnd.IntN(3*f.Block)
	d := &writes{size: int64(size)}
	content := make([]byte, limit)
	put := func(off int, data []byte) {
		d.ops = append(d.ops, extent{int64(off), data})
		copy(content[off:], data)
	}
	source := Random(3 * f.Block)
	for range 5 + rnd.IntN(25) {
		off, n := rnd.IntN(limit), rnd.IntN(5000)
		switch rnd.IntN(3) {
		case 0: // just a block
			off, n = off/f.Block*f.Block, f.Block
		case 1:
			n = rnd.IntN(5 * f.Block / 2)
		}
		from := rnd.IntN(f.Block / 2)
		data := bytes.Clone(source[from:][:min(n, limit-off)])
		if z := rnd.IntN(4); z < 2 { // zeros, or half of them
			clear(data[z*len(data)/2:])
		}
		put(off, data)
	}
	put(size, make([]byte, limit-size))
	d.raw = append(content[:size], make([]byte, -size&(raw.SectorSize-1))...)
	return d
}

// to writes it, in pieces if those are given.
func (d *writes) to(w *raw.Writer, pieces *rand.Rand) error {
	for _, op := range d.ops {
		for p := op.data; ; {
			n := len(p)
			if pieces != nil {
				n = pieces.IntN(n + 1)
			}
			if k, err := w.WriteAt(p[:n], op.off+int64(len(op.data)-len(p))); err != nil || k != n {
				return fmt.Errorf("%d bytes of %d: %w", k, n, err)
			}
			if p = p[n:]; len(p) == 0 {
				break
			}
		}
	}
	return w.Close(d.size)
}

// stream tests the writer that needs no raw image.
func (f *Format) stream(t *testing.T) {
	dir := t.TempDir()
	image := func(name string) *os.File {
		out, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { out.Close() })
		return out
	}
	build := func(name string, d *writes, limit int64, pieces *rand.Rand) (path string, sum [32]byte) {
		out := image(name)
		w := f.open(t, out, limit)
		if err := d.to(w, pieces); err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(out)
		if err != nil {
			t.Fatal(err)
		}
		if w.Size() != int64(len(all)) {
			t.Errorf("a file of %d bytes, and Size says %d", len(all), w.Size())
		}
		return out.Name(), sha256.Sum256(all)
	}
	for seed := range uint64(6) {
		d := f.random(seed)
		path, sum := build("whole", d, 8*int64(f.Block), nil)
		if _, other := build("pieces", d, 8*int64(f.Block), rand.New(rand.NewPCG(seed, 0))); other != sum {
			t.Errorf("seed %d: other bytes if written in pieces", seed)
		}
		f.same(t, path, d.raw)
	}
	// Something was far beyond the end, and the last block in the file is not
	// written to its end.
	far := 200_000 * int64(f.Block)
	path, _ := build("far", &writes{size: 512, ops: []extent{{far, []byte{1}}, {0, Text(512)}, {far, []byte{0}}}}, far+1, nil)
	f.same(t, path, Text(512))
	path, _ = build("empty", &writes{size: 3000}, 3000, nil)
	f.same(t, path, make([]byte, 3072))
	// From the end to the beginning.
	for _, disk := range f.disks() {
		if disk.size < 1<<30 {
			continue
		}
		in, out := disk.file(t), image(disk.name)
		w := f.open(t, out, disk.size)
		var places []int64
		for _, e := range slices.Backward(disk.data) {
			if _, err := w.WriteAt(e.data, e.off); err != nil {
				t.Fatal(err)
			}
			places = append(places, e.off)
		}
		if err := w.Close(disk.size); err != nil {
			t.Fatal(err)
		}
		f.Judge(t, out.Name(), in.Name(), disk.size, places...)
	}
}

// same has qemu-img check an image and give back the disk.
func (f *Format) same(t *testing.T, path string, want []byte) {
	t.Helper()
	back := path + ".raw"
	testbed.Run(t, "qemu-img", "convert", "-f", f.Name, "-O", "raw", path, back)
	if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes come back, which are not the %d: %v", path, len(got), len(want), err)
	}
	f.check(t, path)
}

func (f *Format) open(t *testing.T, w io.WriterAt, limit int64) *raw.Writer {
	t.Helper()
	d, err := f.NewWriter(w, limit)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// streamErrors are of every write that fails, of sizes, and of calls out of order.
func (f *Format) streamErrors(t *testing.T) {
	d, limit := f.random(3), int64(8*f.Block)
	full := errors.New("disk full")
	for room := 0; ; room++ {
		out := &failing{room: room, err: full}
		w := f.open(t, out, limit)
		err := d.to(w, nil)
		if out.room >= 0 { // for all
			if err != nil || room < len(d.ops)/2 {
				t.Errorf("%d writes: %v", room, err)
			}
			break
		}
		if !errors.Is(err, full) {
			t.Fatalf("after %d writes: %v", room, err)
		}
		_, again := w.WriteAt([]byte{1}, 0)
		if last := w.Close(d.size); !errors.Is(err, again) || last != again || out.room != -1 {
			t.Errorf("after %d writes: %v, then %v, then %v", room, err, again, last)
		}
	}
	out := &failing{err: full}
	if n, err := f.open(t, out, limit).WriteAt(make([]byte, 3*f.Block), 5); n != 3*f.Block || err != nil || out.room < 0 {
		t.Errorf("zeros where nothing is: %d written, %v", n, err)
	}
	for _, size := range []int64{-1 << 63, -1, 0, raw.MaxSize + 1, 1<<63 - 1} {
		out := &failing{room: 1}
		if err := f.open(t, out, limit).Close(size); err == nil || out.room != 1 {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	for _, off := range []int64{-1 << 63, -1, raw.MaxSize, 1<<63 - 1} {
		out := &failing{room: 1}
		w := f.open(t, out, limit)
		if n, err := w.WriteAt([]byte{1}, off); err == nil || n != 0 || w.Close(1) != err || out.room != 1 {
			t.Errorf("a byte at %d: %d, %v", off, n, err)
		}
	}
	w := f.open(t, &failing{room: 1 << 30}, limit)
	if err := w.Close(5); err != nil {
		t.Error(err)
	}
	if _, err := w.WriteAt([]byte{0}, 0); err == nil || w.Close(5) != err {
		t.Errorf("after the end: %v", err)
	}
}

// failing has room for some writes.
type failing struct {
	room int
	err  error
}

func (f *failing) WriteAt(p []byte, _ int64) (int, error) {
	if f.room--; f.room >= 0 {
		return len(p), nil
	}
	return len(p) / 2, f.err
}
