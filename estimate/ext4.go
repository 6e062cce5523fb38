package estimate

import (
	"io/fs"
	"math"

	"thaw/image/disk"
	"thaw/image/ext4"
	"thaw/rootfs"
)

// What package ext4 makes: blocks of 4 KiB, 32,768 in a group; 16 inodes in a block,
// 32,768 in a group at most; 64 descriptors of groups in a block.
const (
	block          = 4096
	groupBlocks    = 8 * block
	inodesPerBlock = 16
	maxPerGroup    = 8 * block
	descsPerBlock  = 64
	bytesPerInode  = 16 << 10 // of free space
	shortTarget    = 59       // bytes of a target that the inode holds
	dirUsable      = block - 12
)

// volume is what entries take of a file system: blocks of data, and inodes.
type volume struct{ blocks, inodes int64 }

func (v *volume) add(blocks, inodes int64) {
	v.blocks, v.inodes = add(v.blocks, blocks), add(v.inodes, inodes)
}

// dirEntry is what an entry of that name takes of its directory: 8 bytes and the
// name, filled up to a multiple of 4.
func dirEntry(name string) int64 { return padded(int64(8+len(name)), 4) }

// dirGrowth bounds the blocks of directories beyond the first of each, given the
// bytes of all their entries. One that has more than its first block has an index
// and leaves, of which each but the last is filled up to an entry of 264 bytes:
// bytes/3820 + 1; an index with more than 507 leaves has a node for 510. As it has
// more than 4060 bytes of entries, each "1 more" is paid for: bytes/1968 + 1/254 of
// that.
func dirGrowth(bytes int64) int64 { return add(bytes/1900, 1) }

// least is the least that the content takes: an inode for each entry that is known
// and for each object, a block for each directory that is known, and the blocks of
// the names in /nix/store. Contents count for nothing: they may be zeros.
func least(c *Content) (v volume) {
	v.add(2, firstInode) // lost+found; the list of what is set aside for growth
	for _, e := range c.least() {
		if e.Path != "lost+found" { // which is counted
			v.add(blocksLeast(&e), 1)
		}
	}
	names := int64(0)
	for _, i := range c.Objects {
		names += dirEntry(i.StorePath.Base())
		v.add(0, 1)
	}
	v.add(names/dirUsable, 0) // and one that is counted
	return v
}

// firstInode are the inodes that have a fixed number, and lost+found. The root is
// one of them, and counted as an entry, too.
const firstInode = 11 - 1

func blocksLeast(e *rootfs.Entry) int64 {
	if e.Kind() == fs.ModeDir || len(e.Target) > shortTarget {
		return 1
	}
	return 0
}

// most is the most that the content takes.
//
// Of an object that has n entries, each has an inode and at most one block that is
// not full of content: a directory's first, a target's, a file's last. So content
// and targets take fewer blocks than the NAR has, and n. A file whose extents are
// more than its inode holds has blocks of extents, 340 in each: either between holes
// of at least 8 blocks, which save more than that, or because it has hundreds of
// MiB; a block for each 32 MiB is more than enough. Names with their 8 bytes and what
// fills them up take less of directories than of the NAR.
//
// Of the view, each entry has an inode and a block.
func most(c *Content) (v volume) {
	v.add(2, firstInode)
	names := int64(0)
	all := c.most()
	for _, e := range all {
		v.add(1, 1)
		if e.Kind() == 0 {
			v.add(add(e.Size/block, e.Size>>25), 0)
		}
		if len(e.Xattrs) > 0 {
			v.add(1, 0)
		}
		_, name := rootfs.Split(e.Path)
		names += dirEntry(name)
	}
	for _, i := range c.Objects {
		n := entries(i.NarSize)
		v.add(add(n, i.NarSize/block, i.NarSize>>25, 1), n)
		names = add(names, i.NarSize, dirEntry(i.StorePath.Base()))
	}
	if c.View != "" {
		v.add(viewWork/viewEntry, viewWork/viewEntry)
		names = add(names, viewWork)
	}
	v.add(dirGrowth(names), 0)
	return v
}

// likely is the guess.
func likely(c *Content) (v volume) {
	v = least(c)
	for _, e := range c.least() {
		v.add(ceilDiv(e.Size, block), 0)
	}
	bytes, entries := c.likely()
	for _, i := range c.Objects {
		if hollow(i) {
			bytes -= i.NarSize
		}
	}
	v.add(add(bytes, mul(entries, perEntryExt4))/block, entries)
	return v
}

// Ext4 estimates an ext4 file system of these options. What does not fit into it is
// refused, whatever the estimate says.
func Ext4(c *Content, o ext4.Options) Size {
	capacity := o.Capacity
	if capacity == 0 {
		capacity = max(ext4.DefaultCapacity, o.Size)
	}
	reserved := 1 + ceilDiv(capacity, descsPerBlock*groupBlocks*block)
	if o.Size > 0 {
		size := trimmed(o.Size/block, reserved) * block
		return Size{size, size, size}
	}
	free := ceilDiv(o.Free, block)
	fit := func(v volume, size func(v volume, reserved, free int64) int64) int64 {
		if o.FreePercent > 0 {
			free := ceilDiv(mul(size(v, reserved, 0), int64(o.FreePercent)), 100)
			return min(mul(size(v, reserved, free), block), capacity)
		}
		return min(mul(size(v, reserved, free), block), capacity)
	}
	return Size{fit(least(c), fitLeast), fit(likely(c), fitMost), fit(most(c), fitMost)}.ordered()
}

// fitLeast bounds the blocks of the smallest file system from below: what is set
// aside in front, data, the two bitmaps of a group, inodes, and free space.
func fitLeast(v volume, reserved, free int64) int64 {
	inodes := add(v.inodes, free/(bytesPerInode/block))
	return add(reserved, v.blocks, 2, ceilDiv(inodes, inodesPerBlock), free)
}

// fitMost bounds them from above. The number of groups is the first that has room
// for all. Each front of a group with a copy of the superblock that lies between
// the data or tables takes its blocks, and in front of it may be a gap that a table
// of inodes was too long for.
func fitMost(v volume, reserved, free int64) int64 {
	inodes := add(v.inodes, free/(bytesPerInode/block))
	if v.blocks > maxBlocks || inodes > maxBlocks || free > maxBlocks {
		return math.MaxInt64
	}
	need := reserved + v.blocks + free
	for groups := max(1, need/groupBlocks, ceilDiv(inodes, maxPerGroup)); ; groups++ {
		table := ceilDiv(ceilDiv(inodes, groups), inodesPerBlock)
		blocks := need + groups*(2+table) + copies(groups)*(reserved+table)
		// All groups are there, and the last is more than its front.
		blocks = max(blocks, (groups-1)*groupBlocks+reserved+1)
		if blocks <= groups*groupBlocks {
			return blocks
		}
	}
}

// maxBlocks are those of the largest file system that there is.
const maxBlocks = ext4.MaxCapacity / block

// copies returns how many of so many groups have a copy of the superblock, but for
// the first: group 1 and the powers of 3, 5 and 7.
func copies(groups int64) (n int64) {
	if groups > 1 {
		n = 1
	}
	for _, base := range []int64{3, 5, 7} {
		for g := base; g < groups; g *= base {
			n++
		}
	}
	return n
}

// trimmed returns the blocks of a file system of fixed size, without a last group
// that would be no more than its front.
func trimmed(blocks, reserved int64) int64 {
	last := (ceilDiv(blocks, groupBlocks) - 1)
	start := last * groupBlocks
	if last > 0 && copies(last+1) > copies(last) && blocks-start <= reserved {
		return start
	}
	return blocks
}

// Disk estimates a disk with one partition that has such a file system. The size of
// the disk, if it is not 0, is fixed.
func Disk(c *Content, o ext4.Options, size int64) Size {
	if size > 0 {
		return Size{size, size, size}
	}
	s := Ext4(c, o)
	for _, n := range []*int64{&s.Least, &s.Likely, &s.Most} {
		*n = add(2*disk.Align, padded(*n, disk.Align)) // a table at each end
	}
	return s
}
