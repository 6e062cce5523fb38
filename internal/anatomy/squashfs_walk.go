package anatomy

// metadata is an unpacked block of metadata, and where the next one is.
type metadata struct {
	data []byte
	next int64
}

// read returns n bytes of metadata from an offset in the block at a place on, or less.
func (s squashfs) read(at, off, n int64) []byte {
	*s.src.work -= 1 + n/64
	var out []byte
	for int64(len(out)) < n && !s.spent() {
		m, ok := s.metadata[at]
		if !ok {
			h := s.u16(at)
			length := h & 0x7fff
			m.next = at + 2 + length
			m.data = s.bytes(at+2, min(length, 8192))
			if h&0x8000 == 0 {
				m.data = s.unpack(s.packed, m.data, 8192)
			}
			if len(s.metadata) == 2048 {
				clear(s.metadata)
			}
			s.metadata[at] = m
		}
		if off >= int64(len(m.data)) {
			break
		}
		out = append(out, m.data[off:min(off+n-int64(len(out)), int64(len(m.data)))]...)
		at, off = m.next, 0
	}
	return out
}

// squashfsInode is an inode.
type squashfsInode struct {
	ref, kind  int64
	start      int64 // of data, or of a directory in its table
	size       int64
	offset     int64 // of a directory in its metadata block
	fragment   int64 // -1 is none
	blockSizes []byte
}

// inode reads an inode by the block it lies in and its offset there.
func (s squashfs) inode(ref int64) squashfsInode {
	at, off := s.inodeTable+ref>>16, ref&0xffff
	b := append(s.read(at, off, 56), make([]byte, 56)...)
	i := squashfsInode{ref: ref, kind: int64(le16(b)), fragment: -1}
	list := int64(32)
	switch i.kind {
	case 1:
		i.start, i.size, i.offset = int64(le32(b[16:])), int64(le16(b[24:])), int64(le16(b[26:]))
	case 8:
		i.size, i.start, i.offset = int64(le32(b[20:])), int64(le32(b[24:])), int64(le16(b[34:]))
	case 2:
		i.start, i.size, i.fragment = int64(le32(b[16:])), int64(le32(b[28:])), int64(int32(le32(b[20:])))
	case 9:
		i.start, i.size, i.fragment = int64(le64(b[16:])), int64(le64(b[24:])), int64(int32(le32(b[44:])))
		list = 56
	}
	if i.kind == 2 || i.kind == 9 {
		blocks := i.size / s.block
		if i.fragment < 0 && i.size%s.block > 0 {
			blocks++
		}
		if blocks > 0 {
			all := s.read(at, off, list+4*min(blocks, 1<<22))
			i.blockSizes = all[min(list, int64(len(all))):]
		}
	}
	return i
}

// blockAt returns which of a file's blocks is at an offset, or -1.
func (i squashfsInode) blockAt(off int64) int64 {
	at := i.start
	for n, b := int64(0), i.blockSizes; len(b) >= 4 && off >= at; n, b = n+1, b[4:] {
		size := int64(le32(b) & 0xffffff)
		if off < at+size {
			return n
		}
		at += size
	}
	return -1
}

// walk calls f with all inodes until it returns false.
func (s squashfs) walk(f func(i squashfsInode, path func() string) bool) {
	root := s.inode(s.u64(32))
	if !f(root, func() string { return "." }) {
		return
	}
	files := tree{{}}
	type dir struct {
		inode squashfsInode
		file  int // its place in files
	}
	seen := map[int64]bool{root.ref: true}
	for dirs := []dir{{root, 0}}; len(dirs) > 0 && len(files) < maxFiles && !s.spent(); {
		d := dirs[0]
		dirs = dirs[1:]
		b := s.read(s.dirTable+d.inode.start, d.inode.offset, min(d.inode.size-3, 64<<20))
		for len(b) >= 12 && !s.spent() {
			count, start := int64(le32(b))+1, int64(le32(b[4:]))
			for b = b[12:]; count > 0 && len(b) >= 8; count-- {
				length := 8 + int(le16(b[6:])) + 1
				if length > len(b) {
					return
				}
				ref := start<<16 | int64(le16(b))
				name := string(b[8:length])
				b = b[length:]
				if seen[ref] {
					continue
				}
				i := s.inode(ref)
				files = append(files, leaf{d.file, name})
				if !f(i, func() string { return files.path(len(files) - 1) }) || s.spent() {
					return
				}
				if i.kind != 1 && i.kind != 8 {
					files = files[:len(files)-1]
					continue
				}
				seen[ref] = true
				dirs = append(dirs, dir{i, len(files) - 1})
			}
		}
	}
}
