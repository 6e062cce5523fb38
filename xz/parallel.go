package xz

import (
	"io"
	"slices"
	"sync/atomic"
)

// This file decodes blocks side by side. The Reader reads the coded bytes of
// whole blocks ahead, in the goroutine of its caller; a goroutine for each
// block decodes it into memory; the Reader hands the output out in order.

// A job is one block.
type job struct {
	header blockHeader
	src    source // all of the block after its header
	lzma2  lzma2Decoder
	check  checker
	tail   [3 + maxCheckSize]byte
	err    error
}

// aside reports whether a block is to be decoded aside.
func (z *Reader) aside(h blockHeader) bool {
	return z.config.Workers > 1 && h.packed <= z.config.MaxBlock && h.output <= z.config.MaxBlock
}

// blockAside reads a block and starts its job, when there is room for it.
// Meanwhile it delivers.
func (z *Reader) blockAside() (stateFn, error) {
	if z.crew.Len() > 0 && (z.crew.Len() >= z.config.Blocks || z.crew.Ready()) {
		z.deliver()
		return (*Reader).blockAside, nil
	}
	j := z.crew.Job()
	j.header = z.block
	if err := j.check.reset(z.check, z.config.SkipCheck); err != nil {
		return nil, err
	}
	size := z.block.packed + -z.block.packed&3 + int64(z.check.size())
	if err := j.read(&z.src, size); err != nil {
		return nil, err
	}
	z.left -= z.block.output
	own := z.config.Workers
	if z.config.Spare != nil {
		own = 1
	}
	z.crew.Set(own, z.config.Spare)
	z.crew.Begin(j, (*job).decode)
	return z.blockDone()
}

// deliver waits for the first job and hands out its output or its error. It
// returns false if there is no job.
func (z *Reader) deliver() bool {
	j := z.crew.Next()
	if j == nil {
		return false
	}
	if j.err != nil {
		z.err = j.err
		z.crew.Stop()
		return true
	}
	z.out = j.lzma2.buf[:j.lzma2.pos]
	return true
}

// read reads size bytes of src into the job's own source. The memory grows
// with what is really there.
func (j *job) read(src *source, size int64) error {
	buf := j.src.buf[:0]
	for int64(len(buf)) < size {
		n := int(min(size-int64(len(buf)), int64(max(len(buf), 1<<20))))
		buf = slices.Grow(buf, n)
		at := len(buf)
		buf = buf[:at+n]
		if err := src.full(buf[at:]); err != nil {
			return err
		}
	}
	j.src = source{buf: buf, n: len(buf), off: src.offset()}
	return nil
}

// decode decodes the block and verifies it.
func (j *job) decode(quit *atomic.Bool) { j.err = j.decoded(quit) }

func (j *job) decoded(quit *atomic.Bool) error {
	j.lzma2.reset(j.header.dict, 0)
	if need := int(j.header.output) + copySlack; len(j.lzma2.buf) < need {
		j.lzma2.grow(need)
	}
	begin := j.src.offset()
	for {
		if quit.Load() {
			return errClosed
		}
		left := j.header.output - int64(j.lzma2.pos)
		out, err := j.lzma2.next(&j.src, limit{output: unlimited, block: left})
		switch {
		case err == io.ErrUnexpectedEOF:
			return j.src.corrupt("block is larger than its header says")
		case err != nil:
			return err
		case out != nil:
			j.check.write(out)
			continue
		}
		if left > 0 || j.src.offset()-begin != j.header.packed {
			return j.src.corrupt("block does not have the size that its header says")
		}
		return endBlock(&j.src, &j.check, j.header.packed, j.tail[:])
	}
}
