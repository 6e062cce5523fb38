package layering

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strings"

	"thaw/narinfo"
	"thaw/storepath"
)

// order returns the paths, each after those that it refers to as far as there are
// no cycles, and what is needed together side by side: each with what it needs that
// was not there yet. What has the longest chain of references takes first. So a
// small package that is new takes nothing from where it is, and a path that has one
// more reference stays where it was.
func order(infos []*narinfo.Info) []*node {
	index := make(map[storepath.Path]*node, len(infos))
	nodes := make([]*node, 0, len(infos))
	for _, info := range infos {
		if index[info.StorePath] == nil {
			n := &node{info: info, stem: stem(info.StorePath.Name()), mark: mark(info.StorePath.Name())}
			index[info.StorePath] = n
			nodes = append(nodes, n)
		}
	}
	slices.SortFunc(nodes, byName)
	for _, n := range nodes {
		for _, r := range n.info.References {
			if to := index[r]; to != nil && to != n {
				n.refs = append(n.refs, to)
			}
		}
		slices.SortFunc(n.refs, byName)
	}
	reach(nodes)
	for _, n := range finish(nodes) {
		for _, r := range n.refs {
			n.height = max(n.height, r.height+1)
		}
	}
	byHeight := func(a, b *node) int { return cmp.Compare(b.height, a.height) }
	for _, n := range nodes {
		slices.SortStableFunc(n.refs, byHeight)
	}
	slices.SortStableFunc(nodes, byHeight)
	return finish(nodes)
}

// byName compares names without their versions first; hashes decide only between
// paths of one name.
func byName(a, b *node) int {
	return cmp.Or(strings.Compare(a.stem, b.stem), strings.Compare(a.info.StorePath.Name(), b.info.StorePath.Name()), a.info.StorePath.Compare(b.info.StorePath))
}

// stem returns a name without what differs between versions.
func stem(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '.' || '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, name)
}

// mark returns a number that a name has wherever it stands.
func mark(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}

// finish returns nodes and what they refer to, each after what it refers to, in the
// order of both.
func finish(nodes []*node) []*node {
	type frame struct {
		*node
		next int // of its references
	}
	out := make([]*node, 0, len(nodes))
	seen := make(map[*node]bool, len(nodes))
	var stack []frame
	enter := func(n *node) {
		if !seen[n] {
			seen[n] = true
			stack = append(stack, frame{n, 0})
		}
	}
	for _, n := range nodes {
		enter(n)
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if top.next < len(top.refs) {
				top.next++
				enter(top.refs[top.next-1])
				continue
			}
			out = append(out, top.node)
			stack = stack[:len(stack)-1]
		}
	}
	return out
}

// reach fills in needs.
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
			for _, r := range m.refs {
				if k := number[r]; last[k] != i+1 {
					last[k] = i + 1
					stack = append(stack, r)
				}
			}
		}
	}
}
