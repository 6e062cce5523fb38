// Package assemble turns store paths into a root file system: first a plan, from
// metadata alone, then one ordered stream of entries into any [rootfs.Sink].
//
// A plan and a build are deterministic: which cache answered, how NARs were
// compressed, how many goroutines fetched them and what the clock says reach
// neither. The package knows no image format.
package assemble

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"thaw/closure"
	"thaw/fhs"
	"thaw/narinfo"
	"thaw/storepath"
	"thaw/substituter"
)

// Request says what goes into an image.
type Request struct {
	Roots []storepath.Path // in the order in which they were asked for
	Link  []string         // places of the merged view; see [fhs.New]
	Seed  string           // replaces the content as the seed of all identifiers, if not ""
	Jobs  int              // lookups at a time; at least 1
}

// Plan is what a build will do, down to each store path and its hash.
type Plan struct {
	Roots []storepath.Path // as signed, each once
	Infos []*narinfo.Info  // the closure, sorted by path
	Link  []string
	Seed  [32]byte
	Time  time.Time // of everything that is not a store object
}

// Resolve makes the plan of a request. It asks for narinfos only.
func Resolve(ctx context.Context, s substituter.Substituter, r Request) (*Plan, error) {
	infos, err := closure.Walk(ctx, r.Jobs, r.Roots, s.Info)
	if err != nil {
		return nil, err
	}
	p := &Plan{Infos: infos, Link: r.Link, Time: time.Unix(1, 0).UTC()}
	byHash := make(map[string]storepath.Path, len(infos))
	for _, info := range infos {
		byHash[info.StorePath.Hash()] = info.StorePath
	}
	for _, root := range r.Roots {
		if signed := byHash[root.Hash()]; !slices.Contains(p.Roots, signed) {
			p.Roots = append(p.Roots, signed)
		}
	}
	p.Seed = p.contentSeed()
	if r.Seed != "" {
		p.Seed = sha256.Sum256([]byte("thaw seed 1\n" + r.Seed))
	}
	return p, nil
}

// contentSeed is a hash of what determines the content of the image.
func (p *Plan) contentSeed() [32]byte {
	h := sha256.New()
	fmt.Fprintf(h, "thaw plan 1\n")
	for _, i := range p.Infos {
		fmt.Fprintf(h, "%s %s\n", i.StorePath.Base(), i.NarHash.Base16())
	}
	for _, r := range p.Roots {
		fmt.Fprintf(h, "root %s\n", r.Base())
	}
	for _, l := range p.Link {
		fmt.Fprintf(h, "link %q\n", l)
	}
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

// NarSize returns the bytes of all NARs of the closure.
func (p *Plan) NarSize() (bytes int64) {
	for _, i := range p.Infos {
		bytes += i.NarSize
	}
	return bytes
}

// order returns the closure in the order of the image: the roots, then the rest.
func (p *Plan) order() []*narinfo.Info {
	out := make([]*narinfo.Info, 0, len(p.Infos))
	for _, r := range p.Roots {
		out = append(out, p.info(r))
	}
	for _, i := range p.Infos {
		if !slices.Contains(p.Roots, i.StorePath) {
			out = append(out, i)
		}
	}
	return out
}

// info returns the narinfo of a path of the closure, nil for another one.
func (p *Plan) info(path storepath.Path) *narinfo.Info {
	i, ok := slices.BinarySearchFunc(p.Infos, path, func(i *narinfo.Info, path storepath.Path) int { return i.StorePath.Compare(path) })
	if !ok {
		return nil
	}
	return p.Infos[i]
}

// packages are the roots as the merged view takes them.
func (p *Plan) packages() []fhs.Package {
	out := make([]fhs.Package, len(p.Roots))
	for i, r := range p.Roots {
		out[i] = fhs.Package{Path: r, Priority: fhs.DefaultPriority}
	}
	return out
}
