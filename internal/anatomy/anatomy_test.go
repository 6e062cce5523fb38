package anatomy

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thaw/internal/testbed"
)

// content is what a file of the test tree holds: no part of it is like another, and it
// cannot be compressed.
func content(name string, size int) []byte {
	var seed [32]byte
	copy(seed[:], name)
	b := make([]byte, size)
	rand.NewChaCha8(seed).Read(b)
	return b
}

// The files of the test tree.
var files = map[string]int{
	"bin/hello":          300_000,
	"etc/small":          100,
	"share/doc/a/b/text": 5000,
}

// makeTree writes the test tree.
func makeTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, size := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content(name, size), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// image is an image in memory and what At says of it.
type image []byte

func open(t *testing.T, path string) image {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (m image) at(off int64) string { return At(bytes.NewReader(m), int64(len(m)), off) }

// says checks what is at an offset.
func (m image) says(t *testing.T, off int64, want string) {
	t.Helper()
	if got := m.at(off); got != want {
		t.Errorf("at %d: %q, want %q", off, got, want)
	}
}

// find returns where something is, which must be there.
func (m image) find(t *testing.T, what []byte) int64 {
	t.Helper()
	i := bytes.Index(m, what)
	if i < 0 {
		t.Fatalf("%.40q is not in the image", what)
	}
	return int64(i)
}

// holds checks that the contents of all files, which lie in the image as they are, are
// known: what is said ends in words that have the path and the byte in it.
func (m image) holds(t *testing.T, want func(path string, pos int) string) {
	t.Helper()
	for name, size := range files {
		all := content(name, size)
		for _, pos := range []int{0, size / 2, size - 40} {
			off := m.find(t, all[pos:pos+40])
			if got := m.at(off); !strings.HasSuffix(got, want(name, pos)) {
				t.Errorf("byte %d of %s, at %d: %q, want …%q", pos, name, off, got, want(name, pos))
			}
		}
	}
}

// sections checks that each of some words is said of some byte of the image: of those
// at its ends, or at the beginning of a sector or of some pages.
func (m image) sections(t *testing.T, want []string) {
	t.Helper()
	said := map[string]bool{}
	end := int64(len(m))
	for off := int64(0); off < end; {
		step := int64(512)
		if off >= 512<<10 {
			step = 8192
		}
		s := m.at(off)
		for _, w := range want {
			said[w] = said[w] || strings.Contains(s, w)
		}
		if off < 1024 || off >= end-1024 {
			off += 4
		} else {
			off = min((off/step+1)*step, max(off+4, end-1024))
		}
	}
	for _, w := range want {
		if !said[w] {
			t.Errorf("of no byte is said that it is %q", w)
		}
	}
}

// damaged asks about copies of the image that have bytes changed. There is an answer, and
// soon.
func (m image) damaged(t *testing.T) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	head := min(len(m), 16<<10)
	b := bytes.Clone(m)
	for range 60 {
		copy(b, m[:head])
		for range 1 + rnd.IntN(40) {
			b[rnd.IntN(head)] = []byte{0, 0xff, 0x80, 1, byte(rnd.Uint32())}[rnd.IntN(5)]
		}
		for range 4 {
			off := rnd.Int64N(int64(len(b)))
			if s := at(bytes.NewReader(b), int64(len(b)), off, 1<<16); s == "" || strings.Contains(s, "\n") {
				t.Fatalf("at %d: %q", off, s)
			}
		}
	}
}

// makeExt4 makes a file system of 8 MiB of the test tree.
func makeExt4(t *testing.T, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ext4")
	testbed.Run(t, "mkfs.ext4", append(append([]string{"-q", "-d", makeTree(t)}, args...), path, "8M")...)
	return path
}

func TestUnknown(t *testing.T) {
	m := image(strings.Repeat("rubbish ", 1000))
	m.says(t, 17, "unknown format: byte 17")
	m.says(t, -1, "beyond the end")
	m.says(t, 8000, "beyond the end")
	for magic, want := range map[string]string{
		"\x1f\x8b\x08":     "gzip: byte 7 of 100, compressed",
		"\x28\xb5\x2f\xfd": "zstd: byte 7 of 100, compressed",
		"\xfd7zXZ\x00":     "xz: byte 7 of 100, compressed",
	} {
		image(magic+strings.Repeat("x", 100-len(magic))).says(t, 7, want)
	}
}

// A disk of an exabyte in clusters of 512 bytes, none of which is there, took years to go
// through: nothing was read, and only reading counted as work.
func TestEnds(t *testing.T) {
	m := make(image, 8192)
	copy(m, "QFI\xfb\x00\x00\x00\x02")
	m[23], m[24], m[46] = 9, 0x10, 4 // bits of a cluster's size, the disk's size, place of the L1 table
	m.says(t, 4096, "qcow2: cluster of no table")
}

func TestDiffer(t *testing.T) {
	const size = 3<<20 + 17
	base := content("base", size)
	for _, off := range []int{0, 1, 1<<20 - 1, 1 << 20, size - 1} {
		b := bytes.Clone(base)
		b[off]++
		got, ok, err := Differ(bytes.NewReader(base), bytes.NewReader(b), size, size)
		if got != int64(off) || !ok || err != nil {
			t.Errorf("byte %d: %d, %v, %v", off, got, ok, err)
		}
	}
	r := bytes.NewReader(base)
	for _, test := range []struct {
		a, b int64
		off  int64
		ok   bool
		err  string
	}{
		{size, size, size, false, ""},
		{size, 100, 100, true, ""},
		{0, size, 0, true, ""},
		{0, 0, 0, false, ""},
		{size, size + 1, size, true, ""},
		{size + 1, size + 1, 0, false, fmt.Sprintf("first image: it ends at byte %d: unexpected EOF", size)},
	} {
		off, ok, err := Differ(r, r, test.a, test.b)
		if off != test.off || ok != test.ok || fmt.Sprint(err) != test.err && (err != nil || test.err != "") {
			t.Errorf("%d and %d bytes: %d, %v, %v", test.a, test.b, off, ok, err)
		}
	}
}

// FuzzAt wants an answer of one line in any case.
func FuzzAt(f *testing.F) {
	pad := func(s string, off int, what string) string {
		return s + strings.Repeat("\x00", off-len(s)) + what
	}
	for _, seed := range []string{
		"", "QFI\xfb", "KDMV", "conectix", "vhdxfile", pad("", 64, "\x7f\x10\xda\xbe"), "hsqs", "070701", "\x1f\x8b\x08",
		pad("", 1024, "\xe2\xe1\xf5\xe0"), pad("", 1080, "\x53\xef"), pad("", 257, "ustar\x0000"), pad("\xeb", 510, "\x55\xaa"),
		pad("", 512, "EFI PART"), pad("", 16*isoSector, "\x01CD001\x01"), pad("", 450, "\x83"),
	} {
		f.Add([]byte(seed+strings.Repeat("\x00", 2048)), int64(len(seed)))
	}
	f.Fuzz(func(t *testing.T, b []byte, off int64) {
		if s := at(bytes.NewReader(b), int64(len(b)), off, 1<<16); s == "" || strings.Contains(s, "\n") {
			t.Errorf("%q", s)
		}
	})
}
