package substituter

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"thaw/closure"
	fault "thaw/internal/faultserver"
	"thaw/internal/testbed"
	"thaw/narinfo"
	"thaw/storepath"
)

// walk looks a closure up and fetches it.
func (r *rig) walk(t testing.TB, jobs int, roots ...storepath.Path) []*narinfo.Info {
	t.Helper()
	infos, err := closure.Walk(t.Context(), jobs, roots, r.Info)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Prefetch(t.Context(), jobs, infos); err != nil {
		t.Fatal(err)
	}
	return infos
}

// Each narinfo and each NAR is asked for once, and nothing by a later run.
func TestAskedOnce(t *testing.T) {
	const n = 150
	files := fault.Files{}
	root := files.Wide(signer, n, 6)
	server := fault.Unstarted(t, files)
	server.Latency = time.Millisecond
	server.Start()
	dir := t.TempDir()
	if infos := newRig(t, dir, server.URL).walk(t, 16, root); len(infos) != n {
		t.Fatalf("%d paths", len(infos))
	}
	asked := map[string]int{}
	for _, q := range server.Log() {
		if asked[q.Path]++; asked[q.Path] > 1 {
			t.Errorf("%s is asked for %d times", q.Path, asked[q.Path])
		}
	}
	if len(asked) != 1+2*n {
		t.Errorf("%d files are asked for instead of %d", len(asked), 1+2*n)
	}
	newRig(t, dir, server.URL).walk(t, 16, root)
	if got := len(server.Log()); got > 1+2*n {
		t.Errorf("the second run made %d requests", got-1-2*n)
	}
}

// The same with the large test cache of real Nix.
func TestAskedOnceForRealCaches(t *testing.T) {
	caches := testbed.Dir(t, "caches")
	for _, name := range []string{"wide", "small"} {
		cache := map[string]string{"wide": "xz", "small": "small-zstd"}[name]
		files := fault.Load(t, caches+"/"+cache)
		server := fault.New(t, files)
		r := newRig(t, t.TempDir(), server.URL)
		r.Keys = readKeys(t, caches+"/keys/testbed-1.pub")
		r.Next.Caches[0].Keys = r.Keys
		infos := r.walk(t, 64, readList(t, caches+"/lists/"+name+".roots")...)
		if want := len(readList(t, caches+"/lists/"+name+".closure")); len(infos) != want {
			t.Errorf("%s: %d paths instead of %d", name, len(infos), want)
		}
		asked := map[string]int{}
		for _, q := range server.Log() {
			if asked[q.Path]++; asked[q.Path] > 1 || q.Status != 200 {
				t.Errorf("%s: %s is asked for %d times, status %d", name, q.Path, asked[q.Path], q.Status)
			}
		}
	}
}

// The first cache is asked first, the second one only for what the first lacks,
// and nobody twice.
func TestTwoCaches(t *testing.T) {
	first, second := fault.Files{}, fault.Files{}
	root := second.Wide(signer, 40, 3)
	for i := range 40 {
		name := fault.Path(fmt.Sprintf("object-%d", i)).Hash() + ".narinfo"
		if i%4 != 3 {
			info, err := narinfo.Parse(second[name])
			if err != nil {
				t.Fatal(err)
			}
			first[name], first[info.URL] = second[name], second[info.URL]
		}
	}
	a, b := fault.New(t, first), fault.New(t, second)
	newRig(t, t.TempDir(), a.URL, b.URL).walk(t, 8, root)
	if n := a.Count(anInfo); n != 40 {
		t.Errorf("the first cache is asked for %d narinfos", n)
	}
	if n := b.Count(anInfo); n != 10 {
		t.Errorf("the second cache is asked for %d narinfos", n)
	}
	if n := b.Count(aNAR); n != 10 {
		t.Errorf("the second cache is asked for %d NARs", n)
	}
}

// Caches come by the priority that they state, unless another one is given.
func TestPriority(t *testing.T) {
	cache := func(about string) *fault.Server {
		files := subjectCache("none")
		files["nix-cache-info"] = []byte(about)
		return fault.New(t, files)
	}
	last, mid, none, low := cache("Priority: 60"), cache("StoreDir: /nix/store\nPriority: 40\n"), cache(""), cache("Priority: 10\n")
	tests := []struct {
		servers []*fault.Server
		given   []int
		want    *fault.Server
	}{
		{[]*fault.Server{last, mid, none}, []int{0, 0, 0}, mid},
		{[]*fault.Server{last, none}, []int{0, 0}, none},
		{[]*fault.Server{last, mid, low}, []int{0, 0, 0}, low},
		{[]*fault.Server{last, mid, low}, []int{5, 0, 0}, last},
		{[]*fault.Server{low, mid}, []int{90, 0}, mid},
		{[]*fault.Server{none, cache("Priority: x")}, []int{0, 0}, none},
	}
	for i, tt := range tests {
		r := newRig(t, t.TempDir())
		for k, s := range tt.servers {
			c := remote(t, s.URL, HTTPSettings{}, nil)
			c.Priority = tt.given[k]
			r.Next.Caches = append(r.Next.Caches, c)
		}
		info, err := r.Info(t.Context(), fault.Path(subject))
		if err != nil || info.Source != tt.want.URL {
			t.Errorf("case %d: %+v, %v", i, info, err)
		}
	}
}

// What a cache does not have it is not asked for again in the run.
func TestMissingIsRemembered(t *testing.T) {
	empty, full := fault.New(t, fault.Files{about: []byte(fault.CacheInfo)}), fault.New(t, subjectCache("none"), fault.Rule{Path: aNAR, Fault: fault.Flip(50)})
	r := newRig(t, t.TempDir(), empty.URL, full.URL)
	if _, err := r.get(t, fault.Path(subject)); KindOf(err) != Integrity || !strings.Contains(err.Error(), empty.URL) {
		t.Errorf("%v", err)
	}
	if n := empty.Count(anInfo); n != 1 {
		t.Errorf("the cache without it is asked %d times", n)
	}
}

// A cache that is slow to say what it is holds nothing up, and is still asked
// for what no other one has.
func TestSlowCache(t *testing.T) {
	slow := fault.Unstarted(t, subjectCache("none"), fault.Rule{Path: about, First: 1, Fault: fault.Hung(fault.BeforeHeaders)})
	slow.Start()
	fast := fault.Files{}
	only := fast.Add(signer, "only", "none", fault.NAR(nil))
	r := newRig(t, t.TempDir(), slow.URL, fault.New(t, fast).URL)
	r.Next.Grace = 20 * time.Millisecond
	if _, err := r.get(t, only.StorePath); err != nil {
		t.Fatal(err)
	}
	if n := slow.Count(anInfo); n != 0 {
		t.Errorf("the slow cache is asked for %d narinfos", n)
	}
	if _, err := r.get(t, fault.Path(subject)); err != nil {
		t.Fatal(err)
	}
	if w, _, _ := r.got(); len(w) > 0 || len(r.Next.Degraded()) > 0 {
		t.Errorf("warnings %q", w)
	}
}

// A cache that fails for several files in a row is asked no more; one that
// fails for some is.
func TestStrikes(t *testing.T) {
	const n = 60
	files := fault.Files{}
	root := files.Wide(signer, n, 4)
	healthy := fault.New(t, files)
	t.Run("all", func(t *testing.T) {
		bad := fault.New(t, files, fault.Rule{Path: anInfo, Fault: fault.Status(500)})
		r := newRig(t, t.TempDir(), bad.URL, healthy.URL)
		r.walk(t, 4, root)
		w, _, _ := r.got()
		// A lookup that failed shortly before may be told of after that.
		if len(w) > maxStrikes || strings.Count(strings.Join(w, "\n"), "going on without this cache") != 1 || bad.Count("") > 12*quick.Attempts {
			t.Errorf("%d requests, warnings %q", bad.Count(""), w)
		}
		if d := r.Next.Degraded(); len(d) != 1 || d[0] != bad.URL {
			t.Errorf("degraded %q", d)
		}
	})
	t.Run("some", func(t *testing.T) {
		bad := fault.New(t, files, fault.Rule{Path: "[ab]*.narinfo", Fault: fault.CutPercent(50, fault.WithLength, fault.Close)})
		r := newRig(t, t.TempDir(), bad.URL, healthy.URL)
		infos := r.walk(t, 1, root)
		from := 0
		for _, i := range infos {
			if i.Source == bad.URL {
				from++
			}
		}
		if from < n/2 {
			w, _, _ := r.got()
			t.Errorf("%d of %d paths came from the cache that is good for most: %q", from, n, w)
		}
		if w, _, _ := r.got(); len(w) > maxWarnings+1 {
			t.Errorf("%d warnings: %q", len(w), w)
		}
	})
	t.Run("last", func(t *testing.T) {
		bad := fault.New(t, files, fault.Rule{Path: aNAR, Fault: fault.Status(500)})
		r := newRig(t, t.TempDir(), bad.URL)
		infos, err := closure.Walk(t.Context(), 4, []storepath.Path{root}, r.Info)
		if err == nil {
			err = r.Prefetch(t.Context(), 4, infos)
		}
		if w, _, _ := r.got(); KindOf(err) != Network || len(w) > 0 {
			t.Errorf("%v, warnings %q", err, w)
		}
	})
}

// As many requests as allowed are in flight, and no more, whatever the protocol.
func TestConnections(t *testing.T) {
	const limit = 7
	files := fault.Files{}
	root := files.Wide(signer, 60, 30)
	for _, http2 := range []bool{false, true} {
		// NARs come only when as many are asked for at a time as may be.
		var asked atomic.Int32
		full := make(chan struct{})
		server := fault.Unstarted(t, files, fault.Rule{Path: aNAR, Fault: func(*fault.Answer) {
			if asked.Add(1) == limit {
				close(full)
			}
			select {
			case <-full:
			case <-t.Context().Done():
			}
		}})
		s := HTTPSettings{Connections: limit}
		if http2 {
			server.EnableHTTP2 = true
			server.StartTLS()
			s.CABundle = bundleOf(t, server)
		} else {
			server.Start()
		}
		r := newRig(t, t.TempDir())
		r.Next.Caches = []*Remote{remote(t, server.URL, s, nil)}
		r.walk(t, 64, root)
		if most := server.Most(); most != limit {
			t.Errorf("HTTP/2 %v: %d requests at a time", http2, most)
		}
	}
}

// readToEnd notes of each answer whether it was read to its end.
type readToEnd struct {
	http.RoundTripper
	mu     sync.Mutex
	bodies []*endingBody
}

type endingBody struct {
	io.ReadCloser
	ended, closed bool
}

func (r *readToEnd) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.RoundTripper.RoundTrip(req)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		b := &endingBody{ReadCloser: resp.Body}
		r.bodies, resp.Body = append(r.bodies, b), b
	}
	return resp, err
}

func (b *endingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.ended = b.ended || err == io.EOF
	return n, err
}

func (b *endingBody) Close() error {
	b.closed = true
	return b.ReadCloser.Close()
}

// Connections are used again, after misses too: all answers are read to their ends, which
// is what net/http asks for, and no request says that its connection shall be closed. How
// many there are depends on how fast net/http learns that a request has gone out.
func TestConnectionsAreKept(t *testing.T) {
	files := fault.Files{}
	root := files.Wide(signer, 30, 3)
	servers := []*fault.Server{fault.New(t, fault.Files{}), fault.New(t, files)}
	r := newRig(t, t.TempDir(), servers[0].URL, servers[1].URL)
	a := r.client.Transport.(*agent)
	plain := a.plain.(*http.Transport)
	if plain.MaxIdleConnsPerHost < a.limit || plain.MaxIdleConns > 0 {
		t.Errorf("of %d connections to a host %d are kept, of all %d", a.limit, plain.MaxIdleConnsPerHost, plain.MaxIdleConns)
	}
	noted := &readToEnd{RoundTripper: plain}
	a.plain = noted
	r.walk(t, 1, root)
	a.plain = plain
	asked := 0
	for _, s := range servers {
		for _, q := range s.Log() {
			if asked++; q.Close {
				t.Errorf("%s: the connection is not to be kept", q.Path)
			}
		}
	}
	if len(noted.bodies) != asked || asked < 2*30 {
		t.Errorf("%d answers to %d requests", len(noted.bodies), asked)
	}
	for i, b := range noted.bodies {
		if !b.ended || !b.closed {
			t.Errorf("answer %d: read to its end %v, closed %v", i, b.ended, b.closed)
		}
	}
}

// A refused path is one line: what it is, which keys there are, what is wrong.
func TestTrustMessages(t *testing.T) {
	files := subjectCache("none")
	server := fault.New(t, files)
	unsigned := fault.New(t, files, fault.Rule{Path: anInfo, Fault: func(a *fault.Answer) { a.Body = withoutField(a.Body, "Sig") }})
	key := func(s fault.Signer, name string) narinfo.Key { return narinfo.Key{Name: name, Public: s.Key().Public} }
	official := fault.Signer("cache.nixos.org-1")
	made := fault.Files{}
	made.Add(official, subject, "none", subjectNAR)
	fake := fault.New(t, made)
	base, file := fault.Path(subject).Base(), fault.Path(subject).Hash()+".narinfo"
	for _, tt := range []struct {
		server *fault.Server
		keys   narinfo.Keys
		want   string
	}{
		{unsigned, narinfo.Keys{key("a", "key-a"), key("b", "key-b")}, "URL: BASE has no signature (trusted: key-a, key-b)"},
		{unsigned, nil, "URL: BASE has no signature (no key is trusted)"},
		{server, narinfo.Keys{key("a", "key-a")}, `URL: BASE is signed by "test-1", which is not trusted (trusted: key-a)`},
		{server, narinfo.Keys{key("a", "test-1")}, `URL: BASE has a signature that says "test-1" but is not by the trusted key of that name: forged, or the trusted key has the wrong value`},
		{fake, narinfo.Keys{key("a", "cache.nixos.org-1")}, `URL: BASE has a signature that says "cache.nixos.org-1" but is not by the trusted key of that name: forged, or the trusted key has the wrong value; the key given as cache.nixos.org-1 is not the one of cache.nixos.org, which is ` + narinfo.CacheNixosOrg},
	} {
		r := newRig(t, t.TempDir(), tt.server.URL)
		r.Next.Caches[0].Keys = tt.keys
		_, err := r.get(t, fault.Path(subject))
		want := strings.NewReplacer("URL", tt.server.URL+"/"+file, "BASE", base).Replace(tt.want)
		var u *narinfo.UnsignedError
		if err == nil || err.Error() != want || KindOf(err) != Integrity || !errors.As(err, &u) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}
