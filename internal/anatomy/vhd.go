package anatomy

import "fmt"

// VHD: Microsoft's "Virtual Hard Disk Image Format Specification" of 2006.

// isVHD knows a dynamic image by the copy of its footer that it begins with.
func isVHD(v view) bool {
	return v.has(0, "conectix") || v.size > 512 && v.has(v.size-512, "conectix") && v.big32(v.size-512+60) == 2
}

var vhdFooter = []field{
	{0, "magic number"}, {8, "features"}, {12, "version"}, {16, "place of the dynamic header"}, {24, "time"}, {28, "creator"},
	{36, "creator's system"}, {40, "original size"}, {48, "size of the disk"}, {56, "geometry"}, {60, "type"}, {64, "checksum"},
	{68, "UUID"}, {84, "saved state"}, {85, "reserved"},
}

var vhdHeader = []field{
	{0, "magic number"}, {8, "reserved"}, {16, "place of the block table"}, {24, "version"}, {28, "entries of the block table"},
	{32, "block size"}, {36, "checksum"}, {40, "parent"}, {768, "reserved"},
}

func atVHD(v view, off int64) string {
	end := v.size - 512
	switch {
	case off >= end:
		return "VHD: footer: " + named(vhdFooter, off-end)
	case !v.has(0, "conectix"):
		return fmt.Sprintf("VHD: guest offset %d: %s", off, v.part(0, end).at(off))
	case off < 512:
		return "VHD: copy of the footer: " + named(vhdFooter, off)
	}
	header := v.big64(16)
	if off >= header && off < header+1024 {
		return "VHD: dynamic header: " + named(vhdHeader, off-header)
	}
	table, entries := v.big64(header+16), v.big32(header+28)
	g := &guest{view: v, size: v.big64(48), block: v.big32(header + 32), unit: "block"}
	if !g.valid() {
		return "VHD: of a strange shape"
	}
	bitmap := (g.block/512/8 + 511) / 512 * 512
	g.find = func(i int64) place {
		if i >= entries {
			return place{skip: g.size}
		}
		e := v.big32(table + i*4)
		if e == 0xffffffff {
			return place{}
		}
		return place{off: e*512 + bitmap, head: bitmap}
	}
	if off >= table && off < table+entries*4 {
		return fmt.Sprintf("VHD: block table: entry of guest offset %d", (off-table)/4*g.block)
	}
	if s := g.owner(off); s != "" {
		return "VHD: " + s
	}
	return "VHD: padding"
}
