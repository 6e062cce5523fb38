// Package assemble turns store paths into a root file system: first a plan, from
// metadata alone, then one ordered stream of entries into any [rootfs.Sink].
//
// A plan and a build are deterministic: which cache answered, how NARs were
// compressed, how many goroutines fetched them and what the clock says reach
// neither. The package knows no image format.
package assemble

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"thaw/closure"
	"thaw/fhs"
	"thaw/narinfo"
	"thaw/nixdb"
	"thaw/rootfs"
	"thaw/storepath"
)

// Request says what goes into an image.
type Request struct {
	Packages []Package        // in the order in which they were asked for
	Aside    []storepath.Path // objects that outputs are made of, and that are not in the image for that
	Forbid   []string         // patterns of names that no path of the closure may have; see [path.Match]
	View     View
	Over     *rootfs.Tree // what wins over the view; nil for nothing
	Under    *rootfs.Tree // what is there unless the view or Over has something else, with all parents; nil for nothing
	Nix      Nix
	Digest   [32]byte // of all else that determines the image, such as a spec
	Seed     string   // replaces the content as the seed of all identifiers, if not ""
	Epoch    int64    // modification time of what is no store object, in seconds since 1970; 0 means 1
	Jobs     int      // lookups at a time; at least 1
}

// Package is a store path that was asked for.
type Package struct {
	Path     storepath.Path
	Priority int  // in the view; lower wins
	Hidden   bool // it is not in the view
}

// View is what the merged view shows.
type View struct {
	Into       string // the directory that it is in, a valid path; "." or "" for the root
	Link       []string
	Exclude    []string
	Collisions fhs.Policy
	Report     bool // whether a build tells what collisions were settled
}

// Nix is what a Nix in the image is told.
type Nix struct {
	DB          bool         // whether it has a database; profiles and roots need it
	Profiles    []nixdb.Root // of paths in the closure
	Roots       []nixdb.Root // of paths in the closure
	ClosureInfo string       // the directory for the files of closureInfo, a valid path; "" for none
}

// Plan is what a build will do, down to each store path and its hash.
type Plan struct {
	Packages []Package       // with the paths as signed, each once
	Infos    []*narinfo.Info // the closure, sorted by path
	Aside    []*narinfo.Info // what outputs are made of, with all that it refers to, as far as it is not in the closure; sorted
	View     View
	Over     *rootfs.Tree
	Under    *rootfs.Tree
	Nix      Nix
	Seed     [32]byte
	Time     time.Time // of everything that is not a store object
}

// Resolve makes the plan of a request. It asks for narinfos only. Paths that are
// forbidden are a [ForbiddenError].
func Resolve(ctx context.Context, lookup closure.Lookup, r Request) (*Plan, error) {
	roots := make([]storepath.Path, len(r.Packages))
	for i, p := range r.Packages {
		roots[i] = p.Path
	}
	infos, err := closure.Walk(ctx, r.Jobs, roots, lookup)
	if err != nil {
		return nil, err
	}
	p := &Plan{Infos: infos, View: r.View, Over: &rootfs.Tree{}, Under: &rootfs.Tree{}, Nix: r.Nix, Time: time.Unix(max(r.Epoch, 1), 0).UTC()}
	if r.Over != nil {
		p.Over = r.Over
	}
	if r.Under != nil {
		p.Under = r.Under
	}
	if p.Aside, err = p.aside(ctx, lookup, r); err != nil {
		return nil, err
	}
	p.choose(r.Packages)
	if err := p.Allowed(r.Forbid); err != nil {
		return nil, err
	}
	if err := p.knows(r.Nix); err != nil {
		return nil, err
	}
	p.Seed = p.contentSeed(r.Digest)
	if r.Seed != "" {
		p.Seed = sha256.Sum256([]byte("thaw seed 1\n" + r.Seed))
	}
	return p, nil
}

// aside looks up what outputs are made of.
func (p *Plan) aside(ctx context.Context, lookup closure.Lookup, r Request) ([]*narinfo.Info, error) {
	if len(r.Aside) == 0 {
		return nil, nil
	}
	infos, err := closure.Walk(ctx, r.Jobs, r.Aside, func(ctx context.Context, path storepath.Path) (*narinfo.Info, error) {
		if i := p.Info(path); i != nil {
			return i, nil
		}
		return lookup(ctx, path)
	})
	return slices.DeleteFunc(infos, func(i *narinfo.Info) bool { return p.Info(i.StorePath) != nil }), err
}

// choose notes the packages by their signed names. One that comes twice counts
// where it comes first, unless it is hidden there and not later.
func (p *Plan) choose(packages []Package) {
	at := make(map[storepath.Path]int, len(packages))
	for _, hidden := range []bool{false, true} {
		for _, q := range packages {
			q.Path = p.Signed(q.Path)
			if _, ok := at[q.Path]; q.Hidden == hidden && !ok {
				at[q.Path] = len(p.Packages)
				p.Packages = append(p.Packages, q)
			}
		}
	}
}

// knows holds that what has a name in the image's Nix is in the image.
func (p *Plan) knows(n Nix) error {
	for _, r := range slices.Concat(n.Profiles, n.Roots) {
		if p.Info(r.Path) == nil {
			return fmt.Errorf("%s is to be a profile or root of the garbage collector (%s), and is not in the closure: add it to the packages", r.Path, r.Name)
		}
	}
	return nil
}

// contentSeed is a hash of what determines the content of the image.
func (p *Plan) contentSeed(digest [32]byte) [32]byte {
	h := sha256.New()
	fmt.Fprintf(h, "thaw plan 2\n")
	for _, i := range p.Infos {
		fmt.Fprintf(h, "%s %s\n", i.StorePath.Base(), i.NarHash.Base16())
	}
	for _, r := range p.Packages {
		fmt.Fprintf(h, "package %s %d %t\n", r.Path.Base(), r.Priority, r.Hidden)
	}
	h.Write(digest[:])
	return [32]byte(h.Sum(nil))
}

// ID derives an identifier from the seed: a UUID of version 8, by RFC 9562. The
// same name always gives the same identifier, another name another one.
func (p *Plan) ID(name string) [16]byte {
	mac := hmac.New(sha256.New, p.Seed[:])
	mac.Write([]byte(name))
	id := [16]byte(mac.Sum(nil))
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// Signed returns the path of the closure that has the hash part of another one, and
// maybe another name; the other one if there is none.
func (p *Plan) Signed(path storepath.Path) storepath.Path {
	i, ok := slices.BinarySearchFunc(p.Infos, path.Hash(), func(i *narinfo.Info, hash string) int { return strings.Compare(i.StorePath.Hash(), hash) })
	if !ok {
		return path
	}
	return p.Infos[i].StorePath
}

// Roots returns the paths of the packages.
func (p *Plan) Roots() []storepath.Path {
	out := make([]storepath.Path, len(p.Packages))
	for i, q := range p.Packages {
		out[i] = q.Path
	}
	return out
}

// NarSize returns the bytes of all NARs of the closure.
func (p *Plan) NarSize() (bytes int64) {
	for _, i := range p.Infos {
		bytes += i.NarSize
	}
	return bytes
}

// Order returns the closure in the order of the image: the packages, then the
// rest, the largest first. Who fetches the objects in that order never lets a build
// wait for long while much is left to do.
func (p *Plan) Order() []*narinfo.Info {
	out := make([]*narinfo.Info, 0, len(p.Infos))
	first := make(map[storepath.Path]bool, len(p.Packages))
	for _, q := range p.Packages {
		out = append(out, p.Info(q.Path))
		first[q.Path] = true
	}
	for _, i := range p.Infos {
		if !first[i.StorePath] {
			out = append(out, i)
		}
	}
	slices.SortStableFunc(out[len(p.Packages):], func(a, b *narinfo.Info) int { return cmp.Compare(b.NarSize, a.NarSize) })
	return out
}

// Info returns the narinfo of a path of the closure, nil for another one.
func (p *Plan) Info(path storepath.Path) *narinfo.Info {
	return find(p.Infos, path)
}

// find looks a path up among sorted narinfos.
func find(infos []*narinfo.Info, path storepath.Path) *narinfo.Info {
	i, ok := slices.BinarySearchFunc(infos, path, func(i *narinfo.Info, path storepath.Path) int { return i.StorePath.Compare(path) })
	if !ok {
		return nil
	}
	return infos[i]
}

// shown are the packages as the merged view takes them.
func (p *Plan) shown() (out []fhs.Package) {
	for _, q := range p.Packages {
		if !q.Hidden {
			out = append(out, fhs.Package{Path: q.Path, Priority: q.Priority})
		}
	}
	return out
}

// Holder returns the narinfo of the object that an absolute path in the store lies
// in, nil if that is neither in the closure nor aside of it.
func (p *Plan) Holder(path string) *narinfo.Info {
	base, _, _ := strings.Cut(strings.TrimPrefix(path, storepath.Dir+"/"), "/")
	object, err := storepath.ParseBase(base)
	if err != nil {
		return nil
	}
	if i := p.Info(object); i != nil {
		return i
	}
	return find(p.Aside, object)
}
