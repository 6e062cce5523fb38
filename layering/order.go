package layering

import (
	"cmp"
	"slices"
	"strings"

	"thaw/narinfo"
	"thaw/storepath"
)

// order returns the paths, each after those that it refers to as far as there are
// no cycles, and what is needed together side by side.
func order(infos []*narinfo.Info) []*node {
	index := make(map[storepath.Path]*node, len(infos))
	nodes := make([]*node, 0, len(infos))
	for _, info := range infos {
		if index[info.StorePath] == nil {
			n := &node{info: info}
			index[info.StorePath] = n
			nodes = append(nodes, n)
		}
	}
	for _, n := range nodes {
		for _, r := range n.info.References {
			if to := index[r]; to != nil && to != n {
				n.refs = append(n.refs, to)
			}
		}
	}
	// Names first: hashes decide only between paths of one name.
	slices.SortFunc(nodes, func(a, b *node) int {
		return cmp.Or(strings.Compare(a.info.StorePath.Name(), b.info.StorePath.Name()), a.info.StorePath.Compare(b.info.StorePath))
	})
	reach(nodes)
	slices.SortStableFunc(nodes, func(a, b *node) int { return cmp.Compare(a.count, b.count) })
	return nodes
}

// reach fills in needs and count.
func reach(nodes []*node) {
	units := min(len(nodes), maxUnits)
	number := make(map[*node]int, len(nodes))
	for i, n := range nodes {
		number[n] = i
	}
	last := make([]int, len(nodes)) // the last start from which a node was seen, plus 1
	var stack []*node
	for i, n := range nodes {
		n.needs = make(set, (units+63)/64)
		stack = append(stack[:0], n)
		last[i] = i + 1
		for len(stack) > 0 {
			m := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			n.needs.put(number[m] % units)
			n.count++
			for _, r := range m.refs {
				if k := number[r]; last[k] != i+1 {
					last[k] = i + 1
					stack = append(stack, r)
				}
			}
		}
	}
}
