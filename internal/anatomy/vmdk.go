package anatomy

import "fmt"

// VMDK: VMware's "Virtual Disk Format 5.0", sections on hosted sparse extents and
// stream-optimized ones.

func isVMDK(v view) bool { return v.has(0, "KDMV") }

var vmdkHeader = []field{
	{0, "magic number"}, {4, "version"}, {8, "flags"}, {12, "size of the disk"}, {20, "grain size"},
	{28, "place of the descriptor"}, {36, "size of the descriptor"}, {44, "entries of a grain table"},
	{48, "place of the redundant directory"}, {56, "place of the grain directory"}, {64, "overhead"}, {72, "unclean shutdown"},
	{73, "line feeds"}, {77, "compression"}, {79, "padding"},
}

func atVMDK(v view, off int64) string {
	const sector = 512
	if off < sector {
		return "VMDK: header: " + named(vmdkHeader, off)
	}
	if at, size := v.u64(28), v.u64(36); at > 0 && off/sector >= at && off/sector < at+size {
		return "VMDK: descriptor"
	}
	h := v.part(0, sector)
	if h.u64(56) == -1 { // the footer says it
		at := v.size - 2*sector
		if off >= at && off < at+sector {
			return "VMDK: footer: " + named(vmdkHeader, off-at)
		}
		if off >= at+sector {
			return "VMDK: end of stream"
		}
		h = v.part(at, sector)
	}
	g := &guest{view: v, size: h.u64(12) * sector, block: h.u64(20) * sector, unit: "grain"}
	entries := h.u32(44)
	if !g.valid() || entries == 0 || entries > 1<<20 {
		return "VMDK: of a strange shape"
	}
	reach := entries * g.block
	tables := (g.size + reach - 1) / reach
	packed := h.u32(8)&(1<<16) != 0
	directory := h.u64(56) * sector
	g.find = func(i int64) place {
		table := v.u32(directory+i/entries*4) * sector
		if table == 0 || i/entries >= tables {
			return place{skip: entries - i%entries}
		}
		at := v.u32(table+i%entries*4) * sector
		switch {
		case at <= sector: // 1 stands for zeros
			return place{}
		case packed:
			return place{off: at + 12, head: 12, packed: "zlib", length: v.u32(at + 8)}
		}
		return place{off: at}
	}
	for _, d := range []struct {
		name string
		at   int64
	}{{"", directory}, {"redundant ", h.u64(48) * sector}} {
		if d.at <= 0 {
			continue
		}
		if off >= d.at && off < d.at+4*tables {
			return fmt.Sprintf("VMDK: %sgrain directory: entry of guest offset %d", d.name, (off-d.at)/4*reach)
		}
		for i := int64(0); i < tables && !v.spent(); i++ {
			if at := v.u32(d.at+4*i) * sector; at > 0 && off >= at && off < at+4*entries {
				return fmt.Sprintf("VMDK: %sgrain table: entry of guest offset %d", d.name, i*reach+(off-at)/4*g.block)
			}
		}
	}
	if s := g.owner(off); s != "" {
		return "VMDK: " + s
	}
	return "VMDK: marker or padding"
}
