package xz

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// This file reads the container, section by section of The .xz File Format.
// Each stateFn of Reader reads one part and returns the next.

var le = binary.LittleEndian

const (
	headerMagic = "\xfd7zXZ\x00"
	footerMagic = "YZ"
	headerSize  = 12      // of a stream header and a stream footer
	maxVLI      = 1 << 63 // variable-length integers are smaller
	filterLZMA2 = 0x21
)

// streamStart reads a stream header (section 2.1.1): magic, two bytes of
// flags, and their CRC32. The magic comes first, so that a wrong kind of file
// is called that and not cut off.
func (z *Reader) streamStart() (stateFn, error) {
	head := z.scratch[:headerSize]
	if err := z.src.full(head); err != nil {
		return nil, err
	}
	return z.streamHeader(head)
}

func (z *Reader) streamHeader(head []byte) (stateFn, error) {
	flags := head[6:8]
	switch {
	case string(head[:6]) != headerMagic:
		return nil, z.src.corrupt("not an .xz stream")
	case crc32.ChecksumIEEE(flags) != le.Uint32(head[8:]):
		return nil, z.src.corrupt("wrong CRC32 of a stream header")
	case flags[0] != 0 || flags[1] > 0xf:
		return nil, &UnsupportedError{Feature: fmt.Sprintf("stream flags 0x%x 0x%x", flags[0], flags[1])}
	}
	z.check = checkID(flags[1])
	z.blocks.reset()
	return (*Reader).blockStart, nil
}

// A blockHeader is what a block's header says (section 3.1). Sizes that it
// leaves out are unlimited.
type blockHeader struct {
	size   int64 // of the header
	packed int64 // of the LZMA2 data
	output int64
	dict   int64
}

// blockStart reads a block header, or finds that the index begins, which has a
// zero in the place of the header's size.
func (z *Reader) blockStart() (stateFn, error) {
	first, err := z.src.byte()
	if err != nil {
		return nil, err
	}
	if first == 0 {
		return (*Reader).index, nil
	}
	head := z.scratch[:(int(first)+1)*4]
	head[0] = first
	if err := z.src.full(head[1:]); err != nil {
		return nil, err
	}
	h, err := z.parseBlockHeader(head)
	if err != nil {
		return nil, err
	}
	if err := z.admit(h.dict, h.output); err != nil {
		return nil, err
	}
	z.block = h
	if z.aside(h) {
		return (*Reader).blockAside, nil
	}
	return (*Reader).blockBegin, nil
}

// parseBlockHeader reads the parts of a header: its size, flags, sizes that the
// flags announce, the filters, zeros, a CRC32 of all.
func (z *Reader) parseBlockHeader(head []byte) (blockHeader, error) {
	h := blockHeader{size: int64(len(head)), packed: unlimited, output: unlimited}
	body, sum := head[:len(head)-4], head[len(head)-4:]
	if crc32.ChecksumIEEE(body) != le.Uint32(sum) {
		return h, z.src.corrupt("wrong CRC32 of a block header")
	}
	flags, rest, ok := body[1], body[2:], true
	if flags&0x3c != 0 {
		return h, &UnsupportedError{Feature: fmt.Sprintf("block flags 0x%x", flags)}
	}
	vli := func() int64 {
		v, n := parseVLI(rest)
		ok = ok && n > 0
		rest = rest[n:]
		return v
	}
	if flags&0x40 != 0 {
		h.packed = vli()
		ok = ok && h.packed != 0 && h.packed <= maxVLI-1-int64(len(head))-maxCheckSize
	}
	if flags&0x80 != 0 {
		h.output = vli()
	}
	id, size := vli(), vli()
	switch {
	case !ok || size > int64(len(rest)):
		return h, z.src.corrupt("invalid block header")
	case id != filterLZMA2:
		return h, &UnsupportedError{Feature: fmt.Sprintf("filter 0x%x", id)}
	case flags&3 != 0:
		return h, z.src.corrupt("LZMA2 is not the last filter")
	case size != 1 || rest[0] > 40:
		return h, z.src.corrupt("invalid dictionary size")
	}
	h.dict, rest = dictSize(rest[0]), rest[1:]
	if len(bytes.Trim(rest, "\x00")) > 0 {
		return h, z.src.corrupt("block header is not padded with zeros")
	}
	return h, nil
}

// dictSize is the size of the dictionary that LZMA2's property b ≤ 40 means
// (section 5.3.1).
func dictSize(b byte) int64 {
	if b == 40 {
		return 1<<32 - 1
	}
	return int64(2|b&1) << (b/2 + 11)
}

// parseVLI reads a variable-length integer (section 1.2): seven bits a byte,
// the lowest first, in as few bytes as possible. It returns the number of
// bytes, 0 if the integer is invalid.
func parseVLI(p []byte) (int64, int) {
	v := int64(0)
	for i, b := range p[:min(len(p), 9)] {
		v |= int64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if b == 0 && i > 0 {
				return 0, 0
			}
			return v, i + 1
		}
	}
	return 0, 0
}

// blockBegin prepares for the content of a block.
func (z *Reader) blockBegin() (stateFn, error) {
	if z.deliver() {
		return (*Reader).blockBegin, nil // not before what was begun before
	}
	if err := z.checker.reset(z.check, z.config.SkipCheck); err != nil {
		return nil, err
	}
	z.lzma2.reset(z.block.dict, z.hint())
	z.begin = z.src.offset()
	z.output = 0
	return (*Reader).blockBody, nil
}

// blockBody decodes one chunk of a block.
func (z *Reader) blockBody() (stateFn, error) {
	out, err := z.lzma2.next(&z.src, limit{output: z.left, block: z.block.output - z.output})
	if err != nil {
		return nil, err
	}
	if out == nil {
		return (*Reader).blockEnd, nil
	}
	z.checker.write(out)
	z.output += int64(len(out))
	z.left -= int64(len(out))
	z.out = out
	return (*Reader).blockBody, nil
}

// blockEnd compares the sizes with the header's, and the check with the
// stored one, which follows after padding (sections 3.2 to 3.4).
func (z *Reader) blockEnd() (stateFn, error) {
	packed := z.src.offset() - z.begin
	if z.block.packed != unlimited && z.block.packed != packed ||
		z.block.output != unlimited && z.block.output != z.output {
		return nil, z.src.corrupt("block does not have the size that its header says")
	}
	z.block.packed, z.block.output = packed, z.output
	if err := endBlock(&z.src, &z.checker, packed, z.scratch[:]); err != nil {
		return nil, err
	}
	return z.blockDone()
}

// endBlock reads the padding and the check of a block of packed bytes.
func endBlock(src *source, c *checker, packed int64, scratch []byte) error {
	padding := int(-packed & 3)
	tail := scratch[:padding+c.id.size()]
	if err := src.full(tail); err != nil {
		return err
	}
	if len(bytes.Trim(tail[:padding], "\x00")) > 0 {
		return src.corrupt("block is not padded with zeros")
	}
	if !c.matches(tail[padding:]) {
		return src.corrupt("wrong check of a block")
	}
	return nil
}

// blockDone notes the block's sizes, for comparison with the index.
func (z *Reader) blockDone() (stateFn, error) {
	z.blocks.add(z.block.size+z.block.packed+int64(z.check.size()), z.block.output)
	return (*Reader).blockStart, nil
}

// index reads the index after its first byte (section 4): the number of
// blocks, each one's two sizes, zeros up to a multiple of four bytes, a CRC32.
func (z *Reader) index() (stateFn, error) {
	x := indexReader{src: &z.src, buf: z.scratch[:0]}
	x.buf = append(x.buf, 0)
	count, err := x.vli()
	if err != nil {
		return nil, err
	}
	if count != z.blocks.count {
		return nil, z.src.corrupt("index has another number of blocks")
	}
	z.listed.reset()
	for range count {
		size, err := x.vli()
		if err != nil {
			return nil, err
		}
		output, err := x.vli()
		if err != nil {
			return nil, err
		}
		z.listed.add(size, output)
	}
	if !z.listed.equal(&z.blocks) {
		return nil, z.src.corrupt("index has other sizes than the blocks")
	}
	for x.size()%4 != 0 {
		if b, err := x.byte(); err != nil {
			return nil, err
		} else if b != 0 {
			return nil, z.src.corrupt("index is not padded with zeros")
		}
	}
	want := x.sum()
	tail := z.scratch[:4]
	if err := z.src.full(tail); err != nil {
		return nil, err
	}
	if le.Uint32(tail) != want {
		return nil, z.src.corrupt("wrong CRC32 of the index")
	}
	z.indexSize = x.size() + 4
	return (*Reader).footer, nil
}

// An indexReader reads the bytes of an index and sums them up.
type indexReader struct {
	src  *source
	buf  []byte // read, not yet part of crc
	crc  uint32
	done int64 // how many bytes crc covers
}

func (x *indexReader) size() int64 { return x.done + int64(len(x.buf)) }

func (x *indexReader) sum() uint32 {
	x.crc = crc32.Update(x.crc, crc32.IEEETable, x.buf)
	x.done += int64(len(x.buf))
	x.buf = x.buf[:0]
	return x.crc
}

func (x *indexReader) byte() (byte, error) {
	b, err := x.src.byte()
	if err != nil {
		return 0, err
	}
	if len(x.buf) == cap(x.buf) {
		x.sum()
	}
	x.buf = append(x.buf, b)
	return b, nil
}

func (x *indexReader) vli() (int64, error) {
	var p [9]byte
	for i := range p {
		b, err := x.byte()
		if err != nil {
			return 0, err
		}
		p[i] = b
		if b < 0x80 {
			if v, n := parseVLI(p[:i+1]); n > 0 {
				return v, nil
			}
			break
		}
	}
	return 0, x.src.corrupt("invalid number in the index")
}

// footer reads a stream footer (section 2.1.2): a CRC32 of what follows, the
// size of the index, the header's flags again, magic.
func (z *Reader) footer() (stateFn, error) {
	foot := z.scratch[:headerSize]
	if err := z.src.full(foot); err != nil {
		return nil, err
	}
	switch {
	case string(foot[10:]) != footerMagic:
		return nil, z.src.corrupt("wrong magic of a stream footer")
	case crc32.ChecksumIEEE(foot[4:10]) != le.Uint32(foot):
		return nil, z.src.corrupt("wrong CRC32 of a stream footer")
	case foot[8] != 0 || foot[9] != byte(z.check):
		return nil, z.src.corrupt("stream footer and header differ")
	case (int64(le.Uint32(foot[4:]))+1)*4 != z.indexSize:
		return nil, z.src.corrupt("stream footer has another size of the index")
	}
	return (*Reader).padding, nil
}

// padding skips zeros between streams, in fours (section 2.2), up to the next
// stream or the end.
func (z *Reader) padding() (stateFn, error) {
	word := z.scratch[:4]
	for {
		if end, err := z.src.atEnd(); err != nil {
			return nil, err
		} else if end {
			return nil, io.EOF
		}
		if err := z.src.full(word); err != nil {
			return nil, err
		}
		if le.Uint32(word) != 0 {
			head := z.scratch[:headerSize]
			if err := z.src.full(head[4:]); err != nil {
				return nil, err
			}
			return z.streamHeader(head)
		}
	}
}

// records sums up the sizes of blocks, in constant memory.
type records struct {
	count int64
	hash  hash.Hash
	buf   [16]byte
	sums  [2][]byte
}

func (r *records) reset() {
	r.count = 0
	if r.hash == nil {
		r.hash = sha256.New()
	}
	r.hash.Reset()
}

// add takes a block's size without padding, and that of its output.
func (r *records) add(size, output int64) {
	r.count++
	le.PutUint64(r.buf[:], uint64(size))
	le.PutUint64(r.buf[8:], uint64(output))
	r.hash.Write(r.buf[:])
}

func (r *records) equal(s *records) bool {
	r.sums[0] = r.hash.Sum(r.sums[0][:0])
	r.sums[1] = s.hash.Sum(r.sums[1][:0])
	return bytes.Equal(r.sums[0], r.sums[1])
}
