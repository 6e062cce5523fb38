package ext4

// A layout says where everything is that describes the block groups. All of it
// follows the data, as the feature flex_bg permits: the block bitmaps of
// all groups, their inode bitmaps, their inode tables.
type layout struct {
	blocks, groups int64
	perGroup       int64 // inodes in each group
	descBlocks     int64 // of group descriptors in use
}

// bytesPerInode is the free space for which there is a spare inode.
const bytesPerInode = 16 << 10

// A cursor places runs of blocks behind one another, each whole, in front of or
// behind the fronts of groups with a copy of the superblock.
type cursor struct {
	next     int64
	front    int64
	reserved int64
	gaps     [][2]int64 // free blocks passed over: from, to
}

func (b *blockWriter) cursor() cursor {
	return cursor{next: b.next, front: b.front, reserved: b.reserved}
}

// take returns the first of n blocks, which are fewer than a group has free.
func (c *cursor) take(n int64) int64 {
	if c.next+n > c.front {
		if c.next < c.front {
			c.gaps = append(c.gaps, [2]int64{c.next, c.front})
		}
		c.next = c.front + c.reserved
		c.front = nextCopy(c.front/groupBlocks+1) * groupBlocks
	}
	at := c.next
	c.next += n
	return at
}

// skip moves on by n blocks that need not be in one piece.
func (c *cursor) skip(n int64) {
	for n > 0 {
		if c.next == c.front {
			c.take(1)
			n--
			continue
		}
		step := min(n, c.front-c.next)
		c.next += step
		n -= step
	}
}

// free returns how many blocks are free behind the cursor up to an end.
func (c *cursor) free(end int64) int64 {
	n := end - c.next
	for at := c.front; at < end; at = nextCopy(at/groupBlocks+1) * groupBlocks {
		n -= min(c.reserved, end-at)
	}
	return n
}

// passed returns how many free blocks lie in gaps.
func (c *cursor) passed() int64 {
	n := int64(0)
	for _, g := range c.gaps {
		n += g[1] - g[0]
	}
	return n
}

// tables returns where bitmaps and tables would end, in a file system of a
// number of groups and of inodes in each.
func (w *Writer) tables(groups, perGroup int64) cursor {
	c := w.out.cursor()
	for range 2 * groups {
		c.take(1)
	}
	for range groups {
		c.take(perGroup / inodesPerBlock)
	}
	return c
}

// perGroup returns how many inodes each group has, in whole blocks, when there
// are to be at least so many.
func perGroup(inodes, groups int64) int64 {
	return ceilDiv(ceilDiv(inodes, groups), inodesPerBlock) * inodesPerBlock
}

// planLayout decides on sizes once all data and directories are written.
func (w *Writer) planLayout() (layout, error) {
	free := ceilDiv(w.opt.Free, blockSize)
	if w.opt.FreePercent > 0 {
		free = ceilDiv(w.fit(0).blocks*int64(w.opt.FreePercent), 100)
	}
	fit := w.fit(free)
	switch {
	case fit.blocks > w.out.limit:
		return layout{}, w.noSpace(fit.blocks)
	case free > 0:
		return fit, nil
	case w.opt.Size == 0:
		return w.sized(fit.blocks, fit.groups)
	}
	return w.sized(w.out.limit, w.groups)
}

// sized returns the layout of a given size, with spare inodes for the space
// that is left free.
func (w *Writer) sized(blocks, groups int64) (layout, error) {
	p := perGroup(w.inodes.len(), groups)
	smallest := w.tables(groups, p)
	if smallest.next > blocks {
		return layout{}, w.noSpace(smallest.next)
	}
	spare := smallest.free(blocks) * blockSize / (bytesPerInode + inodeSize)
	most := max(p, min(maxPerGroup, perGroup(w.inodes.len()+spare, groups)))
	for most > p && w.tables(groups, most).next > blocks {
		most -= inodesPerBlock // rounded up by more than there is
	}
	return newLayout(blocks, groups, most), nil
}

// fit returns the smallest layout that leaves a number of blocks free, with
// their share of inodes.
func (w *Writer) fit(free int64) layout {
	inodes := w.inodes.len() + free*blockSize/bytesPerInode
	least := w.out.next + ceilDiv(inodes, inodesPerBlock) + free
	for groups := max(1, ceilDiv(least, groupBlocks), ceilDiv(inodes, maxPerGroup)); ; groups++ {
		p := perGroup(inodes, groups)
		c := w.tables(groups, p)
		c.skip(max(0, free-c.passed()))
		// All groups must exist, and the last one be more than its front.
		last := (groups - 1) * groupBlocks
		if hasCopy(groups - 1) {
			last += w.out.reserved
		}
		if blocks := max(c.next, last+1); blocks <= groups*groupBlocks {
			return newLayout(blocks, groups, p)
		}
	}
}

func newLayout(blocks, groups, perGroup int64) layout {
	return layout{blocks, groups, perGroup, ceilDiv(groups, descPerBlock)}
}

// trimGroups returns how many groups a size in blocks makes, and the size
// without a last group that would be no more than its own front.
func trimGroups(blocks, reserved int64) (trimmed, groups int64) {
	groups = ceilDiv(blocks, groupBlocks)
	start := (groups - 1) * groupBlocks
	if groups > 1 && hasCopy(groups-1) && blocks-start <= reserved {
		return start, groups - 1
	}
	return blocks, groups
}
