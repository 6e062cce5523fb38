// Package ahead reads a stream in a goroutine of its own, so that what it costs to
// read, or to hash, goes on beside what is done with the bytes.
package ahead

import (
	"errors"
	"io"
	"sync"
)

const (
	// Size is how much is read at a time, in bytes.
	Size = 256 << 10
	// Buffers is how many such pieces a Reader has.
	Buffers = 3
)

// Reader is a stream that is read ahead. It is for one goroutine.
type Reader struct {
	full  chan piece
	free  chan *buffer
	stop  chan struct{}
	ended sync.WaitGroup

	now  piece
	left []byte // of now
	err  error  // sticky
}

type buffer [Size]byte

// piece is what one call of Read gave.
type piece struct {
	buf *buffer
	n   int
	err error
}

// pool has the buffers that no Reader has.
var pool interface {
	Get() any
	Put(any)
} = &sync.Pool{New: func() any { return new(buffer) }}

// New begins to read r, which is the Reader's until Close has returned.
func New(r io.Reader) *Reader {
	a := &Reader{full: make(chan piece, Buffers), free: make(chan *buffer, Buffers), stop: make(chan struct{})}
	for range Buffers {
		a.free <- pool.Get().(*buffer)
	}
	a.ended.Go(func() {
		for {
			var b *buffer
			select {
			case <-a.stop:
				return
			case b = <-a.free:
			}
			n, err := r.Read(b[:])
			a.full <- piece{b, n, err} // has room for all
			if err != nil {
				return
			}
		}
	})
	return a
}

// next waits for the next piece. With an error there is none.
func (a *Reader) next() error {
	if a.now.buf != nil {
		a.free <- a.now.buf
		a.now.buf = nil
	}
	if a.err == nil {
		a.now = <-a.full
		a.left, a.err = a.now.buf[:a.now.n], a.now.err
		return nil
	}
	return a.err
}

// Read implements [io.Reader].
func (a *Reader) Read(p []byte) (int, error) {
	for len(a.left) == 0 {
		if err := a.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, a.left)
	a.left = a.left[n:]
	return n, nil
}

// WriteTo implements [io.WriterTo].
func (a *Reader) WriteTo(w io.Writer) (n int64, err error) {
	for {
		k, err := w.Write(a.left)
		n, a.left = n+int64(k), a.left[k:]
		if err != nil {
			return n, err
		}
		if err := a.next(); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

// errClosed is for those who read on after Close.
var errClosed = errors.New("ahead: read after Close")

// Close ends the reading and waits for the call that is under way. It does not close
// what is read.
func (a *Reader) Close() error {
	if a.err == errClosed {
		return nil
	}
	close(a.stop)
	a.ended.Wait()
	if a.now.buf != nil {
		pool.Put(a.now.buf)
	}
	for len(a.full) > 0 {
		pool.Put((<-a.full).buf)
	}
	for len(a.free) > 0 {
		pool.Put(<-a.free)
	}
	a.left, a.now.buf, a.err = nil, nil, errClosed
	return nil
}
