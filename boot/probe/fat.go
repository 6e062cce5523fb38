package probe

import "bytes"

// fat is a FAT file system (Microsoft's "FAT: General Overview of On-Disk Format", 1.03).
type fat struct {
	*disk
	start, table, data int64 // offsets
	rootAt, rootSize   int64 // of FAT12 and FAT16
	cluster, clusters  int64 // bytes, and how many
	bits               int
	rootCluster        int64 // of FAT32
}

const (
	attrVolume    = 0x08
	attrDirectory = 0x10
	// maxClusters of a directory are read.
	maxClusters = 256
)

func (d *disk) fat(start int64) (*fat, bool) {
	b := d.read(start, 512)
	sector, per := int64(le.Uint16(b[11:])), int64(b[13])
	reserved, tables, entries := int64(le.Uint16(b[14:])), int64(b[16]), int64(le.Uint16(b[17:]))
	total, length := int64(le.Uint16(b[19:])), int64(le.Uint16(b[22:]))
	if total == 0 {
		total = int64(le.Uint32(b[32:]))
	}
	if length == 0 {
		length = int64(le.Uint32(b[36:]))
	}
	if start <= 0 || sector < 512 || sector > 4096 || per == 0 || reserved == 0 || tables == 0 || length == 0 {
		return nil, false
	}
	f := &fat{disk: d, start: start, table: start + reserved*sector, cluster: sector * per, rootCluster: int64(le.Uint32(b[44:]))}
	f.rootAt = f.table + tables*length*sector
	f.rootSize = entries * 32
	f.data = f.rootAt + (f.rootSize+sector-1)/sector*sector
	f.clusters = (total - (f.data-start)/sector) / per
	switch {
	case f.clusters < 1:
		return nil, false
	case f.clusters < 4085:
		f.bits = 12
	case f.clusters < 65525:
		f.bits = 16
	default:
		f.bits = 32
	}
	return f, true
}

// next returns the cluster behind another one.
func (f *fat) next(n int64) int64 {
	switch f.bits {
	case 12:
		v := int64(le.Uint16(f.read(f.table+n*3/2, 2)))
		if n%2 != 0 {
			return v >> 4
		}
		return v & 0xfff
	case 16:
		return int64(le.Uint16(f.read(f.table+n*2, 2)))
	}
	return int64(le.Uint32(f.read(f.table+n*4, 4))) & 0xfffffff
}

// chain returns what a directory holds, from its first cluster on.
func (f *fat) chain(n int64) (out []byte) {
	for i := 0; i < maxClusters && n >= 2 && n < f.clusters+2; i++ {
		part := f.read(f.data+(n-2)*f.cluster, f.cluster)
		out = append(out, part...)
		if part[len(part)-32] == 0 {
			break // the end is in it
		}
		n = f.next(n)
	}
	return out
}

func (f *fat) root() []byte {
	if f.bits == 32 {
		return f.chain(f.rootCluster)
	}
	return f.read(f.rootAt, f.rootSize)
}

// find returns the entry of a directory whose short name begins so; nil if there is none.
func (f *fat) find(dir []byte, name string) []byte {
	for ; len(dir) >= 32 && dir[0] != 0; dir = dir[32:] {
		if dir[11]&attrVolume == 0 && bytes.HasPrefix(dir[:11], []byte(name)) {
			return dir[:32]
		}
	}
	return nil
}

// cluster is the first one of an entry.
func cluster(e []byte) int64 {
	return int64(le.Uint16(e[20:]))<<16 | int64(le.Uint16(e[26:]))
}
