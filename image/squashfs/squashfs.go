// Package squashfs writes a squashfs 4.0 file system in one pass.
//
// A [Writer] is a [rootfs.Sink]: the contents of files are cut into blocks,
// compressed by several goroutines and written in the order in which they
// came; inodes, directories and tables follow them when the Writer is closed,
// the superblock last. The bytes of the file system are determined by the
// [Options] and the stream of entries alone, and Options.Jobs is no part of
// that.
//
// Ends of files that fill no block share fragment blocks. Equal contents are
// stored once: the full blocks of two files if all of them are equal, and their
// ends if these are. Blocks of zeros take no space.
//
// Memory: about 220 bytes an entry, and 4 for each full block of a file; the
// compressed listings of all directories, and extended attributes; 1 MiB and
// ten blocks, and four blocks more for each job. Each job has an encoder, and
// there is one more: 1 MiB and ten blocks for [Zstd], ten blocks for [XZ], at most
// 1.5 MiB for the others. Nothing is spooled.
//
// The package writes and does not read. It trusts the laws of package rootfs;
// put [rootfs.Check] in front of a Writer where a stream may break them.
//
// The format is that of Linux (Documentation/filesystems/squashfs.rst), in detail
// "Squashfs Binary Format" of squashfs-tools-ng (doc/format.adoc). Comments in
// the code name sections of the latter in quotes.
package squashfs

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"runtime"

	"thaw/internal/names"
	"thaw/rootfs"
)

// Options say all about a file system that its entries do not.
type Options struct {
	// Time is when the file system was made, in seconds since 1970: 0 to
	// [MaxTime].
	Time int64
	// Compression is of everything but the superblock. The zero value is
	// Zstd.
	Compression Compression
	// Fast chooses the encoder's settings for speed rather than size. XZ
	// has no such choice.
	Fast bool
	// BlockSize is how many bytes of a file are compressed together: a power
	// of two from [MinBlockSize] to [MaxBlockSize]. Zero means
	// [DefaultBlockSize]. Linux mounts no file system whose blocks are
	// smaller than its pages.
	BlockSize int
	// Jobs is how many blocks are compressed at a time. Zero means as many
	// as there are processors.
	Jobs int
}

const (
	MinBlockSize     = 4 << 10
	DefaultBlockSize = 128 << 10
	MaxBlockSize     = 1 << 20
	// MaxTime is the last second since 1970 of a time stamp, in 2106. There
	// is none before 1970.
	MaxTime = math.MaxUint32

	maxJobs = 1024
)

// A Writer writes one file system. It implements [rootfs.Sink] and
// [rootfs.SameAdder]. Errors are sticky: after one, every call returns it. It
// must be closed in any case, as goroutines work for it.
type Writer struct {
	opt    Options
	out    output
	pipe   pipe
	err    error
	closed bool

	nodes   []node
	files   []file
	targets []string
	dirs    names.Dirs[dir]

	ids    []uint32
	idNum  map[uint32]uint16
	xattrs xattrTable
	ends   endPacker
	runs   uint32 // that were sent to the pipe
	rest   []byte // room for the end of a file
	zeros  []byte // a block of them

	inodes     metadata
	listing    metadata
	references []uint64 // of inodes, by number
	scratch    []byte
	size       int64 // known at the end of Close
}

var (
	_ rootfs.Sink      = (*Writer)(nil)
	_ rootfs.SameAdder = (*Writer)(nil)
)

var errClosed = errors.New("squashfs: the writer is closed")

// NewWriter returns a Writer that puts a file system into w from its offset 0
// on. [Writer.Size] is a multiple of 4 KiB; what the Writer may have put behind
// that, where contents turned out to be equal, it overwrites with zeros.
func NewWriter(w io.WriterAt, o Options) (*Writer, error) {
	if o.BlockSize == 0 {
		o.BlockSize = DefaultBlockSize
	}
	if o.Jobs == 0 {
		o.Jobs = runtime.GOMAXPROCS(0)
	}
	switch {
	case o.Time < 0 || o.Time > MaxTime:
		return nil, fmt.Errorf("squashfs: time %d: 0 to %d", o.Time, int64(MaxTime))
	case o.BlockSize < MinBlockSize || o.BlockSize > MaxBlockSize || bits.OnesCount(uint(o.BlockSize)) != 1:
		return nil, fmt.Errorf("squashfs: block size %d: a power of two from %d to %d", o.BlockSize, MinBlockSize, MaxBlockSize)
	case o.Jobs < 0 || o.Jobs > maxJobs:
		return nil, fmt.Errorf("squashfs: %d jobs: at most %d", o.Jobs, maxJobs)
	}
	enc, err := newEncoder(&o, metadataSize)
	if err != nil {
		return nil, err
	}
	meta := &metadataEncoder{encoder: enc}
	e := &Writer{
		opt:   o,
		idNum: map[uint32]uint16{},
		rest:  make([]byte, o.BlockSize),
		zeros: make([]byte, o.BlockSize),
	}
	e.out = newOutput(w, superblockSize+int64(len(o.compressorOptions())))
	e.pipe = newPipe(&e.out, &e.opt)
	e.ends = newEndPacker(&e.pipe, o.BlockSize)
	e.xattrs = newXattrTable(meta)
	e.inodes = metadata{enc: meta, emit: e.out.write}
	e.listing = metadata{enc: meta}
	return e, nil
}

// Add adds an entry, and with it the contents of a regular file. An entry that
// squashfs cannot hold is a [rootfs.EntryError].
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

// Close writes everything but the contents of files. It does not close the
// underlying writer. The file system is whole when Close has returned nil.
func (w *Writer) Close() error {
	if w.closed {
		return w.err
	}
	w.closed = true
	if w.err == nil {
		w.err = w.ends.flush()
	}
	if err := w.pipe.close(); w.err == nil {
		w.err = err
	}
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
func (w *Writer) Size() int64 { return w.size }
