package ext4

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
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

	// BlockSize is 1024, 2048 or 4096 bytes. Zero means [DefaultBlockSize].
	BlockSize int
	// Size is the size of the file system in bytes, rounded down to whole
	// blocks. Zero means as small as its entries allow. A last block group
	// that would be too short for its own copy of the superblock is left
	// out, as every maker of ext4 does, so [Writer.Size] can be less.
	Size int64
	// Free asks for this many bytes of free space, rounded up to whole blocks,
	// where Size is zero.
	Free int64
	// FreePercent asks for free space in hundredths of what the smallest file
	// system for the content takes, where Size and Free are zero.
	FreePercent int
	// Capacity is how many bytes the file system can ever have, now or grown
	// in place later. It must be known before the first block is placed,
	// as group descriptors for that size are set aside in front of the data:
	// 4 KiB for every 8 GiB, or 1 KiB for every 128 MiB in blocks of 1 KiB,
	// in group 0 and in each of the few groups that keep a copy. Zero means
	// [DefaultCapacity] if blocks of this size allow it, or Size if that is
	// more. At most [CapacityLimit].
	Capacity int64

	// Inodes is how many inodes there are, rounded up to whole blocks of them
	// in each group. Zero means as many as the entries take, and spare ones.
	Inodes int64
	// BytesPerInode is for how much free space there is a spare inode, from
	// 1 KiB to 64 MiB, where Inodes is zero. Zero means 16 KiB.
	BytesPerInode int64
	// Reserved is how many bytes of the space that is free are for root alone,
	// rounded up to whole blocks; at most half of the file system.
	Reserved int64
	// ReservedPercent is the same in hundredths of the file system, rounded
	// down, where Reserved is zero. At most 50.
	ReservedPercent int
	// Journal is the size of a journal in bytes, rounded up to whole blocks:
	// from 1024 blocks to 10,240,000. Zero means that there is none, and
	// [JournalAuto] one of the customary size.
	Journal int64

	// Dedupe stores files once, as hard links, that are equal in contents,
	// mode, owner, time and extended attributes. Each file costs some
	// 80 bytes of memory more. All its data is written before it is known
	// to be equal to another's, and overwritten when it is: a Writer may
	// have written up to a file's length beyond its Size, which then is
	// zeros. As that it does not fit is not certain until its end, neither
	// is a [NoSpaceError].
	Dedupe bool
}

const (
	// DefaultBlockSize is the bytes of a block, where the options do not say.
	DefaultBlockSize = 4096
	// DefaultCapacity is 1 TiB: half a mebibyte is set aside for descriptors.
	DefaultCapacity = 1 << 40
	// MaxCapacity is 8 TiB, the [CapacityLimit] of the largest blocks.
	MaxCapacity = 8 << 40
	// DefaultBytesPerInode is for how much free space there is a spare inode,
	// where the options do not say.
	DefaultBytesPerInode = 16 << 10
	// MinTime and MaxTime bound the seconds since 1970 of a time stamp: from
	// the end of 1901 to the spring of 2310. The format goes on to 2446
	// ("Inode Timestamps"), but e2fsck takes the next 68 years for times
	// before 1970, as a bug of old kernels wrote them, and changes them.
	MinTime = -1 << 31
	MaxTime = 3<<32 - 1<<31 - 1
)

// CapacityLimit returns the most that Options.Capacity may be with blocks of a
// size, up to where an inode can hold the space that is set aside for descriptors:
// 32 GiB with blocks of 1 KiB, 512 GiB of 2 KiB, 8 TiB of 4 KiB. Of a size that
// there is not it is 0.
func CapacityLimit(blockSize int) int64 {
	g, err := newGeometry(blockSize)
	if err != nil {
		return 0
	}
	return g.numbers() * g.descBytes()
}

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
	return fmt.Sprintf("the file system needs at least %d bytes, %d are given", e.Needed, e.Given)
}

// NoInodesError says that the entries are more than Options.Inodes.
type NoInodesError struct {
	// Needed inodes are what the entries so far take, with the eleven that are
	// ext4's own.
	Needed int64
	// Given is Options.Inodes.
	Given int64
}

func (e *NoInodesError) Error() string {
	return fmt.Sprintf("the file system needs %d inodes, %d are given", e.Needed, e.Given)
}

// A frame is what the options alone decide.
type frame struct {
	geometry
	opt      Options // with what zero values stand for
	reserved int64   // blocks in front of a group with a copy of the superblock
	limit    int64   // blocks there may be
	groups   int64   // groups there will be; 0 while that is open
}

// frame holds the options against their limits.
func (o Options) frame() (*frame, error) {
	o.BlockSize = cmp.Or(o.BlockSize, DefaultBlockSize)
	o.BytesPerInode = cmp.Or(o.BytesPerInode, DefaultBytesPerInode)
	g, err := newGeometry(o.BlockSize)
	if err != nil {
		return nil, err
	}
	most := CapacityLimit(o.BlockSize)
	if o.Capacity == 0 {
		o.Capacity = max(min(DefaultCapacity, most), o.Size)
	}
	switch {
	case len(o.Label) > 16 || strings.IndexByte(o.Label, 0) >= 0:
		return nil, fmt.Errorf("ext4: label %q: up to 16 bytes without NUL", o.Label)
	case o.Time < 0 || o.Time > MaxTime:
		return nil, fmt.Errorf("ext4: time %d: 0 to %d", o.Time, int64(MaxTime))
	case o.Size < 0 || o.Free < 0 || o.FreePercent < 0 || o.Capacity < 0 || o.Reserved < 0:
		return nil, errors.New("ext4: a negative size")
	case o.Size > 0 && (o.Free > 0 || o.FreePercent > 0):
		return nil, errors.New("ext4: free space is for a file system without fixed size")
	case o.Free > 0 && o.FreePercent > 0:
		return nil, errors.New("ext4: free space is given twice")
	case o.Capacity > most:
		return nil, fmt.Errorf("ext4: %d bytes in blocks of %d: at most %d", o.Capacity, o.BlockSize, most)
	case max(o.Size, o.Free, o.Reserved) > o.Capacity:
		return nil, fmt.Errorf("ext4: %d bytes are more than the capacity of %d", max(o.Size, o.Free, o.Reserved), o.Capacity)
	case o.Inodes < 0 || o.Inodes > most/g.block():
		return nil, fmt.Errorf("ext4: %d inodes: up to %d", o.Inodes, most/g.block())
	case o.BytesPerInode < 1<<10 || o.BytesPerInode > 64<<20:
		return nil, fmt.Errorf("ext4: an inode for %d bytes: 1024 to %d", o.BytesPerInode, 64<<20)
	case o.ReservedPercent < 0 || o.ReservedPercent > 50:
		return nil, fmt.Errorf("ext4: %d %% for root: 0 to 50", o.ReservedPercent)
	case o.Reserved > 0 && o.ReservedPercent > 0:
		return nil, errors.New("ext4: space for root is given twice")
	case o.Journal != JournalAuto && o.Journal != 0 && (o.Journal < minJournal*g.block() || o.Journal > maxJournal*g.block()):
		return nil, fmt.Errorf("ext4: a journal of %d bytes in blocks of %d: %d to %d", o.Journal, o.BlockSize, minJournal*g.block(), maxJournal*g.block())
	}
	f := &frame{geometry: g, opt: o, reserved: 1 + ceilDiv(o.Capacity, g.descBytes()), limit: o.Capacity / g.block()}
	if o.Size > 0 {
		f.limit, f.groups = g.trimGroups(o.Size/g.block(), f.reserved)
	}
	return f, nil
}

// leastJournal returns the blocks that a journal takes at least.
func (f *frame) leastJournal() int64 {
	switch {
	case f.opt.Journal != JournalAuto:
		return f.ceil(f.opt.Journal)
	case f.opt.Size > 0:
		return autoJournal(f.limit)
	}
	return minJournal
}

// enough reports whether there may be so many inodes.
func (f *frame) enough(inodes int64) error {
	if f.opt.Inodes > 0 && inodes > f.opt.Inodes {
		return &NoInodesError{Needed: inodes, Given: f.opt.Inodes}
	}
	return nil
}

func (f *frame) noSpace(blocks int64) error {
	return &NoSpaceError{Needed: blocks * f.block(), Given: f.limit * f.block()}
}

// Fit returns the bytes of a file system of these options whose entries, but for
// lost+found, take so many blocks and inodes. Contents, targets of more than
// [InlineTarget] bytes, extended attributes, nodes of extents and directories have
// blocks; the root directory is one of the entries. It is what [Writer.Size] would
// be, or a Writer's error, and never less for more blocks or inodes.
func (o Options) Fit(blocks, inodes int64) (int64, error) {
	f, err := o.frame()
	if err != nil {
		return 0, err
	}
	if blocks < 0 || inodes < 0 {
		return 0, errors.New("ext4: a negative number of blocks or inodes")
	}
	p := planner{f, newCursor(f.geometry, f.reserved), inodes + firstInode - 1}
	if blocks > f.limit || inodes > f.limit*f.inodesPerBlock() {
		return 0, f.noSpace(max(min(blocks, MaxCapacity), f.limit+1))
	}
	if err := f.enough(p.inodes); err != nil {
		return 0, err
	}
	p.at.skip(blocks + ownBlocks)
	l, err := p.plan()
	return l.blocks * f.block(), err
}
