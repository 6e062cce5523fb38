package estimate

import (
	"cmp"

	"thaw/image/erofs"
	"thaw/image/squashfs"
)

// leastFile is the smallest file system that squashfs and erofs make: both are
// multiples of 4 KiB. Contents may be equal or zeros, and names and inodes may be
// compressed to next to nothing.
const leastFile = 4096

// A share is what a format takes at most, besides its share of contents, names and
// targets, of which there are fewer than the NARs have bytes.
type share struct {
	entry   int64 // of each entry
	content int64 // of contents, names and targets: a 1/content more than they have
	frame   int64 // of the whole
}

// most bounds a file system from above.
func (s share) most(c *Content) int64 {
	n, bytes := int64(0), int64(0)
	for _, e := range c.most() {
		n++
		bytes = add(bytes, e.Size, int64(len(e.Path)+len(e.Target)))
		for _, x := range e.Xattrs {
			bytes = add(bytes, int64(len(x.Name)+len(x.Value)+64))
		}
	}
	for _, i := range c.Objects {
		n = add(n, entries(i.NarSize))
		bytes = add(bytes, i.NarSize, int64(len(i.StorePath.Base())))
	}
	if c.View != "" {
		n = add(n, viewWork/viewEntry)
		bytes = add(bytes, viewMost(viewTarget))
	}
	return padded(add(s.frame, mul(n, s.entry), bytes, ceilDiv(bytes, s.content)), leastFile)
}

// A ratio is what contents are likely to become: in hundredths of a NAR of which
// nothing else is known, and in hundredths of a 31st of what zstd is guessed to make of
// it from what its cache says.
type ratio struct{ alone, scale int64 }

// guess says what the NARs become. Without compression the caches say nothing of it.
func (r ratio) guess(c *Content) int64 {
	z := codec{ratio: r.alone, factors: map[string]int64{}}
	zstd := codecs["zstd"]
	for name, factor := range zstd.factors {
		z.factors[name] = factor * r.scale / zstd.ratio
	}
	return z.likely(c)
}

// The guesses for squashfs, of the same system as those of likely.go.
var squashfsRatios = map[squashfs.Compression]ratio{
	squashfs.Zstd: {32, 33}, squashfs.Gzip: {35, 38}, squashfs.LZ4: {42, 48}, squashfs.XZ: {31, 33}, squashfs.None: {96, 0},
}

// Squashfs estimates a squashfs file system of these options.
//
// Of each entry it has an inode of at most 56 bytes, 4 in the table of inodes by
// number with 8 for each 1024, a header of 12 and an entry of 8 in its directory, a
// place of 16 in the table of shared blocks and of an index of 12 in its directory; of
// each block of content 4 bytes. Metadata is in blocks of 8 KiB, with 2 bytes and a
// place of 8 for each. What compression does not make smaller is stored as it is.
func Squashfs(c *Content, o squashfs.Options) Size {
	block := int64(cmp.Or(o.BlockSize, squashfs.DefaultBlockSize))
	most := share{entry: 128, content: min(block/4, 512), frame: 8192}.most(c)
	likely := squashfsRatios[o.Compression].guess(c)
	if o.Fast && o.Compression == squashfs.Zstd {
		likely = add(likely, likely/20)
	}
	return Size{leastFile, padded(likely, leastFile), most}.ordered()
}

// The guesses for disks whose blocks are compressed, likewise, by format and compression.
var diskRatios = map[[2]string]ratio{
	{"raw", "gzip"}: {38, 39}, {"raw", "zstd"}: {35, 37}, {"raw", "xz"}: {31, 33},
	{"qcow2", "zlib"}: {41, 43}, {"qcow2", "zstd"}: {39, 41}, {"vmdk", "none"}: {39, 41},
}

// Packed guesses what content becomes on a disk whose blocks a format compresses, 0 if
// it does not.
func Packed(c *Content, format, compression string) int64 {
	r := diskRatios[[2]string{format, compression}]
	if r == (ratio{}) {
		return 0
	}
	return r.guess(c)
}

// The guesses for erofs, likewise.
var erofsRatios = map[erofs.Compression]ratio{erofs.None: {96, 0}, erofs.LZ4: {52, 61}, erofs.LZ4HC: {47, 53}}

// Erofs estimates an erofs file system of these options.
//
// Of each entry it has an inode of at most 64 bytes and 12 in its directory, a block
// that is not full of content, and one that an inode with the end of its content left
// free; a directory, too, has a block that is not full, and each of its blocks leaves
// at most 267 of 4096 bytes. Content that is compressed has an index of 8 bytes for
// each 4 KiB, content with holes less; what compression does not make smaller is
// stored as it is. Extended attributes are few.
func Erofs(c *Content, o erofs.Options) Size {
	most := share{entry: 2*4096 + 64 + 32, content: 12, frame: 3 * 4096}.most(c)
	likely := erofsRatios[o.Compression].guess(c)
	return Size{leastFile, padded(likely, leastFile), most}.ordered()
}
