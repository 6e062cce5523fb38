// Package vdi writes disk images in VirtualBox's format VDI, version 1.1: dynamic
// ones, which leave out blocks of 1 MiB that are all zeros.
//
// The bytes depend on those of the disk, on the order in which its blocks are first
// written, and on the options alone. Memory: up to 7 MiB, and 8 MiB for each TiB of
// the disk.
//
// There is no document of the format but VirtualBox's source, VDICore.h, whose names
// of fields are in the comments.
package vdi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"thaw/image/raw"
)

// Options say what a raw image does not. Both UUIDs are required.
type Options struct {
	// UUID is the disk's, as RFC 9562 orders its bytes. VirtualBox takes no
	// two disks of the same.
	UUID [16]byte
	// Modified is another UUID, which changes with the content.
	Modified [16]byte
	// Limit is up to which size a disk can grow that is written without
	// knowing it, in bytes. For VirtualBox the table is in front of the blocks:
	// it has 4 bytes for each MiB, which are a hole in the file as far as the
	// disk stays smaller. Zero means [DefaultLimit].
	Limit int64
}

// MaxSize is the size of the largest disk in bytes, which is this package's choice:
// 64 TiB.
const MaxSize = 64 << 40

// DefaultLimit is that of a table within the first MiB of the file: nearly 256 GiB.
const DefaultLimit = (blockSize - headerSize) / 4 * blockSize

const (
	headerSize = 512
	blockSize  = 1 << 20
	free       = 0xffffffff // VDI_IMAGE_BLOCK_FREE
)

var le = binary.LittleEndian

// NewWriter returns a writer of an image to w, which is empty or all zeros.
func NewWriter(w io.WriterAt, o Options) (*raw.Writer, error) {
	limit := o.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	if limit < 0 || limit > MaxSize {
		return nil, fmt.Errorf("vdi: a limit of %d bytes: it is up to %d", limit, int64(MaxSize))
	}
	return newWriter(w, limit, &o)
}

// Write writes an image of the disk that the first size bytes of r are to w, which is
// empty or all zeros. The disk is rounded up to a multiple of 512 bytes.
func Write(w io.WriterAt, r io.ReaderAt, size int64, o Options) error {
	d, err := newWriter(w, min(max(size, 0), MaxSize), &o)
	if err != nil {
		return err
	}
	return d.Copy(r, size)
}

// newWriter returns a writer of a disk of up to limit bytes.
func newWriter(w io.WriterAt, limit int64, o *Options) (*raw.Writer, error) {
	if o.UUID == [16]byte{} || o.Modified == [16]byte{} {
		return nil, errors.New("vdi: a UUID is missing")
	}
	// The table fills up what is before the first block.
	start := up(headerSize + 4*up(limit)/blockSize)
	return raw.NewWriter(w, raw.Layout{
		Format: "vdi", MaxSize: up(limit), Block: blockSize, First: start,
		Finish: func(m *raw.Map, size int64) (int64, error) {
			return finish(w, m, start, size, o)
		},
	}), nil
}

// finish writes the table and the header.
func finish(w io.WriterAt, m *raw.Map, start, size int64, o *Options) (int64, error) {
	blocks := up(size) / blockSize
	for block := range m.All() {
		// One beyond the end of the disk has an entry, too: readers count
		// those that are in the file.
		blocks = max(blocks, block+1)
	}
	table := make([]byte, 4*blocks)
	for i := range table {
		table[i] = free & 0xff
	}
	for block, place := range m.All() {
		le.PutUint32(table[4*block:], uint32((place-start)/blockSize))
	}
	if m.Len() == 0 { // the file goes to where the first block would be
		if _, err := w.WriteAt([]byte{0}, start-1); err != nil {
			return 0, err
		}
	}
	if _, err := w.WriteAt(table, headerSize); err != nil {
		return 0, err
	}
	_, err := w.WriteAt(header(size, start, blocks, m.Len(), o), 0)
	return m.End(), err
}

// up rounds up to whole blocks.
func up(n int64) int64 { return (n + blockSize - 1) / blockSize * blockSize }

// header makes what is before the table: VDIPREHEADER and VDIHEADER1PLUS.
func header(size, start, blocks, used int64, o *Options) []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, "<<< Oracle VM VirtualBox Disk Image >>>\n"...)
	b = b[:64]
	b = le.AppendUint32(b, 0xbeda107f)
	b = le.AppendUint32(b, 1<<16|1)    // version 1.1
	b = le.AppendUint32(b, 400)        // cbHeader: the rest
	b = le.AppendUint32(b, 1)          // u32Type: dynamic
	b = le.AppendUint32(b, 0)          // fFlags
	b = b[:len(b)+256]                 // szComment
	b = le.AppendUint32(b, headerSize) // offBlocks: the table
	b = le.AppendUint32(b, uint32(start))
	// LegacyGeometry: cylinders, heads and sectors are found out by the reader.
	b = b[:len(b)+12]
	b = le.AppendUint32(b, raw.SectorSize)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, uint64(size))
	b = le.AppendUint32(b, blockSize)
	b = le.AppendUint32(b, 0) // cbBlockExtra
	b = le.AppendUint32(b, uint32(blocks))
	b = le.AppendUint32(b, uint32(used))
	b = appendUUID(b, o.UUID)
	b = appendUUID(b, o.Modified)
	// No parent: uuidLinkage and uuidParentModify are zero. LCHSGeometry is
	// found out, too.
	return b[:headerSize]
}

// appendUUID appends a UUID whose first three groups are little-endian numbers.
func appendUUID(b []byte, u [16]byte) []byte {
	b = le.AppendUint32(b, binary.BigEndian.Uint32(u[0:]))
	b = le.AppendUint16(b, binary.BigEndian.Uint16(u[4:]))
	b = le.AppendUint16(b, binary.BigEndian.Uint16(u[6:]))
	return append(b, u[8:]...)
}
