// Package vhdx writes disk images in Hyper-V's format VHDX: dynamic ones, which leave
// out blocks of 1 MiB that are all zeros.
//
// The log is empty, and the table of blocks is behind the last one. The bytes depend
// on those of the disk, on the order in which its blocks are first written, and on
// the options alone. Memory: up to 7 MiB, and 12 MiB for each TiB of the disk.
//
// The format is that of Microsoft's [MS-VHDX], whose sections comments name. There
// are no parents.
//
// [MS-VHDX]: https://learn.microsoft.com/openspecs/windows_protocols/ms-vhdx
package vhdx

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"unicode/utf16"

	"thaw/image/raw"
)

// Options say what a raw image does not. All are required, and UUIDs as RFC 9562
// orders their bytes.
type Options struct {
	// UUID is the disk's, which its guest sees as its identity.
	UUID [16]byte
	// FileWrite and DataWrite are UUIDs that change when the file, or the
	// content of the disk, does.
	FileWrite, DataWrite [16]byte
}

// MaxSize is the size of the largest disk in bytes: 64 TiB.
const MaxSize = 64 << 40

// Places in the file, which are multiples of 1 MiB but for those in the first one
// (2.1, 2.2).
const (
	kib = 1 << 10
	mib = 1 << 20

	headerPlace   = 64 * kib  // and again 64 KiB behind it
	regionPlace   = 192 * kib // likewise
	copyDistance  = 64 * kib
	headerSize    = 4 * kib
	regionSize    = 64 * kib
	logPlace      = 1 * mib
	logSize       = 1 * mib
	metadataPlace = 2 * mib
	metadataSize  = 1 * mib
	blocksPlace   = 3 * mib

	// blockSize is the smallest there is, and what Microsoft advises for the
	// file systems of Linux.
	blockSize = 1 * mib
	// chunk is how many blocks one block of a sector bitmap stands for, and so
	// after how many entries of the table there is one for such a block
	// (2.5). Only disks with a parent have sector bitmaps.
	chunk = 8 * mib * raw.SectorSize / blockSize

	// States of blocks (2.5.1.1).
	blockZero    = 2
	blockPresent = 6
)

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// NewWriter returns a writer of an image to w, which is empty or all zeros.
func NewWriter(w io.WriterAt, o Options) (*raw.Writer, error) {
	if o.UUID == [16]byte{} || o.FileWrite == [16]byte{} || o.DataWrite == [16]byte{} {
		return nil, errors.New("vhdx: a UUID is missing")
	}
	return raw.NewWriter(w, raw.Layout{
		Format: "vhdx", MaxSize: MaxSize, Block: blockSize, First: blocksPlace,
		Finish: func(m *raw.Map, size int64) (int64, error) {
			return finish(w, m, size, &o)
		},
	}), nil
}

// Write writes an image of the disk that the first size bytes of r are to w, which is
// empty or all zeros. The disk is rounded up to a multiple of 512 bytes.
func Write(w io.WriterAt, r io.ReaderAt, size int64, o Options) error {
	d, err := NewWriter(w, o)
	if err != nil {
		return err
	}
	return d.Copy(r, size)
}

// finish writes all but the blocks.
func finish(w io.WriterAt, m *raw.Map, size int64, o *Options) (int64, error) {
	blocks := up(size) / blockSize
	table := make([]byte, up(8*(entry(blocks-1)+1)))
	for i := range blocks {
		le.PutUint64(table[8*entry(i):], blockZero)
	}
	for block, place := range m.All() {
		if block < blocks {
			// The place is in MiB, from bit 20 on: it is the offset itself.
			le.PutUint64(table[8*entry(block):], uint64(place)|blockPresent)
		}
	}
	regions := regionTable(m.End(), int64(len(table)))
	for _, part := range []struct {
		data []byte
		off  int64
	}{
		{table, m.End()},
		{metadata(size, o), metadataPlace},
		{regions, regionPlace},
		{regions, regionPlace + copyDistance},
		{header(1, o), headerPlace},
		{header(2, o), headerPlace + copyDistance}, // the current one
		{identifier(), 0},
	} {
		if _, err := w.WriteAt(part.data, part.off); err != nil {
			return 0, err
		}
	}
	return m.End() + int64(len(table)), nil
}

// entry is the place of a block in the table.
func entry(block int64) int64 { return block + block/chunk }

// up rounds up to a multiple of 1 MiB.
func up(n int64) int64 { return (n + mib - 1) / mib * mib }

// identifier makes the file type identifier (2.2.1).
func identifier() []byte {
	b := []byte("vhdxfile")
	for _, u := range utf16.Encode([]rune("thaw")) { // the creator, for diagnosis
		b = le.AppendUint16(b, u)
	}
	return append(b, make([]byte, headerSize-len(b))...)
}

// header makes one of the two headers (2.2.2).
func header(sequence uint64, o *Options) []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, "head\x00\x00\x00\x00"...) // and the checksum
	b = le.AppendUint64(b, sequence)
	b = appendGUID(b, o.FileWrite)
	b = appendGUID(b, o.DataWrite)
	b = b[:len(b)+16]         // the log is empty
	b = le.AppendUint16(b, 0) // version of the log,
	b = le.AppendUint16(b, 1) // and the format
	b = le.AppendUint32(b, logSize)
	b = le.AppendUint64(b, logPlace)
	return sum(b[:headerSize])
}

// sum puts the checksum of a structure where it belongs.
func sum(b []byte) []byte {
	le.PutUint32(b[4:], crc32.Checksum(b, castagnoli))
	return b
}

// GUIDs of regions (2.2.3.2) and of metadata (2.6.2).
var (
	regionTableGUID    = [16]byte{0x2d, 0xc2, 0x77, 0x66, 0xf6, 0x23, 0x42, 0x00, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08}
	regionMetadataGUID = [16]byte{0x8b, 0x7c, 0xa2, 0x06, 0x47, 0x90, 0x4b, 0x9a, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e}
	fileParameters     = [16]byte{0xca, 0xa1, 0x67, 0x37, 0xfa, 0x36, 0x4d, 0x43, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b}
	diskSize           = [16]byte{0x2f, 0xa5, 0x42, 0x24, 0xcd, 0x1b, 0x48, 0x76, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8}
	diskID             = [16]byte{0xbe, 0xca, 0x12, 0xab, 0xb2, 0xe6, 0x45, 0x23, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46}
	logicalSector      = [16]byte{0x81, 0x41, 0xbf, 0x1d, 0xa9, 0x6f, 0x47, 0x09, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f}
	physicalSector     = [16]byte{0xcd, 0xa3, 0x48, 0xc7, 0x44, 0x5d, 0x44, 0x71, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56}
)

// regionTable says where the table of blocks and the metadata are (2.2.3).
func regionTable(table, tableSize int64) []byte {
	b := make([]byte, 0, regionSize)
	b = append(b, "regi\x00\x00\x00\x00"...) // and the checksum
	b = le.AppendUint32(b, 2)
	b = le.AppendUint32(b, 0)
	for _, r := range []struct {
		guid         [16]byte
		place, bytes int64
	}{{regionTableGUID, table, tableSize}, {regionMetadataGUID, metadataPlace, metadataSize}} {
		b = appendGUID(b, r.guid)
		b = le.AppendUint64(b, uint64(r.place))
		b = le.AppendUint32(b, uint32(r.bytes))
		b = le.AppendUint32(b, 1) // who does not know it cannot read the file
	}
	return sum(b[:regionSize])
}

// metadata makes the metadata region (2.6).
func metadata(size int64, o *Options) []byte {
	const (
		itemsPlace = 64 * kib
		required   = 1 << 2
		ofDisk     = 1 << 1
	)
	items := []struct {
		guid  [16]byte
		flags uint32
		data  []byte
	}{
		{fileParameters, required, le.AppendUint64(nil, blockSize)}, // and no flags
		{diskSize, required | ofDisk, le.AppendUint64(nil, uint64(size))},
		{diskID, required | ofDisk, appendGUID(nil, o.UUID)},
		{logicalSector, required | ofDisk, le.AppendUint32(nil, raw.SectorSize)},
		{physicalSector, required | ofDisk, le.AppendUint32(nil, 4096)},
	}
	b := make([]byte, 0, itemsPlace+kib)
	b = append(b, "metadata\x00\x00"...)
	b = le.AppendUint16(b, uint16(len(items)))
	b = b[:32]
	values := b[itemsPlace:itemsPlace]
	for _, item := range items {
		b = appendGUID(b, item.guid)
		b = le.AppendUint32(b, uint32(itemsPlace+len(values)))
		b = le.AppendUint32(b, uint32(len(item.data)))
		b = le.AppendUint32(b, item.flags)
		b = le.AppendUint32(b, 0)
		values = append(values, item.data...)
	}
	return b[:itemsPlace+len(values)]
}

// appendGUID appends a GUID whose first three groups are little-endian numbers.
func appendGUID(b []byte, u [16]byte) []byte {
	b = le.AppendUint32(b, binary.BigEndian.Uint32(u[0:]))
	b = le.AppendUint16(b, binary.BigEndian.Uint16(u[4:]))
	b = le.AppendUint16(b, binary.BigEndian.Uint16(u[6:]))
	return append(b, u[8:]...)
}
