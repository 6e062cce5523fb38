package output

import (
	"cmp"
	"fmt"
	"io"

	"thaw/image/disk"
	"thaw/image/iso"
	"thaw/image/vfat"
	"thaw/rootfs"
	"thaw/spec"
)

// CD is what machines boot from a CD.
type CD struct {
	// UEFI are the files of the file system that UEFI boots from; nil for none.
	UEFI *rootfs.Tree
	// BIOS are the files of the CD itself that BIOSes boot from; nil for none.
	BIOS   *rootfs.Tree
	Loader string // the one of BIOS that they start
	Code   []byte // at the start of the CD where it is a disk, up to CDCodeSize bytes
	// Within are files of BIOS, by their paths, that are found in files of UEFI: they
	// are on the CD once.
	Within map[string]Within
}

// Within is a place in a file, which is a multiple of [Sector].
type Within struct {
	Path   string
	Offset int64
}

const (
	// Sector is how many bytes a sector of a CD has.
	Sector = 2048
	// CDCodeSize is how many bytes the code at the start of a CD has at most.
	CDCodeSize = 432
)

// isoWriter writes a CD: what machines boot from, an image for UEFI and files for
// BIOSes, and behind it the root file system.
type isoWriter struct {
	of     *spec.ISO
	params *Params
	place  string
	code   bool // of a BIOS is in front
	iso    *iso.Writer
}

// newISO makes a Writer of a CD to f.
func newISO(f File, o *spec.Output, p *Params) (*Writer, error) {
	cd, err := p.Source.CD(o)
	if err != nil {
		return nil, err
	}
	d, err := openISO(f, o, p, cd)
	if err != nil {
		return nil, err
	}
	if err := d.boot(cd); err != nil {
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
	w := &Writer{sinks: []rootfs.Sink{fs}, leave: func() { fs.Close() }}
	w.finish = func() (int64, error) {
		if err := fs.Close(); err != nil {
			return 0, err
		}
		m, err := d.end(section, fs.Size())
		if err != nil {
			return 0, err
		}
		w.layout = &m
		return m.Size, f.Truncate(m.Size)
	}
	return w, nil
}

// openISO makes the writer of a CD with nothing on it.
func openISO(w io.WriterAt, o *spec.Output, p *Params, cd *CD) (*isoWriter, error) {
	d := &isoWriter{of: o.ISO, params: p, place: p.whole(o), code: len(cd.Code) > 0}
	opt := iso.Options{Label: d.of.Label, Time: p.Time, BIOS: cd.Loader, Code: cd.Code}
	if d.of.Table != "none" {
		opt.Disk.Table = tables[d.of.Table]
		if opt.Disk.Table != disk.MBR {
			opt.Disk.GUID = disk.MakeGUID(p.ID("iso/guid"))
		}
		if opt.Disk.Table != disk.GPT {
			opt.Disk.Signature = serial(p, 0, "iso/signature")
		}
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

// partition is one in the table, if there is a table. Some BIOSes do not run the code in
// front unless a partition of an MBR is active; to the code it is all one.
func (d *isoWriter) partition(name string, kind disk.GUID, id string) (p disk.Partition) {
	p = disk.Partition{Name: name, Type: kind, GUID: disk.MakeGUID(d.params.ID(id + "/partition-guid"))}
	active := d.code
	switch d.of.Table {
	case "none":
		return disk.Partition{}
	case "mbr":
		p = disk.Partition{Type: kind}
		active = active && kind != disk.TypeESP
	case "hybrid":
		p.InMBR = kind == disk.TypeESP
		active = active && p.InMBR
	default:
		active = false
	}
	if active {
		p.Attributes = disk.AttrLegacyBoot
	}
	return p
}

// image begins a file that is a partition, too.
func (d *isoWriter) image(m iso.Image, name string) (*iso.Section, error) {
	m.Entry = rootfs.Entry{Path: name, Mode: 0o444, ModTime: d.params.Time}
	s, err := d.iso.AddImage(m)
	return s, at(d.place, err)
}

// efiImage is the name of the file that UEFI boots from.
const efiImage = "efi.img"

// efi begins what UEFI boots from.
func (d *isoWriter) efi() (*iso.Section, error) {
	return d.image(iso.Image{UEFI: true, Partition: d.partition("esp", disk.TypeESP, "iso/efi")}, efiImage)
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

// sharedCluster is the size of clusters of a file system in which files of the CD lie: a
// file begins where a sector does.
const sharedCluster = 2 * Sector

// isoEFI returns the volume that UEFI boots from. If it is shared, files of the CD lie in
// it.
func isoEFI(of *spec.ISO, shared bool) *volume {
	v := &volume{name: "iso/efi", size: of.EFI, fat: &spec.Vfat{}, sector: 512}
	if shared {
		v.cluster = sharedCluster
	}
	return v
}

// boot writes what machines boot from.
func (d *isoWriter) boot(cd *CD) error {
	if cd.BIOS == nil {
		if err := d.top(); err != nil {
			return err
		}
		return d.uefi(cd.UEFI, nil)
	}
	shared := &sharing{Sink: rootfs.Check(d.iso), within: cd.Within}
	if err := cd.BIOS.Send(shared); err != nil || cd.UEFI == nil {
		return at(d.place, err)
	}
	return d.uefi(cd.UEFI, shared)
}

// uefi writes what UEFI boots from, and the files of the CD that are in there.
func (d *isoWriter) uefi(tree *rootfs.Tree, shared *sharing) error {
	section, err := d.efi()
	if err != nil {
		return err
	}
	v := isoEFI(d.of, shared != nil)
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
	err = section.End(fs.Size())
	if err == nil && shared != nil {
		err = shared.add(d.iso, fs.(*placed).fileSystem.(*vfat.Writer))
	}
	return at(d.place, err)
}

// sharing keeps back files that lie in others.
type sharing struct {
	rootfs.Sink
	within map[string]Within
	files  []rootfs.Entry
}

// Add implements [rootfs.Sink]. It does not read what is elsewhere.
func (s *sharing) Add(e rootfs.Entry, data io.Reader) error {
	if _, ok := s.within[e.Path]; !ok {
		return s.Sink.Add(e, data)
	}
	s.files = append(s.files, e)
	return nil
}

// add adds the files that were kept back, which lie in the file system that UEFI boots
// from.
func (s *sharing) add(w *iso.Writer, fat *vfat.Writer) error {
	for _, e := range s.files {
		in := s.within[e.Path]
		off, ok := fat.Place(in.Path)
		if !ok {
			return fmt.Errorf("%q is to be in %q, which is not there", e.Path, in.Path)
		}
		if err := w.AddWithin(e, efiImage, off+in.Offset); err != nil {
			return err
		}
	}
	return nil
}

// end ends the root file system, which has that many bytes, and the CD, and returns its
// map.
func (d *isoWriter) end(root *iso.Section, size int64) (m disk.Map, err error) {
	if err := root.End(size); err != nil {
		return m, at(d.place, err)
	}
	if err := d.iso.Close(); err != nil {
		return m, at(d.place, err)
	}
	return d.iso.Map(), nil
}

// layoutISO says what is where on a CD, of which what UEFI boots from, what BIOSes boot
// from and the root file system have these sizes in bytes, the first two maybe none.
func layoutISO(o *spec.Output, p *Params, uefi, bios, root int64) (m disk.Map, err error) {
	d, err := openISO(nowhere{}, o, p, &CD{})
	if err == nil {
		err = d.top()
	}
	if err != nil {
		return m, err
	}
	for _, part := range []struct {
		size  int64
		begin func() (*iso.Section, error)
	}{
		{bios, func() (*iso.Section, error) { return d.image(iso.Image{}, "boot") }},
		{uefi, d.efi},
	} {
		if part.size == 0 {
			continue
		}
		s, err := part.begin()
		if err != nil {
			return m, err
		}
		if err := s.End(part.size); err != nil {
			return m, at(d.place, err)
		}
	}
	s, err := d.root()
	if err != nil {
		return m, err
	}
	return d.end(s, root)
}
