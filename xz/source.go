package xz

import "io"

// A source is buffered input that knows how far it has been read.
type source struct {
	r    io.Reader // nil when all input is in buf
	buf  []byte
	i, n int   // buf[i:n] is not yet read
	off  int64 // of buf[n] in the input
	err  error // of r, once it has ended
}

const sourceSize = 1 << 15

// reset makes the source read from r.
func (s *source) reset(r io.Reader) {
	if s.buf == nil {
		s.buf = make([]byte, sourceSize)
	}
	*s = source{r: r, buf: s.buf}
}

// offset is the position in the input of the next byte.
func (s *source) offset() int64 { return s.off - int64(s.n-s.i) }

// read is one read of r that tolerates a few empty ones.
func (s *source) read(p []byte) (int, error) {
	if s.r == nil {
		return 0, io.EOF
	}
	for range 100 {
		if n, err := s.r.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// more reads into the empty buffer. It returns false at the end, or at an error.
func (s *source) more() bool {
	if s.err != nil {
		return false
	}
	n, err := s.read(s.buf)
	s.i, s.n, s.err = 0, n, err
	s.off += int64(n)
	return n > 0
}

// ended is the error for input that ends where it must not.
func (s *source) ended() error {
	if s.err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return s.err
}

// byte returns the next byte.
func (s *source) byte() (byte, error) {
	if s.i == s.n && !s.more() {
		return 0, s.ended()
	}
	b := s.buf[s.i]
	s.i++
	return b, nil
}

// atEnd reports whether the input ends here. A read error is not an end.
func (s *source) atEnd() (bool, error) {
	if s.i < s.n || s.more() {
		return false, nil
	}
	if s.err == io.EOF {
		return true, nil
	}
	return false, s.err
}

// some reads what is at hand into p, at least one byte. It returns 0 at the
// end, or at an error.
func (s *source) some(p []byte) int {
	if s.i == s.n && !s.more() {
		return 0
	}
	n := copy(p, s.buf[s.i:s.n])
	s.i += n
	return n
}

// full fills p.
func (s *source) full(p []byte) error {
	for len(p) > 0 {
		if s.i < s.n {
			n := copy(p, s.buf[s.i:s.n])
			s.i += n
			p = p[n:]
			continue
		}
		if len(p) < len(s.buf) {
			if !s.more() {
				return s.ended()
			}
			continue
		}
		if s.err != nil {
			return s.ended()
		}
		n, err := s.read(p)
		s.off += int64(n)
		s.err = err
		p = p[n:]
	}
	return nil
}
