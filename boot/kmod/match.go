package kmod

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxNear is how many names an [UnknownError] proposes.
const maxNear = 3

// UnknownError says that there is no module of a name.
type UnknownError struct {
	Name string
	Near []string // names that are like it, the most alike first
}

func (e *UnknownError) Error() string {
	s := fmt.Sprintf("the kernel has no module %q", e.Name)
	if len(e.Near) > 0 {
		s += " (near it: " + strings.Join(e.Near, ", ") + ")"
	}
	return s
}

// near returns names of modules like name: few letters differ, or one has the
// other in it.
func (x *Index) near(name string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	for n := range x.modules {
		d := distance(name, n)
		if d > 1+len(name)/4 && len(name) > 2 && strings.Contains(n, name) {
			d = 1 + len(name)/4
		}
		if d <= 1+len(name)/4 {
			found = append(found, candidate{n, d})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(len(a.name), len(b.name)), strings.Compare(a.name, b.name))
	})
	var names []string
	for _, c := range found[:min(len(found), maxNear)] {
		names = append(names, c.name)
	}
	return names
}

// distance is how many letters to add, drop or change make b of a. Names of very
// different or great lengths are far apart without a look.
func distance(a, b string) int {
	if far := max(len(a), len(b)); far > 64 || max(len(a)-len(b), len(b)-len(a)) > 8 {
		return far
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func (a *aliases) add(pattern, name string) {
	pattern = normal(pattern)
	if strings.ContainsAny(pattern, `*?[\`) {
		a.pattern = append(a.pattern, alias{pattern, name})
	} else {
		a.plain[pattern] = append(a.plain[pattern], name)
	}
}

// match is fnmatch(3) without flags, as modprobe matches aliases: '*' matches
// slashes too. It takes no more than the product of both lengths.
func match(pattern, name string) bool {
	p, n := 0, 0
	star, from := -1, 0 // the last '*', and where in name what follows it was tried
	for n < len(name) {
		if p < len(pattern) {
			if pattern[p] == '*' {
				star, from = p, n
				p++
				continue
			}
			if next, ok := matchOne(pattern, p, name[n]); ok {
				p, n = next, n+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		from++
		p, n = star+1, from
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchOne matches one byte against what is at p of a pattern, and returns where
// the pattern goes on.
func matchOne(pattern string, p int, c byte) (next int, ok bool) {
	switch pattern[p] {
	case '?':
		return p + 1, true
	case '\\':
		if p+1 < len(pattern) {
			return p + 2, pattern[p+1] == c
		}
	case '[':
		if end := strings.IndexByte(pattern[min(p+2, len(pattern)):], ']'); end >= 0 {
			end += p + 2
			return end + 1, matchSet(pattern[p+1:end], c)
		}
	}
	return p + 1, pattern[p] == c
}

// matchSet matches one byte against what is between brackets.
func matchSet(set string, c byte) bool {
	not := set[0] == '!' || set[0] == '^'
	if not {
		set = set[1:]
	}
	for i := 0; i < len(set); i++ {
		low, high := set[i], set[i]
		if i+2 < len(set) && set[i+1] == '-' {
			high = set[i+2]
			i += 2
		}
		if low <= c && c <= high {
			return !not
		}
	}
	return not
}
