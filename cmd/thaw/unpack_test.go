package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"thaw/internal/testbed"
	"thaw/narinfo"
	"thaw/nixhash"
)

// manifestOf lists all entries of a store in the form of the caches' oracle: kind,
// mode, mtime, size, digest or target, and path.
func manifestOf(t *testing.T, root string) []string {
	t.Helper()
	var out []string
	var walk func(path string)
	walk = func(path string) {
		st, err := os.Lstat(root + path)
		if err != nil {
			t.Fatal(err)
		}
		sys := st.Sys().(*syscall.Stat_t)
		size, what, kind := int64(0), "-", "f"
		switch st.Mode().Type() {
		case fs.ModeSymlink:
			kind = "l"
			if what, err = os.Readlink(root + path); err != nil {
				t.Fatal(err)
			}
		case fs.ModeDir:
			kind = "d"
		case 0:
			data, err := os.ReadFile(root + path)
			if err != nil {
				t.Fatal(err)
			}
			if size, what = sys.Size, fmt.Sprintf("%x", sha256.Sum256(data)); sys.Mode&0o100 != 0 {
				kind = "x"
			}
		}
		out = append(out, fmt.Sprintf("%s %04o %d %d %s %s", kind, sys.Mode&0o7777, sys.Mtim.Sec, size, what, path))
		if kind == "d" {
			list, err := os.ReadDir(root + path)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				walk(path + "/" + e.Name())
			}
		}
	}
	list, err := os.ReadDir(root + "/nix/store")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		walk("/nix/store/" + e.Name())
	}
	slices.Sort(out)
	return out
}

// compareManifests takes want percent-encoded, as the oracle is.
func compareManifests(t *testing.T, got, want []string) {
	t.Helper()
	for i := range want {
		if w, err := url.PathUnescape(want[i]); err == nil {
			want[i] = w
		}
	}
	slices.Sort(want)
	only := func(a, b []string, what string) {
		n := 0
		for _, l := range a {
			if _, ok := slices.BinarySearch(b, l); !ok {
				if n++; n <= 5 {
					t.Errorf("%s: %s", what, l)
				}
			}
		}
		if n > 5 {
			t.Errorf("%s: and %d more", what, n-5)
		}
	}
	only(got, want, "thaw alone")
	only(want, got, "Nix alone")
}

// What thaw unpacks is what Nix unpacks, entry by entry.
func TestUnpackAgainstNix(t *testing.T) {
	caches := testbed.Dir(t, "caches")
	for _, tt := range []struct{ list, cache, manifest string }{
		{"small", "xz", "manifest-small.txt"},
		{"system", "xz", "manifest-system.txt"},
		{"all", "xz", "manifest-all.txt.zst"},
		{"bad-utf8", "bad-utf8", "manifest-bad-utf8.txt"},
	} {
		t.Run(tt.list, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && tt.list == "all" {
				t.Skip("SKIPPED: 550 MB")
			}
			p := newProgram(t, "--cache", caches+"/"+tt.cache, "--trusted-key", testbedKey, "--no-cache")
			p.run(t, append([]string{"unpack", "--root", "root"}, lines(t, caches+"/lists/"+tt.list+".roots")...)...)
			text, err := os.ReadFile(caches + "/oracle/" + tt.manifest)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(tt.manifest, ".zst") {
				text = testbed.Run(t, "zstd", "-dcq", caches+"/oracle/"+tt.manifest)
			}
			want := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
			compareManifests(t, manifestOf(t, filepath.Join(p.dir, "root")), want)
			empty(t, p.dir, "root")
		})
	}
}

// Every object of every cache unpacks, and a second run hashes it and finds it
// right.
func TestUnpackEveryCompression(t *testing.T) {
	caches := testbed.Dir(t, "caches")
	want := ""
	for _, c := range []string{"", "-zstd", "-none", "-gzip", "-bzip2", "-br", "-lzip", "-lz4", "-lzma", "-compress", "-parallel"} {
		dir := caches + "/small" + c
		p := newProgram(t, "--cache", dir, "--trusted-key", testbedKey, "--no-cache", "-q")
		paths := narinfoPaths(t, dir)
		first := p.run(t, append([]string{"unpack", "--json", "--root", "root"}, paths...)...)
		second := p.run(t, append([]string{"unpack", "--json", "--root", "root"}, paths...)...)
		if !strings.Contains(first.stdout, `"unpacked":89`) || !strings.Contains(second.stdout, `"kept":89`) {
			t.Errorf("small%s: %s%s", c, first.stdout, second.stdout)
		}
		got := strings.Join(manifestOf(t, p.dir+"/root"), "\n")
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("small%s unpacks differently", c)
		}
	}
}

// The tiny caches are in the repository: the same, for a clone alone.
func TestUnpackTiny(t *testing.T) {
	for _, c := range []string{"br", "bzip2", "compress", "gzip", "lz4", "lzip", "lzma", "xz", "zstd"} {
		dir := repository(t, "testdata/caches/tiny/cache-"+c)
		p := newProgram(t, "--cache", dir, "--trusted-key", tinyKey, "--no-cache")
		paths := narinfoPaths(t, dir)
		o := p.run(t, append([]string{"unpack", "--root", "root"}, paths...)...)
		if !strings.Contains(o.stderr, "11 unpacked, 0 there already") {
			t.Errorf("%s: %s", c, o.stderr)
		}
		for _, path := range paths {
			checkNAR(t, p.dir+"/root"+path, path, dir)
		}
	}
}

// checkNAR holds an unpacked object against its narinfo, by real Nix.
func checkNAR(t *testing.T, file, path, cache string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(cache, filepath.Base(path)[:32]+".narinfo"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := narinfo.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := nixhash.Sum256(testbed.Run(t, "nix-store", "--dump", file)); got != info.NarHash {
		t.Errorf("%s: real Nix packs it into %s instead of %s", path, got, info.NarHash)
	}
}

// A damaged object is refused, and replaced on request; a right one is kept.
func TestUnpackDamaged(t *testing.T) {
	p := newProgram(t)
	unpackDamaged(t, p)
	if os.Geteuid() == 0 {
		p := newProgram(t)
		p.become(t, 65534)
		unpackDamaged(t, p)
	}
}

func unpackDamaged(t *testing.T, p *program) {
	t.Helper()
	dir := repository(t, "testdata/caches/tiny/cache-xz")
	p.args = []string{"--cache", dir, "--trusted-key", tinyKey}
	paths := narinfoPaths(t, dir)
	args := append([]string{"unpack", "--root", "root"}, paths...)
	p.run(t, args...)
	before := manifestOf(t, p.dir+"/root")
	var victim string
	for _, l := range before {
		if f := strings.SplitN(l, " ", 6); f[0] == "f" && f[3] != "0" {
			victim = cmp.Or(victim, p.dir+"/root"+f[5])
		}
	}
	os.Chmod(victim, 0o644)
	data, err := os.ReadFile(victim)
	if err != nil {
		t.Fatal(err)
	}
	data[0] ^= 1
	if err := os.WriteFile(victim, data, 0); err != nil {
		t.Fatal(err)
	}
	o := p.try(t, args...)
	if o.code != exitIntegrity || !strings.Contains(o.stderr, "is damaged") || !strings.Contains(o.stderr, "--repair") {
		t.Errorf("exit %d\n%s", o.code, o.stderr)
	}
	if now, _ := os.ReadFile(victim); !bytes.Equal(now, data) {
		t.Error("a refused object was touched")
	}
	if o := p.run(t, append(args, "--repair")...); !strings.Contains(o.stderr, "0 unpacked, 10 there already, 1 repaired") {
		t.Error(o.stderr)
	}
	if after := manifestOf(t, p.dir+"/root"); !slices.Equal(after, before) {
		t.Error("the repaired store differs from the one that was unpacked")
	}
}

// What is forged, and what nobody signed, is refused, but for the objects whose
// content is their proof.
func TestForgedAndUnsigned(t *testing.T) {
	for _, cache := range []string{"small-forged", "small-unsigned"} {
		dir := testbed.Dir(t, "caches/"+cache)
		p := newProgram(t, "--cache", dir, "--trusted-key", testbedKey, "-q")
		proven := 0
		for _, path := range narinfoPaths(t, dir) {
			o := p.try(t, "unpack", "--root", "root", path)
			text, err := os.ReadFile(filepath.Join(dir, filepath.Base(path)[:32]+".narinfo"))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(text, []byte("\nCA: ")) {
				if proven++; o.code != exitOK {
					t.Errorf("%s: exit %d\n%s", path, o.code, o.stderr)
				}
			} else if o.code != exitIntegrity || strings.Count(o.stderr, "\n") != 2 || !strings.Contains(o.stderr, filepath.Base(path)[33:]) {
				t.Errorf("%s: exit %d\n%s", path, o.code, o.stderr)
			}
		}
		list, err := os.ReadDir(filepath.Join(p.dir, "root/nix/store"))
		if err != nil || proven != 14 || len(list) != proven {
			t.Errorf("%s: %d paths proven, %d unpacked, %v", cache, proven, len(list), err)
		}
	}
}
