package main

import (
	"os"

	"thaw/estimate"
	"thaw/spec"
)

// What kernels and initrds are likely to have, whatever they are a part of.
const (
	likelyKernel = 12 << 20
	likelyInitrd = 10 << 20
	likelyLoader = 1 << 20
)

// bootSize says how much is read to boot as b says but for what comes in directories:
// store paths of those are returned. What a generated initrd has of modules and firmware is
// taken to have no more than eight times what they have in the store.
func (w *work) bootSize(b *spec.Boot) (s estimate.Size, dirs []string) {
	add := func(likely, most int64) { s.Likely, s.Most = s.Likely+likely, s.Most+most }
	held := func(name string, likely int64) {
		if i := w.plan.Holder(name); i != nil {
			add(min(likely, i.NarSize), i.NarSize)
		}
	}
	blobs := []*spec.Blob{b.Stub, b.Program, b.Program, b.Ldlinux, b.DTB} // a program can be there twice
	if b.Generate != nil {
		blobs = append(blobs, b.Generate.Microcode)
	}
	for _, f := range blobs {
		if f == nil {
			continue
		}
		held(f.Store, likelyLoader)
		if st, err := os.Stat(w.target.spec.File(f.Source)); f.Source != "" && err == nil {
			add(st.Size(), st.Size())
		}
	}
	for _, f := range []struct {
		name   string
		likely int64
	}{{b.Kernel, likelyKernel}, {b.Initrd, likelyInitrd}} {
		switch f.name {
		case "auto":
			add(min(f.likely, w.plan.NarSize()), w.plan.NarSize())
		case "generate":
			add(likelyInitrd, 0)
			for _, name := range append([]string{b.Generate.Busybox, b.Generate.Modules}, b.Generate.Firmware...) {
				if i := w.plan.Holder(name); i != nil {
					add(0, 8*i.NarSize)
				}
			}
		default:
			held(f.name, f.likely)
		}
	}
	for _, f := range []*spec.Blob{b.DTBs, b.Firmware} {
		if f != nil {
			dirs = append(dirs, f.Store)
		}
	}
	return s, dirs
}
