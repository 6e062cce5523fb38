// Package decompress opens compressed streams by the names that narinfo files
// use: none, xz, bzip2, gzip, zstd, br, lz4, lzip, lzma and compress.
//
// Input is hostile. Memory is bounded whatever the headers say, to [MaxWindow]
// and small change; the length of the output is the caller's to bound.
package decompress

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"thaw/xz"
)

// MaxWindow is the largest dictionary or window that a stream may ask for. The
// strongest usual settings, xz -9 and zstd -19, ask for 64 MiB and 8 MiB.
const MaxWindow = 128 << 20

// Names lists the names that [NewReader] knows.
var Names = []string{"none", "xz", "bzip2", "gzip", "zstd", "br", "lz4", "lzip", "lzma", "compress"}

// UnsupportedError says that a compression is not one of [Names].
type UnsupportedError string

func (e UnsupportedError) Error() string {
	return fmt.Sprintf("unsupported compression %q (supported: %s)", clip(string(e)), strings.Join(Names, " "))
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// Known reports whether name is one of [Names].
func Known(name string) bool { return slices.Contains(Names, name) }

// NewReader returns the plain bytes of r, which is compressed as name says and
// expands to size bytes, as far as is known (-1 if it is not): more may be an
// error here, and may come out. Input that is cut off is an error, mostly
// [io.ErrUnexpectedEOF], except where the format cannot tell: compress anywhere,
// lz4 and zstd in empty input. Close releases memory and leaves r alone.
func NewReader(name string, r io.Reader, size int64) (io.ReadCloser, error) {
	return newReader(name, r, size, small)
}

// newReader is NewReader with a decoder of that kind.
func newReader(name string, r io.Reader, size int64, kind kind) (io.ReadCloser, error) {
	switch name {
	case "none":
		return io.NopCloser(r), nil
	case "xz":
		return openXZ(xz.XZ, r, size, kind), nil
	case "lzma":
		return openXZ(xz.LZMA, r, size, kind), nil
	case "lzip":
		return openXZ(xz.Lzip, r, size, kind), nil
	case "bzip2":
		return io.NopCloser(bzip2.NewReader(bufio.NewReaderSize(r, 64<<10))), nil
	case "gzip":
		return gzips.open(r, kind, (*gzip.Reader).Read)
	case "zstd":
		r, err := narrow(r, size)
		if err != nil {
			return nil, err
		}
		return zstds.open(r, kind, (*zstd.Decoder).Read)
	case "br":
		return brotlis.open(r, kind, (*brotli.Reader).Read)
	case "lz4":
		return lz4s.open(r, kind, (*lz4.Reader).Read)
	case "compress":
		z, err := newUnixCompress(bufio.NewReaderSize(r, 64<<10))
		if err != nil {
			return nil, err
		}
		return io.NopCloser(z), nil
	}
	return nil, UnsupportedError(name)
}

// unexpected turns the end of the input where more must come into an error.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// kind is a kind of decoders that keep their windows between streams, since a NAR is
// often smaller than what a decoder costs to set up. Small streams do not get large
// decoders: there would be one for each of them in the end.
type kind int

const (
	small kind = iota
	large
	kinds
)

// smallWindow is the largest window of a small decoder, in bytes: those of xz -6 and of
// zstd -19 are smaller.
const smallWindow = 16 << 20

// idle holds decoders that nobody uses, until the next collection of garbage or, the
// small ones, the one after. A [sync.Pool] alone would do, but it does not always find
// what another processor put there: of large ones there would be one too many.
type idle[D any] struct {
	small sync.Pool
	mu    sync.Mutex
	large []weak.Pointer[D]
}

func (i *idle[D]) get(kind kind) *D {
	if kind == small {
		z, _ := i.small.Get().(*D)
		return z
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for n := len(i.large) - 1; n >= 0; n-- {
		z := i.large[n].Value()
		i.large = i.large[:n]
		if z != nil {
			return z
		}
	}
	return nil
}

func (i *idle[D]) put(kind kind, z *D) {
	if kind == small {
		i.small.Put(z)
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.large = append(i.large, weak.Make(z))
}

var (
	xzs     idle[xz.Reader]
	zstds   = pool[zstd.Decoder]{new: newZstd, reset: (*zstd.Decoder).Reset}
	gzips   = pool[gzip.Reader]{new: func() (*gzip.Reader, error) { return new(gzip.Reader), nil }, reset: (*gzip.Reader).Reset}
	brotlis = pool[brotli.Reader]{new: func() (*brotli.Reader, error) { return brotli.NewReader(nil), nil }, reset: (*brotli.Reader).Reset}
	lz4s    = pool[lz4.Reader]{new: func() (*lz4.Reader, error) { return lz4.NewReader(nil), nil }, reset: resetLZ4}
)

func newZstd() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(MaxWindow))
}

func resetLZ4(z *lz4.Reader, r io.Reader) error {
	z.Reset(r)
	return nil
}

// pool makes decoders of one format.
type pool[D any] struct {
	idle  idle[D]
	new   func() (*D, error)
	reset func(*D, io.Reader) error
}

// open returns a decoder of r, which read reads from.
func (p *pool[D]) open(r io.Reader, kind kind, read func(*D, []byte) (int, error)) (io.ReadCloser, error) {
	z := p.idle.get(kind)
	if z == nil {
		var err error
		if z, err = p.new(); err != nil {
			return nil, err
		}
	}
	if err := p.reset(z, r); err != nil {
		return nil, unexpected(err)
	}
	return &pooled[D]{z, p, kind, read}, nil
}

// pooled is a decoder at work. Close gives it back.
type pooled[D any] struct {
	z    *D
	p    *pool[D]
	kind kind
	read func(*D, []byte) (int, error)
}

func (o *pooled[D]) Read(b []byte) (int, error) { return o.read(o.z, b) }

func (o *pooled[D]) Close() error {
	o.p.idle.put(o.kind, o.z)
	return nil
}

type xzReader struct {
	*xz.Reader
	kind kind
}

func openXZ(format xz.Format, r io.Reader, size int64, kind kind) io.ReadCloser {
	c := xz.Config{Format: format, MaxSize: max(size, 0), MaxDict: MaxWindow, SkipCheck: true}
	z := xzs.get(kind)
	if z == nil {
		z = new(xz.Reader)
	}
	z.Reset(r, c)
	return xzReader{z, kind}
}

func (z xzReader) Close() error {
	err := z.Reader.Close()
	xzs.put(z.kind, z.Reader)
	return err
}

// Sniff tells by its first bytes how a stream is compressed: one of [Names],
// with "none" for a plain NAR, or "" if it cannot tell. A stream of br or lzma
// has no mark. 24 bytes are enough.
func Sniff(head []byte) string {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.bytes)) {
			return m.name
		}
	}
	return ""
}

var magics = []struct{ name, bytes string }{
	{"none", "\x0d\x00\x00\x00\x00\x00\x00\x00nix-archive-1"},
	{"xz", "\xfd7zXZ\x00"},
	{"zstd", "\x28\xb5\x2f\xfd"},
	{"gzip", "\x1f\x8b\x08"},
	{"bzip2", "BZh"},
	{"lz4", "\x04\x22\x4d\x18"},
	{"lzip", "LZIP\x01"},
	{"compress", "\x1f\x9d"},
}
