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
	"thaw/storepath"
)

func TestSameFails(t *testing.T) {
	w := parse("@a/f file 1\n@b/f file 2")
	wrong := errors.New("no such cache")
	_, err := w.view(packages("a b"), everything).Merge(func([][2]string) ([]bool, error) { return nil, wrong })
	if err != wrong {
		t.Errorf("got %v, want %v", err, wrong)
	}
}

// resolve follows all links of an absolute path in the store and returns the
// object and the path in it that it leads to, "." for the object itself. ok is
// false for what is not in the image's store.
func (v *View) resolve(path string) (object storepath.Path, rel string, mode fs.FileMode, ok bool) {
	f := v.objects.walk(v.objects.root, path, 0)
	if f.node == nil {
		return object, "", 0, false
	}
	base, rel := v.split(f.node)
	object, err := storepath.ParseBase(base)
	return object, rel, f.node.mode, err == nil
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
	v := w.view(nil, Options{})
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
		if p, rel, mode, ok := v.resolve(expand(c.path)); ok {
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
		chosen, opt := packages("a b"), Options{Link: []string{"00"}}
		got := w.merged(t, chosen, opt)
		if b := got.brief(); b.collide != want {
			t.Errorf("%d links: got %q, want %q", links, b.collide, want)
		}
		if reference, ok := w.reference(chosen, opt); !ok || got != reference {
			t.Errorf("%d links: the reference has\n%s\nnot\n%s", links, reference, got)
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
	_, err := w.view(packages("a b"), everything).Merge(w.same)
	if err == nil || !strings.Contains(err.Error(), "too large at 00/x/") {
		t.Errorf("got %v", err)
	}
}

// Looking for what is excluded is bounded, too.
func TestTooLargeToExclude(t *testing.T) {
	w := world{}
	for i := range 30 {
		for _, c := range "xyz" {
			w.put(fmt.Sprintf("%s/%02d/%c", object("a"), i, c), fmt.Sprintf("link ../%02d", i+1))
		}
	}
	w.put(object("a").String()+"/30/a", "file 1")
	opt := Options{Link: []string{"."}, Exclude: []string{"00" + strings.Repeat("/*", 30) + "/none"}}
	_, err := w.view(packages("a"), opt).Merge(nil)
	if err == nil || !strings.Contains(err.Error(), "too large at 00 ") {
		t.Errorf("got %v", err)
	}
	opt.Exclude = []string{"00/*/*/none"}
	if m, err := w.view(packages("a"), opt).Merge(nil); err != nil || len(m.Entries) != 31 {
		t.Errorf("got %v, %v", m, err)
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
	_, err := w.view(packages("a b"), everything).Merge(w.same)
	if err == nil || !strings.Contains(err.Error(), "too deep") || len(err.Error()) > 300 {
		t.Errorf("got %v", err)
	}
	view, err := w.view(packages("c"), everything).Merge(w.same)
	if err != nil || len(view.Entries) != 1 {
		t.Errorf("one package: got %v, %v", view, err)
	}
}

// Entries that rootfs.Check refuses, and such that are not in the store.
func TestNoteOdd(t *testing.T) {
	v := New(packages("a"), everything)
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
	view, err := v.Merge(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := view.Entries; len(got) != 3 || got[0].Path != "b" || got[1].Path != "f" || got[2].Path != "z" {
		t.Errorf("got %v", got)
	}
}

// crowd is a view of two packages with n entries each in one directory.
func crowd(n int) *View {
	v := New(packages("a b"), Options{Link: DefaultLink})
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
	if err != nil || len(got.Entries) != 40_001 {
		t.Errorf("got %v, %v", got, err)
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
	v := New(nil, Options{})
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
		v := w.view(nil, Options{})
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
			if _, _, mode, ok := v.resolve(p); ok != exists || mode.Type() == fs.ModeSymlink {
				t.Errorf("%q: resolves to %v, %v", p, mode, ok)
			}
			if got.links > maxLinks+1 {
				t.Errorf("%q: %d links", p, got.links)
			}
		}
	})
}
