package vfat

import (
	"encoding/binary"
	"math"
	"unicode/utf16"
)

var le = binary.LittleEndian

// Attributes of a directory's entry (section "FAT Directory Structure").
const (
	attrVolume  = 0x08
	attrDir     = 0x10
	attrArchive = 0x20
	attrLong    = 0x0f
)

// writeDirs writes all directories. It returns the cluster that goes on where the
// first one of FAT32's root directory ends, or 0.
func (w *Writer) writeDirs() (more uint32) {
	for _, d := range w.tree.dirs.All[1:] {
		d.first = w.take(d.clusters(w.layout.cluster))
	}
	root := w.tree.root()
	if w.layout.bits == 32 {
		if n := root.clusters(w.layout.cluster); n > 1 {
			more = w.take(n - 1)
		}
	}
	for _, d := range w.tree.dirs.All[1:] {
		w.out.Move(w.layout.offset(d.first))
		w.out.Append(d.encode(nil))
		w.out.Pad(d.clusters(w.layout.cluster)*w.layout.cluster - d.slots*slotSize)
	}
	var label []byte
	if w.opt.Label != "" {
		label = appendSlot(nil, newAlias(w.label()), attrVolume, root.self, 0, 0)
	}
	slots := root.encode(label)
	if w.layout.bits != 32 {
		w.out.Move((w.layout.data - w.layout.root) * w.layout.sector)
		w.out.Append(slots)
		return 0
	}
	n := min(int64(len(slots)), w.layout.cluster)
	w.out.Move(w.layout.offset(firstCluster))
	w.out.Append(slots[:n])
	if more > 0 {
		w.out.Move(w.layout.offset(more))
		w.out.Append(slots[n:])
	}
	return more
}

// encode appends the slots of a directory to b.
func (d *dir) encode(b []byte) []byte {
	if d.parent != nil {
		// The root is known as cluster 0 here, whatever it has.
		b = appendSlot(b, newAlias(".", ""), attrDir, d.self, d.first, 0)
		b = appendSlot(b, newAlias("..", ""), attrDir, d.self, d.parent.first, 0)
	}
	for i, a := range aliases(d.children) {
		c := &d.children[i]
		if !a.is(c.name) {
			b = appendLong(b, c.name, a.checksum())
		}
		if c.dir != nil {
			b = appendSlot(b, a, attrDir, c.stamp, c.dir.first, 0)
		} else {
			b = appendSlot(b, a, attrArchive, c.stamp, c.first, c.size)
		}
	}
	return b
}

// appendSlot appends an entry (section "FAT Directory Structure").
func appendSlot(b []byte, name alias, attr byte, t stamp, cluster, size uint32) []byte {
	b = append(b, name[:]...)
	b = append(b, attr,
		0, // for Windows NT
		0) // hundredths of a second of the creation
	b = le.AppendUint16(b, t.time) // of creation
	b = le.AppendUint16(b, t.date)
	b = le.AppendUint16(b, t.date) // of last access
	b = le.AppendUint16(b, uint16(cluster>>16))
	b = le.AppendUint16(b, t.time) // of last write
	b = le.AppendUint16(b, t.date)
	b = le.AppendUint16(b, uint16(cluster))
	return le.AppendUint32(b, size)
}

// appendLong appends the slots of a long name, its end first (section "Long
// Directory Entries").
func appendLong(b []byte, name string, checksum byte) []byte {
	units := utf16.Encode([]rune(name))
	n := (len(units) + unitsPerSlot - 1) / unitsPerSlot
	if len(units) < n*unitsPerSlot {
		units = append(units, 0)
	}
	for len(units) < n*unitsPerSlot {
		units = append(units, 0xffff)
	}
	for i := n; i > 0; i-- {
		order := byte(i)
		if i == n {
			order |= 0x40
		}
		b = append(b, order)
		for k, u := range units[(i-1)*unitsPerSlot : i*unitsPerSlot] {
			switch k {
			case 5:
				b = append(b, attrLong, 0, checksum)
			case 11:
				b = append(b, 0, 0) // in place of a cluster
			}
			b = le.AppendUint16(b, u)
		}
	}
	return b
}

// writeTables writes the allocation tables as far as they are in use (section "FAT
// Data Structure"). Clusters follow each other up to the ends of files and
// directories, but for the first one of FAT32's root, which goes on at more.
func (w *Writer) writeTables(more uint32) {
	l := &w.layout
	for copy := range int64(tableCopies) {
		w.out.Move((l.reserved + copy*l.table) * l.sector)
		w.writeTable(more)
	}
}

func (w *Writer) writeTable(more uint32) {
	bits := w.layout.bits
	end := uint32(1)<<min(bits, 28) - 1 // FAT32 keeps four bits to itself
	piece, filled, value := make([]byte, 0, 4096), 0, uint64(0)
	put := func(entry uint32) {
		value |= uint64(entry) << filled
		for filled += bits; filled >= 8; filled -= 8 {
			piece = append(piece, byte(value))
			value >>= 8
		}
		if len(piece)+8 > cap(piece) {
			w.out.Append(piece)
			piece = piece[:0]
		}
	}
	put(end&^0xff | media)
	put(end) // with the bits that say that it was unmounted and had no errors
	ends := w.ends
	for c := uint32(firstCluster); c < w.next; c++ {
		switch {
		case c == firstCluster && w.keeps && bits != 32:
			put(0)
		case c == firstCluster && w.keeps && more != 0:
			put(more)
		case c == firstCluster && w.keeps:
			put(end)
		case c == ends[0]:
			put(end)
			ends = ends[1:]
		default:
			put(c + 1)
		}
	}
	if filled > 0 {
		piece = append(piece, byte(value))
	}
	w.out.Append(piece)
}

const (
	media = 0xf8 // a disk that is not removed

	infoSector   = 1
	backupSector = 6
)

// label returns the label as it stands in a boot sector and a directory.
func (w *Writer) label() (base, ext string) {
	label := w.opt.Label
	if label == "" {
		label = "NO NAME"
	}
	return label[:min(8, len(label))], label[min(8, len(label)):]
}

// writeBoot writes the boot sector, and with FAT32 what belongs to it, which are the
// count of free clusters and copies of both (sections "Boot Sector and BPB" and
// "FAT32 FSInfo Sector Structure and Backup Boot Sector").
func (w *Writer) writeBoot() {
	boot := w.bootSector()
	if w.layout.bits == 32 {
		info := w.infoSector()
		for _, sector := range []int64{backupSector, 0} {
			w.out.Move((sector + infoSector) * w.layout.sector)
			w.out.Append(info)
			if sector > 0 {
				w.out.Move(sector * w.layout.sector)
				w.out.Append(boot)
			}
		}
	}
	w.out.Move(0)
	w.out.Append(boot)
}

func (w *Writer) infoSector() []byte {
	l := &w.layout
	free := uint32(l.clusters) - (w.next - firstCluster)
	next := w.next
	if free == 0 {
		next = math.MaxUint32 // unknown
	}
	b := make([]byte, 512)
	le.PutUint32(b[0:], 0x41615252)
	le.PutUint32(b[484:], 0x61417272)
	le.PutUint32(b[488:], free)
	le.PutUint32(b[492:], next)
	le.PutUint32(b[508:], 0xaa550000)
	return b
}

// code is what a BIOS runs that boots the file system: it asks for the next device,
// and stops if there is none (int 0x18; hlt; jmp).
const code = "\xcd\x18\xf4\xeb\xfd"

func (w *Writer) bootSector() []byte {
	l := &w.layout
	wide := l.bits == 32
	codeAt := byte(62)
	if wide {
		codeAt = 90
	}
	b := make([]byte, 0, 512)
	b = append(b, 0xeb, codeAt-2, 0x90)                      // BS_jmpBoot
	b = append(b, "MSWIN4.1"...)                             // BS_OEMName, which the specification asks for
	b = le.AppendUint16(b, uint16(l.sector))                 // BPB_BytsPerSec
	b = append(b, byte(l.cluster/l.sector))                  // BPB_SecPerClus
	b = le.AppendUint16(b, uint16(l.reserved))               // BPB_RsvdSecCnt
	b = append(b, tableCopies)                               // BPB_NumFATs
	b = le.AppendUint16(b, uint16(l.root*l.sector/slotSize)) // BPB_RootEntCnt
	total16, total32 := uint16(0), uint32(l.sectors)
	if !wide && l.sectors <= math.MaxUint16 {
		total16, total32 = uint16(l.sectors), 0
	}
	b = le.AppendUint16(b, total16) // BPB_TotSec16
	b = append(b, media)            // BPB_Media
	if wide {
		b = le.AppendUint16(b, 0) // BPB_FATSz16
	} else {
		b = le.AppendUint16(b, uint16(l.table))
	}
	b = le.AppendUint16(b, 63)                  // BPB_SecPerTrk, which is long without meaning
	b = le.AppendUint16(b, 255)                 // BPB_NumHeads
	b = le.AppendUint32(b, w.opt.HiddenSectors) // BPB_HiddSec
	b = le.AppendUint32(b, total32)             // BPB_TotSec32
	name := "FAT12   "
	switch l.bits {
	case 16:
		name = "FAT16   "
	case 32:
		name = "FAT32   "
		b = le.AppendUint32(b, uint32(l.table)) // BPB_FATSz32
		b = le.AppendUint16(b, 0)               // BPB_ExtFlags: both tables are kept
		b = le.AppendUint16(b, 0)               // BPB_FSVer
		b = le.AppendUint32(b, firstCluster)    // BPB_RootClus
		b = le.AppendUint16(b, infoSector)      // BPB_FSInfo
		b = le.AppendUint16(b, backupSector)    // BPB_BkBootSec
		b = append(b, make([]byte, 12)...)
	}
	label := newAlias(w.label())
	b = append(b, 0x80, 0, 0x29) // BS_DrvNum, BS_Reserved1, BS_BootSig
	b = le.AppendUint32(b, w.opt.Serial)
	b = append(b, label[:]...)
	b = append(b, name...)
	b = append(b, code...)
	b = append(b, make([]byte, 510-len(b))...)
	return append(b, 0x55, 0xaa)
}
