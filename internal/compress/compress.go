// Package compress compresses streams, so that what comes out depends on what
// goes in and on nothing else: not on the machine and its number of processors, not
// on the sizes of writes, not on the clock. A change of the levels and sizes here,
// or of the module that compresses, changes digests that people have noted.
//
// Each result is one member or frame, as kernels unpack only the first, without
// a time or a file name.
package compress

import (
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/zstd"
)

// zstdWindow is how far back zstd finds repetitions, in bytes: what every decoder
// takes (RFC 8878, section 3.1.1.1.2).
const zstdWindow = 8 << 20

// NewWriter makes a writer that compresses to w: "gzip", "zstd", or "none" and ""
// for no compression. Close ends the stream and does not close w. After an error
// every call fails. A writer may be left alone without Close.
//
// zstd takes about 25 MiB of memory and one processor, as its library takes 300
// MiB for two. gzip takes about 4 MiB for each processor there is, and up to
// [maxWorkers] of them.
func NewWriter(name string, w io.Writer) (io.WriteCloser, error) {
	switch name {
	case "", "none":
		return plain{w}, nil
	case "gzip":
		return newGzip(w), nil
	case "zstd":
		z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithWindowSize(zstdWindow),
			zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true), zstd.WithEncoderCRC(true))
		return &sticky{z, err}, err
	}
	return nil, fmt.Errorf("no compression is called %q: there are gzip, zstd and none", name)
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

// sticky keeps the first error, which the encoder of zstd forgets.
type sticky struct {
	z   *zstd.Encoder
	err error
}

func (s *sticky) Write(p []byte) (n int, err error) {
	if s.err == nil {
		n, s.err = s.z.Write(p)
	}
	return n, s.err
}

func (s *sticky) Close() error {
	if s.err != nil {
		return s.err
	}
	err := s.z.Close()
	if s.err = err; err == nil {
		s.err = fs.ErrClosed
	}
	return err
}
