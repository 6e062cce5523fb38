package lock

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"thaw/nixhash"
	"thaw/storepath"
)

// check holds the laws of a lock.
func (f *File) check() error {
	if err := isText("arch", f.Arch); err != nil {
		return f.errorAt("", err)
	}
	for n := range f.Paths {
		o := &f.Paths[n]
		if err := o.check(); err != nil {
			return f.errorAt(o.Path.String(), err)
		}
		if n == 0 {
			continue
		}
		switch before := f.Paths[n-1].Path; {
		case before == o.Path:
			return f.errorAt(o.Path.String(), errors.New("comes twice"))
		case before.Hash() == o.Path.Hash():
			return f.errorAt(o.Path.String(), fmt.Errorf("has the same hash part as %s", before.Base()))
		case before.Compare(o.Path) > 0:
			return f.errorAt(o.Path.String(), fmt.Errorf("stands after %s: paths are sorted", before.Base()))
		}
	}
	reached := make(map[storepath.Path]bool, len(f.Paths))
	var todo []storepath.Path
	visit := func(p storepath.Path) error {
		if o := f.object(p); o == nil || o.Path != p {
			return fmt.Errorf("%s is not in the lock", p.Base())
		}
		if !reached[p] {
			reached[p] = true
			todo = append(todo, p)
		}
		return nil
	}
	for n := range f.Roots {
		r := &f.Roots[n]
		err := r.check()
		for _, p := range r.Resolved {
			if err == nil {
				err = visit(p)
			}
		}
		if err != nil {
			return f.errorAt(fmt.Sprintf("roots[%d]", n), err)
		}
	}
	for len(todo) > 0 {
		o := f.object(todo[len(todo)-1])
		todo = todo[:len(todo)-1]
		for _, p := range o.References {
			if err := visit(p); err != nil {
				return f.errorAt(o.Path.String(), fmt.Errorf("the reference %w", err))
			}
		}
	}
	for n := range f.Paths {
		if p := f.Paths[n].Path; !reached[p] {
			return f.errorAt(p.String(), errors.New("is in the lock, and nothing refers to it"))
		}
	}
	return nil
}

func (f *File) errorAt(where string, err error) error {
	return &Error{File: f.file, Where: where, Err: err}
}

func (r *Root) check() error {
	wishes := 0
	for _, set := range []bool{!r.Path.IsZero(), r.Name != "", r.ClosureOf != ""} {
		if set {
			wishes++
		}
	}
	switch {
	case wishes != 1:
		return errors.New("has not exactly one of path, name and closure-of")
	case (r.Name == "") != (r.From == ""), r.Name == "" && r.Output != "":
		return errors.New("has a name without from, or from or output without a name")
	case !r.File.IsZero() && r.File.Algo() != nixhash.SHA256, r.File.IsZero() && r.ClosureOf != "":
		return errors.New("file is not a SHA-256")
	case r.ClosureOf == "" && len(r.Resolved) != 1:
		return fmt.Errorf("is resolved to %d store paths instead of one", len(r.Resolved))
	case !r.Path.IsZero() && r.Resolved[0].Hash() != r.Path.Hash():
		return fmt.Errorf("%s is resolved to %s", r.Path.Base(), r.Resolved[0].Base())
	}
	if p, ok := twice(r.Resolved); ok {
		return fmt.Errorf("is resolved to %s twice", p.Base())
	}
	return cmp.Or(isText("name", r.Name), isText("output", r.Output), isText("from", r.From), isText("closure-of", r.ClosureOf), isText("how", r.How))
}

func (o *Object) check() error {
	switch {
	case o.Path.IsZero():
		return errors.New("an object without its path")
	case o.NarHash.Algo() != nixhash.SHA256:
		return errors.New("narHash is not a SHA-256")
	case o.NarSize < 1:
		return fmt.Errorf("narSize is %d", o.NarSize)
	case o.Exempt != "" && o.Exempt != o.Hints.Cache:
		return errors.New("exempt is not the cache of the hints")
	case !strings.Contains(o.Hints.Cache, "://"):
		return fmt.Errorf("hints: the cache %q is not a URL", o.Hints.Cache)
	case o.Hints.URL == "" || o.Hints.Compression == "":
		return errors.New("hints: there is no url or no compression")
	case o.Hints.FileSize < 0:
		return fmt.Errorf("hints: fileSize is %d", o.Hints.FileSize)
	}
	if p, ok := twice(o.References); ok {
		return fmt.Errorf("the reference %s comes twice", p.Base())
	}
	for _, s := range o.Sigs {
		if err := isText("signatures", s); err != nil {
			return err
		}
	}
	return cmp.Or(isText("ca", o.CA), isText("cache", o.Hints.Cache), isText("url", o.Hints.URL), isText("compression", o.Hints.Compression))
}

// twice finds a path that a list has twice.
func twice(list []storepath.Path) (storepath.Path, bool) {
	sorted := slices.SortedFunc(slices.Values(list), storepath.Path.Compare)
	for i := 1; i < len(sorted); i++ {
		if sorted[i] == sorted[i-1] {
			return sorted[i], true
		}
	}
	return storepath.Path{}, false
}

// isText holds that s can stand in a line of a narinfo and in JSON.
func isText(what, s string) error {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return fmt.Errorf("%s: %q is not a line of text", what, s)
	}
	return nil
}
