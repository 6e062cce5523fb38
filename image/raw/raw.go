// Package raw reads raw disk images block by block, and compresses whole ones.
// The writers of other disk images are built on it, and on its [Writer], which takes
// a disk as it comes, without a raw image.
//
// Blocks that are all zeros are left out, whether the file has a hole there or
// zeros: what a writer is given depends on the bytes of the image alone. A hole is
// not read, where the system tells of it.
//
// Blocks are read and worked on by as many goroutines as there are processors,
// up to [MaxJobs], and come in their order. Where there is no work but to read, two
// are enough. Four blocks, and four results of work on them, are in memory for each
// goroutine at most.
package raw

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"runtime"
	"sync"
	"syscall"
)

const (
	// SectorSize is what the size of a disk is a multiple of, in bytes.
	SectorSize = 512
	// MaxSize is far from overflows of int64.
	MaxSize = 1 << 60
	// MaxJobs is how many blocks are worked on at a time.
	MaxJobs = 16
)

// An Image is the raw image of a disk.
type Image struct {
	r      io.ReaderAt
	file   sparse // that can tell of holes, or nil
	length int64
}

// sparse is what a file that can tell of holes has, such as *os.File.
type sparse interface {
	io.Seeker
	Stat() (os.FileInfo, error)
}

// New returns the image that is the first length bytes of r. Holes are known if r
// is a regular file of the system, or has its methods Seek and Stat; its offset
// changes then.
func New(r io.ReaderAt, length int64) (*Image, error) {
	if length <= 0 || length > MaxSize {
		return nil, fmt.Errorf("a disk of %d bytes: it has 1 to %d", length, int64(MaxSize))
	}
	m := &Image{r: r, length: length}
	if err := m.read(make([]byte, 1), length-1); err != nil {
		return nil, err // before much is written
	}
	// What seeking to data is called by number, is Linux's.
	if f, ok := r.(sparse); ok && runtime.GOOS == "linux" {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			m.file = f
		}
	}
	return m, nil
}

// Size is the size of the disk: the length of the image, up to the next multiple
// of [SectorSize]. What is beyond the image is zeros.
func (m *Image) Size() int64 { return (m.length + SectorSize - 1) / SectorSize * SectorSize }

// A Block is a block that is not all zeros.
type Block struct {
	Index  int64  // its place, counted in blocks
	Data   []byte // a whole block, with zeros beyond the end of the image
	Packed []byte // what a Packer made of it
}

// A Packer makes something of a block. It appends to buf, and may return other
// memory. It is called by one goroutine at a time.
type Packer func(buf, data []byte) ([]byte, error)

// Blocks returns the blocks of size bytes that are not all zeros, in their order.
// Each is valid until the next one. An error ends it. Each goroutine makes a
// Packer of its own, unless packer is nil.
func (m *Image) Blocks(size int, packer func() (Packer, error)) iter.Seq2[Block, error] {
	return func(yield func(Block, error) bool) {
		p := &pipe{image: m, size: size, quit: make(chan struct{})}
		defer p.wg.Wait()
		defer close(p.quit)
		if err := p.start(packer); err != nil {
			yield(Block{}, err)
			return
		}
		for t := range p.order {
			<-t.done
			if t.err != nil {
				yield(Block{}, t.err)
				return
			}
			if t.used && !yield(t.block, nil) {
				return
			}
			p.free <- t
		}
	}
}

// WriteTo writes all of the disk, its zeros as well, to w.
func (m *Image) WriteTo(w io.Writer) (n int64, err error) {
	const size = 256 << 10
	fill := func(end int64) error {
		for n < end {
			k, err := w.Write(zeros[:min(int64(len(zeros)), end-n)])
			n += int64(k)
			if err != nil {
				return err
			}
		}
		return nil
	}
	for b, err := range m.Blocks(size, nil) {
		if err != nil {
			return n, err
		}
		if err := fill(b.Index * size); err != nil {
			return n, err
		}
		k, err := w.Write(b.Data[:min(size, m.Size()-n)])
		n += int64(k)
		if err != nil {
			return n, err
		}
	}
	return n, fill(m.Size())
}

// A task is a block on its way.
type task struct {
	block Block
	used  bool // it is not all zeros
	err   error
	done  chan struct{} // has room for one
}

// A pipe hands tasks to workers, and to who takes their results. There are few
// tasks: no channel that has them is ever full.
type pipe struct {
	image             *Image
	size              int
	free, work, order chan *task
	quit              chan struct{} // closed when no more results are taken
	wg                sync.WaitGroup
}

func (p *pipe) start(packer func() (Packer, error)) error {
	jobs := min(runtime.GOMAXPROCS(0), MaxJobs)
	if packer == nil {
		jobs = min(jobs, 2)
	}
	n := 3*jobs + 1
	p.free, p.work, p.order = make(chan *task, n), make(chan *task, n), make(chan *task, n)
	packers := make([]Packer, jobs)
	for i := range packers {
		if packer != nil {
			var err error
			if packers[i], err = packer(); err != nil {
				return err
			}
		}
	}
	for range n {
		p.free <- &task{done: make(chan struct{}, 1)}
	}
	for _, pack := range packers {
		p.wg.Go(func() {
			for t := range p.work {
				t.err = p.run(t, pack)
				t.done <- struct{}{}
			}
		})
	}
	p.wg.Go(p.feed)
	return nil
}

// feed makes tasks of all blocks that may have data.
func (p *pipe) feed() {
	defer close(p.order)
	defer close(p.work)
	size := int64(p.size)
	for next := int64(0); next*size < p.image.length; {
		start, end := p.image.data(next * size)
		if end == start {
			return
		}
		for next = start / size; next*size < end; next++ {
			select {
			case <-p.quit:
				return
			case t := <-p.free:
				t.block.Index = next
				p.work <- t
				p.order <- t
			}
		}
	}
}

// run reads and packs a block.
func (p *pipe) run(t *task, pack Packer) error {
	b := &t.block
	if b.Data == nil {
		b.Data = make([]byte, p.size)
	}
	off := b.Index * int64(p.size)
	n := min(int64(p.size), p.image.length-off)
	if err := p.image.read(b.Data[:n], off); err != nil {
		return err
	}
	clear(b.Data[n:])
	t.used = !allZero(b.Data)
	if !t.used || pack == nil {
		return nil
	}
	var err error
	b.Packed, err = pack(b.Packed[:0], b.Data)
	return err
}

// read fills p.
func (m *Image) read(p []byte, off int64) error {
	n, err := m.r.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("raw image of %d bytes: at %d: %w", m.length, off+int64(n), err)
}

// Numbers for lseek(2).
const (
	seekData = 3
	seekHole = 4
)

// data returns where data begins and ends, from an offset on. Without any, both
// are the same.
func (m *Image) data(from int64) (start, end int64) {
	if m.file == nil {
		return from, m.length
	}
	start, err := m.file.Seek(from, seekData)
	if errors.Is(err, syscall.ENXIO) {
		return m.length, m.length
	}
	if err == nil {
		end, err = m.file.Seek(start, seekHole)
	}
	if err != nil || start < from || end <= start {
		return from, m.length // the file system cannot tell
	}
	return min(start, m.length), min(end, m.length)
}

var zeros [64 << 10]byte

func allZero(p []byte) bool {
	for len(p) > len(zeros) && bytes.Equal(p[:len(zeros)], zeros[:]) {
		p = p[len(zeros):]
	}
	return len(p) <= len(zeros) && bytes.Equal(p, zeros[:len(p)])
}
