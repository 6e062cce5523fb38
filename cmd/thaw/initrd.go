package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"thaw/assemble"
	"thaw/boot/initrd"
	"thaw/image/cpio"
	"thaw/internal/compress"
	"thaw/narinfo"
	"thaw/output"
	"thaw/rootfs"
	"thaw/spec"
	"thaw/storepath"
)

// generate makes an initrd. root is where the root file system is, if the spec does
// not say it.
func (c *content) generate(root output.RootPlace) (*io.SectionReader, error) {
	g := c.work.target.spec.Boot.Generate
	opt := initrd.Options{
		Names: g.Load, FSTypes: g.Filesystems, FirmwareNames: g.Files,
		Root: g.Root, Overlay: g.Overlay, ReadOnly: g.ReadOnly, Rescue: g.Rescue,
		Timeout: time.Duration(g.Timeout) * time.Second, Time: c.work.plan.Time,
	}
	if opt.FSTypes == nil {
		opt.FSTypes = rootTypes(c.work.target.spec)
		if g.Overlay != "" && g.Overlay != "tmpfs" { // a device, with what can be written to
			opt.FSTypes = append(opt.FSTypes, "ext4")
		}
	}
	if opt.Root == "" {
		opt.Root, opt.Image = root.Device, root.Image
	}
	if opt.Image != "" {
		opt.FSTypes = append(slices.Clone(opt.FSTypes), "iso9660")
	}
	busybox, err := regular(c.files.Find(c.ctx, g.Busybox))
	if err != nil {
		return nil, fmt.Errorf("busybox: %w", err)
	}
	opt.Busybox = busybox.String()
	for _, info := range c.work.referred(busybox.Object) {
		opt.Objects = append(opt.Objects, c.object(info))
	}
	if g.Modules != "" {
		if opt.Modules, err = c.directory(g.Modules); err != nil {
			return nil, fmt.Errorf("modules: %w", err)
		}
		opt.Buses = g.Buses
	}
	for _, name := range g.Firmware {
		o, err := c.directory(name)
		if err != nil {
			return nil, fmt.Errorf("firmware: %w", err)
		}
		opt.Firmware = append(opt.Firmware, o)
	}
	from := c.spool.end
	microcode, err := c.blobFile("generate.microcode", g.Microcode)
	if err != nil {
		return nil, err
	}
	if microcode != nil {
		from = c.spool.end
		if err := initrd.Microcode(c.spool, microcode); err != nil {
			return nil, err
		}
	}
	if err := c.archive(opt, g.Compress); err != nil {
		return nil, err
	}
	return c.spool.section(from), nil
}

// archive appends an initrd to the spool.
func (c *content) archive(opt initrd.Options, compression string) error {
	z, err := compress.NewWriter(compression, c.spool)
	if err != nil {
		return err
	}
	w := cpio.NewWriter(z)
	if _, err := initrd.Build(rootfs.Check(w), opt); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return z.Close()
}

// object is a store object as it goes into an initrd.
func (c *content) object(info *narinfo.Info) initrd.Object {
	return initrd.Object{Path: info.StorePath.String(), Walk: func(visit func(e rootfs.Entry, data io.Reader) error) error {
		return assemble.ReadObject(c.ctx, c.work.src, info, visit)
	}}
}

// directory is a directory in the store of which something goes into an initrd.
func (c *content) directory(name string) (initrd.Object, error) {
	at, err := c.files.Find(c.ctx, name)
	if err == nil && !at.Mode.IsDir() {
		err = fmt.Errorf("%s is not a directory", at)
	}
	return initrd.Object{Path: name, Walk: func(visit func(e rootfs.Entry, data io.Reader) error) error {
		return c.files.Walk(c.ctx, at, visit)
	}}, err
}

// referred returns an object and all that it refers to, sorted.
func (w *work) referred(info *narinfo.Info) []*narinfo.Info {
	seen := map[storepath.Path]bool{info.StorePath: true}
	all := []*narinfo.Info{info}
	for i := 0; i < len(all); i++ {
		for _, r := range all[i].References {
			if next := w.plan.Holder(r.String()); !seen[r] && next != nil {
				seen[r] = true
				all = append(all, next)
			}
		}
	}
	slices.SortFunc(all, func(a, b *narinfo.Info) int { return a.StorePath.Compare(b.StorePath) })
	return all
}

// rootTypes returns the types of file systems that the outputs have the root file
// system in, sorted; ext4 if there are none.
func rootTypes(s *spec.Spec) (types []string) {
	for _, o := range s.Outputs {
		switch {
		case o.ISO != nil:
			types = append(types, o.ISO.Root.FS)
		case o.Files != nil && o.Files.Root != "none":
			types = append(types, o.Files.Root)
		case o.Disk == nil && (o.Ext4 != nil || o.Squashfs != nil || o.Erofs != nil):
			types = append(types, o.Type)
		case o.Disk != nil:
			for _, p := range o.Disk.Partitions {
				if p.Content == "rootfs" {
					types = append(types, p.FS)
				}
			}
		}
	}
	if types == nil {
		return []string{"ext4"}
	}
	slices.Sort(types)
	return slices.Compact(types)
}
