package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"thaw/closure"
	"thaw/estimate"
	"thaw/internal/faultserver"
	"thaw/internal/testbed"
	"thaw/internal/treemap"
	"thaw/narinfo"
	"thaw/storepath"
)

// A plan of 732 paths makes requests for narinfos only, one for each.
func TestPlanRequests(t *testing.T) {
	cache := http.FileServer(http.Dir(testbed.Dir(t, "caches/xz")))
	var mu sync.Mutex
	asked := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path]++
		mu.Unlock()
		cache.ServeHTTP(w, r)
	}))
	defer server.Close()
	// With few connections no request waits so long for its answer that it is made again.
	p := newProgram(t, "--cache", server.URL, "--trusted-key", testbedKey, "-q", "--connections", "4")
	o := p.run(t, append([]string{"plan", "--json", "--html", "map.html"}, lines(t, testbed.Dir(t, "caches/lists/all.roots"))...)...)
	var b bill
	if err := json.Unmarshal([]byte(o.stdout), &b); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	want := int64(0)
	for _, path := range lines(t, testbed.Dir(t, "caches/lists/all.closure")) {
		name := "/" + filepath.Base(path)[:32] + ".narinfo"
		if asked[name] != 1 {
			t.Errorf("%s is asked for %d times", name, asked[name])
		}
		delete(asked, name)
		text, err := os.ReadFile(testbed.Dir(t, "caches/xz", name))
		if err != nil {
			t.Fatal(err)
		}
		info, err := narinfo.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		want += min(info.FileSize, info.NarSize)
	}
	delete(asked, "/nix-cache-info")
	if len(asked) > 0 {
		t.Errorf("asked for besides: %v", asked)
	}
	if b.Paths != 732 || b.Fetch.Paths != 732 || b.Fetch.Bytes != want || b.Fetch.Caches[server.URL].Bytes != want || len(b.Packages) != 61 || len(b.Largest) != billed {
		t.Errorf("%+v", b)
	}
	page, err := os.ReadFile(filepath.Join(p.dir, "map.html"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(page), "<tr><td>"); n != 732 {
		t.Errorf("the map's table has %d rows", n)
	}
}

// What a build of a spec makes is between the bounds of its plan.
func TestPlanBounds(t *testing.T) {
	p := newProgram(t)
	files := faultserver.Files{}
	lib := files.Add(lockSigner, "lib", "gzip", faultserver.NAR([]byte("lib")))
	files.Add(lockSigner, "app", "zstd", faultserver.NAR(make([]byte, 100_000)), lib.StorePath)
	drv := []byte(`Derive([("out","` + faultserver.Path("app").String() + `","",""),("dev","` + faultserver.Path("lib").String() + `","","")],[],[],"x86_64-linux","/bin/sh",[],[])`)
	files.Add(lockSigner, "app.drv", "none", faultserver.NAR(drv))
	server := faultserver.New(t, files)
	text := fmt.Sprintf(`version: 1
caches: [ %q ]
keys: [ %q ]
packages: [ %s, %s ]
rootfs:
  hostname: vm
  nix: { db: true, closure-info: /closure }
  users: [ { name: alice, uid: 1000 } ]
  files: [ { path: /srv/a/b/c/motd, content: "hello" } ]
outputs:
  tar: { type: tar }
  gz: { type: tar, compress: gzip }
  cpio: { type: cpio, compress: zstd }
  dir: { type: dir }
  ext4: { type: ext4, size: fit+10%% }
  disk: { type: disk, size: fit }
`, server.URL, lockSigner.Key(), faultserver.Path("app"), faultserver.Path("app.drv"))
	if err := os.WriteFile(filepath.Join(p.dir, "vm.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var b bill
	if err := json.Unmarshal([]byte(p.run(t, "plan", "vm.yaml", "--json").stdout), &b); err != nil {
		t.Fatal(err)
	}
	built := map[string]int64{}
	for line := range strings.Lines(p.run(t, "build", "vm.yaml", "-o", "out").stdout) {
		var name string
		var size int64
		if _, err := fmt.Sscanf(line, "%s\t%d\t", &name, &size); err != nil {
			t.Fatal(line, err)
		}
		name, _, _ = strings.Cut(filepath.Base(name), ".")
		built[name] = size
	}
	for _, o := range b.Outputs {
		if n := built[o.Name]; n < o.Least || n > o.Most {
			t.Errorf("%s has %d bytes: %+v", o.Name, n, o)
		}
	}
	if len(b.Outputs) != 6 || len(built) != 6 {
		t.Errorf("%d outputs, %d built", len(b.Outputs), len(built))
	}
}

// Of an object with kernel and modules, a kernel's size is likely.
func TestPlanFiles(t *testing.T) {
	p := newProgram(t)
	files := faultserver.Files{}
	for _, name := range []string{"linux", "busybox"} {
		i := files.Add(lockSigner, name, "none", faultserver.NAR([]byte(name)))
		i.NarSize, i.Sigs = 90<<20, nil // nothing but narinfos is fetched
		lockSigner.Sign(i)
		files.Put(i)
	}
	text := fmt.Sprintf(`version: 1
arch: x86_64-linux
caches: [ %q ]
keys: [ %q ]
boot:
  kernel: %[3]s/bzImage
  initrd: generate
  generate: { busybox: %[4]s/bin/busybox, modules: %[3]s/lib/modules/6.1 }
packages: [ %[3]s ]
outputs:
  files: { type: files, root: none }
`, faultserver.New(t, files).URL, lockSigner.Key(), faultserver.Path("linux"), faultserver.Path("busybox"))
	write(t, filepath.Join(p.dir, "vm.yaml"), text)
	var b bill
	if err := json.Unmarshal([]byte(p.run(t, "plan", "vm.yaml", "--json").stdout), &b); err != nil {
		t.Fatal(err)
	}
	if o := b.Outputs[0]; o.Least != 0 || o.Likely != likelyKernel+likelyInitrd || o.Most < 2*90<<20 {
		t.Errorf("%+v", o)
	}
}

func TestJudge(t *testing.T) {
	s := estimate.Size{Least: 10, Likely: 20, Most: 30}
	for limit, want := range map[int64]string{0: "", 9: "too large", 10: "likely too large", 19: "likely too large", 20: "likely fits", 29: "likely fits", 30: "fits"} {
		if got := judge(s, limit); got != want {
			t.Errorf("a limit of %d: %q, want %q", limit, got, want)
		}
	}
}

// What the map is divided by: packages, or what a single one leads to.
func TestDivide(t *testing.T) {
	for _, test := range []struct {
		refs        map[string]string // to the names in it, one letter each
		roots       string
		tops, above string
	}{
		{map[string]string{"a": "b", "b": "", "c": "b"}, "ac", "ac", ""},
		{map[string]string{"a": "abc", "b": "", "c": "b"}, "a", "bc", "a"},
		{map[string]string{"a": "b", "b": "cd", "c": "", "d": "a"}, "a", "cd", "ab"},
		{map[string]string{"a": "b", "b": ""}, "a", "b", "a"},
		{map[string]string{"a": ""}, "a", "a", ""},
		{map[string]string{"a": "b", "b": "a"}, "a", "b", "a"},
		{map[string]string{"a": "a"}, "", "", ""},
	} {
		var infos []*narinfo.Info
		paths := func(names string) (out []storepath.Path) {
			for _, n := range names {
				p, err := storepath.New(strings.Repeat(string(n), 32), string(n))
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, p)
			}
			return out
		}
		for name, refs := range test.refs {
			infos = append(infos, &narinfo.Info{StorePath: paths(name)[0], References: paths(refs)})
		}
		slices.SortFunc(infos, func(a, b *narinfo.Info) int { return a.StorePath.Compare(b.StorePath) })
		g, err := closure.NewGraph(infos)
		if err != nil {
			t.Fatal(err)
		}
		tops, above := divide(g, paths(test.roots))
		if !slices.Equal(tops, paths(test.tops)) || !slices.Equal(above, paths(test.above)) {
			t.Errorf("%v from %s: %v, %v", test.refs, test.roots, tops, above)
		}
	}
}

func TestFew(t *testing.T) {
	var groups []treemap.Group
	for i := range pageGroups + 3 {
		groups = append(groups, treemap.Group{Name: fmt.Sprint(i), Leaves: []treemap.Leaf{{Size: int64(i)}}})
	}
	groups = append(groups, treemap.Group{Name: "empty"})
	got := few(groups)
	if len(got) != pageGroups+1 || got[0].Name != "26" || got[pageGroups].Name != "3 others" || got[pageGroups].Size() != 0+1+2 {
		t.Errorf("%+v", got)
	}
	if got := few(groups[:3]); len(got) != 3 {
		t.Errorf("%+v", got)
	}
}

// What an output takes from a store path outside the closure is fetched, and is no part
// of what the closure has in the local cache.
func TestPlanOutsideClosure(t *testing.T) {
	p := newProgram(t)
	write(t, filepath.Join(p.dir, "vm.yaml"), fmt.Sprintf(`version: 1
arch: x86_64-linux
caches: [ %q ]
keys: [ %q ]
packages: [ /nix/store/4816nf1754f3jnz5brkh5n9y252l4san-busybox-static-1.35.0 ]
outputs:
  disk:
    type: disk
    partitions: [ fs: ext4 ]
    raw: [ { offset: 512K, store: /nix/store/iv6mnmnw8z16ca4yawz70zfapazdfyvq-hello-static-1.0/bin/hello-static } ]
`, repository(t, "testdata/example"), testbedKey))
	plan := func() (b bill) {
		if err := json.Unmarshal([]byte(p.run(t, "plan", "vm.yaml", "--json").stdout), &b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	if b := plan(); b.Paths != 1 || b.Fetch.Paths != 2 || b.Cached != (tally{}) {
		t.Errorf("of %d paths %d are to be fetched, %+v are there", b.Paths, b.Fetch.Paths, b.Cached)
	}
	p.run(t, "build", "vm.yaml", "-o", "disk.img")
	if b := plan(); b.Fetch.Paths != 0 || b.Cached != (tally{1, b.NarSize}) {
		t.Errorf("then %d are to be fetched, %+v of 1 are there", b.Fetch.Paths, b.Cached)
	}
}
