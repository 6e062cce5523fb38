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
	workName = 16 // for one that is left out, or only looked for
)

// owner is a package that is merged.
type owner struct {
	Package
	index int // in the list of packages; propagated for one that is not in it
}

const propagated = -1

// place is what the view has at one path: a directory of its own, or a link to
// what a package has there.
type place struct {
	owner *owner // the first that has it
	file  file   // what it has there
	dir   bool
	met   *node  // of a directory that was a link before: what met file there
	from  string // of a link: the path in the owner, if not that in the view
}

// file is what a package has at one path.
type file struct {
	own *node // perhaps a link
	found
}

// merge is the state of one [View.Merge].
type merge struct {
	*View
	at         map[string]*place // by path in the view
	exclude    [][]string        // patterns, each one for a name
	claimed    map[string]bool   // false for what must be a directory, true for what is taken
	collisions []clash
	losers     []loser
	work       int
	err        error // ends the merge
}

// chosen merges the packages and then, each after and worse than all before it,
// what they propagate.
func (m *merge) chosen() {
	done := map[storepath.Path]bool{}
	var next []storepath.Path
	add := func(p *owner) {
		if done[p.Path] {
			return
		}
		done[p.Path] = true
		root := m.objects.walk(m.objects.store, p.Path.Base(), 0)
		if !root.node.isDir() {
			return
		}
		m.children("", &root, p)
		for _, q := range m.propagates(&root) {
			if !done[q] {
				next = append(next, q)
			}
		}
	}
	for i, p := range m.packages {
		add(&owner{p, i})
	}
	for priority := 1000; len(next) > 0; {
		slices.SortFunc(next, storepath.Path.Compare)
		round := slices.Compact(next)
		next = nil
		for _, p := range round {
			add(&owner{Package{p, priority}, propagated})
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
// view.
func (m *merge) children(rel string, dir *found, p *owner) {
	for _, c := range dir.node.more.children {
		if m.err != nil {
			return
		}
		m.add(join(rel, c.name), c, dir.links, p)
	}
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// add adds what p has at rel: own, to whose directory links were followed.
func (m *merge) add(rel string, own *node, links int, p *owner) {
	linked := m.linked(rel)
	taken, claimed := m.claimed[rel]
	if ignored(rel) || taken || !linked && !m.leadsToLinked(rel) {
		return
	}
	if m.excluded(rel) {
		m.spend(rel, p, workName)
		return
	}
	f := file{own, m.objects.walk(own.parent, own.name, links)}
	isDir := f.node.isDir()
	if !m.afford(rel, p, f.cost) || !isDir && (!linked || claimed) {
		return
	}
	old := m.at[rel]
	if old == nil {
		m.put(rel, p, f)
		return
	}
	switch oldIsDir := old.file.node.isDir(); {
	case old.dir && isDir:
		m.children(rel, &f.found, p)
	case p.Priority < old.owner.Priority && !oldIsDir:
		m.clash(rel, old, p, &f.found, true)
		m.put(rel, p, f)
	case old.file.same(&f.found):
		if old.file.own.isLink() && !own.isLink() {
			m.put(rel, p, f)
		}
	case p.Priority > old.owner.Priority && !oldIsDir:
		m.clash(rel, old, p, &f.found, true)
	case isDir && oldIsDir && !m.repeats(rel, old.file.node, f.node):
		m.at[rel] = &place{owner: old.owner, file: old.file, dir: true, met: f.node}
		m.children(rel, &old.file.found, old.owner)
		m.children(rel, &f.found, p)
	default:
		m.clash(rel, old, p, &f.found, false)
	}
}

// put makes rel a link to what p has there, or a directory of the view where a
// link would not do.
func (m *merge) put(rel string, p *owner, f file) {
	l := &place{owner: p, file: f}
	m.at[rel] = l
	if f.node.isDir() && m.opens(rel, &f.found, p) {
		l.dir = true
		m.children(rel, &f.found, p)
	}
}

// repeats reports whether the directories a and b already met above rel: they
// have links to themselves, and their union would have no end.
func (m *merge) repeats(rel string, a, b *node) bool {
	for dir, _ := rootfs.Split(rel); dir != "."; dir, _ = rootfs.Split(dir) {
		if at := m.at[dir]; at.file.node == a && at.met == b {
			return true
		}
	}
	return false
}

// afford counts the work for a path of p, and ends the merge where it is too
// much or nothing can lead there.
func (m *merge) afford(rel string, p *owner, cost int) bool {
	if m.spend(rel, p, workPath+2*len(rel)+8*cost) && len(storepath.Dir)+len(p.Path.Base())+len(rel)+2 > rootfs.MaxTarget {
		m.err = fmt.Errorf("the merged view is too deep at %.100s… of %s: a link's target has at most %d bytes", printable(rel), p.Path.Base(), rootfs.MaxTarget)
	}
	return m.err == nil
}

// spend counts work for a path of p, in bytes.
func (m *merge) spend(rel string, p *owner, bytes int) bool {
	if m.work += bytes; m.work > maxWork {
		m.err = fmt.Errorf("the merged view is too large at %s of %s: links to directories multiply its paths", printable(rel), p.Path.Base())
	}
	return m.err == nil
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
// where the kernel and initrds look for it, unless something else is there or
// nothing may be.
func (m *merge) provideInit() {
	const rel = "sbin/init"
	_, claimed := m.claimed[rel]
	sbin := m.at["sbin"]
	switch {
	case claimed || m.claimed["sbin"] || m.excluded("sbin") || m.excluded(rel):
		return
	case !m.linked(rel) || m.at[rel] != nil:
		return
	case sbin != nil && !sbin.dir && (!sbin.file.node.isDir() || sbin.file.node.child("init") != nil):
		return
	}
	for i, p := range m.packages {
		f := m.objects.walk(m.objects.store, p.Path.Base()+"/init", 0)
		if f.node == nil || !f.node.mode.IsRegular() || f.node.mode&0o111 == 0 {
			continue
		}
		p := &owner{p, i}
		if sbin == nil || !sbin.dir {
			m.at["sbin"] = &place{owner: p, dir: true}
		}
		if sbin != nil && !sbin.dir {
			m.children("sbin", &sbin.file.found, sbin.owner)
		}
		m.at[rel] = &place{owner: p, file: file{f.node, f}, from: "init"}
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
