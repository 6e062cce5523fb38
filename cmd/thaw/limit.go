package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"thaw/estimate"
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
		if least, most := w.estimate(c, &o).Least, o.MaxSize.Bytes; most > 0 && least > most {
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

// estimate says how large an output will be.
func (w *work) estimate(c *estimate.Content, o *spec.Output) estimate.Size {
	switch o.Type {
	case "tar":
		return estimate.Tar(c, o.Tar.Compress)
	case "cpio":
		return estimate.Cpio(c, o.Cpio.Compress)
	case "dir":
		return estimate.Dir(c)
	case "ext4":
		return estimate.Ext4(c, output.Ext4Options(&o.Ext4.Ext4, o.Ext4.Size, 0))
	case "disk":
		if p := o.Disk.Partitions[0]; len(o.Disk.Partitions) == 1 && p.Ext4 != nil && o.Disk.Format == "raw" && o.Disk.Compress == "none" {
			return estimate.Disk(c, output.Ext4Options(p.Ext4, p.Size, 0), o.Disk.Size.Bytes)
		}
	}
	return estimate.Size{Likely: w.plan.NarSize(), Most: 1 << 60}
}
