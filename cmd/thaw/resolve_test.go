package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Names are looked up on the web with what the run has: credentials, and the exit
// codes of caches.
func TestResolveWeb(t *testing.T) {
	const hello = "/nix/store/iv6mnmnw8z16ca4yawz70zfapazdfyvq-hello-static-1.0"
	pages := map[string]string{
		"/channel/store-paths.xz": hello + "\n", "/channel/git-revision": "0123456789abcdef\n",
		"/job/p/j/hello.x86_64-linux/latest-finished": `{"id": 7, "finished": 1, "buildstatus": 0, "system": "x86_64-linux", "buildoutputs": {"out": {"path": "` + hello + `"}}}`,
		"/wrong/store-paths.xz":                       "<html>\n",
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		page, ok := pages[r.URL.Path]
		switch {
		case user != "me" || password != "word":
			w.WriteHeader(http.StatusUnauthorized)
		case !ok:
			w.WriteHeader(http.StatusNotFound)
		default:
			w.Write([]byte(page))
		}
	}))
	defer server.Close()
	p := newProgram(t)
	netrc := filepath.Join(p.dir, "netrc")
	if err := os.WriteFile(netrc, []byte("machine 127.0.0.1 login me password word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"hello-static --from channel:SERVER/channel", 0, hello + "\n", "resolved   hello-static-1.0 in channel SERVER/channel, git revision 0123456789abcdef\n"},
		{"hello --arch x86_64-linux --from hydra:SERVER/p/j", 0, hello + "\n", "resolved   hello-static-1.0 in hydra job SERVER/job/p/j/hello.x86_64-linux, build 7, x86_64-linux, latest-finished\n"},
		{"--from hydra:SERVER/job/p/j/hello.x86_64-linux", 0, hello + "\n", "resolved   hello-static-1.0 in hydra job SERVER/job/p/j/hello.x86_64-linux, build 7, x86_64-linux, latest-finished\n"},
		{"hello --from channel:SERVER/wrong", exitIntegrity, "", "thaw: SERVER/wrong/store-paths.xz: line 1: \"<html>\" is not a store path: does not start with /nix/store/\n"},
		{"hello --from channel:SERVER/channel --netrc /dev/null", exitNetwork, "", "thaw: SERVER/channel/store-paths.xz: the server wants credentials: none are in the URL or in /dev/null (HTTP 401)\n"},
	} {
		args := append([]string{"resolve", "--netrc", netrc}, strings.Fields(strings.ReplaceAll(tt.args, "SERVER", server.URL))...)
		o := p.try(t, args...)
		if want := strings.ReplaceAll(tt.stderr, "SERVER", server.URL); o.code != tt.code || o.stdout != tt.stdout || !strings.HasPrefix(o.stderr, want) {
			t.Errorf("%s: exit %d\n%s%swant exit %d\n%s%s", tt.args, o.code, o.stdout, o.stderr, tt.code, tt.stdout, want)
		}
	}
}
