package registry

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thaw/internal/testbed"
)

// The registry knows one user, me, whose password is "secret".
const htpasswd = "me:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n"

// write writes a file of a test's home.
func write(t *testing.T, mode os.FileMode, text string, elem ...string) string {
	t.Helper()
	path := filepath.Join(elem...)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

// helper writes a program that gives credentials of one server, as docker's helpers
// do, and fails for others.
func helper(t *testing.T, dir, name, server, user, password string) {
	t.Helper()
	answer, err := json.Marshal(map[string]string{"ServerURL": server, "Username": user, "Secret": password})
	if err != nil {
		t.Fatal(err)
	}
	write(t, 0o755, fmt.Sprintf("#!/bin/sh\nread -r server\nif [ \"$1 $server\" = 'get %s' ]; then echo '%s'; else echo 'credentials not found in native keychain'; exit 1; fi\n", server, answer),
		dir, "docker-credential-"+name)
}

// The registry asks for a password, which comes from wherever docker and podman keep
// it; a wrong one, or none, is refused in one line.
func TestPassword(t *testing.T) {
	passwords := write(t, 0o600, htpasswd, t.TempDir(), "htpasswd")
	host := testbed.Registry(t, fmt.Sprintf("auth: {htpasswd: {realm: here, path: %q}}", passwords))
	dir := image(t, 1000, "amd64")
	encoded := func(password string) string { return base64.StdEncoding.EncodeToString([]byte("me:" + password)) }
	auths := func(host, password string) string {
		return fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, encoded(password))
	}
	for i, test := range []struct {
		what   string
		set    func(home string)
		status int // of the refusal
	}{
		{"none", func(string) {}, http.StatusUnauthorized},
		{"wrong", func(home string) { write(t, 0o600, auths(host, "guess"), home, ".docker/config.json") }, http.StatusUnauthorized},
		{"of another registry", func(home string) { write(t, 0o600, auths("other.example.org", "secret"), home, ".docker/config.json") }, http.StatusUnauthorized},
		{"docker's", func(home string) { write(t, 0o600, auths(host, "secret"), home, ".docker/config.json") }, 0},
		{"docker's, of a repository", func(home string) { write(t, 0o600, auths(host+"/team/hello", "secret"), home, ".docker/config.json") }, 0},
		{"DOCKER_CONFIG", func(home string) {
			t.Setenv("DOCKER_CONFIG", filepath.Dir(write(t, 0o600, auths(host, "secret"), home, "elsewhere/config.json")))
		}, 0},
		{"REGISTRY_AUTH_FILE", func(home string) {
			t.Setenv("REGISTRY_AUTH_FILE", write(t, 0o600, auths(host, "secret"), home, "auth.json"))
		}, 0},
		{"podman's", func(home string) { write(t, 0o600, auths(host, "secret"), home, ".config/containers/auth.json") }, 0},
		{"podman's, of this session", func(home string) {
			write(t, 0o600, auths(host, "secret"), home, "run/containers/auth.json")
			t.Setenv("XDG_RUNTIME_DIR", filepath.Join(home, "run"))
		}, 0},
		{"credHelpers", func(home string) {
			helper(t, home, "one", host, "me", "secret")
			write(t, 0o600, fmt.Sprintf(`{"credHelpers":{%q:"one"},"auths":{%q:{"auth":%q}}}`, host, host, encoded("guess")), home, ".docker/config.json")
		}, 0},
		{"credsStore", func(home string) {
			helper(t, home, "all", host, "me", "secret")
			write(t, 0o600, fmt.Sprintf(`{"credsStore":"all","auths":{%q:{}}}`, host), home, ".docker/config.json")
		}, 0},
		{"credsStore, not there", func(home string) {
			helper(t, home, "all", "other.example.org", "me", "secret")
			write(t, 0o600, `{"credsStore":"all"}`, home, ".docker/config.json")
		}, http.StatusUnauthorized},
	} {
		t.Run(test.what, func(t *testing.T) {
			home := noCredentials(t)
			t.Setenv("PATH", home+":"+os.Getenv("PATH"))
			test.set(home)
			_, err := Push(t.Context(), dir, fmt.Sprintf("%s/team/hello:%d", host, i), Options{})
			var refused *Error
			if test.status == 0 && err != nil {
				t.Error(err)
			} else if test.status != 0 && (!errors.As(err, &refused) || refused.Status != test.status || !refused.Refused() || strings.Contains(err.Error(), "\n")) {
				t.Errorf("%v, want status %d", err, test.status)
			}
		})
	}
	home := noCredentials(t)
	t.Setenv("PATH", home+":"+os.Getenv("PATH"))
	write(t, 0o755, "#!/bin/sh\necho 'the key\nring is locked'\nexit 2\n", home, "docker-credential-broken")
	for text, want := range map[string]string{
		`{"credsStore":"broken"}`: "the key ring is locked", `{"credsStore":"absent"}`: "docker-credential-absent", `{`: "config.json",
	} {
		write(t, 0o600, text, home, ".docker/config.json")
		var plain *Error
		if _, err := Push(t.Context(), dir, host+"/x", Options{}); err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		} else if errors.As(err, &plain) {
			t.Errorf("%s: %v is said to come of the registry", text, err)
		}
	}
}

// named is a server of a test under another name than 127.0.0.1.
func named(s *httptest.Server) string {
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		panic(err)
	}
	return "localhost:" + port
}

// A registry that takes tokens: the password goes to the service that makes them, the
// token to the registry, and neither goes where blobs are sent instead.
func TestToken(t *testing.T) {
	inner := testbed.Registry(t)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("me:secret"))
	var makes, takes, elsewhere asked
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		makes.note(r)
		if r.Header.Get("Authorization") != basic {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		makes.grant(r.URL.Query()["scope"])
		io.WriteString(w, `{"token":"t0ken","expires_in":60}`)
	}))
	defer service.Close()
	to := func(w http.ResponseWriter, r *http.Request) {
		proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: inner})
			p.Out.Host = p.In.Host
			p.Out.Header.Del("Authorization")
		}}
		proxy.ServeHTTP(w, r)
	}
	// Uploads go to another host, which gives them to the registry.
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere.note(r)
		to(w, r)
	}))
	defer storage.Close()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		takes.note(r)
		switch {
		case r.Header.Get("Authorization") != "Bearer t0ken":
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="front"`, named(service)))
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == http.MethodPost:
			r.Host = named(storage)
			to(w, r)
		default:
			to(w, r)
		}
	}))
	defer front.Close()
	host := strings.TrimPrefix(front.URL, "http://")
	home := noCredentials(t)
	dir := image(t, 1000, "amd64")
	var refused *Error
	if _, err := Push(t.Context(), dir, host+"/a:1", Options{}); !errors.As(err, &refused) || !refused.Refused() || refused.Registry != host {
		t.Errorf("without a password: %v", err)
	}
	write(t, 0o600, fmt.Sprintf(`{"auths":{%q:{"username":"me","password":"secret"}}}`, host), home, ".docker/config.json")
	r, err := Push(t.Context(), dir, host+"/a:1", Options{})
	if err != nil || r.Blobs != 4 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err = Push(t.Context(), dir, host+"/b:1", Options{MountFrom: "a"}); err != nil || r.Blobs != 1 {
		t.Errorf("from another repository: %+v, %v", r, err)
	}
	if all := strings.Join(makes.granted, " "); !strings.Contains(all, "repository:a:push,pull") || !strings.Contains(all, "repository:b:push,pull") || !strings.Contains(all, "repository:a:pull") {
		t.Errorf("tokens are asked for %s", all)
	}
	for _, r := range takes.list {
		if strings.Contains(r, "Basic") {
			t.Errorf("the registry got a password: %s", r)
		}
	}
	if len(elsewhere.list) < 8 {
		t.Errorf("elsewhere got %d requests", len(elsewhere.list))
	}
	for _, r := range elsewhere.list {
		if !strings.HasSuffix(r, " ") {
			t.Errorf("elsewhere got %s", r)
		}
	}
}
