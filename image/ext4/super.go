package ext4

// Features, by what a system must do that does not know them: nothing, not
// mount, not write ("Super Block", s_feature_compat and following).
//
// Growing in place rests on resize_inode and not on meta_bg, which would need
// no capacity to be planned, but which boot loaders do not know.
const (
	compatible = 0x8 | // ext_attr
		0x10 | // resize_inode
		0x20 // dir_index
	incompatible = 0x2 | // filetype
		0x40 | // extents
		0x80 | // 64bit
		0x200 // flex_bg
	readOnlyCompatible = 0x1 | // sparse_super
		0x2 | // large_file
		0x8 | // huge_file
		0x20 | // dir_nlink
		0x40 | // extra_isize
		0x400 // metadata_csum
)

const (
	superOffset = 1024 // of the first superblock, in bytes
	superSize   = 1024
	hasJournal  = 0x4 // a compatible feature
)

// writeResizeInode writes the inode that holds the blocks set aside for group
// descriptors ("Special inodes"), so that the file system can grow in place:
// the double indirect block dind lists the blocks behind the descriptors in
// use, and each of these, as an indirect block, its copies in other groups.
func (w *Writer) writeResizeInode(l *layout, dind int64) {
	var copies []int64
	for g := nextCopy(1); g < l.groups; g = nextCopy(g + 1) {
		copies = append(copies, l.start(g))
	}
	list := make([]byte, l.block())
	for at := 1 + l.descBlocks; at < w.reserved; at++ {
		le.PutUint32(list[(at-1)%l.numbers()*4:], uint32(l.first()+at))
		if len(copies) > 0 {
			p := make([]byte, 0, l.block())
			for _, c := range copies {
				p = le.AppendUint32(p, uint32(c+at))
			}
			w.out.put(l.first()+at, p)
		}
	}
	spare := w.reserved - 1 - l.descBlocks
	if spare > 0 {
		w.out.put(dind, list)
	}
	i := w.inodes.at(resizeInode)
	*i = inode{
		// What direct, indirect and double indirect blocks can hold.
		size:   (12 + l.numbers() + l.numbers()*l.numbers()) * l.block(),
		sec:    w.opt.Time,
		links:  1,
		blocks: uint32(1 + spare*int64(1+len(copies))),
		mode:   modeRegular | 0o600,
	}
	le.PutUint32(i.block[13*4:], uint32(dind))
}

// writeSupers writes the superblock and the group descriptors, and their copies
// at the fronts of some groups. The first superblock comes last.
func (w *Writer) writeSupers(l *layout, descs []byte, t totals) {
	for g := nextCopy(1); g < l.groups; g = nextCopy(g + 1) {
		first := l.start(g)
		w.out.put(first, w.super(l, t, g))
		w.putBlocks(first+1, descs)
	}
	w.putBlocks(l.first()+1, descs)
	w.out.flush()
	w.out.writeAt(w.super(l, t, 0), superOffset)
}

func (w *Writer) putBlocks(at int64, p []byte) {
	for ; len(p) > 0; p = p[w.block():] {
		w.out.put(at, p[:w.block()])
		at++
	}
}

// super returns the superblock as it stands in a group ("Super Block").
func (w *Writer) super(l *layout, t totals, group int64) []byte {
	b := make([]byte, superSize)
	u16 := func(at int, v int64) { le.PutUint16(b[at:], uint16(v)) }
	u32 := func(at int, v int64) { le.PutUint32(b[at:], uint32(v)) }

	u32(0x00, l.groups*l.perGroup) // s_inodes_count
	u32(0x04, l.blocks)            // s_blocks_count_lo
	u32(0x08, l.rootBlocks)        // s_r_blocks_count_lo
	u32(0x0c, t.freeBlocks)        // s_free_blocks_count_lo
	u32(0x10, t.freeInodes)        // s_free_inodes_count
	u32(0x14, l.first())           // s_first_data_block
	u32(0x18, int64(l.shift)-10)   // s_log_block_size: 1024 << n
	u32(0x1c, int64(l.shift)-10)   // s_log_cluster_size
	u32(0x20, l.groupBlocks())     // s_blocks_per_group
	u32(0x24, l.groupBlocks())     // s_clusters_per_group
	u32(0x28, l.perGroup)          // s_inodes_per_group
	u32(0x30, w.opt.Time)          // s_wtime
	u16(0x36, 0xffff)              // s_max_mnt_count: no check after so many mounts
	u16(0x38, 0xef53)              // s_magic
	u16(0x3a, 1)                   // s_state: cleanly unmounted
	u16(0x3c, 1)                   // s_errors: continue
	u32(0x40, w.opt.Time)          // s_lastcheck
	u32(0x4c, 1)                   // s_rev_level: with the fields below
	u32(0x54, firstInode)          // s_first_ino
	u16(0x58, inodeSize)           // s_inode_size
	u16(0x5a, group)               // s_block_group_nr
	u32(0x5c, compatible)
	u32(0x60, incompatible)
	u32(0x64, readOnlyCompatible)
	copy(b[0x68:], w.opt.UUID[:])
	copy(b[0x78:], w.opt.Label)
	u16(0xce, w.reserved-1-l.descBlocks) // s_reserved_gdt_blocks
	copy(b[0xec:], w.opt.HashSeed[:])
	b[0xfc] = hashVersion        // s_def_hash_version
	u16(0xfe, descSize)          // s_desc_size
	u32(0x100, 0x4|0x8)          // s_default_mount_opts: user_xattr, acl
	u32(0x108, w.opt.Time)       // s_mkfs_time
	u16(0x15c, extraSize)        // s_min_extra_isize
	u16(0x15e, extraSize)        // s_want_extra_isize
	u32(0x160, 2)                // s_flags: names are hashed as unsigned bytes
	b[0x174] = 4                 // s_log_groups_per_flex: 1 << 4
	b[0x175] = 1                 // s_checksum_type: CRC-32C
	hi := byte(w.opt.Time >> 32) // the upper bytes of the three times
	b[0x274], b[0x276], b[0x277] = hi, hi, hi
	if l.journal > 0 {
		le.PutUint32(b[0x5c:], compatible|hasJournal)
		w.putJournal(b)
	}
	u32(0x3fc, int64(crc32c(^uint32(0), b[:0x3fc])))
	return b
}
