package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"thaw/narinfo"
	"thaw/storepath"
)

// checker checks what more than one key says together, and completes and sorts a
// spec whose values are all right by themselves.
type checker struct {
	*decoder
	spec *Spec
}

func (c *checker) check() {
	c.caches()
	c.packages()
	c.merge()
	c.nix()
	c.accounts()
	c.files()
	c.system()
	c.boot()
	c.outputs()
	slices.Sort(c.spec.Forbid)
	c.spec.Forbid = slices.Compact(c.spec.Forbid)
}

// errorf notes an error at a key, or at what it would be in.
func (c *checker) errorf(path, format string, a ...any) {
	where := path
	for where != "" && (c.at[where] == nil || c.at[where].line == 0) {
		where = where[:max(0, strings.LastIndexAny(where, ".["))]
	}
	c.add(c.at[where], path, format, a...)
}

// given reports whether a key is there, or has a default.
func (c *checker) given(path string) bool { return c.at[path] != nil }

// item is the path of an item of a list.
func item(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// twice reports the items of a list that have a key in common.
func twice[T any, K comparable](c *checker, path string, items []T, key func(T) K, what string) {
	first := map[K]int{}
	for i, it := range items {
		k := key(it)
		if j, ok := first[k]; ok {
			c.errorf(item(path, i), "%s is that of %s", what, item(path, j))
		} else {
			first[k] = i
		}
	}
}

func (c *checker) caches() {
	s := c.spec
	twice(c, "caches", s.Caches, func(x Cache) string { return strings.TrimRight(x.URL, "/") }, "its URL")
	twice(c, "keys", s.Keys, narinfo.Key.String, "this key")
	var known []string
	for _, k := range s.Keys {
		known = append(known, k.Name)
	}
	for i, cache := range s.Caches {
		path := join(item("caches", i), "trust")
		if c.given(path) && cache.Trust == nil {
			c.errorf(path, "this trusts no key: name some, or leave it out to trust all")
		}
		for j, name := range cache.Trust {
			if known != nil && !slices.Contains(known, name) {
				c.errorf(item(path, j), "%s is none of the keys of the spec, and trust can only narrow them%s", clip(name), didYouMean(name, known))
			}
		}
	}
}

func (c *checker) packages() {
	s := c.spec
	first := map[storepath.Path]int{}
	var out []Package
	for i := range s.Packages {
		p := &s.Packages[i]
		path := item("packages", i)
		p.Origin = c.origin(path, i)
		if p.Name == "" {
			for _, key := range []string{"output", "from"} {
				if c.given(join(path, key)) {
					c.errorf(join(path, key), "this goes with the key \"name\" only")
				}
			}
		} else {
			p.Output = cmp.Or(p.Output, "out")
			if p.From == (From{}) {
				c.errorf(path, "the key \"from\" is needed: where to look %s up, such as channel:https://…", p.Name)
			}
			if s.Arch == "" {
				c.errorf(path, "the spec needs the key \"arch\" to look %s up", p.Name)
			}
		}
		if p.ClosureOf != "" && p.Priority != DefaultPriority {
			c.errorf(join(path, "priority"), "what \"closure-of\" names is not in the merged view, and has no priority")
		}
		if !p.Path.IsZero() {
			if j, ok := first[p.Path]; !ok {
				first[p.Path] = i
			} else if s.Packages[j].Priority != p.Priority {
				c.errorf(path, "%s has priority %d here and %d in %s", p.Path.Name(), p.Priority, s.Packages[j].Priority, item("packages", j))
			} else {
				continue // given twice counts once
			}
		}
		out = append(out, *p)
	}
	s.Packages = out
}

func (c *checker) merge() {
	m := &c.spec.Rootfs.Merge
	for i, p := range m.Link {
		if within(p, "/nix") {
			c.errorf(item("rootfs.merge.link", i), "%s cannot be part of the merged view: the store is there", p)
		}
	}
	if within(m.Into, "/nix") {
		c.errorf("rootfs.merge.into", "the merged view cannot be in %s: the store is there", m.Into)
	}
	for _, dir := range []string{"/dev", "/proc", "/run", "/sys", "/tmp"} {
		if within(m.Into, dir) {
			c.errorf("rootfs.merge.into", "the merged view cannot be in %s: a running system mounts over %s", m.Into, dir)
		}
	}
	m.Link = sorted(m.Link)
	m.Exclude = sorted(m.Exclude)
}

func (c *checker) nix() {
	n := &c.spec.Rootfs.Nix
	for _, named := range []struct {
		path  string
		items []NamedPath
	}{{"rootfs.nix.profiles", n.Profiles}, {"rootfs.nix.gcroots", n.GCRoots}} {
		if len(named.items) > 0 && !n.DB {
			c.errorf(named.path, "this needs rootfs.nix.db: true")
		}
		slices.SortFunc(named.items, func(a, b NamedPath) int { return cmp.Compare(a.Name, b.Name) })
	}
	switch dir := n.ClosureInfo; {
	case dir != "" && within(dir, "/nix/store"):
		c.errorf("rootfs.nix.closure-info", "what is in /nix/store comes from packages")
	case dir != "" && n.DB && within(dir, "/nix/var/nix"):
		c.errorf("rootfs.nix.closure-info", "rootfs.nix.db writes what is in /nix/var/nix")
	}
	// nixdb has these names for itself.
	for _, r := range n.GCRoots {
		if top, _, _ := strings.Cut(r.Name, "/"); top == "auto" || r.Name == "profiles" || r.Name == "per-user" {
			c.errorf(join("rootfs.nix.gcroots", r.Name), "Nix has this name for itself")
		}
	}
	for _, r := range n.Profiles {
		if r.Name == "per-user" {
			c.errorf(join("rootfs.nix.profiles", r.Name), "Nix has this name for itself")
		}
	}
}

// within reports whether an absolute, clean path is dir or below it.
func within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// sorted returns each element once, in order.
func sorted(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}
