package assemble

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"thaw/nixdb"
	"thaw/rootfs"
	"thaw/storepath"
)

// What a request adds lies over the merged view, which opens for it, and under it
// lies what yields.
func TestOverAndUnder(t *testing.T) {
	c := newCache(t)
	p := c.add(t, "p", pack(t, ".", "d", "./bin", "d", "./bin/x", "*1", "./etc", "d", "./etc/hosts", "2", "./etc/motd", "3", "./etc/ssh", "d", "./etc/ssh/config", "4"))
	r := request([]string{"bin", "etc"}, p)
	r.Epoch = 100
	at := time.Unix(100, 0).UTC()
	r.Over, r.Under = &rootfs.Tree{}, &rootfs.Tree{}
	put := func(tree *rootfs.Tree, e rootfs.Entry, content string) {
		e.ModTime = at
		tree.Put(e, []byte(content))
	}
	put(r.Over, rootfs.Dir("etc", 0o750), "")
	put(r.Over, rootfs.Entry{Path: "etc/motd", Mode: 0o640, UID: 3}, "mine")
	put(r.Over, rootfs.Dir("etc/ssh", 0o755), "")
	put(r.Over, rootfs.Dir("etc/ssh/keys", 0o700), "")
	put(r.Over, rootfs.Dir("dev", 0o755), "")
	put(r.Over, rootfs.Entry{Path: "dev/console", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o600, Dev: rootfs.Mkdev(5, 1)}, "")
	put(r.Under, rootfs.Dir("etc", 0o755), "")
	put(r.Under, rootfs.Entry{Path: "etc/hosts", Mode: 0o644}, "under")
	put(r.Under, rootfs.Entry{Path: "etc/os-release", Mode: 0o644}, "under")
	plan, err := Resolve(t.Context(), c.open(t).Info, r)
	if err != nil {
		t.Fatal(err)
	}
	var got recorder
	if _, err := Build(t.Context(), c.open(t), plan, &got); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"Lrwxrwxrwx 100 bin /nix/store/P/bin", "drwxr-xr-x 100 dev ", "Dcrw------- 100 dev/console ",
		"drwxr-x--- 100 etc ", "Lrwxrwxrwx 100 etc/hosts /nix/store/P/etc/hosts", "-rw-r----- 100 etc/motd ", "-rw-r--r-- 100 etc/os-release ",
		"drwxr-xr-x 100 etc/ssh ", "Lrwxrwxrwx 100 etc/ssh/config /nix/store/P/etc/ssh/config", "drwx------ 100 etc/ssh/keys ",
		"drwxr-xr-x 100 proc ", "drwx------ 100 root ", "drwxr-xr-x 100 run ", "drwxr-xr-x 100 sys ", "dtrwxrwxrwx 100 tmp ", "drwxr-xr-x 100 var ",
	}
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], "P", p.Base())
	}
	list := got.list()
	if i := slices.IndexFunc(list, func(l string) bool {
		return !strings.Contains(l, " 1 nix") && !strings.HasSuffix(l, " . ") && !strings.Contains(l, "nix/store ") && !strings.Contains(l, " nix ")
	}); !slices.Equal(list[max(i, 0):], want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(list, "\n"), strings.Join(want, "\n"))
	}
	if got.content["etc/motd"] != "mine" || got.content["etc/os-release"] != "under" {
		t.Errorf("contents: %q", got.content)
	}
}

// A view in another directory than the root.
func TestInto(t *testing.T) {
	c := newCache(t)
	p := c.add(t, "p", pack(t, ".", "d", "./bin", "d", "./bin/x", "*1", "./etc", "d", "./etc/y", "2"))
	r := request([]string{"bin", "etc"}, p)
	r.View.Into, r.View.Exclude = "opt/tools", []string{"etc/*"}
	plan, err := Resolve(t.Context(), c.open(t).Info, r)
	if err != nil {
		t.Fatal(err)
	}
	var got recorder
	if _, err := Build(t.Context(), c.open(t), plan, &got); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"drwxr-xr-x 1 opt ", "drwxr-xr-x 1 opt/tools ", "Lrwxrwxrwx 1 opt/tools/bin " + p.String() + "/bin", "drwxr-xr-x 1 etc "} {
		if !slices.Contains(got.list(), want) {
			t.Errorf("%q is missing in\n%s", want, strings.Join(got.list(), "\n"))
		}
	}
	for _, e := range got.entries {
		if strings.HasSuffix(e.Path, "tools/etc/y") || e.Path == "bin" {
			t.Errorf("%s is there", e.Path)
		}
	}
}

// A hidden package is in the image and not in the view, and first of all packages
// come those that are in it.
func TestHidden(t *testing.T) {
	c := newCache(t)
	a := c.add(t, "a", pack(t, ".", "d", "./bin", "d", "./bin/x", "*1"))
	b := c.add(t, "b", pack(t, ".", "d", "./bin", "d", "./bin/x", "*2"))
	r := request([]string{"bin"}, a)
	r.Packages = append([]Package{{Path: b, Hidden: true}, {Path: a, Hidden: true}}, r.Packages...)
	plan, err := Resolve(t.Context(), c.open(t).Info, r)
	if err != nil {
		t.Fatal(err)
	}
	if got := plan.Roots(); !slices.Equal(got, []storepath.Path{a, b}) {
		t.Errorf("packages are %v", got)
	}
	if _, err := Build(t.Context(), c.open(t), plan, &recorder{}); err != nil {
		t.Error(err)
	}
}

func TestForbid(t *testing.T) {
	c := newCache(t)
	perl := c.add(t, "perl-5.36", pack(t, ".", "1"))
	git := c.add(t, "git-2.39", pack(t, ".", "2"), perl)
	py := c.add(t, "python3-3.11", pack(t, ".", "3"), git)
	r := request(nil, py, git)
	for _, test := range []struct{ patterns, want string }{
		{"ruby-* perl", ""},
		{"perl-*", perl.String() + ` is forbidden by "perl-*": git-2.39 → perl-5.36`},
		{"git-[0-9]* perl-?.??", perl.String() + ` is forbidden by "perl-?.??": git-2.39 → perl-5.36` + "\n" + git.String() + ` is forbidden by "git-[0-9]*": it is one of the packages`},
	} {
		r.Forbid = strings.Fields(test.patterns)
		_, err := Resolve(t.Context(), c.open(t).Info, r)
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: %v", test.patterns, err)
			}
			continue
		}
		var forbidden ForbiddenError
		if !errors.As(err, &forbidden) {
			t.Fatalf("%s: %v", test.patterns, err)
		}
		got, want := strings.Split(err.Error(), "\n"), strings.Split(test.want, "\n")
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got\n%v", test.patterns, err)
		}
	}
}

// What Nix in the image is told comes with the rest, and only of what is there.
func TestNix(t *testing.T) {
	c := newCache(t)
	p := c.add(t, "p", pack(t, ".", "d", "./etc", "d"))
	other := c.add(t, "other", pack(t, ".", "1"))
	r := request([]string{"etc"}, p)
	r.Nix = Nix{DB: true, Profiles: []nixdb.Root{{Name: "system", Path: p}}, ClosureInfo: "etc/closure"}
	plan, err := Resolve(t.Context(), c.open(t).Info, r)
	if err != nil {
		t.Fatal(err)
	}
	var got recorder
	if _, err := Build(t.Context(), c.open(t), plan, &got); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"drwxr-xr-x 1 nix/store/.links ", "-rw-r--r-- 1 nix/var/nix/db/schema ", "Lrwxrwxrwx 1 nix/var/nix/profiles/system-1-link " + p.String(), "-rw-r--r-- 1 etc/closure/registration "} {
		if !slices.Contains(got.list(), want) {
			t.Errorf("%q is missing in\n%s", want, strings.Join(got.list(), "\n"))
		}
	}
	if got.content["etc/closure/store-paths"] != p.String()+"\n" {
		t.Errorf("store-paths: %q", got.content["etc/closure/store-paths"])
	}
	plan.Nix.ClosureInfo, got = ".", recorder{}
	if _, err := Build(t.Context(), c.open(t), plan, &got); err != nil || got.content["store-paths"] != p.String()+"\n" {
		t.Errorf("closure-info in the root: %q, %v", got.content["store-paths"], err)
	}
	r.Nix.Roots = []nixdb.Root{{Name: "x", Path: other}}
	if _, err := Resolve(t.Context(), c.open(t).Info, r); err == nil || !strings.Contains(err.Error(), other.String()) {
		t.Errorf("a root that is not in the closure: %v", err)
	}
}

// A directory that several packages have takes the place of a file that is there
// for want of a better one.
func TestDirectoryForDefault(t *testing.T) {
	c := newCache(t)
	a := c.add(t, "a", pack(t, ".", "d", "./etc", "d", "./etc/hosts", "d", "./etc/hosts/a", "1"))
	b := c.add(t, "b", pack(t, ".", "d", "./etc", "d", "./etc/hosts", "d", "./etc/hosts/b", "2"))
	r := request([]string{"etc"}, a, b)
	r.Under = new(rootfs.Tree)
	r.Under.Put(rootfs.Dir("etc", 0o755), nil)
	r.Under.Put(rootfs.Entry{Path: "etc/hosts", Mode: 0o644}, []byte("x"))
	plan, err := Resolve(t.Context(), c.open(t).Info, r)
	if err != nil {
		t.Fatal(err)
	}
	var got recorder
	if _, err := Build(t.Context(), c.open(t), plan, &got); err != nil || !slices.Contains(got.list(), "drwxr-xr-x 1 etc/hosts ") {
		t.Errorf("%v\n%s", err, strings.Join(got.list(), "\n"))
	}
}
