package resolve

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"thaw/storepath"
)

// devboxLock is a devbox.lock. A package has store paths by system; one that was
// locked long ago, or comes from a flake, has none.
type devboxLock struct {
	LockfileVersion string                    `json:"lockfile_version"`
	Packages        map[string]*devboxPackage `json:"packages"`
}

type devboxPackage struct {
	Resolved string                   `json:"resolved"`
	Version  string                   `json:"version"`
	Systems  map[string]*devboxSystem `json:"systems"`
}

type devboxSystem struct {
	Outputs []struct {
		Name string `json:"name"`
		Path string `json:"path"`
	} `json:"outputs"`
	StorePath string `json:"store_path"` // of out; once the only one
}

// isDevbox reports whether a JSON text is a devbox.lock.
func isDevbox(text []byte) bool {
	var top map[string]json.RawMessage
	return bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) &&
		json.Unmarshal(text, &top) == nil && top["lockfile_version"] != nil
}

func parseDevbox(text []byte) (*devboxLock, error) {
	lock := new(devboxLock)
	if err := parseJSON(text, lock); err != nil {
		return nil, err
	}
	if lock.LockfileVersion != "1" {
		return nil, fmt.Errorf("it is a devbox.lock of the version %q, only 1 is known", clip(lock.LockfileVersion))
	}
	return lock, nil
}

// find answers a query. The lock is called place.
func (l *devboxLock) find(q Query, place string) (Answer, error) {
	var keys []string
	near := newNearest(q.Name)
	for _, key := range slices.Sorted(maps.Keys(l.Packages)) {
		name := key
		if i := strings.LastIndexByte(key, '@'); i > 0 {
			name = key[:i]
		}
		if key == q.Name {
			keys = []string{key}
			break
		}
		if name == q.Name {
			keys = append(keys, key)
		}
		near.add(parts{pname: clip(name), base: clip(name)})
	}
	switch len(keys) {
	case 0:
		return Answer{}, &NotFoundError{Name: q.asked(), Where: place, Near: near.names()}
	case 1:
	default:
		return Answer{}, l.ambiguous(q, place, keys)
	}
	key := keys[0]
	where := fmt.Sprintf("%s, packages[%q]", place, clip(key))
	pkg := l.Packages[key]
	if pkg == nil || len(pkg.Systems) == 0 || slices.Contains(slices.Collect(maps.Values(pkg.Systems)), nil) {
		reason := "the lock has no store paths for it"
		if pkg != nil && pkg.Resolved != "" {
			reason += ", only " + clip(pkg.Resolved)
		}
		return Answer{}, &NotFoundError{Name: q.asked(), Where: where, Reason: reason}
	}
	system, err := pkg.system(q, where)
	if err != nil {
		return Answer{}, err
	}
	where += ", " + clip(system)
	if pkg.Version != "" {
		where += ", version " + clip(pkg.Version)
	}
	of := pkg.Systems[system]
	paths := of.paths(q.Output)
	others := slices.DeleteFunc(of.outputs(), func(name string) bool { return name == q.Output })
	switch len(paths) {
	case 0:
		return Answer{}, &NotFoundError{Name: q.asked(), Where: where, Reason: "it has the outputs " + clip(strings.Join(others, ", "))}
	case 1:
	default:
		e := &AmbiguousError{Name: q.asked(), Where: where}
		e.add(paths, "")
		return Answer{}, e
	}
	p, err := storepath.Parse(paths[0])
	if err != nil {
		return Answer{}, fmt.Errorf("%s: %w", where, err)
	}
	return Answer{Path: p, How: where, Others: others}, nil
}

// outputs returns the names of the outputs, sorted.
func (s *devboxSystem) outputs() (names []string) {
	for _, o := range s.Outputs {
		names = append(names, clip(cmp.Or(o.Name, "out")))
	}
	if len(names) == 0 && s.StorePath != "" {
		names = []string{"out"}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// paths returns the paths of an output: one, if the lock is right.
func (s *devboxSystem) paths(output string) (paths []string) {
	for _, o := range s.Outputs {
		if cmp.Or(o.Name, "out") == output && !slices.Contains(paths, o.Path) {
			paths = append(paths, o.Path)
		}
	}
	if len(s.Outputs) == 0 && s.StorePath != "" && output == "out" {
		paths = []string{s.StorePath}
	}
	return paths
}

// system chooses the system that a query is about.
func (p *devboxPackage) system(q Query, where string) (string, error) {
	systems := slices.Sorted(maps.Keys(p.Systems))
	switch {
	case q.Arch != "" && p.Systems[q.Arch] != nil:
		return q.Arch, nil
	case q.Arch != "":
		return "", &NotFoundError{Name: q.asked(), Where: where, Reason: fmt.Sprintf("it is there for %s, not for %s", clip(strings.Join(systems, ", ")), clip(q.Arch))}
	case len(systems) == 1:
		return systems[0], nil
	}
	e := &AmbiguousError{Name: q.asked(), Where: where}
	for _, s := range systems {
		e.add(p.Systems[s].paths(q.Output), s)
	}
	return "", e
}

// ambiguous lists the packages that have the name of a query.
func (l *devboxLock) ambiguous(q Query, place string, keys []string) error {
	e := &AmbiguousError{Name: q.asked(), Where: place}
	for _, key := range keys {
		pkg := l.Packages[key]
		if pkg == nil || len(pkg.Systems) == 0 {
			e.Candidates = append(e.Candidates, Candidate{Note: clip(key) + ", without a store path"})
			continue
		}
		for _, s := range slices.Sorted(maps.Keys(pkg.Systems)) {
			if q.Arch == "" || q.Arch == s {
				e.add(pkg.Systems[s].paths(q.Output), key+", "+s)
			}
		}
	}
	return e
}

// add adds candidates, as far as they are store paths.
func (e *AmbiguousError) add(paths []string, note string) {
	for _, text := range paths {
		if p, err := storepath.Parse(text); err == nil {
			e.Candidates = append(e.Candidates, Candidate{p, clip(note)})
		}
	}
}
