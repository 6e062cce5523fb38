package iso

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"

	"thaw/image/disk"
)

// readAhead is what lies at the end of a CD that drives may not be able to read where
// it was burnt as one track: 150 sectors, as every maker of volumes leaves free.
const readAhead = 150

// finish writes all but contents: behind these the directories and path tables, before
// them the volume descriptors and the boot catalog, around all the partition table.
func (w *Writer) finish() error {
	switch {
	case w.open != nil:
		return errOpen
	case w.opt.BIOS != "" && w.bios == nil:
		return fmt.Errorf("iso: %q, which a BIOS is to boot, was not added as a file", w.opt.BIOS)
	}
	w.mapFiles()
	tables, err := w.placeDirs(w.out.Pos() / sectorSize)
	if err != nil {
		return err
	}
	if err := w.writeDirs(); err != nil {
		return err
	}
	little, big := w.pathTable(le), w.pathTable(be)
	w.write(little)
	w.write(big)
	end := w.out.Pos()/sectorSize + readAhead
	if end > maxSectors {
		return errFull
	}
	w.size = end * sectorSize
	table := disk.Map{Table: disk.NoTable, SectorSize: sectorSize, Size: w.size}
	if w.opt.table() {
		if table, err = w.writeTable(w.size); err != nil {
			return err
		}
		w.size = table.Size
	}
	w.mapRegion("directories", "")
	w.finishMap(table)
	w.out.Move(primarySector * sectorSize)
	w.write(w.primary(uint32(tables), len(little)))
	if w.bios != nil || w.uefi != nil {
		w.write(bootRecord())
		w.write(descriptor(typeEnd))
		w.write(w.catalog())
	} else {
		w.write(descriptor(typeEnd))
	}
	return w.out.Flush()
}

// pathTable makes a path table (ECMA-119, section 9.4) in one of two orders of bytes.
// Directories that 16 bits do not number are not in it.
func (w *Writer) pathTable(order binary.AppendByteOrder) (b []byte) {
	for _, d := range w.byLevel[:min(len(w.byLevel), math.MaxUint16)] {
		id, parent := d.id, 1
		if d.parent == nil {
			id = "\x00"
		} else {
			parent = d.parent.number
		}
		b = append(b, byte(len(id)), 0)
		b = order.AppendUint32(b, d.sector)
		b = order.AppendUint16(b, uint16(parent))
		b = append(b, id...)
		if len(id)%2 == 1 {
			b = append(b, 0)
		}
	}
	return b
}

// Types of volume descriptors (ECMA-119, section 8.1.1).
const (
	typeBoot    = 0
	typePrimary = 1
	typeEnd     = 255
)

// descriptor begins a volume descriptor.
func descriptor(kind byte) []byte {
	b := make([]byte, 0, sectorSize)
	b = append(b, kind)
	b = append(b, "CD001"...)
	return append(b, 1)
}

// primary is the primary volume descriptor (ECMA-119, section 8.4).
func (w *Writer) primary(tables uint32, tableSize int) []byte {
	b := append(descriptor(typePrimary), 0)
	b = text(b, "", 32) // the system that runs what is in front of the descriptors
	b = text(b, w.opt.Label, maxLabel)
	b = append(b, make([]byte, 8)...)
	b = both(b, uint32(w.size/sectorSize))
	b = append(b, make([]byte, 32)...)
	b = both16(b, 1) // volumes in the set
	b = both16(b, 1) // number of this one
	b = both16(b, sectorSize)
	b = both(b, uint32(tableSize))
	b = le.AppendUint32(b, tables)
	b = le.AppendUint32(b, 0) // no second copy
	b = be.AppendUint32(b, tables+uint32(sectors(int64(tableSize))))
	b = be.AppendUint32(b, 0)
	root := w.dirs.All[0]
	var l listing
	l.add("\x00", w.nodes[root.node].date, root.extent(), flagDir, nil)
	b = append(b, l.records...)
	b = text(b, "", 4*128) // set, publisher, preparer, application
	b = text(b, "", 3*37)  // files that say more
	for range 2 {          // made, changed
		b = append(b, longDate(w.opt.Time)...)
	}
	for range 2 { // expires, effective
		b = append(b, longDate(time.Time{})...)
	}
	return append(b, 1) // the version of this structure
}

// text appends s and blanks up to n bytes.
func text(b []byte, s string, n int) []byte {
	return append(append(b, s...), strings.Repeat(" ", n-len(s))...)
}

// longDate is a time as volume descriptors have it (ECMA-119, section 8.4.26.1).
func longDate(t time.Time) []byte {
	if t.IsZero() {
		return append([]byte(strings.Repeat("0", 16)), 0)
	}
	t = t.UTC()
	return append(fmt.Appendf(nil, "%s%02d", t.Format("20060102150405"), t.Nanosecond()/1e7), 0)
}

// bootRecord is the descriptor that leads to the boot catalog (El Torito, figure 7).
func bootRecord() []byte {
	b := append(descriptor(typeBoot), "EL TORITO SPECIFICATION"...)
	b = append(b, make([]byte, 0x47-len(b))...)
	return le.AppendUint32(b, catalogSector)
}

// Platforms and indicators of a boot catalog (El Torito, section 2; UEFI 2.10, section
// 13.3.2.1).
const (
	platformBIOS = 0
	platformUEFI = 0xef

	entryValidation = 1
	entryBootable   = 0x88
	entryLastHeader = 0x91

	entrySize = 32
	// loaderSectors is how much of a loader a BIOS loads, of 512 bytes each.
	loaderSectors = 4
)

// catalog is the boot catalog: the first entry is that of BIOSes, if there is one, as
// they know no other.
func (w *Writer) catalog() []byte {
	entry := func(b []byte, kind byte, count int64, sector uint32) []byte {
		b = append(b, kind, 0, 0, 0, 0, 0) // no emulation of another medium
		b = le.AppendUint16(b, uint16(count))
		b = le.AppendUint32(b, sector)
		return append(b, make([]byte, 20)...)
	}
	platform := byte(platformBIOS)
	if w.bios == nil {
		platform = platformUEFI
	}
	b := make([]byte, 0, 4*entrySize)
	b = append(b, entryValidation, platform)
	b = append(b, make([]byte, 28)...)
	b = append(b, 0x55, 0xaa)
	sum := uint16(0)
	for i := 0; i < entrySize; i += 2 {
		sum -= le.Uint16(b[i:])
	}
	le.PutUint16(b[28:], sum) // so that all words add up to zero
	if w.bios != nil {
		b = entry(b, entryBootable, loaderSectors, w.bios.sector)
		if w.uefi == nil {
			return b
		}
		b = append(b, entryLastHeader, platformUEFI, 1, 0) // one entry
		b = append(b, make([]byte, 28)...)
	}
	// What 16 bits cannot count goes to the end of the volume, as firmware has it.
	count := (w.uefi.size + diskSector - 1) / diskSector
	if count > math.MaxUint16 {
		count = 0
	}
	return entry(b, entryBootable, count, w.uefi.sector)
}
