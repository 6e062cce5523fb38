package decompress

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"math/bits"

	"github.com/klauspost/compress/zstd"
)

// headSize is how much of a stream Window looks at: the headers of a stream of xz and
// of its first block, if no size in them has more bytes than it needs.
const headSize = 64

// besides is about what a decoder takes besides its window.
const besides = 1 << 20

// Window returns about how much memory the decoder of a stream takes, in bytes: by its
// first headers, which are in head, and never for more than the size bytes that it
// expands to, if that is not negative. What head cannot tell counts as [MaxWindow].
// What comes later in a stream may ask for more.
func Window(name string, head []byte, size int64) int64 {
	window := window(name, head)
	if size >= 0 {
		window = min(window, size)
	}
	return min(window, MaxWindow) + besides
}

func window(name string, head []byte) int64 {
	switch name {
	case "none", "compress":
		return 0
	case "gzip":
		return 64 << 10
	case "bzip2":
		return 4 << 20
	case "lz4":
		return 8 << 20
	case "xz":
		if h, ok := readXZ(head); ok {
			return h.window
		}
	case "lzip":
		if len(head) > 5 {
			power := int64(1) << (head[5] & 31)
			return power - power/16*int64(head[5]>>5)
		}
	case "lzma":
		if len(head) > 4 {
			return int64(binary.LittleEndian.Uint32(head[1:]))
		}
	case "zstd":
		var h zstd.Header
		if err := h.Decode(head); err == nil && !h.Skippable {
			if h.SingleSegment {
				h.WindowSize = h.FrameContentSize
			}
			return int64(min(h.WindowSize, MaxWindow))
		}
	case "br":
		if len(head) > 0 {
			return brotliWindow(head[0])
		}
	}
	return MaxWindow
}

// narrow returns a stream of zstd whose first frame asks for no larger window than its
// size bytes can need, if that is not negative: the decoder sets up what the frame asks
// for, which may be 128 MiB for a NAR of a few bytes. No reference in a frame reaches
// back further than its own beginning, and blocks have up to 128 KiB. The descriptor of
// the window is the sixth byte (RFC 8878, section 3.1.1.1.2).
func narrow(r io.Reader, size int64) (io.Reader, error) {
	const descriptor, smallest = 5, 17 // log2 of 128 KiB
	head := make([]byte, zstd.HeaderMaxSize)
	n, err := io.ReadFull(r, head)
	head = head[:n]
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	var h zstd.Header
	if size >= 0 && h.Decode(head) == nil && !h.Skippable && !h.SingleSegment {
		power := max(bits.Len64(uint64(max(size, 1)-1)), smallest)
		if uint64(1)<<power < h.WindowSize {
			head[descriptor] = byte(power-10) << 3
		}
	}
	return io.MultiReader(bytes.NewReader(head), r), nil
}

// xzHeader is what the header of the first block says.
type xzHeader struct {
	window         int64 // of its dictionary, and the 2 MiB that package xz has besides
	packed, output int64 // 0 if it leaves that out
}

// readXZ reads the headers of a stream and of its first block.
func readXZ(head []byte) (h xzHeader, ok bool) {
	const streamHeader = 12
	if len(head) < streamHeader+2 || head[streamHeader] == 0 {
		return h, len(head) > streamHeader // the index: there is no block
	}
	flags, rest := head[streamHeader+1], head[streamHeader+2:]
	for _, size := range []struct {
		there byte
		to    *int64
	}{{flags & 0x40, &h.packed}, {flags & 0x80, &h.output}} {
		if size.there == 0 {
			continue
		}
		v, n := binary.Uvarint(rest)
		if n <= 0 || v > math.MaxInt64 {
			return h, false
		}
		*size.to, rest = int64(v), rest[n:]
	}
	// One filter, LZMA2, with one byte of properties.
	if flags&3 != 0 || len(rest) < 3 || rest[0] != 0x21 || rest[1] != 1 || rest[2] > 40 {
		return h, false
	}
	h.window = (2|int64(rest[2]&1))<<(rest[2]/2+11) + 2<<20
	return h, true
}

// brotliWindow returns the size of the window that a stream's first byte says (RFC
// 7932, section 9.1).
func brotliWindow(b byte) int64 {
	switch {
	case b&1 == 0:
		return 1 << 16
	case b>>1&7 != 0:
		return 1 << (17 + b>>1&7)
	case b>>4&7 == 0:
		return 1 << 17
	}
	return 1 << (8 + b>>4&7)
}
