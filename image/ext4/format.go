package ext4

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"
)

// Sizes that every file system of this package has.
const (
	maxBlockSize = DefaultBlockSize
	descSize     = 64 // bytes of a group descriptor with the feature 64bit
	inodeSize    = 256
	extraSize    = 32 // bytes of an inode's fields beyond the first 128
	baseSize     = 128
)

// A geometry is what follows from the size of a block. It is a value, and small.
type geometry struct {
	shift uint // a block has 1 << shift bytes
}

func newGeometry(blockSize int) (geometry, error) {
	switch blockSize {
	case 1024, 2048, 4096:
		return geometry{uint(bits.TrailingZeros(uint(blockSize)))}, nil
	}
	return geometry{}, fmt.Errorf("ext4: blocks of %d bytes: 1024, 2048 or 4096", blockSize)
}

// block returns the bytes of a block.
func (g geometry) block() int64 { return 1 << g.shift }

// ceil returns how many blocks hold so many bytes.
func (g geometry) ceil(bytes int64) int64 { return ceilDiv(bytes, g.block()) }

// first returns the first block of group 0. In front of it is the boot block,
// which only where blocks have 1 KiB is one of its own (s_first_data_block).
func (g geometry) first() int64 {
	if g.shift == 10 {
		return 1
	}
	return 0
}

// groupBlocks returns how many blocks a group has, as many as a block of bits
// describes ("Blocks"); and as many inodes at most.
func (g geometry) groupBlocks() int64 { return 8 << g.shift }

// start returns the first block of a group.
func (g geometry) start(group int64) int64 { return g.first() + group*g.groupBlocks() }

// groups returns how many groups so many blocks make, with the boot block.
func (g geometry) groups(blocks int64) int64 { return ceilDiv(blocks-g.first(), g.groupBlocks()) }

// descPerBlock returns how many groups a block of descriptors describes.
func (g geometry) descPerBlock() int64 { return g.block() / descSize }

// descBytes returns how many bytes of file system that is.
func (g geometry) descBytes() int64 { return g.descPerBlock() * g.groupBlocks() * g.block() }

// numbers returns how many block numbers fill a block: as many blocks of
// descriptors there can be, as the resize inode has one double indirect block.
func (g geometry) numbers() int64 { return g.block() / 4 }

func (g geometry) inodesPerBlock() int64 { return g.block() / inodeSize }

// inodeUnit returns what the inodes of a group are a multiple of: whole blocks
// of a table and whole bytes of a bitmap.
func (g geometry) inodeUnit() int64 { return max(g.inodesPerBlock(), 8) }

// nodeEntries returns how many entries a node of an extent tree has.
func (g geometry) nodeEntries() int { return int(g.block()-extentSize) / extentSize }

// dirUsable returns the bytes for entries in a block of a directory.
func (g geometry) dirUsable() int { return int(g.block()) - dirTail }

// hashRootLimit and hashNodeLimit return how many entries the root and a node of
// a directory's index have.
func (g geometry) hashRootLimit() int {
	return (int(g.block()) - hashRootStart - hashTail) / hashEntrySize
}

func (g geometry) hashNodeLimit() int {
	return (int(g.block()) - hashNodeStart - hashTail) / hashEntrySize
}

// Inodes with a fixed number ("Special inodes").
const (
	rootInode    = 2
	resizeInode  = 7
	journalInode = 8
	firstInode   = 11 // the first that is free for use; lost+found
)

// Limits of the format.
const (
	maxLinks      = 65000
	maxFileBlocks = 1<<32 - 1 // logical block numbers have 32 bits
	maxMajor      = 1<<12 - 1
	maxMinor      = 1<<20 - 1
)

// Kinds of files in an inode's mode ("Inode Table", i_mode).
const (
	modeFifo    = 0x1000
	modeChar    = 0x2000
	modeDir     = 0x4000
	modeBlock   = 0x6000
	modeRegular = 0x8000
	modeSymlink = 0xa000
)

// Flags of an inode ("Inode Table", i_flags).
const (
	flagIndex   = 0x1000  // a directory with hashed indexes
	flagExtents = 0x80000 // i_block holds the root of an extent tree
)

// Flags of a block group ("Block Group Descriptors", bg_flags).
const (
	groupNoInodes = 1 // the inode bitmap and table are not initialised
	groupNoBlocks = 2 // the block bitmap is not initialised
	groupZeroed   = 4 // unused inodes are zeros on disk
)

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	zeroBlock  [maxBlockSize]byte
)

// crc32c continues the checksum of ext4's metadata: CRC-32C without the
// customary inversion at either end ("Checksums").
func crc32c(crc uint32, p []byte) uint32 {
	return ^crc32.Update(^crc, castagnoli, p)
}

// inodeSeed returns the seed for checksums of what belongs to an inode: the
// file system's, its number and its generation, which is always 0.
func inodeSeed(seed, ino uint32) uint32 {
	var b [8]byte
	le.PutUint32(b[:], ino)
	return crc32c(seed, b[:])
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

func roundUp4(n int) int { return (n + 3) &^ 3 }
