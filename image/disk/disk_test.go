package disk_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thaw/image/disk"
	"thaw/internal/testbed"
)

const mib = 1 << 20

func guid(n byte) disk.GUID { return disk.MakeGUID([16]byte{0: n, 15: n}) }

// part is a partition and what is written to it.
type part struct {
	disk.Partition
	content int64 // bytes, from the beginning
	end     bool  // End is called
}

// want is a partition as sfdisk lists it.
type want struct {
	Start, Size            int64 // in sectors
	Type, UUID, Name, Attr string
}

// write writes a disk whose raw content is letters from A on, and whose partitions'
// is letters from a on.
func write(w io.WriterAt, o disk.Options, raws []disk.Raw, parts []part) (int64, error) {
	d, err := disk.NewWriter(w, o)
	if err != nil {
		return 0, err
	}
	err = fill(d, raws, parts)
	return d.Size(), err
}

func fill(d *disk.Writer, raws []disk.Raw, parts []part) error {
	for i, r := range raws {
		s, err := d.AddRaw(r)
		if err != nil {
			return err
		}
		if _, err := s.WriteAt(bytes.Repeat([]byte{byte('A' + i)}, int(r.Size)), 0); err != nil {
			return err
		}
		if err := s.End(r.Size); err != nil {
			return err
		}
	}
	for i, p := range parts {
		s, err := d.Add(p.Partition)
		if err != nil {
			return err
		}
		data := bytes.Repeat([]byte{byte('a' + i)}, int(p.content))
		for off := int64(0); off < p.content; off += 100_000 { // in pieces, as writers do
			if _, err := s.WriteAt(data[off:min(off+100_000, p.content)], off); err != nil {
				return err
			}
		}
		if p.end {
			if err := s.End(p.content); err != nil {
				return err
			}
		}
	}
	return d.Close()
}

func TestTools(t *testing.T) {
	sgdisk, sfdisk := testbed.Tool(t, "sgdisk"), testbed.Tool(t, "sfdisk")
	root := part{Partition: disk.Partition{Type: disk.TypeRootX86_64, GUID: guid(1), Name: "root"}, content: 3*mib + 1, end: true}
	for _, test := range []struct {
		name  string
		size  int64
		parts []part
		total int64
		want  []want // by number
	}{
		{"one that fits", 0, []part{root}, 6 * mib, []want{
			{2048, 4 * 2048, "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "01000000-0000-8000-8000-000000000001", "root", ""},
		}},
		{"one that fills", 10 * mib, []part{{Partition: root.Partition, content: mib}}, 10 * mib, []want{
			{2048, 8 * 2048, "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "01000000-0000-8000-8000-000000000001", "root", ""},
		}},
		{"an odd size", 10*mib - 512, []part{{Partition: root.Partition}}, 10*mib - 512, []want{
			{2048, 8 * 2048, "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "01000000-0000-8000-8000-000000000001", "root", ""},
		}},
		{"the least", 2*mib + 33*512, []part{{Partition: root.Partition}}, 2*mib + 33*512, []want{
			{2048, 2048, "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "01000000-0000-8000-8000-000000000001", "root", ""},
		}},
		{"room left over", 20 * mib, []part{root}, 20 * mib, []want{
			{2048, 4 * 2048, "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "01000000-0000-8000-8000-000000000001", "root", ""},
		}},
		{"several", 0, []part{
			{Partition: disk.Partition{Type: disk.TypeESP, GUID: guid(2), Name: "EFI System", Number: 2, Attributes: 1, Size: 5*mib - 7}, content: 5 * mib},
			{Partition: disk.Partition{Type: disk.TypeRootARM64, GUID: guid(3), Name: "Größe \U0001f9ca", Attributes: 1<<60 | 1<<59}, content: 100, end: true},
			{Partition: disk.Partition{Type: disk.TypeLinux, GUID: "0a0b0c0d-1234-8765-90ab-0123456789ef", Name: strings.Repeat("n", 36)}, end: true},
		}, 9 * mib, []want{
			{6 * 2048, 2048, "B921B045-1DF0-41C3-AF44-4C6F280D3FAE", "03000000-0000-8000-8000-000000000003", "Größe \U0001f9ca", "GUID:59,60"},
			{2048, 5 * 2048, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "02000000-0000-8000-8000-000000000002", "EFI System", "RequiredPartition"},
			{7 * 2048, 2048, "0FC63DAF-8483-4772-8E79-3D69D8477DE4", "0A0B0C0D-1234-8765-90AB-0123456789EF", strings.Repeat("n", 36), ""},
		}},
		{"more than 2 TiB", 3 << 40, []part{{Partition: root.Partition, content: 10}}, 3 << 40, []want{
			{2048, 3<<31 - 2*2048, "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "01000000-0000-8000-8000-000000000001", "root", ""},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "disk.img")
			f, err := os.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := write(f, disk.Options{GUID: guid(9), Size: test.size}, nil, test.parts); err != nil {
				t.Fatal(err)
			}
			if info, err := f.Stat(); err != nil || info.Size() != test.total {
				t.Errorf("%d bytes, %v, want %d", info.Size(), err, test.total)
			}
			out, err := exec.Command(sgdisk, "--verify", name).CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte("No problems found")) || bytes.Contains(out, []byte("aution")) || bytes.Contains(out, []byte("arning")) {
				t.Errorf("sgdisk: %v\n%s", err, out)
			}
			checkList(t, sfdisk, name, test.want)
			checkContent(t, f, test.parts, test.want)
		})
	}
}

// checkList compares the table with what sfdisk reads.
func checkList(t *testing.T, sfdisk, name string, wants []want) {
	t.Helper()
	cmd := exec.Command(sfdisk, "--json", name)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("sfdisk: %v", err)
	}
	var list struct {
		PartitionTable struct {
			Label, ID  string
			FirstLBA   int64
			LastLBA    int64
			Partitions []struct {
				Node             string
				Start, Size      int64
				Type, UUID, Name string
				Attrs            string
			}
		}
	}
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatal(err)
	}
	table := list.PartitionTable
	if table.Label != "gpt" || table.ID != "09000000-0000-8000-8000-000000000009" {
		t.Errorf("label %q, GUID %q", table.Label, table.ID)
	}
	var got []want
	for _, p := range table.Partitions {
		got = append(got, want{p.Start, p.Size, p.Type, p.UUID, p.Name, p.Attrs})
	}
	if !slices.Equal(got, wants) {
		t.Errorf("partitions\n%+v\nwant\n%+v", got, wants)
	}
}

// checkContent looks for each partition's content where the table says it is.
func checkContent(t *testing.T, f io.ReaderAt, parts []part, wants []want) {
	t.Helper()
	for i, p := range parts {
		n := slices.IndexFunc(wants, func(w want) bool { return w.UUID == strings.ToUpper(string(p.GUID)) })
		checkPart(t, f, i, p, wants[n].Start*512)
	}
}

// checkPart looks for the content of a partition, and for zeros after it.
func checkPart(t *testing.T, f io.ReaderAt, i int, p part, start int64) {
	t.Helper()
	got := make([]byte, max(p.content, 1)/mib*mib+mib)
	if p.content%mib == 0 {
		got = got[:p.content]
	}
	if _, err := f.ReadAt(got, start); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, len(got))
	copy(want, bytes.Repeat([]byte{byte('a' + i)}, int(p.content)))
	if !bytes.Equal(got, want) {
		t.Errorf("partition %q has other content", p.Name)
	}
}

// memory is a disk that grows.
type memory []byte

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p); need > len(*m) {
		*m = append(*m, make([]byte, need-len(*m))...)
	}
	return copy((*m)[off:], p), nil
}

// TestBytes holds the bytes of one disk, so that no version makes others
// unnoticed.
func TestBytes(t *testing.T) {
	const want = "cd50f7d743b4d07796c00aaa32b23b2ff43c0a3262a84ebcf8283923816d757e"
	for range 2 {
		var m memory
		_, err := write(&m, disk.Options{GUID: guid(9)}, nil, []part{
			{Partition: disk.Partition{Type: disk.TypeESP, GUID: guid(2), Name: "esp", Size: mib}, content: 1000},
			{Partition: disk.Partition{Type: disk.TypeLinux, GUID: guid(3), Name: "root", Attributes: 1 << 59}, content: 1000, end: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(m)); got != want {
			t.Errorf("digest %s, want %s", got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	ok := disk.Partition{Type: disk.TypeLinux, GUID: guid(1), Name: "one"}
	change := func(f func(p *disk.Partition)) []part {
		p := ok
		f(&p)
		return []part{{Partition: p, end: true}}
	}
	for _, test := range []struct {
		name  string
		disk  disk.Options
		parts []part
		want  string
		is    error
	}{
		{"no GUID", disk.Options{}, nil, "disk: a GUID is missing", nil},
		{"zero GUID", disk.Options{GUID: "00000000-0000-0000-0000-000000000000"}, nil, `disk: "00000000-0000-0000-0000-000000000000" is not a GUID`, nil},
		{"half a sector", disk.Options{GUID: guid(9), Size: 10*mib + 1}, nil, "disk: size 10485761 is not a multiple of 512", nil},
		{"negative size", disk.Options{GUID: guid(9), Size: -512}, nil, "disk: size -512 is not a multiple of 512", nil},
		{"tiny", disk.Options{GUID: guid(9), Size: 2 * mib}, nil, "not enough space: a table and one partition need 2114048 bytes, and it has 2097152", disk.ErrFull},
		{"no type", disk.Options{GUID: guid(9)}, change(func(p *disk.Partition) { p.Type = "" }), `partition "one": a GUID is missing`, nil},
		{"no partition GUID", disk.Options{GUID: guid(9)}, change(func(p *disk.Partition) { p.GUID = "" }), `partition "one": a GUID is missing`, nil},
		{"bad GUID", disk.Options{GUID: guid(9)}, change(func(p *disk.Partition) { p.GUID = "0A0B0C0D-1234-8765-90AB-0123456789EG" }), `partition "one": "0A0B0C0D-1234-8765-90AB-0123456789EG" is not a GUID`, nil},
		{"groups", disk.Options{GUID: guid(9)}, change(func(p *disk.Partition) { p.GUID = "0A0B0C0D1-234-8765-90AB-0123456789EF" }), `partition "one": "0A0B0C0D1-234-8765-90AB-0123456789EF" is not a GUID`, nil},
		{"long name", disk.Options{GUID: guid(9)}, change(func(p *disk.Partition) { p.Name = strings.Repeat("\U0001f9ca", 19) }), "is not up to 36 units", nil},
		{"bytes for a name", disk.Options{GUID: guid(9)}, change(func(p *disk.Partition) { p.Name = "\xff" }), "is not up to 36 units", nil},
		{"number", disk.Options{GUID: guid(9)}, change(func(p *disk.Partition) { p.Number = 129 }), "number 129 is taken or not from 1 to 128", nil},
		{"negative number", disk.Options{GUID: guid(9)}, change(func(p *disk.Partition) { p.Number = -1 }), "number -1 is taken or not from 1 to 128", nil},
		{"negative partition", disk.Options{GUID: guid(9)}, change(func(p *disk.Partition) { p.Size = -1 }), `partition "one": size -1 is negative`, nil},
		{"huge partition", disk.Options{GUID: guid(9)}, change(func(p *disk.Partition) { p.Size = 1<<63 - 1 }), "not enough space", disk.ErrFull},
		{"larger than the disk", disk.Options{GUID: guid(9), Size: 10 * mib}, change(func(p *disk.Partition) { p.Size = 8*mib + 1 }), "8388608 bytes are left of the disk, and it needs 8388609", disk.ErrFull},
		{"no room", disk.Options{GUID: guid(9), Size: 3 * mib}, []part{{Partition: ok, content: 5, end: true}, {Partition: disk.Partition{Type: disk.TypeLinux, GUID: guid(2)}}}, "0 bytes are left", disk.ErrFull},
		{"same GUID", disk.Options{GUID: guid(9)}, []part{{Partition: ok, end: true}, {Partition: ok}}, "is another partition's", nil},
		{"same number", disk.Options{GUID: guid(9)}, []part{{Partition: ok, end: true}, {Partition: disk.Partition{Type: disk.TypeLinux, GUID: guid(2), Number: 1}}}, "number 1 is taken", nil},
		{"no end", disk.Options{GUID: guid(9)}, []part{{Partition: ok}}, "the last partition has no end, nor has the disk", nil},
		{"no end before another", disk.Options{GUID: guid(9), Size: 10 * mib}, []part{{Partition: ok}, {Partition: ok}}, "the partition before it has no end yet", nil},
		{"content too long", disk.Options{GUID: guid(9), Size: 3 * mib}, []part{{Partition: ok, content: mib + 1}}, "not enough space: the content goes to 1048577 or beyond, and it has 1048576 bytes", disk.ErrFull},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := write(new(memory), test.disk, nil, test.parts)
			if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
}

// TestBounds checks that a section lets nothing out of its partition.
func TestBounds(t *testing.T) {
	var m memory
	d, err := disk.NewWriter(&m, disk.Options{GUID: guid(9)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Add(disk.Partition{Type: disk.TypeLinux, GUID: guid(1), Size: mib})
	if err != nil {
		t.Fatal(err)
	}
	if s.Size() != mib {
		t.Errorf("size %d", s.Size())
	}
	for _, test := range []struct {
		off int64
		n   int
		ok  bool
	}{{0, 1, true}, {mib - 1, 1, true}, {mib, 0, true}, {mib, 1, false}, {mib - 1, 2, false}, {-1, 1, false}, {1<<63 - 1, 1, false}, {mib + 1, 0, false}} {
		n, err := s.WriteAt(make([]byte, test.n), test.off)
		if ok := err == nil; ok != test.ok || ok && n != test.n {
			t.Errorf("WriteAt %d at %d: %d, %v", test.n, test.off, n, err)
		}
	}
	if len(m) != 2*mib {
		t.Errorf("%d bytes were written", len(m))
	}
	if err := s.End(mib + 1); !errors.Is(err, disk.ErrFull) {
		t.Errorf("End: %v", err)
	}
	if err := d.Close(); !errors.Is(err, disk.ErrFull) {
		t.Errorf("Close after an error: %v", err)
	}
}

// TestLate checks that nothing can be done after Close.
func TestLate(t *testing.T) {
	var m memory
	d, err := disk.NewWriter(&m, disk.Options{GUID: guid(9), Size: 5 * mib})
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Add(disk.Partition{Type: disk.TypeLinux, GUID: guid(1)})
	if err != nil {
		t.Fatal(err)
	}
	if s.Size() != 3*mib {
		t.Errorf("size %d", s.Size())
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	_, write := s.WriteAt([]byte{1}, 0)
	_, add := d.Add(disk.Partition{Type: disk.TypeLinux, GUID: guid(2)})
	for _, err := range []error{write, add, s.End(1), d.Close()} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("error %v", err)
		}
	}
}

// failing takes left bytes and then fails.
type failing struct {
	memory
	left int
}

var errFailing = errors.New("the destination's error")

func (f *failing) WriteAt(p []byte, off int64) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFailing
	}
	return f.memory.WriteAt(p, off)
}

// TestDestination checks that a failure at any place of the table is reported.
func TestDestination(t *testing.T) {
	for limit := 0; limit < 2*(128*128+512)+72; limit += 500 {
		f := &failing{left: limit}
		_, err := write(f, disk.Options{GUID: guid(9), Size: 5 * mib}, nil, []part{{Partition: disk.Partition{Type: disk.TypeLinux, GUID: guid(1)}}})
		if !errors.Is(err, errFailing) {
			t.Errorf("error %v at %d bytes", err, limit)
		}
	}
}
