package substituter

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	fault "thaw/internal/faultserver"
	"thaw/narinfo"
	"thaw/storepath"
)

// signer signs the objects of these tests.
const signer = fault.Signer("test-1")

// quick is the patience of these tests: with few attempts, and with a machine that takes
// its time. Its budget is less than the hour that some servers ask to wait.
var quick = Retry{Attempts: 3, Soon: time.Millisecond, Later: 2 * time.Millisecond, Budget: 30 * time.Minute}

// quickStall is their longest silence where a server is silent for ever. Where it is not,
// they wait for it longer than any test takes.
const (
	quickStall = 200 * time.Millisecond
	endless    = time.Hour
)

// stalling is a server as a client sees it that knows by which rule it is silent: it loses
// its patience with those answers, and with no others, however slow they are.
type stalling struct {
	*HTTP
	rule fault.Rule

	mu    sync.Mutex
	asked map[string]int
}

// calmHTTP is [NewHTTP] for a server with a rule; the zero rule is silent nowhere.
func calmHTTP(rawURL string, client *http.Client, s HTTPSettings, rule fault.Rule) (Transport, error) {
	s.Stall = endless
	h, err := NewHTTP(rawURL, client, s)
	if err == nil && rule.First > 0 { // both sides shall count alike
		h.sign = func(req *http.Request) *http.Request {
			req.Header.Set(fault.Nth, fmt.Sprint(req.Context().Value(nthKey{})))
			return req
		}
	}
	return &stalling{HTTP: h, rule: rule, asked: map[string]int{}}, err
}

// nthKey is for how often a file was asked for, in the context of a request.
type nthKey struct{}

// Get implements [Transport].
func (s *stalling) Get(ctx context.Context, ref string, part Part) (*Body, error) {
	s.mu.Lock()
	s.asked[ref]++
	nth := s.asked[ref]
	s.mu.Unlock()
	ctx = context.WithValue(ctx, nthKey{}, nth)
	part.Silence = 0
	a := &fault.Answer{Header: http.Header{}, Request: &http.Request{URL: &url.URL{Path: "/" + ref}}}
	if ok, _ := path.Match(s.rule.Path, ref); s.rule.Fault != nil && (ok || s.rule.Path == "") && (s.rule.First == 0 || nth <= s.rule.First) {
		s.rule.Fault(a)
	}
	if a.Hang != fault.Nowhere {
		part.Silence = quickStall
	}
	body, err := s.HTTP.Get(ctx, ref, part)
	if err == nil && (a.End == fault.Stall || a.Drip > 0 && a.Bytes == 1) {
		alive := body.ReadCloser.(*aliveBody)
		alive.stall, alive.left = quickStall, quickStall
	}
	return body, err
}

// events notes what happens.
type events struct {
	mu       sync.Mutex
	warnings []string
	received map[string]int64 // by cache
	stored   int
}

func (e *events) events() *Events {
	e.received = map[string]int64{}
	return &Events{
		Warn: func(s string) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.warnings = append(e.warnings, s)
		},
		Received: func(cache string, n int) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.received[cache] += int64(n)
		},
		Stored: func(*narinfo.Info) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.stored++
		},
	}
}

// got returns a copy of what was noted.
func (e *events) got() (warnings []string, received map[string]int64, stored int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.warnings...), maps.Clone(e.received), e.stored
}

// rig is a disk cache over some remote ones.
type rig struct {
	*Disk
	events
	client *http.Client
}

// newRig opens a disk cache in dir, over caches at URLs with falling priority,
// for tests without servers that are silent on purpose.
func newRig(t testing.TB, dir string, urls ...string) *rig {
	t.Helper()
	return newRigWith(t, fault.Rule{}, dir, urls...)
}

// newRigWith is newRig for tests in which the first server is, by a rule.
func newRigWith(t testing.TB, rule fault.Rule, dir string, urls ...string) *rig {
	t.Helper()
	r := &rig{}
	settings := HTTPSettings{Connect: endless}
	ev := r.events.events()
	client, err := settings.Client()
	if err != nil {
		t.Fatal(err)
	}
	r.client = client
	t.Cleanup(client.CloseIdleConnections)
	list := &List{Grace: endless, Events: ev}
	for i, u := range urls {
		c := &Remote{Keys: narinfo.Keys{signer.Key()}, Priority: i + 1, Retry: quick, Events: ev}
		if d, ok := strings.CutPrefix(u, "file://"); ok {
			c.From = File{d}
		} else if c.From, err = calmHTTP(u, client, settings, rule); err != nil {
			t.Fatal(err)
		}
		rule = fault.Rule{} // only the first cache is at fault
		list.Caches = append(list.Caches, c)
	}
	if r.Disk, err = OpenDisk(dir, list, narinfo.Keys{signer.Key()}, 3, ev); err != nil {
		t.Fatal(err)
	}
	return r
}

// get fetches and reads one object. It does not hang.
func (r *rig) get(t testing.TB, p storepath.Path) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Minute, errHung)
	defer cancel()
	info, err := r.Info(ctx, p)
	if err != nil {
		return nil, err
	}
	rc, err := r.Open(ctx, info)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(rc)
}

var errHung = errors.New("this takes longer than ten minutes")

// rests returns the files below dir that are neither nix-cache-info nor a whole
// object or narinfo.
func rests(t testing.TB, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		name := d.Name()
		if err == nil && !d.IsDir() && name != "nix-cache-info" && (strings.HasPrefix(name, ".") || filepath.Ext(name) == partSuffix) {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// files returns all files below dir but nix-cache-info.
func files(t testing.TB, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "nix-cache-info" {
			names = append(names, d.Name())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// noLeaks fails a test that ends with more goroutines than it began with.
func noLeaks(t testing.TB) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if runtime.NumGoroutine() <= before {
				return
			}
		}
		stacks := make([]byte, 1<<20)
		t.Errorf("%d goroutines instead of %d\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
	})
}

// writeFiles puts the files of a cache into a directory.
func writeFiles(t testing.TB, dir string, files fault.Files) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// urlOf returns the URL in the only narinfo of a cache.
func urlOf(t testing.TB, files fault.Files) string {
	t.Helper()
	for name, text := range files {
		if strings.HasSuffix(name, ".narinfo") {
			info, err := narinfo.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			return info.URL
		}
	}
	t.Fatal("no narinfo")
	return ""
}

// withoutField removes the lines of a field from a narinfo.
func withoutField(text []byte, name string) (out []byte) {
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(line, []byte(name+": ")) {
			out = append(out, line...)
		}
	}
	return out
}

// bundleOf returns a file with the certificate of a server.
func bundleOf(t testing.TB, server *fault.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// readKeys reads a file with a public key.
func readKeys(t testing.TB, file string) narinfo.Keys {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	k, err := narinfo.ParseKey(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return narinfo.Keys{k}
}

// readList reads a file with a store path in each line.
func readList(t testing.TB, file string) (paths []storepath.Path) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		p, err := storepath.Parse(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	return paths
}
