package fhs

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"thaw/rootfs"
)

// Options says what is in a view. Its paths and patterns are relative to the
// view, wherever in the image that is, and have no slash in front; "." is the
// view itself. The zero value leaves the view empty.
type Options struct {
	// Link are the places of the view: what it has lies at one of them or
	// below. "." means everything.
	Link []string
	// Exclude are patterns of paths, in which *, ? and [a-z] stand for
	// characters of one name, as in [path.Match]. What matches is left out
	// with all below it, and collides with nothing.
	Exclude []string
	// Collisions says who wins where packages have different files.
	Collisions Policy
	// Claims are what something else puts into the image.
	Claims []Claim
	// Report asks for [Merged.Settled]. Files that priorities decide about are
	// compared for its sake alone.
	Report bool
}

// Policy says what happens where two packages have different files at one place.
// A directory and a file are different, too. Whatever the policy, propagated
// packages lose.
type Policy int

const (
	// ByPriority lets the lower priority number win; at equal priority they
	// collide. A file never replaces a directory that comes before it: these
	// collide at any priorities.
	ByPriority Policy = iota
	// First is ByPriority, but what comes first wins where they would collide,
	// unless what comes later has a lower priority number.
	First
	// Strict lets them collide, whatever the priorities.
	Strict
)

// Claim is what something else puts into the image. The view has no link above
// it, so that it does not end up in the store: a directory that leads to it is a
// directory of the view, and what is none is left out.
type Claim struct {
	Path string
	// Dir says that it is a directory. The view may have more in it, and its
	// own entry for it. Of what is no directory the view has nothing, nor
	// anything below, and there is no collision.
	Dir bool
}

// leaveOut prepares what is excluded and claimed.
func (m *merge) leaveOut() error {
	for _, pattern := range m.opt.Exclude {
		if pattern == "." {
			pattern = "*"
		}
		names := strings.Split(pattern, "/")
		for _, name := range names {
			if _, err := path.Match(name, ""); err != nil {
				return fmt.Errorf("the view cannot exclude %s: a [ has no ], or a \\ nothing after it", printable(pattern))
			}
		}
		m.exclude = append(m.exclude, names)
	}
	m.claimed = map[string]bool{}
	for _, c := range m.opt.Claims {
		dir := c.Path
		if !c.Dir {
			m.claimed[dir] = true
			dir, _ = rootfs.Split(dir)
		}
		for ; dir != "."; dir, _ = rootfs.Split(dir) {
			if _, ok := m.claimed[dir]; ok {
				break
			}
			m.claimed[dir] = false
		}
	}
	return nil
}

// linked reports whether rel is one of the places to link, or below one.
func (m *merge) linked(rel string) bool {
	return slices.ContainsFunc(m.opt.Link, func(l string) bool { return l == "." || rel == l || isBelow(rel, l) })
}

// leadsToLinked reports whether rel is above one of the places to link.
func (m *merge) leadsToLinked(rel string) bool {
	return slices.ContainsFunc(m.opt.Link, func(l string) bool { return isBelow(l, rel) })
}

func isBelow(path, dir string) bool {
	return len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir
}

// excluded reports whether rel matches a pattern. What is above it is known not
// to.
func (m *merge) excluded(rel string) bool {
	return slices.ContainsFunc(m.exclude, func(pattern []string) bool {
		rest, ok := match(pattern, rel)
		return ok && len(rest) == 0
	})
}

// match matches the names of a path, each with a pattern, and returns the
// patterns that are left.
func match(pattern []string, rel string) (rest []string, ok bool) {
	for name := range strings.SplitSeq(rel, "/") {
		if len(pattern) == 0 {
			return nil, false
		}
		if ok, _ := path.Match(pattern[0], name); !ok {
			return nil, false
		}
		pattern = pattern[1:]
	}
	return pattern, true
}

// opens reports whether the directory dir of p, at rel, may not be one link: the
// view has only some of it, or something else has a place in it. rel itself is not
// excluded.
func (m *merge) opens(rel string, dir *found, p *owner) bool {
	if _, claimed := m.claimed[rel]; claimed || m.leadsToLinked(rel) {
		return true
	}
	var below [][]string
	for _, pattern := range m.exclude {
		if rest, ok := match(pattern, rel); ok {
			below = append(below, rest)
		}
	}
	return len(below) > 0 && m.hides(rel, dir, below, p)
}

// hides reports whether a path below the directory dir matches a pattern.
func (m *merge) hides(rel string, dir *found, patterns [][]string, p *owner) bool {
	for _, c := range dir.node.more.children {
		var below [][]string
		for _, pattern := range patterns {
			switch ok, _ := path.Match(pattern[0], c.name); {
			case ok && len(pattern) == 1:
				return true
			case ok:
				below = append(below, pattern[1:])
			}
		}
		var f found
		if len(below) > 0 {
			f = m.objects.walk(c.parent, c.name, dir.links)
		}
		if !m.spend(rel, p, workName+8*f.cost) || f.node.isDir() && m.hides(rel, &f, below, p) {
			return true
		}
	}
	return false
}
