package disk

import (
	"fmt"
	"io/fs"
	"math"
)

// Section is the place of a partition or of raw content, from 0 to its size.
type Section struct {
	disk   *Writer
	at     Region
	part   *part   // of a partition
	limit  int64   // bytes that may be written
	before *Region // what follows it, where that is why there are no more
}

// Start returns where on the disk the place begins, in bytes.
func (s *Section) Start() int64 { return s.at.Start }

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
		return 0, s.full(fmt.Sprintf("goes to %d or beyond", addCapped(off, len(p))))
	}
	return s.disk.out.WriteAt(p, s.at.Start+off)
}

// full is the error of content that does not fit.
func (s *Section) full(content string) error {
	until := ""
	if s.before != nil {
		until = fmt.Sprintf(" until %v", *s.before)
	}
	return fmt.Errorf("%v: %w: the content %s, and it has %d bytes%s", s.at, ErrFull, content, s.limit, until)
}

func addCapped(off int64, n int) int64 {
	if off > math.MaxInt64-int64(n) {
		return math.MaxInt64
	}
	return off + int64(n)
}

// End says that the content has size bytes. That ends a partition that has no
// size yet, at the next multiple of the alignment.
func (s *Section) End(size int64) error {
	switch {
	case s.disk.err != nil:
		return s.disk.err
	case size < 0 || size > s.limit:
		s.disk.err = s.full(fmt.Sprintf("has %d bytes", size))
	case s.disk.open == s:
		s.end(max(size, 1))
	}
	return s.disk.err
}

// end ends the partition, which has room up to a multiple of the alignment.
func (s *Section) end(size int64) {
	w := s.disk
	s.at.End = w.up(s.at.Start + size)
	s.limit = s.at.End - s.at.Start
	s.part.Region, s.before = s.at, nil
	w.taken = append(w.taken, s.at)
	w.next = s.at.End
	w.open = nil
}
