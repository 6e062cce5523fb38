package substituter

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	fault "thaw/internal/faultserver"
	"thaw/narinfo"
)

// pinned returns an info as a lock gives it, which remembers a cache.
func pinned(t *testing.T, i *narinfo.Info, cache string) *narinfo.Info {
	t.Helper()
	p, err := narinfo.Open(i.Text(), i.StorePath, narinfo.Keys{signer.Key()})
	if err != nil {
		t.Fatal(err)
	}
	p.Source, p.Pinned = cache, true
	return p
}

// read reads the NAR of an info.
func (r *rig) read(t *testing.T, i *narinfo.Info) ([]byte, error) {
	t.Helper()
	rc, err := r.Open(t.Context(), i)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(rc)
}

// What a lock remembers of a cache saves the narinfo. Where it is out of date,
// the narinfo of the same cache and then the other caches are asked; only the
// content that is pinned counts.
func TestPinned(t *testing.T) {
	nar, otherNAR := fault.NAR([]byte("what was locked")), fault.NAR([]byte("what came later"))
	cache := func(codec string, nar []byte) (fault.Files, *narinfo.Info) {
		f := fault.Files{}
		return f, f.Add(signer, "thing", codec, nar)
	}
	_, then := cache("gzip", nar)
	tests := []struct {
		name     string
		first    func(f fault.Files) // changes the cache that is remembered, after the lock
		second   func() fault.Files  // another cache; may be nil
		moved    bool                // the cache that is remembered is not asked at all
		kind     Kind                // 0 for success
		says     string
		infos    [2]int // narinfos that are asked for
		archives [2]int // NARs
	}{
		{name: "as it was", archives: [2]int{1, 0}},
		{name: "packed anew", first: func(f fault.Files) {
			delete(f, then.URL)
			f.Add(signer, "thing", "zstd", nar)
		}, infos: [2]int{1, 0}, archives: [2]int{2, 0}},
		{name: "another file in its place", first: func(f fault.Files) {
			f.Add(signer, "thing", "zstd", nar)
			f[then.URL] = fault.Compress("gzip", otherNAR)
		}, infos: [2]int{1, 0}, archives: [2]int{2, 0}},
		{name: "gone", first: func(f fault.Files) { clear(f) }, kind: NotFound, says: "not there", infos: [2]int{1, 0}, archives: [2]int{1, 0}},
		{name: "gone here", first: func(f fault.Files) { clear(f) }, second: func() fault.Files { f, _ := cache("zstd", nar); return f },
			infos: [2]int{1, 1}, archives: [2]int{1, 2}},
		{name: "gone here, there is a mirror", first: func(f fault.Files) { clear(f) }, second: func() fault.Files { f, _ := cache("gzip", nar); return f },
			infos: [2]int{1, 0}, archives: [2]int{1, 1}},
		{name: "another cache now", second: func() fault.Files { f, _ := cache("zstd", nar); return f }, moved: true, infos: [2]int{0, 1}, archives: [2]int{0, 2}},
		{name: "a mirror now", second: func() fault.Files { f, _ := cache("gzip", nar); return f }, moved: true, archives: [2]int{0, 1}},
		{name: "another cache now, with other content", second: func() fault.Files { f, _ := cache("zstd", otherNAR); return f }, moved: true,
			kind: NotFound, says: "has other content for this path", infos: [2]int{0, 1}, archives: [2]int{0, 1}},
		{name: "another cache now, with another file of that name", second: func() fault.Files {
			f, _ := cache("zstd", nar)
			f[then.URL] = fault.Compress("gzip", otherNAR)
			return f
		}, moved: true, infos: [2]int{0, 1}, archives: [2]int{0, 2}},
		{name: "other content now", first: func(f fault.Files) {
			delete(f, then.URL)
			f.Add(signer, "thing", "gzip", otherNAR)
		}, kind: NotFound, says: "has other content for this path", infos: [2]int{1, 0}, archives: [2]int{1, 0}},
		{name: "other content here", first: func(f fault.Files) {
			delete(f, then.URL)
			f.Add(signer, "thing", "gzip", otherNAR)
		}, second: func() fault.Files { f, _ := cache("none", nar); return f }, infos: [2]int{1, 1}, archives: [2]int{1, 2}},
		{name: "other content under the same name", first: func(f fault.Files) {
			f[then.URL] = fault.Compress("gzip", otherNAR)
		}, kind: Integrity, infos: [2]int{1, 0}, archives: [2]int{1, 0}},
		{name: "other content there", second: func() fault.Files { f, _ := cache("gzip", otherNAR); return f }, archives: [2]int{1, 0}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			files, _ := cache("gzip", nar)
			if test.first != nil {
				test.first(files)
			}
			servers := []*fault.Server{fault.New(t, files), nil}
			asked := []string{servers[0].URL}
			if test.second != nil {
				servers[1] = fault.New(t, test.second())
				asked = append(asked, servers[1].URL)
			}
			if test.moved {
				asked = asked[1:]
			}
			r := newRig(t, t.TempDir(), asked...)
			info := pinned(t, then, servers[0].URL)
			got, err := r.read(t, info)
			if KindOf(err) != test.kind || err == nil && !bytes.Equal(got, nar) || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("kind %d, %v", KindOf(err), err)
			}
			for i, s := range servers {
				if s == nil {
					continue
				}
				if a, b := s.Count(anInfo), s.Count(aNAR); a != test.infos[i] || b != test.archives[i] {
					t.Errorf("cache %d: %d narinfos and %d NARs are asked for, instead of %d and %d", i, a, b, test.infos[i], test.archives[i])
				}
			}
			if w, _, _ := r.got(); err == nil && servers[0].Count(aNAR) == 1 && len(w) > 0 {
				t.Errorf("warnings %q", w)
			}
		})
	}
}

// A NAR that is here is taken whatever the narinfo beside it says; nothing is
// asked for. The pinned narinfo then takes the other one's place.
func TestPinnedIsHere(t *testing.T) {
	before, now := fault.Files{}, fault.Files{}
	nar := fault.NAR([]byte("what was locked"))
	then := before.Add(signer, "thing", "gzip", nar)
	now.Add(signer, "thing", "gzip", fault.NAR([]byte("what came later")))
	server, later := fault.New(t, before), fault.New(t, now)
	dir := t.TempDir()
	for _, url := range []string{server.URL, later.URL} {
		if err := os.RemoveAll(filepath.Join(dir, then.StorePath.Hash()+".narinfo")); err != nil {
			t.Fatal(err)
		}
		if _, err := newRig(t, dir, url).get(t, then.StorePath); err != nil {
			t.Fatal(err)
		}
	}
	requests := func() int { return len(server.Log()) + len(later.Log()) }
	asked := requests()
	info := pinned(t, then, server.URL)
	for range 2 {
		r := newRig(t, dir, later.URL, server.URL)
		if !r.Local(info) {
			t.Error("it is to be fetched")
		}
		if got, err := r.read(t, info); err != nil || !bytes.Equal(got, nar) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	offline := newRig(t, dir)
	offline.Offline = true
	if i, err := offline.Info(t.Context(), then.StorePath); err != nil || i.NarHash != then.NarHash {
		t.Errorf("the narinfo that stays is %v, %v", i, err)
	}
	if n := requests(); n != asked {
		t.Errorf("%d requests", n-asked)
	}

	// A damaged one is fetched again, from where the lock says.
	file := offline.nar(info)
	if err := os.WriteFile(file, make([]byte, len(nar)), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := offline.read(t, info)
	var e *Error
	if !errors.As(err, &e) || e.Kind != NotFound || !strings.Contains(err.Error(), "damaged, and --offline") {
		t.Errorf("damaged, and offline: %v", err)
	}
	if offline.Local(info) {
		t.Error("a damaged NAR counts as here")
	}
	if got, err := newRig(t, dir, later.URL, server.URL).read(t, info); err != nil || !bytes.Equal(got, nar) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n := server.Count(anInfo) + later.Count(anInfo); n != 2 {
		t.Errorf("%d narinfos instead of the 2 at the start", n)
	}
}
