// Package disk writes a disk image with a partition table whose partitions other
// writers fill.
//
// A partition's content is written first, through a [Section] of the disk, and
// its length may be told afterwards; the table comes last, in [Writer.Close]. The
// writers below get a file or device that is empty or all zeros, and what nobody
// writes stays so.
//
// Partitions lie one behind the other in the order they are added, and start and end
// at multiples of an alignment, as disk tools and encryption want it. Content that
// has a place of its own, such as a boot loader that a board looks for at an offset,
// is added before them. Nothing overlaps: not tables, not what was added. Everything
// comes from the caller: equal input gives equal bytes.
//
// The table is a GPT (UEFI Specification 2.10, section 5), an MBR, or both; see
// [Table]. The package knows no file system and makes no logical partitions.
package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	// Align is what the places and lengths of partitions are multiples of,
	// in bytes, unless [Options] say otherwise. The first one starts there.
	Align = 1 << 20
	// MaxAlign is the largest alignment.
	MaxAlign = 1 << 30
	// MaxPartitions is how many partitions a GPT has; an MBR has four.
	MaxPartitions = 128
	// MaxName is how many UTF-16 units the name of a partition has.
	MaxName = 36
	// MBRReach is how many sectors an MBR can count.
	MBRReach = math.MaxUint32
	// CodeSize is how many bytes in front of the table are for the code that a BIOS
	// runs.
	CodeSize = 440

	// maxSize is far from overflows of int64.
	maxSize = 1 << 60
)

// ErrFull is the error of content that is larger than its partition, and of
// partitions that are larger than the disk.
var ErrFull = errors.New("not enough space")

// Table is a kind of partition table.
type Table int

const (
	// GPT is a GUID partition table behind an MBR that only protects it.
	GPT Table = iota
	// MBR is the older table: up to four partitions without names and GUIDs, on
	// the first 2^32 sectors.
	MBR
	// Hybrid is a GPT up to three of whose partitions stand in the MBR, too, for
	// firmware that looks there.
	Hybrid
	// NoTable is what the map of a CD may have.
	NoTable Table = -1
)

func (t Table) String() string {
	switch t {
	case GPT:
		return "GPT"
	case MBR:
		return "MBR"
	case Hybrid:
		return "GPT and MBR"
	case NoTable:
		return "no partition table"
	}
	return fmt.Sprintf("Table(%d)", int(t))
}

// Options describes a disk.
type Options struct {
	Table Table
	GUID  GUID // required in a GPT
	// Signature is the number of the disk in an MBR, required there: Linux
	// makes the PARTUUID of a partition of it, 1234abcd-01 for 0x1234abcd.
	Signature uint32
	// SectorSize is that of the device, 512 or 4096. Zero means 512.
	SectorSize int
	// Align is what places of partitions are multiples of: a power of two
	// from SectorSize to [MaxAlign]. Zero means [Align].
	Align int64
	// Size is the length of the disk in bytes, a multiple of SectorSize. If
	// zero, it is what its content needs, up to a multiple of Align.
	Size int64
}

// Raw describes content with a place of its own.
type Raw struct {
	Name   string // for errors and maps
	Offset int64  // in bytes; the first 440 are for the code that a BIOS runs
	Size   int64  // in bytes
}

// Partition describes a partition.
type Partition struct {
	// Type and GUID are required in a GPT, GUID each once. In an MBR there is
	// only a byte for the type, which follows from Type.
	Type GUID
	GUID GUID
	Name string // up to [MaxName] UTF-16 units; not in an MBR

	// Attributes are the bits of UEFI (0 to 2) and of the type (48 to 63),
	// among them [AttrLegacyBoot], which an MBR has, too, for one partition.
	Attributes uint64

	// Number is from 1 to [MaxPartitions], or 4 in an MBR, each once. If
	// zero, it is the lowest that is free. Numbers need not follow the places
	// on the disk.
	Number int

	// InMBR puts a partition of a [Hybrid] disk into the MBR, too.
	InMBR bool
	// MBRType is the type in an MBR. Zero means what follows from Type.
	MBRType byte

	// Start is the partition's place in bytes, a multiple of the sector size.
	// If zero, it is the next multiple of the alignment behind the partition
	// added before.
	Start int64
	// Size is the partition's length in bytes. It is rounded up so that the
	// end is a multiple of the alignment. If zero, [Section.End] tells it,
	// and if that is never called, the partition goes as far as it can.
	Size int64
}

// OverlapError says that two things would have one place on the disk.
type OverlapError struct {
	New, Old Region
}

func (e *OverlapError) Error() string {
	return fmt.Sprintf("%v (bytes %d to %d) overlaps %v (%d to %d)", e.New, e.New.Start, e.New.End, e.Old, e.Old.Start, e.Old.End)
}

// Writer writes a disk image. It is not safe for concurrent use.
type Writer struct {
	out           io.WriterAt
	table         Table
	guid          [16]byte // as on the disk
	signature     uint32
	sector, align int64
	size          int64 // 0 until known

	taken []Region // the table in front, raw content and partitions, as added
	parts []*part
	next  int64    // where the partition before, or the table, ends
	open  *Section // the last one, while it has no end
	err   error    // sticky
}

// A part is what a table says of a partition.
type part struct {
	Region
	kind, guid [16]byte // as on the disk
	attributes uint64
	name       [MaxName]uint16
}

// NewWriter makes a Writer of a disk to w.
func NewWriter(w io.WriterAt, o Options) (*Writer, error) {
	d := &Writer{out: w, table: o.Table, signature: o.Signature, sector: int64(o.SectorSize), align: o.Align, size: o.Size}
	if d.sector == 0 {
		d.sector = 512
	}
	if d.align == 0 {
		d.align = Align
	}
	if err := d.check(o.GUID); err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	d.next = mbrSize
	if o.Table != MBR {
		d.next = 2*d.sector + entriesSize
	}
	d.taken = []Region{{Kind: KindTable, Start: CodeSize, End: d.next}}
	if least := d.up(d.next) + d.align + d.tail(); o.Size > 0 && o.Size < least {
		return nil, fmt.Errorf("%w: a table and one partition need %d bytes, and it has %d", ErrFull, least, o.Size)
	}
	return d, nil
}

// check holds the options against their rules.
func (w *Writer) check(guid GUID) (err error) {
	switch {
	case w.table < GPT || w.table > Hybrid:
		return fmt.Errorf("%v is no kind of partition table", w.table)
	case w.sector != 512 && w.sector != 4096:
		return fmt.Errorf("sectors of %d bytes, not of 512 or 4096", w.sector)
	case w.align < w.sector || w.align > MaxAlign || w.align&(w.align-1) != 0:
		return fmt.Errorf("alignment %d is not a power of two from %d to %d", w.align, w.sector, MaxAlign)
	case w.size < 0 || w.size > maxSize || w.size%w.sector != 0:
		return fmt.Errorf("size %d is not a multiple of %d up to %d", w.size, w.sector, int64(maxSize))
	case w.table == MBR && w.signature == 0:
		return errors.New("an MBR has a signature that is not zero")
	case w.table != MBR:
		w.guid, err = guid.encode()
	}
	return err
}

func (w *Writer) up(n int64) int64   { return (n + w.align - 1) / w.align * w.align }
func (w *Writer) down(n int64) int64 { return n / w.align * w.align }

// tail is how many bytes a table takes at the end of the disk.
func (w *Writer) tail() int64 {
	if w.table == MBR {
		return 0
	}
	return entriesSize + w.sector
}

// last is where content ends at the latest.
func (w *Writer) last() int64 {
	if w.size == 0 {
		return maxSize
	}
	return w.size - w.tail()
}

// backup is the table at the end of a disk of known size.
func (w *Writer) backup() Region {
	return Region{Kind: KindBackup, Start: w.size - w.tail(), End: w.size}
}

// overlap returns an [OverlapError] if r takes the place of something.
func (w *Writer) overlap(r Region) error {
	for _, old := range w.taken {
		if r.Start < old.End && old.Start < r.End {
			return &OverlapError{r, old}
		}
	}
	return nil
}

// behind returns what comes first of what was added behind a place, nil for nothing.
func (w *Writer) behind(off int64) (first *Region) {
	for _, r := range w.taken {
		if r.Start > off && (first == nil || r.Start < first.Start) {
			first = &r
		}
	}
	return first
}

// Room returns how many bytes from an offset on are free: up to what was added behind
// it, the table, or the end of the disk.
func (w *Writer) Room(off int64) int64 {
	end := w.last()
	if r := w.behind(off); r != nil {
		end = min(end, r.Start)
	}
	return max(0, end-off)
}

// AddRaw adds content with a place of its own. It comes before all partitions.
func (w *Writer) AddRaw(r Raw) (*Section, error) {
	if w.err != nil {
		return nil, w.err
	}
	s, err := w.addRaw(r)
	w.err = err
	return s, err
}

func (w *Writer) addRaw(r Raw) (*Section, error) {
	at := Region{Kind: KindRaw, Name: r.Name, Start: r.Offset}
	switch {
	case len(w.parts) > 0:
		return nil, fmt.Errorf("%v comes after a partition", at)
	case r.Offset < 0 || r.Size <= 0 || r.Offset > maxSize || r.Size > maxSize:
		return nil, fmt.Errorf("%v: %d bytes at %d", at, r.Size, r.Offset)
	}
	at.End = at.Start + r.Size
	if err := w.overlap(at); err != nil {
		return nil, err
	}
	switch {
	case w.size > 0 && at.End > w.size:
		return nil, fmt.Errorf("%v: %w: it goes to %d, and the disk to %d", at, ErrFull, at.End, w.size)
	case at.End > w.last():
		return nil, &OverlapError{at, w.backup()}
	}
	w.taken = append(w.taken, at)
	return &Section{disk: w, at: at, limit: r.Size}, nil
}

// Add begins the next partition. The one before must have a size, or have been
// ended.
func (w *Writer) Add(p Partition) (*Section, error) {
	if w.err != nil {
		return nil, w.err
	}
	s, err := w.add(&p)
	if overlap := (*OverlapError)(nil); err != nil && !errors.As(err, &overlap) {
		err = fmt.Errorf("%v: %w", Region{Kind: KindPartition, Name: p.Name}, err)
	}
	w.err = err
	return s, err
}

func (w *Writer) add(p *Partition) (*Section, error) {
	if w.open != nil {
		return nil, errors.New("the partition before it has no end yet")
	}
	q, err := w.describe(p)
	if err != nil {
		return nil, err
	}
	s, err := w.place(p, q)
	if err != nil {
		return nil, err
	}
	w.parts = append(w.parts, q)
	w.open = s
	if p.Size > 0 {
		s.end(p.Size)
	}
	return s, nil
}

// describe makes what the table says of a partition, but for its place.
func (w *Writer) describe(p *Partition) (*part, error) {
	q := &part{Region: Region{Kind: KindPartition, Name: p.Name, Number: p.Number, Type: p.Type}, attributes: p.Attributes}
	most := MaxPartitions
	if w.table == MBR {
		most = mbrSlots
	}
	taken := func(n int) bool { return slices.ContainsFunc(w.parts, func(o *part) bool { return o.Number == n }) }
	for q.Number == 0 || p.Number == 0 && q.Number <= most && taken(q.Number) {
		q.Number++
	}
	name := utf16.Encode([]rune(p.Name))
	copy(q.name[:], name)
	switch {
	case len(w.parts) == most:
		return nil, fmt.Errorf("a partition table of this kind has %d partitions", most)
	case q.Number < 1 || q.Number > most || taken(q.Number):
		return nil, fmt.Errorf("number %d is taken or not from 1 to %d", q.Number, most)
	case !utf8.ValidString(p.Name) || len(name) > MaxName:
		return nil, fmt.Errorf("the name is not up to %d units of UTF-16", MaxName)
	}
	if w.table != MBR {
		var err error
		if q.kind, err = p.Type.encode(); err != nil {
			return nil, err
		}
		if q.guid, err = p.GUID.encode(); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(w.parts, func(o *part) bool { return o.guid == q.guid }) {
			return nil, fmt.Errorf("GUID %s is another partition's", p.GUID)
		}
	}
	return q, w.describeMBR(p, q)
}

// place finds a place for a partition.
func (w *Writer) place(p *Partition, q *part) (*Section, error) {
	switch {
	case p.Start < 0 || p.Start > maxSize || p.Start%w.sector != 0:
		return nil, fmt.Errorf("start %d is not a multiple of %d", p.Start, w.sector)
	case p.Size < 0:
		return nil, fmt.Errorf("size %d is negative", p.Size)
	case p.Size > maxSize:
		return nil, fmt.Errorf("%w: no disk has %d bytes", ErrFull, p.Size)
	}
	q.Start = p.Start
	if p.Start == 0 {
		q.Start = w.up(w.next)
	}
	q.End = q.Start + max(p.Size, 1)
	if err := w.overlap(q.Region); err != nil {
		return nil, err
	}
	s := &Section{disk: w, part: q, at: q.Region}
	last, where := w.last(), "the disk"
	if reach := MBRReach * w.sector; q.MBRType != 0 && reach < last {
		last, where = reach, "what an MBR reaches"
	}
	if t := w.behind(q.Start); t != nil && t.Start < last {
		last, s.before = t.Start, t
	}
	s.limit = w.down(last) - q.Start
	switch {
	case s.limit > 0 && p.Size <= s.limit:
		return s, nil
	case s.before != nil: // it ends before that, but not its alignment
		q.End = w.up(q.End)
		return nil, &OverlapError{q.Region, *s.before}
	}
	return nil, fmt.Errorf("%w: %d bytes are left of %s, and it needs %d", ErrFull, max(0, s.limit), where, max(p.Size, 1))
}

// Size returns the length of the disk in bytes. After Close it is that of the image,
// which the caller makes so long: not every table has something at the end. It is
// 0 before, if [Options] had none.
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
		w.open.end(w.open.limit)
	}
	if w.size == 0 {
		end := w.taken[0].End + w.sector // a GPT without one sector is none
		for _, r := range w.taken {
			end = max(end, r.End)
		}
		w.size = w.up(end + w.tail())
	}
	err := w.writeTable()
	if w.err = err; err == nil {
		w.err = fs.ErrClosed
	}
	return err
}

// writeTable writes all of the table, the first sector last.
func (w *Writer) writeTable() error {
	if w.table != MBR {
		if err := w.writeGPT(); err != nil {
			return err
		}
	}
	return w.writeMBR()
}
