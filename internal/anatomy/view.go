package anatomy

import (
	"encoding/binary"
	"io"
	"math/bits"
)

const (
	pageSize = 4096
	pages    = 512

	// maxWork bounds all reads of one answer together: a read of what is in
	// memory counts 1 and a little for each byte, and one of a page that is not counts
	// pageWork.
	maxWork  = 48 << 20
	pageWork = 16

	// maxFiles is how many files, or directories, are remembered at once.
	maxFiles = 1 << 20

	// maxRead is the length of the longest read.
	maxRead = 2 << 20
)

// source reads an image by pages, of which it keeps some, until its work is done.
type source struct {
	r    io.ReaderAt
	work *int64 // shared with the sources of images within the image
	page [pages]struct {
		number int64 // counted from 1; 0 is none
		data   []byte
	}
}

// read fills b with what is at an offset, and with zeros where nothing can be read.
func (s *source) read(b []byte, off int64) {
	for len(b) > 0 {
		n := copy(b, s.load(off / pageSize)[off%pageSize:])
		b, off = b[n:], off+int64(n)
	}
}

// zeros is what there is where nothing is read.
var zeros [pageSize]byte

// load returns a page.
func (s *source) load(number int64) []byte {
	p := &s.page[number%pages]
	if p.number == number+1 {
		return p.data
	}
	if *s.work -= pageWork; *s.work < 0 {
		return zeros[:]
	}
	if p.data == nil {
		p.data = make([]byte, pageSize)
	}
	p.number = number + 1
	n, _ := s.r.ReadAt(p.data, number*pageSize)
	clear(p.data[min(max(n, 0), pageSize):])
	return p.data
}

// view is a part of an image. Beyond its ends it is all zeros.
type view struct {
	src        *source
	base, size int64
	depth      int // how many images it lies within
}

// spent tells whether the work is done, so that all reads give zeros. To ask is work,
// too: each loop that may be long comes to an end if it asks.
func (v view) spent() bool {
	*v.src.work--
	return *v.src.work < 0
}

// part returns a view of a part.
func (v view) part(off, size int64) view {
	if off < 0 || off > v.size {
		off = v.size
	}
	v.base += off
	v.size = min(max(size, 0), v.size-off)
	return v
}

// within returns a view of a disk whose blocks lie somewhere in v.
func (v view) within(r io.ReaderAt, size int64) view {
	return view{src: &source{r: r, work: v.src.work}, size: max(size, 0), depth: v.depth}
}

// fill reads what is at an offset.
func (v view) fill(b []byte, off int64) {
	*v.src.work -= int64(len(b)) / 64
	if !v.spent() && off >= 0 && off < v.size {
		v.src.read(b[:min(int64(len(b)), v.size-off)], v.base+off)
	}
}

// bytes reads n bytes, at most maxRead.
func (v view) bytes(off, n int64) []byte {
	b := make([]byte, min(max(n, 0), maxRead))
	v.fill(b, off)
	return b
}

// has tells whether a magic number is at an offset.
func (v view) has(off int64, magic string) bool {
	return string(v.bytes(off, int64(len(magic)))) == magic
}

// number reads a little-endian number of so many bytes.
func (v view) number(off int64, bytes int) int64 {
	var b [8]byte
	v.fill(b[:bytes], off)
	return int64(binary.LittleEndian.Uint64(b[:]))
}

func (v view) u8(off int64) int64  { return v.number(off, 1) }
func (v view) u16(off int64) int64 { return v.number(off, 2) }
func (v view) u32(off int64) int64 { return v.number(off, 4) }
func (v view) u64(off int64) int64 { return v.number(off, 8) }

// big32 and big64 read big-endian numbers.
func (v view) big32(off int64) int64 { return int64(bits.ReverseBytes32(uint32(v.u32(off)))) }
func (v view) big64(off int64) int64 { return int64(bits.ReverseBytes64(uint64(v.u64(off)))) }

func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
