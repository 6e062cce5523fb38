package erofs

const (
	indexHeader = 16 // in front of an index (struct z_erofs_map_header, and 8 bytes that are free)
	indexSize   = 8  // of each block in it (struct z_erofs_lcluster_index)
	indexAlign  = 8
)

// Kinds of entries (di_advise).
const (
	indexPlain = 0 // an extent begins that is not compressed
	indexHead  = 1 // an extent begins that is compressed
	indexRest  = 2 // no extent begins
)

// indexCount marks the number of blocks that an extent is compressed to, in the
// entry behind its first (Z_EROFS_LI_D0_CBLKCNT).
const indexCount = 1 << 11

// What an index says of itself (h_advise).
const (
	adviseBig  = 2 // extents may be compressed to several blocks
	adviseTail = 8 // the last extent follows the index
)

// indexBytes returns how long the entries are for a file of a size.
func indexBytes(size int64) int { return int(ceilDiv(size, blockSize)) * indexSize }

// An index says where the extents of a compressed file are: it has an entry for
// each block of what the file holds. At most one extent begins in a block.
type index struct {
	big     bool // extents may be compressed to several blocks
	entries []byte
}

// add adds the extent of a file from start to end, which lies from a block on and
// is compressed to so many, or plain if they are 0.
func (x *index) add(start, end, block int64, blocks int) {
	first, next := start>>blockBits, max(start>>blockBits+1, end>>blockBits)
	kind := uint16(indexPlain)
	if blocks > 0 {
		kind = indexHead
	}
	x.entries = le.AppendUint16(x.entries, kind)
	x.entries = le.AppendUint16(x.entries, uint16(start%blockSize))
	x.entries = le.AppendUint32(x.entries, uint32(block))
	for at := first + 1; at < next; at++ {
		back := uint16(at - first)
		if x.big && back == 1 {
			back = uint16(blocks) | indexCount
		}
		x.entries = le.AppendUint32(x.entries, indexRest)
		x.entries = le.AppendUint16(x.entries, back)
		x.entries = le.AppendUint16(x.entries, uint16(next-at))
	}
}

// move changes where all extents lie by a number of blocks.
func (x *index) move(blocks int64) {
	for e := x.entries; len(e) > 0; e = e[indexSize:] {
		if le.Uint16(e) != indexRest {
			le.PutUint32(e[4:], le.Uint32(e[4:])+uint32(blocks))
		}
	}
}

// encode appends the index of a file of a size to b. If tail is not 0, the last
// extent follows the index and has so many bytes there.
func (x *index) encode(b []byte, size int64, tail int) []byte {
	if len(x.entries) < indexBytes(size) {
		// The file ends in a block in which no extent begins. There, one begins
		// where the file ends.
		x.add(size, size, 0, 0)
	}
	advise := uint16(0)
	if x.big {
		advise |= adviseBig
	}
	if tail > 0 {
		advise |= adviseTail
	}
	b = le.AppendUint16(b, 0)
	b = le.AppendUint16(b, uint16(tail))
	b = le.AppendUint16(b, advise)
	b = append(b, zeroBlock[:indexHeader-6]...)
	return append(b, x.entries...)
}
