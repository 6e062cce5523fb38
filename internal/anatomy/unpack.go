package anatomy

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"thaw/xz"
)

// unpack returns the first bytes, up to a length, of what something is packed to: all
// that can be had of it.
func (v view) unpack(method string, b []byte, length int64) []byte {
	if *v.src.work -= 256 + length/8; v.spent() {
		return nil
	}
	out := make([]byte, length)
	var r io.Reader
	switch method {
	case "deflate":
		r = flate.NewReader(bytes.NewReader(b))
	case "zlib":
		z, err := zlib.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil
		}
		r = z
	case "zstd":
		z, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return nil
		}
		defer z.Close()
		r = z
	case "xz":
		z := xz.NewReader(bytes.NewReader(b), xz.Config{MaxSize: length, MaxDict: 8 << 20})
		defer z.Close()
		r = z
	case "lz4":
		n, err := lz4.UncompressBlock(b, out)
		if err != nil {
			return nil
		}
		return out[:n]
	default:
		return nil
	}
	n, _ := io.ReadFull(r, out)
	return out[:n]
}
