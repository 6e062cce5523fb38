package disk

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
)

// GUID is a GUID in its text form of 8-4-4-4-12 hexadecimal digits, in any case.
type GUID string

// Types of partitions, of the UEFI Specification and the Discoverable Partitions
// Specification.
const (
	TypeESP        GUID = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B" // EFI System Partition
	TypeLinux      GUID = "0FC63DAF-8483-4772-8E79-3D69D8477DE4" // any Linux file system
	TypeRootX86_64 GUID = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709" // the root of an x86-64 system
	TypeRootARM64  GUID = "B921B045-1DF0-41C3-AF44-4C6F280D3FAE" // the root of an AArch64 system
)

// MakeGUID makes a GUID of bytes that the caller has derived from something. It
// is of version 8, whose bits mean nothing but themselves (RFC 9562, section 5.8):
// six bits of b are lost.
func MakeGUID(b [16]byte) GUID {
	b[6] = b[6]&0x0f | 0x80
	b[8] = b[8]&0x3f | 0x80
	return GUID(fmt.Sprintf("%X-%X-%X-%X-%X", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
}

// encode puts a GUID as on the disk: the first three groups are little-endian
// numbers (UEFI 2.10, appendix A).
func (g GUID) encode() (b [16]byte, err error) {
	bad := func() ([16]byte, error) { return b, fmt.Errorf("%q is not a GUID", string(g)) }
	if g == "" {
		return b, errors.New("a GUID is missing")
	}
	groups := strings.Split(string(g), "-")
	if len(g) != 36 || len(groups) != 5 {
		return bad()
	}
	at := 0
	for i, digits := range []int{8, 4, 4, 4, 12} {
		if len(groups[i]) != digits {
			return bad()
		}
		if _, err := hex.Decode(b[at:], []byte(groups[i])); err != nil {
			return bad()
		}
		at += digits / 2
	}
	if b == [16]byte{} {
		return bad() // it marks entries that are free
	}
	binary.LittleEndian.PutUint32(b[0:], binary.BigEndian.Uint32(b[0:]))
	binary.LittleEndian.PutUint16(b[4:], binary.BigEndian.Uint16(b[4:]))
	binary.LittleEndian.PutUint16(b[6:], binary.BigEndian.Uint16(b[6:]))
	return b, nil
}

// entry is a partition in the table.
type entry struct {
	kind, guid [16]byte // as on the disk
	start, end int64    // in bytes, multiples of Align; end is the byte after
	attributes uint64
	name       [MaxName]uint16
}

func (e *entry) used() bool { return e.kind != [16]byte{} }

// Layout of the disk (UEFI 2.10, section 5.3.1): a protective MBR, the header, the
// entries; partitions; the entries again, the backup header.
const (
	headerSize     = 92
	entrySize      = 128
	entriesSectors = MaxPartitions * entrySize / sector
	firstUsable    = 2 + entriesSectors // sector
	tail           = (entriesSectors + 1) * sector
)

// writeTable writes all of the table, the backup first.
func (w *Writer) writeTable() error {
	sectors := uint64(w.size / sector)
	entries := w.entries()
	crc := crc32.ChecksumIEEE(entries)
	primary := header{at: 1, other: sectors - 1, entries: 2, crc: crc}
	backup := header{at: sectors - 1, other: 1, entries: sectors - 1 - entriesSectors, crc: crc}
	for _, part := range []struct {
		sector uint64
		data   []byte
	}{
		{backup.entries, entries},
		{backup.at, backup.encode(w.disk, sectors)},
		{primary.entries, entries},
		{primary.at, primary.encode(w.disk, sectors)},
		{0, protectiveMBR(sectors)},
	} {
		if _, err := w.out.WriteAt(part.data, int64(part.sector)*sector); err != nil {
			return err
		}
	}
	return nil
}

// entries is the partition entry array (UEFI 2.10, section 5.3.3).
func (w *Writer) entries() []byte {
	b := make([]byte, 0, MaxPartitions*entrySize)
	for i := range w.table {
		e := &w.table[i]
		if !e.used() {
			b = append(b, make([]byte, entrySize)...)
			continue
		}
		b = append(b, e.kind[:]...)
		b = append(b, e.guid[:]...)
		b = binary.LittleEndian.AppendUint64(b, uint64(e.start/sector))
		b = binary.LittleEndian.AppendUint64(b, uint64(e.end/sector-1)) // the last sector itself
		b = binary.LittleEndian.AppendUint64(b, e.attributes)
		for _, u := range e.name {
			b = binary.LittleEndian.AppendUint16(b, u)
		}
	}
	return b
}

// header is what differs between the two headers.
type header struct {
	at, other, entries uint64 // sectors: this header, the other one, its entries
	crc                uint32 // of the entries
}

// encode makes the sector of a header (UEFI 2.10, section 5.3.2).
func (h header) encode(disk [16]byte, sectors uint64) []byte {
	b := make([]byte, 0, sector)
	b = append(b, "EFI PART"...)
	b = binary.LittleEndian.AppendUint32(b, 1<<16) // revision 1.0
	b = binary.LittleEndian.AppendUint32(b, headerSize)
	b = binary.LittleEndian.AppendUint32(b, 0) // CRC of the header, below
	b = binary.LittleEndian.AppendUint32(b, 0) // reserved
	b = binary.LittleEndian.AppendUint64(b, h.at)
	b = binary.LittleEndian.AppendUint64(b, h.other)
	b = binary.LittleEndian.AppendUint64(b, firstUsable)
	b = binary.LittleEndian.AppendUint64(b, sectors-2-entriesSectors) // last usable sector
	b = append(b, disk[:]...)
	b = binary.LittleEndian.AppendUint64(b, h.entries)
	b = binary.LittleEndian.AppendUint32(b, MaxPartitions)
	b = binary.LittleEndian.AppendUint32(b, entrySize)
	b = binary.LittleEndian.AppendUint32(b, h.crc)
	binary.LittleEndian.PutUint32(b[16:], crc32.ChecksumIEEE(b))
	return append(b, bytes.Repeat([]byte{0}, sector-headerSize)...)
}

// protectiveMBR tells tools that know no GPT that the disk is full (UEFI 2.10,
// section 5.2.3).
func protectiveMBR(sectors uint64) []byte {
	b := make([]byte, sector)
	p := b[446:]
	p[2] = 2 // start: cylinder 0, head 0, sector 2
	p[4] = 0xee
	p[5], p[6], p[7] = 0xff, 0xff, 0xff // end: beyond what these three can tell
	binary.LittleEndian.PutUint32(p[8:], 1)
	binary.LittleEndian.PutUint32(p[12:], uint32(min(sectors-1, math.MaxUint32)))
	b[510], b[511] = 0x55, 0xaa
	return b
}
