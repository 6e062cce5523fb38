package assemble

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"thaw/fhs"
	"thaw/narinfo"
	"thaw/rootfs"
	"thaw/storepath"
	"thaw/substituter"
)

// mounts are the directories that a running system mounts over. No package may
// have them.
var mounts = []rootfs.Entry{
	rootfs.Dir("dev", 0o755), rootfs.Dir("proc", 0o755), rootfs.Dir("run", 0o755), rootfs.Dir("sys", 0o755), rootfs.Dir("tmp", fs.ModeSticky|0o777),
}

// usual are the directories that a running system expects, whoever has them.
var usual = []rootfs.Entry{rootfs.Dir("etc", 0o755), rootfs.Dir("root", 0o700), rootfs.Dir("var", 0o755)}

// maxPropagates bounds the file that lists what a package propagates, in bytes.
const maxPropagates = 1 << 20

// Root is a root file system that was built.
type Root struct {
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
	b := build{
		plan: p,
		sink: rootfs.Check(sink),
		root: &Root{p, s, fhs.New(p.packages(), fhs.Options{Link: p.Link})},
	}
	store := storepath.Dir[1:]
	for _, dir := range []string{".", "nix", store} {
		if err := b.add(rootfs.Dir(dir, 0o755)); err != nil {
			return nil, err
		}
	}
	for _, info := range p.order() {
		if err := b.object(ctx, info, store+"/"+info.StorePath.Base()); err != nil {
			return nil, err
		}
	}
	if err := b.derived(ctx); err != nil {
		return nil, err
	}
	return b.root, nil
}

type build struct {
	plan *Plan
	sink rootfs.Sink
	root *Root
}

// add adds an entry without content, at the plan's time.
func (b *build) add(e rootfs.Entry) error {
	e.ModTime = b.plan.Time
	return b.sink.Add(e, nil)
}

// object adds a store object at path.
func (b *build) object(ctx context.Context, info *narinfo.Info, path string) error {
	return ReadObject(ctx, b.root.from, info, func(e rootfs.Entry, data io.Reader) error {
		rel := e.Path
		e.Path = path
		if rel != "." {
			e.Path += "/" + rel
		}
		b.root.view.Note(e)
		if rel == fhs.PropagatesFile && data != nil {
			if e.Size > maxPropagates {
				return fmt.Errorf("%s of %s has %d bytes, the limit is %d", rel, info.StorePath.Base(), e.Size, maxPropagates)
			}
			content, err := io.ReadAll(data)
			if err != nil {
				return err
			}
			b.root.view.Propagates(info.StorePath, content)
			data = bytes.NewReader(content)
		}
		return b.sink.Add(e, data)
	})
}

// derived adds the merged view and the directories that are mounted over.
func (b *build) derived(ctx context.Context) error {
	view, err := b.root.view.Merge(func(pairs [][2]string) ([]bool, error) { return b.root.same(ctx, pairs) })
	if err != nil {
		return err
	}
	var tree rootfs.Tree
	for _, e := range slices.Concat(mounts, usual, slices.DeleteFunc(view.Entries, mountedOver)) {
		e.ModTime = b.plan.Time
		tree.Put(e, nil)
	}
	return tree.Send(b.sink)
}

// mountedOver reports whether an entry of the view is at or below one of mounts.
func mountedOver(e rootfs.Entry) bool {
	top, _, _ := strings.Cut(e.Path, "/")
	return slices.ContainsFunc(mounts, func(m rootfs.Entry) bool { return m.Path == top })
}

// same reports which pairs of files in the store have equal contents. Each
// object that they are in is read once more.
func (r *Root) same(ctx context.Context, pairs [][2]string) ([]bool, error) {
	type file struct {
		object storepath.Path
		rel    string // "." for an object that is a file
	}
	files := make([][2]file, len(pairs))
	wanted := map[storepath.Path]map[string]bool{}
	for i, pair := range pairs {
		for k, path := range pair {
			object, rel, err := splitStore(path)
			if err != nil {
				return nil, err
			}
			files[i][k] = file{object, rel}
			if wanted[object] == nil {
				wanted[object] = map[string]bool{}
			}
			wanted[object][rel] = true
		}
	}
	sums := map[file][]byte{}
	for object, rels := range wanted {
		err := r.read(ctx, object, func(e rootfs.Entry, data io.Reader) error {
			if data == nil || !rels[e.Path] {
				return nil
			}
			h := sha256.New()
			_, err := io.Copy(h, data)
			sums[file{object, e.Path}] = h.Sum(nil)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	equal := make([]bool, len(pairs))
	for i, f := range files {
		a, b := sums[f[0]], sums[f[1]]
		if a == nil || b == nil {
			return nil, fmt.Errorf("%s or %s is not where it was", pairs[i][0], pairs[i][1])
		}
		equal[i] = bytes.Equal(a, b)
	}
	return equal, nil
}

func (r *Root) read(ctx context.Context, object storepath.Path, visit func(rootfs.Entry, io.Reader) error) error {
	info := r.plan.info(object)
	if info == nil {
		return fmt.Errorf("%s is not in the closure", object)
	}
	return ReadObject(ctx, r.from, info, visit)
}

// splitStore splits /nix/store/HASH-NAME/REL.
func splitStore(path string) (object storepath.Path, rel string, err error) {
	base, rel, _ := strings.Cut(strings.TrimPrefix(path, storepath.Dir+"/"), "/")
	object, err = storepath.ParseBase(base)
	return object, cmp.Or(rel, "."), err
}

// BootFile is a file that a machine needs before it has the root file system.
type BootFile struct {
	root   *Root
	object storepath.Path
	rel    string
}

// String returns the file's path in the store.
func (f *BootFile) String() string { return f.object.String() + "/" + f.rel }

// Kernel finds the kernel of the requested paths: kernel, as in the top level of
// a NixOS system, else bzImage, Image or vmlinux.
func (r *Root) Kernel() (*BootFile, error) {
	return r.bootFile("kernel", "kernel", "bzImage", "Image", "vmlinux")
}

// Initrd finds the initrd of the requested paths: initrd, as in the top level of
// a NixOS system.
func (r *Root) Initrd() (*BootFile, error) { return r.bootFile("initrd", "initrd") }

// NoBootFileError says that no requested path has such a file.
type NoBootFileError struct {
	What  string
	Names []string // what was looked for
}

func (e *NoBootFileError) Error() string {
	return fmt.Sprintf("no requested path has a %s (looked for %s)", e.What, strings.Join(e.Names, ", "))
}

func (r *Root) bootFile(what string, names ...string) (*BootFile, error) {
	for _, name := range names {
		for _, p := range r.plan.Roots {
			if object, rel, mode, ok := r.view.Resolve(p.String() + "/" + name); ok && mode.IsRegular() {
				return &BootFile{r, object, rel}, nil
			}
		}
	}
	return nil, &NoBootFileError{what, names}
}

// Copy writes the content, verified once more, to w. Where it returns an error,
// what was written is worthless.
func (f *BootFile) Copy(ctx context.Context, w io.Writer) error {
	return f.root.read(ctx, f.object, func(e rootfs.Entry, data io.Reader) error {
		if e.Path != f.rel || data == nil {
			return nil
		}
		_, err := io.Copy(w, data)
		return err
	})
}
