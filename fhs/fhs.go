// Package fhs derives the view of chosen store objects that people and programs
// expect of a root file system: /bin, /lib, /share and so on, as links into the
// store.
//
// The rules are those of nixpkgs' buildEnv. A directory that only one package
// has becomes one link; one that several have becomes a directory, and is
// descended; a file becomes a link to the file as its package has it. Packages
// with a lower priority number win; at equal priority two different files at one
// place are a collision, and equal ones are not. What a package propagates to
// the user comes later and loses. Some files that every package has are left
// out.
//
// The view is derived from the entries of the image as they stream past
// ([View.Note]), so nothing is read twice and nothing lies on disk.
package fhs

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"thaw/rootfs"
	"thaw/storepath"
)

// Package is a store object whose files the view shows.
type Package struct {
	Path     storepath.Path
	Priority int // lower wins; buildEnv's default is 5
}

// DefaultPriority is the priority of a package that states none.
const DefaultPriority = 5

// DefaultLink are the places that a root file system is expected to have.
var DefaultLink = []string{"bin", "sbin", "lib", "etc", "share", "init"}

// View collects what the view of some packages depends on.
type View struct {
	packages   []Package
	link       []string // valid paths, or "." alone for everything
	objects    objects
	propagated map[string][]storepath.Path // by base name of who propagates
}

// New returns the view of the packages, restricted to what lies at or below the
// paths in link ([DefaultLink]; "." for everything).
func New(packages []Package, link []string) *View {
	return &View{packages, link, objects{byBase: map[string]*node{}}, map[string][]storepath.Path{}}
}

// Note takes an entry of the image, in the order of the image.
func (v *View) Note(e rootfs.Entry) { v.objects.note(&e) }

// PropagatesFile is where, in a store object, the packages are listed that a
// user of it gets too.
const PropagatesFile = "nix-support/propagated-user-env-packages"

// Propagates takes the content of the [PropagatesFile] of an object.
func (v *View) Propagates(p storepath.Path, content []byte) {
	for _, f := range strings.Fields(string(content)) {
		if q, err := storepath.Parse(f); err == nil {
			v.propagated[p.Base()] = append(v.propagated[p.Base()], q)
		}
	}
}

// Resolve follows all links of an absolute path in the store and returns the
// object and the path in it that it leads to, "." for the object itself. ok is
// false for what is not in the image's store.
func (v *View) Resolve(path string) (object storepath.Path, rel string, mode fs.FileMode, ok bool) {
	n, real := v.objects.resolve(path)
	if n == nil {
		return object, "", 0, false
	}
	base, rel, _ := strings.Cut(strings.TrimPrefix(real, storepath.Dir+"/"), "/")
	object, err := storepath.ParseBase(base)
	return object, cmp.Or(rel, "."), n.mode, err == nil
}

// Collision is two different files at one place.
type Collision struct {
	Path          string // in the view
	First, Second storepath.Path
}

func (c Collision) String() string {
	return fmt.Sprintf("%s comes from both %s and %s", c.Path, c.First.Base(), c.Second.Base())
}

// CollisionError lists all collisions of a view, sorted by path.
type CollisionError []Collision

func (e CollisionError) Error() string {
	lines := make([]string, 0, len(e))
	for i, c := range e {
		if i == 20 {
			lines = append(lines, fmt.Sprintf("and %d more collisions", len(e)-i))
			break
		}
		lines = append(lines, c.String())
	}
	return strings.Join(lines, "\n")
}

// SameFunc reports which of the pairs have equal contents. The paths are of
// regular files in the store, without links, of equal size.
type SameFunc func(pairs [][2]string) ([]bool, error)

// Merge returns the directories and links of the view, parents first and sorted;
// modes are set, times and owners are not. Collisions are a [CollisionError].
func (v *View) Merge(same SameFunc) ([]rootfs.Entry, error) {
	m := merge{view: v, at: map[string]place{"": {dir: true}}}
	for _, l := range v.link {
		for dir, _ := rootfs.Split(l); dir != "."; dir, _ = rootfs.Split(dir) {
			m.at[dir] = place{dir: true}
		}
	}
	m.packages()
	if err := m.compare(same); err != nil {
		return nil, err
	}
	if len(m.collisions) > 0 {
		slices.SortStableFunc(m.collisions, func(a, b Collision) int { return strings.Compare(a.Path, b.Path) })
		return nil, CollisionError(slices.CompactFunc(m.collisions, func(a, b Collision) bool { return a == b }))
	}
	m.provideInit()
	var out []rootfs.Entry
	for _, rel := range slices.Sorted(maps.Keys(m.at)) {
		switch p := m.at[rel]; {
		case rel == "":
		case !p.dir:
			out = append(out, rootfs.Link(rel, p.target))
		case m.linked(rel) || m.needed(rel):
			out = append(out, rootfs.Dir(rel, 0o755))
		}
	}
	return out, nil
}
