package erofs

import (
	"fmt"
	"io/fs"
	"math"

	"thaw/rootfs"
)

// An inode is what an inode on disk holds.
type inode struct {
	size     int64
	sec      int64
	nsec     uint32
	uid, gid uint32
	links    uint32
	data     uint32 // where the data begin, a device number, how many blocks are compressed, or what chunks are like
	mode     uint16
	layout   uint8
}

// newInode makes the inode of an entry, without its contents.
func newInode(e *rootfs.Entry) (inode, error) {
	i := inode{
		size:  e.Size,
		sec:   e.ModTime.Unix(),
		nsec:  uint32(e.ModTime.Nanosecond()),
		uid:   e.UID,
		gid:   e.GID,
		links: 1,
		mode:  uint16(e.UnixMode()),
	}
	switch e.Kind() {
	case 0, fs.ModeDir, fs.ModeNamedPipe:
	case fs.ModeSymlink:
		i.size = int64(len(e.Target))
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		major, minor := rootfs.Major(e.Dev), rootfs.Minor(e.Dev)
		if major > maxMajor || minor > maxMinor {
			return i, &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf("erofs holds no device number %d:%d, at most %d:%d", major, minor, maxMajor, maxMinor)}
		}
		i.data = minor&0xff | major<<8 | minor&^0xff<<12
	default:
		return i, &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf("mode %v is of no kind that erofs holds", e.Mode)}
	}
	return i, nil
}

// extended reports whether the inode is too much for the compact form, whose
// time is the file system's.
func (i *inode) extended(time int64) bool {
	return i.size > math.MaxUint32 || max(i.uid, i.gid, i.links) > math.MaxUint16 || i.sec != time || i.nsec != 0
}

// bytes returns how many bytes the inode takes.
func (i *inode) bytes(time int64) int {
	if i.extended(time) {
		return extendedSize
	}
	return compactSize
}

// encode appends the inode to b. attrs is the size of the extended attributes
// that follow it.
func (i *inode) encode(b []byte, time int64, number uint32, attrs int) []byte {
	count := 0
	if attrs > 0 {
		count = (attrs-attrHeader)/4 + 1
	}
	format := uint16(i.layout) << 1
	if !i.extended(time) {
		b = le.AppendUint16(b, format)
		b = le.AppendUint16(b, uint16(count))
		b = le.AppendUint16(b, i.mode)
		b = le.AppendUint16(b, uint16(i.links))
		b = le.AppendUint32(b, uint32(i.size))
		b = le.AppendUint32(b, 0)
		b = le.AppendUint32(b, i.data)
		b = le.AppendUint32(b, number)
		b = le.AppendUint16(b, uint16(i.uid))
		b = le.AppendUint16(b, uint16(i.gid))
		return le.AppendUint32(b, 0)
	}
	b = le.AppendUint16(b, format|1)
	b = le.AppendUint16(b, uint16(count))
	b = le.AppendUint16(b, i.mode)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint64(b, uint64(i.size))
	b = le.AppendUint32(b, i.data)
	b = le.AppendUint32(b, number)
	b = le.AppendUint32(b, i.uid)
	b = le.AppendUint32(b, i.gid)
	b = le.AppendUint64(b, uint64(i.sec))
	b = le.AppendUint32(b, i.nsec)
	b = le.AppendUint32(b, i.links)
	return append(b, zeroBlock[:16]...)
}

// Where an inode has its count of links, from its beginning.
const (
	compactLinks  = 6
	extendedLinks = 44
)

// fileType returns the kind of an inode as a directory entry says it.
func (i *inode) fileType() uint64 {
	switch i.mode & modeKind {
	case modeRegular:
		return typeRegular
	case modeDir:
		return typeDir
	case modeChar:
		return typeChar
	case modeBlock:
		return typeBlock
	case modeFifo:
		return typeFifo
	}
	return typeSymlink
}
