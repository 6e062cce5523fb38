package anatomy

import "fmt"

// qcow2: docs/interop/qcow2.rst of QEMU.

func isQcow2(v view) bool { return v.has(0, "QFI\xfb") }

var qcow2Header = []field{
	{0, "magic number"}, {4, "version"}, {8, "backing file"}, {20, "cluster size"}, {24, "size of the disk"}, {32, "encryption"},
	{36, "length of the L1 table"}, {40, "place of the L1 table"}, {48, "place of the refcount table"},
	{56, "length of the refcount table"}, {60, "snapshots"}, {72, "incompatible features"}, {80, "compatible features"},
	{88, "autoclear features"}, {96, "refcount width"}, {100, "header length"}, {104, "compression"}, {105, "padding"},
	{112, "extensions"},
}

const qcow2Place = 0x00fffffffffffe00

func atQcow2(v view, off int64) string {
	bits := v.big32(20)
	if bits < 9 || bits > 21 || v.big32(4) >= 3 && v.big64(72)&0x10 != 0 {
		return "qcow2: of a strange shape"
	}
	cluster := int64(1) << bits
	g := &guest{view: v, size: v.big64(24), block: cluster, unit: "cluster"}
	l1, l1Entries := v.big64(40), v.big32(36)
	perL2 := cluster / 8
	reach := perL2 * cluster
	packed := "deflate"
	if v.big32(4) >= 3 && v.big32(100) > 104 && v.u8(104) == 1 {
		packed = "zstd"
	}
	g.find = func(i int64) place {
		if i/perL2 >= l1Entries {
			return place{skip: g.size}
		}
		table := v.big64(l1+i/perL2*8) & qcow2Place
		if table == 0 {
			return place{skip: perL2 - i%perL2}
		}
		e := v.big64(table + i%perL2*8)
		switch shift := 62 - (bits - 8); {
		case e&(1<<62) != 0:
			at := e & (1<<shift - 1)
			return place{off: at, packed: packed, length: (e>>shift&(1<<(bits-8)-1)+1)*512 - at%512}
		case e&1 != 0: // zeros, whatever is there
			return place{}
		}
		return place{off: e & qcow2Place}
	}
	table, tableSize := v.big64(48), v.big32(56)*cluster
	switch {
	case off < cluster:
		return "qcow2: header: " + named(qcow2Header, off)
	case off >= l1 && off < l1+l1Entries*8:
		return fmt.Sprintf("qcow2: L1 table: entry of guest offset %d", (off-l1)/8*reach)
	case off >= table && off < table+tableSize:
		return fmt.Sprintf("qcow2: refcount table: entry %d", (off-table)/8)
	}
	order := int64(4)
	if v.big32(4) >= 3 {
		order = min(v.big32(96), 6)
	}
	for i := int64(0); i < tableSize/8 && !v.spent(); i++ {
		if at := v.big64(table+i*8) & qcow2Place; at != 0 && off >= at && off < at+cluster {
			n := i*(cluster*8>>order) + (off-at)*8>>order
			return fmt.Sprintf("qcow2: refcount block %d: count of the cluster at %d", i, n*cluster)
		}
	}
	for i := int64(0); i < l1Entries && !v.spent(); i++ {
		if at := v.big64(l1+i*8) & qcow2Place; at != 0 && off >= at && off < at+cluster {
			return fmt.Sprintf("qcow2: L2 table: entry of guest offset %d", i*reach+(off-at)/8*cluster)
		}
	}
	if !g.valid() {
		return "qcow2: of a strange shape"
	}
	if s := g.owner(off); s != "" {
		return "qcow2: " + s
	}
	return "qcow2: cluster of no table"
}
