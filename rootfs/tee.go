package rootfs

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// teeBuffer is how much of a file is in memory for all sinks of a tee, in bytes.
const teeBuffer = 1 << 20

// Tee returns a Sink that passes each entry on to several others, in their order.
// What one of them refuses ends all; of several errors it is that of the first sink.
// It keeps 1 MiB of a file in memory. Of one sink it is that sink.
//
// It adds no file as another name of an earlier one: not every sink may be able
// to, and what each writes does not depend on the others.
func Tee(sinks ...Sink) Sink {
	if len(sinks) == 1 {
		return sinks[0]
	}
	return &tee{sinks: sinks}
}

type tee struct {
	sinks []Sink
	buf   []byte
	err   error
}

func (t *tee) Add(e Entry, data io.Reader) error {
	if t.err == nil {
		switch {
		case data == nil:
			t.err = t.each(func(s Sink) error { return s.Add(e, nil) })
		case e.Size <= teeBuffer:
			t.err = t.small(e, data)
		default:
			t.err = t.large(e, data)
		}
	}
	return t.err
}

func (t *tee) each(add func(s Sink) error) error {
	for _, s := range t.sinks {
		if err := add(s); err != nil {
			return err
		}
	}
	return nil
}

// small reads a file and passes it on.
func (t *tee) small(e Entry, data io.Reader) error {
	if t.buf == nil {
		t.buf = make([]byte, teeBuffer)
	}
	if _, err := io.ReadFull(data, t.buf[:e.Size]); err != nil {
		return err
	}
	return t.each(func(s Sink) error { return s.Add(e, bytes.NewReader(t.buf[:e.Size])) })
}

// errStopped is what a sink reads when another one has failed.
var errStopped = errors.New("another output failed")

// large passes a file on piece by piece, to all sinks at a time.
func (t *tee) large(e Entry, data io.Reader) error {
	if t.buf == nil {
		t.buf = make([]byte, teeBuffer)
	}
	pipes := make([]*io.PipeWriter, len(t.sinks))
	results := make([]error, len(t.sinks))
	var sinks sync.WaitGroup
	for i, s := range t.sinks {
		r, w := io.Pipe()
		pipes[i] = w
		sinks.Go(func() {
			results[i] = s.Add(e, r)
			r.CloseWithError(errStopped) // nobody reads on
		})
	}
	err := pass(pipes, data, t.buf)
	for _, w := range pipes {
		w.CloseWithError(err) // nil is the end of the file
	}
	if err == errStopped {
		err = nil // the sink says why
	}
	sinks.Wait()
	for _, e := range results {
		if e != nil && !errors.Is(e, errStopped) && err == nil {
			err = e
		}
	}
	return err
}

// pass copies data to all pipes.
func pass(pipes []*io.PipeWriter, data io.Reader, buf []byte) error {
	for {
		n, err := io.ReadFull(data, buf)
		for _, w := range pipes {
			if n == 0 { // a sink that has all of a file need not wait for its end
				break
			}
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return nil
		default:
			return err
		}
	}
}
