// Package vmdk writes disk images in VMware's format VMDK, of the kind that OVF and
// OVA files hold: streamOptimized, compressed and written from its beginning to its
// end. VMware, VirtualBox, QEMU and clouds import it.
//
// Grains of 64 KiB that are all zeros are left out. The bytes depend on those of the
// raw image and on the options alone. Memory: half a MiB and an encoder of 1.2 MiB
// for each processor, and 128 KiB for each TiB of the disk.
//
// The format is that of VMware's "Virtual Disk Format 5.0", whose sections comments
// name in quotes.
package vmdk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/zlib"

	"thaw/image/raw"
)

// Options say what a raw image does not.
type Options struct {
	// UUID is the disk's, as RFC 9562 orders its bytes. It is required. The
	// content's identifier, CID, is its beginning.
	UUID [16]byte
}

const (
	// MaxSize is the size of the largest disk in bytes: 62 TiB.
	MaxSize = 62 << 40
	// maxSectors is how long an image may be.
	maxSectors = math.MaxUint32

	level        = 6
	grainSectors = 128
	grainSize    = grainSectors * raw.SectorSize
	tableEntries = 512
	// overhead is what is before the first grain: the header, and room for the
	// descriptor.
	overhead          = 128
	descriptorSectors = 20
)

// "Markers".
const (
	markEnd = iota
	markTable
	markDirectory
	markFooter
)

var le = binary.LittleEndian

// Write writes an image of the disk that the first size bytes of r are to w. The disk
// is rounded up to a multiple of 512 bytes.
func Write(w io.Writer, r io.ReaderAt, size int64, o Options) error {
	if err := write(w, r, size, &o); err != nil {
		return fmt.Errorf("vmdk: %w", err)
	}
	return nil
}

func write(w io.Writer, r io.ReaderAt, size int64, o *Options) error {
	switch {
	case size > MaxSize:
		return fmt.Errorf("a disk of %d bytes: it has up to %d", size, int64(MaxSize))
	case o.UUID == [16]byte{}:
		return errors.New("the UUID is missing")
	}
	m, err := raw.New(r, size)
	if err != nil {
		return err
	}
	sectors := m.Size() / raw.SectorSize
	const reach = tableEntries * grainSectors
	i := &image{w: w, directory: make([]uint32, (sectors+reach-1)/reach), table: make([]uint32, tableEntries)}
	i.start(sectors, o)
	for b, err := range m.Blocks(grainSize, newPacker) {
		if err != nil {
			return err
		}
		if err := i.add(b); err != nil {
			return err
		}
	}
	return i.finish(sectors)
}

// newPacker packs grains ("Compressed Grain Data Layout": RFC 1950, as all readers
// and writers have it).
func newPacker() (raw.Packer, error) {
	z, err := zlib.NewWriterLevel(nil, level)
	return func(buf, data []byte) ([]byte, error) {
		out := bytes.NewBuffer(buf)
		z.Reset(out)
		if _, err := z.Write(data); err != nil {
			return nil, err
		}
		err := z.Close()
		return out.Bytes(), err
	}, err
}

// An image is one that is being written.
type image struct {
	w         io.Writer
	at        int64    // sectors that are written
	directory []uint32 // where tables are
	table     []uint32 // the current one: where grains are
	current   int64    // which one that is
	dirty     bool     // it has entries
	buf       []byte
	err       error // sticky
}

// add writes a grain.
func (i *image) add(b raw.Block) error {
	if t := b.Index / tableEntries; t != i.current {
		i.endTable()
		i.current = t
	}
	i.dirty = true
	i.table[b.Index%tableEntries] = uint32(i.at)
	i.buf = le.AppendUint64(i.buf[:0], uint64(b.Index*grainSectors))
	i.buf = le.AppendUint32(i.buf, uint32(len(b.Packed)))
	i.buf = append(i.buf, b.Packed...)
	i.put()
	return i.err
}

// put writes what is in the buffer, and zeros up to the end of a sector.
func (i *image) put() {
	i.buf = append(i.buf, make([]byte, -len(i.buf)&(raw.SectorSize-1))...)
	if i.err != nil {
		return
	}
	i.at += int64(len(i.buf) / raw.SectorSize)
	if i.at > maxSectors {
		i.err = fmt.Errorf("the image has more than %d bytes", int64(maxSectors*raw.SectorSize))
		return
	}
	_, i.err = i.w.Write(i.buf)
}

// mark writes a marker, which says what follows and of how many sectors it is.
func (i *image) mark(kind uint32, sectors int) {
	i.buf = le.AppendUint64(i.buf[:0], uint64(sectors))
	i.buf = le.AppendUint32(i.buf, 0) // it is no grain
	i.buf = le.AppendUint32(i.buf, kind)
	i.put()
}

// putEntries writes a table or the directory behind its marker, and returns where.
func (i *image) putEntries(kind uint32, entries []uint32) int64 {
	i.mark(kind, (4*len(entries)+raw.SectorSize-1)/raw.SectorSize)
	at := i.at
	i.buf = i.buf[:0]
	for _, e := range entries {
		i.buf = le.AppendUint32(i.buf, e)
	}
	i.put()
	return at
}

// endTable writes the current table.
func (i *image) endTable() {
	if i.dirty {
		i.directory[i.current] = uint32(i.putEntries(markTable, i.table))
		clear(i.table)
		i.dirty = false
	}
}

// start writes the header and the descriptor.
func (i *image) start(sectors int64, o *Options) {
	i.buf = append(header(sectors, math.MaxUint64), descriptor(sectors, o)...)
	i.buf = append(i.buf, make([]byte, overhead*raw.SectorSize-len(i.buf))...)
	i.put()
}

// finish writes the last table, the directory, and the footer, which is the header
// with the place of the directory.
func (i *image) finish(sectors int64) error {
	i.endTable()
	directory := i.putEntries(markDirectory, i.directory)
	i.mark(markFooter, 1)
	i.buf = append(i.buf[:0], header(sectors, uint64(directory))...)
	i.put()
	i.mark(markEnd, 0)
	return i.err
}

// header makes the "Hosted Sparse Extent Header".
func header(sectors int64, directory uint64) []byte {
	b := make([]byte, 0, raw.SectorSize)
	b = append(b, "KDMV"...)
	b = le.AppendUint32(b, 3)               // version
	b = le.AppendUint32(b, 1|1<<16|1<<17)   // there are line feeds below, compression and markers
	b = le.AppendUint64(b, uint64(sectors)) // capacity
	b = le.AppendUint64(b, grainSectors)
	b = le.AppendUint64(b, 1) // the descriptor: its offset,
	b = le.AppendUint64(b, descriptorSectors)
	b = le.AppendUint32(b, tableEntries)
	b = le.AppendUint64(b, 0) // no redundant directory
	b = le.AppendUint64(b, directory)
	b = le.AppendUint64(b, overhead)
	b = append(b, 0)            // no unclean shutdown
	b = append(b, "\n \r\n"...) // tells that a transfer as text has broken it
	b = le.AppendUint16(b, 1)   // deflate
	return b[:raw.SectorSize]
}

// descriptor makes the text that tools read first ("The Descriptor File"). The name
// of the file in it is of no account.
func descriptor(sectors int64, o *Options) string {
	u := o.UUID
	const heads, perTrack, none = 255, 63, "00000000-0000-0000-0000-000000000000"
	return fmt.Sprintf(`# Disk DescriptorFile
version=1
CID=%x
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RW %d SPARSE "disk.vmdk"

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "%d"
ddb.geometry.heads = "%d"
ddb.geometry.sectors = "%d"
ddb.uuid.image = "%x-%x-%x-%x-%x"
ddb.uuid.modification = "%s"
ddb.uuid.parent = "%s"
ddb.uuid.parentmodification = "%s"
ddb.virtualHWVersion = "4"
`, cid(u), sectors, min(sectors/heads/perTrack, 65535), heads, perTrack,
		u[:4], u[4:6], u[6:8], u[8:10], u[10:], none, none, none)
}

// cid is the beginning of a UUID, unless that means that there is no content.
func cid(u [16]byte) []byte {
	if le.Uint32(u[:]) == math.MaxUint32 {
		u[3]--
	}
	return u[:4]
}
