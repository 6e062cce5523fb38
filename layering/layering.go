// Package layering divides a closure into groups of store paths that change
// together, for images in layers.
//
// When a path is built anew, all paths that refer to it, directly or not, become
// other paths, and each layer with one of them must be made, sent and fetched again.
// So the price of a layer is its size times the number of paths of which any one
// changes it: those in it and all they refer to. Those in it count once more, as an
// image of other packages has the same layer only if it has all of them together.
// Groups are joined, where that adds least to the price, until there are few enough.
// What others refer to comes first, and what is large stays by itself.
//
// Groups follow from names, references and the magnitude of sizes, not from hashes:
// a path that is built anew, as large as before or nearly so, falls into the place of
// the old one, and the other groups stay as they are. A path that is new, gone or has
// another name, and a reference more or less, changes the groups around it: the
// others keep their order, and of two joins of one price the name decides, not the
// place, so that what moves has no effect far away.
package layering

import (
	"cmp"
	"container/heap"
	"math/bits"
	"slices"

	"thaw/narinfo"
	"thaw/storepath"
)

// maxUnits bounds the memory of larger closures: of these, several paths count as
// one when the number of paths is counted on which a group depends. 50,000 paths
// take 25 MiB.
const maxUnits = 4096

// Groups divides the paths of a closure into at most so many groups, and returns
// them in the order of layers: what others refer to comes first. Each group is
// sorted. The infos are those of a whole closure, in any order.
func Groups(infos []*narinfo.Info, most int) [][]storepath.Path {
	if len(infos) == 0 || most < 1 {
		return nil
	}
	nodes := order(infos)
	groups := make([]*group, len(nodes))
	for i, n := range nodes {
		groups[i] = &group{first: i, last: i, mark: n.mark, at: -1, size: magnitude(n.info.NarSize), needs: n.needs}
	}
	var q queue
	for i, g := range groups {
		if i > 0 {
			g.before = groups[i-1]
		}
		if i+1 < len(groups) {
			g.after = groups[i+1]
			q = append(q, g.priced(len(q)))
		}
	}
	heap.Init(&q)
	for left := len(groups); left > most; left-- {
		g := heap.Pop(&q).(*group)
		g.join(&q)
	}
	var out [][]storepath.Path
	for g := groups[0]; g != nil; g = g.after {
		var paths []storepath.Path
		for _, n := range nodes[g.first : g.last+1] {
			paths = append(paths, n.info.StorePath)
		}
		slices.SortFunc(paths, storepath.Path.Compare)
		out = append(out, paths)
	}
	return out
}

// magnitude rounds a size up to a power of 2, from a block on.
func magnitude(size int64) float64 {
	return float64(uint64(1) << bits.Len64(uint64(max(size, 4096)-1)))
}

// node is a path of the closure.
type node struct {
	info   *narinfo.Info
	stem   string  // the name without version
	mark   uint64  // the name as a number
	refs   []*node // without itself
	needs  set     // all that it refers to, and itself
	height int     // the longest chain of references from it
}

// group is a run of nodes in their order.
type group struct {
	first, last   int
	mark          uint64 // of the first node
	size          float64
	needs         set
	before, after *group
	price         float64 // what joining it with the next adds
	at            int     // place in the queue, -1 for none
}

// priced finds the price of joining g with the next.
func (g *group) priced(at int) *group {
	n := g.after
	g.at = at
	both := (g.size + n.size) * float64(g.needs.union(n.needs)+n.last-g.first+1)
	g.price = both - g.alone() - n.alone()
	return g
}

// alone is the price of a group.
func (g *group) alone() float64 { return g.size * float64(g.needs.count()+g.last-g.first+1) }

// join joins g, which is not in the queue, with the next.
func (g *group) join(q *queue) {
	n := g.after
	g.last, g.size, g.needs = n.last, g.size+n.size, g.needs.with(n.needs)
	if n.at >= 0 {
		heap.Remove(q, n.at)
	}
	if g.after = n.after; g.after != nil {
		g.after.before = g
		heap.Push(q, g.priced(0))
	}
	if b := g.before; b != nil {
		b.priced(b.at)
		heap.Fix(q, b.at)
	}
}

// queue has groups that have a next, the cheapest to join first.
type queue []*group

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	a, b := q[i], q[j]
	return cmp.Or(cmp.Compare(a.price, b.price), cmp.Compare(a.after.mark, b.after.mark), cmp.Compare(a.first, b.first)) < 0
}
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}
func (q *queue) Push(x any) {
	g := x.(*group)
	g.at = len(*q)
	*q = append(*q, g)
}
func (q *queue) Pop() any {
	old := *q
	g := old[len(old)-1]
	*q = old[:len(old)-1]
	g.at = -1
	return g
}

// set has numbers.
type set []uint64

func (s set) put(i int) { s[i/64] |= 1 << (i % 64) }

func (s set) count() (n int) {
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// union counts what is in s or t.
func (s set) union(t set) (n int) {
	for i, w := range s {
		n += bits.OnesCount64(w | t[i])
	}
	return n
}

func (s set) with(t set) set {
	u := slices.Clone(s)
	for i, w := range t {
		u[i] |= w
	}
	return u
}
