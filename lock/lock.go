// Package lock pins what the spec of an image led to: the store paths that its
// packages are, all that these refer to, the hash of each, and who vouches for
// it. From the lock an image is built again, whatever channels and caches say by
// then.
//
// A lock is a JSON file that [File.Encode] writes and [Parse] reads. Its laws:
//
//   - Equal content has one text: what has no order of its own is sorted, and no
//     time, machine or version of thaw is in it. White space alone may differ.
//   - It is whole: each reference is in it, each root, and nothing else.
//   - It vouches for nothing. Each path has the signatures and the content
//     address that its narinfo had, and [Pins] holds them against the keys of the
//     run that reads the lock.
//   - Where a NAR was and how it was compressed are hints. Out of date or wrong,
//     they cost requests and change nothing.
//   - Its digest tells a slip of the hand, a bad merge or a damaged disk, not
//     somebody who computes it anew: against him there are the signatures.
//
// The package reads no file, asks no cache and knows no spec.
package lock

import (
	"cmp"
	"fmt"
	"slices"

	"thaw/narinfo"
	"thaw/nixhash"
	"thaw/storepath"
)

// Version is the version of the format.
const Version = 1

// MaxSize is the length limit of a lock in bytes: some 30,000 store paths.
const MaxSize = 64 << 20

// File is a lock.
type File struct {
	Spec  [32]byte // the digest of the spec
	Arch  string   // of the spec; may be ""
	Roots []Root   // in the order of the spec
	Paths []Object // all that the roots refer to, and themselves; sorted by path

	file string // its name, for messages
}

// Root is something that the spec asks for, and what it led to. One of Path, Name
// and ClosureOf is set.
type Root struct {
	Path      storepath.Path // as the spec has it
	Name      string
	Output    string // with Name; "" stands for what that means without it
	From      string // with Name: where it is looked up
	ClosureOf string // the name of a file that lists store paths
	// File is the SHA-256 of the file that From or ClosureOf names; zero where
	// From is no file.
	File nixhash.Hash

	Resolved []storepath.Path // what it led to, in order and by their signed names
	How      string           // by what evidence; may be ""
}

// String returns what the spec asks for.
func (r *Root) String() string {
	switch {
	case r.Name != "" && r.Output != "":
		return r.Name + "^" + r.Output + " from " + r.From
	case r.Name != "":
		return r.Name + " from " + r.From
	case r.ClosureOf != "":
		return "closure-of " + r.ClosureOf
	}
	return r.Path.String()
}

// same reports whether two roots are the same wish, whatever is in a file.
func (r *Root) same(s *Root) bool {
	return r.Path == s.Path && r.Name == s.Name && r.Output == s.Output && r.From == s.From && r.ClosureOf == s.ClosureOf
}

// Object is a store object.
type Object struct {
	Path       storepath.Path
	NarHash    nixhash.Hash
	NarSize    int64
	References []storepath.Path // as listed in its narinfo: old signatures may cover that order
	CA         string           // "" for none
	Sigs       []string         // KEYNAME:BASE64, as listed
	Deriver    storepath.Path   // zero for none; nobody signs it

	// Exempt is the URL of a cache that needed no signatures, if that cache's word
	// was all there was.
	Exempt string
	Hints  Hints
}

// Hints say where the NAR was. Nobody signs them.
type Hints struct {
	Cache       string // the URL of the cache
	URL         string // of the file, as the cache's narinfo has it
	Compression string
	FileHash    nixhash.Hash // zero if it was not given
	FileSize    int64        // 0 if it was not given
}

// New makes the lock of a spec with that digest. infos are all that the roots
// refer to and themselves, each as a cache said it and with that cache's URL as
// its Source. A path in Resolved may have another name than its narinfo.
func New(spec [32]byte, arch string, roots []Root, infos []*narinfo.Info) (*File, error) {
	f := &File{Spec: spec, Arch: arch, Roots: slices.Clone(roots), Paths: make([]Object, len(infos))}
	for n, i := range infos {
		o := &f.Paths[n]
		*o = Object{
			Path: i.StorePath, NarHash: i.NarHash, NarSize: i.NarSize, References: i.References, CA: i.CA, Sigs: i.Sigs,
			Hints: Hints{Cache: i.Source, URL: i.URL, Compression: i.Compression, FileHash: i.FileHash, FileSize: i.FileSize},
		}
		if i.Deriver != "" {
			var err error
			if o.Deriver, err = storepath.ParseBase(i.Deriver); err != nil {
				return nil, &Error{Where: o.Path.String(), Err: fmt.Errorf("deriver: %w", err)}
			}
		}
		if len(i.Trust.Keys) == 0 && !i.Trust.ByCA {
			o.Exempt = i.Source
		}
	}
	slices.SortFunc(f.Paths, func(a, b Object) int { return a.Path.Compare(b.Path) })
	for n := range f.Roots {
		r := &f.Roots[n]
		r.Resolved = slices.Clone(r.Resolved)
		for k, p := range r.Resolved {
			if o := f.object(p); o != nil {
				r.Resolved[k] = o.Path
			}
		}
	}
	return f, f.check()
}

// object returns what the lock has under the hash part of a path, or nil.
func (f *File) object(p storepath.Path) *Object {
	n, ok := slices.BinarySearchFunc(f.Paths, p.Hash(), func(o Object, hash string) int { return cmp.Compare(o.Path.Hash(), hash) })
	if !ok {
		return nil
	}
	return &f.Paths[n]
}

// Root returns what a wish led to, or nil if the lock has no such wish, or the
// file that answered it was changed.
func (f *File) Root(wish Root) *Root {
	n := slices.IndexFunc(f.Roots, func(r Root) bool { return r.same(&wish) && r.File == wish.File })
	if n < 0 {
		return nil
	}
	return &f.Roots[n]
}

// Error says what is wrong with a lock.
type Error struct {
	File  string // as it was given to Parse; "" for a lock that was not read
	Line  int    // from 1; 0 if it is not known
	Where string // the part of the lock that it is about: a store path, or a place such as roots[2]; or ""
	Err   error
}

func (e *Error) Error() string {
	s := e.Err.Error()
	if e.Where != "" {
		s = e.Where + ": " + s
	}
	switch {
	case e.File == "":
		return s
	case e.Line > 0:
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, s)
	}
	return e.File + ": " + s
}

func (e *Error) Unwrap() error { return e.Err }
