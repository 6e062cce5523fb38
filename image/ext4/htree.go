package ext4

import (
	"cmp"
	"slices"
)

const (
	hashRootStart = 32 // bytes of the root's index ("Hash Tree Directories", dx_root)
	hashNodeStart = 8  // likewise of a node's (dx_node)
	hashTail      = 8  // bytes of a checksum (dx_tail)
	hashEntrySize = 8
)

// A hashTree says where the entries of a large directory go: into leaves in
// the order of their hashes, under an index of one or two levels.
type hashTree struct {
	geometry
	dir    *dir
	sorted []hashed
	leaves []hashEntry // logical blocks are counted from 0 here
	starts []int       // which sorted entry each leaf begins with
	nodes  int         // between root and leaves
}

// hashed is an entry's hash and where it stands among the entries.
type hashed struct {
	hash  uint32
	entry uint32
}

// A hashEntry of an index leads to a block whose hashes are at least hash. An
// odd hash says that the block before ends with the same one.
type hashEntry struct {
	hash, block uint32
}

// newHashTree distributes the entries of a directory. It reports false when
// they are more than two levels hold.
func newHashTree(g geometry, d *dir, h nameHash) (*hashTree, bool) {
	x := &hashTree{geometry: g, dir: d, sorted: make([]hashed, len(d.entries.List))}
	for i, e := range d.entries.List {
		x.sorted[i] = hashed{h.of(e.Name), uint32(i)}
	}
	slices.SortFunc(x.sorted, func(a, b hashed) int {
		if a.hash != b.hash {
			return cmp.Compare(a.hash, b.hash)
		}
		return cmp.Compare(a.entry, b.entry)
	})
	used := g.dirUsable()
	for i, e := range x.sorted {
		n := entryLen(d.entries.List[e.entry].Name)
		if used+n > g.dirUsable() {
			used = 0
			hash := e.hash
			if i > 0 && x.sorted[i-1].hash == hash {
				hash |= 1
			}
			x.leaves = append(x.leaves, hashEntry{hash, uint32(len(x.leaves))})
			x.starts = append(x.starts, i)
		}
		used += n
	}
	nodes, ok := g.indexNodes(len(x.leaves))
	x.nodes = nodes
	return x, ok
}

// indexNodes returns how many nodes it takes between the root and so many
// leaves. It reports false when the root cannot lead to them.
func (g geometry) indexNodes(leaves int) (nodes int, ok bool) {
	if leaves <= g.hashRootLimit() {
		return 0, true
	}
	nodes = int(ceilDiv(int64(leaves), int64(g.hashNodeLimit())))
	return nodes, nodes <= g.hashRootLimit()
}

// writeHashTree writes a directory: the root, the nodes, the leaves.
func (w *Writer) writeHashTree(x *hashTree, seed uint32) {
	logical := uint32(0)
	store := func(p []byte) {
		w.tree.add(logical, w.out.append(p))
		logical++
	}
	for i := range x.leaves {
		x.leaves[i].block += uint32(1 + x.nodes)
	}
	if x.nodes == 0 {
		store(x.root(x.leaves, 0, seed))
	} else {
		var top []hashEntry
		for part := range slices.Chunk(x.leaves, w.hashNodeLimit()) {
			top = append(top, hashEntry{part[0].hash, uint32(1 + len(top))})
		}
		store(x.root(top, 1, seed))
		for part := range slices.Chunk(x.leaves, w.hashNodeLimit()) {
			b := make([]byte, w.block())
			le.PutUint16(b[4:], uint16(w.block())) // an unused entry over the whole block
			putHashEntries(b, hashNodeStart, w.hashNodeLimit(), part, seed)
			store(b)
		}
	}
	for i, start := range x.starts {
		end := len(x.sorted)
		if i+1 < len(x.starts) {
			end = x.starts[i+1]
		}
		b := dirBlock{usable: w.dirUsable()}
		for _, h := range x.sorted[start:end] {
			e := x.dir.entries.List[h.entry]
			b.add(e.Name, e.Ref, w.inodes.at(e.Ref).fileType())
		}
		store(b.seal(seed))
	}
}

// root returns the first block of the directory, with levels of nodes below.
func (x *hashTree) root(entries []hashEntry, levels byte, seed uint32) []byte {
	b := make([]byte, x.block())
	self := entryLen(".")
	putEntry(b, ".", x.dir.number, self, 2)
	putEntry(b[self:], "..", x.dir.parent, len(b)-self, 2)
	b[28] = hashVersion
	b[29] = 8 // bytes of this header
	b[30] = levels
	putHashEntries(b, hashRootStart, x.hashRootLimit(), entries, seed)
	return b
}

// putHashEntries puts an index at an offset of a block, and its checksum at the
// end. The first entry has no hash: limit and count are in its place.
func putHashEntries(b []byte, offset, limit int, entries []hashEntry, seed uint32) {
	for i, e := range entries {
		p := b[offset+i*hashEntrySize:]
		le.PutUint32(p[0:], e.hash)
		le.PutUint32(p[4:], e.block)
	}
	le.PutUint16(b[offset:], uint16(limit))
	le.PutUint16(b[offset+2:], uint16(len(entries)))
	// The checksum covers the entries in use and the tail with itself as zero.
	sum := crc32c(seed, b[:offset+len(entries)*hashEntrySize])
	tail := b[offset+limit*hashEntrySize:]
	le.PutUint32(tail[4:], crc32c(sum, tail[:hashTail]))
}
