// Package zstdframe encodes blocks of data, each on its own, as frames of zstd (RFC
// 8878).
//
// It is for file systems that pack blocks of at most a MiB, whatever comes before
// or after them: all memory and all of the search are for what is in one block. A
// frame has its content's size in its header, is its own window, and has no
// checksum. It is determined by the content and the strength alone.
//
// On its way, content becomes sequences of literals and matches, by a fast or a
// thorough search. These are cut into blocks where their statistics change, and each
// block is encoded with the tables that make it shortest.
//
// Comments name the sections of RFC 8878.
package zstdframe

import "github.com/klauspost/compress/huff0"

// MaxSize is how many bytes a frame has at most.
const MaxSize = 1 << 20

// An Encoder encodes one frame after the other, and keeps its memory for the next.
// The zero value is ready for use. It serves one goroutine at a time.
type Encoder struct {
	// Fast is for a quick search for matches, not a thorough one.
	Fast bool

	optimizer
	seqs []sequence // of the block at hand
	kept []byte     // its literals
	sums *[mostPieces + 1]sum
	cuts []int

	// What the decoder knows of the blocks before.
	known      recent
	huffman    huff0.Scratch
	hasHuffman bool // the decoder has the table that huffman has
	literal    field
	offset     field
	match      field
	values     []uint32 // that stand for the distances of the block at hand
}

// Append appends src as a frame, or as several if it is longer than MaxSize, and
// returns the extended dst.
func (e *Encoder) Append(dst, src []byte) []byte {
	for len(src) > MaxSize {
		dst = e.frame(dst, src[:MaxSize])
		src = src[MaxSize:]
	}
	return e.frame(dst, src)
}

// frame appends a frame (section 3.1.1).
func (e *Encoder) frame(dst, src []byte) []byte {
	const (
		magic         = 0xfd2fb528
		singleSegment = 1 << 5
	)
	dst = le.AppendUint32(dst, magic)
	switch n := len(src); {
	case n < 1<<8:
		dst = append(dst, singleSegment, uint8(n))
	case n < 1<<16+1<<8:
		dst = le.AppendUint16(append(dst, singleSegment|1<<6), uint16(n-1<<8))
	default:
		dst = le.AppendUint32(append(dst, singleSegment|2<<6), uint32(n))
	}
	e.known, e.hasHuffman = firstRecent, false
	e.literal.fixed, e.literal.most, e.literal.repeat = literalFixed, 9, false
	e.offset.fixed, e.offset.most, e.offset.repeat = offsetFixed, 8, false
	e.match.fixed, e.match.most, e.match.repeat = matchFixed, 9, false
	e.begin(src, e.Fast)
	for start := 0; ; start += maxBlock {
		end := min(start+maxBlock, len(src))
		e.parse(start, end)
		dst = e.blocks(dst, src[start:end], end == len(src), start == 0)
		if end == len(src) {
			return dst
		}
	}
}

// blocks appends a block, or the blocks that it is better cut into.
func (e *Encoder) blocks(dst, src []byte, last, first bool) []byte {
	seqs, done := e.seqs, 0
	for _, cut := range e.split(src, seqs) {
		part := seqs[done:cut]
		size := 0
		for _, s := range part {
			size += int(s.literals + s.length)
		}
		if done = cut; done == len(seqs) {
			size = len(src)
		}
		dst = e.block(dst, src[:size], part, last && done == len(seqs), first)
		src, first = src[size:], false
	}
	return dst
}

// parse makes sequences of the block from start to end.
func (e *Encoder) parse(start, end int) {
	e.seqs = e.seqs[:0]
	if e.Fast {
		e.parseFast(start, end)
	} else {
		e.parseOptimally(start, end)
	}
}

// maxBlock is how many bytes a block has at most.
const maxBlock = 128 << 10

// Kinds of blocks (section 3.1.1.2.2).
const (
	blockRaw = iota
	blockSingle
	blockCompressed
)

// block appends the block that src and its sequences are (section 3.1.1.2).
func (e *Encoder) block(dst, src []byte, seqs []sequence, last, first bool) []byte {
	header := len(dst)
	dst = append(dst, 0, 0, 0)
	kind, size := blockCompressed, 0
	before := e.known
	body, ok := e.compressed(dst, src, seqs)
	switch size = len(body) - len(dst); {
	case !first && len(seqs) <= 1 && isSingle(src):
		// The zstd tool up to version 1.4.3 takes no such block for the first.
		kind, size = blockSingle, len(src)
		body = append(dst, src[0])
		e.forget(before)
	case !ok || size >= len(src):
		kind, size = blockRaw, len(src)
		body = append(dst, src...)
		e.forget(before)
	}
	h := size<<3 | kind<<1
	if last {
		h |= 1
	}
	body[header], body[header+1], body[header+2] = uint8(h), uint8(h>>8), uint8(h>>16)
	return body
}

// forget undoes what a block that is not sent has changed. No table is repeated
// behind it.
func (e *Encoder) forget(before recent) {
	e.known, e.hasHuffman = before, false
	e.literal.repeat, e.offset.repeat, e.match.repeat = false, false, false
}

// compressed appends both sections of a compressed block.
func (e *Encoder) compressed(dst, src []byte, seqs []sequence) ([]byte, bool) {
	kept := e.kept[:0]
	at := uint32(0)
	for _, s := range seqs {
		kept = append(kept, src[at:at+s.literals]...)
		at += s.literals + s.length
	}
	kept = append(kept, src[at:]...)
	e.kept = kept
	return e.appendSequences(e.appendLiterals(dst, kept), seqs)
}

// isSingle says whether there is but one byte, again and again.
func isSingle(src []byte) bool {
	for _, c := range src {
		if c != src[0] {
			return false
		}
	}
	return len(src) > 0
}
