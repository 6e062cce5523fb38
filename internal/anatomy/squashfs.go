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
	block, fragments, inodes                 int64
	inodeTable, dirTable, fragmentTable, end int64 // end of the directory table
	packed                                   string
	metadata                                 map[int64]metadata // by place: some of it
}

// indexed is a table of metadata blocks with an index behind them.
type indexed struct {
	name          string
	index, blocks int64
}

func atSquashfs(v view, off int64) string {
	s := squashfs{
		view: v, block: v.u32(12), fragments: v.u32(16), inodes: v.u32(4), inodeTable: v.u64(64), dirTable: v.u64(72),
		fragmentTable: v.u64(80), packed: squashfsPackers[v.u16(20)], metadata: map[int64]metadata{},
	}
	length := v.u64(40)
	switch {
	case off < 96:
		return "squashfs: superblock: " + named(squashfsSuper, off)
	case s.block < 4096 || s.block > 1<<20:
		return "squashfs: of a strange shape"
	case off >= length:
		return "squashfs: padding behind it"
	case v.u16(24)&0x400 != 0 && off < 98+v.u16(96)&0x7fff:
		return "squashfs: compression options"
	case off < s.inodeTable:
		return "squashfs: " + s.data(off)
	}
	s.end = length
	what := ""
	for _, t := range []indexed{
		{"fragment table", s.fragmentTable, (s.fragments*16 + 8191) / 8192},
		{"export table", v.u64(88), (s.inodes*8 + 8191) / 8192},
		{"id table", v.u64(48), (v.u16(26)*4 + 8191) / 8192},
		{"xattr table", v.u64(56), 0},
	} {
		if t.index < 96 || t.index >= length {
			continue
		}
		first := t.index
		if t.name == "xattr table" {
			t.blocks = (v.u32(t.index+8)*16 + 8191) / 8192
			first = v.u64(t.index)
			if at := v.u64(t.index + 16); t.blocks > 0 && off >= first && off < at {
				what = s.blockOf("xattr values", first, off)
			} else if off >= at && off < t.index {
				what = s.blockOf("xattr table", at, off)
			} else if off >= t.index && off < t.index+16 {
				what = "head of the xattr table"
			} else if off >= t.index+16 && off < t.index+16+8*t.blocks {
				what = "index of the xattr table"
			}
		} else {
			if t.blocks > 0 {
				first = v.u64(t.index)
			}
			if off >= first && off < t.index {
				what = s.blockOf(t.name, first, off)
			} else if off >= t.index && off < t.index+8*t.blocks {
				what = "index of the " + t.name
			}
		}
		if first > s.dirTable {
			s.end = min(s.end, first)
		}
		if what != "" {
			return "squashfs: " + what
		}
	}
	switch {
	case off < s.dirTable:
		return "squashfs: " + s.blockOf("inode table", s.inodeTable, off) + s.inodesAt(off)
	case off < s.end:
		return "squashfs: " + s.blockOf("directory table", s.dirTable, off)
	}
	return "squashfs: of no table"
}

// blockOf says in which metadata block of a table an offset is.
func (s squashfs) blockOf(name string, start, off int64) string {
	for n := 0; start <= off && !s.spent(); n++ {
		h := s.u16(start)
		next := start + 2 + h&0x7fff
		if off < next {
			kind := "compressed"
			if h&0x8000 != 0 {
				kind = "stored"
			}
			return fmt.Sprintf("%s: metadata block %d (%s, at %d)", name, n, kind, start)
		}
		start = next
	}
	return name
}

// data says whose a block of data is, or what fragment.
func (s squashfs) data(off int64) string {
	fragment := int64(-1)
	index := s.fragmentTable
	for i := int64(0); i < s.fragments && !s.spent(); i++ {
		b := s.read(s.u64(index+i/512*8), i%512*16, 16)
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
	case ends > 0:
		return fmt.Sprintf("fragment %d, the ends of %d files, first %s", fragment, ends, show(first))
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
	return fmt.Sprintf(", %d inodes, among them %s", count, show(first))
}
