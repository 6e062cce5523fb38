package xz

import (
	"io"
	"slices"
	"sync/atomic"
)

// This file decodes blocks side by side. The Reader reads the coded bytes of
// whole blocks ahead, in the goroutine of its caller; a goroutine for each
// block decodes it into memory; the Reader hands the output out in order.

// A crew is the blocks that are being decoded aside.
type crew struct {
	queue []*job        // in the input's order
	given *job          // whose output is being read
	spare []*job        // done with, kept for their memory
	slots chan struct{} // holds one element for each goroutine at work, but those of Config.Spare
	quit  atomic.Bool   // tells goroutines to give up
}

// A job is one block.
type job struct {
	header blockHeader
	src    source // all of the block after its header
	lzma2  lzma2Decoder
	check  checker
	tail   [3 + maxCheckSize]byte
	err    error
	done   chan struct{} // closed when err and the output are there
}

// aside reports whether a block is to be decoded aside.
func (z *Reader) aside(h blockHeader) bool {
	return z.config.Workers > 1 && h.packed <= z.config.MaxBlock && h.output <= z.config.MaxBlock
}

// blockAside reads a block and starts its job, when there is room for it.
// Meanwhile it delivers.
func (z *Reader) blockAside() (stateFn, error) {
	z.crew.release()
	if len(z.crew.queue) > 0 && (len(z.crew.queue) >= z.config.Blocks || z.crew.queue[0].finished()) {
		z.deliver()
		return (*Reader).blockAside, nil
	}
	j := z.crew.job()
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
	if cap(z.crew.slots) != own {
		z.crew.slots = make(chan struct{}, own)
	}
	z.crew.start(j, z.config.Spare)
	return z.blockDone()
}

// deliver waits for the first job and hands out its output or its error. It
// returns false if there is no job.
func (z *Reader) deliver() bool {
	c := &z.crew
	if len(c.queue) == 0 {
		return false
	}
	j := c.queue[0]
	<-j.done
	c.queue = slices.Delete(c.queue, 0, 1)
	c.release()
	c.given = j
	if j.err != nil {
		z.err = j.err
		c.stop()
		return true
	}
	z.out = j.lzma2.buf[:j.lzma2.pos]
	return true
}

// release keeps the memory of the job whose output has been read.
func (c *crew) release() {
	if c.given != nil {
		c.spare = append(c.spare, c.given)
		c.given = nil
	}
}

// job returns a job to fill.
func (c *crew) job() *job {
	if n := len(c.spare); n > 0 {
		j := c.spare[n-1]
		c.spare = c.spare[:n-1]
		return j
	}
	return new(job)
}

// start decodes j in a goroutine, once there is a slot for it.
func (c *crew) start(j *job, spare func() (func(), bool)) {
	j.done = make(chan struct{})
	c.queue = append(c.queue, j)
	slots := c.slots
	go func() {
		release := turn(slots, spare)
		j.err = j.decode(&c.quit)
		release()
		close(j.done)
	}()
}

// turn waits for a slot, or takes a spare one.
func turn(slots chan struct{}, spare func() (func(), bool)) (release func()) {
	release = func() { <-slots }
	select {
	case slots <- struct{}{}:
		return release
	default:
	}
	if spare != nil {
		if release, ok := spare(); ok {
			return release
		}
	}
	slots <- struct{}{}
	return release
}

// stop ends all jobs and waits for them.
func (c *crew) stop() {
	c.quit.Store(true)
	for _, j := range c.queue {
		<-j.done
		c.spare = append(c.spare, j)
	}
	c.queue = c.queue[:0]
	c.release()
	c.quit.Store(false)
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

func (j *job) finished() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// decode decodes the block and verifies it.
func (j *job) decode(quit *atomic.Bool) error {
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
