package assemble

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thaw/fhs"
	"thaw/internal/testbed"
	"thaw/narinfo"
	"thaw/nixhash"
	"thaw/rootfs"
	"thaw/storepath"
	"thaw/substituter"
)

// cache makes a binary cache in a directory, signed by a key of its own.
type cache struct {
	dir     string
	private ed25519.PrivateKey
	n       int
}

func newCache(t *testing.T) *cache {
	return &cache{dir: t.TempDir(), private: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
}

func (c *cache) key() narinfo.Key {
	return narinfo.Key{Name: "t", Public: c.private.Public().(ed25519.PublicKey)}
}

// open opens the cache with a disk cache of its own before it.
func (c *cache) open(t *testing.T) *substituter.Disk {
	t.Helper()
	return disk(t, &substituter.Remote{From: substituter.File{Dir: c.dir}, Keys: narinfo.Keys{c.key()}})
}

func disk(t *testing.T, r *substituter.Remote) *substituter.Disk {
	t.Helper()
	d, err := substituter.OpenDisk(t.TempDir(), &substituter.List{Caches: []*substituter.Remote{r}}, r.Keys, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// add puts an object with the given NAR into the cache.
func (c *cache) add(t *testing.T, name string, nar []byte, refs ...storepath.Path) storepath.Path {
	t.Helper()
	c.n++
	p, err := storepath.New(nixhash.Encode32(fmt.Appendf(nil, "%020d", c.n)), name)
	if err != nil {
		t.Fatal(err)
	}
	info := narinfo.Info{StorePath: p, URL: p.Hash() + ".nar", Compression: "none", NarHash: nixhash.Sum256(nar), NarSize: int64(len(nar)), References: refs}
	info.Sigs = []string{"t:" + base64.StdEncoding.EncodeToString(ed25519.Sign(c.private, info.Fingerprint()))}
	for file, data := range map[string][]byte{info.URL: nar, p.Hash() + ".narinfo": info.Text()} {
		if err := os.WriteFile(filepath.Join(c.dir, file), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// recorder is a sink that remembers what it got.
type recorder struct {
	entries []rootfs.Entry
	content map[string]string
}

func (r *recorder) Add(e rootfs.Entry, data io.Reader) error {
	r.entries = append(r.entries, e)
	if data != nil {
		b, err := io.ReadAll(data)
		if err != nil {
			return err
		}
		if r.content == nil {
			r.content = map[string]string{}
		}
		r.content[e.Path] = string(b)
	}
	return nil
}

func (r *recorder) list() (lines []string) {
	for _, e := range r.entries {
		lines = append(lines, fmt.Sprintf("%v %d %s %s", e.Mode, e.ModTime.Unix(), e.Path, e.Target))
	}
	return lines
}

func vector(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../testdata/vectors/nar/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Evil archives with a good signature are refused on the whole road, by one
// error of the right kind that names the object.
func TestEvilArchives(t *testing.T) {
	c := newCache(t)
	table, err := os.ReadFile("../testdata/vectors/nar/VERDICTS.tsv")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, line := range strings.Split(strings.TrimSpace(string(table)), "\n")[1:] {
		f := strings.Split(line, "\t")
		p := c.add(t, strings.TrimSuffix(f[0], ".nar"), vector(t, f[0]))
		err := resolveAndBuild(t.Context(), c.open(t), &recorder{}, p)
		if f[0] == "bad-depth-65.nar" {
			// The limit of depth is for what nobody vouches for.
			if err != nil {
				t.Errorf("%s, signed: %v", f[0], err)
			}
			err = resolveAndBuild(t.Context(), disk(t, &substituter.Remote{From: substituter.File{Dir: c.dir}, Exempt: true}), &recorder{}, p)
		}
		if accepted := err == nil; accepted != (f[1] == "accept") {
			t.Errorf("%s (%s): %v", f[0], f[2], err)
		}
		if err != nil && (substituter.KindOf(err) != substituter.Integrity || !strings.Contains(err.Error(), "NAR of "+p.Name()) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: kind %d, %q", f[0], substituter.KindOf(err), err)
		}
		n++
	}
	if n < 38 {
		t.Errorf("only %d archives", n)
	}
}

func packages(paths ...storepath.Path) (out []Package) {
	for _, p := range paths {
		out = append(out, Package{Path: p, Priority: fhs.DefaultPriority})
	}
	return out
}

func request(link []string, paths ...storepath.Path) Request {
	return Request{Packages: packages(paths...), View: View{Link: link}, Jobs: 4}
}

func resolveAndBuild(ctx context.Context, s substituter.Substituter, sink rootfs.Sink, roots ...storepath.Path) error {
	p, err := Resolve(ctx, s.Info, request([]string{"bin", "sbin", "share", "init"}, roots...))
	if err == nil {
		_, err = Build(ctx, s, p, sink)
	}
	return err
}

// The order and the attributes of what an image holds.
func TestBuild(t *testing.T) {
	c := newCache(t)
	lib := c.add(t, "lib", pack(t, ".", "d", "./share", "d", "./share/doc", "doc"))
	sys := c.add(t, "sys", pack(t, ".", "d", "./bin", "d", "./bin/x", "*run", "./init", "*init", "./kernel", "->"+lib.String()+"/share/doc"), lib)
	file := c.add(t, "file", pack(t, ".", "text"))
	p, err := Resolve(t.Context(), c.open(t).Info, request([]string{"bin", "sbin", "init"}, sys, file))
	if err != nil {
		t.Fatal(err)
	}
	var got recorder
	_, err = Build(t.Context(), c.open(t), p, &got)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"drwxr-xr-x 1 . ", "drwxr-xr-x 1 nix ", "drwxr-xr-x 1 nix/store ",
		"dr-xr-xr-x 1 nix/store/SYS ", "dr-xr-xr-x 1 nix/store/SYS/bin ", "-r-xr-xr-x 1 nix/store/SYS/bin/x ",
		"-r-xr-xr-x 1 nix/store/SYS/init ", "Lrwxrwxrwx 1 nix/store/SYS/kernel /nix/store/LIB/share/doc",
		"-r--r--r-- 1 nix/store/FILE ",
		"dr-xr-xr-x 1 nix/store/LIB ", "dr-xr-xr-x 1 nix/store/LIB/share ", "-r--r--r-- 1 nix/store/LIB/share/doc ",
		"Lrwxrwxrwx 1 bin /nix/store/SYS/bin", "drwxr-xr-x 1 dev ", "drwxr-xr-x 1 etc ", "Lrwxrwxrwx 1 init /nix/store/SYS/init",
		"drwxr-xr-x 1 proc ", "drwx------ 1 root ", "drwxr-xr-x 1 run ", "drwxr-xr-x 1 sbin ",
		"Lrwxrwxrwx 1 sbin/init /nix/store/SYS/init", "drwxr-xr-x 1 sys ", "dtrwxrwxrwx 1 tmp ", "drwxr-xr-x 1 var ",
	}
	names := strings.NewReplacer("SYS", sys.Base(), "LIB", lib.Base(), "FILE", file.Base())
	for i := range want {
		want[i] = names.Replace(want[i])
	}
	if list := got.list(); !slices.Equal(list, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(list, "\n"), strings.Join(want, "\n"))
	}
	files := NewFiles(c.open(t), p)
	kernel, err := files.Kernel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := files.Copy(t.Context(), kernel, &b); err != nil || b.String() != "doc" || kernel.String() != lib.String()+"/share/doc" {
		t.Errorf("the kernel is %s, %q, %v", kernel, b.String(), err)
	}
	var none *NoBootFileError
	if _, err := files.Initrd(t.Context()); !errors.As(err, &none) {
		t.Errorf("an initrd that is not there: %v", err)
	}
}

// Files are found through links, also in what is aside of the image, and nowhere else.
func TestFiles(t *testing.T) {
	c := newCache(t)
	lib := c.add(t, "lib", pack(t, ".", "d", "./a", "d", "./a/b", "d", "./a/b/c", "content", "./loop", "->loop", "./out", "->../../../etc/passwd", "./up", "->a/../a/b"))
	sys := c.add(t, "sys", pack(t, ".", "d", "./lib", "->"+lib.String()+"/a", "./lost", "->"+lib.String()+"/lost"), lib)
	alone := c.add(t, "alone", pack(t, ".", "*program"))
	s := c.open(t)
	r := request(nil, sys)
	r.Aside = append(r.Aside, alone, lib)
	p, err := Resolve(t.Context(), s.Info, r)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Infos) != 2 || len(p.Aside) != 1 || p.Aside[0].StorePath != alone {
		t.Errorf("the closure has %d objects, and aside are %d", len(p.Infos), len(p.Aside))
	}
	files := NewFiles(s, p)
	for path, want := range map[string]string{
		sys.String() + "/lib/b/c":                         lib.String() + "/a/b/c",
		sys.String() + "/lib":                             lib.String() + "/a",
		lib.String() + "/up/c":                            lib.String() + "/a/b/c",
		lib.String() + "/a/b/c":                           lib.String() + "/a/b/c",
		lib.String():                                      lib.String(),
		alone.String():                                    alone.String(),
		alone.String() + "/x":                             "",
		lib.String() + "/out":                             "",
		lib.String() + "/loop":                            "",
		sys.String() + "/lost":                            "",
		sys.String() + "/lib/b/c/d":                       "",
		"/etc/passwd":                                     "",
		"/nix/store/00000000000000000000000000000000-x/y": "",
	} {
		got, err := files.Find(t.Context(), path)
		var absent *NotThereError
		switch {
		case want == "" && !errors.As(err, &absent):
			t.Errorf("%s: %v, %v", path, got, err)
		case want != "" && (err != nil || got.String() != want):
			t.Errorf("%s is %v, %v", path, got, err)
		}
	}
	dir, err := files.Find(t.Context(), sys.String()+"/lib")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	if err := files.Walk(t.Context(), dir, func(e rootfs.Entry, _ io.Reader) error {
		list = append(list, e.Path)
		return nil
	}); err != nil || !slices.Equal(list, []string{".", "b", "b/c"}) {
		t.Errorf("it has %q, %v", list, err)
	}
}

// A package cannot take the place of what a running system mounts.
func TestMountsStay(t *testing.T) {
	c := newCache(t)
	p := c.add(t, "p", pack(t, ".", "d", "./dev", "d", "./dev/x", "1", "./etc", "d", "./etc/y", "2", "./tmp", "3"))
	plan, err := Resolve(t.Context(), c.open(t).Info, request([]string{"."}, p))
	if err != nil {
		t.Fatal(err)
	}
	var got recorder
	if _, err := Build(t.Context(), c.open(t), plan, &got); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"drwxr-xr-x 1 dev ", "dtrwxrwxrwx 1 tmp ", "drwxr-xr-x 1 etc ", "Lrwxrwxrwx 1 etc/y " + p.String() + "/etc/y"} {
		if !slices.Contains(got.list(), want) {
			t.Errorf("%q is missing in\n%s", want, strings.Join(got.list(), "\n"))
		}
	}
}

// Files that two packages have are merged where they are equal, and named where
// they are not.
func TestCollisions(t *testing.T) {
	c := newCache(t)
	a := c.add(t, "a", pack(t, ".", "d", "./bin", "d", "./bin/same", "*1", "./bin/tool", "*2"))
	b := c.add(t, "b", pack(t, ".", "d", "./bin", "d", "./bin/same", "*1", "./bin/tool", "*3"))
	d := c.add(t, "d", pack(t, ".", "d", "./bin", "d", "./bin/other", "*3", "./bin/same", "*1"))
	err := resolveAndBuild(t.Context(), c.open(t), &recorder{}, a, b)
	if err == nil || err.Error() != "bin/tool comes from both "+a.Base()+" (executable of 1 byte) and "+b.Base()+" (executable of 1 byte)" {
		t.Errorf("different files: %v", err)
	}
	var got recorder
	if err := resolveAndBuild(t.Context(), c.open(t), &got, a, d); err != nil || !slices.Contains(got.list(), "Lrwxrwxrwx 1 bin/same "+a.String()+"/bin/same") {
		t.Errorf("equal files: %v\n%s", err, strings.Join(got.list(), "\n"))
	}
}

// Files are compared also where a package links to an object that is one file.
func TestCollisionsOfSingleFiles(t *testing.T) {
	c := newCache(t)
	one, two, same := c.add(t, "one", pack(t, ".", "*A")), c.add(t, "two", pack(t, ".", "*B")), c.add(t, "same", pack(t, ".", "*A"))
	link := func(name string, to storepath.Path) storepath.Path {
		return c.add(t, name, pack(t, ".", "d", "./bin", "d", "./bin/tool", "->"+to.String()), to)
	}
	a, b, d := link("a", one), link("b", two), link("d", same)
	inline := c.add(t, "inline", pack(t, ".", "d", "./bin", "d", "./bin/tool", "*A"))
	if err := resolveAndBuild(t.Context(), c.open(t), &recorder{}, a, b); err == nil || !strings.Contains(err.Error(), "bin/tool comes from both") {
		t.Errorf("different files: %v", err)
	}
	for _, other := range []storepath.Path{d, inline} {
		if err := resolveAndBuild(t.Context(), c.open(t), &recorder{}, a, other); err != nil {
			t.Errorf("equal files: %v", err)
		}
	}
}

// An object may nest as deep as an object that is vouched for may, and no deeper.
func TestDepth(t *testing.T) {
	c := newCache(t)
	deep := func(levels int) storepath.Path {
		pairs, path := []string{".", "d"}, "."
		for range levels - 1 {
			path += "/d"
			pairs = append(pairs, path, "d")
		}
		return c.add(t, fmt.Sprintf("deep%d", levels), packDeep(t, pairs...))
	}
	if err := resolveAndBuild(t.Context(), c.open(t), &recorder{}, deep(signedDepth)); err != nil {
		t.Errorf("%d levels: %v", signedDepth, err)
	}
	if err := resolveAndBuild(t.Context(), c.open(t), &recorder{}, deep(signedDepth+1)); substituter.KindOf(err) != substituter.Integrity {
		t.Errorf("%d levels: %v", signedDepth+1, err)
	}
}

// What a package propagates has a bound.
func TestPropagatesBound(t *testing.T) {
	c := newCache(t)
	p := c.add(t, "p", pack(t, ".", "d", "./nix-support", "d", "./nix-support/propagated-user-env-packages", strings.Repeat(" ", maxPropagates)))
	q := c.add(t, "q", pack(t, ".", "d", "./nix-support", "d", "./nix-support/propagated-user-env-packages", strings.Repeat(" ", maxPropagates+1)))
	if err := resolveAndBuild(t.Context(), c.open(t), &recorder{}, p); err != nil {
		t.Error(err)
	}
	if err := resolveAndBuild(t.Context(), c.open(t), &recorder{}, q); err == nil {
		t.Error("a list beyond the bound is read")
	}
}

// The three packages that were made to collide do, and are told apart where
// they do not.
func TestMergeOfTheTestCaches(t *testing.T) {
	text, err := os.ReadFile(testbed.Dir(t, "caches/keys/testbed-1.pub"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := narinfo.ParseKey(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	s := disk(t, &substituter.Remote{From: substituter.File{Dir: testbed.Dir(t, "caches/small")}, Keys: narinfo.Keys{key}})
	var roots []storepath.Path
	for _, base := range []string{"01ppy91hvw33im7b132cqifjbyz05k3d-merge-a", "0xz7nd6y9ygdc42c5y075y612mdma8h9-merge-b", "m9afhrw6j8s2dyiqgjj53sas4ghsi415-merge-c"} {
		p, err := storepath.ParseBase(base)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, p)
	}
	link := []string{"bin", "sbin", "lib", "etc", "share", "init"}
	p, err := Resolve(t.Context(), s.Info, request(link, roots...))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Build(t.Context(), s, p, &recorder{})
	for _, place := range []string{"bin/tool", "lib/thing", "share/x/diff"} {
		if err == nil || !strings.Contains(err.Error(), place+" comes from both 01ppy91hvw33im7b132cqifjbyz05k3d-merge-a (") || !strings.Contains(err.Error(), " and 0xz7nd6y9ygdc42c5y075y612mdma8h9-merge-b (") {
			t.Errorf("%s is not named: %v", place, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "share/x/same") {
		t.Errorf("equal files collide: %v", err)
	}
}

// Identifiers depend on the content and on nothing else.
func TestSeed(t *testing.T) {
	c := newCache(t)
	a := c.add(t, "a", pack(t, ".", "1"))
	b := c.add(t, "b", pack(t, ".", "2"))
	id := func(r Request) [16]byte {
		r.Jobs = 1
		p, err := Resolve(t.Context(), c.open(t).Info, r)
		if err != nil {
			t.Fatal(err)
		}
		if p.ID("x") == p.ID("y") {
			t.Error("two names have one identifier")
		}
		return p.ID("x")
	}
	one := id(Request{Packages: packages(a, b)})
	if one != id(Request{Packages: packages(a, b, a)}) {
		t.Error("a root given twice changes identifiers")
	}
	if one == id(Request{Packages: packages(a)}) || one == id(Request{Packages: packages(a, b), Digest: [32]byte{1}}) {
		t.Error("other content has the same identifiers")
	}
	if id(Request{Packages: packages(a), Seed: "s"}) != id(Request{Packages: packages(b), Seed: "s"}) {
		t.Error("a given seed is not all that counts")
	}
}
