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
	v := alone(o)
	if err := v.refused(c, p); err != nil {
		return estimate.Size{}, nil, at(p.whole(o), err)
	}
	return estimateVolume(c, v, p), nil, nil
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

// tree has the files that are known.
func (f *Files) tree() *rootfs.Tree {
	tree := &rootfs.Tree{}
	if f.Tree != nil {
		tree.Lay(f.Tree)
	}
	tree.Put(rootfs.Dir(".", 0o755), nil)
	return tree
}

// estimateFAT says how large a FAT file system will be: exactly, unless files of
// store paths come in.
func estimateFAT(v *volume, p *Params, f *Files) (s estimate.Size, err error) {
	fit := func(store bool, made int64) int64 {
		tree := f.tree()
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
