package disk_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"thaw/image/disk"
)

// FuzzLayouts adds things at random, and holds every disk that comes of it against
// the package's laws; the judges of tables see some of them.
func FuzzLayouts(f *testing.F) {
	for seed := range uint64(100) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		o := disk.Options{
			Table: disk.Table(rnd.IntN(3)), GUID: guid(200), Signature: 1,
			SectorSize: []int{512, 512, 4096}[rnd.IntN(3)], Align: 1 << (12 + rnd.IntN(12)), Size: rnd.Int64N(3) * rnd.Int64N(1<<14) << 12,
		}
		var raws []disk.Raw
		for range rnd.IntN(4) {
			raws = append(raws, disk.Raw{Offset: rnd.Int64N(1 << (1 + rnd.IntN(26))), Size: 1 + rnd.Int64N(1<<rnd.IntN(16))})
		}
		var parts []part
		for i := range rnd.IntN(6) {
			p := part{Partition: disk.Partition{Type: disk.TypeLinux, GUID: guid(byte(i)), Number: max(0, rnd.IntN(20)-15)}, content: rnd.Int64N(1 << rnd.IntN(22))}
			p.InMBR = o.Table == disk.Hybrid && rnd.IntN(3) == 0
			if p.end = rnd.IntN(4) > 0; !p.end {
				p.Size = rnd.Int64N(1 << (1 + rnd.IntN(25)))
				p.content = min(p.content, p.Size)
			}
			if rnd.IntN(4) == 0 {
				p.Start = rnd.Int64N(1<<16) << 12
			}
			parts = append(parts, p)
		}
		d, err := disk.NewWriter(new(sink), o)
		if err == nil {
			err = fill(d, raws, parts)
		}
		if err != nil {
			return // it says so, and the tests of errors what it says
		}
		regions := d.Map().Regions
		slices.SortFunc(regions, func(a, b disk.Region) int { return cmp.Compare(a.Start, b.Start) })
		at := int64(0)
		for _, r := range regions {
			if r.Start < at || r.End <= r.Start || r.End > d.Size() || r.Kind == disk.KindPartition && (r.End%o.Align != 0 || r.Start%int64(o.SectorSize) != 0) {
				t.Errorf("%v: %+v, the disk has %d bytes", o, regions, d.Size())
			}
			at = r.End
		}
		if len(raws)+len(parts) > len(regions) || o.Size > 0 && d.Size() != o.Size || d.Size()%int64(o.SectorSize) != 0 {
			t.Errorf("%d bytes, %+v", d.Size(), regions)
		}
		if seed%10 == 0 && o.Table != disk.MBR && o.SectorSize == 512 {
			verifyGPT(t, create(t, o, raws, parts))
		}
	})
}
