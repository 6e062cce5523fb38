// Package ext4 writes an ext4 file system in one pass.
//
// A [Writer] is a [rootfs.Sink]: the contents of files go straight to their
// final blocks as they arrive and are never held or spooled; directories,
// inode tables and bitmaps follow them when the Writer is closed. The bytes of
// the file system are determined by the [Options] and the stream of entries
// alone. Memory grows with the number of entries, not with their data.
//
// The result has 4 KiB blocks, checksums on all metadata, and no journal. It
// can be mounted for reading and writing, and can be grown in place.
//
// The package writes and does not read. It trusts the laws of package rootfs;
// put [rootfs.Check] in front of a Writer where a stream may break them.
//
// The format is that of "ext4 Data Structures and Algorithms" in the Linux
// kernel's documentation (Documentation/filesystems/ext4). Comments in the code
// name its sections in quotes.
package ext4

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"thaw/rootfs"
)

// Options say all about a file system that its entries do not.
type Options struct {
	// UUID names the file system and seeds its checksums. It must not be zero.
	UUID [16]byte
	// HashSeed keys the hash by which large directories are sorted. Zero
	// means the seed that ext4 itself has for this case.
	HashSeed [16]byte
	// Label is the volume's name: up to 16 bytes, not necessarily UTF-8,
	// without NUL. It may be empty.
	Label string
	// Time is what the superblock says about when the file system was made,
	// written and checked, in seconds since 1970; also the time of lost+found
	// where no entry brings one. At most [MaxTime], not negative.
	Time int64

	// Size is the size of the file system in bytes, rounded down to whole
	// blocks. Zero means as small as its entries allow. A last block group
	// that would be too short for its own copy of the superblock is left
	// out, as every maker of ext4 does, so [Writer.Size] can be less.
	Size int64
	// Free asks for this many bytes of free space, rounded up to whole blocks,
	// where Size is zero. There is a spare inode for every 16 KiB of it.
	Free int64
	// FreePercent asks for free space in hundredths of what the smallest file
	// system for the content takes, where Size and Free are zero.
	FreePercent int
	// Capacity is how many bytes the file system can ever have, now or grown
	// in place later. It must be known before the first block is placed,
	// as group descriptors for that size are set aside in front of the data:
	// 4 KiB for every 8 GiB, in group 0 and in each of the few groups
	// that keep a copy. Zero means [DefaultCapacity], or Size if that is
	// more. At most [MaxCapacity].
	Capacity int64
}

const (
	// DefaultCapacity is 1 TiB: half a mebibyte is set aside for descriptors.
	DefaultCapacity = 1 << 40
	// MaxCapacity is 8 TiB, up to where an inode can hold the space that is
	// set aside for descriptors.
	MaxCapacity = maxDescBlocks * descPerBlock * groupBytes
	// MinTime and MaxTime bound the seconds since 1970 of a time stamp: from
	// the end of 1901 to the spring of 2310. The format goes on to 2446
	// ("Inode Timestamps"), but e2fsck takes the next 68 years for times
	// before 1970, as a bug of old kernels wrote them, and changes them.
	MinTime = -1 << 31
	MaxTime = 3<<32 - 1<<31 - 1
)

// NoSpaceError says that the entries do not fit into the size of the file
// system, or into its capacity where it has no fixed size. It comes as soon as
// that is certain, which may be long before the last entry.
type NoSpaceError struct {
	// Needed bytes are the least that the entries so far take.
	Needed int64
	// Given bytes are what Options.Size or Options.Capacity allows, in whole
	// blocks and groups.
	Given int64
}

func (e *NoSpaceError) Error() string {
	return fmt.Sprintf("the file system needs %d bytes, %d are given", e.Needed, e.Given)
}

// A Writer writes one file system. It implements [rootfs.Sink] and
// [rootfs.SameAdder]. Errors are sticky: after one, every call returns it.
type Writer struct {
	opt    Options
	out    blockWriter
	groups int64  // groups there will be; 0 while that is open
	seed   uint32 // of all checksums
	err    error
	closed bool

	pending int64 // blocks that are certain to come before the bitmaps

	inodes inodeTable
	dirs   []*dir // in the order of adding, the root first
	byPath map[string]*dir
	last   *dir // the parent of the entry before
	names  nameArena

	bodies  []string // what inodes hold of extended attributes
	bodyNum map[string]uint32
	tree    extentTree
	chunk   []byte // of file data being looked through
	plan    layout // known at the end of Close
}

var (
	_ rootfs.Sink      = (*Writer)(nil)
	_ rootfs.SameAdder = (*Writer)(nil)
)

var errClosed = errors.New("ext4: the writer is closed")

// NewWriter returns a Writer that puts a file system into w from its offset 0
// on. What is never written there must read as zeros; so must what w
// holds between the last byte written and [Writer.Size], to which the caller
// extends it.
func NewWriter(w io.WriterAt, o Options) (*Writer, error) {
	if o.Capacity == 0 {
		o.Capacity = max(DefaultCapacity, o.Size)
	}
	switch {
	case o.UUID == [16]byte{}:
		return nil, errors.New("ext4: no UUID is given")
	case len(o.Label) > 16 || strings.IndexByte(o.Label, 0) >= 0:
		return nil, fmt.Errorf("ext4: label %q: up to 16 bytes without NUL", o.Label)
	case o.Time < 0 || o.Time > MaxTime:
		return nil, fmt.Errorf("ext4: time %d: 0 to %d", o.Time, int64(MaxTime))
	case o.Size < 0 || o.Free < 0 || o.FreePercent < 0 || o.Capacity < 0:
		return nil, errors.New("ext4: a negative size")
	case o.Size > 0 && (o.Free > 0 || o.FreePercent > 0):
		return nil, errors.New("ext4: free space is for a file system without fixed size")
	case o.Free > 0 && o.FreePercent > 0:
		return nil, errors.New("ext4: free space is given twice")
	case o.Capacity > MaxCapacity:
		return nil, fmt.Errorf("ext4: %d bytes: at most %d", o.Capacity, int64(MaxCapacity))
	case o.Size > o.Capacity || o.Free > o.Capacity:
		return nil, fmt.Errorf("ext4: %d bytes are more than the capacity of %d", max(o.Size, o.Free), o.Capacity)
	}
	reserved := 1 + ceilDiv(o.Capacity, descPerBlock*groupBytes)
	limit, groups := o.Capacity/blockSize, int64(0)
	if o.Size > 0 {
		limit, groups = trimGroups(o.Size/blockSize, reserved)
	}
	e := &Writer{
		opt:     o,
		out:     newBlockWriter(w, reserved, limit),
		groups:  groups,
		seed:    crc32c(^uint32(0), o.UUID[:]),
		byPath:  map[string]*dir{},
		bodyNum: map[string]uint32{},
		chunk:   make([]byte, chunkSize),
		pending: 3, // of the root, lost+found and the resize inode
	}
	e.tree = extentTree{out: &e.out, seed: e.seed}
	for range firstInode {
		e.inodes.add(inode{})
	}
	if err := e.room(); err != nil {
		return nil, err
	}
	return e, nil
}

// room reports whether all that has been added can still fit: it compares a
// lower bound of the final size with what there may be.
func (w *Writer) room() error {
	if w.out.err != nil {
		return w.out.err
	}
	need := w.out.next + w.pending + 2*max(w.groups, 1) + ceilDiv(w.inodes.len(), inodesPerBlock)
	if need > w.out.limit {
		return w.noSpace(need)
	}
	return nil
}

func (w *Writer) noSpace(blocks int64) error {
	return &NoSpaceError{Needed: blocks * blockSize, Given: w.out.limit * blockSize}
}

// Add adds an entry, and with it the contents of a regular file. An entry that
// ext4 cannot hold is a [rootfs.EntryError].
func (w *Writer) Add(e rootfs.Entry, data io.Reader) error {
	if w.err == nil {
		w.err = w.add(e, data)
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
		w.err = w.finish()
	}
	err := w.err
	if err == nil {
		w.err = errClosed
	}
	return err
}

// Size returns how many bytes the file system has. It is known after Close.
func (w *Writer) Size() int64 { return w.plan.blocks * blockSize }

func (w *Writer) finish() error {
	if len(w.dirs) == 0 {
		return errors.New("ext4: no root directory was added")
	}
	w.addLostFound()
	for _, d := range w.dirs {
		if err := w.writeDir(d); err != nil {
			return err
		}
	}
	dind := w.out.alloc()
	w.pending--
	if err := w.room(); err != nil {
		return err
	}
	plan, err := w.planLayout()
	if err != nil {
		return err
	}
	w.writeResizeInode(&plan, dind)
	descs, free := w.writeGroups(&plan)
	w.writeSupers(&plan, descs, free)
	w.out.flush()
	w.plan = plan
	return w.out.err
}
