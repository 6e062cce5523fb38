package unwrap_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thaw/image/qcow2"
	"thaw/image/raw"
	"thaw/image/raw/rawtest"
	"thaw/image/unwrap"
	"thaw/image/vdi"
	"thaw/image/vhd"
	"thaw/image/vhdx"
	"thaw/image/vmdk"
	"thaw/internal/testbed"
)

const mib = 1 << 20

// disk returns the content of a disk: what packs, what does not, zeros, and no whole
// blocks.
func disk() []byte {
	d := make([]byte, 11*mib+1536)
	copy(d, rawtest.Text(2*mib+5000))
	copy(d[5*mib-7:], rawtest.Random(mib))
	copy(d[8*mib+512:], "something")
	copy(d[len(d)-1000:], rawtest.Text(1000))
	return d
}

// ours are images that thaw writes.
var ours = map[string]func(w *os.File, r io.ReaderAt, size int64) error{
	"qcow2":      qcow(qcow2.None),
	"qcow2 zlib": qcow(qcow2.Zlib),
	"qcow2 zstd": qcow(qcow2.Zstd),
	"vhd":        func(w *os.File, r io.ReaderAt, size int64) error { return vhd.Write(w, r, size, vhd.Options{UUID: id}) },
	"vhd fixed": func(w *os.File, r io.ReaderAt, size int64) error {
		end := (size + raw.SectorSize - 1) / raw.SectorSize * raw.SectorSize
		footer, err := vhd.Footer(end, vhd.Options{UUID: id})
		if err != nil {
			return err
		}
		rest := make([]byte, end-size)
		_, err = io.Copy(w, io.MultiReader(io.NewSectionReader(r, 0, size), bytes.NewReader(rest), bytes.NewReader(footer)))
		return err
	},
	"vdi": func(w *os.File, r io.ReaderAt, size int64) error {
		return vdi.Write(w, r, size, vdi.Options{UUID: id, Modified: id})
	},
	"vhdx": func(w *os.File, r io.ReaderAt, size int64) error {
		return vhdx.Write(w, r, size, vhdx.Options{UUID: id, FileWrite: id, DataWrite: id})
	},
	"vmdk": func(w *os.File, r io.ReaderAt, size int64) error {
		return vmdk.Write(w, r, size, vmdk.Options{UUID: id})
	},
	"raw gzip": packed(raw.Gzip),
	"raw zstd": packed(raw.Zstd),
	"raw xz":   packed(raw.XZ),
	"raw": func(w *os.File, r io.ReaderAt, size int64) error {
		_, err := io.Copy(w, io.NewSectionReader(r, 0, size))
		return err
	},
}

var id = [16]byte{1, 15: 2}

func qcow(c qcow2.Compression) func(*os.File, io.ReaderAt, int64) error {
	return func(w *os.File, r io.ReaderAt, size int64) error {
		return qcow2.Write(w, r, size, qcow2.Options{Compression: c})
	}
}

func packed(c raw.Compression) func(*os.File, io.ReaderAt, int64) error {
	return func(w *os.File, r io.ReaderAt, size int64) error { return raw.Compress(w, r, size, c) }
}

// open opens an image in a file.
func open(t testing.TB, path string) (*unwrap.Image, error) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return unwrap.Open(f, st.Size())
}

// holds says that the disk of an image is d, read block by block and in odd pieces.
func holds(t *testing.T, m *unwrap.Image, d []byte) {
	t.Helper()
	got := make([]byte, len(d))
	const size = 3 * 65536 // of no format
	for b, err := range m.Blocks(size, func() (raw.Packer, error) {
		return func(buf, data []byte) ([]byte, error) { h := sha256.Sum256(data); return append(buf, h[:]...), nil }, nil
	}) {
		if err != nil {
			t.Fatal(err)
		}
		if h := sha256.Sum256(b.Data); !bytes.Equal(b.Packed, h[:]) {
			t.Errorf("block %d was not packed", b.Index)
		}
		copy(got[b.Index*size:], b.Data)
	}
	if m.Size() != int64(len(d)) {
		t.Errorf("a disk of %d bytes instead of %d", m.Size(), len(d))
	}
	if !bytes.Equal(got, d) {
		t.Error("blocks: other bytes")
	}
	places := []int64{int64(len(d)) - 700, 0, 1, 65535, 5*mib - 10, 6*mib - 100}
	if m.Compression != "" {
		places = places[:2] // each is read from the beginning
	}
	for _, at := range places {
		p := make([]byte, 100_000)
		n, err := m.ReadAt(p, at)
		if want := min(len(p), len(d)-int(at)); n != want || (n < len(p)) != (err == io.EOF) || !bytes.Equal(p[:n], d[at:int(at)+n]) {
			t.Errorf("at %d: %d bytes instead of %d, or other ones: %v", at, n, want, err)
		}
	}
	if n, err := m.ReadAt(make([]byte, 1), int64(len(d))); n != 0 || err != io.EOF {
		t.Errorf("beyond the end: %d, %v", n, err)
	}
}

// write makes an image.
func write(t testing.TB, make func(*os.File, io.ReaderAt, int64) error, d []byte) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := make(f, bytes.NewReader(d), int64(len(d))); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// What thaw writes comes back, and qemu-img reads the same out of it.
func TestOurs(t *testing.T) {
	d := disk()
	for name, make := range ours {
		t.Run(name, func(t *testing.T) {
			path := write(t, make, d)
			m, err := open(t, path)
			if err != nil {
				t.Fatal(err)
			}
			format, compression, _ := strings.Cut(name, " ")
			if m.Format != format || format == "raw" && m.Compression != compression {
				t.Errorf("it is %s %s", m.Format, m.Compression)
			}
			holds(t, m, d)
			if m.Compression == "" {
				judged(t, format, path, d)
			}
		})
	}
}

// judged says that qemu-img reads the same.
func judged(t *testing.T, format, path string, d []byte) {
	t.Helper()
	if format == "vhd" {
		format = "vpc"
	}
	testbed.Run(t, "qemu-img", "convert", "-f", format, "-O", "raw", path, path+".out")
	if got, err := os.ReadFile(path + ".out"); err != nil || !bytes.Equal(got, d) {
		t.Errorf("qemu-img reads %d other bytes: %v", len(got), err)
	}
}

// theirs are images that qemu-img writes: the arguments of its convert.
var theirs = []string{
	"-O qcow2", "-c -O qcow2", "-O qcow2 -o compat=0.10", "-c -O qcow2 -o compat=0.10", "-c -O qcow2 -o compression_type=zstd",
	"-O qcow2 -o cluster_size=512", "-c -O qcow2 -o cluster_size=2M", "-O qcow2 -o preallocation=metadata", "-O qcow2 -o lazy_refcounts=on",
	"-O vpc -o force_size=on", "-O vpc -o subformat=fixed,force_size=on", "-O vpc", "-O vhdx", "-O vhdx -o subformat=fixed", "-O vhdx -o block_size=8M",
	"-O vdi", "-O vdi -o static=on", "-O vmdk", "-O vmdk -o subformat=streamOptimized", "-O vmdk -o zeroed_grain=on",
}

func TestTheirs(t *testing.T) {
	d := disk()
	dir := t.TempDir()
	in := filepath.Join(dir, "raw")
	if err := os.WriteFile(in, d, 0o666); err != nil {
		t.Fatal(err)
	}
	for i, args := range theirs {
		t.Run(args, func(t *testing.T) {
			path := filepath.Join(dir, fmt.Sprint(i))
			f := append(append([]string{"convert", "-f", "raw"}, strings.Fields(args)...), in, path)
			testbed.Run(t, "qemu-img", f...)
			m, err := open(t, path)
			if err != nil {
				t.Fatal(err)
			}
			want := d
			if more := m.Size() - int64(len(d)); more > 0 && more < mib { // some formats round up
				want = append(bytes.Clone(d), make([]byte, more)...)
				judged(t, m.Format, path, want)
			}
			holds(t, m, want)
		})
	}
}

// What cannot be read is said in one line that says what to do.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "image")
	if err := os.WriteFile(filepath.Join(dir, "base.qcow2"), write0(t), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{"create -f qcow2 -b base.qcow2 -F qcow2 image", "qcow2: it is a difference to a backing file: put"},
		{"create -f qcow2 -o extended_l2=on image 1M", "qcow2: it has extended entries"},
		{"create -f qcow2 -o data_file=other image 1M", "qcow2: its content is in another file"},
		{"create -f qcow image 1M", "it is a qcow image of version 1"},
		{"create -f qed image 1M", "it is a QED image"},
		{"create -f parallels image 1M", "it is a Parallels image"},
		{"create -f vmdk -o subformat=monolithicFlat image 1M", "it is the descriptor of a VMDK"},
	} {
		os.Remove(path)
		cmd := exec.Command(testbed.Tool(t, "qemu-img"), strings.Fields(c.args)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", c.args, err, out)
		}
		if _, err := open(t, path); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v", c.args, err)
		}
	}
	var tar bytes.Buffer
	tar.Write(make([]byte, 1024))
	copy(tar.Bytes()[257:], "ustar")
	encrypted := write0(t)
	encrypted[35] = 2 // crypt_method: LUKS. qemu-img times the CPU for its keys, and fails where that is too coarse.
	for _, c := range []struct {
		data []byte
		want string
	}{
		{encrypted, "qcow2: it is encrypted"},
		{nil, "an image of 0 bytes: it has 1 to"},
		{[]byte("PK\x03\x04 and more"), "it is a zip archive: unpack it first"},
		{tar.Bytes(), "it is a tar archive"},
		{[]byte("KDMV"), "vmdk: the file of 4 bytes ends before byte 0"},
	} {
		if _, err := unwrap.Open(bytes.NewReader(c.data), int64(len(c.data))); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%.10q: %v", c.data, err)
		}
	}
}

func write0(t *testing.T) []byte {
	b, err := os.ReadFile(write(t, ours["qcow2"], make([]byte, mib)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// all reads a whole disk.
func all(m *unwrap.Image) (n int64, err error) {
	for _, err := range m.Blocks(mib, nil) {
		if err != nil {
			return 0, err
		}
	}
	return m.Size(), nil
}

// A file that is cut off is never taken for a whole one, unless what is missing is not
// of the disk.
func TestCutOff(t *testing.T) {
	d := disk()
	for name, make := range ours {
		if name == "raw" {
			continue // nobody can know
		}
		whole, err := os.ReadFile(write(t, make, d))
		if err != nil {
			t.Fatal(err)
		}
		for _, cut := range []int{1, 600, len(whole) / 2, len(whole) - 2000} {
			short := whole[:len(whole)-cut]
			m, err := unwrap.Open(bytes.NewReader(short), int64(len(short)))
			if err == nil && m.Format == "raw" && m.Compression == "" && name == "vhd fixed" {
				continue // the raw image is left, without the footer
			}
			if err == nil {
				_, err = all(m)
			}
			if err == nil {
				if cut > 600 {
					t.Errorf("%s: %d of %d bytes cut off: no error", name, cut, len(whole))
				}
				holds(t, m, d)
			}
		}
	}
}

// A compressed image ends at its limit, and holds no other image.
func TestStreams(t *testing.T) {
	path := write(t, packed(raw.Zstd), make([]byte, 64*mib))
	m, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	m.Limit = 64*mib - 1
	var limit unwrap.LimitError
	if _, err := all(m); !errors.As(err, &limit) || err.Error() != "zstd: it expands to more than 67108863 bytes" || m.Size() != -1 {
		t.Errorf("over the limit: %v", err)
	}
	m.Limit = 64 * mib
	if n, err := all(m); err != nil || n != 64*mib {
		t.Errorf("at the limit: %d, %v", n, err)
	}
	inner := append(write0(t), make([]byte, 100)...)
	if m, err = open(t, write(t, packed(raw.Gzip), inner)); err != nil {
		t.Fatal(err)
	}
	if _, err := all(m); err == nil || err.Error() != "gzip: it holds a qcow2 image: decompress it first" {
		t.Errorf("an image within gzip: %v", err)
	}
}

// Whatever is in a file: no panic, no memory out of proportion, and an end.
func FuzzOpen(f *testing.F) {
	d := append(rawtest.Text(100_000), make([]byte, 300_000)...)
	for _, make := range ours {
		b, err := os.ReadFile(write(f, make, d))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:min(len(b), 400_000)], uint32(0), byte(0))
		f.Add(b, uint32(40), byte(0xff))
	}
	f.Fuzz(func(t *testing.T, file []byte, at uint32, to byte) {
		if len(file) > 0 {
			file = bytes.Clone(file)
			file[int(at)%len(file)] ^= to
		}
		m, err := unwrap.Open(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		m.Limit = 8 * mib
		if size := m.Size(); size >= 0 {
			for _, off := range []int64{0, 1000, size / 2, size - 1000} {
				m.ReadAt(make([]byte, 2000), max(0, off))
			}
		}
		if m.Size() <= 8*mib {
			all(m)
		}
	})
}
