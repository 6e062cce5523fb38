package fhs

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("u", false, "rewrite the expected texts")

// TestCollisionTexts holds what users read against testdata/collisions. A file
// has the packages, perhaps a policy, a world, a line "-- texts --", and the error
// or, a line each, what was settled.
func TestCollisionTexts(t *testing.T) {
	files, err := filepath.Glob("testdata/collisions/*.txt")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			const mark = "-- texts --\n"
			text, want, ok := bytes.Cut(content, []byte(mark))
			if !ok {
				t.Fatalf("%s has no line %q", file, mark)
			}
			head, lines, _ := strings.Cut(string(text), "\n\n")
			chosen, policy := "", ""
			for line := range strings.Lines(head) {
				line = strings.TrimSpace(line)
				if list, ok := strings.CutPrefix(line, "packages: "); ok {
					chosen = list
				} else if policy, ok = strings.CutPrefix(line, "policy: "); !ok {
					t.Fatalf("%s has a line %q", file, line)
				}
			}
			opt := options("", "", "", map[string]Policy{"": ByPriority, "first": First, "strict": Strict}[policy])
			w := parse(strings.ReplaceAll(lines, "ESC", "\x1b"))
			var got string
			m, err := w.view(packages(chosen), opt).Merge(w.same)
			if err != nil {
				got = err.Error() + "\n"
			} else {
				for _, s := range m.Settled {
					got += s.String() + "\n"
				}
			}
			if *update {
				if err := os.WriteFile(file, []byte(string(text)+mark+got), 0o666); err != nil {
					t.Fatal(err)
				}
			} else if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// Who prints more than the text, such as where a package is named in a spec,
// finds it in the error.
func TestCollisionSides(t *testing.T) {
	w := parse(`
		@a/nix-support/propagated-user-env-packages file @d
		@b/x exec 12
		@c/x link gone
		@d/x/y file 1`)
	_, err := w.view(packages("a b b c"), everything).Merge(w.same)
	c, ok := err.(CollisionError)
	if !ok || len(c) != 1 {
		t.Fatalf("got %v", err)
	}
	if got, want := fmt.Sprint(c[0].First.Index, c[0].First.Mode, c[0].First.Size), "1 -r-xr-xr-x 2"; got != want {
		t.Errorf("first: got %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(c[0].Second.Index, c[0].Second.Mode, c[0].Second.Size), "3 L--------- 0"; got != want {
		t.Errorf("second: got %s, want %s", got, want)
	}
	m, err := w.view(packages("a b b"), options("", "", "", Strict)).Merge(w.same)
	if err != nil || len(m.Settled) != 1 {
		t.Fatalf("got %v, %v", m, err)
	}
	if got, want := fmt.Sprint(m.Settled[0].Loser.Index, m.Settled[0].Loser.Mode), "-1 dr-xr-xr-x"; got != want {
		t.Errorf("propagated: got %s, want %s", got, want)
	}
}
