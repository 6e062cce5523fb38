package names

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"thaw/rootfs"
)

// What was added is found, wherever in between that is asked.
func TestTable(t *testing.T) {
	for _, n := range []int{0, 1, scanned, scanned + 1, 10 * scanned} {
		for _, every := range []int{1, 7, 1000} {
			var table Table[uint64]
			name := func(i int) string { return fmt.Sprint("n", (i*7919)%1000) }
			for i := range n {
				table.Add(name(i), uint64(i))
				if i%every != 0 {
					continue
				}
				for j := range n {
					if ref, ok := table.Lookup(name(j)); ok != (j <= i) || ok && ref != uint64(j) {
						t.Fatalf("%d of %d: %s is %d, %v", i+1, n, name(j), ref, ok)
					}
				}
			}
			if ref, ok := table.Lookup("none"); ok || ref != 0 {
				t.Errorf("%d: none is %d, %v", n, ref, ok)
			}
			table.Sort()
			if len(table.List) != n || !slices.IsSortedFunc(table.List, func(a, b Entry[uint64]) int { return strings.Compare(a.Name, b.Name) }) {
				t.Errorf("%d entries, not %d, or unsorted", len(table.List), n)
			}
		}
	}
}

func TestDirs(t *testing.T) {
	type dir struct{ name string }
	var d Dirs[dir]
	refused := func(path, reason string, err error) {
		t.Helper()
		var e *rootfs.EntryError
		if !errors.As(err, &e) || e.Path != path || e.Reason != reason {
			t.Errorf("%q: %v, not %q", path, err, reason)
		}
	}
	_, _, err := d.Parent("a")
	refused("a", `comes before its parent "."`, err)
	if err := d.AddRoot(&dir{"."}); err != nil {
		t.Fatal(err)
	}
	refused(".", "comes twice", d.AddRoot(&dir{"."}))
	for _, path := range []string{"a", "a/b", "c"} {
		d.Add(path, &dir{path})
	}
	for _, test := range [][3]string{{"x", ".", "x"}, {"a/x", "a", "x"}, {"a/y", "a", "y"}, {"a/b/x", "a/b", "x"}, {"c/b", "c", "b"}, {"y", ".", "y"}} {
		if parent, name, err := d.Parent(test[0]); err != nil || parent.name != test[1] || name != test[2] {
			t.Errorf("%q: %+v, %q, %v", test[0], parent, name, err)
		}
		_, _, err := d.Parent("c/none/x")
		refused("c/none/x", `comes before its parent "c/none"`, err)
	}
	if len(d.All) != 4 || d.All[0].name != "." || d.All[3].name != "c" {
		t.Errorf("%d directories", len(d.All))
	}
}

func TestKeep(t *testing.T) {
	var d Dirs[struct{}]
	var all [][2]string
	for i := range 3000 {
		name := strings.Repeat("n", i%300) + fmt.Sprint(i)
		if i%500 == 0 {
			name = strings.Repeat(name, pieceSize)
		}
		all = append(all, [2]string{name, d.Keep(strings.Clone(name))})
	}
	for _, kept := range all {
		if kept[0] != kept[1] {
			t.Fatalf("%.99q became %.99q", kept[0], kept[1])
		}
	}
	if n := testing.AllocsPerRun(100, func() { d.Keep("a name") }); n != 0 {
		t.Errorf("%v allocations for a name", n)
	}
}
