// Package ext4 writes an ext4 file system in one pass.
//
// A [Writer] is a [rootfs.Sink]: the contents of files go straight to their
// final blocks as they arrive and are never held or spooled; directories,
// inode tables and bitmaps follow them when the Writer is closed. The bytes of
// the file system are determined by the [Options] and the stream of entries
// alone. Memory grows with the number of entries, not with their data: at most
// 300 bytes for each, if its name has some 30; about 180 for a file.
//
// The result has checksums on all metadata and, unless the Options ask for
// others, blocks of 4 KiB and no journal. It can be mounted for reading and
// writing, and can be grown in place.
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
	"io"

	"thaw/internal/names"
	"thaw/rootfs"
)

// A Writer writes one file system. It implements [rootfs.Sink] and
// [rootfs.SameAdder]. Errors are sticky: after one, every call returns it.
type Writer struct {
	*frame
	out    blockWriter
	seed   uint32 // of all checksums
	err    error
	closed bool

	pending int64 // blocks that are certain to come before the bitmaps

	inodes inodeTable
	dirs   names.Dirs[dir]
	files  *fileSet // of what is added, if equal files are stored once

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
	f, err := o.frame()
	if err != nil {
		return nil, err
	}
	if o.UUID == [16]byte{} {
		return nil, errors.New("ext4: no UUID is given")
	}
	e := &Writer{
		frame:   f,
		out:     newBlockWriter(w, newCursor(f.geometry, f.reserved), f.limit),
		seed:    crc32c(^uint32(0), o.UUID[:]),
		bodyNum: map[string]uint32{},
		chunk:   make([]byte, chunkSize),
		pending: 1 + ownBlocks + f.leastJournal(),
	}
	e.tree = extentTree{out: &e.out, seed: e.seed}
	if o.Dedupe {
		e.files = newFileSet()
	}
	for range firstInode {
		e.inodes.add(inode{})
	}
	if err := e.room(); err != nil {
		return nil, err
	}
	return e, nil
}

// ownBlocks are those of lost+found and of the resize inode.
const ownBlocks = 2

// room reports whether all that has been added can still fit: it compares a
// lower bound of the final size with what there may be.
func (w *Writer) room() error {
	if w.out.err != nil {
		return w.out.err
	}
	if err := w.enough(w.inodes.len()); err != nil {
		return err
	}
	need := w.out.place.next + w.pending + 2*max(w.groups, 1) + ceilDiv(max(w.inodes.len(), w.opt.Inodes), w.inodesPerBlock())
	if need > w.limit {
		return w.noSpace(need)
	}
	return nil
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
func (w *Writer) Size() int64 { return w.plan.blocks * w.block() }

func (w *Writer) finish() error {
	if len(w.dirs.All) == 0 {
		return errors.New("ext4: no root directory was added")
	}
	w.addLostFound()
	for _, d := range w.dirs.All {
		if err := w.writeDir(d); err != nil {
			return err
		}
	}
	w.out.wipe()
	dind := w.out.alloc()
	w.pending--
	if err := w.room(); err != nil {
		return err
	}
	p := planner{w.frame, w.out.place, w.inodes.len()}
	plan, err := p.plan()
	if err != nil {
		return err
	}
	w.writeJournal(plan.journal)
	w.writeResizeInode(&plan, dind)
	descs, free := w.writeGroups(&plan)
	w.writeSupers(&plan, descs, free)
	w.out.flush()
	w.plan = plan
	return w.out.err
}
