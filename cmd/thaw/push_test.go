package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"thaw/internal/faultserver"
	"thaw/internal/testbed"
	"thaw/narinfo"
	"thaw/nixhash"
	"thaw/storepath"
)

// pkg is a package of a closure that a test makes.
type pkg struct {
	name string
	size int // in KiB
	refs []string
}

// closureOf puts packages into a cache, each after those that it refers to, and
// returns their paths. As with Nix, the hash of each follows from its build and from
// all that it refers to.
func closureOf(files faultserver.Files, pkgs []pkg, build map[string]string) map[string]storepath.Path {
	paths := map[string]storepath.Path{}
	for _, p := range pkgs {
		var refs []storepath.Path
		seed := p.name + build[p.name]
		for _, r := range p.refs {
			refs = append(refs, paths[r])
			seed += " " + paths[r].String()
		}
		hash := sha256.Sum256([]byte(seed))
		path, err := storepath.New(nixhash.Encode32(hash[:20]), p.name)
		if err != nil {
			panic(err)
		}
		nar := faultserver.NAR(faultserver.Noise(seed, p.size<<10))
		i := &narinfo.Info{
			StorePath: path, NarHash: nixhash.Sum256(nar), NarSize: int64(len(nar)), References: refs,
			Compression: "none", FileHash: nixhash.Sum256(nar), FileSize: int64(len(nar)), URL: "nar/" + path.Hash() + ".nar",
		}
		lockSigner.Sign(i)
		files[i.URL] = nar
		files.Put(i)
		paths[p.name] = path
	}
	files["nix-cache-info"] = []byte(faultserver.CacheInfo)
	return paths
}

// uploads notes the blobs that go to a registry through it.
type uploads struct {
	mu      sync.Mutex
	digests []string
}

// taken returns what has been noted since it was asked last, sorted.
func (u *uploads) taken() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := slices.Sorted(slices.Values(u.digests))
	u.digests = nil
	return list
}

// noting serves what the registry of that host does, and notes what is uploaded.
func noting(t *testing.T, host string) (*uploads, string) {
	u := &uploads{}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: host})
		r.Out.Host = r.In.Host // the registry names itself so
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if digest := r.URL.Query().Get("digest"); r.Method == http.MethodPut && digest != "" {
			u.mu.Lock()
			u.digests = append(u.digests, digest)
			u.mu.Unlock()
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return u, strings.TrimPrefix(server.URL, "http://")
}

// When a dependency deep in a closure is built anew, gets a dependency of its own,
// becomes another version or the image gets another package, the layers are uploaded
// in which there is a path that the registry has not seen, and the configuration, and
// nothing else. It went wrong for a new dependency with few layers, as it moved the
// bounds between others. (Where a layer must be given up for a new one, another may be
// joined; how much that is at most, package layering measures.)
func TestImagePushRebuilt(t *testing.T) {
	seen, host := noting(t, testbed.Registry(t))
	p := newProgram(t)
	base := []pkg{
		{"libc-2.40", 200, nil}, {"data-a", 60, nil}, {"data-b", 50, nil}, {"data-c", 40, nil},
		{"zlib-1.3", 20, []string{"libc-2.40"}}, {"ssl-3.0", 100, []string{"libc-2.40", "zlib-1.3"}},
		{"readline-8.2", 30, []string{"libc-2.40"}}, {"bash-5.2", 80, []string{"libc-2.40", "readline-8.2"}},
		{"python-3.12", 300, []string{"libc-2.40", "readline-8.2", "ssl-3.0", "zlib-1.3"}},
		{"curl-8.1", 40, []string{"libc-2.40", "ssl-3.0", "zlib-1.3"}}, {"grep-3.11", 30, []string{"libc-2.40"}}, {"sed-4.9", 20, []string{"libc-2.40"}},
		{"app-1.0", 50, []string{"bash-5.2", "curl-8.1", "data-a", "data-b", "data-c", "grep-3.11", "python-3.12", "sed-4.9"}},
	}
	dep := pkg{"brotli-1.1", 30, []string{"libc-2.40"}}
	changed := func(change func(*pkg)) []pkg {
		out := slices.Clone(base)
		for i := range out {
			out[i].refs = slices.Clone(out[i].refs)
			change(&out[i])
		}
		return out
	}
	versions := []struct {
		what  string
		pkgs  []pkg
		build map[string]string
		roots []string
	}{
		{"ssl built anew", base, map[string]string{"ssl-3.0": "2"}, []string{"app-1.0"}},
		{"ssl with a new dependency", append([]pkg{base[0], dep}, changed(func(q *pkg) {
			if q.name == "ssl-3.0" {
				q.refs = append(q.refs, dep.name)
			}
		})[1:]...), nil, []string{"app-1.0"}},
		{"ssl of another version", changed(func(q *pkg) {
			q.name = strings.Replace(q.name, "ssl-3.0", "ssl-3.0.1", 1)
			for i, r := range q.refs {
				q.refs[i] = strings.Replace(r, "ssl-3.0", "ssl-3.0.1", 1)
			}
		}), nil, []string{"app-1.0"}},
		{"another package", append(slices.Clone(base), pkg{"tool-1.0", 10, []string{"libc-2.40", "zlib-1.3"}}), nil, []string{"app-1.0", "tool-1.0"}},
	}
	files := faultserver.Files{}
	server := faultserver.New(t, files)
	// build makes an image, and returns for each of its blobs what it has,
	// uncompressed.
	build := func(name string, layers int, paths map[string]storepath.Path, roots ...string) (dir string, blobs map[string][]byte) {
		t.Helper()
		var list []string
		for _, r := range roots {
			list = append(list, paths[r].String())
		}
		spec := fmt.Sprintf("version: 1\narch: x86_64-linux\ncaches: [%q]\nkeys: [%q]\npackages: [%s]\noutputs: { image: { type: oci, max-layers: %d } }\n",
			server.URL, lockSigner.Key(), strings.Join(list, ", "), layers)
		if err := os.WriteFile(filepath.Join(p.dir, name+".yaml"), []byte(spec), 0o644); err != nil {
			t.Fatal(err)
		}
		dir = name + ".oci"
		image := p.images(t, name+".yaml", "-o", dir)[dir].Image
		if len(image.Layers) > layers {
			t.Errorf("%s: %d layers instead of up to %d", name, len(image.Layers), layers)
		}
		blobs = map[string][]byte{}
		for _, l := range image.Layers {
			f, err := os.Open(filepath.Join(p.dir, dir, "blobs/sha256", strings.TrimPrefix(l.Digest, "sha256:")))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			z, err := gzip.NewReader(f)
			if err != nil {
				t.Fatal(err)
			}
			if blobs[l.Digest], err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		return dir, blobs
	}
	push := func(dir, name string) (uploaded []string) {
		t.Helper()
		var r struct{ Blobs int }
		if err := json.Unmarshal([]byte(p.run(t, "push", "--json", dir, host+"/"+name).stdout), &r); err != nil {
			t.Fatal(err)
		}
		if uploaded = seen.taken(); len(uploaded) != r.Blobs {
			t.Errorf("%s: push says %d blobs, and %d are uploaded", dir, r.Blobs, len(uploaded))
		}
		return uploaded
	}
	before := closureOf(files, base, nil)
	for _, layers := range []int{7, 100} {
		name := fmt.Sprintf("demo-%d", layers)
		dir, old := build(name, layers, before, "app-1.0")
		if uploaded := push(dir, name); len(uploaded) != len(old)+1 {
			t.Errorf("%d layers and the configuration, and %d blobs are uploaded", len(old), len(uploaded))
		}
		for i, v := range versions {
			after := closureOf(files, v.pkgs, v.build)
			dir, now := build(fmt.Sprintf("%s-%d", name, i), layers, after, v.roots...)
			var must []string
			for digest, tar := range now {
				for n, path := range after {
					if path != before[n] && bytes.Contains(tar, []byte(path.Hash())) {
						must = append(must, digest)
						break
					}
				}
			}
			slices.Sort(must)
			var uploaded []string // but the configuration
			for _, d := range push(dir, name) {
				if now[d] != nil {
					uploaded = append(uploaded, d)
				}
			}
			if !slices.Equal(uploaded, must) || len(must) == 0 {
				t.Errorf("%s, up to %d layers: of %d are uploaded\n%s\nand have a path that is new\n%s", v.what, layers, len(now), strings.Join(uploaded, "\n"), strings.Join(must, "\n"))
			}
			t.Logf("%s, up to %d layers: %d of %d are uploaded", v.what, layers, len(uploaded), len(now))
		}
	}
}
