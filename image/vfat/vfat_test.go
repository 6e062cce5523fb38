package vfat_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/image/vfat"
	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

var noon = time.Date(2001, 2, 3, 12, 34, 56, 0, time.UTC)

// entry is an entry with its content, which is zeros if there is none.
type entry struct {
	rootfs.Entry
	content string
}

func dir(path string) entry { return entry{Entry: rootfs.Entry{Path: path, Mode: fs.ModeDir | 0o755}} }
func file(path string, size int64) entry {
	return entry{Entry: rootfs.Entry{Path: path, Mode: 0o644, Size: size}}
}

func text(path, content string) entry {
	e := file(path, int64(len(content)))
	e.content = content
	return e
}

func sample() []entry {
	return []entry{
		dir("."), text("README", "read me\n"), dir("EFI"), dir("EFI/BOOT"), text("EFI/BOOT/BOOTX64.EFI", strings.Repeat("loader", 20_000)),
		text("EFI/BOOT/bootaa64.efi", "another"), dir("empty"), file("nothing", 0), text("a long name with a \u00fc", "x"),
	}
}

// zeros are any number of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// write adds entries, with a time where they have none.
func write(w *vfat.Writer, entries []entry) error {
	for _, e := range entries {
		if e.ModTime.IsZero() {
			e.ModTime = noon
		}
		var data io.Reader
		if e.Kind() == 0 {
			data = zeros{}
			if e.content != "" {
				data = strings.NewReader(e.content)
			}
		}
		if err := w.Add(e.Entry, data); err != nil {
			return err
		}
	}
	return w.Close()
}

// build writes an image and returns its name.
func build(t *testing.T, o vfat.Options, entries []entry) (string, error) {
	t.Helper()
	if o.Serial == 0 {
		o.Serial = 0x1234abcd
	}
	path := filepath.Join(t.TempDir(), imageName)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := vfat.NewWriter(f, o)
	if err != nil {
		return path, err
	}
	if err := write(w, entries); err != nil {
		return path, err
	}
	return path, f.Truncate(w.Size())
}

// mustBuild has an image judged and read, and compares it with the entries.
func mustBuild(t *testing.T, o vfat.Options, entries []entry) *volume {
	t.Helper()
	path, err := build(t, o, entries)
	if err != nil {
		t.Fatal(err)
	}
	return verify(t, path, entries)
}

func verify(t *testing.T, path string, entries []entry) *volume {
	t.Helper()
	if err := check(testbed.Tool(t, "fsck.vfat"), path); err != nil {
		t.Fatal(err)
	}
	v, got, err := readImage(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != int64(v.sectors*v.sector) {
		t.Errorf("%v: %d bytes, and %d sectors", err, info.Size(), v.sectors)
	}
	if err := rootfstest.Diff(abilities(), nodes(entries), got); err != nil {
		t.Error(err)
	}
	return v
}

// nodes is what an image of the entries holds.
func nodes(entries []entry) []rootfstest.Node {
	want := []rootfstest.Node{root}
	for _, e := range entries[1:] {
		if e.ModTime.IsZero() {
			e.ModTime = noon
		}
		n := rootfstest.Node{Entry: e.Entry}
		if e.Kind() == 0 {
			r := io.LimitReader(zeros{}, e.Size)
			if e.content != "" {
				r = strings.NewReader(e.content)
			}
			n.SHA256, _, _ = rootfstest.Digest(r)
		}
		want = append(want, n)
	}
	return want
}

// TestTables checks types and clusters against Microsoft's tables.
func TestTables(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		o             vfat.Options
		bits, cluster int
	}{
		{o: vfat.Options{Size: 160 * kib}, bits: 12, cluster: 512},
		{o: vfat.Options{Size: 1440 * kib}, bits: 12, cluster: 512},
		{o: vfat.Options{Size: 2880 * kib}, bits: 12, cluster: 1 * kib},
		{o: vfat.Options{Size: 4 * mib}, bits: 12, cluster: 1 * kib},
		{o: vfat.Options{Size: 5 * mib}, bits: 16, cluster: 1 * kib},
		{o: vfat.Options{Size: 32680 * 512}, bits: 16, cluster: 1 * kib},
		{o: vfat.Options{Size: 32681 * 512}, bits: 16, cluster: 2 * kib},
		{o: vfat.Options{Size: 128 * mib}, bits: 16, cluster: 2 * kib},
		{o: vfat.Options{Size: 128*mib + 512}, bits: 16, cluster: 4 * kib},
		{o: vfat.Options{Size: 256 * mib}, bits: 16, cluster: 4 * kib},
		{o: vfat.Options{Size: 512 * mib}, bits: 16, cluster: 8 * kib},
		{o: vfat.Options{Size: 512*mib + 512}, bits: 32, cluster: 4 * kib},
		{o: vfat.Options{Size: 9 * gib}, bits: 32, cluster: 8 * kib},
		{o: vfat.Options{Size: 17 * gib}, bits: 32, cluster: 16 * kib},
		{o: vfat.Options{Size: 33 * gib}, bits: 32, cluster: 32 * kib},
		{o: vfat.Options{Size: 34 * mib, Bits: 32}, bits: 32, cluster: 512},
		{o: vfat.Options{Size: 261 * mib, Bits: 32}, bits: 32, cluster: 4 * kib},
		{o: vfat.Options{Size: 3 * mib, Bits: 16}, bits: 16, cluster: 512},
		{o: vfat.Options{Size: 600 * mib, Bits: 16}, bits: 16, cluster: 16 * kib},
		{o: vfat.Options{Size: 2047 * mib, Bits: 16}, bits: 16, cluster: 32 * kib},
		{o: vfat.Options{Size: 100 * mib, Bits: 12}, bits: 12, cluster: 32 * kib},
		{o: vfat.Options{Size: 3*mib + 511}, bits: 12, cluster: 1 * kib},
		{o: vfat.Options{Size: 3 * mib, SectorSize: 4096}, bits: 12, cluster: 4 * kib},
		{o: vfat.Options{Size: 100 * mib, SectorSize: 4096}, bits: 16, cluster: 4 * kib},
		{o: vfat.Options{Size: 600 * mib, SectorSize: 4096}, bits: 32, cluster: 4 * kib},
		{o: vfat.Options{Size: 20 * mib, SectorSize: 1024}, bits: 16, cluster: 2 * kib},
		{o: vfat.Options{Size: 260 * mib, SectorSize: 2048, Bits: 32}, bits: 32, cluster: 2 * kib},
		{o: vfat.Options{Size: 3 * mib, ClusterSize: 512}, bits: 16, cluster: 512},
		{o: vfat.Options{}, bits: 12, cluster: 4 * kib}, // its size is open
		{o: vfat.Options{Bits: 16}, bits: 16, cluster: 4 * kib},
		{o: vfat.Options{Bits: 12, Label: "BOOT"}, bits: 12, cluster: 4 * kib},
		{o: vfat.Options{Bits: 32, Label: "\u007e!#$%&'()-@"}, bits: 32, cluster: 4 * kib},
		{o: vfat.Options{Bits: 32, SectorSize: 4096}, bits: 32, cluster: 4 * kib},
		{o: vfat.Options{Capacity: 20 * mib}, bits: 12, cluster: 2 * kib},
		{o: vfat.Options{Free: 20 * mib}, bits: 16, cluster: 4 * kib},
		{o: vfat.Options{Free: 300 * mib}, bits: 32, cluster: 4 * kib},
		{o: vfat.Options{FreePercent: 300}, bits: 12, cluster: 4 * kib},
		{o: vfat.Options{Capacity: 100 * gib}, bits: 12, cluster: 32 * kib},
	} {
		t.Run(fmt.Sprintf("%+v", test.o), func(t *testing.T) {
			test.o.HiddenSectors, test.o.Serial = 2048, 0xfedcba98
			v := mustBuild(t, test.o, sample())
			if v.bits != test.bits || v.cluster != test.cluster {
				t.Errorf("FAT%d, clusters of %d", v.bits, v.cluster)
			}
			size := int64(v.sectors * v.sector)
			if test.o.Size > 0 && size != test.o.Size&^int64(v.sector-1) {
				t.Errorf("%d bytes", size)
			}
			if v.label != test.o.Label || v.serial != test.o.Serial || v.hidden != 2048 {
				t.Errorf("label %q, serial number %x, %d hidden sectors", v.label, v.serial, v.hidden)
			}
			if want := max(test.o.Free, size*int64(test.o.FreePercent)/int64(100+test.o.FreePercent)); int64(v.free*v.cluster) < want {
				t.Errorf("%d bytes are free, not %d", v.free*v.cluster, want)
			}
		})
	}
}

// TestBorders checks what lies beside the numbers of clusters where a type ends.
func TestBorders(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ sectors, bits, clusters, used int }{ // with clusters of 512 bytes
		{4147, 12, 4083, 4147},
		{4148, 12, 4084, 4148},
		{4149, 12, 4084, 4148}, // more would be FAT16, whose tables leave less than that must have
		{4156, 12, 4084, 4148},
		{4157, 16, 4085, 4157},
		{4158, 16, 4086, 4158},
		{66076, 16, 65524, 66076},
		{66077, 16, 65524, 66076},
		{66580, 16, 65524, 66076},
		{66581, 32, 65525, 66581},
		{66582, 32, 65526, 66582},
	} {
		v := mustBuild(t, vfat.Options{Size: int64(test.sectors) * 512, ClusterSize: 512}, sample()[:3])
		if v.bits != test.bits || v.clusters != test.clusters || v.sectors != test.used {
			t.Errorf("%d sectors: FAT%d, %d clusters, %d sectors", test.sectors, v.bits, v.clusters, v.sectors)
		}
	}
	for _, test := range []struct{ content, bits, clusters int }{
		{4084, 12, 4084},
		{4085, 16, 4085},
		{65524, 16, 65524},
		{65525, 32, 65526}, // one is the root
	} {
		entries := []entry{dir("."), file("a", 1), file("b", int64(test.content-1)*512)}
		fit := mustFit(t, vfat.Options{ClusterSize: 512}, entries)
		if v := mustBuild(t, fit, entries); v.bits != test.bits || v.clusters != test.clusters || v.free != 0 {
			t.Errorf("%d clusters became FAT%d with %d, %d of them free", test.content, v.bits, v.clusters, v.free)
		}
		// The same where the size is open: a cluster was kept for the root.
		entries[2].Size -= 512
		if v := mustBuild(t, vfat.Options{ClusterSize: 512}, entries); v.bits != test.bits || v.clusters != test.clusters && v.bits != 32 || v.free != 0 && v.bits == 32 {
			t.Errorf("%d clusters became FAT%d with %d, %d of them free", test.content, v.bits, v.clusters, v.free)
		}
	}
	// What a type must have.
	for _, bits := range []int{12, 16, 32} {
		v := mustBuild(t, vfat.Options{Bits: bits, ClusterSize: 512}, []entry{dir(".")})
		if want := map[int]int{12: 1, 16: 4085, 32: 65525}[bits]; v.bits != bits || v.clusters != want {
			t.Errorf("FAT%d with %d clusters", v.bits, v.clusters)
		}
	}
}

func mustFit(t *testing.T, o vfat.Options, entries []entry) vfat.Options {
	t.Helper()
	o.Serial = 0x1234abcd
	o, err := vfat.Fit(o, func(yield func(rootfs.Entry) bool) {
		for _, e := range entries {
			if e.ModTime = noon; !yield(e.Entry) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestFit(t *testing.T) {
	t.Parallel()
	many := []entry{dir("."), dir("d")}
	for i := range 3000 {
		many = append(many, file(fmt.Sprintf("d/file %d", i), int64(i)))
	}
	for _, test := range []struct {
		name    string
		o       vfat.Options
		entries []entry
		want    vfat.Options // type, clusters and size
	}{
		{"the least", vfat.Options{}, []entry{dir(".")}, vfat.Options{Bits: 12, ClusterSize: 512, Size: 20*kib + 512}},
		{"sample", vfat.Options{}, sample(), vfat.Options{Bits: 12, ClusterSize: 512, Size: 20*kib + 241*512}},
		{"FAT32", vfat.Options{Bits: 32}, sample(), vfat.Options{Bits: 32, ClusterSize: 512, Size: 65525*512 + 540672}},
		{"FAT16", vfat.Options{Bits: 16}, sample(), vfat.Options{Bits: 16, ClusterSize: 512, Size: 4085*512 + 9*4096}},
		{"free", vfat.Options{Free: 200 * mib}, sample(), vfat.Options{Bits: 16, ClusterSize: 4 * kib}},
		{"percent", vfat.Options{FreePercent: 1000}, sample(), vfat.Options{Bits: 12, ClusterSize: 512}},
		{"many", vfat.Options{}, many, vfat.Options{Bits: 16, ClusterSize: 1 * kib}},
		{"sectors", vfat.Options{SectorSize: 4096}, many, vfat.Options{Bits: 12, ClusterSize: 4 * kib}},
		{"clusters", vfat.Options{ClusterSize: 16 * kib}, many, vfat.Options{Bits: 12, ClusterSize: 16 * kib}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := mustFit(t, test.o, test.entries)
			if o.Bits != test.want.Bits || o.ClusterSize != test.want.ClusterSize || test.want.Size != 0 && o.Size != test.want.Size {
				t.Errorf("%+v", o)
			}
			v := mustBuild(t, o, test.entries)
			if size := int64(v.sectors * v.sector); size != o.Size {
				t.Errorf("%d bytes, not %d", size, o.Size)
			}
			if test.o.Free+int64(test.o.FreePercent) == 0 && test.o.Bits == 0 && v.free > 1 {
				t.Errorf("%d clusters are free", v.free)
			}
			if test.o.Free > int64(v.free*v.cluster) {
				t.Errorf("%d bytes are free", v.free*v.cluster)
			}
			if v.free == 0 {
				o.Size--
				if _, err := build(t, o, test.entries); !errors.As(err, new(*vfat.NoSpaceError)) {
					t.Errorf("a sector less: %v", err)
				}
			}
		})
	}
	for _, entries := range [][]entry{{}, {dir("."), {Entry: rootfs.Entry{Path: "a", Mode: fs.ModeSymlink, Target: "b"}}}, {dir("."), file("a", 1), file("A", 1)}} {
		if _, err := vfat.Fit(vfat.Options{Serial: 1}, func(yield func(rootfs.Entry) bool) {
			for _, e := range entries {
				if !yield(e.Entry) {
					return
				}
			}
		}); err == nil {
			t.Errorf("%v fits", entries)
		}
	}
}

// TestBytes holds the bytes of images, so that no version makes others unnoticed.
func TestBytes(t *testing.T) {
	for _, test := range []struct {
		o    vfat.Options
		want string
	}{
		{vfat.Options{Size: 2 * mib, Label: "ESP"}, "c6f5dcdae3c722acb9a4f96cbcb646fcbe329680202176c7d1ea23f3345e269d"},
		{vfat.Options{Size: 10 * mib}, "92dac0b80896af2fef198b9413609c41630753256194c4fe476bbd44d7745644"},
		{vfat.Options{Bits: 32, Label: "ESP", ClusterSize: 512, HiddenSectors: 2048}, "0a46062909b266513dee5a87092b91bf2bb50bec359cf7f2761e3d2051de1a36"},
	} {
		path, err := build(t, test.o, sample())
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != test.want {
			t.Errorf("%+v: digest %s", test.o, got)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, test := range []struct {
		o    vfat.Options
		want string
	}{
		{vfat.Options{}, "vfat: the serial number is zero"},
		{vfat.Options{Serial: 1, Bits: 24}, "vfat: there is no FAT24"},
		{vfat.Options{Serial: 1, SectorSize: 256}, "vfat: sectors of 256 bytes"},
		{vfat.Options{Serial: 1, SectorSize: 520}, "vfat: sectors of 520 bytes"},
		{vfat.Options{Serial: 1, SectorSize: 8192}, "vfat: sectors of 8192 bytes"},
		{vfat.Options{Serial: 1, SectorSize: -512}, "vfat: sectors of -512 bytes"},
		{vfat.Options{Serial: 1, SectorSize: 4096, ClusterSize: 2048}, "vfat: clusters of 2048 bytes, not of a power of two from 4096 to 32768"},
		{vfat.Options{Serial: 1, ClusterSize: 65536}, "vfat: clusters of 65536 bytes"},
		{vfat.Options{Serial: 1, ClusterSize: 1536}, "vfat: clusters of 1536 bytes"},
		{vfat.Options{Serial: 1, ClusterSize: -4096}, "vfat: clusters of -4096 bytes"},
		{vfat.Options{Serial: 1, Size: -1}, "vfat: size -1 is not up to 2199023255040"},
		{vfat.Options{Serial: 1, Size: 1<<63 - 1}, "is not up to 2199023255040"},
		{vfat.Options{Serial: 1, Size: 2 << 40}, "is not up to 2199023255040"},
		{vfat.Options{Serial: 1, Free: 1<<63 - 1}, "is not up to 2199023255040"},
		{vfat.Options{Serial: 1, Capacity: 1<<63 - 1}, "is not up to 2199023255040"},
		{vfat.Options{Serial: 1, FreePercent: -1}, "free space of -1%"},
		{vfat.Options{Serial: 1, FreePercent: 1 << 40}, "free space of 1099511627776%"},
		{vfat.Options{Serial: 1, Capacity: gib << 8}, "is too much to be kept open: give a size"},
		{vfat.Options{Serial: 1, Capacity: 1}, "vfat: the file system needs"},
		{vfat.Options{Serial: 1, Size: 511}, "vfat: the file system needs at least 20992 bytes, 511 are given"},
		{vfat.Options{Serial: 1, Size: 20 * kib}, "vfat: the file system needs at least 20992 bytes, 20480 are given"},
		{vfat.Options{Serial: 1, Size: 30 * mib, Bits: 32}, "vfat: FAT32 with clusters of 512 bytes: the file system needs at least 34089472 bytes, 31457280 are given"},
		{vfat.Options{Serial: 1, Size: mib, Bits: 16}, "vfat: FAT16 with clusters of 512 bytes: the file system needs"},
		{vfat.Options{Serial: 1, Size: 200 * mib, Bits: 12}, "vfat: FAT12 with clusters of 32768 bytes has at most 133857280 bytes, not 209715200"},
		{vfat.Options{Serial: 1, Size: 4 * gib, Bits: 16}, "vfat: FAT16 with clusters of 32768 bytes has at most"},
		{vfat.Options{Serial: 1, Size: 1 << 40, ClusterSize: 512}, "vfat: clusters of 512 bytes: there are at most 268435445 of them"},
		{vfat.Options{Serial: 1, Label: "twelve chars"}, `vfat: the label "twelve chars" is not up to 11 ASCII characters`},
		{vfat.Options{Serial: 1, Label: "a.b"}, `vfat: the label "a.b"`},
		{vfat.Options{Serial: 1, Label: " a"}, `vfat: the label " a"`},
		{vfat.Options{Serial: 1, Label: "a "}, `vfat: the label "a "`},
		{vfat.Options{Serial: 1, Label: "é"}, `vfat: the label "é"`},
	} {
		if _, err := vfat.NewWriter(new(memory), test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: error %v, want %s", test.o, err, test.want)
		}
	}
}

// memory is a file that grows.
type memory []byte

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p); need > len(*m) {
		*m = append(*m, make([]byte, need-len(*m))...)
	}
	return copy((*m)[off:], p), nil
}

// TestNoSpace checks that what is too large is refused before it is read.
func TestNoSpace(t *testing.T) {
	t.Parallel()
	for _, o := range []vfat.Options{{Size: 10 * mib}, {Capacity: 10 * mib}, {Size: 40 * mib, Bits: 32}} {
		o.Serial = 1
		w, err := vfat.NewWriter(new(memory), o)
		if err != nil {
			t.Fatal(err)
		}
		given := max(o.Size, o.Capacity)
		for _, e := range []entry{dir("."), file("a", given/2)} {
			if err := w.Add(e.Entry, zeros{}); err != nil {
				t.Fatal(err)
			}
		}
		var full *vfat.NoSpaceError
		if err := w.Add(file("b", given/2).Entry, strings.NewReader("")); !errors.As(err, &full) || full.Given > given || full.Given < given-64*kib || full.Needed <= given {
			t.Errorf("%+v: %v", o, err)
		}
		if err := w.Close(); !errors.As(err, &full) {
			t.Errorf("Close: %v", err)
		}
	}
	// Directories count before they are written.
	entries := []entry{dir(".")}
	for i := range 100 {
		entries = append(entries, dir(fmt.Sprint(i)))
	}
	if _, err := build(t, vfat.Options{Size: 64 * kib}, entries); !errors.As(err, new(*vfat.NoSpaceError)) {
		t.Error(err)
	}
	if _, err := build(t, vfat.Options{Capacity: 10 * mib, Free: 10 * mib}, entries); !errors.As(err, new(*vfat.NoSpaceError)) {
		t.Error(err)
	}
}

func TestNoRoot(t *testing.T) {
	w, err := vfat.NewWriter(new(memory), vfat.Options{Serial: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err == nil || err.Error() != "vfat: no root directory was added" {
		t.Error(err)
	}
}

// TestLargest writes the largest file that FAT holds. fsck.vfat judges a file a little
// smaller: dosfstools 4.2 counts the bytes of clusters in 32 bits, and takes one whose
// clusters have 4 GiB for empty.
func TestLargest(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("SKIPPED: a file of 4 GiB")
	}
	for _, size := range []int64{vfat.MaxFile - 4095, vfat.MaxFile} {
		path, err := build(t, vfat.Options{Capacity: 5 * gib}, []entry{dir("."), file("LARGEST", size), text("AFTER", "it")})
		if err != nil {
			t.Fatal(err)
		}
		if got := testbed.Run(t, "mtype", "-i", path, "::/AFTER"); string(got) != "it" {
			t.Errorf("%q", got)
		}
		if got := string(testbed.Run(t, "mdir", "-i", path, "::/")); !strings.Contains(strings.ReplaceAll(got, " ", ""), fmt.Sprintf("LARGEST%d", size)) {
			t.Errorf("%d bytes:\n%s", size, got)
		}
		if size == vfat.MaxFile {
			continue
		}
		if err := check(testbed.Tool(t, "fsck.vfat"), path); err != nil {
			t.Error(err)
		}
	}
}

// TestPlace reads files where the Writer says that they are.
func TestPlace(t *testing.T) {
	for _, bits := range []int{0, 12, 16, 32} {
		var m memory
		w, err := vfat.NewWriter(&m, vfat.Options{Serial: 1, Bits: bits})
		if err != nil {
			t.Fatal(err)
		}
		if err := write(w, sample()); err != nil {
			t.Fatal(err)
		}
		boot := w.BootSectors()
		if len(boot) != 1+bits/32 || boot[0] != 0 || m[510] != 0x55 || string(m[:512]) != string(m[boot[len(boot)-1]:][:512]) {
			t.Errorf("%d bits: the boot sectors are not at %d", bits, boot)
		}
		for path, want := range map[string]string{"README": "read me\n", "EFI/BOOT/bootaa64.efi": "another", "a long name with a \u00fc": "x"} {
			off, ok := w.Place(path)
			if !ok || string(m[off:off+int64(len(want))]) != want {
				t.Errorf("%d bits: %s is not at %d (%v)", bits, path, off, ok)
			}
		}
		for _, path := range []string{".", "EFI", "nothing", "missing", "EFI/missing", "missing/x", "README/x"} {
			if off, ok := w.Place(path); ok {
				t.Errorf("%s has a place: %d", path, off)
			}
		}
	}
}
