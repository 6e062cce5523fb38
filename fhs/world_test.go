package fhs

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"thaw/rootfs"
	"thaw/storepath"
)

// world is a store as tests write it: absolute paths, in which @x stands for the
// object x, and what is there: "dir", "file CONTENT", "exec CONTENT" or
// "link TARGET". Parents that are not listed are directories.
type world map[string]string

// object returns the store path that tests call @name.
func object(name string) storepath.Path {
	hash := strings.Repeat("0", storepath.HashLen-1) + name[:1]
	if p, err := storepath.New(hash, name); err == nil {
		return p
	}
	p, err := storepath.New(strings.Repeat("0", storepath.HashLen), name)
	if err != nil {
		panic(err)
	}
	return p
}

// expand replaces all @name of a text by store paths.
func expand(text string) string {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(text, "@")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		end := strings.IndexAny(after+"/", "/ \n")
		b.WriteString(object(after[:end]).String())
		text = after[end:]
	}
}

// shorten is the reverse of expand.
func shorten(text string) string {
	for {
		before, after, ok := strings.Cut(text, storepath.Dir+"/")
		if !ok {
			return text
		}
		text = before + "@" + after[storepath.HashLen+1:]
	}
}

// parse makes a world of lines "PATH KIND [TEXT]".
func parse(lines string) world {
	w := world{}
	for line := range strings.Lines(expand(lines)) {
		if line = strings.TrimSpace(line); line != "" {
			name, what, _ := strings.Cut(line, " ")
			w.put(name, what)
		}
	}
	return w
}

func (w world) put(name, what string) {
	w[name] = what
	for dir := path.Dir(name); dir != storepath.Dir && dir != "/" && w[dir] == ""; dir = path.Dir(dir) {
		w[dir] = "dir"
	}
}

// entries returns the world in an order that an image may have.
func (w world) entries() []rootfs.Entry {
	out := []rootfs.Entry{rootfs.Dir(".", 0o755), rootfs.Dir("nix", 0o755), rootfs.Dir("nix/store", 0o755)}
	for _, name := range slices.Sorted(maps.Keys(w)) {
		kind, text, _ := strings.Cut(w[name], " ")
		e := rootfs.Entry{Path: name[1:]}
		switch kind {
		case "dir":
			e.Mode = fs.ModeDir | 0o555
		case "file":
			e.Mode, e.Size = 0o444, int64(len(text))
		case "exec":
			e.Mode, e.Size = 0o555, int64(len(text))
		case "link":
			e.Mode, e.Target = fs.ModeSymlink|0o777, text
		default:
			panic(name + ": " + w[name])
		}
		out = append(out, e)
	}
	return out
}

// view notes the world and the lists of what is propagated in it.
func (w world) view(packages []Package, opt Options) *View {
	v := New(packages, opt)
	for _, e := range w.entries() {
		v.Note(e)
	}
	for name, what := range w {
		base, rel, _ := strings.Cut(strings.TrimPrefix(name, storepath.Dir+"/"), "/")
		if list, ok := strings.CutPrefix(what, "file "); ok && rel == PropagatesFile {
			p, err := storepath.ParseBase(base)
			if err != nil {
				panic(err)
			}
			v.Propagates(p, []byte(list))
		}
	}
	return v
}

// same is the SameFunc of the world. Anything but two regular files of one kind
// and size is a mistake.
func (w world) same(pairs [][2]string) ([]bool, error) {
	var out []bool
	for _, p := range pairs {
		a, b := w[p[0]], w[p[1]]
		if len(a) != len(b) || a[:5] != b[:5] || a[:5] != "file " && a[:5] != "exec " {
			return nil, fmt.Errorf("in doubt about %s (%s) and %s (%s)", p[0], a, p[1], b)
		}
		out = append(out, a == b)
	}
	return out, nil
}

// outcome is what comes of a merge, in lines: the view, as "PATH" or "PATH
// TARGET", what was settled and what collides, as "PATH PACKAGE PACKAGE".
type outcome struct{ view, settled, collide string }

// sideText is a Side as outcomes have it.
func sideText(path storepath.Path, index int, what string) string {
	return fmt.Sprintf("%s[%d: %s]", shorten(path.String()), index, what)
}

// brief leaves out indexes, kinds and sizes.
func (o outcome) brief() outcome {
	re := regexp.MustCompile(`\[-?\d+: [^]]*\]`)
	return outcome{o.view, re.ReplaceAllString(o.settled, ""), re.ReplaceAllString(o.collide, "")}
}

func (o outcome) String() string {
	return fmt.Sprintf("view:\n%s\nsettled:\n%s\ncollisions:\n%s", o.view, o.settled, o.collide)
}

// merged returns what comes of the packages.
func (w world) merged(t testing.TB, packages []Package, opt Options) outcome {
	t.Helper()
	return merged(t, w.view(packages, opt), w.same)
}

func merged(t testing.TB, v *View, same SameFunc) (out outcome) {
	t.Helper()
	text := func(path string, a, b Side) string {
		return path + " " + sideText(a.Package, a.Index, a.What()) + " " + sideText(b.Package, b.Index, b.What())
	}
	var lines []string
	m, err := v.Merge(same)
	if err != nil {
		c, ok := err.(CollisionError)
		if !ok || m != nil {
			t.Fatal(m, err)
		}
		for _, c := range c {
			lines = append(lines, text(c.Path, c.First, c.Second))
		}
		return outcome{collide: strings.Join(lines, "\n")}
	}
	for i, e := range m.Entries {
		if err := e.Validate(); err != nil {
			t.Fatal(err)
		}
		if i > 0 && e.Path <= m.Entries[i-1].Path {
			t.Fatalf("%s comes after %s", e.Path, m.Entries[i-1].Path)
		}
		lines = append(lines, strings.TrimSuffix(e.Path+" "+shorten(e.Target), " "))
	}
	out.view, lines = strings.Join(lines, "\n"), nil
	for _, s := range m.Settled {
		lines = append(lines, text(s.Path, s.Winner, s.Loser))
	}
	out.settled = strings.Join(lines, "\n")
	return out
}

// everything is a view of all that there is.
var everything = Options{Link: []string{"."}}

// options reads the lists of a case: places to link, patterns, and claims, of
// which directories have a slash at the end.
func options(link, exclude, claims string, policy Policy) Options {
	o := Options{Link: strings.Fields(link), Exclude: strings.Fields(exclude), Collisions: policy, Report: true}
	if link == "" {
		o.Link = everything.Link
	}
	for f := range strings.FieldsSeq(claims) {
		name, dir := strings.CutSuffix(f, "/")
		o.Claims = append(o.Claims, Claim{name, dir})
	}
	return o
}

// packages reads "a b:4 c": names, with priorities other than the default.
func packages(list string) (out []Package) {
	for f := range strings.FieldsSeq(list) {
		name, priority, _ := strings.Cut(f, ":")
		p := Package{object(name), DefaultPriority}
		if priority != "" {
			fmt.Sscan(priority, &p.Priority)
		}
		out = append(out, p)
	}
	return out
}

// trim removes the indentation and the empty lines around a text.
func trim(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
