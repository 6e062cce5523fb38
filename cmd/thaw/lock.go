package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"thaw/assemble"
	"thaw/closure"
	"thaw/internal/atomicfile"
	"thaw/lock"
	"thaw/narinfo"
	"thaw/nixhash"
	"thaw/resolve"
	"thaw/spec"
	"thaw/storepath"
	"thaw/substituter"
)

func (a *app) lock() *cobra.Command {
	var check, update bool
	cmd := &cobra.Command{
		Use:   "lock SPEC [NAME…]",
		Short: "Pin all that the spec of an image leads to",
		Long: `Write the lock of a spec: the store paths that its packages are and all they refer
to, with their hashes and signatures. The lock of vm.yaml is vm.lock.json beside
it. Only narinfos, and what names are looked up in, are fetched.

What the lock has already stays as it is: only what is new in the spec is looked
up, and what nothing asks for any more goes. --update looks everything up again;
with NAMEs only the packages that the spec names so, and what is pinned stays
pinned below them too.

--check writes nothing. It looks everything up again and ends with exit code 6 if
the lock would become another one, and lists in what.

thaw build --locked SPEC builds from the lock. docs/lock.md describes the file.`,
		Example: `  thaw lock vm.yaml
  thaw lock vm.yaml --update nginx
  thaw build vm.yaml --locked -o vm.img`,
		GroupID: "make",
		RunE: func(cmd *cobra.Command, args []string) error {
			t, names, err := a.lockTarget(cmd, args)
			switch {
			case err != nil:
				return err
			case check && update:
				return usage("--check alone compares with a lock that is made anew", "--check and --update exclude each other")
			case len(names) > 0 && !update:
				return usage("names are for --update", "lock takes one spec, and %s is not it", names[0])
			case check:
				return a.checkLock(cmd.Context(), t)
			}
			var keep *lock.File
			if !update || len(names) > 0 {
				keep, err = readLock(t.lockFile())
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
			return a.writeLock(cmd.Context(), t, keep, names)
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "compare the lock with one that is made anew, and write nothing")
	cmd.Flags().BoolVar(&update, "update", false, "look up again what is pinned: all, or the packages with these NAMEs")
	return cmd
}

// lockTarget reads the arguments of the lock verb: a spec, and names, in any
// order.
func (a *app) lockTarget(cmd *cobra.Command, args []string) (t *target, names []string, err error) {
	if len(args) == 0 {
		return nil, nil, usage("thaw lock --help shows an example", "lock what? Give a spec")
	}
	i := slices.IndexFunc(args, func(arg string) bool { return slices.Contains(specSuffixes, filepath.Ext(arg)) })
	if i > 0 {
		args = slices.Concat(args[i:i+1], args[:i], args[i+1:])
	}
	none := usage("write a spec that lists them", "the lock of a spec lies beside its file, and store paths and standard input have none")
	if slices.Contains(args, "-") {
		return nil, nil, none
	}
	if len(args) > 0 && strings.HasSuffix(args[0], lockSuffix) {
		if args[0], err = specBeside(args[0]); err != nil {
			return nil, nil, err
		}
	}
	if t, err = a.target(cmd, args[:min(1, len(args))]); err != nil {
		return nil, nil, err
	}
	if t.paths() {
		return nil, nil, none
	}
	return t, args[1:], nil
}

// readLock reads and checks a lock.
func readLock(file string) (*lock.File, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, lock.MaxSize+1))
	if err != nil {
		return nil, err
	}
	return lock.Parse(file, text)
}

// lockAbsent is the reason of a lock that is not there.
const lockAbsent = "it is not there"

// pin makes the target be what its lock says. A lock that is not of the spec as it
// is now is a [*lock.StaleError].
func (t *target) pin() error {
	if t.paths() || t.file == "-" {
		return usage("write a spec that lists them", "--locked is for a spec in a file; store paths and standard input have no lock")
	}
	f, err := readLock(t.lockFile())
	if errors.Is(err, fs.ErrNotExist) {
		return &lock.StaleError{File: t.lockFile(), Reason: lockAbsent}
	}
	if err != nil {
		return err
	}
	wishes, err := t.wishes()
	if err != nil {
		return err
	}
	if err := f.Stale(t.spec.Digest(), t.spec.Arch, wishes); err != nil {
		return err
	}
	t.lock = f
	return nil
}

// wishes returns the packages of the spec as a lock has them, in their order, and
// not yet resolved; then the store paths that outputs are made of.
func (t *target) wishes() ([]lock.Root, error) {
	out := make([]lock.Root, len(t.spec.Packages))
	for i, p := range t.spec.Packages {
		r := lock.Root{Path: p.Path, Name: p.Name, ClosureOf: p.ClosureOf}
		file := p.ClosureOf
		if p.Name != "" {
			r.Output, r.From = p.Output, p.From.String()
			if isFile(p.From) {
				file = p.From.Place
			}
		}
		if file != "" {
			var err error
			if r.File, err = hashFile(t.spec.File(file)); err != nil {
				return nil, fmt.Errorf("%s: %w", t.spec.Place("packages", p.Origin), err)
			}
		}
		out[i] = r
	}
	for _, p := range t.spec.StorePaths() {
		if !slices.ContainsFunc(out, func(r lock.Root) bool { return r.Path == p }) {
			out = append(out, lock.Root{Path: p})
		}
	}
	return out, nil
}

// isFile reports whether names are looked up in a file of this machine.
func isFile(f spec.From) bool { return !strings.Contains(f.Place, "://") }

func hashFile(name string) (nixhash.Hash, error) {
	f, err := openFile(name)
	if err != nil {
		return nixhash.Hash{}, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nixhash.Hash{}, err
	}
	return nixhash.Of(nixhash.SHA256, h.Sum(nil)), nil
}

// locked returns the packages as the lock has them.
func (t *target) locked() (out []assemble.Package, names []resolve.Answer) {
	for i, p := range t.spec.Packages {
		r := &t.lock.Roots[i]
		for _, q := range r.Resolved {
			if p.ClosureOf != "" {
				out = append(out, assemble.Package{Path: q, Hidden: true})
			} else {
				out = append(out, assemble.Package{Path: q, Priority: p.Priority})
			}
		}
		if p.Name != "" {
			names = append(names, resolve.Answer{Path: r.Resolved[0], How: r.How})
		}
	}
	return out, names
}

// pins answers for narinfos out of a lock.
func (s *source) pins(f *lock.File) *lock.Pins {
	p := &lock.Pins{Lock: f, Keys: s.Keys}
	for _, c := range s.list.Caches {
		if c.Exempt {
			p.Exempt = append(p.Exempt, c.String())
		}
	}
	return p
}

// lacking lists the paths of a lock whose NARs are not in the local cache.
func (s *source) lacking(f *lock.File) (out missingError) {
	for _, o := range f.Paths {
		if !s.Local(&narinfo.Info{NarHash: o.NarHash, NarSize: o.NarSize, Pinned: true}) {
			out = append(out, o.Path)
		}
	}
	return out
}

// makeLock makes the lock of a spec. What keep has stays, but for the packages of
// these names; keep may be nil.
func (a *app) makeLock(ctx context.Context, w *work, keep *lock.File, names []string) (*lock.File, error) {
	s := w.target.spec
	roots, err := w.target.wishes()
	if err != nil {
		return nil, err
	}
	var queries []resolve.Query
	var open []*lock.Root // what they are for
	for i, p := range s.Packages {
		r := &roots[i]
		switch {
		case p.ClosureOf != "":
			if r.Resolved, err = listed(s, p); err != nil {
				return nil, err
			}
		case p.Name == "":
			r.Resolved = []storepath.Path{p.Path}
		default:
			if keep != nil && !slices.Contains(names, p.Name) {
				if pinned := keep.Root(*r); pinned != nil {
					*r = *pinned
					continue
				}
			}
			if a.global.offline && !isFile(p.From) {
				return nil, offlineError(p.Name)
			}
			queries = append(queries, resolve.Query{Name: p.Name, Output: p.Output, From: p.From, Arch: s.Arch})
			open = append(open, r)
		}
	}
	for i := len(s.Packages); i < len(roots); i++ {
		roots[i].Resolved = []storepath.Path{roots[i].Path}
	}
	if len(queries) > 0 {
		answers, err := a.lookUp(ctx, w, queries)
		if err != nil {
			return nil, err
		}
		for i, r := range open {
			r.Resolved, r.How = []storepath.Path{answers[i].Path}, answers[i].How
		}
	}
	// The caches are asked, not the local one: that forgets where NARs were, and a
	// lock is the same whatever it has.
	lookup := closure.Lookup(w.src.list.Info)
	if a.global.offline {
		lookup = func(_ context.Context, p storepath.Path) (*narinfo.Info, error) {
			return nil, offlineError(p.String())
		}
	}
	if keep != nil {
		pins := w.src.pins(keep)
		pins.Next = lookup
		lookup = pins.Info
	}
	var paths []storepath.Path
	for _, r := range roots {
		paths = append(paths, r.Resolved...)
	}
	infos, err := closure.Walk(ctx, lookups*a.global.connections, paths, lookup)
	if err != nil {
		return nil, err
	}
	return lock.New(s.Digest(), s.Arch, roots, infos)
}

func offlineError(what string) error {
	return &substituter.Error{Kind: substituter.NotFound, Err: fmt.Errorf("--offline forbids to look up %s", what)}
}

// lockWork opens what making a lock needs. The caller calls work.close.
func (a *app) lockWork(ctx context.Context, t *target) (w *work, err error) {
	w = &work{target: t, ctx: ctx}
	if w.ui, err = a.ui(); err == nil {
		w.src, err = a.global.open(w.ui.events())
	}
	if err != nil {
		w.close()
		return nil, err
	}
	w.ui.begin("resolving", 0, 0)
	return w, nil
}

func (a *app) writeLock(ctx context.Context, t *target, keep *lock.File, names []string) error {
	for _, name := range names {
		if !slices.ContainsFunc(t.spec.Packages, func(p spec.Package) bool { return p.Name == name }) {
			return usage("the NAMEs are those that the spec gives with name", "%s names no package %s", t.file, name)
		}
	}
	w, err := a.lockWork(ctx, t)
	if err != nil {
		return err
	}
	defer w.close()
	f, err := a.makeLock(ctx, w, keep, names)
	if err != nil {
		return err
	}
	text := f.Encode()
	if len(text) > lock.MaxSize {
		return fmt.Errorf("the lock of %s has %s; the limit is %s", t.file, inBytes(int64(len(text))), inBytes(lock.MaxSize))
	}
	if err := replace(t.lockFile(), text); err != nil {
		return err
	}
	var size int64
	for _, o := range f.Paths {
		size += o.NarSize
	}
	w.ui.step("locking", "%s → %s, %s unpacked", count(len(f.Roots), "package"), count(len(f.Paths), "path"), inBytes(size))
	sum := nixhash.Sum256(text)
	_, err = fmt.Fprintf(a.stdout, "%s\t%d\t%s\n", t.lockFile(), len(text), sum.Base16())
	return err
}

// replace writes a file whole, unless it is there and the same.
func replace(file string, text []byte) error {
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, text) {
		return nil
	}
	f, err := atomicfile.Create(file, 0o666)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.Commit()
}

// checkLock compares the lock with one that is made anew.
func (a *app) checkLock(ctx context.Context, t *target) error {
	file := t.lockFile()
	old, err := readLock(file)
	if errors.Is(err, fs.ErrNotExist) {
		return &lock.StaleError{File: file, Reason: "it is not there"}
	}
	if err != nil {
		return err
	}
	w, err := a.lockWork(ctx, t)
	if err != nil {
		return err
	}
	defer w.close()
	now, err := a.makeLock(ctx, w, nil, nil)
	if err != nil {
		return err
	}
	w.ui.close()
	differences := lock.Diff(old, now)
	if len(differences) == 0 {
		return nil
	}
	for _, d := range differences {
		if _, err := fmt.Fprintln(a.stdout, d); err != nil {
			return err
		}
	}
	return &lock.StaleError{File: file, Reason: count(len(differences), "difference")}
}
