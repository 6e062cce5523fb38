// Package vhd writes disk images in the format VHD of Virtual PC, Hyper-V, Azure and
// XenServer: fixed ones, which are the raw image and a footer, and dynamic ones,
// which leave out blocks that are all zeros.
//
// The size of a disk is exact, up to the next multiple of 512 bytes. Beside it stands
// a geometry of cylinders, heads and sectors, as the specification computes it, whose
// disk is often some sectors smaller. Virtual PC itself goes by that; all else
// goes by the size. Azure wants a fixed image whose size is a multiple of 1 MiB.
//
// The bytes depend on those of the disk, in a dynamic one on the order in which its
// blocks are first written, and on the options alone. Memory: up to 14 MiB, and 4 MiB
// for each TiB of a dynamic disk.
//
// The format is that of Microsoft's "Virtual Hard Disk Image Format Specification",
// version 1.0, whose sections comments name in quotes. There are no parents.
package vhd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"thaw/image/raw"
)

// Options say what a raw image does not.
type Options struct {
	// UUID is the disk's, as RFC 9562 orders its bytes. It is required.
	UUID [16]byte
	// Time is when the image was made, in seconds since 1970, up to
	// [MaxTime]. Times before the year 2000 become its first second.
	Time int64
}

const (
	// MaxSize is the size of the largest disk in bytes: 2040 GiB.
	MaxSize = 2040 << 30
	// MaxTime is the last second of a time stamp, in 2136.
	MaxTime = year2000 + math.MaxUint32

	year2000 = 946684800

	footerSize = 512
	headerSize = 1024
	blockSize  = 2 << 20 // what the specification proposes
	bitmapSize = blockSize / raw.SectorSize / 8
	tableStart = footerSize + headerSize
	unused     = 0xffffffff // "Block Allocation Table"
)

// "Hard Disk Footer Format", disk type.
const (
	fixed   = 2
	dynamic = 3
)

var be = binary.BigEndian

// Footer returns what makes a fixed disk image of a raw one, put behind it: no copy
// of that is needed. Its size is a multiple of 512 bytes.
func Footer(size int64, o Options) ([]byte, error) {
	err := check(size, &o)
	if err == nil && (size <= 0 || size%raw.SectorSize != 0) {
		err = fmt.Errorf("a raw image of %d bytes: it has a multiple of %d", size, raw.SectorSize)
	}
	if err != nil {
		return nil, fmt.Errorf("vhd: %w", err)
	}
	return footer(size, fixed, &o), nil
}

// NewWriter returns a writer of a dynamic image to w, which is empty or all zeros. The
// specification has the table in front of the blocks: there is room for that of the
// largest disk, 4 MiB, most of which is a hole.
func NewWriter(w io.WriterAt, o Options) (*raw.Writer, error) {
	return newWriter(w, MaxSize, &o)
}

// Write writes a dynamic image of the disk that the first size bytes of r are to w,
// which is empty or all zeros.
func Write(w io.WriterAt, r io.ReaderAt, size int64, o Options) error {
	d, err := newWriter(w, min(max(size, 0), MaxSize), &o)
	if err != nil {
		return err
	}
	return d.Copy(r, size)
}

// newWriter returns a writer of a disk of up to limit bytes.
func newWriter(w io.WriterAt, limit int64, o *Options) (*raw.Writer, error) {
	if err := check(limit, o); err != nil {
		return nil, fmt.Errorf("vhd: %w", err)
	}
	return raw.NewWriter(w, raw.Layout{
		Format: "vhd", MaxSize: MaxSize, Block: blockSize,
		First:  tableStart + int64(len(newTable(limit))) + bitmapSize,
		Stride: bitmapSize + blockSize,
		Finish: func(m *raw.Map, size int64) (int64, error) {
			return finish(w, m, size, o)
		},
	}), nil
}

// finish writes all but the blocks.
func finish(w io.WriterAt, m *raw.Map, size int64, o *Options) (int64, error) {
	entries := entries(size)
	table := newTable(size)
	bitmap := make([]byte, bitmapSize)
	fill(bitmap) // all sectors of a block are in the image
	for block, place := range m.All() {
		if block >= entries {
			break
		}
		place -= bitmapSize
		be.PutUint32(table[4*block:], uint32(place/raw.SectorSize))
		if _, err := w.WriteAt(bitmap, place); err != nil {
			return 0, err
		}
	}
	end := m.End() - bitmapSize
	f := footer(size, dynamic, o)
	for _, part := range []struct {
		data []byte
		off  int64
	}{{f, end}, {table, tableStart}, {header(entries), footerSize}, {f, 0}} {
		if _, err := w.WriteAt(part.data, part.off); err != nil {
			return 0, err
		}
	}
	return end + footerSize, nil
}

// entries is how many entries the table of a disk has.
func entries(size int64) int64 { return (size + blockSize - 1) / blockSize }

// newTable makes the table of a disk without blocks.
func newTable(size int64) []byte {
	table := make([]byte, (entries(size)*4+raw.SectorSize-1)/raw.SectorSize*raw.SectorSize)
	fill(table)
	return table
}

func fill(p []byte) {
	for i := range p {
		p[i] = 0xff
	}
}

func check(size int64, o *Options) error {
	switch {
	case size > MaxSize:
		return fmt.Errorf("a disk of %d bytes: it has up to %d", size, int64(MaxSize))
	case o.UUID == [16]byte{}:
		return errors.New("the UUID is missing")
	case o.Time > MaxTime:
		return fmt.Errorf("time %d: up to %d", o.Time, int64(MaxTime))
	}
	return nil
}

// footer makes the "Hard Disk Footer Format".
func footer(size int64, kind uint32, o *Options) []byte {
	cylinders, heads, sectors := geometry(size / raw.SectorSize)
	b := make([]byte, 0, footerSize)
	b = append(b, "conectix"...)
	b = be.AppendUint32(b, 2)     // features: a bit that is always set
	b = be.AppendUint32(b, 1<<16) // version 1.0
	if kind == dynamic {
		b = be.AppendUint64(b, footerSize) // where the header is
	} else {
		b = be.AppendUint64(b, math.MaxUint64)
	}
	b = be.AppendUint32(b, uint32(max(o.Time, year2000)-year2000))
	// Readers take the size from the geometry if they do not know who made the
	// image. "win " is Hyper-V, for which they do not.
	b = append(b, "win "...)
	b = be.AppendUint32(b, 10<<16) // its version
	b = append(b, "Wi2k"...)
	b = be.AppendUint64(b, uint64(size)) // once
	b = be.AppendUint64(b, uint64(size)) // now
	b = be.AppendUint16(b, cylinders)
	b = append(b, heads, sectors)
	b = be.AppendUint32(b, kind)
	b = be.AppendUint32(b, 0) // the checksum
	b = append(b, o.UUID[:]...)
	b = b[:footerSize] // no saved state
	be.PutUint32(b[64:], checksum(b))
	return b
}

// header makes the "Dynamic Disk Header Format".
func header(entries int64) []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, "cxsparse"...)
	b = be.AppendUint64(b, math.MaxUint64) // of no use yet
	b = be.AppendUint64(b, tableStart)
	b = be.AppendUint32(b, 1<<16) // version 1.0
	b = be.AppendUint32(b, uint32(entries))
	b = be.AppendUint32(b, blockSize)
	b = b[:headerSize] // no parent
	be.PutUint32(b[36:], checksum(b))
	return b
}

// checksum is that of a structure whose checksum is zero.
func checksum(b []byte) uint32 {
	var sum uint32
	for _, c := range b {
		sum += uint32(c)
	}
	return ^sum
}

// geometry is the one of a disk ("Appendix: CHS Calculation").
func geometry(total int64) (cylinders uint16, heads, sectors uint8) {
	total = min(total, 65535*16*255)
	var h, s int64
	switch {
	case total >= 65535*16*63:
		h, s = 16, 255
	default:
		s = 17
		h = max(4, (total/s+1023)/1024)
		if total/s >= h*1024 || h > 16 {
			h, s = 16, 31
		}
		if total/s >= h*1024 {
			h, s = 16, 63
		}
	}
	return uint16(total / s / h), uint8(h), uint8(s)
}
