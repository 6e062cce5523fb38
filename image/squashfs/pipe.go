package squashfs

import (
	"crypto/sha256"
	"hash"
	"sync"
	"sync/atomic"
)

// A digest is a SHA-256. Contents are equal where it is.
type digest = [sha256.Size]byte

// A block is a piece of work on its way through the pipe.
type block struct {
	kind blockKind
	data []byte // not compressed
	buf  []byte // of the encoder
	// What a worker makes of data:
	stored []byte // data or what it was compressed to
	size   uint32 // as inodes say it ("File Inodes", block sizes)
	sum    digest // of stored; blocks of files only
	err    error
	done   chan struct{} // has room for one
}

type blockKind int

const (
	blockData     blockKind = iota // one of a file
	blockZero                      // one of a file that is all zeros
	blockEndRun                    // no block: the file has no more
	blockFragment                  // of ends of files
)

// A run is the blocks of a file. They lie behind each other, both in the image
// and in the list of sizes.
type run struct {
	start int64 // place in the image
	first int   // place in the list of sizes
	zeros int64 // how many blocks are all zeros
}

// A fragment is a block of ends of files ("Fragment Table").
type fragment struct {
	start int64
	size  uint32
}

// A pipe compresses blocks, several at a time, and writes them in the order in
// which they came: workers take them from work, and the writing goroutine waits
// for each in turn. The latter alone knows places in the image. What is written
// therefore does not depend on the number of workers.
//
// Who fills blocks takes them from free, of which there are few: that bounds
// memory, and no other channel is ever full.
type pipe struct {
	opt    *Options
	out    *output
	free   chan *block
	work   chan *block
	order  chan *block
	wg     sync.WaitGroup
	broken atomic.Bool // err is set
	err    error

	// What the writing goroutine finds, to be read when the pipe is closed.
	runs      []run
	sizes     []uint32
	fragments []fragment

	// Of the run being written.
	current run
	sum     hash.Hash
	known   map[digest]int // place in runs
}

func newPipe(out *output, o *Options) pipe {
	return pipe{opt: o, out: out, sum: sha256.New(), known: map[digest]int{}}
}

// start starts the goroutines when there is something to do.
func (p *pipe) start() error {
	// One block is being written, one filled with ends of files, one with
	// a file.
	n := 2*p.opt.Jobs + 3
	p.free, p.work, p.order = make(chan *block, n), make(chan *block, n), make(chan *block, n)
	for range n {
		p.free <- &block{done: make(chan struct{}, 1)}
	}
	for range p.opt.Jobs {
		enc, err := newEncoder(p.opt, p.opt.BlockSize)
		if err != nil {
			return err
		}
		p.wg.Go(func() {
			for b := range p.work {
				b.err = b.compress(enc)
				b.done <- struct{}{}
			}
		})
	}
	p.current.start = p.out.pos()
	p.wg.Go(p.write)
	return nil
}

// close waits for all that was put in.
func (p *pipe) close() error {
	if p.free != nil {
		close(p.work)
		close(p.order)
		p.wg.Wait()
	}
	if p.err == nil {
		p.err = p.out.err
	}
	return p.err
}

// take returns a block to be filled, with room for a whole one.
func (p *pipe) take() (*block, error) {
	if p.free == nil {
		if err := p.start(); err != nil {
			return nil, err
		}
	}
	b := <-p.free
	if p.broken.Load() {
		return nil, p.err
	}
	if b.data == nil {
		b.data = make([]byte, 0, p.opt.BlockSize)
	}
	b.data = b.data[:0]
	return b, nil
}

// put sends a block that was taken.
func (p *pipe) put(b *block, kind blockKind) {
	b.kind = kind
	p.order <- b
	if kind == blockData || kind == blockFragment {
		p.work <- b
	} else {
		b.done <- struct{}{}
	}
}

// compress is the work on a block ("Data and Fragment Blocks").
func (b *block) compress(enc encoder) error {
	stored, err := enc.encode(b.buf, b.data)
	if err != nil {
		return err
	}
	if len(stored) < len(b.data) {
		b.buf, b.stored, b.size = stored, stored, uint32(len(stored))
	} else {
		b.stored, b.size = b.data, uint32(len(b.data))|blockPlain
	}
	if b.kind == blockData {
		b.sum = sha256.Sum256(b.stored)
	}
	return nil
}

// write is the writing goroutine. After an error it only empties the pipe.
func (p *pipe) write() {
	for b := range p.order {
		<-b.done
		if p.err == nil {
			if p.err = b.err; p.err == nil {
				p.writeBlock(b)
				p.err = p.out.err
			}
			if p.err != nil {
				p.broken.Store(true)
			}
		}
		p.free <- b
	}
}

func (p *pipe) writeBlock(b *block) {
	switch b.kind {
	case blockFragment:
		p.fragments = append(p.fragments, fragment{p.out.pos(), b.size})
		p.out.write(b.stored)
		p.current.start = p.out.pos()
	case blockData:
		p.addSize(b.size)
		p.sum.Write(b.sum[:])
		p.out.write(b.stored)
	case blockZero:
		p.addSize(0)
		p.current.zeros++
	case blockEndRun:
		p.endRun()
	}
}

func (p *pipe) addSize(size uint32) {
	p.sizes = append(p.sizes, size)
	p.sum.Write(le.AppendUint32(nil, size))
}

// endRun ends a run. If there is one like it, that takes its place.
func (p *pipe) endRun() {
	r := p.current
	key := digest(p.sum.Sum(nil))
	if same, ok := p.known[key]; ok {
		p.out.rewind(r.start)
		p.sizes = p.sizes[:r.first]
		r = p.runs[same]
	} else {
		p.known[key] = len(p.runs)
	}
	p.runs = append(p.runs, r)
	p.current = run{start: p.out.pos(), first: len(p.sizes)}
	p.sum.Reset()
}
