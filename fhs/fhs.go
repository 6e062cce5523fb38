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
// What is excluded, and what something else puts into the image, is left out
// before any collision is looked for. Directories above it are directories of the
// view, and never links, so that the one stays out of sight and the other finds
// its place.
//
// It differs from buildEnv on purpose:
//
//   - The places to link are a filter on the view of everything: a directory
//     that one package has is one link there, too. Only directories above a
//     place are never links.
//   - All collisions are reported, not the first alone.
//   - Where the first is to win ([First]), it does not against a file that comes
//     later and has a lower priority number.
//   - Store objects that are single files have no place in it, and are no error.
//     Nor is a propagated file where a directory is, or a propagated package that
//     is not in the image.
//   - Links out of the image's store objects dangle, whatever the machine that
//     builds the image has there. Two that lead to the same place are equal.
//   - Directories that are links to themselves collide, rather than being
//     descended until a path leads through too many links.
//   - A list of what is propagated may have several lines, as for nix-env.
//   - Nothing is ever in place of the store, at nix.
//   - The executable init of a package is also sbin/init, if nothing else is.
//
// The view is derived from the entries of the image as they stream past
// ([View.Note]), so nothing lies on disk; an entry takes about 80 bytes of
// memory. Only files that may be equal are read again.
package fhs

import (
	"cmp"
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
	opt        Options
	objects    *objects
	propagated map[string][]storepath.Path // by base name of who propagates
}

// New returns the view of the packages. Of packages that are equally good, the
// first in the list is linked to.
func New(packages []Package, opt Options) *View {
	return &View{packages, opt, newObjects(), map[string][]storepath.Path{}}
}

// Note takes an entry of the image. Parents come first; the entries of a
// directory should come sorted, as they do in a Nix archive.
func (v *View) Note(e rootfs.Entry) { v.objects.note(&e) }

// PropagatesFile is where, in a store object, the packages are listed that a
// user of it gets too.
const PropagatesFile = "nix-support/propagated-user-env-packages"

// Propagates takes the content of the [PropagatesFile] of an object, which is
// noted as well. What is no store path in it is passed over.
func (v *View) Propagates(p storepath.Path, content []byte) {
	for f := range strings.FieldsSeq(string(content)) {
		if q, err := storepath.Parse(f); err == nil {
			v.propagated[p.Base()] = append(v.propagated[p.Base()], q)
		}
	}
}

// split returns the base name of the object that n is in, and its path there.
func (v *View) split(n *node) (base, rel string) {
	base, rel, _ = strings.Cut(n.below(v.objects.store), "/")
	return base, cmp.Or(rel, ".")
}

// SameFunc reports which of the pairs have equal contents. The paths are of
// regular files in the store, without links, of equal size.
type SameFunc func(pairs [][2]string) ([]bool, error)

// Merged is a view.
type Merged struct {
	// Entries are its directories and links, parents first and sorted; modes
	// are set, times and owners are not.
	Entries []rootfs.Entry
	// Settled are the collisions that priorities or the order decided, sorted
	// by path, if [Options.Report] asks for them.
	Settled []Settled
}

// Merge makes the view. Collisions are a [CollisionError]. same is not called
// where no two files are in doubt.
func (v *View) Merge(same SameFunc) (*Merged, error) {
	m := merge{View: v, at: map[string]*place{}}
	if err := m.leaveOut(); err != nil {
		return nil, err
	}
	m.chosen()
	if m.err != nil {
		return nil, m.err
	}
	settled, err := m.settle(same)
	if err != nil {
		return nil, err
	}
	m.provideInit()
	if m.err != nil {
		return nil, m.err
	}
	return &Merged{m.entries(), settled}, nil
}
