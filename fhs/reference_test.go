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
	index int // -1 for one that is propagated, and loses
}

func (h having) at(rel string) string { return path.Join(h.Path.String(), rel) }

// reference is the slow merge.
type reference struct {
	world
	Options
	view                map[string]string // targets, "" for a directory
	collisions, settled []string
	steps               int
}

func (r *reference) linked(rel string) bool {
	return slices.ContainsFunc(r.Link, func(l string) bool { return l == "." || strings.HasPrefix(rel+"/", l+"/") })
}

func (r *reference) above(rel string) bool {
	return slices.ContainsFunc(r.Link, func(l string) bool { return l != rel && strings.HasPrefix(l+"/", rel+"/") })
}

// taken reports whether rel, or what it is in, is claimed by what is no directory.
func (r *reference) taken(rel string) bool {
	return slices.ContainsFunc(r.Claims, func(c Claim) bool { return !c.Dir && strings.HasPrefix(rel+"/", c.Path+"/") })
}

// claimed reports whether something needs rel as a directory.
func (r *reference) claimed(rel string) bool {
	return slices.ContainsFunc(r.Claims, func(c Claim) bool {
		return strings.HasPrefix(c.Path+"/", rel+"/") && (c.Dir || c.Path != rel)
	})
}

// excluded reports whether rel, or what it is in, matches a pattern.
func (r *reference) excluded(rel string) bool {
	if rel == "." {
		return slices.Contains(r.Exclude, ".")
	}
	return r.excluded(path.Dir(rel)) || slices.ContainsFunc(r.Exclude, func(pattern string) bool {
		ok, _ := path.Match(pattern, rel)
		return ok
	})
}

// shows reports whether a path below rel would be seen through a link to at, and
// is excluded.
func (r *reference) shows(rel, at string) bool {
	deepest := 0
	for _, pattern := range r.Exclude {
		deepest = max(deepest, strings.Count(pattern, "/"))
	}
	real, _ := r.real(at)
	if !r.leadsToDir(at) || strings.Count(rel, "/") >= deepest {
		return false
	}
	for _, name := range r.names(real) {
		if r.steps++; r.steps > tooMuch {
			return false
		}
		if r.excluded(rel+"/"+name) || r.shows(rel+"/"+name, at+"/"+name) {
			return true
		}
	}
	return false
}

// clash notes that two packages differ at rel, or who lost it.
func (r *reference) clash(list *[]string, rel string, first, second having) {
	a, b := first.at(rel), second.at(rel)
	realA, okA := r.real(a)
	realB, okB := r.real(b)
	if okA == okB && realA == realB && realA != "" || okA && okB && r.world[realA] == r.world[realB] && r.world[realA] != "dir" {
		return
	}
	*list = append(*list, rel+" "+r.side(first, a)+" "+r.side(second, b))
}

func (r *reference) side(h having, at string) string {
	real, ok := r.real(at)
	kind, content, _ := strings.Cut(r.world[real], " ")
	what := fmt.Sprintf("%s of %d bytes", map[string]string{"file": "file", "exec": "executable"}[kind], len(content))
	switch {
	case !ok:
		what = "dangling link"
	case kind == "dir":
		what = "directory"
	case len(content) == 1:
		what = strings.TrimSuffix(what, "s")
	}
	return sideText(h.Path, h.index, what)
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
	for i, p := range chosen {
		wave = append(wave, having{p, i})
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
				wave = append(wave, having{Package{q, priority}, -1})
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
	r.steps++
	if r.steps > tooMuch || skipped(rel) || r.taken(rel) || r.excluded(rel) || !r.linked(rel) && !r.above(rel) {
		return
	}
	if !r.linked(rel) || r.claimed(rel) {
		all = slices.DeleteFunc(slices.Clone(all), func(h having) bool { return !r.leadsToDir(h.at(rel)) })
		if len(all) == 0 {
			return
		}
	}
	var in, lost []having // whose directory has become part of the view's own; who has not the place
	link := all[0]
	opens := func(h having) bool {
		return r.leadsToDir(h.at(rel)) && (r.above(rel) || r.claimed(rel) || r.shows(rel, h.at(rel)))
	}
	undecided := func(h having) {
		if h.index < 0 || r.Collisions == First && h.Priority >= link.Priority {
			lost = append(lost, h)
		} else {
			r.clash(&r.collisions, rel, link, h)
		}
	}
	decided := func(second, loser having) {
		if second.index >= 0 && r.Collisions == Strict {
			r.clash(&r.collisions, rel, link, second)
		} else {
			lost = append(lost, loser)
		}
	}
	if opens(link) {
		in = all[:1:1]
	}
	for _, h := range all[1:] {
		a, b := link.at(rel), h.at(rel)
		realA, okA := r.real(a)
		realB, okB := r.real(b)
		dirA, dirB := r.leadsToDir(a), r.leadsToDir(b)
		pair := realA + " " + realB
		same := okA == okB && realA == realB && realA != ""
		better := cmp.Compare(link.Priority, h.Priority)
		switch {
		case in != nil && dirB:
			in = append(in, h)
		case in != nil:
			undecided(h)
		case better > 0 && !dirA, same && isLink(r.world, a) && !isLink(r.world, b):
			if !same {
				decided(h, link)
			}
			if link = h; opens(h) {
				in = []having{h}
			}
		case same:
		case better < 0 && !dirA:
			decided(h, h)
		case dirA && dirB && !slices.Contains(met, pair):
			in = []having{link, h}
			met = append(met[:len(met):len(met)], pair)
		default:
			undecided(h)
		}
	}
	for _, h := range lost {
		r.clash(&r.settled, rel, link, h)
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
	if !r.linked("sbin/init") || r.taken("sbin/init") || r.claimed("sbin/init") || r.excluded("sbin/init") {
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
				if rel := "sbin/" + name; !skipped(rel) { // none is excluded or claimed, or sbin were no link
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
func (w world) reference(chosen []Package, opt Options) (out outcome, ok bool) {
	r := reference{world: w, Options: opt, view: map[string]string{}}
	r.inside("", r.order(chosen), nil)
	if r.steps > tooMuch {
		return outcome{}, false
	}
	text := func(lines []string) string {
		slices.SortStableFunc(lines, func(a, b string) int {
			a, _, _ = strings.Cut(a, " ")
			b, _, _ = strings.Cut(b, " ")
			return strings.Compare(a, b)
		})
		return strings.Join(lines, "\n")
	}
	if len(r.collisions) > 0 {
		return outcome{collide: text(r.collisions)}, true
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
	return outcome{view: strings.Join(lines, "\n"), settled: text(r.settled)}, true
}
