package lock

import (
	"fmt"
	"slices"
	"strings"

	"thaw/storepath"
)

// StaleError says that a lock is not of the spec as it is now.
type StaleError struct {
	File   string
	Reason string // one line
}

func (e *StaleError) Error() string {
	if e.File == "" {
		return "the lock is out of date: " + e.Reason
	}
	return e.File + " is out of date: " + e.Reason
}

// maxReasons is how many differences a [StaleError] names.
const maxReasons = 3

// Stale returns a [*StaleError] if the lock is not that of a spec with this
// digest, system and wishes. What these led to does not count.
func (f *File) Stale(spec [32]byte, arch string, wishes []Root) error {
	reasons := diffRoots(f.Roots, wishes, func(*Root, *Root) string { return "" })
	if f.Arch != arch {
		reasons = append(reasons, change("arch", f.Arch, arch))
	}
	if len(reasons) == 0 && f.Spec != spec {
		reasons = append(reasons, "the spec was changed")
	}
	if len(reasons) == 0 {
		return nil
	}
	if more := len(reasons) - maxReasons; more > 0 {
		reasons = append(reasons[:maxReasons], fmt.Sprintf("and %d more", more))
	}
	return &StaleError{f.file, strings.Join(reasons, "; ")}
}

// Diff lists in what else than hints b differs from a: a line for each.
func Diff(a, b *File) []string {
	out := diffRoots(a.Roots, b.Roots, moved)
	if a.Arch != b.Arch {
		out = append(out, change("arch", a.Arch, b.Arch))
	}
	for i, j := 0, 0; i < len(a.Paths) || j < len(b.Paths); {
		switch {
		case j == len(b.Paths) || i < len(a.Paths) && a.Paths[i].Path.Compare(b.Paths[j].Path) < 0:
			out = append(out, "- "+a.Paths[i].Path.String())
			i++
		case i == len(a.Paths) || a.Paths[i].Path.Compare(b.Paths[j].Path) > 0:
			out = append(out, "+ "+b.Paths[j].Path.String())
			j++
		default:
			for _, what := range diffObjects(&a.Paths[i], &b.Paths[j]) {
				out = append(out, a.Paths[i].Path.String()+": "+what)
			}
			i, j = i+1, j+1
		}
	}
	if len(out) == 0 && a.Spec != b.Spec {
		out = append(out, "the spec was changed")
	}
	return out
}

// diffRoots lists the roots that came, went, or are found in a file that was
// changed, or else what moved says of them.
func diffRoots(a, b []Root, moved func(a, b *Root) string) (out []string) {
	for n := range a {
		r := &a[n]
		k := slices.IndexFunc(b, func(s Root) bool { return s.same(r) })
		switch {
		case k < 0:
			out = append(out, r.String()+" is no longer asked for")
		case moved(r, &b[k]) != "":
			out = append(out, moved(r, &b[k]))
		case r.File != b[k].File:
			out = append(out, r.String()+": the file was changed")
		}
	}
	for n := range b {
		if !slices.ContainsFunc(a, func(r Root) bool { return r.same(&b[n]) }) {
			out = append(out, b[n].String()+" is new")
		}
	}
	if len(out) == 0 && !slices.EqualFunc(a, b, func(r, s Root) bool { return r.same(&s) }) {
		out = append(out, "the packages are in another order")
	}
	return out
}

// moved says where a root leads now, "" for where it did.
func moved(a, b *Root) string {
	if slices.Equal(a.Resolved, b.Resolved) {
		return ""
	}
	if len(a.Resolved) == 1 && len(b.Resolved) == 1 {
		return change(a.String(), a.Resolved[0].String(), b.Resolved[0].String())
	}
	before := map[storepath.Path]bool{}
	for _, p := range a.Resolved {
		before[p] = true
	}
	added, gone := 0, len(a.Resolved)
	for _, p := range b.Resolved {
		if before[p] {
			gone--
		} else {
			added++
		}
	}
	return fmt.Sprintf("%s: of %d store paths %d are gone, and %d are new", a, len(a.Resolved), gone, added)
}

func diffObjects(a, b *Object) (out []string) {
	if a.NarHash != b.NarHash {
		out = append(out, change("narHash", a.NarHash.SRI(), b.NarHash.SRI()))
	}
	if a.NarSize != b.NarSize {
		out = append(out, change("narSize", fmt.Sprint(a.NarSize), fmt.Sprint(b.NarSize)))
	}
	if !slices.Equal(a.References, b.References) {
		out = append(out, "other references")
	}
	if a.CA != b.CA {
		out = append(out, change("ca", a.CA, b.CA))
	}
	if !slices.Equal(a.Sigs, b.Sigs) {
		out = append(out, "other signatures")
	}
	if a.Deriver != b.Deriver {
		out = append(out, change("deriver", a.Deriver.String(), b.Deriver.String()))
	}
	if a.Exempt != b.Exempt {
		out = append(out, change("exempt", a.Exempt, b.Exempt))
	}
	return out
}

func change(what, from, to string) string {
	for _, s := range []*string{&from, &to} {
		if *s == "" {
			*s = "none"
		}
	}
	return what + ": " + from + " → " + to
}
