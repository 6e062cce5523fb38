package closure

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"thaw/narinfo"
	"thaw/storepath"
)

// numbers returns the graph of numbers that refer to numbers. The NAR of n has n
// bytes.
func numbers(t testing.TB, refs map[int][]int) *Graph {
	t.Helper()
	var infos []*narinfo.Info
	for n, rs := range refs {
		info := &narinfo.Info{StorePath: path(n), NarSize: int64(n)}
		for _, r := range rs {
			info.References = append(info.References, path(r))
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b *narinfo.Info) int { return a.StorePath.Compare(b.StorePath) })
	g, err := NewGraph(infos)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func paths(ns []int) (out []storepath.Path) {
	for _, n := range ns {
		out = append(out, path(n))
	}
	return out
}

func TestAdded(t *testing.T) {
	g := numbers(t, map[int][]int{1: {4}, 2: {4, 8}, 4: {16, 32}, 8: {8}, 16: {4}, 32: nil, 64: {2}, 128: nil})
	for _, test := range []struct {
		roots []int
		want  []int64
	}{
		{[]int{1}, []int64{1 + 4 + 16 + 32}},
		{[]int{1, 2}, []int64{1, 2 + 8}},
		{[]int{2, 1}, []int64{2 + 8, 1}},
		{[]int{1, 32}, []int64{1 + 4 + 16, 0}},
		{[]int{2, 64}, []int64{0, 64}},
		{[]int{1, 1}, []int64{0, 0}},
		{[]int{1, 2, 128}, []int64{1, 10, 128}},
		{[]int{99, 128}, []int64{0, 128}},
		{nil, nil},
	} {
		if got := g.Added(paths(test.roots)); !slices.Equal(got, test.want) {
			t.Errorf("%v add %v, want %v", test.roots, got, test.want)
		}
	}
}

// chance is a graph of n paths, in which about one in five leads back.
func chance(t testing.TB, rnd *rand.Rand, n int) *Graph {
	refs := map[int][]int{}
	for i := range n {
		refs[i] = nil
		for range rnd.IntN(6) {
			j := i + rnd.IntN(n-i)
			if rnd.IntN(5) == 0 {
				j = rnd.IntN(n)
			}
			if !slices.Contains(refs[i], j) {
				refs[i] = append(refs[i], j)
			}
		}
	}
	return numbers(t, refs)
}

// Against the definition, on graphs of chance: what a root adds is what is not in
// the closure of the others.
func TestAddedByDefinition(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		n := 1 + rnd.IntN(20)
		g := chance(t, rnd, n)
		var roots []storepath.Path
		for range 1 + rnd.IntN(4) {
			if p := path(rnd.IntN(n)); !slices.Contains(roots, p) {
				roots = append(roots, p)
			}
		}
		added := g.Added(roots)
		for k, r := range roots {
			others := g.reached(slices.Concat(roots[:k], roots[k+1:]))
			want := int64(0)
			for i := range g.reached([]storepath.Path{r}) {
				if !others[i] {
					want += g.Infos[i].NarSize
				}
			}
			if added[k] != want {
				t.Fatalf("%v of %v adds %d, want %d", r, roots, added[k], want)
			}
		}
	}
}

// reached returns the positions that the roots lead to.
func (g *Graph) reached(roots []storepath.Path) map[int32]bool {
	seen := map[int32]bool{}
	var visit func(i int32)
	visit = func(i int32) {
		if !seen[i] {
			seen[i] = true
			for _, j := range g.refs[i] {
				visit(j)
			}
		}
	}
	for _, r := range roots {
		i, _ := g.find(r)
		visit(int32(i))
	}
	return seen
}

// Against the definition, on graphs of chance, of which some fill several sets of 64.
func TestSizesByDefinition(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		g := chance(t, rnd, 1+rnd.IntN(200))
		for n, size := range g.Sizes() {
			var want int64
			for i := range g.reached([]storepath.Path{g.Infos[n].StorePath}) {
				want += g.Infos[i].NarSize
			}
			if size != want {
				t.Fatalf("the closure of %v has %d bytes, want %d", g.Infos[n].StorePath, size, want)
			}
		}
	}
}

// A chain takes no stack, and a circle of all has one size.
func TestSizesOfChain(t *testing.T) {
	const n = 5000
	refs := map[int][]int{n: nil}
	for i := range n {
		refs[i] = []int{i + 1}
	}
	all := int64(n * (n + 1) / 2)
	g := numbers(t, refs)
	for i, size := range g.Sizes() {
		number := g.Infos[i].NarSize
		if want := all - number*(number-1)/2; size != want {
			t.Fatalf("the chain from %d has %d bytes, want %d", number, size, want)
		}
	}
	refs[n] = []int{0}
	for i, size := range numbers(t, refs).Sizes() {
		if size != all {
			t.Fatalf("path %d of the circle has %d bytes, want %d", i, size, all)
		}
	}
}

func BenchmarkSizes(b *testing.B) {
	for _, n := range []int{2500, 10_000} {
		rnd := rand.New(rand.NewPCG(1, 2))
		refs := map[int][]int{}
		for i := range n {
			refs[i] = nil
			for range min(10, n-1-i) {
				if j := i + 1 + rnd.IntN(n-1-i); !slices.Contains(refs[i], j) {
					refs[i] = append(refs[i], j)
				}
			}
		}
		g := numbers(b, refs)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				g.Sizes()
			}
		})
	}
}

func BenchmarkAdded(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		g := chance(b, rand.New(rand.NewPCG(1, 2)), n)
		var roots []storepath.Path
		for i := range 50 {
			roots = append(roots, path(i))
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				g.Added(roots)
			}
		})
	}
}
