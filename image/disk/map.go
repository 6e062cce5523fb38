package disk

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"unicode"
)

// Kind is what a region of a disk is.
type Kind int

const (
	KindFree      Kind = iota
	KindTable          // the partition table
	KindBackup         // its copy at the end of the disk
	KindRaw            // content with a place of its own
	KindPartition      // a partition
	KindVolume         // of the file system that lies around the partitions of a CD
)

// Region is a part of a disk.
type Region struct {
	Kind       Kind
	Name       string
	Number     int    // of a partition
	Type       GUID   // of a partition, if it has one
	MBRType    byte   // of a partition that stands in an MBR
	Start, End int64  // bytes; End is the byte after
	Note       string // what a map says besides; a disk has none
}

// String names the region as errors do: partition "root".
func (r Region) String() string {
	switch r.Kind {
	case KindTable:
		return "the partition table"
	case KindBackup:
		return "the backup of the partition table"
	case KindRaw:
		return fmt.Sprintf("raw %q", r.Name)
	case KindPartition:
		return fmt.Sprintf("partition %q", r.Name)
	case KindVolume:
		return fmt.Sprintf("%q", r.Name)
	}
	return "free space"
}

// Map says what is where on a disk.
type Map struct {
	Table      Table
	SectorSize int
	Size       int64    // of the disk
	Regions    []Region // in any order; what is in none is free
}

// Map returns the map of the disk. It is known after Close.
func (w *Writer) Map() Map {
	m := Map{Table: w.table, SectorSize: int(w.sector), Size: w.size, Regions: slices.Clone(w.taken)}
	if w.tail() > 0 && w.size > 0 {
		m.Regions = append(m.Regions, w.backup())
	}
	return m
}

// all returns the regions in the order of their places, with those that are free.
func (m Map) all() (all []Region) {
	at := int64(0)
	for _, r := range slices.SortedStableFunc(slices.Values(m.Regions), func(a, b Region) int { return cmp.Compare(a.Start, b.Start) }) {
		if r.Kind == KindTable && at == 0 {
			r.Start = 0 // nobody has code in front of it
		}
		if r.Start > at {
			all = append(all, Region{Start: at, End: r.Start})
		}
		all = append(all, r)
		at = max(at, r.End)
	}
	if at < m.Size {
		all = append(all, Region{Start: at, End: m.Size})
	}
	return all
}

// barWidth is how many columns a text has for the whole disk.
const barWidth = 40

// bars are what a text draws for each kind.
var bars = map[Kind]string{KindFree: "·", KindTable: "▓", KindBackup: "▓", KindRaw: "▒", KindPartition: "█", KindVolume: "▒"}

// Text draws the map as lines of text, one for each region: where it begins, how
// long it is, its place on a bar, and what it is.
func (m Map) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "disk of %s, %v, sectors of %d bytes\n", size(m.Size), m.Table, m.SectorSize)
	for _, r := range m.all() {
		from := min(scale(r.Start, barWidth, m.Size), barWidth-1)
		to := max(from+1, scale(r.End, barWidth, m.Size))
		bar := strings.Repeat(" ", from) + strings.Repeat(bars[r.Kind], to-from) + strings.Repeat(" ", barWidth-to)
		fmt.Fprintf(&b, "%11s %11s  %s  %s\n", size(r.Start), size(r.End-r.Start), bar, strings.Join(r.labels(), "  "))
	}
	return b.String()
}

// labels say what a region is: number and name, and type.
func (r Region) labels() []string {
	l := r.named()
	if r.Note != "" {
		l = append(l, printable(r.Note))
	}
	return l
}

func (r Region) named() []string {
	switch r.Kind {
	case KindTable:
		return []string{"partition table"}
	case KindBackup:
		return []string{"backup of the partition table"}
	case KindRaw:
		return []string{printable(r.Name), "raw"}
	case KindVolume:
		return []string{printable(r.Name)}
	case KindPartition:
		l := []string{strings.TrimSpace(fmt.Sprintf("%d %s", r.Number, printable(r.Name)))}
		if r.Type != "" {
			l = append(l, cmp.Or(r.Type.TypeName(), printable(string(r.Type))))
		}
		if r.MBRType != 0 {
			l = append(l, fmt.Sprintf("%#02x", r.MBRType))
		}
		return l
	}
	return []string{"free"}
}

// printable returns a name without what could pretend to be more than a name.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// scale returns what n is of a whole if that has a length, rounded down.
func scale(n int64, length int, whole int64) int {
	n = max(0, min(n, whole))
	if whole <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(n), uint64(length))
	q, _ := bits.Div64(hi, lo, uint64(whole))
	return int(q)
}

// size writes a number of bytes in units of 1024, with a tenth where it is not whole.
func size(n int64) string {
	unit := 0
	for unit < 5 && n >= 1<<(10*(unit+1)) {
		unit++
	}
	name := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}[unit]
	whole, rest := n>>(10*unit), n&(1<<(10*unit)-1)
	if rest == 0 {
		return fmt.Sprintf("%d %s", whole, name)
	}
	return fmt.Sprintf("%d.%d %s", whole, rest>>(10*(unit-1))*10/1024, name)
}
