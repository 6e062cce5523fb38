package ext4

import (
	"crypto/sha256"
	"hash"

	"thaw/rootfs"
)

// A fileSet knows the regular files of a file system by all that they are.
type fileSet struct {
	hash hash.Hash // of the file that is being added
	seen map[[sha256.Size]byte]uint32
	head []byte
}

func newFileSet() *fileSet {
	return &fileSet{hash: sha256.New(), seen: map[[sha256.Size]byte]uint32{}}
}

// begin begins a file whose contents are then written to s.hash. What varies in
// length has its length in front, so that no two files are written alike.
func (s *fileSet) begin(i *inode, xattrs []rootfs.Xattr) {
	b := le.AppendUint64(s.head[:0], uint64(i.size))
	b = le.AppendUint64(b, uint64(i.sec))
	b = le.AppendUint32(b, i.nsec)
	b = le.AppendUint32(b, i.uid)
	b = le.AppendUint32(b, i.gid)
	b = le.AppendUint16(b, i.mode)
	b = le.AppendUint64(b, uint64(len(xattrs)))
	for _, x := range xattrs {
		b = le.AppendUint64(b, uint64(len(x.Name)))
		b = append(b, x.Name...)
		b = le.AppendUint64(b, uint64(len(x.Value)))
		b = append(b, x.Value...)
	}
	s.head = b
	s.hash.Reset()
	s.hash.Write(b)
}

// share gives the file that was added last to an equal one that came before, and
// takes back what has been handed out from a place on. It returns the number of the
// inode that holds the file.
func (w *Writer) share(number uint32, from cursor) uint32 {
	var sum [sha256.Size]byte
	w.files.hash.Sum(sum[:0])
	earlier, ok := w.files.seen[sum]
	if !ok || w.inodes.at(earlier).links == maxLinks {
		w.files.seen[sum] = number
		return number
	}
	w.inodes.drop()
	w.inodes.at(earlier).links++
	w.out.takeBack(from)
	return earlier
}
