package anatomy

import (
	"bytes"
	"fmt"
)

// EROFS: erofs_fs.h of Linux, and Documentation/filesystems/erofs.rst.

func isErofs(v view) bool { return v.u32(1024) == 0xe0f5e1e2 }

var erofsSuper = []field{
	{0, "magic number"}, {4, "checksum"}, {8, "compatible features"}, {12, "block size"}, {13, "extra slots"}, {14, "root inode"},
	{16, "number of inodes"}, {24, "build time"}, {32, "build time, nanoseconds"}, {36, "number of blocks"}, {40, "place of the inodes"},
	{44, "place of the shared attributes"}, {48, "UUID"}, {64, "label"}, {80, "incompatible features"},
	{84, "compression algorithms"}, {86, "devices"}, {90, "directory block size"}, {91, "prefixes of attributes"},
	{96, "packed inode"}, {104, "attributes filter"}, {105, "reserved"},
}

var erofsCompact = []field{
	{0, "format"}, {2, "length of the attributes"}, {4, "mode"}, {6, "links"}, {8, "size"}, {12, "modification time"}, {16, "place of the data"},
	{20, "number"}, {24, "user"}, {26, "group"}, {28, "reserved"},
}

var erofsExtended = []field{
	{0, "format"}, {2, "length of the attributes"}, {4, "mode"}, {6, "reserved"}, {8, "size"}, {16, "place of the data"}, {20, "number"},
	{24, "user"}, {28, "group"}, {32, "modification time"}, {40, "modification time, nanoseconds"}, {44, "links"}, {48, "reserved"},
}

// erofs is what its superblock says: places are in bytes.
type erofs struct {
	view
	block, meta, attrs, root int64
}

func atErofs(v view, off int64) string {
	s := v.part(1024, 128)
	if bits := s.u8(12); bits < 9 || bits > 16 {
		return "erofs: of a strange shape"
	}
	e := erofs{view: v, block: 1 << s.u8(12), root: s.u16(14)}
	e.meta, e.attrs = s.u32(40)*e.block, s.u32(44)*e.block
	blocks := s.u32(36) * e.block
	switch {
	case off < 1024:
		return "erofs: boot sectors"
	case off < 1024+128:
		return "erofs: superblock: " + named(erofsSuper, off-1024)
	}
	if what := e.find(off); what != "" {
		return "erofs: " + what
	}
	if packed := s.u64(96); packed > 0 && s.u32(80)&0x20 != 0 {
		if what := e.inode(packed).has(off, func() string { return "packed ends of files" }); what != "" {
			return "erofs: " + what
		}
	}
	switch {
	case off < 1024+128+s.u8(13)*16:
		return "erofs: superblock: extra slots"
	case off >= blocks:
		return "erofs: behind the file system"
	}
	n := off / e.block
	if bytes.Count(e.bytes(n*e.block, e.block), zeros[:1]) == int(e.block) {
		return fmt.Sprintf("erofs: unused block %d, of zeros", n)
	}
	return fmt.Sprintf("erofs: block %d, of no inode found", n)
}

// find looks for what lies at an offset in the inodes that a walk comes to.
func (e erofs) find(off int64) string {
	if what := e.inode(e.root).has(off, func() string { return "." }); what != "" {
		return what
	}
	files := tree{{}}
	type dir struct {
		nid  int64
		file int // its place in files
	}
	seen := map[int64]bool{e.root: true}
	what := ""
	for dirs := []dir{{e.root, 0}}; len(dirs) > 0 && what == "" && len(files) < maxFiles && !e.spent(); {
		d := dirs[0]
		dirs = dirs[1:]
		e.inode(d.nid).entries(func(entry erofsEntry) bool {
			if entry.name == "." || entry.name == ".." || seen[entry.nid] {
				return true
			}
			i := e.inode(entry.nid)
			files = append(files, leaf{d.file, entry.name})
			if what = i.has(off, func() string { return files.path(len(files) - 1) }); what != "" {
				return false
			}
			if i.mode&modeKind != modeDir {
				files = files[:len(files)-1]
				return !e.spent()
			}
			seen[entry.nid] = true
			dirs = append(dirs, dir{entry.nid, len(files) - 1})
			return len(files) < maxFiles && !e.spent()
		})
	}
	return what
}

// erofsEntry is an entry of a directory, and where in its block the record and the name
// are.
type erofsEntry struct {
	nid           int64
	name          string
	record, start int
}

// entries calls f with the entries of a directory until it returns false.
func (i erofsInode) entries(f func(erofsEntry) bool) {
	if i.mode&modeKind != modeDir {
		return
	}
	for pos := int64(0); pos < i.size && !i.fs.spent(); pos += i.fs.block {
		at := i.place(pos)
		if at <= 0 {
			return
		}
		if !erofsEntries(i.fs.bytes(at, min(i.fs.block, i.size-pos)), f) {
			return
		}
	}
}

// erofsEntries calls f with the entries of a block of a directory until it returns
// false, as it does then.
func erofsEntries(b []byte, f func(erofsEntry) bool) bool {
	if len(b) < 12 {
		return true
	}
	names := int(le16(b[8:]))
	if names < 12 || names > len(b) {
		return true
	}
	for at := 0; at+12 <= names; at += 12 {
		start, end := int(le16(b[at+8:])), len(b)
		if at+24 <= names {
			end = int(le16(b[at+20:]))
		}
		if start > end || end > len(b) || end-start > 1024 && at+24 <= names {
			return true
		}
		if !f(erofsEntry{int64(le64(b[at:])), tarText(b[start:min(end, start+256)]), at, start}) {
			return false
		}
	}
	return true
}
