package output

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"thaw/image/disk"
	"thaw/image/vfat"
	"thaw/rootfs"
	"thaw/spec"
)

// diskWriter writes a disk, partition by partition.
type diskWriter struct {
	out    *spec.Output
	of     *spec.Disk
	params *Params
	disk   *disk.Writer
	next   int     // the first partition that is not begun
	open   []*root // the partitions of the root file system, which end last
	roots  int     // how many there have been
	bios   *BIOS   // what BIOSes start; nil for nothing
}

// root is a partition of the root file system that is being written.
type root struct {
	fs      fileSystem
	section *disk.Section
	place   string
}

// newDisk makes a Writer of a disk to f, in its format.
func newDisk(f File, o *spec.Output, p *Params) (*Writer, error) {
	c, err := newContainer(f, o, p)
	if err != nil {
		return nil, err
	}
	d, err := beginDisk(c.disk, o, p)
	if err != nil {
		d.leave()
		return nil, err
	}
	w := &Writer{leave: d.leave}
	for _, r := range d.open {
		w.sinks = append(w.sinks, r.fs)
	}
	w.finish = func() (int64, error) {
		size, err := d.close()
		if err != nil {
			return 0, err
		}
		m := d.disk.Map()
		w.layout = &m
		return c.close(size)
	}
	return w, nil
}

var tables = map[string]disk.Table{"gpt": disk.GPT, "mbr": disk.MBR, "hybrid": disk.Hybrid}

var attributes = map[string]uint64{
	"required": disk.AttrRequired, "no-block-io": disk.AttrNoBlockIO, "legacy-boot": disk.AttrLegacyBoot, "grow-fs": disk.AttrGrowFS,
	"read-only": disk.AttrReadOnly, "hidden": disk.AttrHidden, "no-auto": disk.AttrNoAuto,
}

// beginDisk writes what comes before the end of the first root file system that has
// no size yet.
func beginDisk(w io.WriterAt, o *spec.Output, p *Params) (*diskWriter, error) {
	d, err := openDisk(w, o, p)
	if err != nil {
		return d, err
	}
	if err := d.code(); err != nil {
		return d, err
	}
	for i := range d.of.Raw {
		if err := d.raw(i); err != nil {
			return d, err
		}
	}
	return d, d.partitions()
}

// openDisk makes the writer of a disk with nothing on it.
func openDisk(w io.WriterAt, o *spec.Output, p *Params) (*diskWriter, error) {
	d := &diskWriter{out: o, of: o.Disk, params: p}
	opt := disk.Options{
		Table: tables[d.of.Table], Size: d.of.Size.Bytes, SectorSize: d.of.SectorSize, Align: d.of.Align.Bytes,
	}
	if opt.Table != disk.MBR {
		opt.GUID = guid(p, d.of.GUID, "disk/guid")
	}
	if opt.Table != disk.GPT {
		opt.Signature = serial(p, d.of.Signature, "disk/signature")
	}
	var err error
	d.disk, err = disk.NewWriter(w, opt)
	return d, at(p.whole(o), err)
}

// leave ends the writers of the root file systems, whatever they have written.
func (d *diskWriter) leave() {
	for _, r := range d.open {
		r.fs.Close()
	}
}

// RootPlace is where a root file system is.
type RootPlace struct {
	Device string // as root= takes it; "" for none
	Image  string // the file on it, as rootimage= takes it; "" where it is the device
}

// FindRoot says where the first root file system of a disk is, by its PARTUUID, and
// that of a CD, by the label of the CD. For other outputs it is nowhere.
func FindRoot(o *spec.Output, id func(name string) [16]byte) RootPlace {
	switch {
	case o.Disk != nil:
		return RootPlace{Device: rootDevice(o, id)}
	case o.ISO != nil:
		return RootPlace{"LABEL=" + o.ISO.Label, "/" + rootImage(o.ISO)}
	}
	return RootPlace{}
}

// rootDevice returns the first root file system of a disk, "" for none.
func rootDevice(o *spec.Output, id func(name string) [16]byte) string {
	p := &Params{ID: id}
	for i, part := range o.Disk.Partitions {
		switch {
		case part.Content != "rootfs":
		case o.Disk.Table == "mbr":
			return fmt.Sprintf("PARTUUID=%08x-%02x", serial(p, o.Disk.Signature, "disk/signature"), number(o.Disk, i))
		default:
			return "PARTUUID=" + strings.ToLower(string(guid(p, part.GUID, rootName+"/partition-guid")))
		}
	}
	return ""
}

// number is that of a partition: the one that is given, or the lowest that is not
// given to another partition and that none before has.
func number(d *spec.Disk, i int) (n int) {
	taken := map[int]bool{}
	for _, p := range d.Partitions {
		taken[p.Number] = true
	}
	for _, p := range d.Partitions[:i+1] {
		if n = p.Number; n != 0 {
			continue
		}
		for n = 1; taken[n]; {
			n++
		}
		taken[n] = true
	}
	return n
}

// guid returns the one that is given, or one derived from the plan.
func guid(p *Params, given spec.UUID, name string) disk.GUID {
	if given == (spec.UUID{}) {
		return disk.MakeGUID(p.ID(name))
	}
	return disk.GUID(strings.ToUpper(given.String()))
}

// code writes what a BIOS runs first, if a loader for BIOSes is on the disk.
func (d *diskWriter) code() (err error) {
	if !slices.ContainsFunc(d.of.Partitions, func(p spec.Partition) bool { return p.Content == "boot" }) {
		return nil
	}
	if d.bios, err = d.params.Source.BIOS(); d.bios == nil || err != nil {
		return err
	}
	s, err := d.disk.AddRaw(disk.Raw{Name: "boot code", Size: int64(len(d.bios.Code))})
	if err == nil {
		_, err = s.WriteAt(d.bios.Code, 0)
	}
	return at(d.params.whole(d.out), err)
}

// raw writes content with a place of its own.
func (d *diskWriter) raw(i int) error {
	content, size, err := d.params.Source.Raw(d.out, i)
	if err != nil {
		return err
	}
	defer content.Close()
	s, err := d.addRaw(i, size)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.NewOffsetWriter(s, 0), io.LimitReader(content, size))
	if err == nil && n < size {
		err = at(d.params.place(d.out, "raw", d.of.Raw[i].Origin), fmt.Errorf("it has %d bytes instead of %d", n, size))
	}
	return err
}

// addRaw makes a place for content of that size.
func (d *diskWriter) addRaw(i int, size int64) (*disk.Section, error) {
	of := d.of.Raw[i]
	s, err := d.disk.AddRaw(disk.Raw{Name: path.Base(of.Source + of.Store), Offset: int64(of.Offset), Size: size})
	return s, at(d.params.place(d.out, "raw", of.Origin), err)
}

// partitions begins partitions, up to the root file system whose end tells where the
// next one is.
func (d *diskWriter) partitions() error {
	for d.next < len(d.of.Partitions) {
		i := d.next
		d.next++
		ends, err := d.partition(i)
		if err != nil || !ends {
			return err
		}
	}
	return nil
}

// add makes a place for a partition, and returns what its identifiers are derived
// from.
func (d *diskWriter) add(i int) (_ *disk.Section, name string, err error) {
	of := &d.of.Partitions[i]
	name = fmt.Sprintf("partition/%d", i+1)
	if of.Content == "rootfs" {
		if d.roots++; d.roots == 1 {
			name = rootName
		}
	}
	p := disk.Partition{Name: of.Name, Number: number(d.of, i), InMBR: of.InMBR, Type: disk.GUID(of.Type)}
	if t, ok := disk.TypeNamed(of.Type); ok {
		p.Type = t
	}
	if d.of.Table != "mbr" {
		p.GUID = guid(d.params, of.GUID, name+"/partition-guid")
	}
	for _, a := range of.Attributes {
		p.Attributes |= attributes[a]
	}
	if d.bios != nil && of.Content == "boot" {
		p.Attributes |= disk.AttrLegacyBoot
	}
	if of.Size.Kind == spec.Fixed {
		p.Size = of.Size.Bytes
	}
	section, err := d.disk.Add(p)
	return section, name, at(d.params.place(d.out, "partitions", of.Origin), err)
}

// partition begins a partition, and reports whether it has its end.
func (d *diskWriter) partition(i int) (ends bool, err error) {
	of := &d.of.Partitions[i]
	where := d.params.place(d.out, "partitions", of.Origin)
	section, name, err := d.add(i)
	if err != nil {
		return false, err
	}
	if of.FS == "none" {
		return true, nil
	}
	v := d.volume(i, section, name)
	if of.Content != "rootfs" {
		return true, d.filled(section, v, i, where)
	}
	fs, err := newFileSystem(section, d.params, v, where)
	if err != nil {
		return false, err
	}
	d.open = append(d.open, &root{fs, section, where})
	return of.Size.Kind != spec.Fit, nil
}

// volume returns the volume in a partition that has a place.
func (d *diskWriter) volume(i int, section *disk.Section, name string) *volume {
	of := &d.of.Partitions[i]
	v := partitionVolume(d.of, of, name)
	v.start = section.Start()
	if of.Size.Kind != spec.Fit {
		v.size = spec.Size{Kind: spec.Fixed, Bytes: section.Size()}
	}
	return v
}

// partitionVolume returns the volume in a partition.
func partitionVolume(d *spec.Disk, of *spec.Partition, name string) *volume {
	return &volume{name: name, size: of.Size, ext4: of.Ext4, sqfs: of.Squashfs, ero: of.Erofs, fat: of.Vfat, sector: d.SectorSize}
}

// filled writes a partition that has files of its own, or none.
func (d *diskWriter) filled(section *disk.Section, v *volume, i int, where string) error {
	tree := &rootfs.Tree{}
	if content := d.of.Partitions[i].Content; content == "files" || content == "boot" {
		var err error
		if tree, err = d.params.Source.Files(d.out, i); err != nil {
			return err
		}
		if content == "boot" { // files of its own replace others
			boot, err := d.params.Source.Boot(d.out)
			if err != nil {
				return err
			}
			boot.Lay(tree)
			tree = boot
		}
	}
	if !tree.Has(".") {
		top := rootfs.Dir(".", 0o755)
		top.ModTime = d.params.Time
		tree.Put(top, nil)
	}
	v.files = tree
	fs, err := newFileSystem(section, d.params, v, where)
	if err != nil {
		return err
	}
	err = tree.Send(rootfs.Check(fs))
	if end := fs.Close(); err == nil {
		err = end
	}
	if err == nil && d.bios != nil && d.of.Partitions[i].Content == "boot" {
		err = at(where, d.install(section, fs))
	}
	if err != nil {
		return err
	}
	return at(where, section.End(fs.Size()))
}

// install puts the loader for BIOSes into a file system that is complete.
func (d *diskWriter) install(w io.WriterAt, fs fileSystem) error {
	fat, ok := fs.(*placed).fileSystem.(*vfat.Writer)
	if !ok {
		return errors.New("a loader for BIOSes is on vfat")
	}
	at, ok := fat.Place("ldlinux.sys")
	if !ok {
		return errors.New("there is no ldlinux.sys")
	}
	return d.bios.Loader.Install(w, fat.BootSectors(), at)
}

// close ends the root file systems and writes all that comes behind them.
func (d *diskWriter) close() (size int64, err error) {
	for _, r := range slices.Clone(d.open) {
		if err := r.fs.Close(); err != nil {
			return 0, err
		}
		if err := r.section.End(r.fs.Size()); err != nil {
			return 0, at(r.place, err)
		}
	}
	if err := d.partitions(); err != nil {
		return 0, err
	}
	if err := d.disk.Close(); err != nil {
		return 0, at(d.params.whole(d.out), err)
	}
	return d.disk.Size(), nil
}
