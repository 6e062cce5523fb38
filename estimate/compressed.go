package estimate

import "math"

// A codec bounds what a compression makes of a stream, and guesses it.
type codec struct {
	// A stream of n bytes takes at least n / best, and at most n + n / worst, and
	// frame bytes.
	best, worst, frame int64
	// ratio is what it is likely to take of a NAR of which nothing else is known,
	// and factors what it is likely to take of a NAR that is compressed otherwise,
	// but not more than of that NAR; in hundredths.
	ratio   int64
	factors map[string]int64
}

// codecs are those of package compress. The guesses are those of the system that
// likely.go tells of, in caches that Nix 2.8 wrote.
var codecs = map[string]*codec{
	// Deflate spends at least a bit on a length, which is 258 at most, and one on a
	// distance (RFC 1951, section 3.2.5): 1032 bytes for one. What it cannot
	// compress it stores, in blocks of up to 65,535 bytes with 5 more, and after
	// each MiB it has an empty one: 90 bytes, for which n/8192 leaves 128.
	"gzip": {best: 1032, worst: 8192, frame: 18, ratio: 38, factors: map[string]int64{
		"xz": 165, "lzma": 165, "lzip": 165, "br": 165, "zstd": 110, "bzip2": 115, "gzip": 105, "lz4": 75,
	}},
	// A block of zstd has at most 128 KiB (RFC 8878, section 3.1.1.2.4), and takes
	// at least 4 bytes, as one that repeats a byte; what cannot be compressed takes
	// 3 bytes more.
	"zstd": {best: 128 << 10 / 4, worst: 32 << 10, frame: 9, ratio: 31, factors: map[string]int64{
		"xz": 130, "lzma": 130, "lzip": 130, "br": 130, "zstd": 90, "bzip2": 95, "gzip": 85, "lz4": 60,
	}},
}

// compressed returns the estimate of what becomes of a stream of that size.
func compressed(c *Content, s Size, compression string) Size {
	z := codecs[compression]
	if z == nil {
		return s
	}
	return Size{
		Least:  add(z.frame, s.Least/z.best),
		Likely: add(z.frame, z.likely(c)),
		Most:   add(64, z.frame, s.Most, s.Most/z.worst),
	}.ordered()
}

// likely guesses what the content becomes.
func (z *codec) likely(c *Content) (likely int64) {
	for _, e := range c.least() {
		likely = add(likely, hundredths(e.Size, z.ratio))
	}
	for _, i := range c.Objects {
		n := hundredths(i.NarSize, z.ratio)
		if factor := z.factors[i.Compression]; factor > 0 && packed(i) {
			n = min(hundredths(i.FileSize, factor), i.NarSize)
		}
		likely = add(likely, n)
	}
	return likely
}

func hundredths(n, part int64) int64 {
	if n > math.MaxInt64/part {
		return math.MaxInt64
	}
	return n * part / 100
}
