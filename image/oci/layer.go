package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"os"

	"thaw/image/tarball"
	"thaw/internal/compress"
)

// layer is a layer that is being written.
type layer struct {
	layout   *Layout
	tar      *tarball.Writer // nil when it is complete
	complete bool
	sum      hash.Hash // of the tar
	spool    *os.File  // has the tar, until it is packed
	blob     *blob     // of the last layer, which is packed as it comes

	diffID string // the digest of the tar
	digest string // of what it was packed to
	size   int64
}

// newLayer begins a layer whose tar is written to a file.
func (lo *Layout) newLayer() (*layer, error) {
	f, err := lo.temp()
	if err != nil {
		return nil, err
	}
	l := &layer{layout: lo, sum: sha256.New(), spool: f}
	l.tar = tarball.NewWriter(io.MultiWriter(f, l.sum))
	return l, nil
}

// newPackedLayer begins a layer that is packed as it comes.
func (lo *Layout) newPackedLayer(compression string) (*layer, error) {
	b, err := lo.newBlob(compression)
	if err != nil {
		return nil, err
	}
	l := &layer{layout: lo, sum: sha256.New(), blob: b}
	l.tar = tarball.NewWriter(io.MultiWriter(b, l.sum))
	return l, nil
}

// end ends the tar, and the blob if it is packed as it comes.
func (l *layer) end() error {
	l.complete = true
	err := l.tar.Close()
	l.tar = nil
	if err != nil {
		return err
	}
	l.diffID = digest(l.sum)
	if l.blob != nil {
		l.digest, l.size, err = l.blob.commit()
	}
	return err
}

// pack packs the tar from its file, and removes that. It ends early when stop is
// closed.
func (l *layer) pack(compression string, stop <-chan struct{}) error {
	defer l.abandon()
	if compression == "" || compression == "none" {
		var err error
		if l.size, err = l.spool.Seek(0, io.SeekEnd); err != nil {
			return err
		}
		l.digest = l.diffID
		return l.layout.rename(l.spool, l.digest)
	}
	b, err := l.layout.newBlob(compression)
	if err != nil {
		return err
	}
	defer b.abandon()
	if _, err := l.spool.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(b, &stoppable{l.spool, stop}, make([]byte, 256<<10)); err != nil {
		return err
	}
	l.digest, l.size, err = b.commit()
	return err
}

// abandon closes and removes what is left of the layer's files.
func (l *layer) abandon() {
	if l.spool != nil {
		l.layout.remove(l.spool)
		l.spool = nil
	}
	if l.blob != nil {
		l.blob.abandon()
	}
}

// stoppable reads until stop is closed.
type stoppable struct {
	r    io.Reader
	stop <-chan struct{}
}

func (s *stoppable) Read(p []byte) (int, error) {
	select {
	case <-s.stop:
		return 0, os.ErrClosed
	default:
		return s.r.Read(p)
	}
}

// blob is a blob that is being written. What is written to it is compressed.
type blob struct {
	io.WriteCloser
	layout *Layout
	file   *os.File
	sum    hash.Hash
	size   int64
}

func (lo *Layout) newBlob(compression string) (*blob, error) {
	b := &blob{layout: lo, sum: sha256.New()}
	var err error
	if b.WriteCloser, err = compress.NewWriter(compression, packed{b}); err != nil {
		return nil, err
	}
	b.file, err = lo.temp()
	return b, err
}

// packed is where the compressed bytes of a blob go.
type packed struct{ *blob }

func (p packed) Write(data []byte) (int, error) {
	n, err := p.file.Write(data)
	p.sum.Write(data[:n])
	p.size += int64(n)
	return n, err
}

// commit puts the blob at its place.
func (b *blob) commit() (digested string, size int64, err error) {
	if err := b.Close(); err != nil {
		return "", 0, err
	}
	digested = digest(b.sum)
	if err := b.layout.rename(b.file, digested); err != nil {
		return "", 0, err
	}
	b.abandon()
	return digested, b.size, nil
}

// abandon removes the blob, unless it is at its place.
func (b *blob) abandon() {
	if b.file != nil {
		b.layout.remove(b.file)
		b.file = nil
	}
}

func digest(h hash.Hash) string { return algorithm + hex.EncodeToString(h.Sum(nil)) }
