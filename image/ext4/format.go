package ext4

import (
	"encoding/binary"
	"hash/crc32"
)

// Sizes that every file system of this package has.
const (
	blockSize      = 4096
	groupBlocks    = 8 * blockSize // as many as a block of bits describes ("Blocks")
	groupBytes     = groupBlocks * blockSize
	descSize       = 64 // bytes of a group descriptor with the feature 64bit
	descPerBlock   = blockSize / descSize
	maxDescBlocks  = blockSize / 4 // the resize inode has one double indirect block
	inodeSize      = 256
	inodesPerBlock = blockSize / inodeSize
	maxPerGroup    = 8 * blockSize // inodes in a group: as many as a block of bits describes
	extraSize      = 32            // bytes of an inode's fields beyond the first 128
	baseSize       = 128
)

// Inodes with a fixed number ("Special inodes").
const (
	rootInode   = 2
	resizeInode = 7
	firstInode  = 11 // the first that is free for use; lost+found
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
	zeroBlock  [blockSize]byte
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
