package lock

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"thaw/internal/faultserver"
	"thaw/nixhash"
	"thaw/storepath"
)

// wishes returns the roots as a spec has them.
func wishes(f *File) []Root {
	out := slices.Clone(f.Roots)
	for i := range out {
		out[i].Resolved, out[i].How = nil, ""
	}
	return out
}

func TestStale(t *testing.T) {
	other := [32]byte{1}
	f := parse(t, newFile(t).Encode())
	for _, test := range []struct {
		name   string
		spec   [32]byte
		arch   string
		change func(r []Root) []Root
		want   string
	}{
		{"as it was", specDigest, "x86_64-linux", nil, ""},
		{"another spec", other, "x86_64-linux", nil, "the spec was changed"},
		{"another system", specDigest, "", nil, "arch: x86_64-linux → none"},
		{"one less", other, "x86_64-linux", func(r []Root) []Root { return r[1:] }, f.Roots[0].Path.String() + " is no longer asked for"},
		{"one more", other, "x86_64-linux", func(r []Root) []Root { return append(r, Root{Name: "new", From: "x"}) }, "new from x is new"},
		{"another output", other, "x86_64-linux", func(r []Root) []Root { r[2].Output = ""; return r }, "lib^dev from devbox.lock is no longer asked for; lib from devbox.lock is new"},
		{"another order", other, "x86_64-linux", func(r []Root) []Root { slices.Reverse(r); return r }, "the packages are in another order"},
		{"the list was changed", specDigest, "x86_64-linux", func(r []Root) []Root { r[3].File = nixhash.Sum256(nil); return r },
			"closure-of lists/store-paths: the file was changed"},
		{"much", other, "i686-linux", func(r []Root) []Root { return nil }, f.Roots[0].Path.String() + " is no longer asked for; tool from channel:https://channels.example.org/c is no longer asked for; lib^dev from devbox.lock is no longer asked for; and 2 more"},
	} {
		roots := wishes(f)
		if test.change != nil {
			roots = test.change(roots)
		}
		err := f.Stale(test.spec, test.arch, roots)
		var stale *StaleError
		switch {
		case test.want == "" && err != nil, test.want != "" && !errors.As(err, &stale):
			t.Errorf("%s: %v", test.name, err)
		case stale != nil && err.Error() != "vm.lock.json is out of date: "+test.want:
			t.Errorf("%s: got\n%v\nwant\n%s", test.name, err, test.want)
		}
	}
}

func TestDiff(t *testing.T) {
	a := newFile(t)
	lib := faultserver.Path("lib-1.0")
	for _, test := range []struct {
		name   string
		change func(f *File)
		want   []string
	}{
		{"nothing", func(f *File) {}, nil},
		{"hints", func(f *File) {
			f.object(lib).Hints = Hints{"https://elsewhere", "x", "xz", nixhash.Hash{}, 0}
			f.Roots[1].How = "otherwise"
		}, nil},
		{"spec", func(f *File) { f.Spec[0]++ }, []string{"the spec was changed"}},
		{"content", func(f *File) {
			o := f.object(lib)
			o.NarHash, o.NarSize, o.Sigs, o.Deriver = nixhash.Sum256(nil), 1, nil, storepath.Path{}
		}, []string{
			lib.String() + ": narHash: " + a.object(lib).NarHash.SRI() + " → " + nixhash.Sum256(nil).SRI(),
			lib.String() + ": narSize: 120 → 1",
			lib.String() + ": other signatures",
			lib.String() + ": deriver: " + faultserver.Path("lib-1.0.drv").String() + " → none",
		}},
		{"paths", func(f *File) {
			f.Paths = slices.DeleteFunc(f.Paths, func(o Object) bool { return o.Path == lib })
			f.Paths = append(f.Paths, Object{Path: mustParse(t, "/nix/store/zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz-last")})
		}, []string{"- " + lib.String(), "+ /nix/store/zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz-last"}},
		{"file", func(f *File) { f.Roots[2].File = nixhash.Sum256(nil) }, []string{"lib^dev from devbox.lock: the file was changed"}},
		{"list", func(f *File) { f.Roots[3].Resolved = f.Roots[3].Resolved[1:] }, []string{"closure-of lists/store-paths: of 2 store paths 1 are gone, and 0 are new"}},
		{"root", func(f *File) { f.Roots[1].Resolved = []storepath.Path{lib} },
			[]string{"tool from channel:https://channels.example.org/c: " + faultserver.Path("tool").String() + " → " + lib.String()}},
	} {
		b := newFile(t)
		test.change(b)
		if got := Diff(a, b); !slices.Equal(got, test.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, strings.Join(got, "\n"), strings.Join(test.want, "\n"))
		}
	}
}

func mustParse(t *testing.T, s string) storepath.Path {
	t.Helper()
	p, err := storepath.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
