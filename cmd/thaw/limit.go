package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"thaw/estimate"
	"thaw/image/disk"
	"thaw/narinfo"
	"thaw/output"
	"thaw/spec"
)

// limited reports whether the spec has limits that the plan alone may exceed: then
// nothing is fetched before it is known.
func (t *target) limited() bool {
	return len(t.spec.Forbid) > 0 || slices.ContainsFunc(t.spec.Outputs, func(o spec.Output) bool { return o.MaxSize.Bytes > 0 })
}

// limitError says that the image is larger than it may be.
type limitError struct{ text string }

func (e *limitError) Error() string { return e.text }

// withinLimits holds that no output is certain to become larger than it may be.
func (w *work) withinLimits() error {
	if !slices.ContainsFunc(w.target.spec.Outputs, func(o spec.Output) bool { return o.MaxSize.Bytes > 0 }) {
		return nil
	}
	c, err := w.content()
	if err != nil {
		return err
	}
	var lines []string
	for _, o := range w.target.spec.Outputs {
		if o.MaxSize.Bytes == 0 {
			continue
		}
		size, _, err := w.estimate(c, &o)
		if err != nil {
			return err
		}
		if least, most := size.Least, o.MaxSize.Bytes; least > most {
			lines = append(lines, fmt.Sprintf("output %s: it takes at least %s (%d bytes), and max-size is %s", o.Name, inBytes(least), least, inBytes(most)))
		}
	}
	if lines == nil {
		return nil
	}
	lines = append(lines, "the largest paths:")
	for _, i := range largest(w.plan.Infos, 10) {
		lines = append(lines, fmt.Sprintf("   %10s  %s", inBytes(i.NarSize), i.StorePath))
	}
	return &limitError{strings.Join(lines, "\n")}
}

// largest returns the objects with the largest NARs, those first.
func largest(infos []*narinfo.Info, n int) []*narinfo.Info {
	sorted := slices.SortedStableFunc(slices.Values(infos), func(a, b *narinfo.Info) int { return cmp.Compare(b.NarSize, a.NarSize) })
	return sorted[:min(n, len(sorted))]
}

// content is what is known of the image.
func (w *work) content() (*estimate.Content, error) {
	p := w.plan
	known, maybe, err := p.Made()
	if err != nil {
		return nil, err
	}
	c := &estimate.Content{Objects: p.Infos, Known: known, Maybe: maybe}
	if len(p.View.Link) > 0 {
		c.View = p.View.Into
	}
	return c, nil
}

// estimate says how large an output will be, and for a disk what is likely to be
// where.
func (w *work) estimate(c *estimate.Content, o *spec.Output) (estimate.Size, *disk.Map, error) {
	x, err := w.extra(o)
	if err != nil {
		return estimate.Size{}, nil, err
	}
	if o.Files != nil {
		return w.estimateFiles(c, o)
	}
	p := &output.Params{Spec: w.target.places(), ID: w.plan.ID, Time: w.plan.Time}
	return output.Estimate(c, o, p, x)
}

// estimateFiles says how large the files are that a machine boots with: the root file
// system, and what a boot loader would read.
func (w *work) estimateFiles(c *estimate.Content, o *spec.Output) (s estimate.Size, _ *disk.Map, err error) {
	if root := rootFile(o.Files); root != nil {
		if s, _, err = w.estimate(c, root); err != nil {
			return s, nil, err
		}
	}
	boot := *w.target.spec.Boot
	boot.Stub, boot.Program, boot.Ldlinux, boot.Firmware = nil, nil, nil, nil // no loader is there
	size, dirs := w.bootSize(&boot)
	for _, i := range w.held(dirs) {
		size.Likely, size.Most = size.Likely+i.NarSize, size.Most+i.NarSize
	}
	s.Likely, s.Most = s.Likely+min(size.Likely, size.Most), s.Most+size.Most
	s.Most += 4 * maxParams // the script has the kernel's arguments, which can be long
	return s, nil, nil
}

// extra is what is known of a disk besides the root file system.
func (w *work) extra(o *spec.Output) (*output.Extra, error) {
	x := &output.Extra{}
	if o.ISO != nil {
		size, dirs := w.bootSize(w.target.spec.Boot)
		if b := w.target.spec.Boot; b.Isolinux != nil {
			x.Raw = []estimate.Size{w.isolinuxSize(b)}
		}
		if w.target.spec.Boot.UEFI() {
			x.Files = []output.Files{{Store: w.held(dirs), Made: size}}
		}
		return x, nil
	}
	if o.Disk == nil {
		return x, nil
	}
	source := w.newContent(w.ctx, "")
	for i := range o.Disk.Raw {
		raw := &o.Disk.Raw[i]
		if raw.Store != "" {
			nar := w.plan.Holder(raw.Store).NarSize
			x.Raw = append(x.Raw, estimate.Size{Least: 1, Likely: nar, Most: nar}) // nothing has no place
			continue
		}
		f, n, err := source.Raw(o, i)
		if err != nil {
			return nil, err
		}
		f.Close()
		x.Raw = append(x.Raw, estimate.Size{Least: n, Likely: n, Most: n})
	}
	x.Files = make([]output.Files, len(o.Disk.Partitions))
	for i := range o.Disk.Partitions {
		p := &o.Disk.Partitions[i]
		var err error
		if x.Files[i].Tree, err = source.local(o, p); err != nil {
			return nil, err
		}
		stored := []string{}
		for _, f := range p.Files {
			stored = append(stored, f.Store)
		}
		if p.Content == "boot" {
			size, dirs := w.bootSize(w.target.spec.Boot)
			x.Files[i].Made, stored = size, append(stored, dirs...)
		}
		x.Files[i].Store = w.held(stored)
	}
	return x, nil
}

// held returns the objects that hold files.
func (w *work) held(files []string) (infos []*narinfo.Info) {
	for _, name := range files {
		if info := w.plan.Holder(name); info != nil {
			infos = append(infos, info)
		}
	}
	return infos
}
