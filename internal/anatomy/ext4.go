package anatomy

import (
	"fmt"
	"slices"
)

// ext4, and ext2 and ext3: Documentation/filesystems/ext4 of Linux.

func isExt4(v view) bool { return v.u16(1024+0x38) == 0xef53 }

// ext4 is what its superblock says.
type ext4 struct {
	view
	block, blocks, first     int64 // sizes in bytes, numbers of blocks
	perGroup, groups         int64
	inodes, inode, desc      int64 // inodes of a group; sizes of an inode and a descriptor
	reserved                 int64 // blocks of descriptors set aside for growing
	compat, incompat, roComp int64
}

// Features, and flags of groups.
const (
	ext4CompatSparse2  = 0x200
	ext4IncompatMetaBG = 0x10
	ext4Incompat64     = 0x80
	ext4RoSparse       = 0x1

	ext4InodesUnused = 1
	ext4BlocksUnused = 2 // but for those of tables and bitmaps
)

// newExt4 reads the superblock. What is strange about it is an ext4 without blocks.
func newExt4(v view) ext4 {
	s := v.part(1024, 1024)
	e := ext4{
		view: v, blocks: s.u32(4), first: s.u32(0x14), perGroup: s.u32(0x20), inodes: s.u32(0x28), inode: 128, desc: 32,
		reserved: s.u16(0xce), compat: s.u32(0x5c), incompat: s.u32(0x60), roComp: s.u32(0x64),
	}
	if shift := s.u32(0x18); shift <= 6 {
		e.block = 1024 << shift
	}
	if s.u32(0x4c) > 0 {
		e.inode = s.u16(0x58)
	}
	if e.incompat&ext4Incompat64 != 0 {
		e.blocks |= s.u32(0x150) << 32
		e.desc = s.u16(0xfe)
	}
	if e.block == 0 || e.perGroup == 0 || e.inodes == 0 || e.inode < 128 || e.inode > e.block || e.desc < 32 || e.desc > 1024 ||
		e.blocks < e.first || e.blocks > 1<<48 {
		e.blocks = 0
		return e
	}
	e.groups = (e.blocks - e.first + e.perGroup - 1) / e.perGroup
	return e
}

var ext4Super = []field{
	{0x0, "number of inodes"}, {0x4, "number of blocks"}, {0x8, "reserved blocks"}, {0xc, "free blocks"},
	{0x10, "free inodes"}, {0x14, "first block"}, {0x18, "block size"}, {0x1c, "cluster size"}, {0x20, "blocks of a group"},
	{0x24, "clusters of a group"}, {0x28, "inodes of a group"}, {0x2c, "mount time"}, {0x30, "write time"},
	{0x34, "mount count"}, {0x36, "largest mount count"}, {0x38, "magic number"}, {0x3a, "state"}, {0x3c, "errors behaviour"},
	{0x3e, "minor revision"}, {0x40, "check time"}, {0x44, "check interval"}, {0x48, "creator"}, {0x4c, "revision"},
	{0x50, "reserved user"}, {0x52, "reserved group"}, {0x54, "first inode"}, {0x58, "inode size"}, {0x5a, "group of this copy"},
	{0x5c, "compatible features"}, {0x60, "incompatible features"}, {0x64, "read-only compatible features"}, {0x68, "UUID"},
	{0x78, "label"}, {0x88, "last mount point"}, {0xc8, "bitmap algorithms"}, {0xcc, "preallocation"},
	{0xce, "reserved descriptor blocks"}, {0xd0, "UUID of the journal"}, {0xe0, "journal inode"}, {0xe4, "journal device"},
	{0xe8, "orphan list"}, {0xec, "hash seed"}, {0xfc, "hash version"}, {0xfd, "journal backup type"}, {0xfe, "descriptor size"},
	{0x100, "mount options"}, {0x104, "first meta block group"}, {0x108, "creation time"}, {0x10c, "journal backup"},
	{0x150, "number of blocks, high"}, {0x154, "reserved blocks, high"}, {0x158, "free blocks, high"}, {0x15c, "extra inode size"},
	{0x160, "flags"}, {0x164, "RAID stride"}, {0x166, "multiple mount protection"}, {0x170, "RAID stripe width"},
	{0x174, "groups of a flexible group"}, {0x175, "checksum type"}, {0x176, "reserved"}, {0x178, "kilobytes written"},
	{0x180, "snapshots"}, {0x194, "errors"}, {0x200, "mount options"}, {0x240, "quota inodes"}, {0x248, "overhead"},
	{0x24c, "groups of the backups"}, {0x254, "encryption"}, {0x268, "lost+found inode"}, {0x26c, "project quota inode"},
	{0x270, "checksum seed"}, {0x274, "high bytes of times"}, {0x27a, "first error code"}, {0x27c, "encoding"},
	{0x280, "orphan file"}, {0x284, "reserved"}, {0x3fc, "checksum"},
}

var ext4Desc = []field{
	{0, "block bitmap"}, {4, "inode bitmap"}, {8, "inode table"}, {12, "free blocks"}, {14, "free inodes"}, {16, "directories"},
	{18, "flags"}, {20, "snapshot"}, {24, "block bitmap checksum"}, {26, "inode bitmap checksum"}, {28, "unused inodes"},
	{30, "checksum"}, {32, "block bitmap, high"}, {36, "inode bitmap, high"}, {40, "inode table, high"}, {44, "free blocks, high"},
	{46, "free inodes, high"}, {48, "directories, high"}, {50, "unused inodes, high"}, {52, "snapshot, high"},
	{56, "block bitmap checksum, high"}, {58, "inode bitmap checksum, high"}, {60, "reserved"},
}

// atExt4 answers for a file system.
func atExt4(v view, off int64) string { return "ext4: " + newExt4(v).what(off) }

func (e ext4) what(off int64) string {
	switch {
	case off < 1024:
		return "boot sectors"
	case off < 2048:
		return "superblock: " + named(ext4Super, off-1024)
	case e.blocks == 0:
		return "of a strange shape"
	case off >= e.blocks*e.block:
		return "behind the file system"
	}
	b := off / e.block
	if b < e.first {
		return "boot block"
	}
	g := (b - e.first) / e.perGroup
	if s := e.copies(g, off); s != "" {
		return s
	}
	if e.incompat&ext4IncompatMetaBG != 0 {
		return fmt.Sprintf("block %d of group %d", b, g)
	}
	for i := int64(0); i < e.groups && !e.spent(); i++ {
		d := e.group(i)
		switch at := d.table; {
		case b == d.blockBitmap:
			first := e.first + i*e.perGroup + off%e.block*8
			return fmt.Sprintf("block bitmap of group %d: %s", i, span(first, min(first+8, e.first+(i+1)*e.perGroup), "blocks"))
		case b == d.inodeBitmap:
			first := 1 + i*e.inodes + off%e.block*8
			return fmt.Sprintf("inode bitmap of group %d: %s", i, span(first, min(first+8, 1+(i+1)*e.inodes), "inodes"))
		case off >= at*e.block && off < at*e.block+e.inodes*e.inode:
			n := (off - at*e.block) / e.inode
			return fmt.Sprintf("inode table of group %d: %s: %s", i, e.titled(1+i*e.inodes+n),
				named(ext4Inode, (off-at*e.block)%e.inode))
		}
	}
	i := b - e.first - g*e.perGroup
	if d := e.group(g); d.flags&ext4BlocksUnused != 0 || e.u8(d.blockBitmap*e.block+i/8)&(1<<(i%8)) == 0 {
		return fmt.Sprintf("free block %d of group %d", b, g)
	}
	if s := e.owner(b, off%e.block); s != "" {
		return s
	}
	return fmt.Sprintf("block %d of group %d, of no inode found", b, g)
}

// span names what a byte of a bitmap is of.
func span(first, end int64, what string) string {
	if first >= end {
		return "behind its last bit"
	}
	return fmt.Sprintf("%s %d to %d", what, first, end-1)
}

// copies says what lies in the blocks that a group begins with: the superblock and the
// descriptors, or their copies.
func (e ext4) copies(g, off int64) string {
	start := (e.first + g*e.perGroup) * e.block
	if g > 0 && !e.backup(g) {
		return ""
	}
	copied := ""
	if g > 0 {
		copied = fmt.Sprintf(", backup in group %d", g)
		if off < start+1024 {
			return "superblock" + copied + ": " + named(ext4Super, off-start)
		}
	}
	if e.incompat&ext4IncompatMetaBG != 0 {
		return ""
	}
	start += e.block
	end := start + (e.groups*e.desc+e.block-1)/e.block*e.block
	switch {
	case off < start:
		return "behind the superblock" + copied
	case off < end && (off-start)/e.desc < e.groups:
		return fmt.Sprintf("descriptor of group %d%s: %s", (off-start)/e.desc, copied, named(ext4Desc, (off-start)%e.desc))
	case off < end:
		return "behind the group descriptors" + copied
	case off < end+e.reserved*e.block:
		return "descriptors set aside for growing" + copied
	}
	return ""
}

// backup tells whether a group begins with a copy of the superblock.
func (e ext4) backup(g int64) bool {
	switch {
	case e.compat&ext4CompatSparse2 != 0:
		return g == e.u32(1024+0x24c) || g == e.u32(1024+0x250)
	case e.roComp&ext4RoSparse == 0 || g <= 1:
		return true
	}
	return slices.ContainsFunc([]int64{3, 5, 7}, func(base int64) bool {
		n := base
		for n < g {
			n *= base
		}
		return n == g
	})
}

// group is what the descriptor of a group says: places are numbers of blocks.
type group struct {
	blockBitmap, inodeBitmap, table, flags, unused int64
}

func (e ext4) group(g int64) group {
	b := e.bytes((e.first+1)*e.block+g*e.desc, 64)
	d := group{
		int64(le32(b)), int64(le32(b[4:])), int64(le32(b[8:])), int64(le16(b[18:])), int64(le16(b[28:])),
	}
	if e.desc >= 64 {
		d.blockBitmap |= int64(le32(b[32:])) << 32
		d.inodeBitmap |= int64(le32(b[36:])) << 32
		d.table |= int64(le32(b[40:])) << 32
		d.unused |= int64(le16(b[50:])) << 16
	}
	return d
}
