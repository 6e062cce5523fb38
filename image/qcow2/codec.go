package qcow2

import (
	"bytes"
	"fmt"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"

	"thaw/image/raw"
)

// window is how far back a packed cluster refers to, in bytes. QEMU asks zlib to
// decode with this one, and packs so itself.
const window = 4 << 10

// packer returns what makes a packer of clusters.
func packer(c Compression) (func() (raw.Packer, error), error) {
	switch c {
	case None:
		return nil, nil
	case Zlib:
		return newDeflate, nil
	case Zstd:
		return newZstd, nil
	}
	return nil, fmt.Errorf("there is no %v", c)
}

// newDeflate packs to deflate without a header (RFC 1951).
func newDeflate() (raw.Packer, error) {
	f, err := flate.NewWriterWindow(nil, window)
	return func(buf, data []byte) ([]byte, error) {
		out := bytes.NewBuffer(buf)
		f.Reset(out)
		if _, err := f.Write(data); err != nil {
			return nil, err
		}
		err := f.Close()
		return out.Bytes(), err
	}, err
}

// newZstd packs to a frame of zstd (RFC 8878). The next level takes half as much
// time again to save two hundredths.
func newZstd() (raw.Packer, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(clusterSize),
		zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	return func(buf, data []byte) ([]byte, error) {
		return z.EncodeAll(data, buf), nil
	}, err
}
