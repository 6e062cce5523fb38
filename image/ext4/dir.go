package ext4

import (
	"thaw/internal/names"
	"thaw/rootfs"
)

// lostFound is the directory where e2fsck puts what it finds without a name.
// It complains when there is none.
const lostFound = "lost+found"

// A dir is a directory whose entries are still coming in.
type dir struct {
	path           string
	number, parent uint32
	entries        names.Table[uint32] // the numbers of inodes
}

func (w *Writer) addLostFound() {
	if w.inodes.at(firstInode).mode != 0 { // it was added
		return
	}
	root := w.dirs.All[0]
	*w.inodes.at(firstInode) = inode{sec: w.opt.Time, links: 2, mode: modeDir | 0o700, flags: flagExtents}
	w.addDir(lostFound, firstInode, root)
	root.entries.Add(lostFound, firstInode)
}

const dirTail = 12 // bytes of the checksum at the end of a block of entries

// entryLen returns how many bytes an entry takes at least ("Directory
// Entries").
func entryLen(name string) int { return 8 + roundUp4(len(name)) }

// A dirBlock is a block of directory entries being filled.
type dirBlock struct {
	buf    [maxBlockSize]byte
	usable int // bytes for entries
	used   int
	last   int // where the last entry begins
}

func (b *dirBlock) add(name string, number uint32, fileType byte) {
	b.last = b.used
	b.used += entryLen(name)
	putEntry(b.buf[b.last:], name, number, b.used-b.last, fileType)
}

func putEntry(p []byte, name string, number uint32, length int, fileType byte) {
	le.PutUint32(p[0:], number)
	le.PutUint16(p[4:], uint16(length))
	p[6] = byte(len(name))
	p[7] = fileType
	copy(p[8:], name)
}

// seal stretches the last entry to the end, puts the checksum behind it and
// returns the block.
func (b *dirBlock) seal(seed uint32) []byte {
	le.PutUint16(b.buf[b.last+4:], uint16(b.usable-b.last))
	tail := b.buf[b.usable:][:dirTail]
	le.PutUint16(tail[4:], dirTail)
	tail[7] = 0xde // marks a checksum
	le.PutUint32(tail[8:], crc32c(seed, b.buf[:b.usable]))
	return b.buf[:b.usable+dirTail]
}

// writeDir writes a directory and completes its inode: a single block of
// entries, or as many as it takes behind a hashed index.
func (w *Writer) writeDir(d *dir) error {
	w.tree.reset(d.number)
	i := w.inodes.at(d.number)
	seed := inodeSeed(w.seed, d.number)
	size := entryLen(".") + entryLen("..")
	for _, e := range d.entries.List {
		size += entryLen(e.Name)
	}
	if size <= w.dirUsable() {
		b := dirBlock{usable: w.dirUsable()}
		b.add(".", d.number, 2)
		b.add("..", d.parent, 2)
		for _, e := range d.entries.List {
			b.add(e.Name, e.Ref, w.inodes.at(e.Ref).fileType())
		}
		w.tree.add(0, w.out.append(b.seal(seed)))
	} else {
		x, ok := newHashTree(w.geometry, d, newNameHash(w.opt.HashSeed))
		if !ok {
			return &rootfs.EntryError{Path: d.path, Reason: "ext4 holds no directory of so many entries"}
		}
		w.writeHashTree(x, seed)
		i.flags |= flagIndex
	}
	w.setTree(i)
	i.size = int64(w.tree.data) * w.block()
	d.entries = names.Table[uint32]{}
	w.pending--
	return w.room()
}
