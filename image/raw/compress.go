package raw

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"thaw/internal/compress"
)

// Compression is how a whole image is compressed. Each value has pinned settings.
type Compression int

const (
	Gzip Compression = iota // one member
	Zstd                    // a frame for each MiB
	XZ                      // one stream with a block for each MiB; slow, and hardly smaller than Zstd
)

func (c Compression) String() string {
	switch c {
	case Gzip:
		return "gzip"
	case Zstd:
		return "zstd"
	case XZ:
		return "xz"
	}
	return fmt.Sprintf("Compression(%d)", int(c))
}

// pieceSize is how many bytes zstd and xz compress on their own.
const pieceSize = 1 << 20

// Compress writes the disk that the first size bytes of r are to w, all of it in one
// compressed file. It works on all processors and takes up to 40 MiB of memory for
// each. Zeros take next to no time, but with [Gzip].
func Compress(w io.Writer, r io.ReaderAt, size int64, c Compression) error {
	m, err := New(r, size)
	if err != nil {
		return err
	}
	switch c {
	case Gzip:
		z, err := compress.NewWriter("gzip", w)
		if err != nil {
			return err
		}
		if _, err := m.WriteTo(z); err != nil {
			return err
		}
		return z.Close()
	case Zstd:
		return m.pieces(newZstd, func(packed []byte, _ int) error {
			_, err := w.Write(packed)
			return err
		})
	case XZ:
		return m.compressXZ(w)
	}
	return fmt.Errorf("raw image: there is no compression %v", c)
}

// pieces packs all pieces of the disk, those of zeros once, and has them put in their
// order, with how many bytes of the disk each has.
func (m *Image) pieces(packer func() (Packer, error), put func(packed []byte, n int) error) error {
	pack, err := packer()
	if err != nil {
		return err
	}
	zero, err := pack(nil, make([]byte, pieceSize))
	if err != nil {
		return err
	}
	next := int64(0)
	fill := func(end int64) error {
		for ; next < end; next++ {
			if err := put(zero, pieceSize); err != nil {
				return err
			}
		}
		return nil
	}
	whole := *m
	whole.length = m.length / pieceSize * pieceSize
	for b, err := range whole.Blocks(pieceSize, packer) {
		if err != nil {
			return err
		}
		if err := fill(b.Index); err != nil {
			return err
		}
		if err := put(b.Packed, pieceSize); err != nil {
			return err
		}
		next++
	}
	if err := fill(whole.length / pieceSize); err != nil {
		return err
	}
	rest := make([]byte, m.Size()-whole.length)
	if len(rest) == 0 {
		return nil
	}
	if err := m.read(rest[:m.length-whole.length], whole.length); err != nil {
		return err
	}
	packed, err := pack(nil, rest)
	if err != nil {
		return err
	}
	return put(packed, len(rest))
}

// newZstd packs to a frame (RFC 8878).
func newZstd() (Packer, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithWindowSize(pieceSize),
		zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	return func(buf, data []byte) ([]byte, error) {
		return z.EncodeAll(data, buf), nil
	}, err
}

// newXZ packs to a stream of one block. The other way to find matches takes minutes
// for zeros.
func newXZ() (Packer, error) {
	c := xz.WriterConfig{DictCap: pieceSize, CheckSum: xz.CRC64, Matcher: lzma.HashTable4}
	return func(buf, data []byte) ([]byte, error) {
		out := bytes.NewBuffer(buf)
		z, err := c.NewWriter(out)
		if err != nil {
			return nil, err
		}
		if _, err := z.Write(data); err != nil {
			return nil, err
		}
		err = z.Close()
		return out.Bytes(), err
	}, c.Verify()
}

// Sizes of parts of an .xz file (The .xz File Format, version 1.2.1, sections 2.1.1,
// 2.1.2 and 4).
const (
	xzHeader = 12
	xzFooter = 12
)

var errXZ = errors.New("the encoder of xz made no stream of one block")

// compressXZ makes one stream of the blocks of many.
func (m *Image) compressXZ(w io.Writer) error {
	var records []byte // of the index
	var count uint64
	header := []byte(nil)
	err := m.pieces(newXZ, func(packed []byte, n int) error {
		block, record, err := splitXZ(packed)
		if err != nil {
			return err
		}
		if header == nil {
			header = bytes.Clone(packed[:xzHeader])
			if _, err := w.Write(header); err != nil {
				return err
			}
		}
		records = append(records, record...)
		count++
		_, err = w.Write(block)
		return err
	})
	if err != nil {
		return err
	}
	index := binary.AppendUvarint([]byte{0}, count) // section 1.2 has the same numbers as Go
	index = append(index, records...)
	index = append(index, make([]byte, -len(index)&3)...)
	index = binary.LittleEndian.AppendUint32(index, crc32.ChecksumIEEE(index))
	footer := binary.LittleEndian.AppendUint32(make([]byte, 4), uint32(len(index)/4-1))
	footer = append(footer, header[6:8]...) // the flags
	binary.LittleEndian.PutUint32(footer, crc32.ChecksumIEEE(footer[4:]))
	footer = append(footer, "YZ"...)
	_, err = w.Write(append(index, footer...))
	return err
}

// splitXZ returns the block of a stream that has one, and what the index says of it.
func splitXZ(stream []byte) (block, record []byte, err error) {
	end := len(stream) - xzFooter
	if end < xzHeader {
		return nil, nil, errXZ
	}
	start := end - 4*(int(binary.LittleEndian.Uint32(stream[end+4:]))+1)
	if start < xzHeader || end-start < 8 || stream[start] != 0 || stream[start+1] != 1 {
		return nil, nil, errXZ
	}
	index := stream[start+2 : end-4]
	length := 0
	for range 2 {
		_, n := binary.Uvarint(index[length:])
		if n <= 0 {
			return nil, nil, errXZ
		}
		length += n
	}
	return stream[xzHeader:start], index[:length], nil
}
