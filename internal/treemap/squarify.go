package treemap

import "fmt"

// rect is a rectangle; its place is from the upper left corner.
type rect struct{ x, y, w, h float64 }

func (r rect) empty() bool { return r.w <= 0 || r.h <= 0 }

// style says where r is in a box of width w and height h.
func (r rect) style(w, h float64) string {
	return fmt.Sprintf("left:%.3f%%;top:%.3f%%;width:%.3f%%;height:%.3f%%", 100*r.x/w, 100*r.y/h, 100*r.w/w, 100*r.h/h)
}

// squarify divides a box among sizes, which fall, into rectangles that are as
// nearly squares as it can be done row by row (Bruls, Huizing and van Wijk,
// "Squarified Treemaps"). What has no size gets none.
//
// Products are converted to float64 before they are added to: so no processor
// joins the two operations, and rounds otherwise.
func squarify(sizes []int64, w, h float64) []rect {
	rects := make([]rect, len(sizes))
	left := 0.0 // of the sizes
	for _, s := range sizes {
		left += float64(s)
	}
	box := rect{0, 0, w, h}
	for i := 0; i < len(sizes) && sizes[i] > 0 && !box.empty(); {
		// A row goes along the shorter side, and takes more as long as its worst
		// rectangle gets better.
		side := min(box.w, box.h)
		scale := float64(box.w*box.h) / left
		n, sum := i, 0.0
		for worst := 0.0; n < len(sizes) && sizes[n] > 0; n++ {
			next := sum + float64(sizes[n])
			thick := next * scale / side
			first := elongation(float64(sizes[i])*scale/thick, thick)
			last := elongation(float64(sizes[n])*scale/thick, thick)
			if now := max(first, last); n > i && now > worst {
				break
			} else {
				worst = now
			}
			sum = next
		}
		thick := sum * scale / side
		at := 0.0
		for ; i < n; i++ {
			long := float64(sizes[i]) * scale / thick
			if box.w >= box.h {
				rects[i] = rect{box.x, box.y + at, thick, long}
			} else {
				rects[i] = rect{box.x + at, box.y, long, thick}
			}
			at += long
		}
		if box.w >= box.h {
			box.x, box.w = box.x+thick, box.w-thick
		} else {
			box.y, box.h = box.y+thick, box.h-thick
		}
		left -= sum
	}
	return rects
}

// elongation returns how many times a rectangle's long side is its short one.
func elongation(w, h float64) float64 { return max(w/h, h/w) }
