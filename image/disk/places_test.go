package disk_test

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"thaw/image/disk"
)

// TestRaw checks what lies at places of its own.
func TestRaw(t *testing.T) {
	raws := []disk.Raw{{Name: "boot code", Size: 440}, {Name: "idbloader", Offset: 32 << 10, Size: 100_001}, {Name: "u-boot", Offset: 8 * mib, Size: mib}, {Name: "behind", Offset: 20*mib + 1, Size: 1}}
	root := root
	root.Start = 9 * mib
	name := create(t, disk.Options{GUID: guid(9)}, raws, []part{{Partition: swap}, {Partition: root, content: 10 * mib, end: true}})
	verifyGPT(t, name)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range raws {
		want := bytes.Repeat([]byte{byte('A' + i)}, int(r.Size))
		if got := b[r.Offset:][:r.Size]; !bytes.Equal(got, want) || b[r.Offset+r.Size] == want[0] || i > 0 && b[r.Offset-1] == want[0] {
			t.Errorf("%s is not at its place", r.Name)
		}
	}
	if len(b) != 21*mib {
		t.Errorf("%d bytes", len(b))
	}
}

// TestOverlaps checks that two things never have one place.
func TestOverlaps(t *testing.T) {
	raw := func(offset, size int64) []disk.Raw { return []disk.Raw{{Name: "u-boot", Offset: offset, Size: size}} }
	at := func(start, size int64) part {
		p := root
		p.Start, p.Size = start, size
		return part{Partition: p, end: size == 0}
	}
	second := at(0, mib)
	second.Partition.GUID, second.Partition.Name = guid(5), "second"
	for _, test := range []struct {
		name  string
		o     disk.Options
		raws  []disk.Raw
		parts []part
		want  string
		is    error // other than an OverlapError
	}{
		{"the table", disk.Options{}, raw(8192, 1), nil, `raw "u-boot" (bytes 8192 to 8193) overlaps the partition table (440 to 17408)`, nil},
		{"its front", disk.Options{}, raw(0, 441), nil, `raw "u-boot" (bytes 0 to 441) overlaps the partition table (440 to 17408)`, nil},
		{"its end", disk.Options{}, raw(17407, 1), nil, "overlaps the partition table (440 to 17408)", nil},
		{"the table of large sectors", disk.Options{SectorSize: 4096}, raw(20<<10, 1), nil, "overlaps the partition table (440 to 24576)", nil},
		{"the MBR", disk.Options{Table: disk.MBR}, raw(511, 1), nil, "overlaps the partition table (440 to 512)", nil},
		{"the backup", disk.Options{Size: 4 * mib}, raw(4*mib-33*512-1, 2), nil, "overlaps the backup of the partition table (4177408 to 4194304)", nil},
		{"beyond", disk.Options{Size: 4 * mib}, raw(4*mib-1, 2), nil, `raw "u-boot": not enough space: it goes to 4194305, and the disk to 4194304`, disk.ErrFull},
		{"each other", disk.Options{}, append(raw(mib, mib), disk.Raw{Name: "other", Offset: 2*mib - 1, Size: 1}), nil, `raw "other" (bytes 2097151 to 2097152) overlaps raw "u-boot" (1048576 to 2097152)`, nil},
		{"the first partition", disk.Options{}, raw(mib+5, 1), []part{at(0, 6)}, `partition "root" (bytes 1048576 to 1048582) overlaps raw "u-boot" (1048581 to 1048582)`, nil},
		{"one that fits", disk.Options{}, raw(mib, 1), []part{at(0, 0)}, `partition "root" (bytes 1048576 to 1048577) overlaps raw "u-boot" (1048576 to 1048577)`, nil},
		{"its alignment", disk.Options{}, raw(2*mib-1, 1), []part{at(0, 6)}, `partition "root" (bytes 1048576 to 2097152) overlaps raw "u-boot" (2097151 to 2097152)`, nil},
		{"no alignment", disk.Options{}, raw(3*mib, 1), []part{at(0, 2*mib+1)}, `partition "root" (bytes 1048576 to 3145729) overlaps raw`, nil},
		{"its content", disk.Options{}, raw(3*mib, 1), []part{{Partition: root, content: 2*mib + 1, end: true}}, `partition "root": not enough space: the content goes to 2097153 or beyond, and it has 2097152 bytes until raw "u-boot"`, disk.ErrFull},
		{"a partition in the table", disk.Options{}, nil, []part{at(8192, mib)}, `partition "root" (bytes 8192 to 1056768) overlaps the partition table`, nil},
		{"a partition in another", disk.Options{}, nil, []part{at(4*mib, mib), {Partition: func() disk.Partition { p := second.Partition; p.Start = 5*mib - 512; return p }()}}, `partition "second" (bytes 5242368 to 6290944) overlaps partition "root" (4194304 to 5242880)`, nil},
		{"a partition into another", disk.Options{}, nil, []part{at(4*mib, mib), {Partition: func() disk.Partition { p := second.Partition; p.Start, p.Size = mib, 4*mib; return p }()}}, `partition "second" (bytes 1048576 to 5242880) overlaps partition "root"`, nil},
		{"a start between", disk.Options{}, nil, []part{at(mib+1, mib)}, `partition "root": start 1048577 is not a multiple of 512`, errAny},
		{"a start below", disk.Options{}, nil, []part{at(-512, mib)}, `partition "root": start -512 is not a multiple of 512`, errAny},
		{"a start far away", disk.Options{}, nil, []part{at(1<<63-512, mib)}, `is not a multiple of 512`, errAny},
		{"a start beyond", disk.Options{Size: 4 * mib}, nil, []part{at(4*mib, mib)}, `partition "root": not enough space: 0 bytes are left of the disk, and it needs 1048576`, disk.ErrFull},
		{"far away", disk.Options{}, raw(1<<62, 1), nil, `raw "u-boot": 1 bytes at 4611686018427387904`, errAny},
		{"very long", disk.Options{}, raw(mib, 1<<63-1), nil, `raw "u-boot": 9223372036854775807 bytes at 1048576`, errAny},
		{"nothing", disk.Options{}, raw(mib, 0), nil, `raw "u-boot": 0 bytes at 1048576`, errAny},
		{"below", disk.Options{}, raw(-1, 1), nil, `raw "u-boot": 1 bytes at -1`, errAny},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.o.GUID, test.o.Signature = guid(9), 1
			_, err := write(new(memory), test.o, test.raws, test.parts)
			var overlap *disk.OverlapError
			if err == nil || !strings.Contains(err.Error(), test.want) || errors.As(err, &overlap) != (test.is == nil) || errors.Is(err, disk.ErrFull) != (test.is == disk.ErrFull) {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
}

func TestMBRErrors(t *testing.T) {
	mbr := disk.Options{Table: disk.MBR, Signature: 1}
	hybrid := disk.Options{Table: disk.Hybrid, GUID: guid(9)}
	list := func(n int, p disk.Partition) (all []part) {
		for i := range n {
			p.GUID = disk.MakeGUID([16]byte{1, byte(i)})
			all = append(all, part{Partition: p, end: true})
		}
		return all
	}
	beside := root
	beside.InMBR = true
	for _, test := range []struct {
		o     disk.Options
		parts []part
		want  string
	}{
		{disk.Options{Table: disk.MBR}, nil, "disk: an MBR has a signature that is not zero"},
		{disk.Options{Table: 3, GUID: guid(9)}, nil, "disk: Table(3) is no kind of partition table"},
		{disk.Options{Table: disk.Hybrid}, nil, "disk: a GUID is missing"},
		{disk.Options{GUID: guid(9), SectorSize: 1024}, nil, "disk: sectors of 1024 bytes, not of 512 or 4096"},
		{disk.Options{GUID: guid(9), Align: 3 * mib}, nil, "disk: alignment 3145728 is not a power of two from 512 to 1073741824"},
		{disk.Options{GUID: guid(9), Align: 512, SectorSize: 4096}, nil, "disk: alignment 512 is not a power of two from 4096 to 1073741824"},
		{disk.Options{GUID: guid(9), Align: 1 << 62}, nil, "disk: alignment 4611686018427387904 is not"},
		{disk.Options{GUID: guid(9), Align: -512}, nil, "disk: alignment -512 is not"},
		{disk.Options{GUID: guid(9), Size: 1 << 61}, nil, "disk: size 2305843009213693952 is not a multiple of 512 up to 1152921504606846976"},
		{disk.Options{GUID: guid(9), Size: 8*mib + 512, SectorSize: 4096}, nil, "disk: size 8389120 is not a multiple of 4096"},
		{disk.Options{GUID: guid(9), Size: 64 * mib, Align: 64 * mib}, nil, "not enough space: a table and one partition need 134234624"},
		{disk.Options{Table: disk.MBR, Signature: 1, Size: mib}, nil, "not enough space: a table and one partition need 2097152"},
		{mbr, list(5, root), `partition "root": a partition table of this kind has 4 partitions`},
		{mbr, []part{{Partition: disk.Partition{Type: disk.TypeLinux, Number: 5}}}, "number 5 is taken or not from 1 to 4"},
		{mbr, []part{{Partition: disk.Partition{Name: "x"}}}, `partition "x": its type in an MBR is missing or 0xee`},
		{mbr, []part{{Partition: disk.Partition{Name: "x", MBRType: 0xee}}}, "its type in an MBR is missing or 0xee"},
		{mbr, []part{{Partition: disk.Partition{Type: disk.TypeBIOSBoot}}}, "its type in an MBR is missing"},
		{mbr, []part{{Partition: disk.Partition{Type: disk.TypeLinux, Attributes: disk.AttrReadOnly | disk.AttrLegacyBoot}}}, "an MBR holds no attributes 0x1000000000000000"},
		{mbr, []part{{Partition: esp, end: true}, {Partition: esp, end: true}}, "a partition before it is the one that a BIOS boots"},
		{mbr, []part{{Partition: disk.Partition{Type: disk.TypeLinux, Start: 2<<40 - mib, Size: mib}}}, "not enough space: 0 bytes are left of what an MBR reaches, and it needs 1048576"},
		{disk.Options{Table: disk.MBR, Signature: 1, Size: 4 << 40}, []part{{Partition: disk.Partition{Type: disk.TypeLinux, Size: 3 << 40}}}, "are left of what an MBR reaches"},
		{disk.Options{GUID: guid(9)}, list(1, beside), "it is to stand in the MBR, and the table is no hybrid one"},
		{hybrid, list(4, beside), "the MBR beside a GPT has 3 partitions"},
		{hybrid, list(129, root), "a partition table of this kind has 128 partitions"},
		{hybrid, []part{{Partition: func() disk.Partition { p := beside; p.Start, p.Size = 3<<40, mib; return p }()}}, "left of what an MBR reaches"},
	} {
		if _, err := write(new(memory), test.o, nil, test.parts); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want %s", err, test.want)
		}
	}
	d, err := disk.NewWriter(new(memory), disk.Options{GUID: guid(9)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Add(swap); err != nil {
		t.Fatal(err)
	}
	if _, err := d.AddRaw(disk.Raw{Name: "late", Offset: 8 * mib, Size: 1}); err == nil || err.Error() != `raw "late" comes after a partition` {
		t.Error(err)
	}
}

// errAny stands for an error without a type.
var errAny = errors.New("any error")

// TestPlaces checks where partitions come to lie.
func TestPlaces(t *testing.T) {
	at := func(start, size int64, end bool) part {
		return part{Partition: disk.Partition{Type: disk.TypeLinux, Start: start, Size: size}, end: end}
	}
	for _, test := range []struct {
		name  string
		o     disk.Options
		parts []part
		want  []int64 // starts and ends
	}{
		{"aligned", disk.Options{Align: 4 * mib}, []part{at(0, 1, false), at(0, 0, true)}, []int64{4 * mib, 8 * mib, 8 * mib, 12 * mib}},
		{"close", disk.Options{Align: 512}, []part{at(0, 1, false), at(0, 0, true)}, []int64{34 * 512, 35 * 512, 35 * 512, 36 * 512}},
		{"close, with large sectors", disk.Options{Align: 4096, SectorSize: 4096}, []part{at(0, 1, false)}, []int64{6 * 4096, 7 * 4096}},
		{"between", disk.Options{}, []part{at(mib+512, 1, false), at(0, mib, false)}, []int64{mib + 512, 2 * mib, 2 * mib, 3 * mib}},
		{"backwards", disk.Options{Size: 10 * mib}, []part{at(5*mib, mib, false), at(mib, 0, false)}, []int64{mib, 5 * mib, 5 * mib, 6 * mib}},
		{"to the end", disk.Options{Size: 10 * mib}, []part{at(0, mib, false), at(7*mib, 0, false)}, []int64{mib, 2 * mib, 7 * mib, 9 * mib}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.o.GUID = guid(9)
			d, err := disk.NewWriter(new(memory), test.o)
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range test.parts {
				p.GUID = guid(byte(i))
				s, err := d.Add(p.Partition)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Contains(test.want, s.Start()) {
					t.Errorf("a section begins at %d", s.Start())
				}
				if p.end {
					if err := s.End(0); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			var got []int64
			for _, r := range d.Map().Regions {
				if r.Kind == disk.KindPartition {
					got = append(got, r.Start, r.End)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("partitions %d, want %d", got, test.want)
			}
		})
	}
}
