package fhs

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thaw/internal/testbed"
	"thaw/nar"
	"thaw/rootfs"
	"thaw/storepath"
)

// scene is a generated case.
type scene struct {
	world  world
	chosen []Package
	opt    Options
}

// generate makes the scene of a seed. Names and contents are few, so that
// packages meet.
func generate(seed uint64) scene {
	g := generator{rand.New(rand.NewPCG(seed, 42)), world{}}
	objects := []string{"a", "b", "c", "d", "f", "g"}
	for _, name := range objects {
		g.object(object(name).String())
	}
	s := scene{world: g.world, opt: g.options()}
	for _, i := range g.Perm(len(objects))[:2+g.IntN(2)] {
		s.chosen = append(s.chosen, Package{object(objects[i]), pick(g, 5, 5, 5, 5, 4, 6, -1, 1001)})
	}
	return s
}

type generator struct {
	*rand.Rand
	world world
}

func pick[T any](g generator, of ...T) T { return of[g.IntN(len(of))] }

func (g generator) options() Options {
	var claims string
	for range pick(g, 0, 0, 0, 1, 2, 3) {
		claims += " " + pick(g, "bin", "bin/x", "bin/x/y", "bin/z/", "etc/x/y/z", "etc/x/", "etc/y", "init", "lib/", "lib/x/a",
			"sbin/init", "sbin/init/x", "sbin/q", "share/man/", "share/man/x", "share/mime/packages/y", "share/a/b", "x/y/z/", "x/q", "var/lib/q")
	}
	return options(
		pick(g, ".", ".", ".", "bin etc lib sbin share init", "bin etc lib sbin share init", "sbin/init",
			"bin share/man", "share share/man/x lib", "share/mime sbin x/y"),
		pick(g, "", "", "", "", "share/man", "*/x", "bin/[xy] sbin", "x/y/z lib/?", "share/m*/[^a-x] */*/x/y", "sbin/init", "*/*/*", "etc", "log x"),
		claims,
		pick(g, ByPriority, ByPriority, First, Strict))
}

func (g generator) object(root string) {
	switch g.IntN(40) {
	case 0:
		g.world[root] = "file 1"
		return
	case 1:
		g.world[root] = "link " + pick(g, "/etc", object("a").Base(), expand("@b"), "nothing")
		return
	case 2:
		return
	}
	g.world[root] = "dir"
	for _, top := range []string{"bin", "sbin", "lib", "share", "etc", "x"} {
		if g.IntN(2) == 0 {
			g.fill(root+"/"+top, 1)
		}
	}
	if g.IntN(5) == 0 {
		g.fill(root+"/"+pick(g, "log", "info", "init", "propagated-build-inputs", "nix"), 1)
	}
	if g.IntN(4) == 0 && g.world[root+"/init"] == "" {
		g.world.put(root+"/init", pick(g, "exec ", "file ", "exec ")+pick(g, "1", "2"))
	}
	switch g.IntN(8) {
	case 0, 1:
		var list []string
		for range 1 + g.IntN(3) {
			list = append(list, object(pick(g, "a", "b", "c", "d", "f", "g", "missing")).String())
		}
		g.world.put(root+"/"+PropagatesFile, "file "+strings.Join(list, pick(g, " ", "\n")))
	case 2:
		g.world.put(root+"/nix-support", "link "+expand("@"+pick(g, "a", "b", "c")+"/nix-support"))
	}
}

// fill puts something at a path.
func (g generator) fill(at string, depth int) {
	switch n := g.IntN(20); {
	case depth < 4 && n < 11-depth:
		g.world[at] = "dir"
		for range g.IntN(4) {
			name := pick(g, "x", "y", "z", "a", "man", "mime", "packages", "info", "dir", "log", "perllocal.pod", "init", "nix-support")
			if g.world[at+"/"+name] == "" {
				g.fill(at+"/"+name, depth+1)
			}
		}
	case n < 17:
		g.world[at] = pick(g, "file ", "file ", "file ", "file ", "exec ") + pick(g, "1", "1", "1", "1", "1", "2", "11")
	default:
		g.world[at] = "link " + g.target(at, depth)
	}
}

// target makes the target of a link at a path, so many levels below its object.
func (g generator) target(at string, depth int) string {
	up := strings.Repeat("../", depth-1)
	there := pick(g, "bin", "sbin", "lib", "share", "etc", "x", "share/x", "bin/x", "lib/y", "x/y/z", "share/man/x")
	other := object(pick(g, "a", "b", "c", "d", "f", "g")).Base()
	switch g.IntN(16) {
	case 0, 1, 2, 3:
		return up + there
	case 4, 5, 6:
		return up + "../" + other + "/" + there
	case 7, 8, 9:
		return "/nix/store/" + other + "/" + there
	case 10:
		return pick(g, "x", "y", "./x/", "x/../y", "y/.", "missing", "missing/x")
	case 11:
		return pick(g, "/dev/null", "/etc/passwd", "/", "/nix/store", "/nix", "../../../../../../../run/x")
	case 12:
		return "/nix/../nix/store/./" + other + "//" + there + "/"
	case 13:
		return pick(g, ".", "..", up+".", filepath.Base(at))
	case 14:
		return up + "../" + other
	}
	return "/nix/store/" + other + pick(g, "/missing", "/missing/x", "")
}

func (s scene) String() string {
	var b strings.Builder
	for _, e := range s.world.entries()[3:] {
		fmt.Fprintf(&b, "%s %s\n", shorten("/"+e.Path), s.world["/"+e.Path])
	}
	for _, p := range s.chosen {
		fmt.Fprintf(&b, "%s:%d ", p.Path.Name(), p.Priority)
	}
	return fmt.Sprintf("%s%+v", b.String(), s.opt)
}

// The merge agrees with the slow one, in views and in collisions, and keeps its
// promises.
func TestMatrix(t *testing.T) {
	var merged, collided, settled, endless int
	for seed := range uint64(3000) {
		s := generate(seed)
		want, ok := s.world.reference(s.chosen, s.opt)
		if !ok {
			endless++
			continue
		}
		got := s.world.merged(t, s.chosen, s.opt)
		if got != want {
			t.Fatalf("seed %d:\n%s\n%s\nwant:\n%s", seed, s, got, want)
		}
		if bad := s.broken(got.view); bad != "" {
			t.Fatalf("seed %d:\n%s\n%s\n%s", seed, s, got, bad)
		}
		switch {
		case got.collide != "":
			collided++
		case got.settled != "":
			settled++
			fallthrough
		default:
			merged++
		}
	}
	t.Logf("%d merged, of which %d had something to settle; %d collided, %d without end", merged, settled, collided, endless)
	if merged < 1000 || settled < 200 || collided < 500 || endless > 30 {
		t.Error("the scenes are not what they should be")
	}
}

// broken looks at a view as a running system would, and tells what should not be
// there: what is excluded, or in the way of a claim.
func (s scene) broken(view string) string {
	w := maps.Clone(s.world)
	for line := range strings.Lines(view) {
		rel, target, isLink := strings.Cut(strings.TrimSpace(line), " ")
		w["/view/"+rel] = "dir"
		if isLink {
			w["/view/"+rel] = "link " + expand(target)
		}
	}
	w["/view"] = "dir"
	r := reference{world: w, Options: s.opt}
	for _, c := range s.opt.Claims {
		dir := c.Path
		if !c.Dir {
			if w["/view/"+c.Path] != "" {
				return "there is something at " + c.Path
			}
			dir = path.Dir(dir)
		}
		for ; dir != "."; dir = path.Dir(dir) {
			if what := w["/view/"+dir]; what != "" && what != "dir" {
				return c.Path + " is below a link"
			}
		}
	}
	for name := range w {
		if rel, ok := strings.CutPrefix(name, "/view/"); ok && (r.excluded(rel) || r.shows(rel, name)) {
			return "something is excluded at or below " + rel
		}
	}
	return ""
}

// readNAR adds the object of a cache that is called name to the world.
func readNAR(t *testing.T, cache, name string, w world) storepath.Path {
	t.Helper()
	infos, err := filepath.Glob(filepath.Join(cache, "*.narinfo"))
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		text, err := os.ReadFile(info)
		if err != nil {
			t.Fatal(err)
		}
		fields := map[string]string{}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			fields[key] = value
		}
		p, err := storepath.Parse(fields["StorePath"])
		if err != nil {
			t.Fatal(err)
		}
		if p.Name() != name {
			continue
		}
		data, err := os.ReadFile(filepath.Join(cache, fields["URL"]))
		if err != nil {
			t.Fatal(err)
		}
		r := nar.NewReader(bytes.NewReader(data))
		for {
			h, err := r.Next()
			if err == io.EOF {
				return p
			}
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			at := filepath.Join(p.String(), h.Path)
			switch mode := h.Kind.Mode(); {
			case mode.IsDir():
				w[at] = "dir"
			case !mode.IsRegular():
				w[at] = "link " + h.Target
			case mode&0o111 != 0:
				w[at] = "exec " + string(content)
			default:
				w[at] = "file " + string(content)
			}
		}
	}
	t.Fatalf("no %s in %s", name, cache)
	panic("unreachable")
}

// Three packages that real Nix packed, made to collide.
func TestRealPackages(t *testing.T) {
	cache := testbed.Dir(t, "caches", "small-none")
	w := world{}
	all := map[string]Package{}
	for _, name := range []string{"a", "b", "c"} {
		all[name] = Package{readNAR(t, cache, "merge-"+name, w), DefaultPriority}
	}
	for _, c := range []struct{ packages, link, view, collide string }{
		{"a b c", ".", "", `
			bin/tool @merge-a @merge-b
			etc @merge-a @merge-c
			lib @merge-a @merge-c
			lib/thing @merge-a @merge-b
			share/x/diff @merge-a @merge-b`},
		{"c b", ".", "", `
			etc @merge-c @merge-b
			lib @merge-c @merge-b`},
		{"a c", "bin share real", `
			bin @merge-a/bin
			real @merge-c/real
			share
			share/c @merge-c/share/c
			share/x @merge-a/share/x`, ""},
		{"b c", "bin sbin share", `
			bin @merge-b/bin
			sbin @merge-b/sbin
			share
			share/c @merge-c/share/c
			share/x @merge-b/share/x`, ""},
		{"a b", "etc share/x/same share/x/y sbin", `
			etc
			etc/share
			etc/share/e @merge-b/etc/share/e
			etc/share/x @merge-a/etc/share/x
			sbin @merge-b/sbin
			share
			share/x
			share/x/same @merge-a/share/x/same
			share/x/y
			share/x/y/a @merge-a/share/x/y/a
			share/x/y/b @merge-b/share/x/y/b`, ""},
		{"a c:6", ".", "", `
			etc @merge-a @merge-c
			lib @merge-a @merge-c`},
		{"b:6 a:4", "bin share", `
			bin
			bin/tool @merge-a/bin/tool
			share
			share/x
			share/x/diff @merge-a/share/x/diff
			share/x/same @merge-a/share/x/same
			share/x/y
			share/x/y/a @merge-a/share/x/y/a
			share/x/y/b @merge-b/share/x/y/b`, ""},
	} {
		var chosen []Package
		for _, p := range packages(c.packages) {
			chosen = append(chosen, Package{all[p.Path.Name()].Path, p.Priority})
		}
		got := w.merged(t, chosen, options(c.link, "", "", ByPriority)).brief()
		if got.view != trim(c.view) || got.collide != trim(c.collide) {
			t.Errorf("%s: %s", c.packages, got)
		}
	}
}

// A view is the same whatever order the objects came in.
func TestOrder(t *testing.T) {
	for seed := range uint64(100) {
		s := generate(seed)
		want := s.world.merged(t, s.chosen, s.opt)
		v := s.world.view(s.chosen, s.opt)
		v.objects = newObjects()
		entries := s.world.entries()
		slices.SortStableFunc(entries, func(a, b rootfs.Entry) int {
			return cmp.Or(strings.Compare(objectOf(b.Path), objectOf(a.Path)), // the last object first,
				strings.Count(a.Path, "/")-strings.Count(b.Path, "/"), // by level,
				strings.Compare(b.Path, a.Path))                       // and the last name first
		})
		for _, e := range entries {
			v.Note(e)
		}
		if got := merged(t, v, s.world.same); got != want {
			t.Errorf("seed %d: got:\n%s\nwant:\n%s", seed, got, want)
		}
	}
}

func objectOf(path string) string {
	path, ok := strings.CutPrefix(path, "nix/store/")
	if !ok {
		return "~"
	}
	base, _, _ := strings.Cut(path, "/")
	return base
}
