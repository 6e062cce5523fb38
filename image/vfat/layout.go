package vfat

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"sort"
	"strings"

	"thaw/rootfs"
)

const (
	firstCluster = 2 // the first two entries of a table mean something else
	tableCopies  = 2
	// dataAlign is what the first cluster's place is a multiple of at least, so
	// that small clusters do not lie across pages.
	dataAlign = 4096
	// reserved32 are the sectors in front of FAT32's tables; the boot sector of
	// the others stands alone.
	reserved32 = 32

	maxSectors  = math.MaxUint32
	maxReserved = math.MaxUint16
	maxPercent  = 100_000
)

// clusterRange says how many clusters make which type of file system (section "FAT
// Type Determination").
var clusterRange = map[int]struct{ min, max int64 }{
	12: {1, 4084},
	16: {4085, 65524},
	32: {65525, 0x0ffffff5},
}

// A row gives the clusters of file systems that are no larger than limit.
type row struct{ limit, cluster int64 }

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// rows returns the table of the sizes of clusters for a type: Microsoft's for FAT16
// and FAT32, and for neither the one that it uses by size (section "Boot Sector and
// BPB", DskTableFAT16 and DskTableFAT32). There is none for FAT12, which gets the
// smallest clusters that do.
func rows(bits int) []row {
	large := []row{{8 * gib, 4 * kib}, {16 * gib, 8 * kib}, {32 * gib, 16 * kib}, {math.MaxInt64, 32 * kib}}
	medium := []row{{32680 * 512, 1 * kib}, {128 * mib, 2 * kib}, {256 * mib, 4 * kib}, {512 * mib, 8 * kib}}
	switch bits {
	case 12:
		var small []row
		for c := int64(minCluster); c <= maxCluster; c *= 2 {
			small = append(small, row{clusterRange[12].max * c, c})
		}
		small[len(small)-1].limit = math.MaxInt64
		return small
	case 16:
		return append(append([]row{{8400 * 512, 512}}, medium...), row{gib, 16 * kib}, row{math.MaxInt64, 32 * kib})
	case 32:
		return append([]row{{532480 * 512, 512}}, large...)
	}
	return append(append([]row{{2 * mib, 512}}, medium...), large...)
}

// A layout says where everything is. Lengths are in sectors, but for those of a
// sector and of a cluster, which are in bytes.
type layout struct {
	bits            int
	sector, cluster int64
	reserved        int64 // with the boot sector; then tableCopies tables
	table           int64
	root            int64 // the root directory of FAT12 and FAT16
	data            int64 // where all these end and the first cluster is
	clusters        int64
	sectors         int64
}

// offset returns where a cluster lies, in bytes.
func (l *layout) offset(cluster uint32) int64 {
	return l.data*l.sector + int64(cluster-firstCluster)*l.cluster
}

// place fills in what follows from the length of a table.
func (l *layout) place() {
	front := int64(1)
	l.root = rootSlots * slotSize / l.sector
	if l.bits == 32 {
		front, l.root = reserved32, 0
	}
	unit := max(dataAlign, l.cluster) / l.sector
	l.data = ceilDiv(front+tableCopies*l.table+l.root, unit) * unit
	l.reserved = l.data - tableCopies*l.table - l.root
}

// tableFor returns how many sectors a table for n clusters has.
func (l *layout) tableFor(n int64) int64 {
	return ceilDiv((n+firstCluster)*int64(l.bits), 8*l.sector)
}

// cut sets the number of clusters, and so the end.
func (l *layout) cut(n int64) {
	l.clusters = n
	l.sectors = l.data + n*l.cluster/l.sector
}

func (l *layout) size() int64 { return l.sectors * l.sector }

// newLayout returns the layout with so many clusters.
func (o *Options) newLayout(bits int, cluster, n int64) layout {
	l := layout{bits: bits, sector: o.sector(), cluster: cluster}
	l.table = l.tableFor(n)
	l.place()
	l.cut(n)
	return l
}

// solve returns the layout with so many sectors.
func (o *Options) solve(bits int, cluster, sectors int64) layout {
	l := layout{bits: bits, sector: o.sector(), cluster: cluster, sectors: sectors}
	count := func() int64 { return max(0, (sectors-l.data)*l.sector/cluster) }
	most := l.tableFor(sectors * l.sector / cluster)
	// The longer the tables, the fewer the clusters: the shortest ones that do.
	l.table = 1 + int64(sort.Search(int(most)-1, func(i int) bool {
		l.table = 1 + int64(i)
		l.place()
		return l.tableFor(count()) <= l.table
	}))
	l.place()
	l.clusters = count()
	return l
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

// check reports what is wrong with options on their own.
func (o *Options) check() error {
	sector, cluster := o.sector(), int64(o.ClusterSize)
	_, known := clusterRange[o.Bits]
	switch {
	case o.Serial == 0:
		return errors.New("the serial number is zero")
	case o.Bits != 0 && !known:
		return fmt.Errorf("there is no FAT%d, only FAT12, FAT16 and FAT32", o.Bits)
	case sector < 512 || sector > 4096 || sector&(sector-1) != 0:
		return fmt.Errorf("sectors of %d bytes, not of 512, 1024, 2048 or 4096", sector)
	case cluster != 0 && (cluster < sector || cluster > maxCluster || cluster&(cluster-1) != 0):
		return fmt.Errorf("clusters of %d bytes, not of a power of two from %d to %d", cluster, sector, maxCluster)
	case o.Size < 0 || o.Size/sector > maxSectors:
		return fmt.Errorf("size %d is not up to %d", o.Size, maxSectors*sector)
	case o.Capacity < 0 || o.Capacity/sector > maxSectors:
		return fmt.Errorf("capacity %d is not up to %d", o.Capacity, maxSectors*sector)
	case o.Free < 0 || o.Free/sector > maxSectors:
		return fmt.Errorf("free space %d is not up to %d", o.Free, maxSectors*sector)
	case o.FreePercent < 0 || o.FreePercent > maxPercent:
		return fmt.Errorf("free space of %d%% is not up to %d%%", o.FreePercent, maxPercent)
	}
	return checkLabel(o.Label)
}

func checkLabel(label string) error {
	bad := strings.HasPrefix(label, " ") || strings.HasSuffix(label, " ") || len(label) > 11
	for _, c := range []byte(label) {
		bad = bad || c < ' ' || c > '~' || strings.IndexByte(`"*+,./:;<=>?[\]|`, c) >= 0
	}
	if bad {
		return fmt.Errorf(`the label %q is not up to 11 ASCII characters without "*+,./:;<=>?[\]| and without a space first or last`, label)
	}
	return nil
}

func (o *Options) sector() int64 {
	if o.SectorSize == 0 {
		return 512
	}
	return int64(o.SectorSize)
}

// clusterOf returns the size of clusters by a row of the table.
func (o *Options) clusterOf(r row) int64 {
	if o.ClusterSize > 0 {
		return int64(o.ClusterSize)
	}
	return max(r.cluster, o.sector())
}

// clusterFor returns the size of clusters of a file system of a size.
func (o *Options) clusterFor(size int64) int64 {
	table := rows(o.Bits)
	return o.clusterOf(table[sort.Search(len(table)-1, func(i int) bool { return size <= table[i].limit })])
}

// fixed returns the layout of a file system of the given size.
func (o *Options) fixed() (layout, error) {
	cluster, sectors := o.clusterFor(o.Size), o.Size/o.sector()
	if o.Bits != 0 {
		l, r := o.solve(o.Bits, cluster, sectors), clusterRange[o.Bits]
		if least := o.newLayout(o.Bits, cluster, r.min); l.clusters < r.min {
			return l, fmt.Errorf("FAT%d with clusters of %d bytes: %w", o.Bits, cluster, &NoSpaceError{least.size(), o.Size})
		}
		if most := o.newLayout(o.Bits, cluster, r.max); l.clusters > r.max {
			return l, fmt.Errorf("FAT%d with clusters of %d bytes has at most %d bytes, not %d", o.Bits, cluster, most.size(), o.Size)
		}
		return l, nil
	}
	l := o.solve(12, cluster, sectors)
	if l.clusters < 1 {
		least := o.newLayout(12, cluster, 1)
		return l, &NoSpaceError{least.size(), o.Size}
	}
	for _, bits := range []int{16, 32} {
		most := clusterRange[l.bits].max
		if l.clusters <= most {
			break
		}
		// With their longer tables there may be too few clusters for the
		// larger type where there are too many for the smaller.
		larger := o.solve(bits, cluster, sectors)
		if larger.clusters < clusterRange[bits].min {
			l.cut(most)
			break
		}
		l = larger
	}
	if most := clusterRange[32].max; l.clusters > most {
		return l, fmt.Errorf("clusters of %d bytes: there are at most %d of them", cluster, most)
	}
	return l, nil
}

// frame returns the layout of a file system whose size is open: its data begins
// where it does at the capacity. Its type is open, too, if the options leave it so:
// a smaller type needs less in front of its data, with the root directory.
func (o *Options) frame() (layout, error) {
	capacity, most := o.Capacity, clusterRange[32].max
	if o.Bits != 0 {
		most = clusterRange[o.Bits].max
	}
	if capacity == 0 {
		capacity = min(DefaultCapacity, most*4096)
		if o.ClusterSize > 0 {
			capacity = min(capacity, int64(o.ClusterSize)<<20)
		}
	}
	cluster := o.clusterFor(capacity)
	n := min(capacity/cluster, most)
	bits, _ := settle(o.Bits, n, 0)
	l := o.newLayout(bits, cluster, n)
	if l.data > maxReserved {
		return l, fmt.Errorf("the capacity of %d bytes with clusters of %d is too much to be kept open: give a size", capacity, cluster)
	}
	l.bits = o.Bits
	l.clusters = min(n, (capacity-l.data*l.sector)/cluster)
	if l.clusters < 1 {
		return l, &NoSpaceError{l.data*l.sector + cluster, capacity}
	}
	return l, nil
}

// settle returns the type of a file system that needs n clusters and root more for
// the root directory if it is FAT32, and how many it has then.
func settle(bits int, n, root int64) (int, int64) {
	if bits == 0 {
		bits = 32
		for _, smaller := range []int{16, 12} {
			if n <= clusterRange[smaller].max {
				bits = smaller
			}
		}
	}
	if bits == 32 {
		n += root
	}
	return bits, max(n, clusterRange[bits].min)
}

// close ends a layout made by frame, when so many clusters are in use, among them
// the one kept for a root.
func (l *layout) close(o *Options, used int64, root *dir) error {
	open := *l
	more := root.clusters(l.cluster) - 1
	bits, n := settle(o.Bits, used, more)
	if free := o.free(open.data*open.sector+n*open.cluster, l.cluster); free > 0 {
		bits, n = settle(o.Bits, used+free, more)
	}
	if n > l.clusters {
		return &NoSpaceError{l.data*l.sector + n*l.cluster, l.data*l.sector + l.clusters*l.cluster}
	}
	*l = o.newLayout(bits, l.cluster, n)
	l.reserved += open.data - l.data
	l.data = open.data
	l.cut(n)
	return nil
}

// free returns how many clusters shall be free, where the smallest file system has
// so many bytes.
func (o *Options) free(smallest, cluster int64) int64 {
	if o.Free > 0 {
		return ceilDiv(o.Free, cluster)
	}
	return ceilDiv(smallest*int64(o.FreePercent), 100*cluster)
}

// Fit returns options, made of o, of the smallest file system that holds the
// entries, with the free space that o asks for: type, size and size of clusters are
// in them. Where o has a size, it returns o if that does. Entries that FAT cannot hold
// are refused as [Writer.Add] does.
func Fit(o Options, entries iter.Seq[rootfs.Entry]) (Options, error) {
	if err := o.check(); err != nil {
		return o, fmt.Errorf("vfat: %w", err)
	}
	var t tree
	var files [len(t.taken)]int64
	t.label = o.Label != ""
	for e := range entries {
		if _, err := t.add(&e); err != nil {
			return o, err
		}
		for k := range files {
			files[k] += ceilDiv(e.Size, minCluster<<k)
		}
	}
	if t.empty() {
		return o, errors.New("vfat: there is no root directory")
	}
	if o.Size > 0 {
		l, err := o.fixed()
		if err != nil {
			return o, fmt.Errorf("vfat: %w", err)
		}
		k := clusterLog(l.cluster)
		_, n := settle(l.bits, files[k]+t.taken[k], t.root().clusters(l.cluster))
		if n > l.clusters {
			return o, l.noSpace(n)
		}
		return o, t.rootRoom(l.bits, t.root().last())
	}
	for _, r := range rows(o.Bits) {
		cluster := o.clusterOf(r)
		k := clusterLog(cluster)
		used, root := files[k]+t.taken[k], t.root().clusters(cluster)
		bits, n := settle(o.Bits, used, root)
		l := o.newLayout(bits, cluster, n)
		if free := o.free(l.size(), cluster); free > 0 {
			bits, n = settle(o.Bits, used+free, root)
			l = o.newLayout(bits, cluster, n)
		}
		if l.size() > r.limit && o.ClusterSize == 0 {
			continue
		}
		most := o.newLayout(bits, cluster, clusterRange[bits].max)
		if given := min(most.sectors, maxSectors); l.sectors > given {
			return o, fmt.Errorf("FAT%d: %w", bits, &NoSpaceError{l.size(), given * l.sector})
		}
		if err := t.rootRoom(bits, t.root().last()); err != nil {
			return o, err
		}
		o.Bits, o.ClusterSize, o.Size = bits, int(cluster), l.size()
		o.Free, o.FreePercent = 0, 0
		return o, nil
	}
	panic("the last row has no limit")
}
