package raw

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
)

// A Layout is how a format places the blocks of a disk in a file: one behind the
// other, in the order in which they are first written.
type Layout struct {
	Format  string // what errors begin with
	MaxSize int64  // of a disk, in bytes; nothing is written beyond it
	Block   int64  // size of a block in bytes
	First   int64  // where the first one is in the file
	Stride  int64  // from one to the next; 0 means that nothing is between them
	// Finish writes what the file has besides the blocks, when the size of the
	// disk is known, a multiple of [SectorSize]. It returns the size of the
	// file.
	Finish func(m *Map, size int64) (int64, error)
}

// A Writer writes a disk, from its content in any order, straight to the file of a
// format, which is empty or all zeros. How large the disk is, it need not know until
// the end.
//
// A block is given a place when something that is not all zeros is first written to
// it, and keeps that. The bytes of the file depend on the content, on the order
// in which blocks get their places, and on the format's options alone. There is one
// call at a time. After an error, all calls return it.
//
// In memory there are 4 bytes for each block of the disk, but for stretches of 8192
// blocks without any that has a place.
type Writer struct {
	layout Layout
	w      io.WriterAt
	blocks Map
	high   int64 // how far the file has been written to
	size   int64
	err    error // sticky
}

// NewWriter returns a Writer to w. It is for packages of formats.
func NewWriter(w io.WriterAt, l Layout) *Writer {
	if l.Stride == 0 {
		l.Stride = l.Block
	}
	return &Writer{layout: l, w: w, blocks: Map{first: l.First, stride: l.Stride}}
}

var errClosed = errors.New("the writer is closed")

// fail makes an error sticky.
func (w *Writer) fail(err error) error {
	w.err = fmt.Errorf("%s: %w", w.layout.Format, err)
	return w.err
}

// WriteAt implements [io.WriterAt].
func (w *Writer) WriteAt(p []byte, off int64) (n int, err error) {
	if w.err == nil && (off < 0 || int64(len(p)) > w.layout.MaxSize-off) {
		w.fail(fmt.Errorf("%d bytes at %d: a disk has up to %d", len(p), off, w.layout.MaxSize))
	}
	for w.err == nil && n < len(p) {
		block, within := (off+int64(n))/w.layout.Block, (off+int64(n))%w.layout.Block
		part := p[n:]
		part = part[:min(int64(len(part)), w.layout.Block-within)]
		place, ok := w.blocks.find(block)
		if !ok {
			if allZero(part) {
				n += len(part)
				continue
			}
			if place, err = w.blocks.add(block); err != nil {
				w.fail(err)
				break
			}
		}
		k, err := w.w.WriteAt(part, place+within)
		if err != nil {
			w.fail(err)
		}
		n += k
		w.high = max(w.high, place+within+int64(k))
	}
	return n, w.err
}

// Close makes it a disk of size bytes, up to the next multiple of [SectorSize]. What
// was written beyond is not part of it; there, zeros have to be the last that was
// written.
func (w *Writer) Close(size int64) error {
	if w.err != nil {
		return w.err
	}
	if err := w.close(size); err != nil {
		return w.fail(err)
	}
	w.fail(errClosed)
	return nil
}

func (w *Writer) close(size int64) error {
	if size <= 0 || size > w.layout.MaxSize {
		return fmt.Errorf("a disk of %d bytes: it has 1 to %d", size, w.layout.MaxSize)
	}
	// The last block is whole, also where nothing but tables is written later.
	if end := w.blocks.End() - w.layout.Stride + w.layout.Block; w.blocks.n > 0 && w.high < end {
		if _, err := w.w.WriteAt([]byte{0}, end-1); err != nil {
			return err
		}
	}
	var err error
	w.size, err = w.layout.Finish(&w.blocks, (size+SectorSize-1)/SectorSize*SectorSize)
	return err
}

// Size returns the size of the file, once Close has returned.
func (w *Writer) Size() int64 { return w.size }

// Copy writes the disk that the first size bytes of r are, and closes it. Blocks are
// in the file in their order.
func (w *Writer) Copy(r io.ReaderAt, size int64) error {
	if size > w.layout.MaxSize {
		return w.fail(fmt.Errorf("a disk of %d bytes: it has up to %d", size, w.layout.MaxSize))
	}
	m, err := New(r, size)
	if err != nil {
		return w.fail(err)
	}
	for b, err := range m.Blocks(int(w.layout.Block), nil) {
		if err != nil {
			return w.fail(err)
		}
		off := b.Index * w.layout.Block
		if _, err := w.WriteAt(b.Data[:min(w.layout.Block, m.Size()-off)], off); err != nil {
			return err
		}
	}
	return w.Close(m.Size())
}

// A Map is where the blocks of a disk are in a file.
type Map struct {
	first, stride int64
	pages         []*page
	n             int64
}

// A page has the places of blocks in a row: their numbers in the file, from 1 on.
type page [1 << 13]uint32

func (m *Map) find(block int64) (place int64, ok bool) {
	if p := block / int64(len(page{})); p < int64(len(m.pages)) && m.pages[p] != nil {
		if n := m.pages[p][block%int64(len(page{}))]; n > 0 {
			return m.first + int64(n-1)*m.stride, true
		}
	}
	return 0, false
}

// add gives a block that has none the next place.
func (m *Map) add(block int64) (place int64, err error) {
	if m.n == math.MaxUint32 {
		return 0, fmt.Errorf("more than %d blocks", m.n)
	}
	p := int(block / int64(len(page{})))
	if more := p + 1 - len(m.pages); more > 0 {
		m.pages = append(m.pages, make([]*page, more)...)
	}
	if m.pages[p] == nil {
		m.pages[p] = new(page)
	}
	place = m.End()
	m.n++
	m.pages[p][block%int64(len(page{}))] = uint32(m.n)
	return place, nil
}

// Len returns how many blocks have a place.
func (m *Map) Len() int64 { return m.n }

// End returns where the next block would be.
func (m *Map) End() int64 { return m.first + m.n*m.stride }

// All returns the blocks that have a place in their order on the disk, also those
// beyond its end, counted in blocks, and their places in bytes.
func (m *Map) All() iter.Seq2[int64, int64] {
	return func(yield func(block, place int64) bool) {
		for i, p := range m.pages {
			if p == nil {
				continue
			}
			for j, n := range p {
				if n > 0 && !yield(int64(i)*int64(len(p))+int64(j), m.first+int64(n-1)*m.stride) {
					return
				}
			}
		}
	}
}
