package decompress

import (
	"bufio"
	"bytes"
	"io"
	"math"
	"slices"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"thaw/internal/crew"
)

// frames decodes a stream of zstd in many frames, as Nix writes them from 2.35 on,
// several at a time. Where one ends is found by its blocks, whose headers have their
// sizes (RFC 8878, section 3.1.1.2). From the first one on that does not say what it
// expands to, or is too large, the stream is decoded as any other.
type frames struct {
	r      *bufio.Reader
	size   int64 // of all that comes out, or -1
	most   int64 // of one frame
	atOnce int
	zstd   *zstd.Decoder
	crew   crew.Crew[frame]

	out   []byte        // of the frame that is being read
	end   error         // why there is no frame more to begin, or nil
	other io.Reader     // what the frames are followed by, or nil
	rest  io.ReadCloser // its decoder
	err   error         // sticky
}

// frame is one frame of zstd, and what it expands to.
type frame struct {
	packed, plain []byte
	err           error
}

// openFrames returns a decoder of so many frames at once, each of which has at most most
// bytes, that expand to size bytes, if it is not negative.
func openFrames(r *bufio.Reader, size, most int64, atOnce int, team Team) (*frames, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(atOnce), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(MaxWindow), zstd.IgnoreChecksum(true))
	if err != nil {
		return nil, err
	}
	f := &frames{r: r, size: size, most: most, atOnce: atOnce, zstd: z}
	f.crew.Set(1, team.Spare)
	return f, nil
}

// readFrame reads the header of a frame. It is false unless it says what the frame
// expands to.
func readFrame(head []byte) (h zstd.Header, ok bool) {
	err := h.Decode(head)
	return h, err == nil && !h.Skippable && h.HasFCS && h.FrameContentSize <= math.MaxInt64
}

func (z *frames) Read(b []byte) (int, error) {
	for len(z.out) == 0 {
		switch {
		case z.err != nil:
			return 0, z.err
		case z.rest != nil:
			return z.rest.Read(b)
		}
		z.next()
	}
	n := copy(b, z.out)
	z.out = z.out[n:]
	return n, nil
}

// next begins with as many frames as it can, and takes what the first one expands to.
func (z *frames) next() {
	for z.end == nil && z.other == nil && z.crew.Len() < z.atOnce && (z.crew.Len() == 0 || !z.crew.Ready()) {
		f := z.crew.Job()
		if z.other, z.end = z.read(f); z.other == nil && z.end == nil {
			z.crew.Begin(f, z.decode)
		}
	}
	switch f := z.crew.Next(); {
	case f == nil && z.other != nil:
		z.rest, z.err = newReader("zstd", z.other, z.size, large)
	case f == nil:
		z.err = z.end
	default:
		z.out, z.err = f.plain, f.err
	}
}

// read fills f with the next frame. Where that is none to decode aside, it returns the
// stream from there on. The end of the stream is io.EOF.
func (z *frames) read(f *frame) (other io.Reader, err error) {
	head, err := z.r.Peek(zstd.HeaderMaxSize)
	if err != nil && (err != io.EOF || len(head) == 0) {
		return nil, err
	}
	h, ok := readFrame(head)
	if !ok || int64(h.FrameContentSize) > z.most {
		return z.r, nil
	}
	f.packed, f.plain = f.packed[:0], f.plain[:0]
	if err := f.take(z.r, h.HeaderSize); err != nil {
		return nil, err
	}
	for last := false; !last; {
		if err := f.take(z.r, 3); err != nil {
			return nil, err
		}
		b := f.packed[len(f.packed)-3:]
		last = b[0]&1 != 0
		size := int(b[0])>>3 | int(b[1])<<5 | int(b[2])<<13
		switch b[0] >> 1 & 3 {
		case 1: // one byte, repeated
			size = 1
		case 3: // reserved
			size = math.MaxInt32
		}
		if size > maxBlock || int64(len(f.packed)+size) > z.most+z.most>>7+1<<10 { // what does not shrink grows
			return io.MultiReader(bytes.NewReader(f.packed), z.r), nil // f is not used again
		}
		if err := f.take(z.r, size); err != nil {
			return nil, err
		}
	}
	if h.HasCheckSum {
		return nil, f.take(z.r, 4)
	}
	return nil, nil
}

// maxBlock is the largest block of a frame, in bytes.
const maxBlock = 128 << 10

// take reads n more bytes of the frame.
func (f *frame) take(r io.Reader, n int) error {
	at := len(f.packed)
	f.packed = slices.Grow(f.packed, n)[:at+n]
	_, err := io.ReadFull(r, f.packed[at:])
	return unexpected(err)
}

func (z *frames) decode(f *frame, quit *atomic.Bool) {
	if !quit.Load() {
		f.plain, f.err = z.zstd.DecodeAll(f.packed, f.plain)
	}
}

func (z *frames) Close() error {
	z.crew.Stop()
	z.zstd.Close()
	if z.rest != nil {
		return z.rest.Close()
	}
	return nil
}
