package main

import (
	"io/fs"
	"os"
	"path/filepath"

	"thaw/boot/initrd"
	"thaw/estimate"
	"thaw/narinfo"
	"thaw/output"
	"thaw/rootfs"
	"thaw/spec"
)

// What kernels and initrds are likely to have, whatever they are a part of.
const (
	likelyKernel = 12 << 20
	likelyInitrd = 10 << 20
	likelyLoader = 1 << 20
)

const (
	// fileEnd is what the end of a file and its entry take at most, of FAT with the
	// largest clusters and the longest names.
	fileEnd = 32<<10 + 21*32
	// narEntry is how many bytes of a NAR a file takes at least.
	narEntry = 168
)

// bootSize says how much is read to boot as b says but for what comes in directories of
// store paths, which are returned.
func (w *work) bootSize(b *spec.Boot) (s estimate.Size, dirs []string) {
	s = plus(w.systemSize(b), w.blobsSize(b.Stub, b.Program, b.Program, b.Ldlinux, b.DTB)) // a program can be there twice
	for _, f := range []*spec.Blob{b.DTBs, b.Firmware} {
		switch {
		case f == nil:
		case f.Store != "":
			dirs = append(dirs, f.Store)
			// What leads there may be a link to where there is more.
			if i := w.plan.Holder(f.Store); i != nil {
				most := w.most(i)
				s.Most += (most - i.NarSize) + (most-i.NarSize)/narEntry*fileEnd
			}
		default:
			s = plus(s, dirSize(w.target.spec.File(f.Source)))
		}
	}
	return s, dirs
}

// isolinuxSize says how much BIOSes read to boot from a CD that UEFI does not read.
func (w *work) isolinuxSize(b *spec.Boot) (s estimate.Size) {
	s = w.blobsSize(b.Isolinux.Program, b.Isolinux.Ldlinux)
	if !b.UEFI() {
		s = plus(s, w.systemSize(b))
	}
	s.Most += maxParams + 8*output.Sector // syslinux.cfg, directories, and ends of files
	s.Likely += 4 * output.Sector
	return s
}

// systemSize says how large kernel and initrd are.
func (w *work) systemSize(b *spec.Boot) estimate.Size {
	s := w.fileSize(b.Kernel, likelyKernel)
	if b.Initrd != "generate" {
		return plus(s, w.fileSize(b.Initrd, likelyInitrd))
	}
	return plus(s, plus(w.blobsSize(b.Generate.Microcode), w.initrdSize(b.Generate)))
}

// initrdSize says how large a generated initrd is at most: whatever there is of modules
// and firmware, package initrd takes so much.
func (w *work) initrdSize(g *spec.Initrd) estimate.Size {
	c := &estimate.Content{Bare: true, Maybe: []rootfs.Entry{{Path: "rest", Mode: 0o644, Size: initrd.MaxRest}}}
	if i := w.plan.Holder(g.Busybox); i != nil {
		c.Objects = w.referred(i)
	}
	return estimate.Size{Likely: likelyInitrd, Most: estimate.Cpio(c, g.Compress).Most}
}

// fileSize says how large a file of the store is, or one that is found in the packages.
func (w *work) fileSize(name string, likely int64) (s estimate.Size) {
	switch name {
	case "", "none":
	case "auto":
		for _, i := range w.plan.Infos {
			s.Most = max(s.Most, i.NarSize)
		}
	default:
		if i := w.plan.Holder(name); i != nil {
			s.Most = w.most(i)
		}
	}
	s.Likely = min(likely, s.Most)
	return s
}

// most is how large a file in an object is at most, or one that it has a link to.
func (w *work) most(info *narinfo.Info) (size int64) {
	for _, i := range w.referred(info) {
		size = max(size, i.NarSize)
	}
	return size
}

// blobsSize says how large files are, some of them nil.
func (w *work) blobsSize(files ...*spec.Blob) (s estimate.Size) {
	for _, f := range files {
		switch {
		case f == nil:
		case f.Store != "":
			s = plus(s, w.fileSize(f.Store, likelyLoader))
		default:
			if st, err := os.Stat(w.target.spec.File(f.Source)); err == nil {
				s = plus(s, estimate.Size{Likely: st.Size(), Most: st.Size()})
			}
		}
	}
	return s
}

// dirSize says how much the files of a directory of this machine take. What cannot be
// read is an error when it is needed.
func dirSize(name string) (s estimate.Size) {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return s
	}
	filepath.WalkDir(name, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		size := int64(0)
		if info, err := d.Info(); err == nil && d.Type().IsRegular() {
			size = info.Size()
		}
		s = plus(s, estimate.Size{Likely: size, Most: size + fileEnd})
		return nil
	})
	return s
}

// plus adds two sizes.
func plus(a, b estimate.Size) estimate.Size {
	return estimate.Size{Least: a.Least + b.Least, Likely: a.Likely + b.Likely, Most: a.Most + b.Most}
}
