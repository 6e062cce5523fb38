// Package estimate says how large an image will be before anything of it is
// fetched: from the sizes of the NARs, which are signed, and from the entries that
// are made up.
//
// A [Size] has two bounds and a guess. The bounds are proven, in the comments of
// this package, from the grammar of archives and from what the formats do: they
// hold whatever the NARs contain. So they are far apart. A NAR of 200 MB may be
// one file of zeros, of which ext4 keeps nothing, or a million empty directories.
// Least is what a limit can be held against before a build; room for Most is
// certain to do; Likely is what people want to know.
//
// The package sees no NAR and no cache.
package estimate

import (
	"math"
	"math/bits"
	"slices"
	"strings"

	"thaw/narinfo"
	"thaw/rootfs"
	"thaw/storepath"
)

// Size is how many bytes an output has.
type Size struct {
	Least  int64 // no image is smaller
	Likely int64
	Most   int64 // no image is larger
}

// ordered returns s with a guess that its bounds allow.
func (s Size) ordered() Size {
	s.Likely = min(max(s.Likely, s.Least), s.Most)
	return s
}

// Content is what is known of a root file system.
type Content struct {
	Objects []*narinfo.Info

	// Bare says that there is no /nix/store and nothing else that every root file
	// system has: the content is that of another partition.
	Bare bool
	// View is the directory of the merged view, "." for the root; "" if nothing
	// is merged.
	View string
	// Known are the entries that will be there besides the objects, with their
	// sizes; directories that lead to them need not be among them.
	Known []rootfs.Entry
	// Maybe are entries that may be there, and are no larger then.
	Maybe []rootfs.Entry
}

// store is the directory of the objects in an image.
var store = storepath.Dir[1:]

// base are the directories of every root file system.
var base = []rootfs.Entry{rootfs.Dir(".", 0o755), rootfs.Dir("nix", 0o755), rootfs.Dir(store, 0o755)}

// usual are the entries that a build adds unless something else has their place.
var usual = []rootfs.Entry{
	rootfs.Dir("dev", 0o755), rootfs.Dir("etc", 0o755), rootfs.Dir("proc", 0o755), rootfs.Dir("root", 0o755),
	rootfs.Dir("run", 0o755), rootfs.Dir("sys", 0o755), rootfs.Dir("tmp", 0o755), rootfs.Dir("var", 0o755),
}

// base are the directories that are always there.
func (c *Content) base() []rootfs.Entry {
	if c.Bare {
		return base[:1]
	}
	return base
}

// least are the entries that are there for certain.
func (c *Content) least() []rootfs.Entry {
	base := c.base()
	isBase := func(e rootfs.Entry) bool {
		return slices.ContainsFunc(base, func(b rootfs.Entry) bool { return b.Path == e.Path })
	}
	return append(slices.DeleteFunc(slices.Clone(c.Known), isBase), base...)
}

// most are all entries that may be there, but for those of objects and of the
// view.
func (c *Content) most() []rootfs.Entry {
	all := slices.Concat(c.base(), c.Known, c.Maybe)
	if !c.Bare {
		all = append(all, usual...)
	}
	for parent := range c.parents() {
		all = append(all, rootfs.Dir(parent, 0o755))
	}
	if c.View != "" {
		all = append(all, rootfs.Dir(c.View+"/sbin", 0o755), rootfs.Link(c.View+"/sbin/init", strings.Repeat("t", viewTarget)+"init"))
	}
	return all
}

// parents are the directories that lead to entries and to the view.
func (c *Content) parents() map[string]bool {
	set := map[string]bool{}
	for path := c.View; path != "." && path != ""; path, _ = rootfs.Split(path) {
		set[path] = true
	}
	for _, e := range slices.Concat(c.Known, c.Maybe) {
		for path, _ := rootfs.Split(e.Path); path != "." && !set[path]; path, _ = rootfs.Split(path) {
			set[path] = true
		}
	}
	return set
}

// likely returns the bytes of all NARs, and how many entries they are likely to
// hold.
func (c *Content) likely() (bytes, entries int64) {
	for _, i := range c.Objects {
		bytes = add(bytes, i.NarSize)
		entries = add(entries, likelyEntries(i))
	}
	return bytes, entries
}

// add and mul stop at the largest number.
func add(n ...int64) (sum int64) {
	for _, n := range n {
		if sum += n; sum < 0 {
			return math.MaxInt64
		}
	}
	return sum
}

func mul(a, b int64) int64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if hi > 0 || lo > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(lo)
}

func ceilDiv(a, b int64) int64 {
	if a%b > 0 {
		return a/b + 1
	}
	return a / b
}

// padded rounds n up to a multiple of unit.
func padded(n, unit int64) int64 { return mul(ceilDiv(n, unit), unit) }
