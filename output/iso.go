package output

import (
	"cmp"
	"io"

	"thaw/image/disk"
	"thaw/image/iso"
	"thaw/rootfs"
	"thaw/spec"
)

// isoWriter writes a CD: what a machine boots from, an image for UEFI or files for
// BIOSes, and behind it the root file system.
type isoWriter struct {
	of     *spec.ISO
	params *Params
	place  string
	iso    *iso.Writer
}

// newISO makes a Writer of a CD to f.
func newISO(f File, o *spec.Output, p *Params) (*Writer, error) {
	bios, err := p.Source.BIOS()
	if err != nil {
		return nil, err
	}
	d, err := openISO(f, o, p, bios)
	if err != nil {
		return nil, err
	}
	tree, err := p.Source.Boot(o)
	if err != nil {
		return nil, err
	}
	if err := d.boot(tree, bios); err != nil {
		return nil, err
	}
	section, err := d.root()
	if err != nil {
		return nil, err
	}
	fs, err := newFileSystem(section, p, isoRoot(d.of), d.key("root"))
	if err != nil {
		return nil, err
	}
	finish := func() (int64, error) {
		if err := fs.Close(); err != nil {
			return 0, err
		}
		size, err := d.end(section, fs.Size())
		if err != nil {
			return 0, err
		}
		return size, f.Truncate(size)
	}
	return &Writer{sinks: []rootfs.Sink{fs}, finish: finish, leave: func() { fs.Close() }}, nil
}

// openISO makes the writer of a CD with nothing on it. bios is what a BIOS boots, nil
// for nothing.
func openISO(w io.WriterAt, o *spec.Output, p *Params, bios *BIOS) (*isoWriter, error) {
	d := &isoWriter{of: o.ISO, params: p, place: p.whole(o)}
	opt := iso.Options{Label: d.of.Label, Time: p.Time}
	switch d.of.Table {
	case "gpt":
		opt.Disk = disk.Options{Table: disk.GPT, GUID: disk.MakeGUID(p.ID("iso/guid"))}
	case "mbr":
		opt.Disk = disk.Options{Table: disk.MBR, Signature: serial(p, 0, "iso/signature")}
	}
	if bios != nil {
		opt.BIOS, opt.Code = bios.File, bios.Code
	}
	var err error
	d.iso, err = iso.NewWriter(w, opt)
	return d, at(d.place, err)
}

// top adds the root directory of the CD.
func (d *isoWriter) top() error {
	e := rootfs.Dir(".", 0o755)
	e.ModTime = d.params.Time
	return at(d.place, d.iso.Add(e, nil))
}

// key is what a key of the CD is called in errors.
func (d *isoWriter) key(name string) string {
	if d.place == "" {
		return ""
	}
	return d.place + "." + name
}

// partition is one in the table, if there is a table.
func (d *isoWriter) partition(name string, kind disk.GUID, id string) disk.Partition {
	switch d.of.Table {
	case "gpt":
		return disk.Partition{Name: name, Type: kind, GUID: disk.MakeGUID(d.params.ID(id + "/partition-guid"))}
	case "mbr":
		return disk.Partition{Type: kind}
	}
	return disk.Partition{}
}

// image begins a file that is a partition, too.
func (d *isoWriter) image(m iso.Image, name string) (*iso.Section, error) {
	m.Entry = rootfs.Entry{Path: name, Mode: 0o444, ModTime: d.params.Time}
	s, err := d.iso.AddImage(m)
	return s, at(d.place, err)
}

// efi begins what UEFI boots from.
func (d *isoWriter) efi() (*iso.Section, error) {
	return d.image(iso.Image{UEFI: true, Partition: d.partition("esp", disk.TypeESP, "iso/efi")}, "efi.img")
}

// root begins the root file system.
func (d *isoWriter) root() (*iso.Section, error) {
	label := spec.DefaultLabel
	if e := d.of.Root.Erofs; e != nil {
		label = cmp.Or(*e.Label, label)
	}
	return d.image(iso.Image{Partition: d.partition(label, disk.TypeLinux, rootName)}, rootImage(d.of))
}

// rootImage is the name of the root file system's file.
func rootImage(of *spec.ISO) string { return "root." + of.Root.FS }

// isoRoot returns the volume of the root file system.
func isoRoot(of *spec.ISO) *volume {
	return &volume{name: rootName, sqfs: of.Root.Squashfs, ero: of.Root.Erofs}
}

// isoEFI returns the volume that UEFI boots from.
func isoEFI(of *spec.ISO) *volume {
	return &volume{name: "iso/efi", size: of.EFI, fat: &spec.Vfat{}, sector: 512}
}

// boot writes what a machine boots from.
func (d *isoWriter) boot(tree *rootfs.Tree, bios *BIOS) error {
	if bios != nil {
		return at(d.place, tree.Send(rootfs.Check(d.iso)))
	}
	if err := d.top(); err != nil {
		return err
	}
	section, err := d.efi()
	if err != nil {
		return err
	}
	v := isoEFI(d.of)
	v.files, v.start = tree, section.Start()
	fs, err := newFileSystem(section, d.params, v, d.key("efi"))
	if err != nil {
		return err
	}
	err = tree.Send(rootfs.Check(fs))
	if end := fs.Close(); err == nil {
		err = end
	}
	if err != nil {
		return err
	}
	return at(d.place, section.End(fs.Size()))
}

// end ends the root file system, which has that many bytes, and the CD.
func (d *isoWriter) end(root *iso.Section, size int64) (int64, error) {
	if err := root.End(size); err != nil {
		return 0, at(d.place, err)
	}
	if err := d.iso.Close(); err != nil {
		return 0, at(d.place, err)
	}
	return d.iso.Size(), nil
}

// sizeISO returns the size of a CD of which what is booted from and the root file
// system have these.
func sizeISO(o *spec.Output, p *Params, boot int64, bios bool, root int64) (int64, error) {
	d, err := openISO(nowhere{}, o, p, nil)
	if err == nil {
		err = d.top()
	}
	if err != nil {
		return 0, err
	}
	begin := d.efi
	if bios {
		begin = func() (*iso.Section, error) { return d.image(iso.Image{}, "boot") }
	}
	if boot > 0 {
		s, err := begin()
		if err != nil {
			return 0, err
		}
		if err := s.End(boot); err != nil {
			return 0, at(d.place, err)
		}
	}
	s, err := d.root()
	if err != nil {
		return 0, err
	}
	return d.end(s, root)
}
