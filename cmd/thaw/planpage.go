package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"thaw/closure"
	"thaw/image/disk"
	"thaw/internal/treemap"
	"thaw/narinfo"
	"thaw/storepath"
)

// print writes the bill for people.
func (b *bill) print(out io.Writer) {
	for _, line := range b.summary() {
		fmt.Fprintf(out, "%-10s %s\n", line[0], line[1])
	}
	outputs := table{right: map[int]bool{2: true, 3: true, 4: true}}
	outputs.add("", "", "likely", "at least", "at most")
	for _, o := range b.Outputs {
		row := []string{o.Name, o.Format, inBytes(o.Likely), inBytes(o.Least), inBytes(o.Most)}
		if o.Name == o.Format {
			row[1] = ""
		}
		if o.MaxSize > 0 {
			row = append(row, fmt.Sprintf("max-size %s: %s", inBytes(o.MaxSize), o.Verdict))
		}
		outputs.add(row...)
	}
	outputs.print(out, "outputs")

	packages := table{right: map[int]bool{0: true, 1: true}}
	packages.add("adds", "closure", "")
	for _, p := range b.Packages[:min(billed, len(b.Packages))] {
		packages.add(inBytes(p.Added), inBytes(p.ClosureSize), short(p.Path))
	}
	if n := len(b.Packages) - billed; n > 0 {
		packages.add("", "", fmt.Sprintf("and %s that add less", count(n, "package")))
	}
	packages.print(out, "packages")

	largest := table{right: map[int]bool{0: true}}
	for _, p := range b.Largest {
		only := ""
		if p.Only != "" && len(b.Packages) > 1 {
			only = "only for " + short(p.Only)
		}
		largest.add(inBytes(p.NarSize), short(p.Path), only)
	}
	largest.print(out, "largest")

	var forbidden table
	for _, f := range b.Forbid {
		var names []string
		for _, p := range f.Why {
			names = append(names, short(p))
		}
		forbidden.add(f.Pattern, strings.Join(names, " → "))
	}
	forbidden.print(out, "forbidden")
}

// printLayouts draws what is likely to be where on disks.
func (b *bill) printLayouts(out io.Writer) {
	for _, o := range b.Outputs {
		if o.layout != nil {
			fmt.Fprintf(out, "\n%s, as is likely:\n%s", o.Name, o.layout.Text())
		}
	}
}

// writeLayout draws the same as an image, of the only disk that there is.
func (b *bill) writeLayout(name string) error {
	var disks []string
	var layout *disk.Map
	for _, o := range b.Outputs {
		if o.layout != nil {
			disks, layout = append(disks, o.Name), o.layout
		}
	}
	if len(disks) != 1 {
		return usage("--map without a file draws all of them as text", "an SVG shows one disk, and there are %d: %s", len(disks), cmp.Or(strings.Join(disks, ", "), "none"))
	}
	return writeFile(name, func(w io.Writer) error {
		_, err := io.WriteString(w, layout.SVG())
		return err
	})
}

// summary is the bill in two lines, each with a name.
func (b *bill) summary() [][2]string {
	fetch := "nothing to fetch"
	if b.Fetch.Paths > 0 {
		var from []string
		for _, name := range b.caches() {
			c := b.Fetch.Caches[name]
			from = append(from, fmt.Sprintf("%s %s", cmp.Or(name, "elsewhere"), inBytes(c.Bytes)))
		}
		fetch = fmt.Sprintf("%d to fetch: %s (%s)", b.Fetch.Paths, inBytes(b.Fetch.Bytes), strings.Join(from, ", "))
	}
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(b.Signed)) {
		keys = append(keys, fmt.Sprintf("%s %d", key, b.Signed[key]))
	}
	signed := fmt.Sprintf("%d of %d", b.Paths-b.ByCA-b.Unsigned, b.Paths)
	if len(keys) > 0 {
		signed += " (" + strings.Join(keys, ", ") + ")"
	}
	if b.ByCA > 0 {
		signed += fmt.Sprintf(", %d by content", b.ByCA)
	}
	if b.Unsigned > 0 {
		signed += fmt.Sprintf(", %d not at all", b.Unsigned)
	}
	return [][2]string{
		{"closure", fmt.Sprintf("%s, %s unpacked; %d in the local cache, %s", count(b.Paths, "path"), inBytes(b.NarSize), b.Cached.Paths, fetch)},
		{"signed", signed},
	}
}

// short is a store path with less of its hash.
func short(p string) string {
	base := path.Base(p)
	if len(base) < 33 {
		return p
	}
	return base[:4] + "…" + base[32:]
}

// A table has columns that are as wide as what is in them.
type table struct {
	right map[int]bool // columns that are flush right
	rows  [][]string
}

func (t *table) add(row ...string) { t.rows = append(t.rows, row) }

// print writes the table with its name in front.
func (t *table) print(out io.Writer, name string) {
	var width []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range t.rows {
		var b strings.Builder
		for i, cell := range row {
			fill := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if t.right[i] {
				cell = fill + cell
			} else {
				cell += fill
			}
			if width[i] > 0 {
				b.WriteString(cell + "  ")
			}
		}
		fmt.Fprintln(out, strings.TrimRight(fmt.Sprintf("%-10s %s", name, b.String()), " "))
		name = ""
	}
}

// pageGroups is how many groups the map has: more would be too small to see.
const pageGroups = 24

// treemap draws the closure: a group for each package, with what it alone needs, and
// one for what several of them do.
func (b *bill) treemap() *treemap.Map {
	g := b.graph
	tops, above := divide(g, b.plan.Roots())
	alone := g.Alone(tops)
	sizes := g.Sizes()
	groups := make([]treemap.Group, len(tops), len(tops)+2)
	for i, p := range tops {
		groups[i] = treemap.Group{Name: p.Name(), About: "what only " + p.Name() + " needs"}
	}
	several := treemap.Group{Name: "needed by several", About: "what more than one of the groups needs"}
	root := treemap.Group{Name: "at the top"}
	for i, info := range g.Infos {
		leaf := treemap.Leaf{Name: info.StorePath.Name(), Size: info.NarSize, About: "closure " + inBytes(sizes[i]) + "\n" + info.StorePath.String()}
		group := &several
		switch n := alone[i]; {
		case slices.Contains(above, info.StorePath):
			group = &root
		case n >= 0:
			group = &groups[n]
		}
		group.Leaves = append(group.Leaves, leaf)
	}
	m := &treemap.Map{Title: b.Name + ": " + inBytes(b.NarSize), Groups: append(few(groups), several, root), Format: inBytes}
	for _, line := range b.summary() {
		m.Lines = append(m.Lines, line[0]+": "+line[1])
	}
	return m
}

// divide returns what the closure is divided by: the packages, or if there is one,
// what it refers to, or if that is one, what that refers to. above are those that
// were passed by.
func divide(g *closure.Graph, roots []storepath.Path) (tops, above []storepath.Path) {
	tops = roots
	for len(tops) == 1 && !slices.Contains(above, tops[0]) {
		i, _ := slices.BinarySearchFunc(g.Infos, tops[0], func(i *narinfo.Info, p storepath.Path) int { return i.StorePath.Compare(p) })
		refs := slices.DeleteFunc(slices.Clone(g.Infos[i].References), func(p storepath.Path) bool { return p == tops[0] || slices.Contains(above, p) })
		if len(refs) == 0 {
			return tops, above
		}
		above = append(above, tops[0])
		slices.SortFunc(refs, storepath.Path.Compare)
		tops = refs
	}
	return tops, above
}

// few makes one group of all but the largest.
func few(groups []treemap.Group) []treemap.Group {
	groups = slices.DeleteFunc(groups, func(g treemap.Group) bool { return len(g.Leaves) == 0 })
	if len(groups) <= pageGroups {
		return groups
	}
	slices.SortStableFunc(groups, func(a, b treemap.Group) int { return cmp.Compare(b.Size(), a.Size()) })
	rest := treemap.Group{Name: fmt.Sprintf("%d others", len(groups)-pageGroups), About: "what only one of them needs"}
	for _, g := range groups[pageGroups:] {
		rest.Leaves = append(rest.Leaves, g.Leaves...)
	}
	return append(groups[:pageGroups:pageGroups], rest)
}
