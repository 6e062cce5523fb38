package lock

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"thaw/closure"
	"thaw/internal/faultserver"
	"thaw/internal/testbed"
	"thaw/narinfo"
	"thaw/nixhash"
	"thaw/storepath"
	"thaw/substituter"
)

var (
	keys      = narinfo.Keys{signer.Key()}
	otherKeys = narinfo.Keys{faultserver.Signer("test-2").Key()}
	forged    = narinfo.Keys{{Name: string(signer), Public: otherKeys[0].Public}}
)

// What a lock says is believed by the keys of the day, or not at all.
func TestPins(t *testing.T) {
	f := parse(t, newFile(t).Encode())
	local := []string{"file:///srv/cache"}
	tests := []struct {
		name   string // of the store path
		keys   narinfo.Keys
		exempt []string
		want   string // "" for success
	}{
		{"lib-1.0", keys, nil, ""},
		{"lib-1.0", otherKeys, nil, `-lib-1.0 is signed by "test-1", which is not trusted (trusted: test-2)`},
		{"lib-1.0", forged, nil, `-lib-1.0 has a signature that says "test-1" but is not by the trusted key of that name`},
		{"lib-1.0", nil, []string{cacheURL}, `-lib-1.0 is signed by "test-1", which is not trusted (no key is trusted)`},
		{"app-2.0", otherKeys, nil, ""},
		{"plain", nil, nil, ""},
		{"local", keys, local, ""},
		{"local", keys, nil, `-local has no signature (trusted: test-1); it was locked on the word of file:///srv/cache alone, whose signatures are checked now`},
		{"local", keys, []string{cacheURL}, `-local has no signature`},
	}
	for _, test := range tests {
		pins := &Pins{Lock: f, Keys: test.keys, Exempt: test.exempt}
		i := slices.IndexFunc(f.Paths, func(o Object) bool { return o.Path.Name() == test.name })
		o := &f.Paths[i]
		called, err := storepath.New(o.Path.Hash(), "called-otherwise")
		if err != nil {
			t.Fatal(err)
		}
		info, err := pins.Info(t.Context(), called)
		if test.want != "" {
			var e *Error
			var unsigned *narinfo.UnsignedError
			if !errors.As(err, &e) || !errors.As(err, &unsigned) || !strings.HasPrefix(err.Error(), "vm.lock.json: ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		// It is what the cache said.
		if info.StorePath != o.Path || info.NarHash != o.NarHash || info.Source != o.Hints.Cache || info.URL != o.Hints.URL || !info.Pinned {
			t.Errorf("%s: %+v", test.name, info)
		}
		if byWord := len(info.Trust.Keys) == 0 && !info.Trust.ByCA; byWord != (o.Exempt != "") {
			t.Errorf("%s: %+v", test.name, info.Trust)
		}
	}
}

// What has no lock is asked for elsewhere, or the lock is out of date.
func TestPinsNext(t *testing.T) {
	f := parse(t, newFile(t).Encode())
	pins := &Pins{Lock: f, Keys: keys}
	var stale *StaleError
	if _, err := pins.Info(t.Context(), faultserver.Path("x")); !errors.As(err, &stale) {
		t.Errorf("without a next: %v", err)
	}
	there := errors.New("asked")
	pins.Next = func(context.Context, storepath.Path) (*narinfo.Info, error) { return nil, there }
	if _, err := pins.Info(t.Context(), faultserver.Path("x")); err != there {
		t.Errorf("with one: %v", err)
	}
	if _, err := pins.Info(t.Context(), faultserver.Path("lib-1.0")); err != nil {
		t.Errorf("what is pinned: %v", err)
	}
}

// A lock of what a lock says is the same lock.
func TestLockedAgain(t *testing.T) {
	f := newFile(t)
	pins := &Pins{Lock: f, Keys: keys, Exempt: []string{"file:///srv/cache"}}
	var roots []storepath.Path
	for _, r := range f.Roots {
		roots = append(roots, r.Resolved...)
	}
	infos, err := closure.Walk(t.Context(), 4, roots, pins.Info)
	if err != nil {
		t.Fatal(err)
	}
	again, err := New(f.Spec, f.Arch, f.Roots, infos)
	if err != nil || !bytes.Equal(again.Encode(), f.Encode()) {
		t.Errorf("%v\n%s", err, again.Encode())
	}
}

// Who computes the digest anew still has the signatures against him, or the
// content address.
func TestResealed(t *testing.T) {
	text := newFile(t).Encode()
	libHash, plainHash := nixhash.Sum256(faultserver.NAR([]byte("lib"))).SRI(), nixhash.Sum256(faultserver.NAR([]byte("plain"))).SRI()
	otherHash := nixhash.Sum256(nil).SRI()
	lib, tool, app := faultserver.Path("lib-1.0"), faultserver.Path("tool"), faultserver.Path("app-2.0")
	for _, test := range []struct{ name, old, new, path string }{
		{"NarHash", libHash, otherHash, "lib-1.0"},
		{"NarSize", libHash + "\",\n      \"narSize\": 120", libHash + "\",\n      \"narSize\": 121", "lib-1.0"},
		{"references", `"` + tool.String() + `",` + "\n        \"" + lib.String() + `"`, `"` + tool.String() + `"`, "tool"},
		{"another reference", `"` + tool.String() + `",` + "\n        \"" + lib.String() + `"`, `"` + tool.String() + `",` + "\n        \"" + app.String() + `"`, "tool"},
		{"signature", "test-1:ZX", "test-1:ZY", "lib-1.0"},
		{"NarHash of a content address", plainHash, otherHash, "plain"},
		{"content address", `"ca": "fixed:r:sha256:1`, `"ca": "fixed:r:sha256:0`, "plain"},
	} {
		f := parse(t, reseal(edit(t, text, test.old, test.new)))
		_, err := (&Pins{Lock: f, Keys: keys}).Info(t.Context(), f.path(t, test.path))
		var e *Error
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), "vm.lock.json: ") || !strings.Contains(err.Error(), test.path) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// path returns the only path of that name.
func (f *File) path(t *testing.T, name string) storepath.Path {
	t.Helper()
	for _, o := range f.Paths {
		if o.Path.Name() == name {
			return o.Path
		}
	}
	t.Fatalf("no %s", name)
	return storepath.Path{}
}

// patient waits for a server as long as it takes: it is on this machine, which may be slow.
type patient struct{ substituter.Transport }

// Get implements [substituter.Transport].
func (p patient) Get(ctx context.Context, ref string, part substituter.Part) (*substituter.Body, error) {
	part.Silence = 0
	return p.Transport.Get(ctx, ref, part)
}

// run is a machine with some caches and a local cache in dir.
func run(t *testing.T, dir string, urls ...string) (*substituter.Disk, *substituter.List) {
	t.Helper()
	settings := substituter.HTTPSettings{Connect: time.Hour, Stall: time.Hour}
	client, err := settings.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	list := &substituter.List{}
	for _, u := range urls {
		from, err := substituter.NewHTTP(u, client, settings)
		if err != nil {
			t.Fatal(err)
		}
		list.Caches = append(list.Caches, &substituter.Remote{From: patient{from}, Keys: keys})
	}
	d, err := substituter.OpenDisk(dir, list, keys, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d, list
}

// fetched returns the NARs of a closure.
func fetched(t *testing.T, d *substituter.Disk, root storepath.Path, lookup closure.Lookup) (nars []string) {
	t.Helper()
	infos, err := closure.Walk(t.Context(), 8, []storepath.Path{root}, lookup)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		r, err := d.Open(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		nar, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		nars = append(nars, string(nar))
	}
	return nars
}

// The whole road: a lock is the same whatever the local cache has; by it no
// narinfo is asked for, then nothing at all, and another content in the cache
// changes nothing.
func TestRoad(t *testing.T) {
	const n = 40
	files := faultserver.Files{}
	root := files.Wide(signer, n, 3)
	server := faultserver.New(t, files)
	dir := t.TempDir()
	locked := func() *File {
		_, list := run(t, dir, server.URL)
		infos, err := closure.Walk(t.Context(), 8, []storepath.Path{root}, list.Info)
		if err != nil {
			t.Fatal(err)
		}
		f, err := New(specDigest, "", []Root{{Path: root, Resolved: []storepath.Path{root}}}, infos)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	cold := locked().Encode()
	d, _ := run(t, dir, server.URL)
	want := fetched(t, d, root, d.Info)
	if warm := locked().Encode(); !bytes.Equal(warm, cold) {
		t.Errorf("cold\n%s\nwarm\n%s", cold, warm)
	}
	f := parse(t, cold)

	// Somebody whose key is trusted has signed other contents since.
	later := faultserver.Files{}
	for _, o := range f.Paths {
		later.Add(signer, o.Path.Name(), "none", faultserver.NAR([]byte("other")), o.References...)
	}
	for url, text := range files {
		if strings.HasPrefix(url, "nar/") {
			later[url] = text
		}
	}
	for name, files := range map[string]faultserver.Files{"the same cache": files, "with other contents": later} {
		server.Files = files
		machine := t.TempDir()
		for _, round := range []string{"cold", "warm"} {
			before := len(server.Log())
			d, _ := run(t, machine, server.URL)
			if got := fetched(t, d, root, (&Pins{Lock: f, Keys: keys}).Info); !slices.Equal(got, want) {
				t.Errorf("%s, %s: other NARs", name, round)
			}
			asked := server.Log()[before:]
			if round == "warm" && len(asked) > 0 {
				t.Errorf("%s: %d requests although all is here", name, len(asked))
			}
			if round == "cold" && len(asked) != 1+n { // nix-cache-info
				t.Errorf("%s: %d requests for %d NARs", name, len(asked), n)
			}
			for _, q := range asked {
				if strings.HasSuffix(q.Path, ".narinfo") {
					t.Errorf("%s, %s: %s is asked for", name, round, q.Path)
				}
			}
		}
	}
}

// 20,734 genuine narinfos make a lock, and come back as they were.
func TestRealNarinfos(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: genuine narinfos, in short tests")
	}
	text, err := exec.Command(testbed.Tool(t, "zstd"), "-dcq", testbed.Dir(t, "real-narinfo/corbanr-nixpkgs-all.txt.zst")).Output()
	if err != nil {
		t.Fatal(err)
	}
	var infos []*narinfo.Info
	var all []storepath.Path
	seen := map[storepath.Path]bool{}
	for block := range strings.SplitSeq(string(text), "\n\n") {
		if block = strings.TrimSpace(block); block == "" {
			continue
		}
		i, err := narinfo.Parse([]byte(block + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if seen[i.StorePath] {
			continue // some have two contents, both signed
		}
		seen[i.StorePath] = true
		i.Source = cacheURL
		infos = append(infos, i)
		all = append(all, i.StorePath)
	}
	f, err := New(specDigest, "", []Root{{ClosureOf: "all", File: nixhash.Sum256(nil), Resolved: all}}, infos)
	if err != nil {
		t.Fatal(err)
	}
	encoded := f.Encode()
	got := parse(t, encoded)
	if len(got.Paths) < 20000 {
		t.Errorf("%d paths", len(got.Paths))
	}
	t.Logf("%d paths, %d bytes", len(got.Paths), len(encoded))
}
