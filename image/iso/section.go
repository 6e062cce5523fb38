package iso

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"thaw/image/disk"
	"thaw/rootfs"
)

// An Image is content that another writer makes: a file system.
type Image struct {
	// Entry is the file of the tree that the image is, too. Its Size is not
	// looked at. Without a Path there is none.
	Entry rootfs.Entry
	// Partition is the image's partition in the table of Options.Disk. Its
	// Start and Size are the Writer's. The zero value is none.
	Partition disk.Partition
	// UEFI says that UEFI boots from the image where the volume is a CD. It is
	// a FAT file system; for a disk, Partition has the type [disk.TypeESP].
	UEFI bool
}

// Section is the place of an image, from 0 on.
type Section struct {
	iso   *Writer
	image Image
	node  node
	start int64
	limit int64
}

func (w *Writer) addImage(m *Image) (*Section, error) {
	part := m.Partition
	switch {
	case w.open != nil:
		return nil, errOpen
	case part != disk.Partition{} && !w.opt.table():
		return nil, fmt.Errorf("iso: partition %q: the volume has no partition table", part.Name)
	case part.Start != 0 || part.Size != 0:
		return nil, fmt.Errorf("iso: partition %q: its place is given, and is where the image comes to lie", part.Name)
	case m.UEFI && w.uefi != nil:
		return nil, errors.New("iso: a second image for UEFI to boot from")
	}
	s := &Section{iso: w, image: *m, limit: maxSectors * sectorSize}
	if m.Entry.Path != "" {
		if err := s.name(); err != nil {
			return nil, err
		}
	}
	s.start = w.out.Pos()
	w.mapFiles()
	if (part != disk.Partition{}) {
		s.start = up(s.start, w.opt.Disk.Align)
	}
	s.limit -= s.start
	if s.limit < sectorSize {
		return nil, errFull
	}
	w.open = s
	return s, w.out.Flush()
}

// name makes the node of the image's entry.
func (s *Section) name() (err error) {
	s.image.Entry.Size = 0
	s.node, err = s.iso.unseen(&s.image.Entry)
	return err
}

// unseen makes the node of a regular file that no [rootfs.Check] sees, and holds it
// against the laws of package rootfs.
func (w *Writer) unseen(e *rootfs.Entry) (node, error) {
	if err := e.Validate(); err != nil {
		return node{}, err
	}
	if e.Kind() != 0 {
		return node{}, &rootfs.EntryError{Path: e.Path, Reason: "is an image, and no regular file"}
	}
	parent, name, err := w.newName(e.Path)
	if err != nil {
		return node{}, err
	}
	if _, ok := parent.entries.Lookup(name); ok {
		return node{}, &rootfs.EntryError{Path: e.Path, Reason: "comes twice"}
	}
	return newNode(e)
}

func (w *Writer) addWithin(e *rootfs.Entry, image string, off int64) error {
	if w.open != nil {
		return errOpen
	}
	n, err := w.unseen(e)
	if err != nil {
		return err
	}
	parent, name, err := w.dirs.Parent(image)
	if err != nil {
		return err
	}
	number, ok := parent.entries.Lookup(name)
	if !ok || !slices.Contains(w.images, image) {
		return &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf("%q is no image added before", image)}
	}
	if of := &w.nodes[number]; off < 0 || off > of.size || e.Size > of.size-off {
		return &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf("%d bytes from %d on are not in %q, which has %d", e.Size, off, image, of.size)}
	} else if off%sectorSize != 0 {
		return &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf("it lies at %d in %q, where no sector of %d bytes begins", off, image, sectorSize)}
	} else if e.Size > 0 {
		n.sector = of.sector + uint32(off/sectorSize)
	}
	err = w.link(e, n)
	w.images = append(w.images, e.Path)
	return err
}

// up rounds n up to a multiple of a power of two.
func up(n, unit int64) int64 { return (n + unit - 1) &^ (unit - 1) }

// Start returns where in the volume the image begins, in bytes.
func (s *Section) Start() int64 { return s.start }

// WriteAt implements [io.WriterAt]. Nothing is written of what does not fit.
func (s *Section) WriteAt(p []byte, off int64) (int, error) {
	switch {
	case s.iso.err != nil:
		return 0, s.iso.err
	case off < 0:
		return 0, fmt.Errorf("iso: write at %d: %w", off, fs.ErrInvalid)
	case off > s.limit || int64(len(p)) > s.limit-off:
		return 0, fmt.Errorf("iso: %w: this image has up to %d bytes", disk.ErrFull, s.limit)
	}
	return s.iso.w.WriteAt(p, s.start+off)
}

// End says that the image has size bytes: what lies behind them must be zeros. Entries
// can be added then.
func (s *Section) End(size int64) error {
	w := s.iso
	if w.err == nil {
		w.err = s.end(size)
	}
	return w.err
}

func (s *Section) end(size int64) error {
	w := s.iso
	switch {
	case w.open != s:
		return errors.New("iso: an image is ended twice")
	case size <= 0 || size > s.limit:
		return fmt.Errorf("iso: an image of %d bytes: 1 to %d", size, s.limit)
	case s.image.Entry.Path != "" && size > MaxFile:
		return &rootfs.EntryError{Path: s.image.Entry.Path, Reason: fmt.Sprintf("Linux reads no file of %d bytes on ISO 9660, at most %d", size, int64(MaxFile))}
	}
	w.open = nil
	end := up(size, sectorSize)
	at := extent{uint32(s.start / sectorSize), size}
	if part := s.image.Partition; part != (disk.Partition{}) {
		end = up(size, w.opt.Disk.Align)
		part.Start, part.Size = s.start, end
		w.parts = append(w.parts, part)
	}
	w.out.Move(s.start + end)
	if s.image.UEFI {
		w.uefi = &at
	}
	if (s.image.Partition == disk.Partition{}) {
		note := ""
		if s.image.UEFI {
			note = bootedByUEFI
		}
		w.mapRegion(cmp.Or(s.image.Entry.Path, "an image"), note)
	}
	w.mapped = s.start + end
	s.limit = size
	if s.image.Entry.Path == "" {
		return nil
	}
	s.node.sector, s.node.size = at.sector, size
	err := w.link(&s.image.Entry, s.node)
	w.images = append(w.images, s.image.Entry.Path)
	return err
}

const diskSector = 512

// writeTable writes the partition table around a volume that ends at a place, and
// returns the map of the disk.
func (w *Writer) writeTable(end int64) (m disk.Map, err error) {
	const backup = 33 * diskSector // of a GPT
	o := w.opt.Disk
	o.Size = max(up(end+backup, sectorSize), 2*o.Align+up(backup, sectorSize))
	d, err := disk.NewWriter(w.w, o)
	if err != nil {
		return m, err
	}
	for _, p := range w.parts {
		if _, err := d.Add(p); err != nil {
			return m, err
		}
	}
	if len(w.opt.Code) > 0 {
		code := make([]byte, maxCode, maxCode+8)
		copy(code, w.opt.Code)
		code = le.AppendUint64(code, uint64(w.bios.sector)*(sectorSize/diskSector))
		if _, err := w.w.WriteAt(code, 0); err != nil {
			return m, err
		}
	}
	err = d.Close()
	return d.Map(), err
}
