package anatomy

import "fmt"

// Layouts of an inode's data.
const (
	erofsPlain = iota
	erofsFull  // compressed, with an index of 8 bytes for each cluster
	erofsInline
	erofsCompactIndex // compressed, with a shorter index
	erofsChunks
)

// erofsInode is an inode, and where it is.
type erofsInode struct {
	fs                        erofs
	nid, at, length, attrs    int64
	mode, layout, size, first int64
}

func (e erofs) inode(nid int64) erofsInode {
	i := erofsInode{fs: e, nid: nid, at: e.meta + nid*32, length: 32}
	b := e.bytes(i.at, 64)
	i.layout, i.mode, i.size = int64(le16(b)>>1&7), int64(le16(b[4:])), int64(le32(b[8:]))
	if b[0]&1 != 0 {
		i.length, i.size = 64, int64(le64(b[8:]))
	}
	i.first = int64(le32(b[16:]))
	if n := int64(le16(b[2:])); n > 0 {
		i.attrs = 12 + 4*(n-1)
	}
	return i
}

// behind is where what follows the inode and its attributes begins.
func (i erofsInode) behind() int64 { return i.at + i.length + i.attrs }

// place returns where in the image a byte of plain contents is, or 0.
func (i erofsInode) place(pos int64) int64 {
	full := i.size / i.fs.block * i.fs.block
	switch {
	case i.layout == erofsInline && pos >= full:
		return i.behind() + pos - full
	case i.layout == erofsInline || i.layout == erofsPlain:
		return i.first*i.fs.block + pos
	}
	return 0
}

// has says what of the inode, which has a path, lies at an offset, or nothing.
func (i erofsInode) has(off int64, path func() string) string {
	title := func() string { return fmt.Sprintf("inode %d (%s)", i.nid, show(path())) }
	switch pos := off - i.at; {
	case i.at < 0 || i.size < 0:
		return ""
	case pos >= 0 && pos < i.length && i.length == 32:
		return title() + ": " + named(erofsCompact, pos)
	case pos >= 0 && pos < i.length:
		return title() + ": " + named(erofsExtended, pos)
	case pos >= 0 && pos < i.length+i.attrs:
		return "extended attributes of " + title()
	case i.shared(off):
		return "shared extended attribute of " + title()
	}
	switch kind := i.mode & modeKind; {
	case kind != modeRegular && kind != modeDir && kind != modeLink:
		return ""
	case i.layout == erofsFull:
		return i.packed(off, title)
	case i.layout == erofsChunks:
		return i.chunks(off, title)
	case i.layout == erofsCompactIndex:
		return ""
	}
	full := i.size / i.fs.block * i.fs.block
	if i.layout == erofsPlain {
		full = i.size
	}
	if start := i.first * i.fs.block; full > 0 && off >= start && off < start+full {
		return i.data(off, off-start, title)
	}
	if start := i.behind(); i.layout == erofsInline && off >= start && off < start+i.size-full {
		return i.data(off, full+off-start, title)
	}
	return ""
}

// data says what a byte of contents is.
func (i erofsInode) data(off, pos int64, title func() string) string {
	switch i.mode & modeKind {
	case modeLink:
		return "target of the link " + title()
	case modeRegular:
		return fmt.Sprintf("data of %s: byte %d", title(), pos)
	}
	what := fmt.Sprintf("directory block of %s", title())
	at := int(pos % i.fs.block)
	block := pos - int64(at)
	erofsEntries(i.fs.bytes(i.place(block), min(i.fs.block, i.size-block)), func(e erofsEntry) bool {
		if at >= e.record && at < e.record+12 || at >= e.start && at < e.start+len(e.name) {
			what += ": entry " + show(e.name)
			return false
		}
		return true
	})
	return what
}

// shared tells whether an attribute that the inode shares lies at an offset.
func (i erofsInode) shared(off int64) bool {
	if i.attrs < 12 {
		return false
	}
	list := i.at + i.length
	for n := range min(i.fs.u8(list+4), (i.attrs-12)/4) {
		at := i.fs.attrs + 4*i.fs.u32(list+12+4*n)
		if off >= at && off < at+(4+i.fs.u8(at)+i.fs.u16(at+2)+3)&^3 {
			return true
		}
	}
	return false
}

// chunks looks for an offset in the map of chunks and in these.
func (i erofsInode) chunks(off int64, title func() string) string {
	size, unit, skip := i.fs.block<<(i.first&31), int64(4), int64(0)
	if i.first&0x20 != 0 {
		unit, skip = 8, 4
	}
	list := (i.behind() + unit - 1) &^ (unit - 1)
	for n := int64(0); n*size < i.size && !i.fs.spent(); n++ {
		if at := list + n*unit; off >= at && off < at+unit {
			return fmt.Sprintf("map of chunks of %s: chunk %d", title(), n)
		}
		block := i.fs.u32(list + n*unit + skip)
		if start := block * i.fs.block; block != 0xffffffff && off >= start && off < start+min(size, i.size-n*size) {
			return i.data(off, n*size+off-start, title)
		}
	}
	return ""
}

// packed looks for an offset in the index of compressed contents and in these.
func (i erofsInode) packed(off int64, title func() string) string {
	header := (i.behind() + 7) &^ 7
	h := i.fs.bytes(header, 8)
	advise, size := le16(h[4:]), i.fs.block<<(h[7]&7)
	list := header + 16
	count := (i.size + size - 1) / size
	switch tail := int64(le16(h[2:])); {
	case off >= header && off < list:
		return "head of the index of " + title()
	case off >= list && off < list+8*count:
		return fmt.Sprintf("index of %s: bytes from %d on", title(), (off-list)/8*size)
	case advise&8 != 0 && off >= list+8*count && off < list+8*count+tail:
		return "compressed end of " + title()
	}
	for n := int64(0); n < count && !i.fs.spent(); n++ {
		b := i.fs.bytes(list+8*n, 16)
		if le16(b)&3 == 2 { // no extent begins here
			continue
		}
		blocks := int64(1)
		if back := le16(b[12:]); advise&6 != 0 && n+1 < count && le16(b[8:])&3 == 2 && back&0x800 != 0 {
			blocks = int64(back & 0x7ff)
		}
		if start := int64(le32(b[4:])) * i.fs.block; start > 0 && off >= start && off < start+blocks*i.fs.block {
			kind := "compressed data"
			if le16(b)&3 == 0 {
				kind = "data"
			}
			return fmt.Sprintf("%s of %s: bytes from %d on", kind, title(), n*size+int64(le16(b[2:])))
		}
	}
	return ""
}
