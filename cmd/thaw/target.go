package main

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"thaw/lock"
	"thaw/spec"
	"thaw/storepath"
)

// target is what a verb works on: a spec, which was read or made of store paths.
type target struct {
	spec *spec.Spec
	file string     // of the spec; "" for store paths
	lock *lock.File // what it is pinned to; nil for nothing

	doubts []string // what is hardly meant, to be warned of
}

// paths reports whether the target is store paths.
func (t *target) paths() bool { return t.file == "" }

// bare leaves nothing of the spec but its packages.
func (t *target) bare() {
	empty, bare := spec.New(), *t.spec
	bare.Forbid, bare.Rootfs, bare.Boot, bare.Outputs = nil, empty.Rootfs, nil, nil
	t.spec, t.doubts = &bare, nil
}

// lockFile returns the name of the spec's lock.
func (t *target) lockFile() string { return lockOf(t.file) }

const lockSuffix = ".lock.json"

// lockOf returns the name of the lock of a spec.
func lockOf(file string) string {
	if ext := filepath.Ext(file); slices.Contains(specSuffixes, ext) {
		file = strings.TrimSuffix(file, ext)
	}
	return file + lockSuffix
}

// specSuffixes are the endings of names of specs, in the order in which the spec
// of a lock is looked for.
var specSuffixes = []string{".yaml", ".yml", ".json"}

// target reads the arguments of a verb: store paths, a spec, or the lock of one.
func (a *app) target(cmd *cobra.Command, args []string) (*target, error) {
	verb := cmd.Name()
	if len(args) == 0 {
		return nil, usage("thaw "+verb+" --help shows an example", "%s what? Give store paths, like /nix/store/…-hello-2.12.1, or a spec", verb)
	}
	i := slices.IndexFunc(args, isSpec)
	switch {
	case i < 0:
		for _, arg := range args {
			if err := noPath(arg); err != nil {
				return nil, err
			}
		}
		paths, err := storePaths(args, verb)
		if err != nil {
			return nil, err
		}
		return &target{spec: specOf(paths)}, nil
	case len(args) > 1:
		return nil, usage("a spec lists its store paths itself", "%s is a spec, and takes no other argument beside it", args[i])
	}
	file, pinned := args[0], strings.HasSuffix(args[0], lockSuffix)
	if pinned {
		var err error
		if file, err = specBeside(file); err != nil {
			return nil, err
		}
	}
	s, err := readSpec(cmd, file)
	if err != nil {
		return nil, err
	}
	a.global.use(s, file)
	t := &target{spec: s, file: file, doubts: doubts(s)}
	if pinned {
		err = t.pin()
	}
	return t, err
}

// specBeside returns the spec that a lock belongs to.
func specBeside(lock string) (string, error) {
	base := strings.TrimSuffix(lock, lockSuffix)
	i := slices.IndexFunc(specSuffixes, func(s string) bool { return exists(base + s) })
	if i < 0 {
		return "", usage("", "%s is a lock, and the spec that it belongs to, %s.yaml, is not there", lock, base)
	}
	return base + specSuffixes[i], nil
}

// isSpec reports whether an argument names a spec or a lock rather than a store
// path.
func isSpec(arg string) bool {
	if strings.HasPrefix(arg, storepath.Dir+"/") {
		return false
	}
	if arg == "-" || slices.Contains(specSuffixes, filepath.Ext(arg)) {
		return true
	}
	st, err := os.Stat(arg)
	return err == nil && st.Mode().IsRegular()
}

// specOf returns the spec of an image of store paths.
func specOf(paths []storepath.Path) *spec.Spec {
	s := spec.New()
	for i, p := range paths {
		s.Packages = append(s.Packages, spec.Package{Path: p, Priority: spec.DefaultPriority, Origin: spec.Origin{Index: i}})
	}
	return s
}

// readSpec reads and checks a spec; "-" is standard input.
func readSpec(cmd *cobra.Command, name string) (*spec.Spec, error) {
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			hint := ""
			if errors.Is(err, fs.ErrNotExist) {
				hint = "thaw init writes one to begin with"
			}
			return nil, usage(hint, "spec %s: %v", name, cmp.Or(errors.Unwrap(err), err))
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, spec.MaxSize+1))
	if err != nil {
		return nil, err
	}
	s, err := spec.Parse(name, text)
	if err != nil {
		return nil, &usageError{text: err.Error()}
	}
	return s, clash(s, name)
}
