package main

import (
	"fmt"
	"slices"
	"strings"

	"thaw/fhs"
	"thaw/spec"
	"thaw/storepath"
)

// collisionError is a [fhs.CollisionError] with where the packages are named.
type collisionError struct {
	fhs.CollisionError
	work *work
}

func (e *collisionError) Unwrap() error { return e.CollisionError }

// named returns how a package of the plan is named in the spec.
func (w *work) named(p storepath.Path) (of spec.Package, ok bool) {
	names := w.names
	for _, q := range w.target.spec.Packages {
		path := q.Path
		if q.Name != "" && len(names) > 0 {
			path, names = names[0].Path, names[1:]
		}
		if !path.IsZero() && path.Hash() == p.Hash() {
			return q, true
		}
	}
	return of, false
}

// place returns where in the spec a package is, such as "packages[2], vm.yaml:14".
func (w *work) place(q spec.Package) string {
	text := fmt.Sprintf("packages[%d]", q.Origin.Index)
	if q.Origin.Line > 0 {
		text += fmt.Sprintf(", %s:%d", w.target.file, q.Origin.Line)
	}
	return text
}

// Error has a line for each collision, and says where the spec names the packages.
func (e *collisionError) Error() string {
	if e.work.target.paths() {
		return e.CollisionError.Error()
	}
	lines := strings.Split(e.CollisionError.Error(), "\n")
	for i := range lines {
		if i >= len(e.CollisionError) || i == 20 {
			break
		}
		c := e.CollisionError[i]
		for _, s := range []fhs.Side{c.First, c.Second} {
			place := "propagated"
			if q, ok := e.work.named(s.Package); ok {
				place = e.work.place(q)
			}
			lines[i] = strings.Replace(lines[i], s.String(), fmt.Sprintf("%s (%s; %s)", s.Package.Base(), place, s.What()), 1)
		}
	}
	return strings.Join(lines, "\n")
}

// hint says what to write into the spec, for each two packages that collide.
func (e *collisionError) hint() string {
	if e.work.target.paths() {
		return "leave one of them out, or the place: --link chooses what is merged; a spec can give one a priority"
	}
	var hints []string
	for _, c := range e.CollisionError {
		if c.First.Mode.IsDir() || c.Second.Mode.IsDir() { // priorities do not help
			if h := "leave it out, in rootfs: merge: { exclude: [/" + c.Path + "] }"; !slices.Contains(hints, h) && len(hints) < 5 {
				hints = append(hints, h)
			}
			continue
		}
		var ways []string
		for _, s := range []fhs.Side{c.First, c.Second} {
			if q, ok := e.work.named(s.Package); ok && q.Priority > spec.LeastPriority {
				ways = append(ways, fmt.Sprintf("{ %s, priority: %d } (%s)", key(q), q.Priority-1, e.work.place(q)))
			}
		}
		if h := "let one win: " + strings.Join(ways, " or "); len(ways) > 0 && !slices.Contains(hints, h) && len(hints) < 5 {
			hints = append(hints, h)
		}
	}
	return strings.Join(append(hints, "or in rootfs: merge: { collisions: first }"), "\n")
}

// key returns the key and the value by which a package is named.
func key(q spec.Package) string {
	if q.Name != "" {
		return fmt.Sprintf("name: %s, output: %s, from: %q", q.Name, q.Output, q.From)
	}
	return "path: " + q.Path.String()
}
