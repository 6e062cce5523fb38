// Package disk writes a disk image with a GUID partition table whose partitions
// other writers fill.
//
// A partition's content is written first, through a [Section] of the disk, and
// its length may be told afterwards; the table comes last, in [Writer.Close]. The
// writers below get a file or device that is empty or all zeros, and what nobody
// writes stays so.
//
// Partitions start and end at multiples of [Align], as disk tools and encryption
// want it. Sectors have 512 bytes. The table is that of the UEFI Specification
// 2.10, section 5; see gpt.go. Everything in it comes from the caller: equal input
// gives equal bytes.
package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	// Align is what the places and lengths of partitions are multiples of,
	// in bytes. The first one starts there.
	Align = 1 << 20
	// MaxPartitions is how many partitions a table has.
	MaxPartitions = 128
	// MaxName is how many UTF-16 units the name of a partition has.
	MaxName = 36

	sector = 512
	// maxSize is far from overflows of int64.
	maxSize = 1 << 60
)

// ErrFull is the error of content that is larger than its partition, and of
// partitions that are larger than the disk.
var ErrFull = errors.New("not enough space")

// Options describes a disk.
type Options struct {
	GUID GUID // required
	// Size is the length of the disk in bytes, a multiple of 512. If zero, it
	// is what the partitions need: then it is a multiple of [Align], which
	// every emulator and format of disk images takes.
	Size int64
}

// Partition describes a partition.
type Partition struct {
	Type GUID   // required
	GUID GUID   // required, each once
	Name string // up to [MaxName] UTF-16 units

	// Attributes are the bits of UEFI (0 to 2) and of the type (48 to 63).
	Attributes uint64

	// Number is from 1 to [MaxPartitions], each once. If zero, it is the
	// lowest that is free. Numbers need not follow the places on the disk.
	Number int

	// Size is the partition's length in bytes, which is rounded up to a
	// multiple of [Align]. If zero, [Section.End] tells it, and if that is
	// never called, the partition fills the disk.
	Size int64
}

// Writer writes a disk image. It is not safe for concurrent use.
type Writer struct {
	out   io.WriterAt
	disk  [16]byte // GUID as on the disk
	size  int64    // 0 until known
	table [MaxPartitions]entry
	guids map[[16]byte]bool
	end   int64    // of the last partition that has one
	open  *Section // the last one, while it has no end
	err   error    // sticky
}

// NewWriter makes a Writer of a disk to w.
func NewWriter(w io.WriterAt, o Options) (*Writer, error) {
	guid, err := o.GUID.encode()
	switch {
	case err != nil:
		return nil, fmt.Errorf("disk: %w", err)
	case o.Size < 0 || o.Size > maxSize || o.Size%sector != 0:
		return nil, fmt.Errorf("disk: size %d is not a multiple of %d", o.Size, sector)
	case o.Size > 0 && o.Size < 2*Align+tail:
		return nil, fmt.Errorf("disk: size %d: %w: a table and one partition need %d", o.Size, ErrFull, 2*Align+tail)
	}
	return &Writer{out: w, disk: guid, size: o.Size, guids: map[[16]byte]bool{}, end: Align}, nil
}

// Add begins the next partition, where the one before ends: that must have a
// size, or have been ended.
func (w *Writer) Add(p Partition) (*Section, error) {
	if w.err != nil {
		return nil, w.err
	}
	s, err := w.add(p)
	if err != nil {
		w.err = fmt.Errorf("partition %q: %w", p.Name, err)
	}
	return s, w.err
}

func (w *Writer) add(p Partition) (*Section, error) {
	if w.open != nil {
		return nil, errors.New("the partition before it has no end yet")
	}
	n := p.Number
	for n == 0 || p.Number == 0 && n <= MaxPartitions && w.table[n-1].used() {
		n++
	}
	kind, err := p.Type.encode()
	if err != nil {
		return nil, err
	}
	guid, err := p.GUID.encode()
	if err != nil {
		return nil, err
	}
	name := utf16.Encode([]rune(p.Name))
	room := w.room()
	switch {
	case n < 1 || n > MaxPartitions || w.table[n-1].used():
		return nil, fmt.Errorf("number %d is taken or not from 1 to %d", n, MaxPartitions)
	case w.guids[guid]:
		return nil, fmt.Errorf("GUID %s is another partition's", p.GUID)
	case !utf8.ValidString(p.Name) || len(name) > MaxName:
		return nil, fmt.Errorf("the name is not up to %d units of UTF-16", MaxName)
	case p.Size < 0 || p.Size > room || room == 0:
		return nil, fmt.Errorf("%w: %d bytes are left of the disk, and it needs %d", ErrFull, room, max(p.Size, 1))
	}
	w.guids[guid] = true
	e := &w.table[n-1]
	*e = entry{kind: kind, guid: guid, attributes: p.Attributes, start: w.end}
	copy(e.name[:], name)
	s := &Section{disk: w, entry: e, limit: room}
	if p.Size > 0 {
		s.end(p.Size)
	} else {
		w.open = s
	}
	return s, nil
}

// room is how many bytes a partition that begins now may have.
func (w *Writer) room() int64 {
	if w.size == 0 {
		return maxSize - w.end
	}
	return max(0, (w.size-tail)/Align*Align-w.end)
}

// Section is the place of one partition, from 0 to its size.
type Section struct {
	disk  *Writer
	entry *entry
	limit int64 // bytes that may be written
}

// Size returns how many bytes the content may have. Before the end of a
// partition without a size, on a disk without one, that is no useful number.
func (s *Section) Size() int64 { return s.limit }

// WriteAt implements [io.WriterAt]. Nothing is written of what does not fit.
func (s *Section) WriteAt(p []byte, off int64) (int, error) {
	switch {
	case s.disk.err != nil:
		return 0, s.disk.err
	case off < 0:
		return 0, fmt.Errorf("write at %d: %w", off, fs.ErrInvalid)
	case off > s.limit || int64(len(p)) > s.limit-off:
		return 0, fmt.Errorf("%w: the content goes to %d or beyond, and the partition has %d bytes", ErrFull, addCapped(off, len(p)), s.limit)
	}
	return s.disk.out.WriteAt(p, s.entry.start+off)
}

func addCapped(off int64, n int) int64 {
	if off > math.MaxInt64-int64(n) {
		return math.MaxInt64
	}
	return off + int64(n)
}

// End says that the content has size bytes. That ends a partition that has no
// size yet, at the next multiple of [Align].
func (s *Section) End(size int64) error {
	switch {
	case s.disk.err != nil:
		return s.disk.err
	case size < 0 || size > s.limit:
		s.disk.err = fmt.Errorf("%w: the content has %d bytes, and the partition %d", ErrFull, size, s.limit)
	case s.disk.open == s:
		s.end(max(size, 1))
	}
	return s.disk.err
}

// end sets the partition's length to size rounded up, which fits: there is room
// for a multiple of Align.
func (s *Section) end(size int64) {
	s.limit = (size + Align - 1) / Align * Align
	s.entry.end = s.entry.start + s.limit
	s.disk.end = s.entry.end
	s.disk.open = nil
}

// Size returns the length of the disk in bytes, which after Close is that of the
// image. It is 0 before, if [Options] had none.
func (w *Writer) Size() int64 { return w.size }

// Close writes the partition table, unless there was an error, which it returns.
// It does not close the writer below.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	if w.open != nil {
		if w.size == 0 {
			w.err = errors.New("the last partition has no end, nor has the disk")
			return w.err
		}
		w.open.end(w.room())
	}
	if w.size == 0 {
		w.size = w.end + Align
	}
	err := w.writeTable()
	if w.err = err; err == nil {
		w.err = fs.ErrClosed
	}
	return err
}
