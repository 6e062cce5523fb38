package treemap

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("u", false, "rewrite testdata")

func bytesOf(n int64) string { return fmt.Sprintf("%d B", n) }

func draw(t testing.TB, m *Map) string {
	t.Helper()
	m.Format = bytesOf
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var sample = Map{
	Title: `a "title" & <b>`,
	Lines: []string{"two paths", "<script>alert(1)</script>"},
	Groups: []Group{
		{"git", "only git needs it", []Leaf{{"git-2.39", "/nix/store/git", 300}, {"perl", "", 200}}},
		{"several", "more than one needs it", []Leaf{{"glibc", "/nix/store/glibc", 500}, {"'odd' & <i>\xff", "\"\n", 7}, {"nothing", "", 0}}},
		{"empty", "", nil},
		{"zero", "", []Leaf{{"z", "", 0}}},
	},
}

func TestGolden(t *testing.T) {
	got := draw(t, &sample)
	const file = "testdata/sample.html"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("not what %s has; run with -u and look at the difference", file)
	}
}

// What is written is well-formed, refers to nothing outside, and runs nothing,
// whatever the names are.
func TestSelfContained(t *testing.T) {
	evil := `"><script src="http://x/y.js"></script><img onerror=x> ' </style> javascript:`
	m := Map{Title: evil, Lines: []string{evil}, Groups: []Group{{evil, evil, []Leaf{{evil, evil, 10}}}, sample.Groups[1]}}
	for _, m := range []*Map{&m, &sample, {}} {
		d := xml.NewDecoder(strings.NewReader(draw(t, m)))
		d.Strict, d.AutoClose, d.Entity = false, []string{"meta"}, xml.HTMLEntity
		var open []string
		for {
			token, err := d.Token()
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			switch e := token.(type) {
			case xml.StartElement:
				open = append(open, e.Name.Local)
				if slices.Contains([]string{"script", "img", "link", "iframe", "object", "base", "a"}, e.Name.Local) {
					t.Errorf("an element %s", e.Name.Local)
				}
				for _, a := range e.Attr {
					if n := a.Name.Local; n == "src" || n == "href" || strings.HasPrefix(n, "on") {
						t.Errorf("an attribute %s of %s", n, e.Name.Local)
					}
				}
			case xml.EndElement:
				if len(open) == 0 || open[len(open)-1] != e.Name.Local {
					t.Fatalf("</%s> after %v", e.Name.Local, open)
				}
				open = open[:len(open)-1]
			}
		}
		if len(open) > 0 {
			t.Errorf("%v not closed", open)
		}
	}
	for _, bad := range []string{"url(", "@import", "http://", "https://"} {
		if strings.Contains(draw(t, &sample), bad) {
			t.Errorf("it has %s", bad)
		}
	}
}

// The order of groups and leaves does not matter, except among groups of equal
// size.
func TestDeterministic(t *testing.T) {
	want := draw(t, &sample)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		m := sample
		m.Groups = slices.Clone(m.Groups)
		for i := range m.Groups {
			m.Groups[i].Leaves = slices.Clone(m.Groups[i].Leaves)
			rnd.Shuffle(len(m.Groups[i].Leaves), func(a, b int) {
				l := m.Groups[i].Leaves
				l[a], l[b] = l[b], l[a]
			})
		}
		m.Groups[0], m.Groups[1] = m.Groups[1], m.Groups[0]
		if got := draw(t, &m); got != want {
			t.Fatal("another order gives another file")
		}
	}
}

// Rectangles have their sizes, do not overlap, and fill the box.
func TestSquarify(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for n := range 60 {
		sizes := make([]int64, n)
		total := int64(0)
		for i := range sizes {
			sizes[i] = rnd.Int64N(1 << rnd.IntN(40))
			total += sizes[i]
		}
		slices.SortFunc(sizes, func(a, b int64) int { return int(max(min(b-a, 1), -1)) })
		const w, h = 1.6, 1.0
		rects := squarify(sizes, w, h)
		const tiny = 1e-9
		for i, r := range rects {
			want := w * h * float64(sizes[i]) / float64(max(total, 1))
			if math.Abs(r.w*r.h-want) > tiny || r.x < -tiny || r.y < -tiny || r.x+r.w > w+tiny || r.y+r.h > h+tiny {
				t.Fatalf("%v: %d is %+v, its area is to be %g", sizes, i, r, want)
			}
			for k, q := range rects[:i] {
				if min(r.x+r.w, q.x+q.w)-max(r.x, q.x) > tiny && min(r.y+r.h, q.y+q.h)-max(r.y, q.y) > tiny {
					t.Fatalf("%v: %d and %d overlap: %+v %+v", sizes, k, i, q, r)
				}
			}
		}
	}
	// The example of the paper.
	worst := 0.0
	for _, r := range squarify([]int64{6, 6, 4, 3, 2, 2, 1}, 6, 4) {
		worst = max(worst, elongation(r.w, r.h))
	}
	if worst > 25.0/9+1e-9 {
		t.Errorf("the longest rectangle is %g times as long as wide", worst)
	}
}

// Many small ones are drawn as one, and the table has them all.
func TestCrumbs(t *testing.T) {
	m := Map{Groups: []Group{{Name: "g", Leaves: []Leaf{{"large", "", 1 << 40}}}}}
	for i := range 1000 {
		m.Groups[0].Leaves = append(m.Groups[0].Leaves, Leaf{fmt.Sprintf("small%d", i), "", 1000})
	}
	got := draw(t, &m)
	if strings.Count(got, "1000 smaller ones") != 2 || strings.Count(got, "<tr><td>") != 1001 {
		t.Errorf("%d boxes of small ones, %d rows", strings.Count(got, "1000 smaller ones")/2, strings.Count(got, "<tr><td>"))
	}
}

func TestWriteError(t *testing.T) {
	m := sample
	m.Format = bytesOf
	full := errors.New("disk full")
	if err := m.Write(failing{full}); err != full {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
