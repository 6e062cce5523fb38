package xz

import (
	"fmt"
	"io"
)

// This file reads .lz, the format of lzip: members of a header, LZMA with an
// end marker, and a trailer (the chapter "File format" of lzip's manual).

const (
	lzipMagic       = "LZIP"
	lzipHeaderSize  = 6  // magic, version, size of the dictionary
	lzipTrailerSize = 20 // CRC32, size of the output, size of the member
)

// lzipProperties are the same in every file.
var lzipProperties = properties{lc: 3, lp: 0, pb: 2}

func (z *Reader) lzipStart() (stateFn, error) {
	head := z.scratch[:lzipHeaderSize]
	z.begin = z.bare.offset()
	if err := z.bare.take(head); err != nil {
		return nil, err
	}
	switch {
	case string(head[:4]) != lzipMagic:
		return nil, z.bare.corrupt("not an .lz member")
	case head[4] != 1:
		return nil, &UnsupportedError{Feature: fmt.Sprintf("version %d of .lz", head[4])}
	}
	dict, ok := lzipDict(head[5])
	if !ok {
		return nil, z.bare.corrupt("invalid dictionary size")
	}
	if err := z.checker.reset(checkCRC32, z.config.SkipCheck); err != nil {
		return nil, err
	}
	return (*Reader).lzipBody, z.bareStart(lzipProperties, dict, unlimited)
}

// lzipDict is the size of the dictionary that b means: a power of two in the
// low 5 bits, less as many sixteenths of it as the high 3 bits say.
func lzipDict(b byte) (int64, bool) {
	size := int64(1) << (b & 0x1f)
	size -= size / 16 * int64(b>>5)
	return size, size >= 1<<12 && size <= 1<<29
}

func (z *Reader) lzipBody() (stateFn, error) {
	done, err := z.bareBody()
	if done {
		return (*Reader).lzipEnd, err
	}
	return (*Reader).lzipBody, err
}

func (z *Reader) lzipEnd() (stateFn, error) {
	tail := z.scratch[:lzipTrailerSize]
	if err := z.bare.take(tail); err != nil {
		return nil, err
	}
	switch {
	case !z.checker.matches(tail[:4]):
		return nil, z.bare.corrupt("wrong CRC32 of a member")
	case int64(le.Uint64(tail[4:])) != z.output || int64(le.Uint64(tail[12:])) != z.bare.offset()-z.begin:
		return nil, z.bare.corrupt("member does not have the size that its trailer says")
	}
	if end, err := z.bare.atEnd(); err != nil {
		return nil, err
	} else if end {
		return nil, io.EOF
	}
	return (*Reader).lzipStart, nil
}
