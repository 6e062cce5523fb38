package xz

import (
	"fmt"
	"io"

	"thaw/internal/crew"
)

// A Format is a file format around LZMA.
type Format int

const (
	XZ   Format = iota // .xz
	LZMA               // .lzma, also called LZMA alone
	Lzip               // .lz
)

// Config says what a [Reader] reads, and within which bounds. Its zero value
// reads .xz of any size on one core, verifying all of it.
type Config struct {
	// Format of the input. It is not guessed.
	Format Format

	// MaxSize is the largest output in bytes; more is [ErrSize]. It is also
	// taken as a hint how much memory is worth while, so the exact size is
	// best. 0 means that there is no bound.
	MaxSize int64

	// MaxDict is the largest dictionary in bytes; input that wants more is
	// [ErrDict]. A Reader takes that much memory and 2 MiB, and no more
	// than its output has. 0 means 64 MiB, enough for all presets of xz.
	MaxDict int64

	// SkipCheck leaves out the check of the content (CRC32, CRC64 or
	// SHA-256), for callers who verify a stronger hash of it themselves.
	// All else is verified nevertheless.
	SkipCheck bool

	// Workers is how many goroutines decode blocks of .xz input side by
	// side. 0 and 1 mean none: the blocks are decoded within Read. With Spare,
	// more than 1 only says that they are: how many work is up to Spare and
	// Blocks.
	Workers int

	// MaxBlock is the largest size in bytes, packed and unpacked, of blocks
	// that are decoded side by side. Others, and those whose header leaves
	// out a size, are decoded one by one. 0 means 64 MiB.
	MaxBlock int64

	// Blocks is how many blocks that are decoded side by side are in memory
	// at a time, packed and unpacked. 0 means one more than Workers.
	Blocks int

	// Spare, if it is not nil, lets several Readers share processors: each
	// has one goroutine that may work in any case. Where that is at work
	// already when a block is to be decoded, Spare is asked, once for each
	// block, whether one more may work; release is called when it is done.
	// Where it may not, the block waits for the Reader's own. Goroutines
	// call it.
	Spare func() (release func(), ok bool)
}

const (
	defaultMaxDict  = 64 << 20
	defaultMaxBlock = 64 << 20
)

// withDefaults replaces zeros by what they mean.
func (c Config) withDefaults() Config {
	if c.MaxSize <= 0 {
		c.MaxSize = unlimited
	}
	if c.MaxDict <= 0 {
		c.MaxDict = defaultMaxDict
	}
	if c.MaxBlock <= 0 {
		c.MaxBlock = defaultMaxBlock
	}
	if c.Blocks <= 0 {
		c.Blocks = c.Workers + 1
	}
	return c
}

// A Reader decodes its source. Only one goroutine may use it at a time. After
// an error it returns the same error again.
type Reader struct {
	config Config
	src    source
	step   stateFn
	out    []byte // decoded, not yet read
	err    error  // once out is empty
	late   error  // once the crew has delivered, too
	left   int64  // how much more output MaxSize allows

	lzma2   lzma2Decoder
	checker checker
	bare    bareInput      // of .lzma and .lz
	crew    crew.Crew[job] // of blocks that are decoded aside

	// The stream, the block and the place in it.
	check     checkID
	blocks    records // the blocks' sizes, as found
	listed    records // and as in the index
	indexSize int64
	block     blockHeader
	begin     int64 // offset of the block's data
	output    int64 // of the block, so far

	scratch [1024]byte // the largest block header fits
}

// A stateFn reads the next part of the input and returns what comes then. It
// may leave output in out. At the end the error is io.EOF.
type stateFn func(*Reader) (stateFn, error)

// NewReader returns a Reader that decodes src. It does not read anything yet.
// It reads src to its end, in large pieces.
func NewReader(src io.Reader, c Config) *Reader {
	z := new(Reader)
	z.Reset(src, c)
	return z
}

// Reset makes the Reader decode src from the beginning, as if it were new. It
// keeps the memory.
func (z *Reader) Reset(src io.Reader, c Config) {
	z.crew.Stop()
	z.config = c.withDefaults()
	z.src.reset(src)
	z.out, z.err, z.late = nil, nil, nil
	z.left = z.config.MaxSize
	z.bare = bareInput{src: &z.src, lzma: &z.lzma2.lzma}
	z.lzma2.lzma.rc.pos = 0
	switch c.Format {
	case XZ:
		z.step = (*Reader).streamStart
	case LZMA:
		z.step = (*Reader).aloneStart
	case Lzip:
		z.step = (*Reader).lzipStart
	default:
		z.err = &UnsupportedError{Feature: "format"}
	}
}

// Read decodes into p.
func (z *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(z.out) == 0 {
		if z.err != nil {
			return 0, z.err
		}
		z.advance()
	}
	n := copy(p, z.out)
	z.out = z.out[n:]
	return n, nil
}

// WriteTo decodes everything that is left and writes it to w, without
// copying it first.
func (z *Reader) WriteTo(w io.Writer) (int64, error) {
	total := int64(0)
	for {
		for len(z.out) == 0 {
			if z.err == io.EOF {
				return total, nil
			}
			if z.err != nil {
				return total, z.err
			}
			z.advance()
		}
		n, err := w.Write(z.out)
		total += int64(n)
		if err == nil && n < len(z.out) {
			err = io.ErrShortWrite
		}
		z.out = z.out[n:]
		if err != nil {
			return total, err
		}
	}
}

// advance reads one part of the input. What was decoded aside comes before an
// error that lies behind it.
func (z *Reader) advance() {
	if z.late != nil {
		if !z.deliver() {
			z.err = z.late
		}
		return
	}
	step, err := z.step(z)
	z.step = step
	if err != nil {
		z.late = err
	}
}

// admit refuses a dictionary or an announced size (or unlimited) that exceeds
// the caller's bounds.
func (z *Reader) admit(dict, output int64) error {
	if dict > z.config.MaxDict {
		return fmt.Errorf("%w: %d bytes", ErrDict, dict)
	}
	if output != unlimited && output > z.left {
		return ErrSize
	}
	return nil
}

// hint is how much output is to be expected, 0 if the caller has not said. The
// header alone is not believed: memory is not taken for mere announcements.
func (z *Reader) hint() int64 {
	if z.config.MaxSize == unlimited {
		return 0
	}
	return min(z.block.output, z.left)
}

// Close ends the Reader: its goroutines, if there are any, have ended when
// it returns. It does not close the source. Reset makes the Reader usable
// again.
func (z *Reader) Close() error {
	z.crew.Stop()
	z.out, z.err = nil, errClosed
	return nil
}
