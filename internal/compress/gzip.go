package compress

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"io/fs"
	"runtime"

	"github.com/klauspost/compress/flate"
)

const (
	gzipLevel = 6
	// chunkSize is how many bytes are compressed at a time. Their compression
	// begins anew, but for what the bytes before give it to refer to.
	chunkSize = 1 << 20
	// reach is how far back deflate refers (RFC 1951, section 2).
	reach = 32 << 10
	// maxWorkers bounds the memory, as chunks wait for their turn.
	maxWorkers = 8
)

// gzipHeader says deflate, no flags, no time, no level, and no system (RFC 1952,
// section 2.3).
const gzipHeader = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

// gzipWriter writes one gzip member (RFC 1952) of chunks that are compressed side
// by side. All but the last end at a whole byte, by an empty block that is not
// compressed; so they can be joined.
type gzipWriter struct {
	w       io.Writer
	crc     uint32
	size    uint32   // modulo 2^32
	filling *chunk   // what is not full yet
	pending []*chunk // being compressed, in their order
	free    []*chunk
	workers int
	err     error // sticky
}

type chunk struct {
	data []byte // after up to reach bytes of what comes before
	dict int    // how many these are
	out  bytes.Buffer
	err  error
	done chan struct{}
}

func newGzip(w io.Writer) *gzipWriter {
	z := &gzipWriter{w: w, workers: min(runtime.GOMAXPROCS(0), maxWorkers)}
	z.filling = z.chunk(nil)
	z.filling.out.WriteString(gzipHeader)
	return z
}

// chunk returns an empty chunk that follows some bytes.
func (z *gzipWriter) chunk(before []byte) *chunk {
	c := &chunk{data: make([]byte, 0, reach+chunkSize)}
	if n := len(z.free); n > 0 {
		c, z.free = z.free[n-1], z.free[:n-1]
	}
	c.data = append(c.data[:0], before[max(0, len(before)-reach):]...)
	c.dict = len(c.data)
	c.out.Reset()
	c.done = make(chan struct{})
	return c
}

// Write compresses p, maybe later.
func (z *gzipWriter) Write(p []byte) (n int, err error) {
	for z.err == nil && n < len(p) {
		c := z.filling
		if len(c.data)-c.dict == chunkSize {
			z.err = z.start(false)
			continue
		}
		k := min(len(p)-n, c.dict+chunkSize-len(c.data))
		part := p[n : n+k]
		c.data = append(c.data, part...)
		z.crc = crc32.Update(z.crc, crc32.IEEETable, part)
		z.size += uint32(k)
		n += k
	}
	return n, z.err
}

// start has the filling chunk compressed, and begins another one.
func (z *gzipWriter) start(last bool) error {
	if len(z.pending) == z.workers {
		if err := z.put(); err != nil {
			return err
		}
	}
	c := z.filling
	z.pending = append(z.pending, c)
	z.filling = z.chunk(c.data)
	go c.compress(last)
	return nil
}

// compress fills c.out. The compressor is a new one each time, so that no trace
// of another chunk can tell which of them it compressed before.
func (c *chunk) compress(last bool) {
	defer close(c.done)
	f, err := flate.NewWriterDict(&c.out, gzipLevel, c.data[:c.dict])
	if err == nil {
		_, err = f.Write(c.data[c.dict:])
	}
	if err == nil && last {
		err = f.Close()
	} else if err == nil {
		err = f.Flush()
	}
	c.err = err
}

// put writes the oldest of the pending chunks.
func (z *gzipWriter) put() error {
	c := z.pending[0]
	z.pending = append(z.pending[:0], z.pending[1:]...)
	<-c.done
	if c.err != nil {
		return c.err
	}
	_, err := z.w.Write(c.out.Bytes())
	z.free = append(z.free, c)
	return err
}

// Close writes what is left, and the trailer.
func (z *gzipWriter) Close() error {
	if z.err != nil {
		return z.err
	}
	z.err = z.finish()
	err := z.err
	if err == nil {
		z.err = fs.ErrClosed
	}
	return err
}

func (z *gzipWriter) finish() error {
	if err := z.start(true); err != nil {
		return err
	}
	for len(z.pending) > 0 {
		if err := z.put(); err != nil {
			return err
		}
	}
	trailer := binary.LittleEndian.AppendUint32(nil, z.crc)
	_, err := z.w.Write(binary.LittleEndian.AppendUint32(trailer, z.size))
	return err
}
