package ext4

const (
	extentSize  = 12      // bytes of a header, a leaf entry and an index entry alike
	rootEntries = 4       // in an inode's 60 bytes
	maxExtent   = 1 << 15 // blocks in an initialised extent
	extentMagic = 0xf30a
)

// An extent is an entry of an extent tree ("Extent Tree"). In a leaf it maps
// blocks from logical on to the ones from block on; above the leaves it points
// to the node at block, whose first entry begins at logical.
type extent struct {
	logical, block, blocks uint32
}

// An extentTree builds the tree of one file from its blocks in rising logical
// order. Full nodes are written as they fill up, so it holds one node a level.
type extentTree struct {
	out    *blockWriter
	seed   uint32 // of the file system's checksums
	ino    uint32
	run    extent     // the last extent, still growing
	levels [][]extent // unwritten entries, the leaves' level first
	nodes  uint32     // blocks of nodes written
	data   uint32     // blocks of data mapped
}

// reset begins the tree of another file.
func (t *extentTree) reset(ino uint32) {
	t.ino, t.run, t.nodes, t.data = ino, extent{}, 0, 0
	for i := range t.levels {
		t.levels[i] = t.levels[i][:0]
	}
}

// add maps a logical block of the file to a block.
func (t *extentTree) add(logical uint32, block int64) {
	t.data++
	r := &t.run
	if r.blocks > 0 && r.blocks < maxExtent && logical == r.logical+r.blocks && block == int64(r.block)+int64(r.blocks) {
		r.blocks++
		return
	}
	full := *r
	*r = extent{logical, uint32(block), 1}
	if full.blocks > 0 {
		t.push(0, full)
	}
}

func (t *extentTree) push(level int, e extent) {
	if level == len(t.levels) {
		t.levels = append(t.levels, make([]extent, 0, t.out.nodeEntries()))
	}
	if len(t.levels[level]) == t.out.nodeEntries() {
		t.writeNode(level)
	}
	t.levels[level] = append(t.levels[level], e)
}

// writeNode writes the entries of a level as a node of the tree.
func (t *extentTree) writeNode(level int) {
	entries, limit := t.levels[level], t.out.nodeEntries()
	var buf [maxBlockSize]byte
	b := buf[:t.out.block()]
	putNode(b, limit, level, entries)
	tail := extentSize + limit*extentSize
	le.PutUint32(b[tail:], crc32c(inodeSeed(t.seed, t.ino), b[:tail]))
	t.nodes++
	up := extent{logical: entries[0].logical, block: uint32(t.out.append(b))}
	t.levels[level] = entries[:0]
	t.push(level+1, up)
}

// finish writes the rest of the tree and returns its root, for the inode.
func (t *extentTree) finish() (root [60]byte) {
	if t.run.blocks > 0 {
		t.push(0, t.run)
	}
	for level := 0; level < len(t.levels); level++ {
		entries := t.levels[level]
		top := level+1 == len(t.levels) || len(t.levels[level+1]) == 0
		if top && len(entries) <= rootEntries {
			putNode(root[:], rootEntries, level, entries)
			return root
		}
		t.writeNode(level)
	}
	putNode(root[:], rootEntries, 0, nil)
	return root
}

// treeNodes returns how many nodes lead to so many extents of a file.
func (g geometry) treeNodes(extents int) (nodes int64) {
	for n := int64(extents); n > rootEntries; {
		n = ceilDiv(n, int64(g.nodeEntries()))
		nodes += n
	}
	return nodes
}

// putNode encodes a node of at most limit entries. Block numbers have 32 bits
// here, so the upper halves on disk stay 0.
func putNode(b []byte, limit, depth int, entries []extent) {
	le.PutUint16(b[0:], extentMagic)
	le.PutUint16(b[2:], uint16(len(entries)))
	le.PutUint16(b[4:], uint16(limit))
	le.PutUint16(b[6:], uint16(depth))
	for i, e := range entries {
		p := b[(i+1)*extentSize:]
		le.PutUint32(p[0:], e.logical)
		if depth == 0 {
			le.PutUint16(p[4:], uint16(e.blocks))
			le.PutUint32(p[8:], e.block)
		} else {
			le.PutUint32(p[4:], e.block)
		}
	}
}
