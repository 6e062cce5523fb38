package fhs

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"thaw/storepath"
)

// The rules once more, in the way that is easiest to see: paths are texts, every
// question walks from the root, and a place of the view is decided from the list
// of all packages that have it.

// names returns what the directory at a real path has.
func (w world) names(dir string) (out []string) {
	for name := range w {
		if path.Dir(name) == dir {
			out = append(out, path.Base(name))
		}
	}
	slices.Sort(out)
	return out
}

// real returns where a path leads, through all links. exists is false for what
// is no file of a store object; where is then the place that is missing, or ""
// for a path that leads nowhere.
func (w world) real(name string) (where string, exists bool) {
	var (
		links int
		done  = "/"
		todo  = strings.Split(name, "/")
	)
	for len(todo) > 0 {
		element := todo[0]
		todo = todo[1:]
		if !w.dir(done) {
			return path.Join(done, element, path.Join(todo...)), false
		}
		switch element {
		case "", ".":
		case "..":
			done = path.Dir(done)
		default:
			next := path.Join(done, element)
			target, isLink := strings.CutPrefix(w[next], "link ")
			switch {
			case isLink:
				if links++; links > 40 || target == "" {
					return "", false
				}
				if target[0] == '/' {
					done = "/"
				}
				todo = slices.Concat(strings.Split(target, "/"), todo)
			case w[next] != "" || w.dir(next):
				done = next
			default:
				return path.Join(next, path.Join(todo...)), false
			}
		}
	}
	return done, w[done] != ""
}

// dir reports whether a real path is a directory.
func (w world) dir(real string) bool {
	return w[real] == "dir" || real == "/" || real == "/nix" || real == "/nix/store"
}

// leadsToDir reports whether a path leads to a directory of a store object.
func (w world) leadsToDir(name string) bool {
	real, ok := w.real(name)
	return ok && w.dir(real)
}

// having is a package that has a place of the view.
type having struct {
	Package
	loses bool
}

func (h having) at(rel string) string { return path.Join(h.Path.String(), rel) }

// reference is the slow merge.
type reference struct {
	world
	link       []string
	view       map[string]string // targets, "" for a directory
	collisions []string
	steps      int
}

func (r *reference) linked(rel string) bool {
	return slices.ContainsFunc(r.link, func(l string) bool { return l == "." || strings.HasPrefix(rel+"/", l+"/") })
}

func (r *reference) above(rel string) bool {
	return slices.ContainsFunc(r.link, func(l string) bool { return l != rel && strings.HasPrefix(l+"/", rel+"/") })
}

func skipped(rel string) bool {
	first, rest, _ := strings.Cut(rel, "/")
	switch {
	case rel == first && slices.Contains([]string{"nix", "nix-support", "propagated-build-inputs"}, rel):
	case first == "share" && strings.HasPrefix(rest, "mime/") && !strings.HasPrefix(rest, "mime/packages"):
	case strings.HasSuffix(rel, "info/dir"):
	case path.Base(rel) == "log", path.Base(rel) == "perllocal.pod":
	default:
		return false
	}
	return true
}

// order returns all packages in the order in which they are merged.
func (r *reference) order(chosen []Package) (out []having) {
	done := map[string]bool{}
	var wave []having
	for _, p := range chosen {
		wave = append(wave, having{p, false})
	}
	for priority := 1000; len(wave) > 0; {
		next := map[string]bool{}
		for _, h := range wave {
			seen := done[h.at("")]
			done[h.at("")] = true
			if seen || !r.leadsToDir(h.at("")) {
				continue
			}
			out = append(out, h)
			real, _ := r.real(h.at(PropagatesFile))
			if rest, ok := strings.CutSuffix(real, "/"+PropagatesFile); ok && path.Dir(rest) == storepath.Dir {
				for _, p := range strings.Fields(strings.TrimPrefix(r.world[real], "file ")) {
					if !done[p] {
						next[p] = true
					}
				}
			}
		}
		wave = nil
		for _, p := range slices.Sorted(maps.Keys(next)) {
			if q, err := storepath.Parse(p); err == nil {
				wave = append(wave, having{Package{q, priority}, true})
				priority++
			}
		}
	}
	return out
}

// tooMuch is what ends a merge that would be endless.
const tooMuch = 100_000

// place decides what the view has at rel, where all of the packages have
// something, and below it. met are the pairs of directories that met above it.
func (r *reference) place(rel string, all []having, met []string) {
	if r.steps++; r.steps > tooMuch || skipped(rel) || !r.linked(rel) && !r.above(rel) {
		return
	}
	if !r.linked(rel) {
		all = slices.DeleteFunc(slices.Clone(all), func(h having) bool { return !r.leadsToDir(h.at(rel)) })
		if len(all) == 0 {
			return
		}
	}
	var in []having // whose directory has become part of the view's own
	link := all[0]
	if r.above(rel) && r.leadsToDir(link.at(rel)) {
		in = all[:1:1]
	}
	collide := func(first, second having) {
		if !second.loses {
			r.collisions = append(r.collisions, shorten(fmt.Sprintf("%s %s %s", rel, first.Path, second.Path)))
		}
	}
	for _, h := range all[1:] {
		a, b := link.at(rel), h.at(rel)
		realA, okA := r.real(a)
		realB, okB := r.real(b)
		dirA, dirB := r.leadsToDir(a), r.leadsToDir(b)
		pair := realA + " " + realB
		better := cmp.Compare(link.Priority, h.Priority)
		switch {
		case in != nil && dirB:
			in = append(in, h)
		case in != nil:
			collide(in[0], h)
		case better > 0 && !dirA, okA == okB && realA == realB && realA != "" && isLink(r.world, a) && !isLink(r.world, b):
			if link = h; dirB && r.above(rel) {
				in = []having{h}
			}
		case okA == okB && realA == realB && realA != "":
		case better < 0 && !dirA:
		case dirA && dirB && !slices.Contains(met, pair):
			in = []having{link, h}
			met = append(met[:len(met):len(met)], pair)
		case okA && okB && !dirA && !dirB && r.world[realA] == r.world[realB]:
		default:
			collide(link, h)
		}
	}
	if in == nil {
		r.view[rel] = link.at(rel)
		return
	}
	if r.linked(rel) {
		r.view[rel] = ""
	}
	r.inside(rel, in, met)
}

// inside decides what is below the directory rel of the view, of the packages in.
func (r *reference) inside(rel string, in []having, met []string) {
	have := map[string][]having{}
	for _, h := range in {
		real, _ := r.real(h.at(rel))
		for _, name := range r.names(real) {
			have[name] = append(have[name], h)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		r.place(strings.TrimPrefix(rel+"/"+name, "/"), have[name], met)
	}
}

// isLink reports whether a path is a link itself. Links on the way are followed.
func isLink(w world, name string) bool {
	dir, _ := w.real(path.Dir(name))
	return strings.HasPrefix(w[path.Join(dir, path.Base(name))], "link ")
}

// init adds the init of a package.
func (r *reference) init(chosen []Package) {
	if !r.linked("sbin/init") {
		return
	}
	for _, p := range chosen {
		init := p.Path.String() + "/init"
		real, ok := r.real(init)
		if !ok || !strings.HasPrefix(r.world[real], "exec ") {
			continue
		}
		sbin, there := r.view["sbin"]
		if _, taken := r.view["sbin/init"]; taken || sbin != "" && !r.leadsToDir(sbin) {
			return
		}
		if there && sbin != "" {
			dir, _ := r.real(sbin)
			if slices.Contains(r.names(dir), "init") {
				return
			}
			for _, name := range r.names(dir) {
				if rel := "sbin/" + name; !skipped(rel) {
					r.view[rel] = sbin + "/" + name
				}
			}
		}
		if r.linked("sbin") {
			r.view["sbin"] = ""
		}
		r.view["sbin/init"] = init
		return
	}
}

// reference returns what merged returns. ok is false if there is no telling.
func (w world) reference(chosen []Package, link []string) (view, failure string, ok bool) {
	r := reference{world: w, link: link, view: map[string]string{}}
	r.inside("", r.order(chosen), nil)
	if r.steps > tooMuch {
		return "", "", false
	}
	if len(r.collisions) > 0 {
		slices.SortStableFunc(r.collisions, func(a, b string) int {
			a, _, _ = strings.Cut(a, " ")
			b, _, _ = strings.Cut(b, " ")
			return strings.Compare(a, b)
		})
		return "", strings.Join(r.collisions, "\n"), true
	}
	r.init(chosen)
	for rel := range r.view {
		for dir := path.Dir(rel); dir != "."; dir = path.Dir(dir) {
			r.view[dir] = ""
		}
	}
	var lines []string
	for _, rel := range slices.Sorted(maps.Keys(r.view)) {
		lines = append(lines, strings.TrimSuffix(rel+" "+shorten(r.view[rel]), " "))
	}
	return strings.Join(lines, "\n"), "", true
}
