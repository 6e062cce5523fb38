package anatomy

import "fmt"

// squashfs 4.0: squashfs_fs.h of Linux, and Documentation/filesystems/squashfs.rst.

func isSquashfs(v view) bool { return v.has(0, "hsqs") }

var squashfsSuper = []field{
	{0, "magic number"}, {4, "number of inodes"}, {8, "time"}, {12, "block size"}, {16, "number of fragments"}, {20, "compression"},
	{22, "logarithm of the block size"}, {24, "flags"}, {26, "number of owners"}, {28, "version"}, {32, "root inode"}, {40, "length"},
	{48, "place of the id table"}, {56, "place of the xattr table"}, {64, "place of the inode table"},
	{72, "place of the directory table"}, {80, "place of the fragment table"}, {88, "place of the export table"},
}

var squashfsPackers = map[int64]string{1: "zlib", 4: "xz", 5: "lz4", 6: "zstd"}

// squashfs is what its superblock says.
type squashfs struct {
	view
	block, fragments                    int64
	inodeTable, dirTable, fragmentTable int64
	packed                              string
	metadata                            map[int64]metadata // by place: some of it
}

// region is a part of the file system.
type region struct {
	name       string
	start, end int64
	metadata   bool // it is made of metadata blocks
}

func atSquashfs(v view, off int64) string {
	s := squashfs{
		view: v, block: v.u32(12), fragments: v.u32(16), inodeTable: v.u64(64), dirTable: v.u64(72), fragmentTable: v.u64(80),
		packed: squashfsPackers[v.u16(20)], metadata: map[int64]metadata{},
	}
	switch {
	case off < 96:
		return "squashfs: superblock: " + named(squashfsSuper, off)
	case s.block < 4096 || s.block > 1<<20:
		return "squashfs: of a strange shape"
	case off >= v.u64(40):
		return "squashfs: padding behind it"
	case v.u16(24)&0x400 != 0 && off < 98+v.u16(96)&0x7fff:
		return "squashfs: compression options"
	case off < s.inodeTable:
		return "squashfs: " + s.data(off)
	}
	for _, r := range s.regions() {
		switch {
		case off < r.start || off >= r.end:
		case r.name == "inode table":
			return "squashfs: " + s.blockOf(r, off) + s.inodesAt(off)
		case r.metadata:
			return "squashfs: " + s.blockOf(r, off)
		default:
			return "squashfs: " + r.name
		}
	}
	return "squashfs: of no table"
}

// regions returns what there is behind the data.
func (s squashfs) regions() []region {
	end := s.u64(40)
	all := []region{{"inode table", s.inodeTable, s.dirTable, true}, {"directory table", s.dirTable, end, true}}
	for _, t := range []struct {
		name         string
		index, bytes int64
	}{
		{"fragment table", s.fragmentTable, s.fragments * 16}, {"export table", s.u64(88), s.u32(4) * 8}, {"id table", s.u64(48), s.u16(26) * 4},
	} {
		if n := (t.bytes + 8191) / 8192; n > 0 && t.index > 0 && t.index < end {
			all = append(all, region{t.name, s.u64(t.index), t.index, true}, region{"index of the " + t.name, t.index, t.index + 8*n, false})
		}
	}
	if at := s.u64(56); at > 0 && at < end {
		ids, n := s.u64(at+16), (s.u32(at+8)*16+8191)/8192
		all = append(all, region{"xattr values", s.u64(at), ids, true}, region{"xattr table", ids, at, true},
			region{"head of the xattr table", at, at + 16, false}, region{"index of the xattr table", at + 16, at + 16 + 8*n, false})
	}
	for _, r := range all[2:] {
		if r.start >= s.dirTable {
			all[1].end = min(all[1].end, r.start)
		}
	}
	return all
}

// blockOf says in which of its metadata blocks an offset of a region is.
func (s squashfs) blockOf(r region, off int64) string {
	for n, start := 0, r.start; start <= off && !s.spent(); n++ {
		h := s.u16(start)
		next := start + 2 + h&0x7fff
		if off < next {
			kind := "compressed"
			if h&0x8000 != 0 {
				kind = "stored"
			}
			return fmt.Sprintf("%s: metadata block %d (%s, at %d)", r.name, n, kind, start)
		}
		start = next
	}
	return r.name
}

// data says whose a block of data is, or what fragment.
func (s squashfs) data(off int64) string {
	fragment := int64(-1)
	for i := int64(0); i < s.fragments && !s.spent(); i++ {
		b := s.read(s.u64(s.fragmentTable+i/512*8), i%512*16, 16)
		if len(b) < 16 {
			break
		}
		if at := int64(le64(b)); off >= at && off < at+int64(le32(b[8:])&0xffffff) {
			fragment = i
			break
		}
	}
	what, first, ends := "", "", 0
	s.walk(func(i squashfsInode, path func() string) bool {
		if fragment >= 0 {
			if i.fragment == fragment {
				if ends++; ends == 1 {
					first = path()
				}
			}
			return true
		}
		if n := i.blockAt(off); n >= 0 {
			what = fmt.Sprintf("data of %s: bytes from %d on", show(path()), n*s.block)
		}
		return what == ""
	})
	switch {
	case ends == 1:
		return fmt.Sprintf("fragment %d, the end of %s", fragment, show(first))
	case ends > 1:
		return fmt.Sprintf("fragment %d, the ends of %d files, among them %s", fragment, ends, show(first))
	case fragment >= 0:
		return fmt.Sprintf("fragment %d", fragment)
	case what == "":
		return "data of no file found"
	}
	return what
}

// inodesAt says which inodes a metadata block has.
func (s squashfs) inodesAt(off int64) string {
	first, count := "", 0
	s.walk(func(i squashfsInode, path func() string) bool {
		at := s.inodeTable + i.ref>>16
		if off >= at && off < at+2+s.u16(at)&0x7fff {
			if count++; count == 1 {
				first = path()
			}
		}
		return true
	})
	if count == 0 {
		return ""
	}
	return fmt.Sprintf(": %d inodes that begin in it, among them %s", count, show(first))
}
