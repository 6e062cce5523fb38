package fhs

import (
	"fmt"
	"slices"
	"strings"

	"thaw/rootfs"
	"thaw/storepath"
)

// maxWork bounds what a view may cost, in bytes of the paths and link targets
// that are looked at and a fixed sum for each. Directories that are links to
// each other can make a small package as large as one likes. A view of half a
// million paths stays below it; memory grows with it, one to one.
const (
	maxWork  = 128 << 20
	workPath = 64 // for one path, besides its bytes
)

// place is what the view has at one path: a directory of its own, or a link to
// what a package has there.
type place struct {
	owner  *Package // the first that has it
	dir    bool
	merged [2]*node // of a directory that was a link before: what met there
	file   file     // of a link
	from   string   // of a link: the path in the owner, if not that in the view
}

// file is what a package has at one path.
type file struct {
	own *node // perhaps a link
	found
}

// same reports whether two files are one. Links are, too, that both lead to what
// is not there, if it is the same: perhaps a running system has it.
func (f *file) same(g *file) bool {
	return f.node == g.node && (f.node != nil || f.lost != "" && f.lost == g.lost)
}

// alike reports whether only contents can tell two files apart.
func (f *file) alike(g *file) bool {
	return f.node != nil && g.node != nil && f.node.mode.IsRegular() &&
		f.node.mode == g.node.mode && f.node.size == g.node.size
}

// merge is the state of one [View.Merge].
type merge struct {
	*View
	at         map[string]*place // by path in the view
	collisions []collision
	work       int
	err        error // ends the merge
}

// collision is a [Collision], unless two files have the same content.
type collision struct {
	Collision
	files [2]*node // none if they differ in any case
}

// chosen merges the packages and then, each after and worse than all before it,
// what they propagate.
func (m *merge) chosen() {
	done := map[storepath.Path]bool{}
	var next []storepath.Path
	add := func(p Package, loses bool) {
		if done[p.Path] {
			return
		}
		done[p.Path] = true
		root := m.objects.walk(m.objects.store, p.Path.Base(), 0)
		if !root.node.isDir() {
			return
		}
		m.children("", &root, &p, loses)
		for _, q := range m.propagates(&root) {
			if !done[q] {
				next = append(next, q)
			}
		}
	}
	for _, p := range m.packages {
		add(p, false)
	}
	for priority := 1000; len(next) > 0; {
		slices.SortFunc(next, storepath.Path.Compare)
		round := slices.Compact(next)
		next = nil
		for _, p := range round {
			add(Package{p, priority}, true)
			priority++
		}
	}
}

// propagates returns what the package at root propagates. Its list may be a link
// to that of another package.
func (m *merge) propagates(root *found) []storepath.Path {
	f := m.objects.walk(root.node, PropagatesFile, root.links)
	if f.node == nil {
		return nil
	}
	if object, rel := m.split(f.node); rel == PropagatesFile {
		return m.propagated[object]
	}
	return nil
}

// children adds what the directory dir of p has to the directory rel of the
// view. loses says that p propagated: its collisions do not matter.
func (m *merge) children(rel string, dir *found, p *Package, loses bool) {
	for _, c := range dir.node.more.children {
		if m.err != nil {
			return
		}
		m.add(join(rel, c.name), c, dir.links, p, loses)
	}
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// add adds what p has at rel: own, to whose directory links were followed.
func (m *merge) add(rel string, own *node, links int, p *Package, loses bool) {
	linked := m.linked(rel)
	if ignored(rel) || !linked && !m.leadsToLinked(rel) {
		return
	}
	f := file{own, m.objects.walk(own.parent, own.name, links)}
	isDir := f.node.isDir()
	if !m.afford(rel, p, f.cost) || !isDir && !linked {
		return
	}
	old := m.at[rel]
	if old == nil {
		m.put(rel, p, f, loses)
		return
	}
	if old.dir {
		if isDir {
			m.children(rel, &f.found, p, loses)
		} else if !loses {
			m.collide(rel, old, p, nil, nil)
		}
		return
	}
	oldIsDir := old.file.node.isDir()
	switch {
	case p.Priority < old.owner.Priority && !oldIsDir:
		m.put(rel, p, f, loses)
	case old.file.same(&f):
		if old.file.own.isLink() && !own.isLink() {
			m.put(rel, p, f, loses)
		}
	case p.Priority > old.owner.Priority && !oldIsDir:
	case isDir && oldIsDir && !m.repeats(rel, old.file.node, f.node):
		m.at[rel] = &place{owner: old.owner, dir: true, merged: [2]*node{old.file.node, f.node}}
		m.children(rel, &old.file.found, old.owner, loses)
		m.children(rel, &f.found, p, loses)
	case loses:
	case old.file.alike(&f):
		m.collide(rel, old, p, old.file.node, f.node)
	default:
		m.collide(rel, old, p, nil, nil)
	}
}

// put makes rel a link to what p has there. A directory above a place to link
// becomes one of the view instead.
func (m *merge) put(rel string, p *Package, f file, loses bool) {
	if f.node.isDir() && m.leadsToLinked(rel) {
		m.at[rel] = &place{owner: p, dir: true}
		m.children(rel, &f.found, p, loses)
		return
	}
	m.at[rel] = &place{owner: p, file: f}
}

// repeats reports whether the directories a and b already met above rel: they
// have links to themselves, and their union would have no end.
func (m *merge) repeats(rel string, a, b *node) bool {
	for dir, _ := rootfs.Split(rel); dir != "."; dir, _ = rootfs.Split(dir) {
		if m.at[dir].merged == [2]*node{a, b} {
			return true
		}
	}
	return false
}

// afford counts the work for a path of p, and ends the merge where it is too
// much or nothing can lead there.
func (m *merge) afford(rel string, p *Package, cost int) bool {
	m.work += workPath + 2*len(rel) + 8*cost
	switch {
	case m.work > maxWork:
		m.err = fmt.Errorf("the merged view is too large at %s of %s: links to directories multiply its paths", printable(rel), p.Path.Base())
	case len(storepath.Dir)+len(p.Path.Base())+len(rel)+2 > rootfs.MaxTarget:
		m.err = fmt.Errorf("the merged view is too deep at %.100s… of %s: a link's target has at most %d bytes", printable(rel), p.Path.Base(), rootfs.MaxTarget)
	}
	return m.err == nil
}

func (m *merge) collide(rel string, old *place, p *Package, a, b *node) {
	m.collisions = append(m.collisions, collision{Collision{rel, old.owner.Path, p.Path}, [2]*node{a, b}})
}

// collided returns the collisions, sorted by path and then in the order of the
// packages, without those of files that are the same.
func (m *merge) collided(same SameFunc) (CollisionError, error) {
	var pairs [][2]string
	for _, c := range m.collisions {
		if c.files[0] != nil {
			pairs = append(pairs, [2]string{m.objects.pathOf(c.files[0]), m.objects.pathOf(c.files[1])})
		}
	}
	var equal []bool
	if len(pairs) > 0 {
		var err error
		if equal, err = same(pairs); err != nil {
			return nil, err
		}
	}
	var out CollisionError
	for _, c := range m.collisions {
		if c.files[0] != nil {
			isSame := equal[0]
			if equal = equal[1:]; isSame {
				continue
			}
		}
		out = append(out, c.Collision)
	}
	slices.SortStableFunc(out, func(a, b Collision) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// linked reports whether rel is one of the places to link, or below one.
func (m *merge) linked(rel string) bool {
	return slices.ContainsFunc(m.link, func(l string) bool { return l == "." || rel == l || isBelow(rel, l) })
}

// leadsToLinked reports whether rel is above one of the places to link.
func (m *merge) leadsToLinked(rel string) bool {
	return slices.ContainsFunc(m.link, func(l string) bool { return isBelow(l, rel) })
}

func isBelow(path, dir string) bool {
	return len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir
}

// ignored reports whether rel is never in the view: what buildEnv leaves out, and
// what would be where the store itself is.
func ignored(rel string) bool {
	_, name := rootfs.Split(rel)
	return rel == "nix" || rel == "propagated-build-inputs" || rel == "nix-support" ||
		strings.HasSuffix(rel, "info/dir") || // of texinfo/dir, too
		strings.HasPrefix(rel, "share/mime/") && !strings.HasPrefix(rel, "share/mime/packages") ||
		name == "perllocal.pod" || name == "log"
}

// provideInit makes the executable init of a package the machine's /sbin/init,
// where the kernel and initrds look for it, unless something else is there.
func (m *merge) provideInit() {
	const rel = "sbin/init"
	sbin := m.at["sbin"]
	switch {
	case !m.linked(rel) || m.at[rel] != nil:
		return
	case sbin != nil && !sbin.dir && (!sbin.file.node.isDir() || sbin.file.node.child("init") != nil):
		return
	}
	for _, p := range m.packages {
		f := m.objects.walk(m.objects.store, p.Path.Base()+"/init", 0)
		if f.node == nil || !f.node.mode.IsRegular() || f.node.mode&0o111 == 0 {
			continue
		}
		if sbin == nil || !sbin.dir {
			m.at["sbin"] = &place{owner: &p, dir: true}
		}
		if sbin != nil && !sbin.dir {
			m.children("sbin", &sbin.file.found, sbin.owner, true)
		}
		m.at[rel] = &place{owner: &p, file: file{f.node, f}, from: "init"}
		return
	}
}

// entries returns the view, parents first and sorted.
func (m *merge) entries() []rootfs.Entry {
	needed := map[string]bool{} // directories of which something is to be linked
	var rels []string
	for rel := range m.at {
		rels = append(rels, rel)
		if !m.linked(rel) {
			continue
		}
		for dir := rel; dir != "." && !needed[dir]; dir, _ = rootfs.Split(dir) {
			needed[dir] = true
		}
	}
	slices.Sort(rels)
	var out []rootfs.Entry
	for _, rel := range rels {
		switch p := m.at[rel]; {
		case !needed[rel]:
		case p.dir:
			out = append(out, rootfs.Dir(rel, 0o755))
		case p.from != "":
			out = append(out, rootfs.Link(rel, p.owner.Path.String()+"/"+p.from))
		default:
			out = append(out, rootfs.Link(rel, p.owner.Path.String()+"/"+rel))
		}
	}
	return out
}
