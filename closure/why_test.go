package closure_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"thaw/closure"
	"thaw/narinfo"
	"thaw/storepath"
)

func TestWhy(t *testing.T) {
	path := func(name string) storepath.Path {
		p, err := storepath.New(fmt.Sprintf("%032s", strings.ReplaceAll(name, "e", "3")), name)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	paths := func(names string) (out []storepath.Path) {
		for name := range strings.FieldsSeq(names) {
			out = append(out, path(name))
		}
		return out
	}
	var infos []*narinfo.Info
	for name, refs := range map[string]string{"a": "a b c", "b": "d", "c": "f", "d": "f", "f": "g", "g": "a g", "h": "d", "i": ""} {
		infos = append(infos, &narinfo.Info{StorePath: path(name), References: paths(refs)})
	}
	slices.SortFunc(infos, func(a, b *narinfo.Info) int { return a.StorePath.Compare(b.StorePath) })
	g, err := closure.NewGraph(infos)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range [][3]string{
		{"a", "a", "a"}, {"a", "g", "a c f g"}, {"h a", "f", "h d f"}, {"a h", "f", "a c f"}, {"a h", "d", "h d"},
		{"a", "i", ""}, {"i", "a", ""}, {"", "a", ""}, {"a", "k", ""}, {"g", "c", "g a c"},
	} {
		if got := g.Why(paths(test[0]), path(test[1])); !slices.Equal(got, paths(test[2])) {
			t.Errorf("from %s to %s: %v, want %s", test[0], test[1], got, test[2])
		}
	}
}
