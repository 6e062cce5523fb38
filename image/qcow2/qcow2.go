// Package qcow2 writes disk images in QEMU's format qcow2, version 3.
//
// Clusters that are all zeros are not in the image. The others lie in their order,
// packed if [Options] say so and it saves something, or, in an image that is not
// made of a raw one, in the order in which they are first written. Reference counts
// are exact. The bytes depend on the disk, that order and the options alone.
//
// Memory: 32 MiB for each TiB of the result, and for each processor half a MiB, and an
// encoder of 2 MiB for zlib or 4 MiB for zstd. Without a raw image: 96 MiB for each TiB.
//
// There are no snapshots, no backing files, no encryption. The format is that of
// QEMU's docs/interop/qcow2.txt, whose sections comments name in quotes.
package qcow2

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"thaw/image/raw"
)

// Compression is how clusters are packed. Each value has pinned settings.
type Compression int

const (
	None Compression = iota
	Zlib             // read by every QEMU, libvirt and cloud
	Zstd             // smaller and faster to read; QEMU since 5.1
)

func (c Compression) String() string {
	switch c {
	case None:
		return "none"
	case Zlib:
		return "zlib"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("Compression(%d)", int(c))
}

// Options describe an image. The zero value is one without compression.
type Options struct {
	Compression Compression
}

// MaxSize is the size of the largest disk, in bytes: what QEMU takes as the length
// of the table of tables, 32 MiB, can refer to.
const MaxSize = 2 << 50

const (
	clusterBits = 16 // QEMU's own choice
	clusterSize = 1 << clusterBits
	l2Entries   = clusterSize / 8
	l2Reach     = l2Entries * clusterSize // bytes of the disk
	// refcountEntries is how many counts, of 16 bits, a block of them has.
	// A cluster is never counted more often than that holds: no packed one
	// is shorter than 3 bytes.
	refcountEntries = clusterSize / 2
)

// "Header".
const (
	magic            = "QFI\xfb"
	version          = 3
	headerLength     = 112
	incompatibleZstd = 1 << 3 // "compression type bit"
	refcountOrder    = 4      // 16 bits
)

// "L1 table entry", "L2 table entry", "Compressed Clusters Descriptor".
const (
	flagCopied     = 1 << 63 // the reference count is exactly one
	flagCompressed = 1 << 62
	sectorSize     = 512
	sectorsShift   = 62 - (clusterBits - 8)
)

var be = binary.BigEndian

// NewWriter returns a writer of an image to w, which is empty or all zeros. It has no
// compression, for which clusters have to be known as a whole.
func NewWriter(w io.WriterAt, o Options) (*raw.Writer, error) {
	if o.Compression != None {
		return nil, fmt.Errorf("qcow2: compression %v needs a raw image", o.Compression)
	}
	return raw.NewWriter(w, raw.Layout{
		Format: "qcow2", MaxSize: MaxSize, Block: clusterSize, First: clusterSize,
		Finish: func(m *raw.Map, size int64) (int64, error) {
			i := newImage(w, size)
			i.refcounts = slices.Grow(i.refcounts, int(m.Len()+m.Len()/64)) // for tables, too
			i.alloc(int(m.Len()))
			for cluster, place := range m.All() {
				if cluster*clusterSize >= size {
					i.refcounts[place/clusterSize] = 0
					continue
				}
				entry, err := i.entry(cluster)
				if err != nil {
					return 0, err
				}
				*entry = flagCopied | uint64(place)
			}
			err := i.finish(size, &o)
			return int64(len(i.refcounts)) * clusterSize, err
		},
	}), nil
}

// Write writes the disk that the first size bytes of r are to w, which is empty or
// all zeros. The disk is rounded up to a multiple of 512 bytes.
func Write(w io.WriterAt, r io.ReaderAt, size int64, o Options) error {
	if err := write(w, r, size, &o); err != nil {
		return fmt.Errorf("qcow2: %w", err)
	}
	return nil
}

func write(w io.WriterAt, r io.ReaderAt, size int64, o *Options) error {
	if size > MaxSize {
		return fmt.Errorf("a disk of %d bytes: it has up to %d", size, int64(MaxSize))
	}
	pack, err := packer(o.Compression)
	if err != nil {
		return err
	}
	m, err := raw.New(r, size)
	if err != nil {
		return err
	}
	i := newImage(w, m.Size())
	for b, err := range m.Blocks(clusterSize, pack) {
		if err != nil {
			return err
		}
		if err := i.add(b); err != nil {
			return err
		}
	}
	return i.finish(m.Size(), o)
}

// An image is one that is being written. Clusters of the file are given out from
// its beginning to its end.
type image struct {
	w         io.WriterAt
	refcounts []uint16 // of clusters of the file
	l1        []uint64
	l2        []uint64 // the current table
	table     int64    // which one that is
	dirty     bool     // it has entries
	packed    int64    // where the next packed cluster may go
	room      int64    // how much is left there
	buf       []byte   // of a cluster
}

func newImage(w io.WriterAt, size int64) *image {
	i := &image{
		w:  w,
		l1: make([]uint64, (size+l2Reach-1)/l2Reach),
		l2: make([]uint64, l2Entries),
	}
	i.alloc(1) // of the header, which is written last
	return i
}

// alloc gives out clusters in a row, and returns the offset of the first.
func (i *image) alloc(clusters int) int64 {
	off := int64(len(i.refcounts)) * clusterSize
	for range clusters {
		i.refcounts = append(i.refcounts, 1)
	}
	return off
}

// add adds a cluster of the disk.
func (i *image) add(b raw.Block) error {
	entry, err := i.entry(b.Index)
	if err != nil {
		return err
	}
	if n := int64(len(b.Packed)); n > 0 && n < clusterSize {
		off := i.allocPacked(n)
		// The number of sectors besides the first one.
		sectors := (off+n-1)/sectorSize - off/sectorSize
		*entry = flagCompressed | uint64(sectors)<<sectorsShift | uint64(off)
		_, err := i.w.WriteAt(b.Packed, off)
		return err
	}
	off := i.alloc(1)
	*entry = flagCopied | uint64(off)
	_, err = i.w.WriteAt(b.Data, off)
	return err
}

// entry returns the entry of a cluster of the disk, which is not before the last one.
func (i *image) entry(cluster int64) (*uint64, error) {
	if table := cluster / l2Entries; table != i.table {
		if err := i.endL2(); err != nil {
			return nil, err
		}
		i.table = table
	}
	i.dirty = true
	return &i.l2[cluster%l2Entries], nil
}

// allocPacked finds a place for a packed cluster: behind the one before, which it
// may share a cluster of the file with, if it needs no more than that or the next
// one is free.
func (i *image) allocPacked(n int64) int64 {
	end := int64(len(i.refcounts)) * clusterSize
	switch {
	case n <= i.room:
		i.refcounts[i.packed/clusterSize]++
	case i.room > 0 && i.packed+i.room == end:
		i.refcounts[i.packed/clusterSize]++
		i.alloc(1)
		i.room += clusterSize
	default:
		i.packed, i.room = i.alloc(1), clusterSize
	}
	off := i.packed
	i.packed += n
	i.room -= n
	return off
}

// endL2 writes the current table.
func (i *image) endL2() error {
	if !i.dirty {
		return nil
	}
	off := i.alloc(1)
	i.l1[i.table] = flagCopied | uint64(off)
	err := i.put(off, i.l2)
	clear(i.l2)
	i.dirty = false
	return err
}

// put writes entries of tables at an offset, and zeros up to the end of a cluster.
func (i *image) put(off int64, entries []uint64) error {
	for len(entries) > 0 {
		n := min(len(entries), l2Entries)
		b := i.buf[:0]
		for _, e := range entries[:n] {
			b = be.AppendUint64(b, e)
		}
		i.buf = append(b, make([]byte, clusterSize-len(b))...)
		if _, err := i.w.WriteAt(i.buf, off); err != nil {
			return err
		}
		off += clusterSize
		entries = entries[n:]
	}
	return nil
}

// finish writes the last table, the table of tables, the counts and the header.
func (i *image) finish(size int64, o *Options) error {
	if err := i.endL2(); err != nil {
		return err
	}
	l1 := i.alloc((len(i.l1) + l2Entries - 1) / l2Entries)
	if err := i.put(l1, i.l1); err != nil {
		return err
	}
	refcounts, clusters, err := i.putRefcounts()
	if err != nil {
		return err
	}
	b := make([]byte, 0, clusterSize)
	b = append(b, magic...)
	b = be.AppendUint32(b, version)
	b = be.AppendUint64(b, 0) // the name of a backing file: its offset,
	b = be.AppendUint32(b, 0) // and length
	b = be.AppendUint32(b, clusterBits)
	b = be.AppendUint64(b, uint64(size))
	b = be.AppendUint32(b, 0) // no encryption
	b = be.AppendUint32(b, uint32(len(i.l1)))
	b = be.AppendUint64(b, uint64(l1))
	b = be.AppendUint64(b, uint64(refcounts))
	b = be.AppendUint32(b, uint32(clusters))
	b = be.AppendUint32(b, 0) // snapshots: their number,
	b = be.AppendUint64(b, 0) // and offset
	var incompatible uint64
	var kind byte
	if o.Compression == Zstd {
		incompatible, kind = incompatibleZstd, 1
	}
	b = be.AppendUint64(b, incompatible)
	b = be.AppendUint64(b, 0) // compatible features
	b = be.AppendUint64(b, 0) // features that do not forbid to write
	b = be.AppendUint32(b, refcountOrder)
	b = be.AppendUint32(b, headerLength)
	b = append(b, kind, 0, 0, 0, 0, 0, 0, 0)
	// Behind it the end of the header extensions, and no name: zeros.
	_, err = i.w.WriteAt(b[:clusterSize], 0)
	return err
}

// putRefcounts writes the counts of all clusters, their own among them, and returns
// where the table is that refers to them, and its length in clusters.
func (i *image) putRefcounts() (off int64, clusters int, err error) {
	used := len(i.refcounts)
	blocks := 0
	for {
		all := used + blocks + clusters
		b := (all + refcountEntries - 1) / refcountEntries
		c := (b + l2Entries - 1) / l2Entries
		if b == blocks && c == clusters {
			break
		}
		blocks, clusters = b, c
	}
	off = i.alloc(clusters)
	first := i.alloc(blocks)
	table := make([]uint64, blocks)
	for n := range table {
		table[n] = uint64(first + int64(n)*clusterSize)
		b := i.buf[:0]
		for _, count := range i.refcounts[n*refcountEntries : min((n+1)*refcountEntries, len(i.refcounts))] {
			b = be.AppendUint16(b, count)
		}
		i.buf = append(b, make([]byte, clusterSize-len(b))...)
		if _, err := i.w.WriteAt(i.buf, int64(table[n])); err != nil {
			return 0, 0, err
		}
	}
	return off, clusters, i.put(off, table)
}
