// Package treemap draws sizes as areas, in one HTML file that needs nothing else:
// no script, no font, no image, no network. It suits itself to light and dark and to
// the width of the window, and has a table of the same for those who do not see the
// picture. Equal input gives equal bytes.
package treemap

import (
	"bufio"
	"cmp"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
)

// Map is what is drawn.
type Map struct {
	Title  string
	Lines  []string // under the title
	Groups []Group
	// Format writes a size for people.
	Format func(size int64) string
}

// Group is a rectangle that holds leaves.
type Group struct {
	Name   string
	About  string // what shows when one points at it
	Leaves []Leaf
}

// Leaf is a rectangle of its size.
type Leaf struct {
	Name  string
	About string // likewise
	Size  int64  // not negative
}

// Size is the sum of the leaves.
func (g *Group) Size() (n int64) {
	for _, l := range g.Leaves {
		n += l.Size
	}
	return n
}

const (
	// ratio is the width of the picture by its height.
	ratio = 1.6
	// header is what the name of a group is likely to take of the picture's
	// height.
	header = 0.03
	// crumb is the part of all below which the leaves of a group are drawn as one:
	// a square of ten points in a picture of 1200.
	crumb = 1.0 / 10_000
)

// Write writes the file.
func (m *Map) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	p := printer{out, m}
	groups := make([]Group, 0, len(m.Groups))
	total := int64(0)
	for _, g := range m.Groups {
		g.Leaves = slices.Clone(g.Leaves)
		slices.SortFunc(g.Leaves, func(a, b Leaf) int {
			return cmp.Or(cmp.Compare(b.Size, a.Size), strings.Compare(a.Name, b.Name), strings.Compare(a.About, b.About))
		})
		total += g.Size()
		groups = append(groups, g)
	}
	slices.SortStableFunc(groups, func(a, b Group) int { return cmp.Compare(b.Size(), a.Size()) })
	p.head()
	p.picture(groups, total)
	p.table(groups, total)
	fmt.Fprintln(out, "</main>\n</body>\n</html>")
	return out.Flush()
}

type printer struct {
	*bufio.Writer
	m *Map
}

// text escapes text for any place in the file.
func text(s string) string { return html.EscapeString(strings.ToValidUTF8(s, "�")) }

func (p *printer) head() {
	fmt.Fprintf(p, `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>%s</title>
<style>%s</style>
</head>
<body>
<main>
<h1>%s</h1>
`, text(p.m.Title), style, text(p.m.Title))
	for _, l := range p.m.Lines {
		fmt.Fprintf(p, "<p>%s</p>\n", text(l))
	}
}

// hue returns that of a group: those of neighbours in the order of size are far
// from each other.
func hue(group int) int { return group * 137 % 360 }

func (p *printer) picture(groups []Group, total int64) {
	fmt.Fprintln(p, `<div class="map" role="img" aria-label="Areas in proportion to sizes. The table below has the same.">`)
	sizes := make([]int64, len(groups))
	for i, g := range groups {
		sizes[i] = g.Size()
	}
	for i, r := range squarify(sizes, ratio, 1) {
		g := &groups[i]
		if r.empty() {
			continue
		}
		fmt.Fprintf(p, `<div class="group" style="--h:%d;%s" title="%s"><b>%s <i>%s</i></b><div>`,
			hue(i), r.style(ratio, 1), text(g.Name+"\n"+g.About), text(g.Name), text(p.m.Format(sizes[i])))
		p.leaves(g.Leaves, total, r.w, max(r.h-header, r.h/2))
		fmt.Fprintln(p, "</div></div>")
	}
	fmt.Fprintln(p, "</div>")
}

// leaves draws those of a group of width w and height h.
func (p *printer) leaves(leaves []Leaf, total int64, w, h float64) {
	large := len(leaves)
	for large > 0 && float64(leaves[large-1].Size) < crumb*float64(total) {
		large--
	}
	if len(leaves)-large > 1 {
		rest := Leaf{Name: fmt.Sprintf("%d smaller ones", len(leaves)-large)}
		for _, l := range leaves[large:] {
			rest.Size += l.Size
		}
		leaves = append(slices.Clone(leaves[:large]), rest)
		slices.SortStableFunc(leaves, func(a, b Leaf) int { return cmp.Compare(b.Size, a.Size) })
	}
	sizes := make([]int64, len(leaves))
	for i, l := range leaves {
		sizes[i] = l.Size
	}
	for i, r := range squarify(sizes, w, h) {
		if r.empty() {
			continue
		}
		l := &leaves[i]
		size := text(p.m.Format(l.Size))
		fmt.Fprintf(p, "\n"+`<div style="%s" title="%s"><span>%s <i>%s</i></span></div>`,
			r.style(w, h), text(strings.TrimSpace(fmt.Sprintf("%s\n%s, %s\n%s", l.Name, p.m.Format(l.Size), percent(l.Size, total), l.About))), text(l.Name), size)
	}
}

func (p *printer) table(groups []Group, total int64) {
	fmt.Fprintf(p, "<table>\n<thead><tr><th scope=\"col\">Size</th><th scope=\"col\">Part</th><th scope=\"col\">Name</th><th scope=\"col\">In</th></tr></thead>\n<tbody>\n")
	type row struct {
		Leaf
		group int
	}
	var rows []row
	for i, g := range groups {
		for _, l := range g.Leaves {
			rows = append(rows, row{l, i})
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(b.Size, a.Size) })
	for _, r := range rows {
		fmt.Fprintf(p, "<tr><td>%s</td><td>%s</td><td title=\"%s\">%s</td><td><span class=\"key\" style=\"--h:%d\"></span>%s</td></tr>\n",
			text(p.m.Format(r.Size)), percent(r.Size, total), text(r.About), text(r.Name), hue(r.group), text(groups[r.group].Name))
	}
	fmt.Fprintln(p, "</tbody>\n</table>")
}

func percent(n, total int64) string {
	if total == 0 {
		return "0.0 %"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(total))
}

const style = `
:root { color-scheme: light dark; --text: #1b1b1b; --page: #fdfdfd; --line: #fdfdfd; --light: 82%; --group: 70% }
@media (prefers-color-scheme: dark) { :root { --text: #ececec; --page: #161616; --line: #161616; --light: 27%; --group: 36% } }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.4 system-ui, sans-serif }
main { max-width: 1400px; margin: 0 auto; padding: 1em }
h1 { font-size: 1.3em; margin: 0 0 .3em }
p { margin: .1em 0 }
i { font-style: normal; opacity: .75; white-space: nowrap }
.map { position: relative; width: 100%; aspect-ratio: 8 / 5; margin: 1em 0; font-size: 12px; line-height: 1.3 }
.map div { position: absolute; box-sizing: border-box; overflow: hidden }
.group { container-type: size; background: hsl(var(--h) 45% var(--group)); border: 1px solid var(--line) }
.group > b { position: absolute; inset: 0 4px auto 4px; height: 18px; line-height: 18px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
.group > div { inset: 18px 0 0 0 }
.group > div > div { container-type: size; background: hsl(var(--h) 55% var(--light)); border: 1px solid hsl(var(--h) 45% var(--group)) }
.group > div > div:hover { outline: 2px solid var(--text); outline-offset: -2px }
.map span { display: none; padding: 1px 3px; overflow-wrap: anywhere }
@container (min-width: 56px) and (min-height: 19px) { .map span { display: block } }
@container (max-height: 36px) { .group > b { display: none } .group > div { inset: 0 } }
table { border-collapse: collapse; table-layout: fixed; font-size: 13px; width: 100% }
th { text-align: left }
th, td { padding: .15em .8em .15em 0; border-bottom: 1px solid color-mix(in srgb, var(--text) 15%, transparent); overflow-wrap: anywhere }
td:nth-child(-n+2), th:nth-child(-n+2) { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; width: 6em }
.key { display: inline-block; width: .8em; height: .8em; margin-right: .4em; background: hsl(var(--h) 55% var(--light)); border: 1px solid hsl(var(--h) 45% var(--group)) }
`
