// Package faultserver is a binary cache for tests, served over loopback, that
// misbehaves as its rules say and counts what it is asked for.
package faultserver

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Files is the content of a cache: bytes by slash-separated path, such as
// "nix-cache-info" or "nar/abc.nar.xz".
type Files map[string][]byte

// Load reads the files of a cache in a directory.
func Load(t testing.TB, dir string) Files {
	t.Helper()
	files := Files{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		files[filepath.ToSlash(rel)] = text
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("no cache in %s: %v", dir, err)
	}
	return files
}

// Rule makes some requests fail. Where several match, all are applied, in order.
type Rule struct {
	Path  string // a pattern of package path, such as "nar/*"; "" for all files
	First int    // only the first requests for each file, so many; 0 for all
	Fault Fault
}

// Nth is a header by which a client may say how many requests for the file it has made,
// this one too. Rules believe it: net/http repeats some requests without a word.
const Nth = "Fault-Nth"

// Server serves Files. Change its fields only before the first request.
type Server struct {
	*httptest.Server
	Files   Files
	Rules   []Rule
	Latency time.Duration // before each answer

	done   chan struct{} // closed when the server goes down: ends stalls
	mu     sync.Mutex
	log    []Request
	counts map[string]int // requests by path
	now    int
	most   int
}

// Request is what is remembered of one request.
type Request struct {
	Path   string // without the leading slash
	Header http.Header
	Host   string
	Close  bool  // the connection is not to be used again
	Status int   // of the answer; 0 if there was none
	Sent   int64 // bytes of body
}

// New starts a server of files that obeys rules. It ends with the test.
func New(t testing.TB, files Files, rules ...Rule) *Server {
	s := Unstarted(t, files, rules...)
	s.Start()
	return s
}

// Unstarted is [New] without the start, for what must be set before: TLS, HTTP/2.
func Unstarted(t testing.TB, files Files, rules ...Rule) *Server {
	s := &Server{Files: files, Rules: rules, done: make(chan struct{}), counts: map[string]int{}}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = quiet
	t.Cleanup(s.Stop)
	return s
}

// Stop takes the server down. It may be called twice.
func (s *Server) Stop() {
	s.mu.Lock()
	select {
	case <-s.done:
		s.mu.Unlock()
		return
	default:
		close(s.done)
	}
	s.mu.Unlock()
	s.CloseClientConnections()
	s.Close()
}

// Log returns the requests so far, in the order in which they came.
func (s *Server) Log() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.log...)
}

// Count returns how many requests came for files that match a pattern.
func (s *Server) Count(pattern string) (n int) {
	for _, r := range s.Log() {
		if match(pattern, r.Path) {
			n++
		}
	}
	return n
}

// Sent returns how many bytes of body were sent for files that match a pattern.
// The last of them may not have been read.
func (s *Server) Sent(pattern string) (n int64) {
	for _, r := range s.Log() {
		if match(pattern, r.Path) {
			n += r.Sent
		}
	}
	return n
}

// Most returns the largest number of requests that were in flight at a time.
func (s *Server) Most() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

func match(pattern, name string) bool {
	ok, _ := path.Match(pattern, name)
	return ok || pattern == ""
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	s.mu.Lock()
	index := len(s.log)
	s.log = append(s.log, Request{Path: name, Header: r.Header.Clone(), Host: r.Host, Close: r.Close})
	s.counts[name]++
	nth := s.counts[name]
	if n, err := strconv.Atoi(r.Header.Get(Nth)); err == nil {
		nth = n
	}
	if s.now++; s.now > s.most {
		s.most = s.now
	}
	s.mu.Unlock()

	s.wait(r, s.Latency)
	a := s.answer(r, name)
	for _, rule := range s.Rules {
		if match(rule.Path, name) && (rule.First == 0 || nth <= rule.First) {
			rule.Fault(a)
		}
	}
	sent := s.send(w, r, a)

	s.mu.Lock()
	s.log[index].Status, s.log[index].Sent = a.Status, sent
	s.now--
	s.mu.Unlock()
}

// wait sleeps, but not longer than the server or the client stays.
func (s *Server) wait(r *http.Request, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.done:
	case <-r.Context().Done():
	}
}

// answer is what an honest server says.
func (s *Server) answer(r *http.Request, name string) *Answer {
	a := &Answer{Request: r, Status: 200, Header: http.Header{}, Cut: -1}
	text, ok := s.Files[name]
	if !ok {
		Status(404)(a)
		return a
	}
	a.Body, a.File = text, text
	sum := sha256.Sum256(text)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	a.Header.Set("ETag", tag)
	a.Header.Set("Accept-Ranges", "bytes")
	from, ok := Offset(r)
	if ifRange := r.Header.Get("If-Range"); ok && (ifRange == "" || ifRange == tag) {
		if from >= int64(len(text)) {
			Status(416)(a)
			a.Header.Set("Content-Range", fmt.Sprintf("bytes */%d", len(text)))
			return a
		}
		a.Status, a.Body = 206, text[from:]
		a.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(text)-1, len(text)))
	}
	return a
}

// Offset returns where a request with "Range: bytes=N-" wants to start.
func Offset(r *http.Request) (from int64, ok bool) {
	text, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	text, open := strings.CutSuffix(text, "-")
	from, err := strconv.ParseInt(text, 10, 64)
	return from, ok && open && err == nil && from >= 0
}
