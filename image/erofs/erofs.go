// Package erofs writes an EROFS file system in one pass.
//
// A [Writer] is a [rootfs.Sink]: the contents of files go straight to their
// final blocks as they arrive, and their inodes follow them there, with the ends
// of the contents; directories and the superblock are written when the Writer is
// closed. Nothing is spooled. The bytes of the file system are determined by the
// [Options] and the stream of entries alone, and Options.Jobs is no part of that.
//
// Blocks have 4 KiB. Files with the same contents share theirs, and runs of zeros
// of 64 KiB or more are holes. Linux reads the result from 5.4 on, from 5.15 on
// if there is a hole, and from 5.17 on if it is compressed.
//
// Memory grows with the number of entries, not with their data: 60 bytes and the
// name for an entry, 80 more for a file with blocks of its own; 350 bytes, the
// path and the extended attributes for a directory; 120 bytes for each extended
// attribute that differs from all others. Two MiB come on top, and where there
// is compression, for each job 5 MiB and the index of one file, which has 2 KiB
// for each MiB of the file.
//
// The package writes and does not read. It trusts the laws of package rootfs;
// put [rootfs.Check] in front of a Writer where a stream may break them.
//
// The format is that of "EROFS - Enhanced Read-Only File System" in the Linux
// kernel's documentation (Documentation/filesystems/erofs.rst) and of the header
// that goes with it (fs/erofs/erofs_fs.h), whose names the comments in the code
// have in brackets. What is compressed are blocks of LZ4
// (lz4_Block_format.md of its authors).
package erofs

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"

	"thaw/internal/names"
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

	// Compression is of the contents of files, but for those that gain too
	// little and those of more than 16 GiB. The zero value is none. A file
	// that is compressed has no holes.
	Compression Compression
	// ClusterSize is how many bytes of compressed contents are at most read
	// together: a multiple of 4096 up to [MaxClusterSize]. More makes the
	// file system smaller, and reads in small pieces slower. Zero means
	// [DefaultClusterSize].
	ClusterSize int
	// Dedupe has files with the same contents share their blocks even if these
	// are compressed. Linux reads such a file system from 6.1 on.
	Dedupe bool
	// Jobs is how many pieces are compressed at a time. Zero means as many as
	// there are processors. The bytes do not depend on it.
	Jobs int
}

// Compression is a way to compress contents.
type Compression int

// The compressions. LZ4HC takes several times as long as LZ4 to make a smaller
// file system, which is read as fast.
const (
	None Compression = iota
	LZ4
	LZ4HC
)

// Values of Options.ClusterSize.
const (
	DefaultClusterSize = 64 << 10
	MaxClusterSize     = 1 << 20
)

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

	dirs     names.Dirs[dir]
	rootRoom int // bytes that the root's inode may take with what follows it

	attrs  attrTable
	blocks map[[sha256.Size]byte]uint32 // where contents begin, by their sum
	hash   hash.Hash                    // of the contents being added
	links  map[uint64]uint32            // how many names inodes have that have several
	chunk  []byte                       // of contents being looked through
	piece  []byte                       // an inode and what follows it
	queue  queue                        // of what is being compressed
}

var (
	_ rootfs.Sink      = (*Writer)(nil)
	_ rootfs.SameAdder = (*Writer)(nil)
)

var errClosed = errors.New("erofs: the writer is closed")

// NewWriter returns a Writer that puts a file system into w from its offset 0
// on. What is never written there must read as zeros. What was written behind
// [Writer.Size] are zeros in the end.
func NewWriter(w io.WriterAt, o Options) (*Writer, error) {
	switch {
	case o.UUID == [16]byte{}:
		return nil, errors.New("erofs: no UUID is given")
	case len(o.Label) > maxLabel || strings.IndexByte(o.Label, 0) >= 0:
		return nil, fmt.Errorf("erofs: label %q: up to %d bytes without NUL", o.Label, maxLabel)
	case o.Time < 0:
		return nil, fmt.Errorf("erofs: time %d is negative", o.Time)
	case o.Compression < None || o.Compression > LZ4HC:
		return nil, fmt.Errorf("erofs: no compression has the number %d", o.Compression)
	case o.ClusterSize < 0 || o.ClusterSize%blockSize != 0 || o.ClusterSize > MaxClusterSize:
		return nil, fmt.Errorf("erofs: cluster size %d: a multiple of %d up to %d", o.ClusterSize, blockSize, MaxClusterSize)
	case o.Jobs < 0:
		return nil, fmt.Errorf("erofs: %d jobs", o.Jobs)
	}
	o.ClusterSize = cmp.Or(o.ClusterSize, DefaultClusterSize)
	e := &Writer{
		opt:    o,
		out:    newBlockWriter(w),
		attrs:  attrTable{},
		blocks: map[[sha256.Size]byte]uint32{},
		hash:   sha256.New(),
		links:  map[uint64]uint32{},
		chunk:  make([]byte, chunkSize),
	}
	e.meta.out = &e.out
	if o.Compression != None {
		e.queue.init(cmp.Or(o.Jobs, runtime.GOMAXPROCS(0)))
	}
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

// Close writes the directories and the superblock. It does not close the
// underlying writer. The file system is whole when Close has returned nil.
func (w *Writer) Close() error {
	if w.closed {
		return w.err
	}
	w.closed = true
	if w.err == nil {
		w.settle(0)
	}
	w.queue.workers.Wait()
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
	if len(w.dirs.All) == 0 {
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
	at := w.dirs.All[0].off
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
	if w.features&incompatConfigs != 0 {
		le.PutUint16(s[84:], 1<<0) // LZ4 alone (available_compr_algs)
		c := s[superSize:]         // struct z_erofs_lz4_cfgs, behind its length
		le.PutUint16(c[0:], 14)
		le.PutUint16(c[4:], uint16(w.opt.ClusterSize/blockSize))
	}
	le.PutUint32(s[4:], checksum(s))
	w.out.writeAt(b[:], 0)
}
