package closure

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"thaw/internal/testbed"
	"thaw/narinfo"
	"thaw/nixhash"
	"thaw/storepath"
	"thaw/substituter"
)

// path makes a store path out of a small number.
func path(n int) storepath.Path {
	p, err := storepath.New(nixhash.Encode32(fmt.Appendf(nil, "%020d", n)), fmt.Sprintf("n%d", n))
	if err != nil {
		panic(err)
	}
	return p
}

// graph answers lookups from numbers that refer to numbers.
func graph(refs map[int][]int) Lookup {
	return func(ctx context.Context, p storepath.Path) (*narinfo.Info, error) {
		for n, rs := range refs {
			if path(n) == p {
				info := &narinfo.Info{StorePath: p, NarSize: int64(n)}
				for _, r := range rs {
					info.References = append(info.References, path(r))
				}
				return info, nil
			}
		}
		return nil, fmt.Errorf("no %s", p.Name())
	}
}

func TestWalk(t *testing.T) {
	refs := map[int][]int{1: {2, 3}, 2: {2, 4}, 3: {4}, 4: {1}, 5: {}, 6: {6}}
	tests := []struct {
		roots, want []int
	}{
		{nil, nil}, {[]int{5}, []int{5}}, {[]int{6}, []int{6}}, {[]int{1}, []int{1, 2, 3, 4}}, {[]int{4, 4, 5}, []int{1, 2, 3, 4, 5}},
	}
	for _, tt := range tests {
		for _, jobs := range []int{1, 2, 100} {
			var calls atomic.Int32
			lookup := func(ctx context.Context, p storepath.Path) (*narinfo.Info, error) {
				calls.Add(1)
				return graph(refs)(ctx, p)
			}
			var roots []storepath.Path
			for _, r := range tt.roots {
				roots = append(roots, path(r))
			}
			infos, err := Walk(t.Context(), jobs, roots, lookup)
			if err != nil {
				t.Fatal(err)
			}
			var got []storepath.Path
			for _, i := range infos {
				got = append(got, i.StorePath)
			}
			var want []storepath.Path
			for _, n := range tt.want {
				want = append(want, path(n))
			}
			slices.SortFunc(want, storepath.Path.Compare)
			if !slices.Equal(got, want) || int(calls.Load()) != len(want) {
				t.Errorf("%v with %d jobs: %v after %d lookups, want %v", tt.roots, jobs, got, calls.Load(), want)
			}
		}
	}
}

// As many lookups as there are jobs are under way while there are so many to do, and
// no more.
func TestWalkBoundsLookups(t *testing.T) {
	const jobs, leaves = 7, 300
	refs := map[int][]int{0: nil}
	for n := 1; n <= leaves; n++ {
		refs[0] = append(refs[0], n)
		refs[n] = nil
	}
	synctest.Test(t, func(t *testing.T) {
		var now atomic.Int32
		answer := make(chan struct{})
		var err error
		go func() {
			_, err = Walk(t.Context(), jobs, []storepath.Path{path(0)}, func(ctx context.Context, p storepath.Path) (*narinfo.Info, error) {
				now.Add(1)
				defer now.Add(-1)
				<-answer
				return graph(refs)(ctx, p)
			})
		}()
		for answered := range leaves + 1 {
			synctest.Wait()
			want := min(jobs, leaves+1-answered)
			if answered == 0 {
				want = 1
			}
			if n := int(now.Load()); n != want {
				t.Errorf("%d lookups at a time after %d answers, want %d", n, answered, want)
			}
			answer <- struct{}{}
		}
		synctest.Wait()
		if err != nil || now.Load() != 0 {
			t.Errorf("at the end: %d lookups, %v", now.Load(), err)
		}
	})
}

func TestWalkErrors(t *testing.T) {
	if _, err := Walk(t.Context(), 4, []storepath.Path{path(1)}, graph(map[int][]int{1: {2}, 2: {3}})); err == nil || !strings.Contains(err.Error(), "no n3") {
		t.Errorf("a missing reference: %v", err)
	}
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := Walk(ctx, 4, []storepath.Path{path(1)}, graph(map[int][]int{1: {}})); err != why {
		t.Errorf("cancelled: %v", err)
	}
	// Another name under the same hash: taken for a root, refused for a reference.
	other, _ := storepath.New(path(2).Hash(), "other")
	lookup := func(ctx context.Context, p storepath.Path) (*narinfo.Info, error) {
		if p.Hash() == other.Hash() {
			return &narinfo.Info{StorePath: other}, nil
		}
		return graph(map[int][]int{1: {2}})(ctx, p)
	}
	if infos, err := Walk(t.Context(), 1, []storepath.Path{path(2)}, lookup); err != nil || infos[0].StorePath != other {
		t.Errorf("a root of another name: %v, %v", infos, err)
	}
	var name *NameError
	if _, err := Walk(t.Context(), 1, []storepath.Path{path(1)}, lookup); !errors.As(err, &name) {
		t.Errorf("a reference of another name: %v", err)
	}
}

func TestSizes(t *testing.T) {
	refs := map[int][]int{1: {2, 3}, 2: {2, 8}, 3: {8}, 8: {16}, 16: {8}, 32: {}}
	infos, err := Walk(t.Context(), 1, []storepath.Path{path(1), path(32)}, graph(refs))
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewGraph(infos)
	if err != nil {
		t.Fatal(err)
	}
	want := map[storepath.Path]int64{path(1): 30, path(2): 26, path(3): 27, path(8): 24, path(16): 24, path(32): 32}
	for i, size := range g.Sizes() {
		if p := g.Infos[i].StorePath; want[p] != size {
			t.Errorf("%s: %d, want %d", p.Name(), size, want[p])
		}
	}
	if _, err := NewGraph(infos[:len(infos)-2]); err == nil {
		t.Error("a graph with a path missing is accepted")
	}
}

// The closures of the large caches are those that Nix computes, with its
// references, hashes and sizes.
func TestAgainstNix(t *testing.T) {
	caches := testbed.Dir(t, "caches")
	text, err := os.ReadFile(caches + "/keys/testbed-1.pub")
	if err != nil {
		t.Fatal(err)
	}
	key, err := narinfo.ParseKey(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"all", "bad-utf8", "dag", "large", "small", "system", "wide"} {
		t.Run(name, func(t *testing.T) {
			cache := "xz"
			if name == "bad-utf8" {
				cache = name
			}
			r := &substituter.Remote{From: substituter.File{Dir: caches + "/" + cache}, Keys: narinfo.Keys{key}}
			infos, err := Walk(t.Context(), 16, list(t, caches+"/lists/"+name+".roots"), r.Info)
			if err != nil {
				t.Fatal(err)
			}
			var got []storepath.Path
			for _, i := range infos {
				got = append(got, i.StorePath)
			}
			want := list(t, caches+"/lists/"+name+".closure")
			slices.SortFunc(want, storepath.Path.Compare)
			if !slices.Equal(got, want) {
				t.Fatalf("%d paths instead of %d", len(got), len(want))
			}
			compareWithPathInfo(t, infos, caches+"/oracle/path-info-"+name+".json")
		})
	}
}

func compareWithPathInfo(t *testing.T, infos []*narinfo.Info, file string) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return // large and bad-utf8 have none
	}
	var oracle []struct {
		Path, NarHash        string
		NarSize, ClosureSize int64
		References           []string
	}
	if err == nil {
		err = json.Unmarshal(text, &oracle)
	}
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewGraph(infos)
	if err != nil {
		t.Fatal(err)
	}
	sizes := g.Sizes()
	index := map[string]int{}
	for i, info := range infos {
		index[info.StorePath.String()] = i
	}
	if len(oracle) != len(infos) {
		t.Fatalf("Nix knows %d paths, the walk found %d", len(oracle), len(infos))
	}
	for _, o := range oracle {
		i, ok := index[o.Path]
		if !ok {
			t.Errorf("%s is missing", o.Path)
			continue
		}
		var refs []string
		for _, r := range infos[i].References {
			refs = append(refs, r.String())
		}
		slices.Sort(refs)
		slices.Sort(o.References)
		if infos[i].NarHash.SRI() != o.NarHash || infos[i].NarSize != o.NarSize || sizes[i] != o.ClosureSize || !slices.Equal(refs, o.References) {
			t.Errorf("%s: %s %d %d %v; Nix says %+v", o.Path, infos[i].NarHash.SRI(), infos[i].NarSize, sizes[i], refs, o)
		}
	}
}

func list(t *testing.T, file string) (paths []storepath.Path) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		p, err := storepath.Parse(strings.TrimSpace(string(line)))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	return paths
}
