package device

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"thaw/image/qcow2"
	"thaw/image/raw"
	"thaw/image/raw/rawtest"
	"thaw/image/unwrap"
)

const mib = 1 << 20

// memory is a device that fails as it is told.
type memory struct {
	mu       sync.Mutex
	data     []byte
	sector   int64
	zeroed   int64
	dropZero bool                             // it forgets to make zeros
	write    func(p []byte, off int64) []byte // what is stored instead; nil for nothing
	read     func(p []byte, off int64)        // changes what is read
	fail     func(op string, off int64) error // before each operation
}

func (m *memory) Size() int64   { return int64(len(m.data)) }
func (m *memory) Sector() int64 { return m.sector }
func (m *memory) Flush() error  { return m.failure("flush", 0) }

func (m *memory) failure(op string, off int64) error {
	if m.fail == nil {
		return nil
	}
	return m.fail(op, off)
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if err := m.failure("read", off); err != nil {
		return 0, err
	}
	n, err := bytes.NewReader(m.data).ReadAt(p, off)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.read != nil {
		m.read(p[:n], off)
	}
	return n, err
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if err := m.failure("write", off); err != nil {
		return 0, err
	}
	if off%m.sector != 0 || int64(len(p))%m.sector != 0 || off+int64(len(p)) > m.Size() {
		return 0, fmt.Errorf("%d bytes at %d", len(p), off)
	}
	if m.write != nil {
		p = m.write(bytes.Clone(p), off)
	}
	copy(m.data[off:], p)
	return len(p), nil
}

func (m *memory) Zero(off, n int64) error {
	if err := m.failure("zero", off); err != nil {
		return err
	}
	if off%m.sector != 0 || n%m.sector != 0 || n <= 0 || off+n > m.Size() {
		return fmt.Errorf("%d zeros at %d", n, off)
	}
	m.zeroed += n
	if !m.dropZero {
		clear(m.data[off : off+n])
	}
	return nil
}

// dirty is a device with something on it everywhere.
func dirty(size int) *memory {
	return &memory{data: bytes.Repeat([]byte{0xdd}, size), sector: 512}
}

type file []byte

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p); need > len(*f) {
		*f = append(*f, make([]byte, need-len(*f))...)
	}
	return copy((*f)[off:], p), nil
}

// plain is an image without a table.
func plain() []byte {
	d := make([]byte, 21*mib+512)
	copy(d, rawtest.Text(5*mib))
	copy(d[13*mib+100:], rawtest.Random(2*mib))
	copy(d[21*mib:], "the end")
	return d
}

func open(t *testing.T, d []byte) *unwrap.Image {
	t.Helper()
	m, err := unwrap.Open(bytes.NewReader(d), int64(len(d)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func quiet(Phase, int64, int64) {}

// forms are the plain image as it is and in other formats.
var forms = sync.OnceValue(func() map[string][]byte {
	d := plain()
	var zst bytes.Buffer
	var q file
	err := errors.Join(raw.Compress(&zst, bytes.NewReader(d), int64(len(d)), raw.Zstd),
		qcow2.Write(&q, bytes.NewReader(d), int64(len(d)), qcow2.Options{Compression: qcow2.Zlib}))
	if err != nil {
		panic(err)
	}
	return map[string][]byte{"raw": d, "zstd": zst.Bytes(), "qcow2": q}
})

// On a device that is larger, or just as large, is the image, whatever was there; zeros
// were not transferred; and old tables at its end are gone.
func TestWrite(t *testing.T) {
	d := plain()
	for name, form := range forms() {
		for _, size := range []int{len(d), len(d) + 512, 24 * mib} {
			m := dirty(size)
			last := map[Phase]int64{}
			var mu sync.Mutex
			out, err := Write(t.Context(), m, open(t, form), func(p Phase, done, total int64) {
				mu.Lock()
				defer mu.Unlock()
				if total >= 0 && (done > total || total != int64(len(d))) {
					t.Errorf("%v: %d of %d", p, done, total)
				}
				last[p] = done
			})
			if err != nil {
				t.Errorf("%s, %d: %v", name, size, err)
				continue
			}
			if !bytes.Equal(m.data[:len(d)], d) {
				t.Errorf("%s, %d: other bytes", name, size)
			}
			if out.Size != int64(len(d)) || out.Digest != sha256.Sum256(d) || out.Backup {
				t.Errorf("%s, %d: %+v", name, size, out)
			}
			if out.Zeros != 8*mib || m.zeroed < out.Zeros {
				t.Errorf("%s, %d: %d zeros were left out, %d made", name, size, out.Zeros, m.zeroed)
			}
			if last[Writing] != out.Size || last[Verifying] != out.Size {
				t.Errorf("%s, %d: it ends at %v", name, size, last)
			}
			if end := m.data[max(len(d), size-tail):]; len(bytes.Trim(end, "\x00")) > 0 {
				t.Errorf("%s, %d: the end of the device is not zeros", name, size)
			}
		}
	}
	// Sectors of 4 KiB, and an image that ends within one.
	m := dirty(24 * mib)
	m.sector = 4096
	if _, err := Write(t.Context(), m, open(t, d), quiet); err != nil || !bytes.Equal(m.data[:len(d)], d) {
		t.Errorf("sectors of 4 KiB: %v", err)
	}
	// Small ones, and zeros alone.
	for _, d := range [][]byte{{1}, make([]byte, 512), make([]byte, 9*mib), rawtest.Text(BlockSize), rawtest.Text(BlockSize + 1)} {
		m := dirty(10 * mib)
		out, err := Write(t.Context(), m, open(t, d), quiet)
		if err != nil || !bytes.Equal(m.data[:len(d)], d) || out.Digest != sha256.Sum256(d) {
			t.Errorf("%d bytes: %v", len(d), err)
		}
	}
}

// What a device does wrong is found, with the place.
func TestBadDevices(t *testing.T) {
	d := plain()
	const at = 14*mib + 777
	within := func(p []byte, off int64) bool { return off <= at && at < off+int64(len(p)) }
	flip := func(p []byte, off int64) []byte {
		if within(p, off) {
			p[at-off] ^= 4
		}
		return p
	}
	once := false
	for _, c := range []struct {
		name string
		bad  *memory
		want string
	}{
		{"a flipped bit", &memory{write: flip}, fmt.Sprintf("at byte %d it holds 0x%02x, and 0x%02x was written", at, d[at]^4, d[at])},
		{"a bit that flips as it is read", &memory{read: func(p []byte, off int64) { flip(p, off) }}, fmt.Sprintf("at byte %d it", at)},
		{"once", &memory{read: func(p []byte, off int64) {
			if within(p, off) && !once {
				once = true
				flip(p, off)
			}
		}}, fmt.Sprintf("in the 4194304 bytes from byte %d on it gave back something else", at/BlockSize*BlockSize)},
		{"a write that is dropped", &memory{write: func(p []byte, off int64) []byte {
			if within(p, off) {
				return nil
			}
			return p
		}}, fmt.Sprintf("at byte %d it holds 0xdd, and 0x00 was written", 12*mib)},
		{"all writes dropped", &memory{write: func([]byte, int64) []byte { return nil }, dropZero: true}, "at byte 0 it holds 0xdd, and 0x00 was written"},
		{"no zeros", &memory{dropZero: true}, "at byte 0 it holds 0xdd, and 0x00 was written"},
		{"a false size", &memory{write: func(p []byte, off int64) []byte {
			if off >= 12*mib {
				return nil
			}
			return p
		}, read: func(p []byte, off int64) {
			if off >= 12*mib {
				clear(p)
			}
		}}, fmt.Sprintf("at byte %d it holds 0x00, and 0x%02x was written", 13*mib+100, d[13*mib+100])},
		{"a bad beginning", &memory{write: func(p []byte, off int64) []byte {
			if off == 0 {
				p[5000] ^= 1
			}
			return p
		}}, fmt.Sprintf("at byte 5000 it holds 0x%02x", d[5000]^1)},
		{"a sector that cannot be written", &memory{fail: func(op string, off int64) error {
			if op == "write" && off == 12*mib {
				return errors.New("input/output error")
			}
			return nil
		}}, "at byte 12582912: input/output error"},
		{"zeros that cannot be made", &memory{fail: func(op string, off int64) error {
			if op == "zero" && off == 16*mib {
				return errors.New("input/output error")
			}
			return nil
		}}, "zeros at byte 16777216: input/output error"},
		{"a sector that cannot be read", &memory{fail: func(op string, off int64) error {
			if op == "read" && off == 12*mib {
				return errors.New("input/output error")
			}
			return nil
		}}, "at 12582912: input/output error"},
	} {
		m := dirty(24 * mib)
		m.write, m.read, m.fail, m.dropZero = c.bad.write, c.bad.read, c.bad.fail, c.bad.dropZero
		_, err := Write(t.Context(), m, open(t, d), quiet)
		var u *UnfinishedError
		if !errors.As(err, &u) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
		}
		if c.bad.write == nil && !c.bad.dropZero && len(bytes.Trim(m.data[:BlockSize], "\x00")) > 0 {
			t.Errorf("%s: the device begins like the image", c.name)
		}
	}
}

// Nothing is touched if the image cannot be written.
func TestRefusals(t *testing.T) {
	d := plain()
	gpt := bytes.Clone(d)
	copy(gpt[512:], "EFI PART")
	f := forms()
	damaged := bytes.Clone(f["zstd"])
	damaged[len(damaged)-5] ^= 1
	for _, c := range []struct {
		name   string
		image  []byte
		size   int
		sector int64
		want   string
	}{
		{"small", d, len(d) - 512, 512, "it has 22020096 bytes, and the image has 22020608"},
		{"small for what is compressed", f["zstd"], len(d) - 512, 512, "it has 22020096 bytes, and the image is larger"},
		{"small for a qcow2", f["qcow2"], len(d) - 512, 512, "it has 22020096 bytes, and the image has 22020608"},
		{"damaged", damaged, 24 * mib, 512, "zstd: "},
		{"other sectors", gpt, 24 * mib, 4096, "its sectors have 4096 bytes, and the image's partition table is for sectors of 512"},
	} {
		m := dirty(c.size)
		m.sector = c.sector
		_, err := Write(t.Context(), m, open(t, c.image), quiet)
		var u *UnfinishedError
		if err == nil || errors.As(err, &u) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if len(bytes.Trim(m.data, "\xdd")) > 0 {
			t.Errorf("%s: the device was written to", c.name)
		}
	}
}

// After an interruption the device does not look like the image, and a second run
// makes it right.
func TestInterrupted(t *testing.T) {
	d := plain()
	enough := errors.New("enough")
	for _, c := range []struct {
		phase Phase
		done  int64
	}{
		{Checking, BlockSize}, {Writing, BlockSize}, {Verifying, BlockSize},
		{Verifying, int64(len(d))}, // when the last block is being read
	} {
		phase := c.phase
		m := dirty(24 * mib)
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := Write(ctx, m, open(t, forms()["zstd"]), func(p Phase, done, total int64) {
			if p == phase && done >= c.done {
				cancel(enough)
			}
		})
		var u *UnfinishedError
		if !errors.Is(err, enough) || errors.As(err, &u) != (phase != Checking) {
			t.Errorf("%v: %v", phase, err)
		}
		if begins := bytes.Trim(m.data[:BlockSize], "\x00"); phase != Checking && len(begins) > 0 {
			t.Errorf("%v: the device begins with something", phase)
		}
		if _, err := Write(t.Context(), m, open(t, d), quiet); err != nil || !bytes.Equal(m.data[:len(d)], d) {
			t.Errorf("%v: the second time: %v", phase, err)
		}
	}
}

// A partition table whose backup is not at the end is told of, and tables are known.
func TestTables(t *testing.T) {
	gpt := make([]byte, 8*mib)
	copy(gpt[512:], "EFI PART")
	for size, want := range map[int]bool{8 * mib: false, 9 * mib: true} {
		out, err := Write(t.Context(), dirty(size), open(t, gpt), quiet)
		if err != nil || out.Backup != want {
			t.Errorf("%d: %+v, %v", size, out, err)
		}
	}
	mbr := make([]byte, mib)
	mbr[446+4], mbr[510], mbr[511] = 0x83, 0x55, 0xaa
	iso := make([]byte, mib)
	copy(iso[32769:], "CD001")
	fat := bytes.Clone(mbr)
	copy(fat[54:], "FAT16   ")
	for name, c := range map[string]struct {
		d    []byte
		want bool
	}{"gpt": {gpt, true}, "mbr": {mbr, true}, "iso": {iso, true}, "fat": {fat, false}, "nothing": {plain(), false}, "a byte": {[]byte{1}, false}} {
		if got := Table(open(t, c.d)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
