package closure

import "thaw/storepath"

// Alone returns for each path the position of the one root that needs it, which is
// -1 if several of the roots do, or none.
func (g *Graph) Alone(roots []storepath.Path) []int {
	const none, several = -1, -2
	alone := make([]int, len(g.Infos))
	for i := range alone {
		alone[i] = none
	}
	// Each path is passed at most twice: by the first root, and by the second.
	var stack []int32
	for n, r := range roots {
		visit := func(i int32) {
			switch alone[i] {
			case n, several:
				return
			case none:
				alone[i] = n
			default:
				alone[i] = several
			}
			stack = append(stack, i)
		}
		if i, ok := g.find(r); ok {
			visit(int32(i))
		}
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			for _, j := range g.refs[i] {
				visit(j)
			}
		}
	}
	for i, n := range alone {
		alone[i] = max(n, -1)
	}
	return alone
}

// Added returns for each root the bytes of NAR of what no other of the roots needs:
// what the closure would lose without it. A root that another one refers to adds
// nothing.
func (g *Graph) Added(roots []storepath.Path) []int64 {
	added := make([]int64, len(roots))
	for i, n := range g.Alone(roots) {
		if n >= 0 {
			added[n] += g.Infos[i].NarSize
		}
	}
	return added
}
