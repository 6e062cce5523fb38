package assemble

import (
	"context"
	"fmt"
	"io"
	"strings"

	"thaw/fhs"
	"thaw/narinfo"
	"thaw/rootfs"
	"thaw/storepath"
	"thaw/substituter"
)

// Extract calls visit for the file at an absolute path in the store, or for all
// entries of the directory there, parents first. The path may lead through links,
// within the closure and what is aside of it. Paths of entries are relative to it,
// and its own is ".". What is said of visit at [ReadObject] holds here.
func Extract(ctx context.Context, s substituter.Substituter, p *Plan, path string, visit func(e rootfs.Entry, data io.Reader) error) error {
	object, rel, err := p.find(ctx, s, path)
	if err != nil {
		return err
	}
	return ReadObject(ctx, s, object, func(e rootfs.Entry, data io.Reader) error {
		switch {
		case rel == "." || e.Path == rel:
		case !strings.HasPrefix(e.Path, rel+"/"):
			return nil
		}
		if e.Path = strings.TrimPrefix(strings.TrimPrefix(e.Path, rel), "/"); e.Path == "" {
			e.Path = "."
		}
		return visit(e, data)
	})
}

// find follows a path in the store. Only the objects that it may lead through are
// read.
func (p *Plan) find(ctx context.Context, s substituter.Substituter, path string) (object *narinfo.Info, rel string, err error) {
	view := fhs.New(nil, fhs.Options{})
	seen := map[storepath.Path]bool{}
	var next []storepath.Path
	if first := p.Holder(path); first != nil {
		next = append(next, first.StorePath)
		seen[first.StorePath] = true
	}
	for ; len(next) > 0; next = next[1:] {
		info := p.lookUp(next[0])
		if info == nil {
			continue
		}
		err := ReadObject(ctx, s, info, func(e rootfs.Entry, _ io.Reader) error {
			e.Path = strings.TrimSuffix(storeDir+"/"+info.StorePath.Base()+"/"+e.Path, "/.")
			view.Note(e)
			return nil
		})
		if err != nil {
			return nil, "", err
		}
		if found, rel, mode, ok := view.Resolve(path); ok && (mode.IsRegular() || mode.IsDir()) {
			if rel == "" {
				rel = "."
			}
			return p.lookUp(found), rel, nil
		}
		for _, r := range info.References {
			if !seen[r] {
				seen[r] = true
				next = append(next, r)
			}
		}
	}
	return nil, "", fmt.Errorf("%s is not there: neither a file nor a directory", path)
}

// Holder returns the narinfo of the object that an absolute path in the store lies
// in, nil if that is neither in the closure nor aside of it.
func (p *Plan) Holder(path string) *narinfo.Info {
	base, _, _ := strings.Cut(strings.TrimPrefix(path, storepath.Dir+"/"), "/")
	object, err := storepath.ParseBase(base)
	if err != nil {
		return nil
	}
	return p.lookUp(object)
}

// lookUp returns the narinfo of a path of the closure or of what is aside.
func (p *Plan) lookUp(path storepath.Path) *narinfo.Info {
	if i := p.Info(path); i != nil {
		return i
	}
	return find(p.Aside, path)
}
