package anatomy

import "fmt"

// VDI: VDICore.h of VirtualBox.

func isVDI(v view) bool { return v.u32(64) == 0xbeda107f }

var vdiHeader = []field{
	{0, "text"}, {64, "magic number"}, {68, "version"}, {72, "header size"}, {76, "type"}, {80, "flags"}, {84, "comment"},
	{340, "place of the block table"}, {344, "place of the blocks"}, {348, "geometry"}, {364, "reserved"},
	{368, "size of the disk"}, {376, "block size"}, {380, "extra bytes of a block"}, {384, "number of blocks"},
	{388, "number of blocks in use"}, {392, "UUID"}, {408, "UUID of the modification"}, {424, "UUID of the parent"},
	{456, "geometry"}, {472, "padding"},
}

func atVDI(v view, off int64) string {
	table, data, count := v.u32(340), v.u32(344), v.u32(384)
	extra := v.u32(380)
	g := &guest{view: v, size: v.u64(368), block: v.u32(376), unit: "block"}
	switch {
	case off < min(table, data):
		return "VDI: header: " + named(vdiHeader, off)
	case !g.valid():
		return "VDI: of a strange shape"
	case off >= table && off < table+4*count:
		return fmt.Sprintf("VDI: block table: entry of guest offset %d", (off-table)/4*g.block)
	case off < data:
		return "VDI: padding behind the block table"
	}
	g.find = func(i int64) place {
		if i >= count {
			return place{skip: g.size}
		}
		e := v.u32(table + i*4)
		if e >= 0xfffffffe { // free, or zeros
			return place{}
		}
		return place{off: data + e*(g.block+extra) + extra, head: extra}
	}
	if s := g.owner(off); s != "" {
		return "VDI: " + s
	}
	return "VDI: block of no entry"
}
