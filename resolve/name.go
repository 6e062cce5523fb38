package resolve

import (
	"cmp"
	"slices"
	"strings"
)

// outputs are the names that outputs of packages usually have. The name of a
// store path does not say where its version ends and the name of its output
// begins, so others are taken for a part of the version.
var outputs = []string{
	"bin", "data", "debug", "dev", "devdoc", "devman", "dist", "doc", "getent", "headers", "include", "info",
	"installedTests", "lib", "libgcc", "locale", "man", "modules", "py", "python", "static", "terminfo", "test",
	"testing", "tests", "tex", "texdoc", "texsource", "tlpkg", "tools",
}

// splitOutput takes the name of an output off the name of a store path. wanted
// is one more name that outputs can have.
func splitOutput(full, wanted string) (rest, output string) {
	if base, ok := strings.CutSuffix(full, "-"+wanted); ok && base != "" && wanted != "out" {
		return base, wanted
	}
	if i := strings.LastIndexByte(full, '-'); i > 0 && slices.Contains(outputs, full[i+1:]) {
		return full[:i], full[i+1:]
	}
	return full, "out"
}

// splitVersion takes a name apart as Nix does: the version begins after the first
// dash that no letter follows.
func splitVersion(name string) (pname, version string) {
	for i := range len(name) - 1 {
		if name[i] == '-' && !isLetter(name[i+1]) {
			return name[:i], name[i+1:]
		}
	}
	return name, ""
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// pattern is what a query wants of the name of a store path.
type pattern struct {
	name   string
	output string // of the package

	// The name may have the output in it: curl-bin.
	rest, suffix string // "" if it has none
}

func newPattern(name, output string) pattern {
	p := pattern{name: name, output: output}
	if rest, suffix := splitOutput(name, "out"); suffix != "out" && output == "out" {
		p.rest, p.suffix = rest, suffix
	}
	return p
}

// parts is the name of a store path, taken apart.
type parts struct {
	full    string
	base    string // full without the output
	pname   string // base without the version
	version string
	output  string
}

func (p pattern) split(full string) parts {
	base, output := splitOutput(full, p.output)
	pname, version := splitVersion(base)
	return parts{full, base, pname, version, output}
}

// of reports whether these are of an output, whichever, of the package.
func (p pattern) of(x parts) bool { return x.pname == p.name || x.base == p.name }

// matches reports whether these are of what is wanted.
func (p pattern) matches(x parts) bool {
	switch {
	case x.full == p.name:
		return p.output == "out" || p.output == x.output
	case p.of(x):
		return x.output == p.output
	}
	return p.suffix != "" && x.output == p.suffix && x.pname == p.rest
}

// maxNear is how many names are proposed in place of one that is not there.
const maxNear = 4

// nearest collects the names that are most like one that is not there.
type nearest struct {
	pname     string
	versioned bool
	best      []near
}

type near struct {
	distance int
	name     string
}

func newNearest(name string) nearest {
	pname, version := splitVersion(name)
	return nearest{pname: pname, versioned: version != ""}
}

// add proposes the name of a package, or of a version of it.
func (n *nearest) add(x parts) {
	if n.versioned && x.pname == n.pname {
		n.propose(near{0, x.base})
		return
	}
	d := distance(n.pname, x.pname)
	switch {
	case d < far && d <= len(n.pname)/3: // most short names are like each other
		n.propose(near{d, x.pname})
	case begins(x.pname, n.pname) || begins(n.pname, x.pname) || ends(x.pname, n.pname):
		n.propose(near{far, x.pname})
	}
}

// begins and ends report whether a name is another one with more words.
func begins(name, with string) bool {
	return len(name) > len(with) && name[len(with)] == '-' && strings.HasPrefix(name, with)
}

func ends(name, with string) bool {
	return len(name) > len(with) && name[len(name)-len(with)-1] == '-' && strings.HasSuffix(name, with)
}

func (n *nearest) propose(x near) {
	at, found := slices.BinarySearchFunc(n.best, x, func(a, b near) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), strings.Compare(a.name, b.name))
	})
	if !found && at < maxNear {
		n.best = slices.Insert(n.best[:min(len(n.best), maxNear-1)], at, x)
	}
}

func (n *nearest) names() (names []string) {
	for _, x := range n.best {
		names = append(names, x.name)
	}
	return names
}

// far is the distance of names that are not like each other.
const far = 3

// distance counts the characters to insert, delete, replace or swap with the next
// that turn one name into the other, without regard to case, up to far.
func distance(a, b string) int {
	if len(a)-len(b) >= far || len(b)-len(a) >= far || len(a) > 64 {
		return far
	}
	for a != "" && b != "" && lower(a[0]) == lower(b[0]) {
		a, b = a[1:], b[1:]
	}
	for a != "" && b != "" && lower(a[len(a)-1]) == lower(b[len(b)-1]) {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	var rows [3][68]int
	before, last, row := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		least := row[0]
		for j := range len(b) {
			cost := 1
			if lower(a[i]) == lower(b[j]) {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && lower(a[i]) == lower(b[j-1]) && lower(a[i-1]) == lower(b[j]) {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
			least = min(least, row[j+1])
		}
		if least >= far {
			return far
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], far)
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
