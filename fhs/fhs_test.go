package fhs

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"

	"thaw/rootfs"
)

// Each case is a world, and what comes of it: the view, or the collisions.
var mergeTests = []struct {
	name     string
	world    string
	packages string
	link     string // default "."
	view     string
	collide  string
}{
	{
		name: "one package",
		world: `
			@a/bin/a exec 1
			@a/share/doc/a file 1
			@a/readme file 1`,
		packages: "a",
		view: `
			bin @a/bin
			readme @a/readme
			share @a/share`,
	}, {
		name: "directories of several become directories, others links",
		world: `
			@a/bin/a exec 1
			@a/share/doc/a/readme file 1
			@b/bin/b exec 1
			@b/share/doc/b/readme file 1
			@b/share/man/b file 1
			@c/share/man/c file 1`,
		packages: "a b c",
		view: `
			bin
			bin/a @a/bin/a
			bin/b @b/bin/b
			share
			share/doc
			share/doc/a @a/share/doc/a
			share/doc/b @b/share/doc/b
			share/man
			share/man/b @b/share/man/b
			share/man/c @c/share/man/c`,
	}, {
		name: "empty directories",
		world: `
			@a/bin dir
			@a/lib dir
			@b/bin dir`,
		packages: "a b",
		view: `
			bin
			lib @a/lib`,
	}, {
		name: "equal files, and links to files that are equal",
		world: `
			@a/f file 1
			@a/g link f
			@a/h exec 1
			@b/f file 1
			@b/g file 1
			@b/h exec 1`,
		packages: "a b",
		view: `
			f @a/f
			g @a/g
			h @a/h`,
	}, {
		name: "different contents, sizes, modes and kinds, sorted",
		world: `
			@a/kind file 1
			@a/content file 1
			@a/mode file 1
			@a/size file 1
			@a/bin/tool file 1
			@a/link link kind
			@b/kind/x file 1
			@b/content file 2
			@b/mode exec 1
			@b/size file 11
			@b/bin/tool file 2
			@b/link link nowhere`,
		packages: "a b",
		collide: `
			bin/tool @a @b
			content @a @b
			kind @a @b
			link @a @b
			mode @a @b
			size @a @b`,
	}, {
		name: "a collision with a directory of several names the first of them",
		world: `
			@a/x dir
			@b/x dir
			@c/x file 1
			@d/x file 1`,
		packages: "a b c d",
		collide: `
			x @a @c
			x @a @d`,
	}, {
		name: "priority decides between files, in any order",
		world: `
			@a/f file 1
			@a/g file 1
			@b/f file 2
			@b/h file 2
			@c/f file 3
			@c/g file 3`,
		packages: "a b:4 c:6",
		view: `
			f @b/f
			g @a/g
			h @b/h`,
	}, {
		name: "a directory takes the place of a worse file",
		world: `
			@a/x file 1
			@b/x/f file 2
			@c/x/f file 3`,
		packages: "a:6 b:4 c",
		view: `
			x
			x/f @b/x/f`,
	}, {
		name: "a file does not take the place of a worse directory",
		world: `
			@a/x/f file 1
			@b/x file 2`,
		packages: "a:6 b:4",
		collide:  "x @a @b",
	}, {
		name: "a worse directory does not matter to a file",
		world: `
			@a/x file 1
			@b/x/f file 2`,
		packages: "a:4 b:6",
		view:     "x @a/x",
	}, {
		name: "priority of a dangling link",
		world: `
			@a/x link nowhere
			@b/x file 2`,
		packages: "a b:4",
		view:     "x @b/x",
	}, {
		name: "what is left out",
		world: `
			@a/nix-support/x file 1
			@a/propagated-build-inputs file 1
			@a/nix/store/x file 1
			@a/log file 1
			@a/info/dir file 1
			@a/perllocal.pod file 1
			@a/share/info/dir file 1
			@a/share/texinfo/dir file 1
			@a/share/dir file 1
			@a/share/nix-support file 1
			@a/share/perl/perllocal.pod file 1
			@a/share/log/x file 1
			@a/share/mime/cache file 1
			@a/share/mime/packages file 1
			@a/share/mime/packages2 file 1
			@b/info/b file 2
			@b/share/mime/cache file 2
			@b/share/mime/packages file 1
			@b/share/info/dir file 2
			@b/share/texinfo/dir file 2
			@b/share/perl/perllocal.pod file 2`,
		packages: "a b",
		view: `
			info
			info/b @b/info/b
			share
			share/dir @a/share/dir
			share/info
			share/mime
			share/mime/packages @a/share/mime/packages
			share/mime/packages2 @a/share/mime/packages2
			share/nix-support @a/share/nix-support
			share/perl
			share/texinfo`,
	}, {
		name: "places to link",
		world: `
			@a/bin/a exec 1
			@a/binary file 1
			@a/sbin/a exec 1
			@a/share/man/a file 1
			@a/share/doc/a file 1
			@a/lib/a file 1
			@b/sbin/a exec 2
			@b/lib/a file 2`,
		packages: "a b",
		link:     "bin share/man etc opt/x",
		view: `
			bin @a/bin
			share
			share/man @a/share/man`,
	}, {
		name: "above a place to link are directories, even of links",
		world: `
			@a/share link data
			@a/data/man/x/y file 1
			@b/share file 1`,
		packages: "b a",
		link:     "share/man/x share/none",
		view: `
			share
			share/man
			share/man/x @a/share/man/x`,
	}, {
		name: "a place within a place",
		world: `
			@a/share/man/a file 1
			@a/share/doc file 1`,
		packages: "a",
		link:     "share share/man",
		view: `
			share
			share/doc @a/share/doc
			share/man @a/share/man`,
	}, {
		name: "no place there",
		world: `
			@a/share/doc file 1`,
		packages: "a",
		link:     "share/man bin",
	}, {
		name: "links to directories are descended, by their own names",
		world: `
			@a/bin/tool exec 1
			@a/etc/share link ../share
			@a/share/x/f file 1
			@b/bin link sbin
			@b/sbin/other exec 1
			@b/etc/share/e file 1`,
		packages: "a b",
		view: `
			bin
			bin/other @b/bin/other
			bin/tool @a/bin/tool
			etc
			etc/share
			etc/share/e @b/etc/share/e
			etc/share/x @a/etc/share/x
			sbin @b/sbin
			share @a/share`,
	}, {
		name: "one directory of two packages, and who has it itself",
		world: `
			@a/lib link @c/lib
			@b/lib link @a/lib
			@c/lib/f file 1`,
		packages: "a b c",
		view:     "lib @c/lib",
	}, {
		name: "one file of two packages",
		world: `
			@a/bin/x link @c/bin/x
			@b/bin/x link ../../` + object("c").Base() + `/bin/x
			@c/bin/x exec 1`,
		packages: "a b",
		view: `
			bin
			bin/x @a/bin/x`,
	}, {
		name: "links out of the store dangle, and are equal if they lead to one place",
		world: `
			@a/null link /dev/null
			@a/mask link /dev/null
			@a/bin link /bin
			@a/store link /nix/store
			@b/null link ../../../dev/null
			@b/mask link /dev/zero
			@b/bin/x exec 1
			@b/store/x file 1`,
		packages: "a b",
		collide: `
			bin @a @b
			mask @a @b
			store @a @b`,
	}, {
		name: "equal links that dangle",
		world: `
			@a/null link /dev/null
			@a/missing link @c/missing/f
			@a/loop link loop
			@b/null link ../../../../../dev/null
			@b/missing link @c/./x/../missing//f
			@c/x/y file 1`,
		packages: "a b",
		view: `
			loop @a/loop
			missing @a/missing
			null @a/null`,
	}, {
		name: "links that lead nowhere",
		world: `
			@a/loop link loop
			@b/loop link loop`,
		packages: "a b",
		collide:  "loop @a @b",
	}, {
		name: "links to themselves have no union",
		world: `
			@a/x/self link .
			@a/x/f file 1
			@b/x/self link .
			@b/x/g file 1`,
		packages: "a b",
		collide:  "x/self @a @b",
	}, {
		name: "a link to itself has one with a directory",
		world: `
			@a/x/self link .
			@a/x/f file 1
			@b/x/self/g file 1`,
		packages: "a b",
		view: `
			x
			x/f @a/x/f
			x/self
			x/self/f @a/x/self/f
			x/self/g @b/x/self/g
			x/self/self @a/x/self/self`,
	}, {
		name: "packages that are links, files or not there",
		world: `
			@a link @b
			@b link ` + object("c").Base() + `
			@c/bin/c exec 1
			@d file 1
			@f link /bin`,
		packages: "a d f g",
		view:     "bin @a/bin",
	}, {
		name: "a package twice",
		world: `
			@a/bin/a exec 1`,
		packages: "a a:3",
		view:     "bin @a/bin",
	}, {
		name: "propagated packages come last and lose, each against those before",
		world: `
			@a/bin/a exec 1
			@a/bin/x exec 1
			@a/nix-support/propagated-user-env-packages file @c @b
			@b/bin/b exec 2
			@b/bin/x exec 2
			@b/bin/y exec 2
			@b/nix-support/propagated-user-env-packages file @d @a @missing ./d /etc
			@c/bin/x/z exec 3
			@c/bin/y exec 3
			@d/bin/x exec 4
			@d/bin/z exec 4
			@d/bin/y/z exec 4`,
		packages: "a",
		view: `
			bin
			bin/a @a/bin/a
			bin/b @b/bin/b
			bin/x @a/bin/x
			bin/y @b/bin/y
			bin/z @d/bin/z`,
	}, {
		name: "a propagated file in place of a directory of several",
		world: `
			@a/x/a exec 1
			@a/nix-support/propagated-user-env-packages file @c
			@b/x/b exec 2
			@c/x exec 3`,
		packages: "a b",
		view: `
			x
			x/a @a/x/a
			x/b @b/x/b`,
	}, {
		name: "what is propagated through a link",
		world: `
			@a link @b
			@b/nix-support link @c/nix-support
			@c/nix-support/propagated-user-env-packages file @d
			@d/d file 1`,
		packages: "a",
		view:     "d @d/d",
	}, {
		name: "what is chosen and propagated is chosen",
		world: `
			@a/x exec 1
			@a/nix-support/propagated-user-env-packages file @b
			@b/x exec 2`,
		packages: "a b",
		collide:  "x @a @b",
	}, {
		name: "init, without a directory for it",
		world: `
			@a/init file 1
			@b/init link etc/init
			@b/etc/init exec 1`,
		packages: "a b",
		link:     "sbin bin",
		view: `
			sbin
			sbin/init @b/init`,
	}, {
		name: "init, in a directory that was a link",
		world: `
			@a/init exec 1
			@b/sbin link bin
			@b/bin/x exec 1
			@b/bin/log exec 1`,
		packages: "a b",
		link:     "sbin",
		view: `
			sbin
			sbin/init @a/init
			sbin/x @b/sbin/x`,
	}, {
		name: "init, in a directory",
		world: `
			@a/init exec 1
			@a/sbin/y exec 1
			@b/sbin/x exec 1`,
		packages: "a b",
		link:     "sbin/init sbin/x",
		view: `
			sbin
			sbin/init @a/init
			sbin/x @b/sbin/x`,
	}, {
		name: "init is there, behind a link",
		world: `
			@a/init exec 1
			@b/sbin/init link /run/init`,
		packages: "a b",
		link:     "sbin",
		view:     "sbin @b/sbin",
	}, {
		name: "init is there",
		world: `
			@a/init exec 1
			@b/sbin/init exec 2
			@c/sbin dir`,
		packages: "a b c",
		link:     "sbin",
		view: `
			sbin
			sbin/init @b/sbin/init`,
	}, {
		name: "init has no place",
		world: `
			@a/init exec 1
			@b/sbin file 2`,
		packages: "a b",
		link:     "sbin",
		view:     "sbin @b/sbin",
	}, {
		name: "init is not asked for, or only in the root",
		world: `
			@a/init exec 1`,
		packages: "a",
		link:     "bin init",
		view:     "init @a/init",
	},
}

func TestMerge(t *testing.T) {
	for _, c := range mergeTests {
		t.Run(c.name, func(t *testing.T) {
			w, chosen, link := parse(c.world), packages(c.packages), strings.Fields(c.link)
			if len(link) == 0 {
				link = []string{"."}
			}
			view, failure := w.merged(t, chosen, link)
			if view != trim(c.view) || failure != trim(c.collide) {
				t.Errorf("view:\n%s\ncollisions:\n%s\nwant:\n%s\ncollisions:\n%s", view, failure, trim(c.view), trim(c.collide))
			}
			view, failure, ok := w.reference(chosen, link)
			if !ok || view != trim(c.view) || failure != trim(c.collide) {
				t.Errorf("the reference disagrees: view:\n%s\ncollisions:\n%s", view, failure)
			}
		})
	}
}

func TestCollisionError(t *testing.T) {
	var err CollisionError
	for i := range 23 {
		err = append(err, Collision{fmt.Sprintf("bin/%c", 'a'+i), object("a"), object("b")})
	}
	err[1].Path = "bin/\x1b[2J"
	lines := strings.Split(err.Error(), "\n")
	a, b := object("a").Base(), object("b").Base()
	if want := "bin/a comes from both " + a + " and " + b; lines[0] != want {
		t.Errorf("got %q, want %q", lines[0], want)
	}
	if want := `"bin/\x1b[2J" comes`; !strings.HasPrefix(lines[1], want) {
		t.Errorf("got %q, want %q…", lines[1], want)
	}
	if want := "and 3 more collisions"; len(lines) != 21 || lines[20] != want {
		t.Errorf("%d lines, the last %q, want 21 and %q", len(lines), lines[len(lines)-1], want)
	}
}

func TestSameFails(t *testing.T) {
	w := parse("@a/f file 1\n@b/f file 2")
	wrong := errors.New("no such cache")
	_, err := w.view(packages("a b"), []string{"."}).Merge(func([][2]string) ([]bool, error) { return nil, wrong })
	if err != wrong {
		t.Errorf("got %v, want %v", err, wrong)
	}
}

func TestResolve(t *testing.T) {
	w := parse(`
		@a/bin/sh link bash
		@a/bin/bash exec 1
		@a/abs link @b/lib
		@a/up link ../` + object("b").Base() + `/lib
		@a/root link ../../../../../nix/./store//` + object("b").Base() + `/lib/
		@a/out link /etc
		@a/store link ..
		@a/slash link bin/bash/
		@a/dot link bin/bash/.
		@a/back link bin/bash/../bash
		@a/gone link none/../bin
		@a/loop link pool
		@a/pool link loop
		@a/self link .
		@b/lib/f file 22
		@c link ` + object("b").Base() + `
		@d file 1`)
	v := w.view(nil, nil)
	for _, c := range []struct{ path, want string }{
		{"@a", "a . d"},
		{"@a/bin/sh", "a bin/bash 5"},
		{"@a/bin/sh/", ""},
		{"@a/bin/sh/x", ""},
		{"@a/abs", "b lib d"},
		{"@a/up/f", "b lib/f 4"},
		{"@a/root/./f", "b lib/f 4"},
		{"@a/out", ""},
		{"@a/store", ""},
		{"@a/store/" + object("d").Base(), "d . 4"},
		{"@a/slash", ""},
		{"@a/dot", ""},
		{"@a/back", ""},
		{"@a/gone", ""},
		{"@a/loop", ""},
		{"@a" + strings.Repeat("/self", 40) + "/bin", "a bin d"},
		{"@a" + strings.Repeat("/self", 41) + "/bin", ""},
		{"@c/lib", "b lib d"},
		{"@d/..", ""},
		{"@e", ""},
		{"/nix/store", ""},
		{"/nix", ""},
		{"/", ""},
		{"", ""},
		{"bin", ""},
		{"/bin/sh", ""},
	} {
		got := ""
		if p, rel, mode, ok := v.Resolve(expand(c.path)); ok {
			kind := mode.String()[:1]
			if mode.IsRegular() {
				kind = fmt.Sprintf("%o", mode&0o700>>6|mode&0o444>>6)
			}
			got = p.Name() + " " + rel + " " + kind
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.path, got, c.want)
		}
	}
}

// The links on the way to a place of the view add up: behind too many, Linux
// finds nothing.
func TestLinksAddUp(t *testing.T) {
	for links, want := range map[int]string{maxLinks: "", maxLinks + 1: "00" + strings.Repeat("/l", maxLinks+1) + " @a @b"} {
		w := world{}
		for _, name := range []string{"a", "b"} {
			for i := range links {
				w.put(fmt.Sprintf("%s/%02d/l", object(name), i), fmt.Sprintf("link ../%02d", i+1))
			}
			w.put(fmt.Sprintf("%s/%02d/%s", object(name), links, name), "file 1")
		}
		chosen, link := packages("a b"), []string{"00"}
		view, failure := w.merged(t, chosen, link)
		if failure != want {
			t.Errorf("%d links: got %q, want %q", links, failure, want)
		}
		wantView, wantFailure, ok := w.reference(chosen, link)
		if !ok || view != wantView || failure != wantFailure {
			t.Errorf("%d links: the reference has\n%s\n%s\nnot\n%s\n%s", links, wantView, wantFailure, view, failure)
		}
	}
}

// Links to directories multiply paths. The work is bounded, not the image.
func TestTooLarge(t *testing.T) {
	w := world{}
	for _, name := range []string{"a", "b"} {
		for i := range 30 {
			for _, c := range "xyz" {
				w.put(fmt.Sprintf("%s/%02d/%c", object(name), i, c), fmt.Sprintf("link ../%02d", i+1))
			}
		}
		w.put(fmt.Sprintf("%s/30/%s", object(name), name), "file 1")
	}
	_, err := w.view(packages("a b"), []string{"."}).Merge(w.same)
	if err == nil || !strings.Contains(err.Error(), "too large at 00/x/") {
		t.Errorf("got %v", err)
	}
}

// A path that no link can have as its target.
func TestTooDeep(t *testing.T) {
	w := world{}
	deep := strings.Repeat("/"+strings.Repeat("x", 250), 17)
	for _, name := range []string{"a", "b"} {
		w.put(object(name).String()+deep+"/"+name, "file 1")
	}
	w.put(object("c").String()+deep+"/c", "file 1")
	_, err := w.view(packages("a b"), []string{"."}).Merge(w.same)
	if err == nil || !strings.Contains(err.Error(), "too deep") || len(err.Error()) > 300 {
		t.Errorf("got %v", err)
	}
	view, err := w.view(packages("c"), []string{"."}).Merge(w.same)
	if err != nil || len(view) != 1 {
		t.Errorf("one package: got %v, %v", view, err)
	}
}

// Entries that rootfs.Check refuses, and such that are not in the store.
func TestNoteOdd(t *testing.T) {
	v := New(packages("a"), []string{"."})
	base := object("a").String()[1:]
	for _, p := range []string{"bin/x", "nix", "nix/store", "nix/storex/y", base + "/early/x", base, base + "/f/x", base + "/z", base + "/b", base + "/z"} {
		e := rootfs.Dir(p, 0o555)
		if path.Base(p) == "x" {
			e.Mode = 0o444
		}
		v.Note(e)
	}
	v.Note(rootfs.Entry{Path: base + "/f", Mode: 0o444})
	v.Note(rootfs.Entry{Path: base + "/f/x", Mode: 0o444})
	got, err := v.Merge(nil)
	if err != nil || len(got) != 3 || got[0].Path != "b" || got[1].Path != "f" || got[2].Path != "z" {
		t.Errorf("got %v, %v", got, err)
	}
}

// crowd is a view of two packages with n entries each in one directory.
func crowd(n int) *View {
	v := New(packages("a b"), DefaultLink)
	for _, name := range []string{"a", "b"} {
		base := object(name).String()[1:]
		v.Note(rootfs.Dir(base, 0o555))
		v.Note(rootfs.Dir(base+"/bin", 0o555))
		for i := range n {
			v.Note(rootfs.Entry{Path: fmt.Sprintf("%s/bin/program-%s-%07d", base, name, i), Mode: 0o555, Size: 1})
		}
	}
	return v
}

func TestCrowd(t *testing.T) {
	got, err := crowd(20_000).Merge(nil)
	if err != nil || len(got) != 40_001 {
		t.Errorf("%d entries, %v", len(got), err)
	}
}

// An entry costs a bounded number of bytes however long its path is.
func TestMemory(t *testing.T) {
	const n, limit = 100_000, 120
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	v := New(nil, nil)
	dir := object("a").String()[1:]
	v.Note(rootfs.Dir(dir, 0o555))
	for range 10 {
		dir += "/" + strings.Repeat("long", 50)
		v.Note(rootfs.Dir(dir, 0o555))
	}
	for i := range n {
		if i%100 == 0 {
			if i > 0 {
				dir, _ = rootfs.Split(dir)
			}
			dir = fmt.Sprintf("%s/%d", dir, i)
			v.Note(rootfs.Dir(dir, 0o555))
		}
		e := rootfs.Entry{Path: fmt.Sprintf("%s/some-name-%06d", dir, i), Mode: 0o444, Size: 1}
		if i%20 == 0 {
			e = rootfs.Link(e.Path, "../share/some/target")
		}
		v.Note(e)
	}
	if each := float64(heap()-before) / n; each > limit {
		t.Errorf("%.1f bytes an entry, the limit is %d", each, limit)
	} else {
		t.Logf("%.1f bytes an entry with names of 16 bytes", each)
	}
	runtime.KeepAlive(v)
}

func BenchmarkNote(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		crowd(20_000)
	}
}

func BenchmarkMerge(b *testing.B) {
	v := crowd(20_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Merge(nil); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzResolve walks links with arbitrary targets, and compares with the slow
// way.
func FuzzResolve(f *testing.F) {
	f.Add("x/y", "../x", "/nix/store", "f/..")
	f.Add("../../..//nix/./store/00000000000000000000000000000000-a", "y", ".", "z/")
	f.Add("x/x/x/x", "z", "z/y", "")
	f.Fuzz(func(t *testing.T, x, y, z, from string) {
		w := world{}
		a := object("a").String()
		w.put(a+"/f", "file 1")
		w.put(a+"/d/f", "file 1")
		w.put(object("b").String(), "link "+z)
		for name, target := range map[string]string{"x": x, "d/y": y, "d/z": z} {
			w.put(a+"/"+name, "link "+target)
		}
		if slices.ContainsFunc([]string{x, y, z, from}, func(s string) bool { return len(s) > rootfs.MaxTarget }) {
			return
		}
		v := w.view(nil, nil)
		for _, p := range []string{a + "/x", a + "/d/y", a + "/d/z", object("b").String(), a + "/" + from} {
			got := v.objects.walk(v.objects.root, p, 0)
			where := got.lost
			if got.node != nil {
				where = v.objects.pathOf(got.node)
			}
			want, exists := w.real(p)
			if exists != (got.node != nil) || where != want {
				t.Errorf("%q: got %q, %v, want %q, %v", p, where, got.node != nil, want, exists)
			}
			if _, _, mode, ok := v.Resolve(p); ok != exists || mode.Type() == fs.ModeSymlink {
				t.Errorf("%q: resolves to %v, %v", p, mode, ok)
			}
			if got.links > maxLinks+1 {
				t.Errorf("%q: %d links", p, got.links)
			}
		}
	})
}
