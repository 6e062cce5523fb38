package vhd_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thaw/image/raw"
	"thaw/image/raw/rawtest"
	"thaw/image/vhd"
	"thaw/internal/testbed"
)

var options = vhd.Options{UUID: [16]byte{1, 2, 15: 3}, Time: 1_700_000_000}

var dynamic = rawtest.Format{
	Name: "vpc", Block: 2 << 20, MaxSize: vhd.MaxSize,
	Digest: "447c7e50a5c6574381c8b562b165e1dcfdc3017aef5a982a4773cffd2afcd957",
	Write: func(w *os.File, r io.ReaderAt, size int64) error {
		return vhd.Write(w, r, size, options)
	},
	NewWriter: func(w io.WriterAt, _ int64) (*raw.Writer, error) { return vhd.NewWriter(w, options) },
}

var fixed = rawtest.Format{
	Name: "vpc", Block: 64 << 10, MaxSize: 1 << 30,
	Digest: "0e70e99187033966a658c17b4471151c2ce01ab7a2782886a1267e1aa8f0ae00",
	Write: func(w *os.File, r io.ReaderAt, size int64) error {
		return writeFixed(w, r, size, options)
	},
}

// writeFixed puts a footer behind the disk.
func writeFixed(w *os.File, r io.ReaderAt, size int64, o vhd.Options) error {
	m, err := raw.New(r, size)
	if err != nil {
		return err
	}
	footer, err := vhd.Footer(m.Size(), o)
	if err != nil {
		return err
	}
	if _, err := m.WriteTo(w); err != nil {
		return err
	}
	_, err = w.Write(footer)
	return err
}

func TestConformance(t *testing.T) {
	t.Run("dynamic", func(t *testing.T) { rawtest.Run(t, dynamic) })
	t.Run("fixed", func(t *testing.T) { rawtest.Run(t, fixed) })
}

// A footer makes a fixed image of a raw one, whose geometry is the one of qemu-img
// where that has made the size fit it.
func TestFooter(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int64{1, 30_000, 1 << 20, 10 << 20, 36 << 20, 127 << 20, 504 << 20, 505 << 20, 5 << 30, 31 << 30, 33 << 30, 126 << 30, 128 << 30, 2000 << 30} {
		theirs := filepath.Join(dir, fmt.Sprint(size))
		testbed.Run(t, "qemu-img", "create", "-f", "vpc", "-o", "subformat=fixed", theirs, fmt.Sprint(size))
		f, err := os.OpenFile(theirs, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, 512)
		fits := info.Size() - 512
		if _, err := f.ReadAt(want, fits); err != nil {
			t.Fatal(err)
		}
		got, err := vhd.Footer(fits, options)
		if err != nil {
			t.Fatal(err)
		}
		// The size that was asked for differs, and what is not of the
		// disk: the maker, the time, the UUID, and with them the checksum.
		for _, field := range []struct {
			name     string
			from, to int
		}{{"cookie, features, version, offset", 0, 24}, {"size", 48, 56}, {"geometry", 56, 60}, {"type", 60, 64}, {"rest", 84, 512}} {
			if g, w := got[field.from:field.to], want[field.from:field.to]; !bytes.Equal(g, w) {
				t.Errorf("%d bytes: %s %x, and qemu-img's %x", fits, field.name, g, w)
			}
		}

		// Without rounding.
		size = (size + 511) / 512 * 512
		raw := filepath.Join(dir, "raw")
		if err := os.WriteFile(raw, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(raw, size); err != nil {
			t.Fatal(err)
		}
		if got, err = vhd.Footer(size, options); err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(got, size); err != nil {
			t.Fatal(err)
		}
		fixed.Judge(t, theirs, raw, size)
	}
}

func TestOptions(t *testing.T) {
	sector := make([]byte, 512)
	for _, test := range []struct {
		o    vhd.Options
		want string
	}{
		{vhd.Options{Time: 1}, "vhd: the UUID is missing"},
		{vhd.Options{UUID: options.UUID, Time: vhd.MaxTime + 1}, "vhd: time 5241652096: up to 5241652095"},
	} {
		_, err := vhd.Footer(512, test.o)
		_, err2 := vhd.NewWriter(nil, test.o)
		for _, err := range []error{err, err2, vhd.Write(nil, bytes.NewReader(sector), 512, test.o)} {
			if err == nil || err.Error() != test.want {
				t.Errorf("%v; want %s", err, test.want)
			}
		}
	}
	for _, size := range []int64{-512, 0, 511, 513, vhd.MaxSize + 512} {
		if _, err := vhd.Footer(size, options); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%d bytes", size)) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	// Seconds count from 2000 on, and none before.
	for at, want := range map[int64]string{-5: "00000000", 1: "00000000", 946684801: "00000001", vhd.MaxTime: "ffffffff"} {
		f, err := vhd.Footer(512, vhd.Options{UUID: options.UUID, Time: at})
		if err != nil || fmt.Sprintf("%x", f[24:28]) != want {
			t.Errorf("time %d: %x, %v", at, f[24:28], err)
		}
	}
}

// Where one more cylinder would be too many, a track has more sectors.
func TestGeometry(t *testing.T) {
	for sectors, want := range map[int64]string{
		17*4*1024 - 1:     "03ff0411",
		17 * 4 * 1024:     "008c101f",
		31*16*1024 - 1:    "03ff101f",
		31 * 16 * 1024:    "01f7103f",
		63*16*65535 - 1:   "fffe103f",
		63 * 16 * 65535:   "3f3f10ff",
		255 * 16 * 65535:  "ffff10ff",
		vhd.MaxSize / 512: "ffff10ff",
	} {
		f, err := vhd.Footer(512*sectors, options)
		if got := fmt.Sprintf("%x", f[56:60]); err != nil || got != want {
			t.Errorf("%d sectors: cylinders, heads and sectors %s, not %s: %v", sectors, got, want, err)
		}
	}
}
