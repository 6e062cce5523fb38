package unwrap

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// maxBlock is the largest block of a disk that is read whole, in bytes; one that is
// compressed.
const maxBlock = 64 << 20

// blocks is a disk whose blocks lie anywhere in a file.
type blocks struct {
	*Image
	block  int64
	find   func(i int64) (place, error)
	unpack func(dst, packed []byte) error

	mu    sync.Mutex
	last  int64 // the compressed block in data, counted from 1
	data  []byte
	table page
}

// place is where in the file a block is. Nowhere is all zeros.
type place struct {
	off    int64
	packed int64 // its length if it is compressed
}

// use makes the disk of m be in blocks.
func (m *Image) use(b *blocks, size int64) error {
	if b.block < 512 || b.block > 1<<31 || b.unpack != nil && b.block > maxBlock {
		return fmt.Errorf("blocks of %d bytes", b.block)
	}
	m.disk, m.size = b, size
	return nil
}

// ReadAt implements [io.ReaderAt] within the size of the disk.
func (b *blocks) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		at := off + int64(done)
		i, from := at/b.block, at%b.block
		part := p[done:]
		part = part[:min(int64(len(part)), b.block-from)]
		if err := b.piece(part, i, from); err != nil {
			return done, fmt.Errorf("%s: at %d of the disk: %w", b.Format, at, err)
		}
		done += len(part)
	}
	return done, nil
}

// piece fills p from a place within a block.
func (b *blocks) piece(p []byte, i, from int64) error {
	at, err := b.find(i)
	switch {
	case err != nil:
		return err
	case at.off == 0:
		clear(p)
		return nil
	case at.packed == 0:
		return b.read(p, at.off+from)
	case int64(len(p)) == b.block:
		return b.expand(p, at)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last != i+1 {
		if b.data == nil {
			b.data = make([]byte, b.block)
		}
		b.last = 0
		// The last block may be no longer than the disk.
		if err := b.expand(b.data[:min(b.block, b.size-i*b.block)], at); err != nil {
			return err
		}
		b.last = i + 1
	}
	copy(p, b.data[from:])
	return nil
}

// expand decompresses a block. What is packed ends where its length says, or
// before, and the file may end there, too.
func (b *blocks) expand(dst []byte, at place) error {
	if at.off < 0 || at.off >= b.length || at.packed < 0 || at.packed > 2*b.block+4096 {
		return fmt.Errorf("%d compressed bytes at %d of a file of %d", at.packed, at.off, b.length)
	}
	packed := make([]byte, min(at.packed, b.length-at.off))
	if err := b.read(packed, at.off); err != nil {
		return err
	}
	if err := b.unpack(dst, packed); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = fmt.Errorf("a compressed block is too short")
		}
		return err
	}
	return nil
}

// page is a part of the file that was read last: entries of tables lie side by side.
type page struct {
	mu   sync.Mutex
	at   int64
	n    int64
	data [4096]byte
}

// entry reads n bytes, up to 8, at a multiple of n.
func (b *blocks) entry(off, n int64) ([8]byte, error) {
	var e [8]byte
	if off < 0 || off > b.length-n {
		return e, fmt.Errorf("a table goes to byte %d of a file of %d", off, b.length)
	}
	t := &b.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if off < t.at || off+n > t.at+t.n {
		t.n = 0
		size := min(int64(len(t.data)), b.length-off)
		if err := b.read(t.data[:size], off); err != nil {
			return e, err
		}
		t.at, t.n = off, size
	}
	copy(e[:n], t.data[off-t.at:])
	return e, nil
}

func (b *blocks) le32(off int64) (int64, error) {
	e, err := b.entry(off, 4)
	return int64(le.Uint32(e[:])), err
}

func (b *blocks) be32(off int64) (int64, error) {
	e, err := b.entry(off, 4)
	return int64(be.Uint32(e[:])), err
}

func (b *blocks) le64(off int64) (uint64, error) {
	e, err := b.entry(off, 8)
	return le.Uint64(e[:]), err
}

func (b *blocks) be64(off int64) (uint64, error) {
	e, err := b.entry(off, 8)
	return be.Uint64(e[:]), err
}

// decoders are kept for the next block.
var deflates, zlibs, zstds sync.Pool

func inflate(dst, packed []byte) error {
	src := bytes.NewReader(packed)
	f, ok := deflates.Get().(io.ReadCloser)
	if !ok {
		f = flate.NewReader(src)
	} else if err := f.(flate.Resetter).Reset(src, nil); err != nil {
		return err
	}
	defer deflates.Put(f)
	_, err := io.ReadFull(f, dst)
	return err
}

// unzlib is inflate with the header of RFC 1950, of which the checksum is checked.
func unzlib(dst, packed []byte) error {
	src := bytes.NewReader(packed)
	z, ok := zlibs.Get().(io.ReadCloser)
	var err error
	if !ok {
		z, err = zlib.NewReader(src)
	} else {
		err = z.(zlib.Resetter).Reset(src, nil)
	}
	if err != nil {
		return err
	}
	defer zlibs.Put(z)
	if _, err := io.ReadFull(z, dst); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, z)
	return err
}

func unzstd(dst, packed []byte) error {
	z, ok := zstds.Get().(*zstd.Decoder)
	var err error
	if !ok {
		z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxBlock))
	}
	if err == nil {
		err = z.Reset(bytes.NewReader(packed))
	}
	if err != nil {
		return err
	}
	defer zstds.Put(z)
	_, err = io.ReadFull(z, dst)
	return err
}
