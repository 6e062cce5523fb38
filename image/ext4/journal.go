package ext4

import "encoding/binary"

// JournalAuto asks for a journal of the size that mke2fs gives to a file system of
// this size, and of the least size for one that mke2fs gives none to.
const JournalAuto = -1

// What mke2fs and Linux demand of a journal, in blocks.
const (
	minJournal = 1024
	maxJournal = 10_240_000
)

// autoJournal returns the blocks of a journal for so many blocks of file system.
func autoJournal(blocks int64) int64 {
	for _, size := range [...]struct{ below, journal int64 }{
		{32 << 10, minJournal},
		{256 << 10, 4 << 10},
		{512 << 10, 8 << 10},
		{4 << 20, 16 << 10},
		{8 << 20, 32 << 10},
		{16 << 20, 64 << 10},
		{32 << 20, 128 << 10},
	} {
		if blocks < size.below {
			return size.journal
		}
	}
	return 256 << 10
}

// extents takes blocks for a file of so many, in as few pieces as there can be.
func (c *cursor) extents(blocks int64) (list []extent) {
	for logical := int64(0); logical < blocks; {
		at, n := c.piece(min(blocks-logical, maxExtent))
		list = append(list, extent{uint32(logical), uint32(at), uint32(n)})
		logical += n
	}
	return list
}

// writeJournal writes the superblock of an empty journal and its inode. The other
// blocks stay zeros.
func (w *Writer) writeJournal(blocks int64) {
	if blocks == 0 {
		return
	}
	list := w.out.place.extents(blocks)
	w.tree.reset(journalInode)
	for _, e := range list { // nodes come behind them
		w.tree.push(0, e)
	}
	w.tree.data = uint32(blocks)
	i := w.inodes.at(journalInode)
	*i = inode{size: blocks * w.block(), sec: w.opt.Time, links: 1, mode: modeRegular | 0o600}
	w.setTree(i)

	// "Journal (jbd2)", Super Block: as mke2fs writes it, without features, which
	// Linux adds when it first writes. All of it is big-endian.
	var b [superSize]byte
	u32 := func(at int, v uint32) { binary.BigEndian.PutUint32(b[at:], v) }
	u32(0x00, 0xc03b3998)        // h_magic
	u32(0x04, 4)                 // h_blocktype: superblock, version 2
	u32(0x0c, uint32(w.block())) // s_blocksize
	u32(0x10, uint32(blocks))    // s_maxlen
	u32(0x14, 1)                 // s_first: block of the log
	u32(0x18, 1)                 // s_sequence: the first commit there will be
	copy(b[0x30:], w.opt.UUID[:])
	u32(0x40, 1) // s_nr_users
	w.out.put(int64(list[0].block), b[:])
}

// putJournal says in the superblock which inode is the journal, and what it holds,
// in case that it gets lost.
func (w *Writer) putJournal(b []byte) {
	i := w.inodes.at(journalInode)
	le.PutUint32(b[0xe0:], journalInode) // s_journal_inum
	b[0xfd] = 1                          // s_jnl_backup_type
	copy(b[0x10c:], i.block[:])          // s_jnl_blocks
	le.PutUint32(b[0x148:], uint32(i.size>>32))
	le.PutUint32(b[0x14c:], uint32(i.size))
}
