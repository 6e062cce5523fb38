package anatomy

import "fmt"

// FAT12, FAT16 and FAT32: Microsoft's "FAT32 File System Specification" of 2000.

// isFAT looks at the numbers that every FAT needs: the magic number is that of all boot
// sectors.
func isFAT(v view) bool {
	b := v.bytes(0, 512)
	sector, cluster := le16(b[11:]), b[13]
	return b[510] == 0x55 && b[511] == 0xaa && (b[0] == 0xeb || b[0] == 0xe9) &&
		sector >= 512 && sector <= 4096 && sector&(sector-1) == 0 && cluster > 0 && cluster&(cluster-1) == 0 &&
		le16(b[14:]) > 0 && b[16] > 0 && b[16] <= 2
}

// fat is what the boot sector says, in bytes but for the number of clusters.
type fat struct {
	view
	sector, cluster, reserved int64
	tables, table             int64 // how many there are, and the length of one
	root, data                int64 // places
	clusters, bits            int64
}

func newFAT(v view) fat {
	f := fat{view: v, sector: v.u16(11), tables: v.u8(16)}
	f.cluster, f.reserved = v.u8(13)*f.sector, v.u16(14)*f.sector
	sectors, table := v.u16(19), v.u16(22)
	f.bits = 12
	if table == 0 {
		table, f.bits = v.u32(36), 32
	}
	if sectors == 0 {
		sectors = v.u32(32)
	}
	f.table = table * f.sector
	f.root = f.reserved + f.tables*f.table
	f.data = f.root + (v.u16(17)*32+f.sector-1)/f.sector*f.sector
	f.clusters = max(0, sectors*f.sector-f.data) / f.cluster
	if f.bits == 12 && f.clusters >= 4085 {
		f.bits = 16
	}
	return f
}

var fatBoot = []field{
	{0, "jump"}, {3, "name of the maker"}, {11, "sector size"}, {13, "cluster size"}, {14, "reserved sectors"}, {16, "number of FATs"},
	{17, "size of the root directory"}, {19, "number of sectors"}, {21, "medium"}, {22, "length of a FAT"}, {24, "geometry"},
	{28, "hidden sectors"}, {32, "number of sectors"},
}

var fatBootOld = []field{
	{36, "drive"}, {38, "boot signature"}, {39, "serial number"}, {43, "label"}, {54, "type"}, {62, "boot code"}, {510, "magic number"},
	{512, "padding"},
}

var fatBoot32 = []field{
	{36, "length of a FAT"}, {40, "flags"}, {42, "version"}, {44, "cluster of the root directory"}, {48, "sector of the FSInfo"},
	{50, "sector of the backup"}, {52, "reserved"}, {64, "drive"}, {66, "boot signature"}, {67, "serial number"}, {71, "label"},
	{82, "type"}, {90, "boot code"}, {510, "magic number"}, {512, "padding"},
}

var fatInfo = []field{
	{0, "magic number"}, {4, "reserved"}, {484, "magic number"}, {488, "free clusters"}, {492, "next free cluster"}, {496, "reserved"},
	{508, "magic number"}, {512, "padding"},
}

func atFAT(v view, off int64) string {
	f := newFAT(v)
	return fmt.Sprintf("FAT%d: %s", f.bits, f.what(off))
}

func (f fat) what(off int64) string {
	switch {
	case off < f.reserved:
		return f.boot(off)
	case off < f.root:
		n := (off - f.reserved) / f.table
		c := (off - f.reserved) % f.table * 8 / f.bits
		if c < 2 {
			return fmt.Sprintf("FAT %d: entry %d, which is reserved", n+1, c)
		}
		if c >= f.clusters+2 {
			return fmt.Sprintf("FAT %d: behind its last entry", n+1)
		}
		s := fmt.Sprintf("FAT %d: entry of cluster %d", n+1, c)
		if file := f.owner(c); file.path != "" {
			s += " (" + show(file.path) + ")"
		}
		return s
	case off < f.data:
		return "root directory: " + f.entry(fatFile{dir: true}, off)
	}
	c, at := (off-f.data)/f.cluster+2, (off-f.data)%f.cluster
	if c >= f.clusters+2 {
		return "behind the last cluster"
	}
	s := fmt.Sprintf("cluster %d", c)
	file := f.owner(c)
	switch {
	case file.path == "" && f.next(c) == 0:
		return "free " + s
	case file.path == "":
		return s + ", of no file found"
	case file.dir:
		return fmt.Sprintf("%s: directory %s: %s", s, show(file.path), f.entry(file, off))
	}
	return fmt.Sprintf("%s: data of %s: byte %d", s, show(file.path), file.index*f.cluster+at)
}

// boot says what lies in the reserved sectors.
func (f fat) boot(off int64) string {
	fields, copied := append(append([]field{}, fatBoot...), fatBootOld...), ""
	if f.bits == 32 {
		fields = append(append([]field{}, fatBoot...), fatBoot32...)
		info, backup := f.u16(48)*f.sector, f.u16(50)*f.sector
		if backup > 0 && off >= backup && off < backup+info+f.sector {
			off, copied = off-backup, "backup of the "
		}
		if off >= info && off < info+f.sector {
			return copied + "FSInfo: " + named(fatInfo, off-info)
		}
	}
	if off < f.sector {
		return copied + "boot sector: " + named(fields, off)
	}
	return copied + "reserved sectors"
}

// next returns what a FAT says of a cluster: the next one, or 0 if it is free.
func (f fat) next(c int64) int64 {
	switch at := f.reserved; f.bits {
	case 12:
		return f.u16(at+c*12/8) >> (c % 2 * 4) & 0xfff
	case 16:
		return f.u16(at + 2*c)
	default:
		return f.u32(at+4*c) & 0xfffffff
	}
}
