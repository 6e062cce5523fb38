package anatomy

import "fmt"

var ext4Inode = []field{
	{0, "mode"}, {2, "user"}, {4, "size"}, {8, "access time"}, {12, "change time"}, {16, "modification time"}, {20, "deletion time"},
	{24, "group"}, {26, "links"}, {28, "blocks"}, {32, "flags"}, {36, "version"}, {40, "block map or contents"}, {100, "generation"},
	{104, "block of extended attributes"}, {108, "size, high"}, {112, "fragment address"}, {116, "blocks, high"},
	{118, "block of extended attributes, high"}, {120, "user, high"}, {122, "group, high"}, {124, "checksum"}, {126, "reserved"},
	{128, "extra size"}, {130, "checksum, high"}, {132, "change time, nanoseconds"}, {136, "modification time, nanoseconds"},
	{140, "access time, nanoseconds"}, {144, "creation time"}, {148, "creation time, nanoseconds"}, {152, "version, high"},
	{156, "project"}, {160, "extended attributes"},
}

const (
	ext4Root     = 2
	ext4Journal  = 8
	ext4Extents  = 0x80000
	ext4Inline   = 0x10000000
	ext4Indexed  = 0x1000
	modeKind     = 0xf000
	modeDir      = 0x4000
	modeRegular  = 0x8000
	modeLink     = 0xa000
	maxTreeDepth = 5
)

var ext4Reserved = map[int64]string{
	1: "bad blocks", 3: "user quota", 4: "group quota", 5: "boot loader", 7: "descriptors for growing", ext4Journal: "journal",
}

// titled names an inode, and its path if it has one.
func (e ext4) titled(n int64) string {
	s := fmt.Sprintf("inode %d", n)
	if name := ext4Reserved[n]; name != "" {
		return s + " (" + name + ")"
	}
	b := e.inodeBytes(n)
	if n != ext4Root && le16(b[26:]) == 0 {
		return s + " (unused)"
	}
	if path := e.path(n); path != "" {
		s += " (" + show(path) + ")"
	}
	return s
}

// inodeBytes reads what all sizes of inodes have.
func (e ext4) inodeBytes(n int64) []byte {
	g := (n - 1) / e.inodes
	if n < 1 || g >= e.groups {
		return make([]byte, 128)
	}
	return e.bytes(e.group(g).table*e.block+(n-1)%e.inodes*e.inode, 128)
}

// Kinds of what an inode has blocks for.
const (
	ext4Data = "data"
	ext4Map  = "block map"
)

// run is some blocks of an inode.
type run struct {
	kind                  string
	logical, start, count int64
}

// runs calls f with the blocks of an inode until it returns false, as runs does then.
func (e ext4) runs(inode []byte, f func(run) bool) bool {
	flags, mode := le32(inode[32:]), le16(inode)&modeKind
	blocks := inode[40:100]
	switch {
	case flags&ext4Inline != 0:
		return true
	case flags&ext4Extents != 0:
		return e.extents(blocks, maxTreeDepth, f)
	case mode == modeLink && le32(inode[28:]) == 0, mode != modeDir && mode != modeRegular && mode != modeLink && mode != 0:
		return true // a short link, or a device
	}
	logical := int64(0)
	for i := range 15 {
		if !e.indirect(int64(le32(blocks[4*i:])), max(0, i-11), &logical, f) {
			return false
		}
	}
	return true
}

// extents goes through a node of a tree of extents.
func (e ext4) extents(node []byte, depth int, f func(run) bool) bool {
	if le16(node) != 0xf30a || depth == 0 {
		return true
	}
	n := min(int(le16(node[2:])), len(node)/12-1)
	leaf := le16(node[6:]) == 0
	for x := node[12:]; n > 0 && !e.spent(); n, x = n-1, x[12:] {
		if leaf {
			count := int64(le16(x[4:]))
			if count > 1<<15 {
				count -= 1 << 15 // allocated and not written
			}
			if !f(run{ext4Data, int64(le32(x)), int64(le32(x[8:])) | int64(le16(x[6:]))<<32, count}) {
				return false
			}
			continue
		}
		child := int64(le32(x[4:])) | int64(le16(x[8:]))<<32
		if !f(run{ext4Map, int64(le32(x)), child, 1}) || !e.extents(e.bytes(child*e.block, e.block), depth-1, f) {
			return false
		}
	}
	return true
}

// indirect goes through a block of the older map: data at depth 0.
func (e ext4) indirect(b int64, depth int, logical *int64, f func(run) bool) bool {
	if b == 0 || e.spent() {
		reach := int64(1)
		for range depth {
			reach *= e.block / 4
		}
		*logical += reach
		return true
	}
	if depth == 0 {
		*logical++
		return f(run{ext4Data, *logical - 1, b, 1})
	}
	if !f(run{ext4Map, *logical, b, 1}) {
		return false
	}
	for x := e.bytes(b*e.block, e.block); len(x) > 0; x = x[4:] {
		if !e.indirect(int64(le32(x)), depth-1, logical, f) {
			return false
		}
	}
	return true
}

// owner says what inode has a block, and for what; at is an offset within the block.
func (e ext4) owner(b, at int64) (what string) {
	for g := int64(0); g < e.groups && !e.spent(); g++ {
		d := e.group(g)
		if d.flags&ext4InodesUnused != 0 {
			continue
		}
		for i := int64(0); i < e.inodes-min(d.unused, e.inodes) && !e.spent(); i++ {
			n := 1 + g*e.inodes + i
			inode := e.bytes(d.table*e.block+i*e.inode, 128)
			if le16(inode[26:]) == 0 && n > 10 {
				continue
			}
			if acl := int64(le32(inode[104:])) | int64(le16(inode[118:]))<<32; acl == b {
				return "extended attributes of " + e.titled(n)
			}
			e.runs(inode, func(r run) bool {
				if b < r.start || b >= r.start+r.count {
					return true
				}
				pos := (r.logical+b-r.start)*e.block + at
				switch mode := le16(inode) & modeKind; {
				case r.kind == ext4Map:
					what = "block map of " + e.titled(n)
				case mode == modeDir:
					what = fmt.Sprintf("directory block of %s: %s", e.titled(n), e.entry(inode, pos, b*e.block, at))
				case mode == modeLink:
					what = "target of the link " + e.titled(n)
				default:
					what = fmt.Sprintf("data of %s: byte %d", e.titled(n), pos)
				}
				return false
			})
			if what != "" {
				return what
			}
		}
	}
	return ""
}
