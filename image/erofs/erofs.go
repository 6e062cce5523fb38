// Package erofs writes an EROFS file system in one pass.
//
// A [Writer] is a [rootfs.Sink]: the contents of files go straight to their
// final blocks as they arrive, and their inodes with the ends of the contents
// follow them there; directories and the superblock are written when the Writer
// is closed. Nothing is spooled. The bytes of the file system are determined by
// the [Options] and the stream of entries alone.
//
// Memory grows with the number of entries, not with their data: about 40 bytes
// and the name for each, 70 for a file that has a block of its own, and for a
// directory 300, its path and its extended attributes. Two MiB come on top.
//
// Files with the same contents share their blocks. Runs of zeros of 64 KiB and
// more are holes. The result has 4 KiB blocks and is read by Linux from 5.4 on,
// from 5.15 on if it has holes.
//
// The package writes and does not read. It trusts the laws of package rootfs;
// put [rootfs.Check] in front of a Writer where a stream may break them.
//
// The format is that of "EROFS - Enhanced Read-Only File System" in the Linux
// kernel's documentation (Documentation/filesystems/erofs.rst) and the header
// erofs_fs.h that it refers to, whose names stand in the comments in brackets.
package erofs

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"

	"thaw/rootfs"
)

// Options say all about a file system that its entries do not.
type Options struct {
	// UUID names the file system. It must not be zero.
	UUID [16]byte
	// Label is the volume's name: up to 15 bytes, not necessarily UTF-8,
	// without NUL. It may be empty.
	Label string
	// Time is when the superblock says that the file system was made, in
	// seconds since 1970, not negative. Entries of exactly this time have
	// inodes of half the size.
	Time int64
}

// A Writer writes one file system. It implements [rootfs.Sink] and
// [rootfs.SameAdder]. Errors are sticky: after one, every call returns it.
type Writer struct {
	opt      Options
	out      blockWriter
	meta     metaWriter
	features uint32 // that readers must know
	inodes   uint64
	err      error
	closed   bool

	dirs     []*dir // in the order of adding, the root first
	rootRoom int    // bytes that the root's inode may take with what follows it
	byPath   map[string]*dir
	last     *dir // the parent of the entry before
	names    nameArena

	attrs  attrTable
	blocks map[[sha256.Size]byte]uint32 // where contents begin, by their digest
	hash   hash.Hash
	links  map[uint64]uint32 // names of the inodes that have several
	chunk  []byte            // of contents being looked through
	piece  []byte            // an inode and what follows it
}

var (
	_ rootfs.Sink      = (*Writer)(nil)
	_ rootfs.SameAdder = (*Writer)(nil)
)

var errClosed = errors.New("erofs: the writer is closed")

// NewWriter returns a Writer that puts a file system into w from its offset 0
// on. What is never written there must read as zeros.
func NewWriter(w io.WriterAt, o Options) (*Writer, error) {
	switch {
	case o.UUID == [16]byte{}:
		return nil, errors.New("erofs: no UUID is given")
	case len(o.Label) > maxLabel || strings.IndexByte(o.Label, 0) >= 0:
		return nil, fmt.Errorf("erofs: label %q: up to %d bytes without NUL", o.Label, maxLabel)
	case o.Time < 0:
		return nil, fmt.Errorf("erofs: time %d is negative", o.Time)
	}
	e := &Writer{
		opt:    o,
		out:    newBlockWriter(w),
		byPath: map[string]*dir{},
		attrs:  attrTable{},
		blocks: map[[sha256.Size]byte]uint32{},
		hash:   sha256.New(),
		links:  map[uint64]uint32{},
		chunk:  make([]byte, chunkSize),
	}
	e.meta.out = &e.out
	return e, nil
}

// Add adds an entry, and with it the contents of a regular file. An entry that
// erofs cannot hold is a [rootfs.EntryError].
func (w *Writer) Add(e rootfs.Entry, data io.Reader) error {
	if w.err == nil {
		w.err = w.add(&e, data)
	}
	return w.err
}

// AddSame adds path as another name of the regular file added as earlier: a
// hard link.
func (w *Writer) AddSame(path, earlier string) error {
	if w.err == nil {
		w.err = w.addSame(path, earlier)
	}
	return w.err
}

// Close writes everything but the contents of files and their inodes. It does
// not close the underlying writer. The file system is whole when Close has
// returned nil.
func (w *Writer) Close() error {
	if w.closed {
		return w.err
	}
	w.closed = true
	if w.err == nil {
		w.err = w.finish()
	}
	err := w.err
	if err == nil {
		w.err = errClosed
	}
	return err
}

// Size returns how many bytes the file system has. It is known after Close.
func (w *Writer) Size() int64 { return w.out.next * blockSize }

func (w *Writer) finish() error {
	if len(w.dirs) == 0 {
		return errors.New("erofs: no root directory was added")
	}
	w.meta.finish()
	root := w.writeDirs()
	w.writeLinks()
	w.writeSuper(root)
	w.out.finish()
	return w.out.err
}

// nextNumber returns a fresh number for an inode, which only systems see whose
// numbers of inodes have 32 bits.
func (w *Writer) nextNumber() uint32 {
	w.inodes++
	return uint32(w.inodes)
}

// writeLinks puts the count of links into the inodes of files with several
// names, which were written when the first name came.
func (w *Writer) writeLinks() {
	for _, ref := range slices.Sorted(maps.Keys(w.links)) {
		links, off := w.links[ref], int64(ref>>refShift)*slotSize
		if ref&refExtended != 0 {
			w.out.writeAt(le.AppendUint32(nil, links), off+extendedLinks)
		} else {
			w.out.writeAt(le.AppendUint16(nil, uint16(links)), off+compactLinks)
		}
	}
}

// writeSuper writes the superblock (struct erofs_super_block), and the root's
// inode that lies behind it or in blocks of its own. Numbers of inodes count
// from the beginning of the file system, and the root's has 16 bits only.
func (w *Writer) writeSuper(root []byte) {
	var b [blockSize]byte
	at := w.dirs[0].off
	if at == rootOffset {
		copy(b[rootOffset:], root)
	} else {
		w.out.writeAt(root, at)
	}
	s := b[superOffset:]
	le.PutUint32(s[0:], superMagic)
	le.PutUint32(s[8:], compatChecksum|compatMtime)
	s[12] = blockBits
	le.PutUint16(s[14:], uint16(at/slotSize))
	le.PutUint64(s[16:], w.inodes)
	le.PutUint64(s[24:], uint64(w.opt.Time))
	le.PutUint32(s[36:], uint32(w.out.next))
	copy(s[48:64], w.opt.UUID[:])
	copy(s[64:80], w.opt.Label)
	le.PutUint32(s[80:], w.features)
	le.PutUint32(s[4:], checksum(s))
	w.out.writeAt(b[:], 0)
}
