// Package nixdb writes what a Nix inside an image has to know about the store
// it finds there: the database of valid paths, profiles, roots of the garbage
// collector, and the files and directories around them.
//
//	nix/store/.links                   for auto-optimise-store, empty
//	nix/var/nix/db/db.sqlite           the database: see [Store.Database]
//	nix/var/nix/db/schema              the database's version, 10
//	nix/var/nix/db/big-lock            empty, as is gc.lock
//	nix/var/nix/gc.lock
//	nix/var/nix/temproots
//	nix/var/nix/profiles/per-user
//	nix/var/nix/profiles/NAME          -> NAME-1-link
//	nix/var/nix/profiles/NAME-1-link   -> /nix/store/…
//	nix/var/nix/gcroots/per-user
//	nix/var/nix/gcroots/profiles       -> /nix/var/nix/profiles
//	nix/var/nix/gcroots/NAME           -> /nix/store/…
//
// Modes and layout are what `nix copy --to DIR` of Nix 2.8 makes (local-store.cc
// and schema.sql of Nix); Nix 2.26 makes the same files. Left out are db/reserved, 8 MiB of zeros that Nix makes when it first opens the store,
// and the directories of users, which it makes likewise.
//
// The package also writes the three files of nixpkgs' closureInfo.
//
// Derivations whose outputs have no path until they are built are registered
// like others, but not what became of them (the tables Realisations).
package nixdb

import (
	"fmt"
	"io/fs"
	"time"

	"thaw/narinfo"
	"thaw/rootfs"
	"thaw/storepath"
)

// Store is what the Nix of an image is told. The order of Infos, Profiles and
// Roots changes nothing.
type Store struct {
	// Infos is the closure: each path once, and with it all it refers to.
	Infos []*narinfo.Info

	// Epoch is when the paths were registered, and the modification time of
	// everything written here, in seconds since 1970.
	Epoch int64

	// Derivers has the derivation that built a path, by that path; the others
	// have none. (A narinfo names one, but that is neither signed nor the same
	// in every cache.)
	Derivers map[storepath.Path]storepath.Path

	// Derivations has the content of each path in the closure whose name ends in
	// .drv: a database that does not say what they build makes Nix fail.
	Derivations map[storepath.Path][]byte

	// Profiles get a name in profiles and a first generation that is the path:
	// "system" is a NixOS system, "default" what nix-env of root installs.
	Profiles []Root

	// Roots get a name in gcroots.
	//
	// The first collection of garbage in the image deletes whatever neither a
	// profile nor a root refers to.
	Roots []Root
}

// Root is a name under which the garbage collector finds a path and spares it,
// and all that it refers to.
type Root struct {
	Name string         // relative, elements separated by slashes
	Path storepath.Path // in the closure
}

const (
	stateDir   = "nix/var/nix"
	dbDir      = stateDir + "/db"
	profileDir = stateDir + "/profiles"
	rootDir    = stateDir + "/gcroots"
	autoDir    = rootDir + "/auto" // Nix's own, made when it is wanted
)

// schemaVersion is the content of db/schema, which has no newline.
const schemaVersion = "10"

// Put adds everything to t, but for the directories nix and nix/store. What t has
// at these paths is replaced, except that a profile or root whose name is taken
// is an error. After an error t has some of it.
func (s *Store) Put(t *rootfs.Tree) error {
	c, err := newClosure(s.Infos)
	if err != nil {
		return err
	}
	db, err := s.database(c)
	if err != nil {
		return fmt.Errorf("the database of the store: %w", err)
	}
	p := putter{tree: t, closure: c, time: time.Unix(s.Epoch, 0).UTC()}
	for _, dir := range []string{
		"nix/store/.links", "nix/var", stateDir, dbDir, stateDir + "/temproots",
		profileDir, profileDir + "/per-user", rootDir, rootDir + "/per-user",
	} {
		p.put(rootfs.Dir(dir, 0o755), nil)
	}
	p.file(dbDir+"/db.sqlite", 0o644, db)
	p.file(dbDir+"/schema", 0o644, []byte(schemaVersion))
	p.file(dbDir+"/big-lock", 0o600, nil)
	p.file(stateDir+"/gc.lock", 0o600, nil)
	p.put(rootfs.Link(rootDir+"/profiles", "/"+profileDir), nil)
	for _, r := range s.Profiles {
		if err := p.profile(r); err != nil {
			return fmt.Errorf("profile %q: %w", r.Name, err)
		}
	}
	for _, r := range s.Roots {
		if err := p.root(rootDir, r); err != nil {
			return fmt.Errorf("garbage collector root %q: %w", r.Name, err)
		}
	}
	return nil
}

type putter struct {
	tree    *rootfs.Tree
	closure *closure
	time    time.Time
}

func (p *putter) put(e rootfs.Entry, content []byte) {
	e.ModTime = p.time
	p.tree.Put(e, content)
}

func (p *putter) file(path string, perm fs.FileMode, content []byte) {
	p.put(rootfs.Entry{Path: path, Mode: perm}, content)
}

// profile adds a profile of one generation. Like Nix, it links to the generation
// by its bare name.
func (p *putter) profile(r Root) error {
	generation := Root{r.Name + "-1-link", r.Path}
	if err := p.root(profileDir, generation); err != nil {
		return err
	}
	_, target := rootfs.Split(generation.Name)
	return p.link(profileDir, r.Name, target)
}

// root adds a link to a store path.
func (p *putter) root(dir string, r Root) error {
	if !p.closure.has(r.Path) {
		return fmt.Errorf("%q is not in the closure", r.Path)
	}
	return p.link(dir, r.Name, r.Path.String())
}

// link adds a link, with its parents, where there is nothing yet.
func (p *putter) link(dir, name, target string) error {
	path := dir + "/" + name
	switch {
	case name == "." || !rootfs.ValidPath(name):
		return fmt.Errorf("it is not a relative path")
	case p.tree.Has(path) || path == autoDir:
		return fmt.Errorf("the name is taken")
	}
	parent := rootfs.Dir("", 0o755)
	parent.ModTime = p.time
	p.tree.Dirs(path, parent)
	p.put(rootfs.Link(path, target), nil)
	return nil
}
