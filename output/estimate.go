package output

import (
	"fmt"

	"thaw/estimate"
	"thaw/image/disk"
	"thaw/image/vfat"
	"thaw/narinfo"
	"thaw/rootfs"
	"thaw/spec"
)

// Extra is what is known of a disk or CD besides the root file system.
type Extra struct {
	// Raw is what has a place of its own; on a CD, what BIOSes boot from, of which
	// nothing is what UEFI boots from.
	Raw []estimate.Size
	// Files are those of partitions, by index; of a CD, those that UEFI boots from, if
	// it does.
	Files []Files
}

// Files are the files of their own of a partition.
type Files struct {
	Tree  *rootfs.Tree    // those that are known; nil for none
	Store []*narinfo.Info // objects of which a part comes in
	Made  estimate.Size   // bytes of some files that are made
}

// Estimate says how large an output will be, and for a disk what is likely to be
// where. What cannot be is an error. Of Params it uses ID, Time and Spec.
func Estimate(c *estimate.Content, o *spec.Output, p *Params, x *Extra) (estimate.Size, *disk.Map, error) {
	switch {
	case o.Tar != nil:
		return estimate.Tar(c, o.Tar.Compress), nil, nil
	case o.Cpio != nil:
		return estimate.Cpio(c, o.Cpio.Compress), nil, nil
	case o.OCI != nil:
		return estimateOCI(c, o.OCI), nil, nil
	case o.Type == "dir":
		return estimate.Dir(c), nil, nil
	case o.Disk != nil:
		return estimateDisk(c, o, p, x)
	case o.ISO != nil:
		return estimateISO(c, o, p, x)
	}
	return estimateVolume(c, alone(o), p), nil, nil
}

func estimateVolume(c *estimate.Content, v *volume, p *Params) estimate.Size {
	switch {
	case v.ext4 != nil:
		return estimate.Ext4(c, v.ext4Options(p))
	case v.sqfs != nil:
		return estimate.Squashfs(c, v.squashfsOptions(p))
	}
	return estimate.Erofs(c, v.erofsOptions(p))
}

// estimateDisk estimates each partition that is as large as its content, and lays out
// the disk for each of the three sizes.
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
	used, packed := int64(0), int64(0) // likely, by what is no hole; of that, compressed already
	for i := range o.Disk.Partitions {
		of := &o.Disk.Partitions[i]
		s, err := estimatePartition(c, o, i, of.Size, p, x)
		if err != nil {
			return s, nil, at(p.place(o, "partitions", of.Origin), err)
		}
		put(&parts, s)
		if bare, err := estimatePartition(c, o, i, spec.Size{Kind: spec.Fit}, p, x); err == nil {
			n := min(s.Likely, bare.Likely) // what is left free are holes
			used += n
			if of.Squashfs != nil && of.Squashfs.Compress != "none" || of.Erofs != nil && of.Erofs.Compress != "none" {
				packed += n
			}
		}
	}
	var sizes [3]int64
	for i := range sizes {
		m, err := Layout(o, p, raw[i], parts[i])
		if err != nil && i == 1 { // by a guess alone nothing is refused
			if m, err = Layout(o, p, raw[0], parts[1]); err != nil {
				m, err = Layout(o, p, raw[0], parts[0])
			}
		}
		if err != nil && i < 2 {
			return s, nil, err
		}
		if sizes[i] = m.Size; err != nil { // what is the most cannot be
			sizes[i] = maxDisk
		}
		if i == 1 {
			likely = &m
		}
	}
	return contained(o.Disk, estimate.Size{Least: sizes[0], Likely: sizes[1], Most: max(sizes[1], sizes[2])}, used, packed), likely, nil
}

// estimatePartition estimates what is in a partition, as if it had that size.
func estimatePartition(c *estimate.Content, o *spec.Output, i int, size spec.Size, p *Params, x *Extra) (estimate.Size, error) {
	of := &o.Disk.Partitions[i]
	v := partitionVolume(o.Disk, of, "")
	v.size = size
	switch {
	case of.FS == "none":
		return estimate.Size{}, nil
	case of.Content == "rootfs":
		return estimateVolume(c, v, p), nil
	case of.FS == "vfat":
		return estimateFAT(v, p, &x.Files[i])
	}
	return estimateVolume(x.Files[i].content(), v, p), nil
}

// estimateISO estimates what is booted from and the root file system, and lays out the CD
// for each of the three sizes.
func estimateISO(c *estimate.Content, o *spec.Output, p *Params, x *Extra) (s estimate.Size, likely *disk.Map, err error) {
	var uefi, bios estimate.Size
	if len(x.Raw) > 0 {
		bios = x.Raw[0]
	}
	if len(x.Files) > 0 {
		if uefi, err = estimateFAT(isoEFI(o.ISO, len(x.Raw) > 0), p, &x.Files[0]); err != nil {
			return s, nil, at(p.whole(o), err)
		}
	}
	root := estimateVolume(c, isoRoot(o.ISO), p)
	least, err := layoutISO(o, p, uefi.Least, bios.Least, root.Least)
	if err != nil {
		return s, nil, err
	}
	m, err := layoutISO(o, p, uefi.Likely, bios.Likely, root.Likely)
	if err != nil {
		return s, nil, err
	}
	s = estimate.Size{Least: least.Size, Likely: m.Size, Most: maxDisk}
	if most, err := layoutISO(o, p, min(uefi.Most, maxDisk), min(bios.Most, maxDisk), root.Most); err == nil { // else it cannot be
		s.Most = most.Size
	}
	return s, &m, nil
}

// maxDisk is more than any disk has, and far from overflows.
const maxDisk = 1 << 59

// contained is the size of the file of a disk, of which so much is likely to be no
// hole, and so much of that to be compressed already.
func contained(d *spec.Disk, s estimate.Size, used, packed int64) estimate.Size {
	if d.Format == "raw" && d.Compress == "none" {
		return s
	}
	if d.Format == "vhd-fixed" {
		return estimate.Size{Least: s.Least + 512, Likely: s.Likely + 512, Most: s.Most + 1024}
	}
	packed = min(packed, s.Likely)
	likely := min(s.Likely, used) - packed
	switch {
	case d.Compress == "gzip" || d.Compress == "zlib" || d.Format == "vmdk":
		likely = likely * 38 / 100
	case d.Compress != "none":
		likely = likely * 35 / 100
	}
	likely += packed
	// A table has at most 16 bytes for each 64 KiB, and no block is larger than
	// 2 MiB, which may be full but for a byte; nothing grows by more than a 64th.
	return estimate.Size{Least: 0, Likely: likely + 1<<20, Most: s.Most + s.Most/64 + 16<<20}
}

// content is what a partition with files of its own has.
func (f *Files) content() *estimate.Content {
	c := &estimate.Content{Bare: true, Objects: f.Store}
	if f.Tree != nil {
		for e := range f.Tree.All() {
			c.Known = append(c.Known, e)
		}
	}
	if f.Made.Most > 0 { // and the ends of what are several files
		c.Maybe = []rootfs.Entry{{Path: "made", Mode: 0o644, Size: f.Made.Most + 1<<20}}
	}
	return c
}

// estimateFAT says how large a FAT file system will be: exactly, unless files of
// store paths come in.
func estimateFAT(v *volume, p *Params, f *Files) (s estimate.Size, err error) {
	fit := func(store bool, made int64) int64 {
		tree := &rootfs.Tree{}
		if f.Tree != nil {
			tree.Lay(f.Tree)
		}
		tree.Put(rootfs.Dir(".", 0o755), nil)
		for _, i := range f.Store {
			if store {
				tree.PutFile(rootfs.Entry{Path: i.StorePath.Base(), Mode: 0o644, Size: min(i.NarSize, vfat.MaxFile)}, nil)
			}
		}
		for n := 0; made > 0; n++ {
			e := rootfs.Entry{Path: fmt.Sprintf("%d made", n), Mode: 0o644, Size: min(made, vfat.MaxFile)}
			tree.PutFile(e, nil)
			made -= e.Size
		}
		v.files = tree
		opt, e := v.vfatOptions(p)
		if e != nil {
			err = e
		}
		return opt.Size
	}
	s.Least, s.Likely = fit(false, f.Made.Least), fit(true, f.Made.Likely)
	if s.Most = s.Likely; f.Made.Most > 0 {
		s.Most = fit(true, f.Made.Most) + 1<<20 // for the ends of what are several files
	}
	for _, i := range f.Store {
		// An entry takes at least 168 bytes of a NAR, and a cluster, and slots for
		// 255 characters.
		entries := i.NarSize/168 + 1
		s.Most = min(maxDisk, s.Most+i.NarSize/50+entries*(32<<10+21*32))
	}
	return s, err
}
