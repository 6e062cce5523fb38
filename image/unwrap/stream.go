package unwrap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

	"thaw/image/raw"
	"thaw/internal/decompress"
)

// stream returns the expanded image from its beginning, bounded.
func (m *Image) stream() (io.Reader, func() error, error) {
	z, err := decompress.NewReader(m.Compression, io.NewSectionReader(m.file, 0, m.length), -1)
	if err != nil {
		return nil, nil, m.compressed(err)
	}
	limit := m.Limit
	if limit <= 0 || limit > raw.MaxSize {
		limit = raw.MaxSize
	}
	return &bounded{z, limit, limit}, z.Close, nil
}

func (m *Image) compressed(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%s: it is cut off", m.Compression)
	}
	return fmt.Errorf("%s: %w", m.Compression, err)
}

// LimitError says that a compressed image is larger than its Limit.
type LimitError int64

func (e LimitError) Error() string { return fmt.Sprintf("it expands to more than %d bytes", int64(e)) }

// bounded reads no more than a limit, beyond which it is an error that there is more.
type bounded struct {
	r           io.Reader
	left, limit int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		var one [1]byte
		if _, err := io.ReadFull(b.r, one[:]); err != nil {
			return 0, err
		}
		return 0, LimitError(b.limit)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// streamed returns the blocks of a compressed image, and notes its size.
func (m *Image) streamed(size int, packer func() (raw.Packer, error)) iter.Seq2[raw.Block, error] {
	return func(yield func(raw.Block, error) bool) {
		if err := m.each(size, packer, yield); err != nil {
			yield(raw.Block{}, err)
		}
	}
}

func (m *Image) each(size int, packer func() (raw.Packer, error), yield func(raw.Block, error) bool) error {
	var pack raw.Packer
	if packer != nil {
		var err error
		if pack, err = packer(); err != nil {
			return err
		}
	}
	r, end, err := m.stream()
	if err != nil {
		return err
	}
	defer end()
	b := raw.Block{Data: make([]byte, size)}
	for total := int64(0); ; b.Index++ {
		n, err := fill(r, b.Data)
		total += int64(n)
		last := err == io.EOF
		if err != nil && !last {
			return m.compressed(err)
		}
		if b.Index == 0 {
			if err := m.within(b.Data[:n]); err != nil {
				return err
			}
		}
		clear(b.Data[n:])
		if n > 0 && len(bytes.TrimLeft(b.Data[:n], "\x00")) > 0 {
			if pack != nil {
				if b.Packed, err = pack(b.Packed[:0], b.Data); err != nil {
					return err
				}
			}
			if !yield(b, nil) {
				return nil
			}
		}
		if last {
			return m.sized(total)
		}
	}
}

// fill is [io.ReadFull], but tells an end from one that comes too early.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = r.Read(p[n:])
		n += k
	}
	return n, err
}

func (m *Image) sized(total int64) error {
	switch {
	case total == 0:
		return m.compressed(errors.New("it holds nothing"))
	case m.size >= 0 && m.size != total:
		return m.compressed(fmt.Errorf("it had %d bytes, and now has %d: somebody changes it", m.size, total))
	}
	m.size = total
	return nil
}

// within refuses disk images of other formats in the compressed file.
func (m *Image) within(head []byte) error {
	if err := refuse(head); err != nil {
		return m.compressed(err)
	}
	in := &Image{file: bytes.NewReader(head), length: int64(min(len(head), vhdFooter))} // without an end
	format, err := in.format(head[:min(len(head), headSize)])
	if err == nil && format != "raw" {
		err = fmt.Errorf("it holds a %s image: decompress it first", format)
	}
	if err != nil {
		return m.compressed(err)
	}
	return nil
}

// expandAt reads from a compressed image.
func (m *Image) expandAt(p []byte, off int64) (int, error) {
	r, end, err := m.stream()
	if err != nil {
		return 0, err
	}
	defer end()
	if _, err := io.CopyN(io.Discard, r, off); err != nil {
		return 0, err
	}
	n, err := fill(r, p)
	if n == len(p) {
		err = nil
	}
	return n, err
}
