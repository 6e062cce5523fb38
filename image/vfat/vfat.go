// Package vfat writes a FAT12, FAT16 or FAT32 file system with long names in one
// pass.
//
// A [Writer] is a [rootfs.Sink]: the contents of files go straight to their final
// clusters as they arrive, each file in one piece and one behind the other;
// directories, the file allocation tables and the boot sector follow when the
// Writer is closed. The bytes of the file system are determined by the [Options]
// and the stream of entries alone. Memory grows with the number of entries, not
// with their data. The writer below must be empty or all zeros: what is zero may
// stay unwritten.
//
// The tables lie in front of the contents. Where the size of the file system is
// not given, room for them is set aside first, for a file system of
// [Options.Capacity]; [Fit], which needs to know all entries beforehand, finds the
// size that wastes nothing.
//
// What FAT cannot hold is refused by a [rootfs.EntryError]: links, devices and
// pipes, extended attributes, files of 4 GiB or more, names that are not UTF-8,
// have a character that FAT reserves or end in a dot or a space, and names that
// differ in case only. What it has no place for is lost: modes, owners, fractions
// of two seconds, and the time of the root directory (which becomes that of the
// label). Times are written in UTC; those before 1980 become the first moment of
// 1980, as FAT knows none earlier, and those after 2107 are refused.
//
// The format is that of Microsoft's "FAT: General Overview of On-Disk Format"
// (version 1.03, called "the specification" below), as Linux, Windows, UEFI and
// boot loaders read it. The package writes and does not read. It trusts the laws
// of package rootfs; put [rootfs.Check] in front of a Writer where a stream may
// break them.
package vfat

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"thaw/internal/sparse"
	"thaw/rootfs"
)

// Options say all about a file system that its entries do not.
type Options struct {
	// Serial is the volume's number, which Linux shows as its UUID: 1234-ABCD
	// for 0x1234abcd. It must not be zero.
	Serial uint32
	// Label is the volume's name: up to 11 ASCII characters, but none of
	// those that FAT reserves, and no space first or last. It may be empty.
	// Lower case is kept, though not every system shows it.
	Label string
	// HiddenSectors is how many sectors of the disk lie in front of the
	// partition, which boot loaders of BIOSes want to know.
	HiddenSectors uint32

	// Bits are 12, 16 or 32. Zero means what follows from the number of
	// clusters, as the specification has it. A type that is asked for makes
	// a file system that is not given a size as large as it must be.
	Bits int
	// SectorSize is 512, 1024, 2048 or 4096: that of the device, or 512 if
	// zero.
	SectorSize int
	// ClusterSize is a power of two from SectorSize to 32 KiB. Zero means
	// what Microsoft's tables say about a file system of this size.
	ClusterSize int

	// Size is the size of the file system in bytes, rounded down to whole
	// sectors. Zero means what the entries need. Where that many clusters
	// are not for the type of the file system, [Writer.Size] is less.
	Size int64
	// Free asks for this many bytes of free space, rounded up to whole
	// clusters, where Size is zero.
	Free int64
	// FreePercent asks for free space in hundredths of what the smallest
	// file system for the content takes, where Size and Free are zero.
	FreePercent int
	// Capacity is how many bytes a file system without a Size can become.
	// It must be known before the first cluster is placed: room for tables
	// of that size is set aside, which is 1/512 of it with clusters of 4 KiB.
	// Zero means [DefaultCapacity], or if that is less, what Bits can have
	// with clusters of 4 KiB and a million times ClusterSize. At most about
	// 127 GiB.
	Capacity int64
}

const (
	// DefaultCapacity is 2 GiB: 4 MiB are set aside for tables.
	DefaultCapacity = 2 << 30
	// MaxFile is how many bytes a file has at most.
	MaxFile = 1<<32 - 1
	// MinTime and MaxTime bound the seconds since 1970 of a time that FAT
	// can hold: from 1980 to 2107.
	MinTime = 315532800
	MaxTime = 4354819199
)

// NoSpaceError says that the entries do not fit into the size of the file system,
// or into its capacity where it has no size. It comes as soon as that is certain,
// which may be long before the last entry.
type NoSpaceError struct {
	// Needed bytes are the least that the entries so far take.
	Needed int64
	// Given bytes are what Options.Size or Options.Capacity allows.
	Given int64
}

func (e *NoSpaceError) Error() string {
	return fmt.Sprintf("the file system needs at least %d bytes, %d are given", e.Needed, e.Given)
}

// A Writer writes one file system. It implements [rootfs.Sink]. Errors are sticky:
// after one, every call returns it.
type Writer struct {
	opt    Options
	layout layout // final from the start if the size is given
	fit    bool   // it is not
	out    *sparse.Writer
	tree   tree

	// keeps says that the first cluster is kept for the root directory of FAT32:
	// not all loaders look where it is, so it begins where every maker of FAT32
	// has it. If this becomes no FAT32, the cluster is free.
	keeps bool
	next  uint32   // the lowest cluster that was never taken
	ends  []uint32 // the last clusters of files and directories, rising

	err    error
	closed bool
}

var _ rootfs.Sink = (*Writer)(nil)

// NewWriter returns a Writer that writes a file system to w, from its offset 0
// on.
func NewWriter(w io.WriterAt, o Options) (*Writer, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("vfat: %w", err)
	}
	v := &Writer{opt: o, fit: o.Size == 0, out: sparse.NewWriter(w, 0), next: firstCluster}
	var err error
	if v.fit {
		v.layout, err = o.frame()
	} else {
		v.layout, err = o.fixed()
	}
	if err != nil {
		return nil, fmt.Errorf("vfat: %w", err)
	}
	v.tree.label = o.Label != ""
	if v.keeps = v.layout.bits == 32 || v.layout.bits == 0; v.keeps {
		v.next++
	}
	v.out.Move(v.layout.offset(v.next))
	return v, nil
}

// Add adds an entry, and with it the contents of a regular file. An entry that FAT
// cannot hold is a [rootfs.EntryError].
func (w *Writer) Add(e rootfs.Entry, data io.Reader) error {
	if w.err == nil {
		w.err = w.add(&e, data)
	}
	return w.err
}

func (w *Writer) add(e *rootfs.Entry, data io.Reader) error {
	n, err := w.tree.add(e)
	if err != nil {
		return err
	}
	if err := w.tree.rootRoom(w.layout.bits, e.Path); err != nil {
		return err
	}
	clusters := ceilDiv(e.Size, w.layout.cluster)
	if err := w.roomFor(clusters); err != nil || clusters == 0 {
		return err
	}
	n.first = w.take(clusters)
	if err := w.out.Copy(data, e.Size); err != nil {
		return err
	}
	w.out.Pad(clusters*w.layout.cluster - e.Size)
	return w.out.Err()
}

// take takes clusters that follow each other and returns the first.
func (w *Writer) take(n int64) uint32 {
	first := w.next
	w.next += uint32(n)
	w.ends = append(w.ends, w.next-1)
	return first
}

// roomFor reports whether all that has been added and a file of n clusters can
// still fit. Directories are written last, but what they need is known before.
func (w *Writer) roomFor(n int64) error {
	n += int64(w.next-firstCluster) + w.tree.clusters(w.layout.cluster)
	if w.layout.bits == 32 { // the first one of the root is in next
		n += w.tree.root().clusters(w.layout.cluster) - 1
	}
	if n > w.layout.clusters {
		return w.layout.noSpace(n)
	}
	return nil
}

func (l *layout) noSpace(clusters int64) error {
	return &NoSpaceError{Needed: l.data*l.sector + clusters*l.cluster, Given: l.data*l.sector + l.clusters*l.cluster}
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
		w.err = fs.ErrClosed
	}
	return err
}

// Size returns how many bytes the file system has. It is known after Close.
func (w *Writer) Size() int64 { return w.layout.sectors * w.layout.sector }

// Place returns where in the file system the content of a file is, which lies in one
// piece, for boot loaders that are told; and whether there is such a file and it is not
// empty.
func (w *Writer) Place(path string) (off int64, ok bool) {
	d, name, err := w.tree.dirs.Parent(path)
	if err != nil {
		return 0, false
	}
	i, ok := d.byFold[foldCase(name)]
	if !ok || d.children[i].dir != nil || d.children[i].first == 0 {
		return 0, false
	}
	return w.layout.offset(d.children[i].first), true
}

// BootSectors returns where in the file system its boot sector is and, of FAT32, the
// copy of that, for boot loaders that have code there. It is known after Close.
func (w *Writer) BootSectors() []int64 {
	if w.layout.bits == 32 {
		return []int64{0, backupSector * w.layout.sector}
	}
	return []int64{0}
}

func (w *Writer) finish() error {
	if w.tree.empty() {
		return errors.New("vfat: no root directory was added")
	}
	if w.fit {
		used := int64(w.next-firstCluster) + w.tree.clusters(w.layout.cluster)
		if err := w.layout.close(&w.opt, used, w.tree.root()); err != nil {
			return err
		}
	}
	if err := w.tree.rootRoom(w.layout.bits, w.tree.root().last()); err != nil {
		return err
	}
	w.writeTables(w.writeDirs())
	w.writeBoot()
	return w.out.Flush()
}
