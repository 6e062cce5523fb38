package fhs

import (
	"io/fs"
	"slices"
	"strings"

	"thaw/rootfs"
	"thaw/storepath"
)

// place is what the view has at one path: a directory of its own, or a link.
type place struct {
	dir      bool
	target   string // absolute, in the store
	owner    storepath.Path
	priority int
}

// merge is the state of one [View.Merge].
type merge struct {
	view       *View
	at         map[string]place // by path; "" is the root
	collisions []Collision
	doubts     []doubt
}

// doubt is a collision unless two files have the same content.
type doubt struct {
	Collision
	files [2]string
}

// packages merges the chosen packages and then, each at a priority below all
// before it, what they propagate.
func (m *merge) packages() {
	done := map[storepath.Path]bool{}
	var next []storepath.Path
	add := func(p Package, loses bool) {
		if done[p.Path] {
			return
		}
		done[p.Path] = true
		root := p.Path.String()
		if n, _ := m.view.objects.resolve(root); n != nil && n.mode.IsDir() {
			m.children("", root, p, loses)
		}
		next = append(next, m.view.propagated[p.Path.Base()]...)
	}
	for _, p := range m.view.packages {
		add(p, false)
	}
	for priority := 1000; len(next) > 0; {
		round := slices.SortedFunc(slices.Values(next), storepath.Path.Compare)
		next = nil
		for _, p := range round {
			add(Package{p, priority}, true)
			priority++
		}
	}
}

// children adds what the directory target has to the directory rel of the view.
// loses says that collisions do not matter.
func (m *merge) children(rel, target string, p Package, loses bool) {
	dir, _ := m.view.objects.resolve(target)
	for _, c := range dir.children {
		m.add(join(rel, c.name), target+"/"+c.name, p, loses)
	}
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

func (m *merge) add(rel, target string, p Package, loses bool) {
	if ignored(rel) || !m.linked(rel) && !m.leadsToLinked(rel) {
		return
	}
	node, real := m.view.objects.resolve(target)
	isDir := node != nil && node.mode.IsDir()
	if !isDir && !m.linked(rel) {
		return // on the way to what was asked for, and not a directory
	}
	old, there := m.at[rel]
	if !there {
		m.at[rel] = place{target: target, owner: p.Path, priority: p.Priority}
		return
	}
	if old.dir {
		if isDir {
			m.children(rel, target, p, loses)
		} else if !loses {
			m.collide(rel, m.ownerBelow(rel), p.Path)
		}
		return
	}
	oldNode, oldReal := m.view.objects.resolve(old.target)
	oldIsDir := oldNode != nil && oldNode.mode.IsDir()
	switch {
	case p.Priority < old.priority && !oldIsDir:
		m.at[rel] = place{target: target, owner: p.Path, priority: p.Priority}
	case node != nil && oldNode != nil && real == oldReal:
		if m.isLink(old.target) && !m.isLink(target) {
			m.at[rel] = place{target: target, owner: p.Path, priority: p.Priority}
		}
	case p.Priority > old.priority && !oldIsDir:
	case isDir && oldIsDir:
		m.at[rel] = place{dir: true, priority: p.Priority}
		m.children(rel, old.target, Package{old.owner, old.priority}, loses)
		m.children(rel, target, p, loses)
	case loses:
	case node != nil && oldNode != nil && node.mode == oldNode.mode && node.mode.IsRegular() && node.size == oldNode.size:
		m.doubts = append(m.doubts, doubt{Collision{rel, old.owner, p.Path}, [2]string{oldReal, real}})
	default:
		m.collide(rel, old.owner, p.Path)
	}
}

func (m *merge) isLink(path string) bool {
	n := m.view.objects.lookup(path)
	return n != nil && n.mode.Type() == fs.ModeSymlink
}

func (m *merge) collide(rel string, first, second storepath.Path) {
	m.collisions = append(m.collisions, Collision{rel, first, second})
}

// ownerBelow names one of the packages that make rel a directory.
func (m *merge) ownerBelow(rel string) (owner storepath.Path) {
	least := ""
	for path, p := range m.at {
		if !p.dir && strings.HasPrefix(path, rel+"/") && (least == "" || path < least) {
			least, owner = path, p.owner
		}
	}
	return owner
}

// compare settles the doubts.
func (m *merge) compare(same SameFunc) error {
	if len(m.doubts) == 0 {
		return nil
	}
	pairs := make([][2]string, len(m.doubts))
	for i, d := range m.doubts {
		pairs[i] = d.files
	}
	equal, err := same(pairs)
	if err != nil {
		return err
	}
	for i, d := range m.doubts {
		if !equal[i] {
			m.collisions = append(m.collisions, d.Collision)
		}
	}
	return nil
}

// linked reports whether rel is one of the places to link, or below one.
func (m *merge) linked(rel string) bool {
	return slices.ContainsFunc(m.view.link, func(l string) bool {
		return l == "." || rel == l || strings.HasPrefix(rel, l+"/")
	})
}

// leadsToLinked reports whether rel is above one of the places to link.
func (m *merge) leadsToLinked(rel string) bool {
	return slices.ContainsFunc(m.view.link, func(l string) bool { return strings.HasPrefix(l, rel+"/") })
}

// needed reports whether something of the view lies below the directory rel.
func (m *merge) needed(rel string) bool {
	for path := range m.at {
		if strings.HasPrefix(path, rel+"/") && m.linked(path) {
			return true
		}
	}
	return false
}

// ignored reports whether buildEnv leaves rel out.
func ignored(rel string) bool {
	_, name := rootfs.Split(rel)
	return rel == "propagated-build-inputs" || rel == "nix-support" ||
		rel == "info/dir" || strings.HasSuffix(rel, "/info/dir") ||
		strings.HasPrefix(rel, "share/mime/") && !strings.HasPrefix(rel, "share/mime/packages") ||
		name == "perllocal.pod" || name == "log"
}

// provideInit makes the init of a package the machine's /sbin/init, where the
// kernel and initrds look for it, unless the view has one.
func (m *merge) provideInit() {
	const rel = "sbin/init"
	if !m.linked(rel) || m.present(rel) {
		return
	}
	for _, p := range m.view.packages {
		target := p.Path.String() + "/init"
		n, _ := m.view.objects.resolve(target)
		if n == nil || !n.mode.IsRegular() || n.mode&0o111 == 0 {
			continue
		}
		if sbin, ok := m.at["sbin"]; ok && !sbin.dir {
			m.openLink("sbin", sbin)
		} else {
			m.at["sbin"] = place{dir: true}
		}
		m.at[rel] = place{target: target, owner: p.Path, priority: p.Priority}
		return
	}
}

// present reports whether the view has something at rel, be it through a link.
func (m *merge) present(rel string) bool {
	if _, ok := m.at[rel]; ok {
		return true
	}
	for dir, _ := rootfs.Split(rel); dir != "."; dir, _ = rootfs.Split(dir) {
		if p, ok := m.at[dir]; ok && !p.dir {
			n, _ := m.view.objects.resolve(p.target + strings.TrimPrefix(rel, dir))
			return n != nil
		}
	}
	return false
}

// openLink turns a link to a directory into a directory of links.
func (m *merge) openLink(rel string, p place) {
	m.at[rel] = place{dir: true}
	if n, _ := m.view.objects.resolve(p.target); n != nil && n.mode.IsDir() {
		m.children(rel, p.target, Package{p.owner, p.priority}, true)
	}
}
