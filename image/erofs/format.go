package erofs

import (
	"encoding/binary"
	"hash/crc32"
)

// Sizes of the format.
const (
	blockSize    = 4096
	blockBits    = 12
	slotSize     = 32 // inodes begin at multiples of it; their numbers count it
	compactSize  = 32
	extendedSize = 64
	superOffset  = 1024
	superSize    = 128
	rootOffset   = superOffset + superSize + slotSize // behind the superblock and what may follow it
	maxBlocks    = 1<<32 - 1                          // block numbers have 32 bits, and the last one marks a hole
	noBlock      = 1<<32 - 1
)

const superMagic = 0xe0f5e1e2

// Features that a reader may ignore (feature_compat).
const (
	compatChecksum = 1 // the superblock has a checksum
	compatMtime    = 2 // times are of the last change of contents
)

// Features that a reader must know (feature_incompat).
const (
	incompatPadding = 0x01 // compressed data end where their blocks end
	incompatConfigs = 0x02 // the compression's parameters follow the superblock
	incompatChunks  = 0x04 // files with a map of chunks
	incompatTails   = 0x10 // compressed data in inodes
	incompatDedupe  = 0x20 // compressed data that several files share
)

// Layouts of an inode's data (i_format).
const (
	layoutPlain      = 0 // blocks in a row
	layoutCompressed = 1 // clusters with an index of 8 bytes for each block
	layoutInline     = 2 // blocks in a row; what is left over follows the inode
	layoutChunks     = 4 // a map of chunks follows the inode
)

// Kinds of files in an inode's mode.
const (
	modeKind    = 0xf000
	modeFifo    = 0x1000
	modeChar    = 0x2000
	modeDir     = 0x4000
	modeBlock   = 0x6000
	modeRegular = 0x8000
	modeSymlink = 0xa000
)

// Kinds of files in a directory entry.
const (
	typeRegular = 1
	typeDir     = 2
	typeChar    = 3
	typeBlock   = 4
	typeFifo    = 5
	typeSymlink = 7
)

// Limits of the format.
const (
	maxMajor        = 1<<12 - 1
	maxMinor        = 1<<20 - 1
	maxCompactLinks = 1<<16 - 1
	maxLabel        = 15 // kernels before 6.7 want a NUL behind it
)

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	zeroBlock  [blockSize]byte
)

// checksum is that of the superblock and what follows it in its block: CRC-32C
// without the customary inversion at the end.
func checksum(p []byte) uint32 { return ^crc32.Checksum(p, castagnoli) }

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

func roundUp(n, to int) int { return (n + to - 1) / to * to }
