package assemble

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"thaw/fhs"
	"thaw/narinfo"
	"thaw/nixdb"
	"thaw/rootfs"
	"thaw/storepath"
	"thaw/substituter"
)

// mounts are the directories that a running system mounts over. No package may
// have them.
var mounts = []rootfs.Entry{
	rootfs.Dir("dev", 0o755), rootfs.Dir("proc", 0o755), rootfs.Dir("run", 0o755), rootfs.Dir("sys", 0o755), rootfs.Dir("tmp", fs.ModeSticky|0o777),
}

// usual are the directories that a running system expects, and writes to: they
// are never links into the store.
var usual = []rootfs.Entry{rootfs.Dir("etc", 0o755), rootfs.Dir("root", 0o700), rootfs.Dir("var", 0o755)}

// storeDir is where store objects are.
const storeDir = "nix/store"

// above are the directories that store objects lie in.
var above = []string{".", "nix", storeDir}

const (
	// maxPropagates bounds the file that lists what a package propagates, in bytes.
	maxPropagates = 1 << 20
	// maxDerivation bounds a derivation, in bytes. Those of nixpkgs have up to
	// some hundred KiB.
	maxDerivation = 16 << 20
)

// Root is a root file system that was built.
type Root struct {
	// Settled are the collisions in the merged view that were decided.
	Settled []fhs.Settled

	plan *Plan
	from substituter.Substituter
	view *fhs.View
}

// Build sends the root file system of a plan to sink: the store objects in the
// plan's order, then what is derived from them. One goroutine does it all; s may
// work underneath. The sink is held to the laws of package rootfs.
//
// A NAR is verified at its end, so sink gets bytes that may prove wrong: after an
// error, what it made is worthless.
func Build(ctx context.Context, s substituter.Substituter, p *Plan, sink rootfs.Sink) (*Root, error) {
	options := fhs.Options{Link: p.View.Link, Exclude: p.View.Exclude, Collisions: p.View.Collisions, Claims: p.claims(), Report: p.View.Report}
	b := build{
		plan:        p,
		sink:        rootfs.Check(sink),
		root:        &Root{plan: p, from: s, view: fhs.New(p.shown(), options)},
		derivations: map[storepath.Path][]byte{},
	}
	for _, dir := range above {
		e, ok := p.Over.Get(dir)
		if !ok {
			e = rootfs.Dir(dir, 0o755)
		}
		e.ModTime = p.Time
		if err := b.sink.Add(e, nil); err != nil {
			return nil, err
		}
	}
	for _, info := range p.Order() {
		if err := b.object(ctx, info, storeDir+"/"+info.StorePath.Base()); err != nil {
			return nil, err
		}
	}
	if err := b.derived(ctx); err != nil {
		return nil, err
	}
	return b.root, nil
}

type build struct {
	plan        *Plan
	sink        rootfs.Sink
	root        *Root
	derivations map[storepath.Path][]byte // for the database
}

// object adds a store object at path.
func (b *build) object(ctx context.Context, info *narinfo.Info, path string) error {
	derivation := b.plan.Nix.DB && isDerivation(info)
	return ReadObject(ctx, b.root.from, info, func(e rootfs.Entry, data io.Reader) (err error) {
		rel := e.Path
		e.Path = path
		if rel != "." {
			e.Path += "/" + rel
		}
		b.root.view.Note(e)
		if data != nil && rel == fhs.PropagatesFile {
			var content []byte
			if content, data, err = keep(info, e, data, maxPropagates); err != nil {
				return err
			}
			b.root.view.Propagates(info.StorePath, content)
		}
		if data != nil && rel == "." && derivation {
			var content []byte
			if content, data, err = keep(info, e, data, maxDerivation); err != nil {
				return err
			}
			b.derivations[info.StorePath] = content
		}
		return b.sink.Add(e, data)
	})
}

// keep reads a file of at most limit bytes, and returns it for reading once more.
func keep(info *narinfo.Info, e rootfs.Entry, data io.Reader, limit int64) ([]byte, io.Reader, error) {
	if e.Size > limit {
		return nil, nil, fmt.Errorf("/%s of %s has %d bytes, the limit is %d", e.Path, info.StorePath.Base(), e.Size, limit)
	}
	content, err := io.ReadAll(data)
	return content, bytes.NewReader(content), err
}

// claims are the places that the merged view leaves to others, in its own paths.
func (p *Plan) claims() (out []fhs.Claim) {
	claim := func(path string, dir bool) {
		if p.into() != "" {
			var below bool
			if path, below = strings.CutPrefix(path, p.into()); !below {
				return
			}
		}
		out = append(out, fhs.Claim{Path: path, Dir: dir})
	}
	for _, e := range usual {
		claim(e.Path, true)
	}
	for e := range p.Over.All() {
		claim(e.Path, e.Mode.IsDir())
	}
	for e := range p.Under.All() {
		if e.Mode.IsDir() { // the others have one, and yield themselves
			claim(e.Path, true)
		}
	}
	if p.Nix.ClosureInfo != "" && p.Nix.ClosureInfo != "." {
		claim(p.Nix.ClosureInfo, true)
	}
	return out
}

// into returns what the paths of the view begin with in the image: nothing, or
// the directory and a slash.
func (p *Plan) into() string {
	if p.View.Into == "" || p.View.Into == "." {
		return ""
	}
	return p.View.Into + "/"
}

// derived adds all that is no store object: the merged view, the directories that
// are mounted over, the files of the request and those of Nix.
func (b *build) derived(ctx context.Context) error {
	p := b.plan
	merged, err := b.root.view.Merge(func(pairs [][2]string) ([]bool, error) { return b.root.same(ctx, pairs) })
	if err != nil {
		return err
	}
	b.root.Settled = merged.Settled
	var tree rootfs.Tree
	like := rootfs.Dir("", 0o755)
	like.ModTime = p.Time
	for _, e := range slices.Concat(mounts, usual) {
		e.ModTime = p.Time
		tree.Put(e, nil)
	}
	tree.Lay(p.Under)
	for _, e := range merged.Entries {
		e.Path, e.ModTime = p.into()+e.Path, p.Time
		if old, _ := tree.Get(e.Path); !mountedOver(e.Path) && !(e.Mode.IsDir() && old.Mode.IsDir()) {
			tree.Put(e, nil)
		}
	}
	if err := p.nix(&tree, b.derivations); err != nil {
		return err
	}
	tree.Lay(p.Over)
	for e := range tree.All() {
		tree.Dirs(e.Path, like)
	}
	return tree.Send(below{b.sink})
}

// below is a sink that has the directories above the store objects.
type below struct{ rootfs.Sink }

func (b below) Add(e rootfs.Entry, data io.Reader) error {
	if slices.Contains(above, e.Path) {
		return nil
	}
	return b.Sink.Add(e, data)
}

// Made returns the entries that a build of the plan adds to the store objects and
// the merged view: those that are certain to be there, and those that give way to
// what a package has, or are no larger than this.
func (p *Plan) Made() (known, maybe []rootfs.Entry, err error) {
	var tree rootfs.Tree
	maybe = slices.Collect(p.Under.All())
	derivations, size := map[storepath.Path][]byte{}, int64(0)
	for _, i := range p.Infos {
		if isDerivation(i) {
			derivations[i.StorePath] = noOutputs
			size += min(i.NarSize, maxDerivation)
		}
	}
	if size > 0 && p.Nix.DB {
		// The database holds the names and paths of their outputs twice over, in a
		// table and in an index, on pages that are at least in part full.
		maybe = append(maybe, rootfs.Entry{Path: "outputs of derivations", Mode: 0o644, Size: 16*size + 64<<10})
	}
	if err := p.nix(&tree, derivations); err != nil {
		return nil, nil, err
	}
	tree.Lay(p.Over)
	return slices.Collect(tree.All()), maybe, nil
}

// noOutputs is the beginning of a derivation that adds nothing to a database.
var noOutputs = []byte(`Derive([("out","","","")],`)

func isDerivation(i *narinfo.Info) bool { return strings.HasSuffix(i.StorePath.Name(), ".drv") }

// nix adds what a Nix in the image is told.
func (p *Plan) nix(tree *rootfs.Tree, derivations map[storepath.Path][]byte) error {
	if p.Nix.DB {
		store := nixdb.Store{Infos: p.Infos, Epoch: p.Time.Unix(), Derivations: derivations, Profiles: p.Nix.Profiles, Roots: p.Nix.Roots}
		if err := store.Put(tree); err != nil {
			return err
		}
	}
	if p.Nix.ClosureInfo == "" {
		return nil
	}
	for name, content := range map[string][]byte{
		"store-paths":    nixdb.StorePaths(p.Infos),
		"registration":   nixdb.Registration(p.Infos),
		"total-nar-size": nixdb.TotalNarSize(p.Infos),
	} {
		e := rootfs.Entry{Path: strings.TrimPrefix(p.Nix.ClosureInfo+"/"+name, "./"), Mode: 0o644, ModTime: p.Time}
		tree.Put(e, content)
	}
	return nil
}

// mountedOver reports whether a path is at or below one of mounts.
func mountedOver(path string) bool {
	top, _, _ := strings.Cut(path, "/")
	return slices.ContainsFunc(mounts, func(m rootfs.Entry) bool { return m.Path == top })
}
