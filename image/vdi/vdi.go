// Package vdi writes disk images in VirtualBox's format VDI, version 1.1: dynamic
// ones, which leave out blocks of 1 MiB that are all zeros.
//
// The bytes depend on those of the raw image and on the options alone. Memory: up to
// 7 MiB, and 4 MiB for each TiB of the disk.
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

// Options say what a raw image does not. Both are required.
type Options struct {
	// UUID is the disk's, as RFC 9562 orders its bytes. VirtualBox takes no
	// two disks of the same.
	UUID [16]byte
	// Modified is another UUID, which changes with the content.
	Modified [16]byte
}

// MaxSize is the size of the largest disk in bytes, which is this package's choice:
// 64 TiB.
const MaxSize = 64 << 40

const (
	headerSize = 512
	blockSize  = 1 << 20
	free       = 0xffffffff // VDI_IMAGE_BLOCK_FREE
)

var le = binary.LittleEndian

// Write writes an image of the disk that the first size bytes of r are to w, which is
// empty or all zeros. The disk is rounded up to a multiple of 512 bytes.
func Write(w io.WriterAt, r io.ReaderAt, size int64, o Options) error {
	if err := write(w, r, size, &o); err != nil {
		return fmt.Errorf("vdi: %w", err)
	}
	return nil
}

func write(w io.WriterAt, r io.ReaderAt, size int64, o *Options) error {
	switch {
	case size > MaxSize:
		return fmt.Errorf("a disk of %d bytes: it has up to %d", size, int64(MaxSize))
	case o.UUID == [16]byte{} || o.Modified == [16]byte{}:
		return errors.New("a UUID is missing")
	}
	m, err := raw.New(r, size)
	if err != nil {
		return err
	}
	blocks := (m.Size() + blockSize - 1) / blockSize
	// The table fills up what is before the first block.
	start := (headerSize + 4*blocks + blockSize - 1) / blockSize * blockSize
	table := make([]byte, start-headerSize)
	for i := range table[:4*blocks] {
		table[i] = free & 0xff
	}
	var used int64
	for b, err := range m.Blocks(blockSize, nil) {
		if err != nil {
			return err
		}
		le.PutUint32(table[4*b.Index:], uint32(used))
		if _, err := w.WriteAt(b.Data, start+used*blockSize); err != nil {
			return err
		}
		used++
	}
	if _, err := w.WriteAt(table, headerSize); err != nil {
		return err
	}
	_, err = w.WriteAt(header(m.Size(), start, blocks, used, o), 0)
	return err
}

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
