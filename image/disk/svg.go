package disk

import (
	"fmt"
	"html"
	"strings"
)

// What an SVG measures, in its units.
const (
	svgWidth  = 960
	svgBar    = 900 // the bar's width
	svgLeft   = 30
	svgLeast  = 4  // the narrowest region
	svgNumber = 24 // the narrowest one with its number
	svgHeight = 56
	svgTop    = 50
	svgLine   = 22
)

// colours are those of each kind; partitions have theirs in turn.
var (
	colours    = map[Kind]string{KindFree: "#eceff1", KindTable: "#78909c", KindBackup: "#78909c", KindRaw: "#ff8a65", KindVolume: "#ff8a65"}
	partitions = []string{"#4db6ac", "#64b5f6", "#ffd54f", "#ba68c8", "#aed581", "#f06292"}
)

// SVG draws the map as an image: a bar, and under it a line for each region.
func (m Map) SVG() string {
	all := m.all()
	// Regions that are too narrow for their share get a little from the others.
	least := min(svgLeast, svgBar/max(1, len(all)))
	rest := svgBar - least*len(all)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n",
		svgWidth, svgTop+svgHeight+svgLine*(len(all)+1))
	title := fmt.Sprintf("disk of %s, %v, sectors of %d bytes", size(m.Size), m.Table, m.SectorSize)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n"+`<text x="%d" y="30" font-size="16">%s</text>`+"\n", svgLeft, title)
	parts := 0
	for i, r := range all {
		colour := colours[r.Kind]
		if r.Kind == KindPartition {
			colour = partitions[parts%len(partitions)]
			parts++
		}
		from := svgLeft + least*i + scale(r.Start, rest, m.Size)
		to := svgLeft + least*(i+1) + scale(r.End, rest, m.Size)
		label := html.EscapeString(strings.Join(r.labels(), ", "))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s" stroke="#37474f"><title>%s</title></rect>`+"\n",
			from, svgTop, max(1, to-from), svgHeight, colour, label)
		if r.Kind == KindPartition && to-from >= svgNumber {
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%d</text>`+"\n", (from+to)/2, svgTop+svgHeight/2+5, r.Number)
		}
		y := svgTop + svgHeight + svgLine*(i+1)
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="12" height="12" fill="%s" stroke="#37474f"/>`, svgLeft, y-10, colour)
		fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text><text x="%d" y="%d" text-anchor="end">%s at %s</text>`+"\n",
			svgLeft+22, y, label, svgLeft+svgBar, y, size(r.End-r.Start), size(r.Start))
	}
	b.WriteString("</svg>\n")
	return b.String()
}
