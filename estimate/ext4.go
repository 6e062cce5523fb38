package estimate

import (
	"cmp"
	"io/fs"

	"thaw/image/ext4"
	"thaw/rootfs"
)

// volume is what entries take of a file system with blocks of a size: blocks of data,
// and inodes. [ext4.Options.Fit] knows the rest.
type volume struct{ block, blocks, inodes int64 }

func newVolume(o *ext4.Options) *volume {
	return &volume{block: int64(cmp.Or(o.BlockSize, ext4.DefaultBlockSize))}
}

// dirUsable are the bytes of a block of a directory that entries have.
func (v *volume) dirUsable() int64 { return v.block - 12 }

func (v *volume) add(blocks, inodes int64) {
	v.blocks, v.inodes = add(v.blocks, blocks), add(v.inodes, inodes)
}

// dirEntry is what an entry of that name takes of its directory: 8 bytes and the
// name, filled up to a multiple of 4.
func dirEntry(name string) int64 { return padded(int64(8+len(name)), 4) }

// dirGrowth bounds the blocks of directories beyond the first of each, given the
// bytes of all their entries. One that has more than its first block has an index
// and leaves, of which each but the last is filled up to an entry of 264 bytes. With
// blocks of 4 KiB that is bytes/3820 + 1; an index with more than 507 leaves has a node
// for 510. As it has more than 4060 bytes of entries, each "1 more" is paid for:
// bytes/1968 + 1/254 of that. With blocks of 1 KiB it is bytes/748, a node for 126 and
// 988 bytes likewise: bytes/422.
func (v *volume) dirGrowth(bytes int64) int64 { return add(bytes/(v.block*2/5), 1) }

// least is the least that the content takes: an inode for each entry that is known
// and for each object, a block for each directory that is known, and the blocks of
// the names in /nix/store. Contents count for nothing: they may be zeros.
func least(c *Content, o *ext4.Options) *volume {
	v := newVolume(o)
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
	v.add(names/v.dirUsable(), 0) // and one that is counted
	return v
}

func blocksLeast(e *rootfs.Entry) int64 {
	if e.Kind() == fs.ModeDir || len(e.Target) > ext4.InlineTarget {
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
func most(c *Content, o *ext4.Options) *volume {
	v := newVolume(o)
	names := int64(0)
	all := c.most()
	for _, e := range all {
		v.add(1, 1)
		if e.Kind() == 0 {
			v.add(add(e.Size/v.block, e.Size>>25), 0)
		}
		if len(e.Xattrs) > 0 {
			v.add(1, 0)
		}
		_, name := rootfs.Split(e.Path)
		names += dirEntry(name)
	}
	for _, i := range c.Objects {
		n := entries(i.NarSize)
		v.add(add(n, i.NarSize/v.block, i.NarSize>>25, 1), n)
		names = add(names, i.NarSize, dirEntry(i.StorePath.Base()))
	}
	if c.View != "" {
		v.add(viewWork/viewEntry, viewWork/viewEntry)
		names = add(names, viewWork)
	}
	v.add(v.dirGrowth(names), 0)
	return v
}

// likely is the guess.
func likely(c *Content, o *ext4.Options) *volume {
	v := least(c, o)
	for _, e := range c.least() {
		v.add(ceilDiv(e.Size, v.block), 0)
	}
	bytes, entries := c.likely()
	for _, i := range c.Objects {
		if hollow(i) {
			bytes -= i.NarSize
		}
	}
	if o.Dedupe {
		bytes -= hundredths(bytes, equalPart)
	}
	v.add(add(bytes, mul(entries, perEntryExt4*v.block/ext4.DefaultBlockSize))/v.block, entries)
	return v
}

// RefusedExt4 is the error of options that no content makes an ext4 file system of: not
// even the least that it takes.
func RefusedExt4(c *Content, o ext4.Options) error {
	v := least(c, &o)
	_, err := o.Fit(v.blocks, v.inodes)
	return err
}

// Ext4 estimates an ext4 file system of these options. What does not fit into it is
// refused, whatever the estimate says: then the size is the most that it can have.
func Ext4(c *Content, o ext4.Options) Size {
	limit := o.Capacity
	if limit == 0 {
		limit = max(min(ext4.DefaultCapacity, ext4.CapacityLimit(cmp.Or(o.BlockSize, ext4.DefaultBlockSize))), o.Size)
	}
	fit := func(v *volume) int64 {
		n, err := o.Fit(min(v.blocks, limit), min(v.inodes, limit))
		if err != nil {
			return limit
		}
		return n
	}
	s := Size{fit(least(c, &o)), fit(likely(c, &o)), fit(most(c, &o))}
	if o.Size > 0 {
		// It is as large as it says, whatever fits in.
		n, err := o.Fit(1, 1)
		if err != nil {
			n = o.Size
		}
		s = Size{n, n, n}
	}
	return s.ordered()
}
