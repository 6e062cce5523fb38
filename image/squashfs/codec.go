package squashfs

import (
	"bytes"
	"fmt"

	"github.com/klauspost/compress/zlib"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"thaw/internal/zstdframe"
)

// Compression is how blocks are compressed. Each value has pinned settings.
type Compression int

const (
	Zstd Compression = iota // the best balance; Linux since 4.14
	Gzip                    // read by every Linux that has squashfs
	LZ4                     // the fastest to read
	XZ                      // the smallest, and slow to read
	None                    // nothing is compressed
)

var compressions = [...]struct {
	name string
	id   uint16 // "The Superblock", compressor
}{
	Zstd: {"zstd", 6},
	Gzip: {"gzip", 1},
	LZ4:  {"lz4", 5},
	XZ:   {"xz", 4},
	None: {"none", 1}, // there is no number for it: gzip, of which no block makes use
}

func (c Compression) String() string {
	if c < 0 || int(c) >= len(compressions) {
		return fmt.Sprintf("Compression(%d)", int(c))
	}
	return compressions[c].name
}

// compressorOptions are what follows the superblock ("Compression Options"):
// only for lz4, whose readers insist on them.
func (o *Options) compressorOptions() []byte {
	if o.Compression != LZ4 {
		return nil
	}
	b := le.AppendUint16(nil, metadataPlain|8)
	b = le.AppendUint32(b, 1) // the version of the block format
	if o.Fast {
		return le.AppendUint32(b, 0)
	}
	return le.AppendUint32(b, 1) // high compression
}

// An encoder compresses blocks, one at a time, each on its own: what becomes of
// a block does not depend on those before it.
type encoder interface {
	// encode returns src compressed, in the memory of buf if that is enough.
	// A result that is not shorter than src is of no use, and may be
	// anything.
	encode(buf, src []byte) ([]byte, error)
}

// newEncoder returns an encoder of blocks of at most size bytes.
func newEncoder(o *Options, size int) (encoder, error) {
	switch o.Compression {
	case Zstd:
		// Linux decodes with a window of one block, which a frame is.
		return zstdEncoder{&zstdframe.Encoder{Fast: o.Fast}}, nil
	case Gzip:
		level := zlib.BestCompression
		if o.Fast {
			level = 6
		}
		z, err := zlib.NewWriterLevel(nil, level)
		return &gzipEncoder{z: z}, err
	case LZ4:
		if o.Fast {
			return lz4Encoder{new(lz4.Compressor)}, nil
		}
		return lz4Encoder{&lz4.CompressorHC{Level: lz4.Level9}}, nil
	case XZ:
		// Linux knows no check but CRC32, and allocates a dictionary of one
		// block. The other way to find matches takes minutes for blocks of
		// zeros.
		c := xz.WriterConfig{DictCap: size, CheckSum: xz.CRC32, Matcher: lzma.HashTable4}
		return &xzEncoder{config: c}, c.Verify()
	case None:
		return plainEncoder{}, nil
	}
	return nil, fmt.Errorf("squashfs: there is no %v", o.Compression)
}

type zstdEncoder struct{ z *zstdframe.Encoder }

func (e zstdEncoder) encode(buf, src []byte) ([]byte, error) {
	return e.z.Append(buf[:0], src), nil
}

type gzipEncoder struct {
	z   *zlib.Writer
	buf bytes.Buffer
}

func (e *gzipEncoder) encode(buf, src []byte) ([]byte, error) {
	e.buf = *bytes.NewBuffer(buf[:0])
	e.z.Reset(&e.buf)
	if _, err := e.z.Write(src); err != nil {
		return nil, err
	}
	err := e.z.Close()
	return e.buf.Bytes(), err
}

type lz4Encoder struct {
	c interface {
		CompressBlock(src, dst []byte) (int, error)
	}
}

func (e lz4Encoder) encode(buf, src []byte) ([]byte, error) {
	// Whether there is room must not change what is found.
	if n := lz4.CompressBlockBound(len(src)); cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:lz4.CompressBlockBound(len(src))]
	n, err := e.c.CompressBlock(src, buf)
	if n == 0 {
		return src, err
	}
	return buf[:n], err
}

type xzEncoder struct {
	config xz.WriterConfig
	buf    bytes.Buffer
}

func (e *xzEncoder) encode(buf, src []byte) ([]byte, error) {
	e.buf = *bytes.NewBuffer(buf[:0])
	z, err := e.config.NewWriter(&e.buf)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(src); err != nil {
		return nil, err
	}
	err = z.Close()
	return e.buf.Bytes(), err
}

type plainEncoder struct{}

func (plainEncoder) encode(_, src []byte) ([]byte, error) { return src, nil }
