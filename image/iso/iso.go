// Package iso writes an ISO 9660 file system with Rock Ridge in one pass, which a
// machine boots as a CD and, the same bytes, as a disk.
//
// A [Writer] is a [rootfs.Sink]: the contents of files go straight to their final
// sectors as they arrive, one behind the other; directories, path tables and volume
// descriptors follow when the Writer is closed. Nothing is spooled. The bytes of the
// volume are determined by the [Options], the images and the stream of entries alone.
//
// An [Image] is content that another writer puts into its place: the FAT file system
// that UEFI boots from, the squashfs or erofs that an initrd mounts. It may be a file
// of the tree, a partition of the table in front of the volume, and what the boot
// catalog points to, all at once and stored once. Files may lie within an image.
//
// Names, modes, owners, times (whole seconds from 1900 to 2155), links and devices
// are those of Rock Ridge; the names of ISO 9660 below them follow from these, are
// unique in their directory and have up to 31 characters. Hard links share contents,
// though Linux shows them as files of their own. Files of 4 GiB or more have several
// extents (level 3). Directories are as deep as they are: nothing is relocated to
// please readers that know no more than eight levels.
//
// What Linux would not read back is refused by a [rootfs.EntryError]: names of more
// than 253 bytes, device numbers beyond 12 and 20 bits, files of more than 100
// extents; and so are extended attributes, which Rock Ridge does not have. Path tables
// list 65,535 directories at most, the limit of their format; Rock Ridge readers do
// without them. Linux looks names up from the first to the last of a directory: one
// with tens of thousands of entries is slow.
//
// Memory grows with the number of entries, not with their data: about 80 bytes and
// the name for an entry, 350 bytes more and the path for a directory. The listing of
// one directory at a time is held, too.
//
// The package writes and does not read. It trusts the laws of package rootfs; put
// [rootfs.Check] in front of a Writer where a stream may break them.
//
// The format is that of ECMA-119 (which is ISO 9660), IEEE P1281 (SUSP) and P1282
// (RRIP), the El Torito Bootable CD-ROM Format Specification 1.0, and the UEFI
// Specification 2.10, section 13.3.2.1. The table is package disk's.
package iso

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strings"
	"time"

	"thaw/image/disk"
	"thaw/internal/names"
	"thaw/internal/sparse"
	"thaw/rootfs"
)

// Options say all about a volume that its entries and images do not. The zero value
// is a volume without a name that boots nowhere.
type Options struct {
	// Label is the volume's name, which Linux shows as its label: up to 32
	// printable characters of ASCII, no space first or last. ISO 9660 itself
	// knows but A to Z, 0 to 9 and _; readers take the others, too.
	Label string
	// Time is when the volume was made, to hundredths of a second. Linux shows
	// it as the volume's UUID, 2001-02-03-12-34-56-00. The zero value is none.
	Time time.Time

	// Disk describes the partition table, for machines that see a disk: its
	// kind, GUID, Signature and Align, which is 2048 at least. Its sectors have
	// 512 bytes, and its Size is the Writer's. The zero value is no table.
	Disk disk.Options

	// BIOS is the path of the file that a BIOS boots from a CD, such as
	// isolinux/isolinux.bin: a loader that runs from 2048 bytes and has room
	// for a boot information table in its bytes 8 to 63. Empty means none.
	BIOS string
	// Code is what a BIOS boots from a disk: up to 432 bytes in front of the
	// table, such as isohdpfx.bin of SYSLINUX, behind which the place of the
	// file BIOS is put.
	Code []byte
}

const (
	// MinTime and MaxTime bound the seconds since 1970 of a time that a volume
	// can hold: from 1900 to 2155.
	MinTime = -2208988800
	MaxTime = 5869583999
	// MaxName is how many bytes a name has at most, as Linux shows no more.
	MaxName = 253
	// MaxFile is how many bytes a file has at most.
	MaxFile = maxExtents * maxExtent
	// MaxMajor and MaxMinor bound the parts of a device number.
	MaxMajor = 1<<12 - 1
	MaxMinor = 1<<20 - 1

	maxLabel = 32
	maxCode  = 432

	sectorSize = 2048
	// maxExtent is the largest multiple of a sector that 32 bits count.
	maxExtent = 1<<32 - sectorSize
	// maxExtents is how many Linux reads of one file.
	maxExtents = 100
	// maxSectors is how many a volume has.
	maxSectors = math.MaxUint32
)

// The first sectors (ECMA-119, section 6.2): 16 are the system's, then come volume
// descriptors. What a disk's table needs, 17 KiB, fits into the former.
const (
	primarySector = 16 + iota
	bootSector    // or the terminator
	endSector
	catalogSector
	firstSector // of contents
)

// A Writer writes one volume. It implements [rootfs.Sink] and [rootfs.SameAdder].
// Errors are sticky: after one, every call returns it.
type Writer struct {
	opt    Options
	w      io.WriterAt
	out    *sparse.Writer // to w, of all but images and the partition table
	err    error
	closed bool
	size   int64 // known at the end of Close

	nodes   []node
	targets []string
	dirs    names.Dirs[dir]
	byLevel []*dir // what dirs holds, when it is complete

	bios  *extent // of the file Options.BIOS
	uefi  *extent // of the image for UEFI
	parts []disk.Partition
	open  *Section // of the image that has no end yet
	// images are the paths of images and of what lies within them, which no
	// rootfs.Check knows.
	images []string

	layout disk.Map
	mapped int64 // what lies in front of it is in the layout
}

// An extent is where contents lie.
type extent struct {
	sector uint32
	size   int64
}

var (
	_ rootfs.Sink      = (*Writer)(nil)
	_ rootfs.SameAdder = (*Writer)(nil)
)

// NewWriter returns a Writer that puts a volume into w from its offset 0 on. w must
// be empty or all zeros: what is zero stays unwritten, and the caller makes it
// [Writer.Size] bytes long.
func NewWriter(w io.WriterAt, o Options) (*Writer, error) {
	if o.Disk != (disk.Options{}) && o.Disk.Align == 0 {
		o.Disk.Align = disk.Align
	}
	if err := o.check(w); err != nil {
		return nil, fmt.Errorf("iso: %w", err)
	}
	return &Writer{
		opt: o,
		w:   w,
		out: sparse.NewWriter(w, firstSector*sectorSize),

		mapped: firstSector * sectorSize,
	}, nil
}

func (o *Options) check(w io.WriterAt) error {
	switch {
	case len(o.Label) > maxLabel || strings.Trim(o.Label, " ") != o.Label || strings.ContainsFunc(o.Label, func(r rune) bool { return r < ' ' || r > '~' }):
		return fmt.Errorf("label %q: up to %d printable characters of ASCII, no space first or last", o.Label, maxLabel)
	case !o.Time.IsZero() && (o.Time.Unix() < MinTime || o.Time.Unix() > MaxTime):
		return fmt.Errorf("time %v: from 1900 to 2155", o.Time.UTC())
	case o.BIOS != "" && (o.BIOS == "." || !rootfs.ValidPath(o.BIOS)):
		return fmt.Errorf("%q, which a BIOS is to boot, is not a valid path", o.BIOS)
	case len(o.Code) > maxCode:
		return fmt.Errorf("code for a BIOS has %d bytes, at most %d", len(o.Code), maxCode)
	case len(o.Code) > 0 && (o.BIOS == "" || !o.table()):
		return errors.New("code for a BIOS needs a partition table, and a file that it starts")
	case !o.table():
		return nil
	case o.Disk.Size != 0 || o.Disk.SectorSize != 0 && o.Disk.SectorSize != diskSector:
		return fmt.Errorf("the disk has a size of its own, or sectors of %d bytes, not %d", o.Disk.SectorSize, diskSector)
	case o.Disk.Align < sectorSize:
		return fmt.Errorf("the disk's alignment %d is less than a sector, %d", o.Disk.Align, sectorSize)
	}
	_, err := disk.NewWriter(w, o.Disk) // what else is wrong with it
	return err
}

// table reports whether there is a partition table.
func (o *Options) table() bool { return o.Disk != (disk.Options{}) }

// Add adds an entry, and with it the contents of a regular file. An entry that ISO
// 9660 cannot hold is a [rootfs.EntryError].
func (w *Writer) Add(e rootfs.Entry, data io.Reader) error {
	if w.err == nil {
		w.err = w.add(&e, data)
	}
	return w.err
}

// AddSame adds path as another name of the regular file or image added as earlier: a
// hard link.
func (w *Writer) AddSame(path, earlier string) error {
	if w.err == nil {
		w.err = w.addSame(path, earlier)
	}
	return w.err
}

// AddImage adds an image, whose content is what is written to the Section until its
// End. Nothing else can be added before that.
func (w *Writer) AddImage(m Image) (*Section, error) {
	if w.err != nil {
		return nil, w.err
	}
	s, err := w.addImage(&m)
	w.err = err
	return s, err
}

// AddWithin adds a regular file whose content lies in an image that has its end: e.Size
// bytes of the file image from off on, where a sector begins. A kernel in a FAT file
// system is a file of the volume that way.
func (w *Writer) AddWithin(e rootfs.Entry, image string, off int64) error {
	if w.err == nil {
		w.err = w.addWithin(&e, image, off)
	}
	return w.err
}

// Close writes everything but contents. It does not close the underlying writer. The
// volume is whole when Close has returned nil.
func (w *Writer) Close() error {
	if w.closed {
		return w.err
	}
	w.closed = true
	if w.err == nil {
		w.err = w.finish()
	}
	err := w.err
	if err == nil {
		w.err = fs.ErrClosed
	}
	return err
}

// write appends p, and zeros up to the next sector.
func (w *Writer) write(p []byte) {
	w.out.Append(p)
	w.pad()
}

// pad appends zeros up to the next sector.
func (w *Writer) pad() { w.out.Pad(-w.out.Pos() & (sectorSize - 1)) }

// Map says what is where: partitions, images, what a BIOS boots, and the volume's own
// structures. It is known after Close.
func (w *Writer) Map() disk.Map { return w.layout }

// Size returns how many bytes the volume has. It is known after Close.
func (w *Writer) Size() int64 { return w.size }
