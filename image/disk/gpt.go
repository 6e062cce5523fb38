package disk

import (
	"encoding/binary"
	"hash/crc32"
)

// Layout of a disk with a GPT (UEFI 2.10, section 5.3.1): an MBR, the header, the
// entries; partitions; the entries again, the backup header.
const (
	headerSize  = 92
	entrySize   = 128
	entriesSize = MaxPartitions * entrySize
)

// writeGPT writes both copies of the table, the backup first.
func (w *Writer) writeGPT() error {
	sectors := uint64(w.size / w.sector)
	array := uint64(entriesSize / w.sector)
	entries := w.entries()
	crc := crc32.ChecksumIEEE(entries)
	primary := header{at: 1, other: sectors - 1, entries: 2, crc: crc}
	backup := header{at: sectors - 1, other: 1, entries: sectors - 1 - array, crc: crc}
	usable := [2]uint64{2 + array, sectors - 2 - array}
	for _, part := range []struct {
		sector uint64
		data   []byte
	}{
		{backup.entries, entries},
		{backup.at, backup.encode(w, usable)},
		{primary.entries, entries},
		{primary.at, primary.encode(w, usable)},
	} {
		if _, err := w.out.WriteAt(part.data, int64(part.sector)*w.sector); err != nil {
			return err
		}
	}
	return nil
}

// entries is the partition entry array (UEFI 2.10, section 5.3.3).
func (w *Writer) entries() []byte {
	b := make([]byte, entriesSize)
	for _, p := range w.parts {
		e := b[(p.Number-1)*entrySize:][:0]
		e = append(e, p.kind[:]...)
		e = append(e, p.guid[:]...)
		e = binary.LittleEndian.AppendUint64(e, uint64(p.Start/w.sector))
		e = binary.LittleEndian.AppendUint64(e, uint64(p.End/w.sector-1)) // the last sector itself
		e = binary.LittleEndian.AppendUint64(e, p.attributes)
		for _, u := range p.name {
			e = binary.LittleEndian.AppendUint16(e, u)
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
func (h header) encode(w *Writer, usable [2]uint64) []byte {
	b := make([]byte, 0, w.sector)
	b = append(b, "EFI PART"...)
	b = binary.LittleEndian.AppendUint32(b, 1<<16) // revision 1.0
	b = binary.LittleEndian.AppendUint32(b, headerSize)
	b = binary.LittleEndian.AppendUint32(b, 0) // CRC of the header, below
	b = binary.LittleEndian.AppendUint32(b, 0) // reserved
	b = binary.LittleEndian.AppendUint64(b, h.at)
	b = binary.LittleEndian.AppendUint64(b, h.other)
	b = binary.LittleEndian.AppendUint64(b, usable[0])
	b = binary.LittleEndian.AppendUint64(b, usable[1])
	b = append(b, w.guid[:]...)
	b = binary.LittleEndian.AppendUint64(b, h.entries)
	b = binary.LittleEndian.AppendUint32(b, MaxPartitions)
	b = binary.LittleEndian.AppendUint32(b, entrySize)
	b = binary.LittleEndian.AppendUint32(b, h.crc)
	binary.LittleEndian.PutUint32(b[16:], crc32.ChecksumIEEE(b))
	return b[:w.sector]
}
