package ext4

import (
	"fmt"
	"io/fs"
	"time"

	"thaw/rootfs"
)

// An inode is what an inode on disk holds that is not the same for all
// ("Index Nodes"). It has no pointers: a table of them costs the garbage
// collector nothing.
type inode struct {
	size       int64
	sec        int64 // of the one time stamp that stands in all four
	nsec       uint32
	uid, gid   uint32
	links      uint32 // for a directory as many as there are, maybe above maxLinks
	blocks     uint32 // in use, with the tree's nodes and the attributes' block
	attrsBlock uint32 // of extended attributes, or 0
	body       uint32 // 1 + number of the extended attributes kept in the inode, or 0
	flags      uint32
	mode       uint16
	block      [60]byte // root of the extent tree, target of a link, or device number
}

const inodeChunk = 1024

// An inodeTable holds inodes from number 1 on in pieces of fixed size, so that
// growing copies nothing.
type inodeTable struct {
	chunks []*[inodeChunk]inode
	n      int64
}

func (t *inodeTable) len() int64 { return t.n }

func (t *inodeTable) add(i inode) (number uint32) {
	if t.n%inodeChunk == 0 {
		t.chunks = append(t.chunks, new([inodeChunk]inode))
	}
	t.n++
	*t.at(uint32(t.n)) = i
	return uint32(t.n)
}

// drop takes back the inode that was added last.
func (t *inodeTable) drop() {
	t.n--
	if t.n%inodeChunk == 0 {
		t.chunks = t.chunks[:len(t.chunks)-1]
	}
}

// at returns the inode of a number that add returned.
func (t *inodeTable) at(number uint32) *inode {
	return &t.chunks[(number-1)/inodeChunk][(number-1)%inodeChunk]
}

// newInode makes the inode of an entry, without its contents.
func (g geometry) newInode(e *rootfs.Entry) (inode, error) {
	i := inode{
		size:  e.Size,
		sec:   e.ModTime.Unix(),
		nsec:  uint32(e.ModTime.Nanosecond()),
		uid:   e.UID,
		gid:   e.GID,
		links: 1,
		mode:  uint16(e.Mode & fs.ModePerm),
	}
	if i.sec < MinTime || i.sec > MaxTime {
		return i, &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf("ext4 holds no time before %s or after %s: %s",
			time.Unix(MinTime, 0).UTC().Format(time.DateOnly), time.Unix(MaxTime, 0).UTC().Format(time.DateOnly),
			e.ModTime.UTC().Format(time.RFC3339))}
	}
	if e.Mode&fs.ModeSetuid != 0 {
		i.mode |= 0o4000
	}
	if e.Mode&fs.ModeSetgid != 0 {
		i.mode |= 0o2000
	}
	if e.Mode&fs.ModeSticky != 0 {
		i.mode |= 0o1000
	}
	switch e.Kind() {
	case 0:
		i.mode |= modeRegular
		i.flags = flagExtents
		if e.Size > maxFileBlocks*g.block() {
			return i, &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf("ext4 holds no file of %d bytes, at most %d", e.Size, maxFileBlocks*g.block())}
		}
	case fs.ModeDir:
		i.mode |= modeDir
		i.flags = flagExtents
		i.links = 2
	case fs.ModeSymlink:
		i.mode |= modeSymlink
		i.size = int64(len(e.Target))
		if i.size >= g.block() { // Linux wants a final NUL, too
			return i, &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf("ext4 with blocks of %d bytes holds no target of %d bytes", g.block(), i.size)}
		}
	case fs.ModeNamedPipe:
		i.mode |= modeFifo
	case fs.ModeDevice | fs.ModeCharDevice:
		i.mode |= modeChar
		return i, i.setDevice(e)
	case fs.ModeDevice:
		i.mode |= modeBlock
		return i, i.setDevice(e)
	default:
		return i, &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf("mode %v is of no kind that ext4 holds", e.Mode)}
	}
	return i, nil
}

// setDevice stores a device number as Linux does: in the first word where 8
// and 8 bits suffice, otherwise in the second with 12 and 20 bits.
func (i *inode) setDevice(e *rootfs.Entry) error {
	major, minor := rootfs.Major(e.Dev), rootfs.Minor(e.Dev)
	switch {
	case major <= 0xff && minor <= 0xff:
		le.PutUint32(i.block[0:], major<<8|minor)
	case major <= maxMajor && minor <= maxMinor:
		le.PutUint32(i.block[4:], minor&0xff|major<<8|minor&^0xff<<12)
	default:
		return &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf("ext4 holds no device number %d:%d, at most %d:%d", major, minor, maxMajor, maxMinor)}
	}
	return nil
}

// fileType returns the kind of an inode as a directory entry says it
// ("Directory Entries", file_type).
func (i *inode) fileType() byte {
	switch i.mode & 0xf000 {
	case modeRegular:
		return 1
	case modeDir:
		return 2
	case modeChar:
		return 3
	case modeBlock:
		return 4
	case modeFifo:
		return 5
	case modeSymlink:
		return 7
	}
	return 0
}

// encode puts an inode into the inodeSize zero bytes b, as a file system with
// blocks of so many sectors of 512 bytes has it. An inode that was never
// used stays zero, without a checksum.
func (i *inode) encode(b []byte, sectorsPerBlock uint64, seed, number uint32, body string) {
	if i.mode == 0 {
		return
	}
	links := i.links
	if links > maxLinks {
		links = 1 // feature dir_nlink: too many to tell
	}
	sectors := uint64(i.blocks) * sectorsPerBlock
	low, extra := uint32(i.sec), i.nsec<<2|uint32((i.sec-int64(int32(i.sec)))>>32&3)

	le.PutUint16(b[0x00:], i.mode)
	le.PutUint16(b[0x02:], uint16(i.uid))
	le.PutUint32(b[0x04:], uint32(i.size))
	le.PutUint32(b[0x08:], low) // atime
	le.PutUint32(b[0x0c:], low) // ctime
	le.PutUint32(b[0x10:], low) // mtime
	le.PutUint16(b[0x18:], uint16(i.gid))
	le.PutUint16(b[0x1a:], uint16(links))
	le.PutUint32(b[0x1c:], uint32(sectors))
	le.PutUint32(b[0x20:], i.flags)
	copy(b[0x28:0x64], i.block[:])
	le.PutUint32(b[0x68:], i.attrsBlock)
	le.PutUint32(b[0x6c:], uint32(i.size>>32))
	le.PutUint16(b[0x74:], uint16(sectors>>32))
	le.PutUint16(b[0x78:], uint16(i.uid>>16))
	le.PutUint16(b[0x7a:], uint16(i.gid>>16))
	le.PutUint16(b[0x80:], extraSize)
	le.PutUint32(b[0x84:], extra) // ctime
	le.PutUint32(b[0x88:], extra) // mtime
	le.PutUint32(b[0x8c:], extra) // atime
	le.PutUint32(b[0x90:], low)   // crtime
	le.PutUint32(b[0x94:], extra) // crtime
	copy(b[baseSize+extraSize:], body)

	sum := crc32c(inodeSeed(seed, number), b[:inodeSize])
	le.PutUint16(b[0x7c:], uint16(sum))
	le.PutUint16(b[0x82:], uint16(sum>>16))
}
