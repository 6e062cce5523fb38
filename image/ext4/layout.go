package ext4

import (
	"fmt"
	"slices"
)

// A layout says where everything is that describes the block groups. All of it
// follows the data, as the feature flex_bg permits: the block bitmaps of
// all groups, their inode bitmaps, their inode tables.
type layout struct {
	geometry
	blocks, groups int64
	perGroup       int64 // inodes in each group
	descBlocks     int64 // of group descriptors in use
	journal        int64 // blocks of the journal, between data and bitmaps
	rootBlocks     int64 // that only root may use
}

// A cursor places runs of blocks behind one another, each whole, in front of or
// behind the fronts of groups with a copy of the superblock.
type cursor struct {
	geometry
	next     int64      // every block before it is in use
	front    int64      // where the next such front begins
	reserved int64      // blocks in front of a group with a copy
	gaps     [][2]int64 // free blocks passed over: from, to
}

func newCursor(g geometry, reserved int64) cursor {
	return cursor{geometry: g, next: g.first() + reserved, front: g.start(nextCopy(1)), reserved: reserved}
}

// hasCopy reports whether a group keeps a copy of the superblock: groups 0, 1
// and the powers of 3, 5 and 7 ("Sparse Super").
func hasCopy(group int64) bool {
	if group <= 1 {
		return true
	}
	for _, base := range [...]int64{3, 5, 7} {
		n := base
		for n < group {
			n *= base
		}
		if n == group {
			return true
		}
	}
	return false
}

// nextCopy returns the first group from the given one on that keeps a copy.
func nextCopy(group int64) int64 {
	for !hasCopy(group) {
		group++
	}
	return group
}

// nextFront returns where the first front behind the given one begins.
func (g geometry) nextFront(front int64) int64 {
	return g.start(nextCopy((front-g.first())/g.groupBlocks() + 1))
}

// take returns the first of n blocks, which are fewer than a group has free.
func (c *cursor) take(n int64) int64 {
	if c.next+n > c.front {
		c.pass()
	}
	at := c.next
	c.next += n
	return at
}

// pass goes behind the next front.
func (c *cursor) pass() {
	if c.next < c.front {
		c.gaps = append(slices.Clip(c.gaps), [2]int64{c.next, c.front})
	}
	c.next = c.front + c.reserved
	c.front = c.nextFront(c.front)
}

// piece takes as many as there are side by side of n blocks, and returns the first
// and how many they are.
func (c *cursor) piece(n int64) (at, blocks int64) {
	at = c.take(1)
	blocks = min(n, c.front-at)
	c.next = at + blocks
	return at, blocks
}

// skip moves on by n blocks that need not be in one piece.
func (c *cursor) skip(n int64) {
	for n > 0 {
		_, blocks := c.piece(n)
		n -= blocks
	}
}

// free returns how many blocks are free behind the cursor up to an end.
func (c *cursor) free(end int64) int64 {
	n := end - c.next
	for at := c.front; at < end; at = c.nextFront(at) {
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

// tables returns where bitmaps and tables would end that begin at the cursor, in a
// file system of a number of groups and of inodes in each.
func (c cursor) tables(groups, perGroup int64) cursor {
	for range 2 * groups {
		c.take(1)
	}
	for range groups {
		c.take(perGroup / c.inodesPerBlock())
	}
	return c
}

// perGroup returns how many inodes each group has when there are to be at least so
// many.
func (g geometry) perGroup(inodes, groups int64) int64 {
	return ceilDiv(ceilDiv(inodes, groups), g.inodeUnit()) * g.inodeUnit()
}

// A planner decides on sizes once it is known what the entries take.
type planner struct {
	*frame
	at     cursor // behind the data
	inodes int64  // in use
}

// plan returns the layout.
func (p *planner) plan() (layout, error) {
	l, err := p.journaled()
	if err != nil {
		return layout{}, err
	}
	l.rootBlocks = p.ceil(p.opt.Reserved) + l.blocks*int64(p.opt.ReservedPercent)/100
	if l.rootBlocks > l.blocks/2 { // which e2fsck takes for a fault
		return layout{}, fmt.Errorf("ext4: %d bytes for root are more than half of the file system's %d", p.opt.Reserved, l.blocks*p.block())
	}
	return l, nil
}

// journaled returns the layout with the journal that is asked for.
func (p *planner) journaled() (layout, error) {
	switch {
	case p.opt.Journal != JournalAuto:
		return p.withJournal(p.ceil(p.opt.Journal))
	case p.opt.Size > 0:
		return p.withJournal(autoJournal(p.limit))
	}
	// A larger journal makes a larger file system, which may have a larger one.
	for journal := int64(minJournal); ; {
		l, err := p.withJournal(journal)
		if err != nil {
			return layout{}, err
		}
		more := autoJournal(l.blocks)
		if more <= journal {
			return l, nil
		}
		journal = more
	}
}

func (p planner) withJournal(blocks int64) (layout, error) {
	nodes := p.treeNodes(len(p.at.extents(blocks)))
	p.at.skip(nodes)
	l, err := p.layout()
	l.journal = blocks
	return l, err
}

func (p *planner) layout() (layout, error) {
	free := p.ceil(p.opt.Free)
	if p.opt.FreePercent > 0 {
		smallest, percent := p.fit(0).blocks, int64(p.opt.FreePercent)
		if smallest > p.limit || percent/100 > p.limit/smallest {
			return layout{}, p.noSpace(p.limit + 1)
		}
		free = ceilDiv(smallest*percent, 100)
	}
	if p.opt.Size > 0 {
		return p.sized(p.limit, p.groups)
	}
	fit := p.fit(free)
	switch {
	case fit.blocks > p.limit:
		return layout{}, p.noSpace(fit.blocks)
	case free > 0:
		return fit, nil
	}
	return p.sized(fit.blocks, fit.groups)
}

// sized returns the layout of a given size, with spare inodes for the space
// that is left free.
func (p *planner) sized(blocks, groups int64) (layout, error) {
	least := p.perGroup(max(p.inodes, p.opt.Inodes), groups)
	if least > p.groupBlocks() {
		return layout{}, p.noSpace(p.start(ceilDiv(max(p.inodes, p.opt.Inodes), p.groupBlocks())-1) + 1)
	}
	smallest := p.at.tables(groups, least)
	if smallest.next > blocks {
		return layout{}, p.noSpace(smallest.next)
	}
	most := least
	if p.opt.Inodes == 0 {
		spare := smallest.free(blocks) * p.block() / (p.opt.BytesPerInode + inodeSize)
		most = max(least, min(p.groupBlocks(), p.perGroup(p.inodes+spare, groups)))
	}
	for most > least && p.at.tables(groups, most).next > blocks {
		most -= p.inodeUnit() // rounded up by more than there is
	}
	return p.newLayout(blocks, groups, most), nil
}

// fit returns the smallest layout that leaves a number of blocks free, with
// their share of inodes.
func (p *planner) fit(free int64) layout {
	inodes := p.opt.Inodes
	if inodes == 0 {
		inodes = p.inodes + free*p.block()/p.opt.BytesPerInode
	}
	least := p.at.next + ceilDiv(inodes, p.inodesPerBlock()) + free
	for groups := max(1, p.geometry.groups(least), ceilDiv(inodes, p.groupBlocks())); ; groups++ {
		perGroup := p.perGroup(inodes, groups)
		c := p.at.tables(groups, perGroup)
		c.skip(max(0, free-c.passed()))
		// All groups must exist, and the last one be more than its front.
		last := p.start(groups - 1)
		if hasCopy(groups - 1) {
			last += p.reserved
		}
		if blocks := max(c.next, last+1); blocks <= p.start(groups) {
			return p.newLayout(blocks, groups, perGroup)
		}
	}
}

func (p *planner) newLayout(blocks, groups, perGroup int64) layout {
	return layout{p.geometry, blocks, groups, perGroup, ceilDiv(groups, p.descPerBlock()), 0, 0}
}

// trimGroups returns how many groups a size in blocks makes, and the size
// without a last group that would be no more than its own front.
func (g geometry) trimGroups(blocks, reserved int64) (trimmed, groups int64) {
	groups = g.groups(blocks)
	start := g.start(groups - 1)
	if groups > 1 && hasCopy(groups-1) && blocks-start <= reserved {
		return start, groups - 1
	}
	return blocks, groups
}
