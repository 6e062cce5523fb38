package iso

import (
	"errors"
	"fmt"
	"io/fs"

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

// name holds the image's entry against the laws of package rootfs, as no
// [rootfs.Check] sees it, and makes its node.
func (s *Section) name() (err error) {
	w, e := s.iso, &s.image.Entry
	e.Size = 0
	if err := e.Validate(); err != nil {
		return err
	}
	if e.Kind() != 0 {
		return &rootfs.EntryError{Path: e.Path, Reason: "is an image, and no regular file"}
	}
	parent, name, err := w.dirs.Parent(e.Path)
	if err != nil {
		return err
	}
	if _, ok := parent.entries.Lookup(name); ok {
		return &rootfs.EntryError{Path: e.Path, Reason: "comes twice"}
	}
	s.node, err = newNode(e)
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
// returns where the disk does.
func (w *Writer) writeTable(end int64) (int64, error) {
	const backup = 33 * diskSector // of a GPT
	o := w.opt.Disk
	o.Size = max(up(end+backup, sectorSize), 2*o.Align+up(backup, sectorSize))
	d, err := disk.NewWriter(w.w, o)
	if err != nil {
		return 0, err
	}
	for _, p := range w.parts {
		if _, err := d.Add(p); err != nil {
			return 0, err
		}
	}
	if len(w.opt.Code) > 0 {
		code := make([]byte, maxCode, maxCode+8)
		copy(code, w.opt.Code)
		code = le.AppendUint64(code, uint64(w.bios.sector)*(sectorSize/diskSector))
		if _, err := w.w.WriteAt(code, 0); err != nil {
			return 0, err
		}
	}
	return o.Size, d.Close()
}
