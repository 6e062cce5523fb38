package output

import (
	"fmt"

	"thaw/estimate"
	"thaw/image/disk"
	"thaw/image/qcow2"
	"thaw/image/vdi"
	"thaw/image/vhd"
	"thaw/image/vhdx"
	"thaw/image/vmdk"
	"thaw/spec"
)

// maxDisk is more than any disk has, and far from overflows.
const maxDisk = 1 << 59

// maxSizes are the sizes of the largest disks that formats have.
var maxSizes = map[string]int64{
	"qcow2": qcow2.MaxSize, "vhd": vhd.MaxSize, "vhd-fixed": vhd.MaxSize, "vdi": vdi.MaxSize, "vmdk": vmdk.MaxSize, "vhdx": vhdx.MaxSize,
}

// estimateDisk estimates the file system of each partition, and lays out the disk for
// each of the three sizes. What no content would make a build of is an error.
func estimateDisk(c *estimate.Content, o *spec.Output, p *Params, x *Extra) (s estimate.Size, likely *disk.Map, err error) {
	var raw, parts [3][]int64 // at least, likely, at most
	put := func(to *[3][]int64, s estimate.Size) {
		for i, n := range []int64{s.Least, s.Likely, s.Most} {
			to[i] = append(to[i], min(n, maxDisk))
		}
	}
	for _, r := range x.Raw {
		put(&raw, r)
	}
	var data data
	for i := range o.Disk.Partitions {
		of := &o.Disk.Partitions[i]
		s, err := estimatePartition(c, o, i, p, x)
		if err != nil {
			return s, nil, at(p.place(o, "partitions", of.Origin), err)
		}
		put(&parts, s)
		data.add(of, s.Likely, x.packed(c, o, i))
	}
	least, err := layOut(o, p, raw[0], parts[0], func(i int, v *volume) error {
		if v.fat != nil {
			v.files = x.Files[i].tree()
		}
		return v.refused(x.content(c, o, i), p)
	})
	if err != nil {
		return s, nil, err
	}
	for i, r := range o.Disk.Raw { // content that reached what is behind it would be refused
		room := least.disk.Room(int64(r.Offset))
		raw[1][i], raw[2][i] = min(raw[1][i], room), min(raw[2][i], room)
	}
	m, err := least.end()
	if err != nil {
		return s, nil, err
	}
	if most, ok := maxSizes[o.Disk.Format]; ok && m.Size > most {
		return s, nil, at(p.whole(o), fmt.Errorf("a disk of %d bytes: the format %s has up to %d", m.Size, o.Disk.Format, most))
	}
	s = estimate.Size{Least: m.Size, Likely: m.Size, Most: m.Size}
	if d, err := layOut(o, p, raw[1], parts[1], nil); err == nil { // else that guess cannot be
		if m, err = d.end(); err != nil {
			return s, nil, err
		}
		s.Likely, s.Most = m.Size, m.Size
	}
	// Where one partition at its most leaves no room for the next, something comes
	// behind all of them, or they go as far as an MBR reaches.
	d, err := layOut(o, p, raw[2], parts[2], nil)
	if err != nil {
		if o.Disk.Table == "mbr" {
			s.Most = max(s.Most, disk.MBRReach*int64(o.Disk.SectorSize))
		}
		d, err = layOut(o, p, raw[2], parts[0], nil)
	}
	if err != nil {
		return s, nil, err
	}
	most, err := d.end()
	s.Most = max(s.Most, most.Size)
	return data.contained(o.Disk, s), &m, err
}

// layOut lays out a disk of which content with a place of its own has the sizes raw,
// and what is in partitions, by their index, the sizes parts. Without check, what is
// larger than there is room for is cut; with it, that is an error, as is what check
// says of the volume of a partition.
func layOut(o *spec.Output, p *Params, raw, parts []int64, check func(i int, v *volume) error) (*diskWriter, error) {
	d, err := openDisk(nowhere{}, o, p)
	if err != nil {
		return nil, err
	}
	for i, size := range raw {
		if _, err := d.addRaw(i, size); err != nil {
			return nil, err
		}
	}
	for i, size := range parts {
		section, name, err := d.add(i)
		if err != nil {
			return nil, err
		}
		of := &o.Disk.Partitions[i]
		if check == nil {
			size = min(size, section.Size())
		} else if of.FS != "none" {
			err = check(i, d.volume(i, section, name))
		}
		if err == nil && of.Size.Kind == spec.Fit {
			err = section.End(size)
		}
		if err != nil {
			return nil, at(p.place(o, "partitions", of.Origin), err)
		}
	}
	return d, nil
}

// end ends a disk that was laid out.
func (d *diskWriter) end() (disk.Map, error) {
	if err := d.disk.Close(); err != nil {
		return disk.Map{}, at(d.params.whole(d.out), err)
	}
	return d.disk.Map(), nil
}

// nowhere keeps nothing.
type nowhere struct{}

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// estimatePartition estimates the file system in a partition, and as small as it can be
// where the partition has a size of its own.
func estimatePartition(c *estimate.Content, o *spec.Output, i int, p *Params, x *Extra) (s estimate.Size, err error) {
	of := &o.Disk.Partitions[i]
	v := partitionVolume(o.Disk, of, "")
	if of.Size.Kind != spec.Fit {
		v.size = spec.Size{Kind: spec.Fit}
	}
	switch {
	case of.FS == "none":
	case of.FS == "vfat":
		if s, err = estimateFAT(v, p, &x.Files[i]); of.Size.Kind != spec.Fit {
			err = nil // larger ones hold what smaller ones refuse
		}
	default:
		s = estimateVolume(x.content(c, o, i), v, p)
	}
	return s, err
}

// content is what is known of the content of a partition.
func (x *Extra) content(c *estimate.Content, o *spec.Output, i int) *estimate.Content {
	if o.Disk.Partitions[i].Content == "rootfs" {
		return c
	}
	return x.Files[i].content()
}

// packed guesses what the content of a partition becomes where the disk is compressed.
func (x *Extra) packed(c *estimate.Content, o *spec.Output, i int) int64 {
	n := estimate.Packed(x.content(c, o, i), o.Disk.Format, o.Disk.Compress)
	if o.Disk.Partitions[i].FS != "none" && o.Disk.Partitions[i].Content != "rootfs" {
		n += x.Files[i].Made.Likely // kernels and initrds are compressed already
	}
	return n
}

// data is what is likely to be on a disk besides holes.
type data struct {
	plain  int64 // without compression of the disk
	packed int64 // with it
}

// add adds a partition whose file system is likely to have size bytes, and to become
// packed.
func (d *data) add(of *spec.Partition, size, packed int64) {
	if of.Size.Kind == spec.Fit { // what is left free are holes, and so are inodes for it
		size = max(0, size-of.Size.Bytes-of.Size.Bytes/64) * 100 / (100 + int64(of.Size.Percent))
	}
	d.plain += size
	if of.Squashfs != nil && of.Squashfs.Compress != "none" || of.Erofs != nil && of.Erofs.Compress != "none" {
		packed = size
	}
	d.packed += min(size, packed)
}

// frames are what formats are likely to add: tables, room for larger ones, and blocks that
// are not full.
var frames = map[string]int64{"raw": 16 << 10, "qcow2": 384 << 10, "vhd": 6 << 20, "vdi": 7 << 19, "vhdx": 13 << 19, "vmdk": 128 << 10}

// contained is the size of the file of a disk.
func (d *data) contained(o *spec.Disk, s estimate.Size) estimate.Size {
	if o.Format == "raw" && o.Compress == "none" {
		return s
	}
	if o.Format == "vhd-fixed" {
		return estimate.Size{Least: s.Least + 512, Likely: s.Likely + 512, Most: s.Most + 1024}
	}
	likely := d.plain
	if o.Compress != "none" || o.Format == "vmdk" {
		likely = d.packed
	}
	// A table has at most 16 bytes for each 64 KiB, and no block is larger than
	// 2 MiB, which may be full but for a byte; nothing grows by more than a 64th.
	return estimate.Size{Least: 0, Likely: min(likely, s.Likely) + frames[o.Format], Most: s.Most + s.Most/64 + 16<<20}
}
