package faultserver

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"slices"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// Fault changes an answer.
type Fault func(*Answer)

// Status makes the answer an error of that code.
func Status(code int) Fault {
	return func(a *Answer) {
		a.Status = code
		a.Header.Del("ETag")
		a.Header.Del("Accept-Ranges")
		a.Header.Del("Content-Range")
		a.Body = fmt.Appendf(nil, "<html><body>%d, says the fault server</body></html>\n", code)
	}
}

// Busy is a status of 429 or 503 with Retry-After as given.
func Busy(code int, retryAfter string) Fault {
	return func(a *Answer) {
		Status(code)(a)
		a.Header.Set("Retry-After", retryAfter)
	}
}

// Redirect sends the client elsewhere. A %s in to is replaced by the path.
func Redirect(code int, to string) Fault {
	return func(a *Answer) {
		Status(code)(a)
		if bytes.Contains([]byte(to), []byte("%s")) {
			a.Header.Set("Location", fmt.Sprintf(to, a.Request.URL.Path))
		} else {
			a.Header.Set("Location", to)
		}
	}
}

// Header sets a field of the answer's header.
func Header(key, value string) Fault { return func(a *Answer) { a.Header.Set(key, value) } }

// CutAt ends the body after n bytes.
func CutAt(n int64, how Framing, end End) Fault {
	return func(a *Answer) { a.Cut, a.Framing, a.End = n, how, end }
}

// CutPercent ends the body after that part of it.
func CutPercent(percent int, how Framing, end End) Fault {
	return func(a *Answer) { CutAt(int64(len(a.Body)*percent/100), how, end)(a) }
}

// Short sends the first part of the file as if that were all of it.
func Short(percent int) Fault {
	return func(a *Answer) { a.Body = a.Body[:len(a.Body)*percent/100] }
}

// Framed sends the body whole, framed as how says.
func Framed(how Framing) Fault { return func(a *Answer) { a.Framing = how } }

// Hung makes the headers stall.
func Hung(where Hang) Fault { return func(a *Answer) { a.Hang = where } }

// Dripping sends n bytes at a time with a pause after each.
func Dripping(n int, pause time.Duration) Fault {
	return func(a *Answer) { a.Bytes, a.Drip = n, pause }
}

// Forever sends the body again and again, in chunks.
func Forever(a *Answer) { a.Framing, a.End = Chunked, Endless }

// Body replaces the body.
func Body(b []byte) Fault { return func(a *Answer) { a.Body = b } }

// Flip changes one byte of the body, at that part of it.
func Flip(percent int) Fault {
	return func(a *Answer) {
		if len(a.Body) > 0 {
			a.Body = bytes.Clone(a.Body)
			a.Body[(len(a.Body)-1)*percent/100] ^= 0x20
		}
	}
}

// Replace changes text in the body.
func Replace(old, new string) Fault {
	return func(a *Answer) { a.Body = bytes.ReplaceAll(a.Body, []byte(old), []byte(new)) }
}

// NoRange answers requests for a range with the whole file.
func NoRange(a *Answer) {
	a.Header.Del("Accept-Ranges")
	if a.Status == 206 || a.Status == 416 {
		a.Status, a.Body = 200, a.File
		a.Header.Del("Content-Range")
	}
}

// WholeAs206 answers requests for a range with the whole file and a status of
// 206, as if it were the range.
func WholeAs206(a *Answer) {
	if a.Status == 206 {
		a.Body = a.File
	}
}

// WrongRange answers requests for a range with another one, and says so.
func WrongRange(a *Answer) {
	if from, ok := Offset(a.Request); ok && a.Status == 206 {
		from /= 2
		a.Body = a.File[from:]
		a.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(a.File)-1, len(a.File)))
	}
}

// OtherTag makes the server give each request another ETag, and never a range
// to one that has an If-Range.
func OtherTag(a *Answer) {
	a.Header.Set("ETag", fmt.Sprintf("%q", time.Now().String()))
	if a.Request.Header.Get("If-Range") != "" {
		NoRange(a)
	}
}

// Encoded compresses the body with gzip, br or zstd, and says label in
// Content-Encoding, nothing if that is "".
func Encoded(codec, label string) Fault {
	return func(a *Answer) {
		a.Body = Compress(codec, a.Body)
		a.Header.Del("Accept-Ranges")
		if label != "" {
			a.Header.Set("Content-Encoding", label)
		}
	}
}

// frameSize is how much of a NAR a frame of zstd has. Nix makes them of 16 MiB.
const frameSize = 16 << 10

// Frames is zstd in many frames that say what they expand to, in place of one that does
// not.
const Frames = "zstd-frames"

// Compress packs b with gzip, br, zstd, [Frames] or none.
func Compress(codec string, b []byte) []byte {
	var out bytes.Buffer
	switch codec {
	case "none":
		return b
	case "gzip":
		w := gzip.NewWriter(&out)
		w.Write(b)
		w.Close()
	case "br":
		w := brotli.NewWriterLevel(&out, 4)
		w.Write(b)
		w.Close()
	case "zstd":
		w, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic(err)
		}
		w.Write(b)
		w.Close()
	case Frames:
		w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true))
		if err != nil {
			panic(err)
		}
		defer w.Close()
		var packed []byte
		for frame := range slices.Chunk(b, frameSize) {
			packed = w.EncodeAll(frame, packed)
		}
		return packed
	default:
		panic("no encoder for " + codec)
	}
	return out.Bytes()
}
