package closure

import (
	"slices"

	"thaw/narinfo"
	"thaw/storepath"
)

// Why returns the shortest chain of references from one of the roots to a path,
// both included; of several, the one whose roots and then references come first.
// It is empty if no root refers to the path, directly or not.
func (g *Graph) Why(roots []storepath.Path, to storepath.Path) []storepath.Path {
	return g.Ways(roots)(to)
}

// Ways returns what [Graph.Why] says of any path: it passes the graph once for all.
func (g *Graph) Ways(roots []storepath.Path) func(to storepath.Path) []storepath.Path {
	const unseen, start = -2, -1
	from := make([]int32, len(g.Infos)) // by position: the referrer, start or unseen
	for i := range from {
		from[i] = unseen
	}
	var queue []int32
	for _, r := range roots {
		if i, ok := g.find(r); ok && from[i] == unseen {
			from[i] = start
			queue = append(queue, int32(i))
		}
	}
	for len(queue) > 0 {
		i := queue[0]
		queue = queue[1:]
		for _, j := range g.refs[i] {
			if from[j] == unseen {
				from[j] = i
				queue = append(queue, j)
			}
		}
	}
	return func(to storepath.Path) (chain []storepath.Path) {
		at, ok := g.find(to)
		if !ok || from[at] == unseen {
			return nil
		}
		for i := int32(at); i != start; i = from[i] {
			chain = append(chain, g.Infos[i].StorePath)
		}
		slices.Reverse(chain)
		return chain
	}
}

// find returns the position of a path.
func (g *Graph) find(p storepath.Path) (int, bool) {
	i, ok := slices.BinarySearchFunc(g.Infos, p, func(info *narinfo.Info, p storepath.Path) int { return info.StorePath.Compare(p) })
	return i, ok
}
