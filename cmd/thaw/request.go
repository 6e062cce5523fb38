package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"thaw/assemble"
	"thaw/fhs"
	"thaw/nixdb"
	"thaw/overlay"
	"thaw/resolve"
	"thaw/spec"
	"thaw/storepath"
)

// policies are what the spec calls the ways to settle collisions.
var policies = map[string]fhs.Policy{"priority": fhs.ByPriority, "first": fhs.First, "error": fhs.Strict}

// request returns what the spec asks for, but for the packages. It reads the files
// that the spec names.
func (t *target) request() (r assemble.Request, err error) {
	s := t.spec
	over, err := overlay.Read(s)
	if err != nil {
		return r, err
	}
	merge, nix := &s.Rootfs.Merge, &s.Rootfs.Nix
	r = assemble.Request{
		Forbid: s.Forbid,
		View:   assemble.View{Into: inImage(merge.Into), Collisions: policies[merge.Collisions], Report: merge.Report},
		Over:   &over.Tree,
		Under:  &over.Defaults,
		Nix:    assemble.Nix{DB: nix.DB, Profiles: roots(nix.Profiles), Roots: roots(nix.GCRoots)},
		Seed:   s.Seed,
		Epoch:  s.Epoch,
		Aside:  s.StorePaths(),
	}
	if nix.ClosureInfo != "" {
		r.Nix.ClosureInfo = inImage(nix.ClosureInfo)
	}
	for _, place := range merge.Link {
		r.View.Link = append(r.View.Link, inImage(place))
	}
	for _, pattern := range merge.Exclude {
		r.View.Exclude = append(r.View.Exclude, inImage(pattern))
	}
	rest := *s
	rest.Packages = nil // a plan has what they are, however they are named
	digest := rest.Digest()
	h := sha256.New()
	h.Write(digest[:])
	h.Write(over.Digest[:])
	r.Digest = [32]byte(h.Sum(nil))
	return r, nil
}

// inImage turns an absolute path of a spec into one of an image.
func inImage(p string) string {
	if p = strings.TrimPrefix(path.Clean(p), "/"); p != "" {
		return p
	}
	return "."
}

func roots(named []spec.NamedPath) (out []nixdb.Root) {
	for _, n := range named {
		out = append(out, nixdb.Root{Name: n.Name, Path: n.Path})
	}
	return out
}

// packages returns the store paths that the spec asks for: those that it lists,
// those whose names are looked up, and those of lists in files; or those of its
// lock.
func (a *app) packages(ctx context.Context, w *work) (out []assemble.Package, names []resolve.Answer, err error) {
	s := w.target.spec
	if w.target.lock != nil {
		out, names = w.target.locked()
		return out, names, nil
	}
	var queries []resolve.Query
	for _, p := range s.Packages {
		if p.Name != "" {
			queries = append(queries, resolve.Query{Name: p.Name, Output: p.Output, From: p.From, Arch: s.Arch})
		}
	}
	if len(queries) > 0 {
		if names, err = a.lookUp(ctx, w, queries); err != nil {
			return nil, nil, err
		}
	}
	next := 0
	for _, p := range s.Packages {
		switch {
		case p.Name != "":
			out = append(out, assemble.Package{Path: names[next].Path, Priority: p.Priority})
			next++
		case p.ClosureOf != "":
			paths, err := listed(s, p)
			if err != nil {
				return nil, nil, err
			}
			for _, q := range paths {
				out = append(out, assemble.Package{Path: q, Hidden: true})
			}
		default:
			out = append(out, assemble.Package{Path: p.Path, Priority: p.Priority})
		}
	}
	return out, names, nil
}

// listed returns the store paths in the file that a package is.
func listed(s *spec.Spec, p spec.Package) ([]storepath.Path, error) {
	file := s.File(p.ClosureOf)
	text, err := readList(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Place("packages", p.Origin), err)
	}
	return resolve.ReadPaths(file, text)
}

// maxList is the length limit of a file that lists store paths, in bytes.
const maxList = 64 << 20

// readList reads a file that lists store paths.
func readList(name string) ([]byte, error) {
	f, err := openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxList+1))
	if err == nil && len(text) > maxList {
		err = fmt.Errorf("%s is longer than %s", name, inBytes(maxList))
	}
	return text, err
}

// openFile opens a file that the spec names, and that has an end.
func openFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// lookUp finds the store paths that names mean.
func (a *app) lookUp(ctx context.Context, w *work, queries []resolve.Query) ([]resolve.Answer, error) {
	return a.lookUpNames(ctx, w.ui, w.src.Disk, w.target.spec.File, queries)
}
