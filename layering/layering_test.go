package layering

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"thaw/narinfo"
	"thaw/nixhash"
	"thaw/storepath"
)

func path(n int) storepath.Path {
	p, err := storepath.New(nixhash.Encode32(fmt.Appendf(nil, "%020d", n)), fmt.Sprintf("n%d", n))
	if err != nil {
		panic(err)
	}
	return p
}

// closure is one of numbers; each is followed by its size in KiB and by the numbers
// that it refers to.
func closure(list ...[]int) (infos []*narinfo.Info) {
	for _, l := range list {
		info := &narinfo.Info{StorePath: path(l[0]), NarSize: int64(l[1]) << 10}
		for _, r := range l[2:] {
			info.References = append(info.References, path(r))
		}
		infos = append(infos, info)
	}
	return infos
}

func show(groups [][]storepath.Path) string {
	var out []string
	for _, g := range groups {
		var names []string
		for _, p := range g {
			names = append(names, strings.TrimPrefix(p.Name(), "n"))
		}
		slices.Sort(names)
		out = append(out, strings.Join(names, " "))
	}
	return strings.Join(out, " | ")
}

func TestGroups(t *testing.T) {
	app := closure([]int{1, 40000}, []int{2, 2000, 1}, []int{3, 2000, 1, 2}, []int{4, 100, 1, 2, 3}, []int{5, 80000, 4, 3, 1})
	for _, test := range []struct {
		infos []*narinfo.Info
		most  int
		want  string
	}{
		{nil, 5, ""},
		{app, 0, ""},
		{app, 1, "1 2 3 4 5"},
		{app, 2, "1 2 3 4 | 5"},
		{app, 3, "1 | 2 3 4 | 5"},
		{app, 4, "1 | 2 | 3 4 | 5"},
		{app, 5, "1 | 2 | 3 | 4 | 5"},
		{app, 99, "1 | 2 | 3 | 4 | 5"},
		{closure([]int{7, 0}), 9, "7"},
		{closure([]int{7, 1, 7}, []int{8, 1, 9}, []int{9, 1, 8}), 2, "8 9 | 7"}, // cycles
		{closure([]int{7, 1, 99}, []int{7, 1}), 9, "7"},                         // no closure
	} {
		if got := show(Groups(test.infos, test.most)); got != test.want {
			t.Errorf("%d paths in %d groups: %s, want %s", len(test.infos), test.most, got, test.want)
		}
	}
}

// chance is a closure of n paths.
func chance(rnd *rand.Rand, n int) []*narinfo.Info {
	var list [][]int
	for i := range n {
		l := []int{i, rnd.IntN(100_000)}
		for range rnd.IntN(4) {
			if i > 0 {
				l = append(l, rnd.IntN(i))
			}
		}
		list = append(list, l)
	}
	return closure(list...)
}

// Each path is in one group, there are not too many, what is referred to comes no
// later, and the order of infos means nothing.
func TestLaws(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		infos := chance(rnd, 1+rnd.IntN(60))
		most := 1 + rnd.IntN(30)
		groups := Groups(infos, most)
		if len(groups) != min(most, len(infos)) {
			t.Fatalf("%d groups of %d paths, of at most %d", len(groups), len(infos), most)
		}
		in := map[storepath.Path]int{}
		for i, g := range groups {
			if !slices.IsSortedFunc(g, storepath.Path.Compare) {
				t.Fatal("a group is not sorted")
			}
			for _, p := range g {
				if _, ok := in[p]; ok {
					t.Fatalf("%s comes twice", p)
				}
				in[p] = i
			}
		}
		for _, info := range infos {
			for _, r := range append(info.References, info.StorePath) {
				if k, ok := in[r]; !ok || k > in[info.StorePath] {
					t.Fatalf("%s is in no group, or in a later one", r)
				}
			}
		}
		rnd.Shuffle(len(infos), func(i, j int) { infos[i], infos[j] = infos[j], infos[i] })
		if got := Groups(infos, most); show(got) != show(groups) {
			t.Fatalf("in another order: %s, and not %s", show(got), show(groups))
		}
	}
}

func BenchmarkGroups(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		infos := chance(rand.New(rand.NewPCG(1, 2)), n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Groups(infos, 100)
			}
		})
	}
}
