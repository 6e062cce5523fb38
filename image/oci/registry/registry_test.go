package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"thaw/image/oci"
	"thaw/internal/testbed"
	"thaw/rootfs"
)

// image writes a layout of an image of three layers for each architecture, whose
// second has n bytes.
func image(t *testing.T, n int, archs ...string) string {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	l, err := oci.Create(root)
	if err != nil {
		t.Fatal(err)
	}
	var images []oci.Descriptor
	for _, arch := range archs {
		w, err := l.NewWriter(oci.Options{
			Platform: oci.Platform{Architecture: arch}, Compression: "zstd",
			Layers: []oci.Layer{{Paths: []string{"base"}}, {Paths: []string{"tool"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		file := func(path string, size int) error {
			data := strings.Repeat(path+"\n", size)[:size]
			return w.Add(rootfs.Entry{Path: path, Mode: 0o444, Size: int64(size), ModTime: time.Unix(1, 0)}, strings.NewReader(data))
		}
		root := rootfs.Dir(".", 0o755)
		root.ModTime = time.Unix(1, 0)
		if err := errors.Join(w.Add(root, nil), file("base", 100_000), file("tool", n), file("arch-"+arch, 10), w.Close()); err != nil {
			t.Fatal(err)
		}
		images = append(images, w.Image())
	}
	if _, err := l.Finish("", images...); err != nil {
		t.Fatal(err)
	}
	return dir
}

// home is the one of all tests, as docker's library remembers the first that it sees.
var home string

func TestMain(m *testing.M) {
	var err error
	if home, err = os.MkdirTemp("", "home"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(home)
	os.Exit(code)
}

// noCredentials keeps those of whoever runs the test out of it: it returns a home in
// which there is nothing.
func noCredentials(t *testing.T) string {
	t.Helper()
	if err := errors.Join(os.RemoveAll(home), os.Mkdir(home, 0o700)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	for _, name := range []string{"DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "REGISTRY_AUTH_FILE"} {
		t.Setenv(name, "")
	}
	return home
}

func TestDistribution(t *testing.T) {
	host := testbed.Registry(t)
	noCredentials(t)
	push := func(dir, name string, o Options, blobs int) *Result {
		t.Helper()
		r, err := Push(t.Context(), dir, host+"/"+name, o)
		if err != nil {
			t.Fatal(err)
		}
		if r.Blobs != blobs || (r.Sent > 0) != (blobs > 0) || r.Sent > r.Total {
			t.Errorf("%s: %d blobs sent, %d of %d bytes; want %d blobs", name, r.Blobs, r.Sent, r.Total, blobs)
		}
		return r
	}
	first := push(image(t, 1000, "amd64"), "team/hello:1", Options{}, 4) // and the configuration
	push(image(t, 1000, "amd64"), "team/hello:1", Options{}, 0)
	push(image(t, 1000, "amd64"), "team/hello:again", Options{}, 0)
	push(image(t, 1001, "amd64"), "team/hello:2", Options{}, 2) // the layer and the configuration
	both := push(image(t, 1001, "amd64", "arm64"), "team/hello:3", Options{}, 2)
	push(image(t, 1000, "amd64"), "other:1", Options{MountFrom: "team/hello"}, 1) // a configuration is not mounted
	push(image(t, 1000, "amd64"), "third:1", Options{}, 4)

	testbed.Tool(t, "skopeo")
	for name, want := range map[string]string{"team/hello:1": first.Digest, "other:1": first.Digest, "team/hello:3": both.Digest} {
		args := []string{"inspect", "--tls-verify=false", "--override-arch=amd64", "docker://" + host + "/" + name}
		var seen struct {
			Digest, Architecture string
			Layers               []string
		}
		if err := json.Unmarshal(testbed.Run(t, "skopeo", args...), &seen); err != nil {
			t.Fatal(err)
		}
		if seen.Digest != want || seen.Architecture != "amd64" || len(seen.Layers) != 3 {
			t.Errorf("%s: skopeo sees %+v, want %s", name, seen, want)
		}
	}
	testbed.Run(t, "skopeo", "--insecure-policy", "copy", "--quiet", "--all", "--src-tls-verify=false", "docker://"+host+"/team/hello:3", "oci:"+t.TempDir()+":x")
}

// A damaged layer is refused by the registry.
func TestDamaged(t *testing.T) {
	host := testbed.Registry(t)
	noCredentials(t)
	dir := image(t, 1000, "amd64")
	files, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-1] ^= 1
		os.WriteFile(f, b, 0o644)
		if _, err := Push(t.Context(), dir, fmt.Sprintf("%s/damaged%d:1", host, i), Options{}); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s is damaged: %v", f, err)
		}
		b[len(b)-1] ^= 1
		os.WriteFile(f, b, 0o644)
	}
	if _, err := Push(t.Context(), dir, host+"/damaged:1", Options{}); err != nil {
		t.Error(err)
	}
}

// asked are the requests that a server got, with their credentials, and what it granted
// them.
type asked struct {
	mu            sync.Mutex
	list, granted []string
}

func (a *asked) note(r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
}

func (a *asked) grant(scopes []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.granted = append(a.granted, scopes...)
}

// Credentials of the docker file go to the registry, and not to where it redirects.
func TestCredentials(t *testing.T) {
	home := noCredentials(t)
	var elsewhere, here asked
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere.note(r)
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Location", "/upload")
		w.WriteHeader(http.StatusCreated)
	}))
	defer other.Close()
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("me:secret"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		here.note(r)
		io.Copy(io.Discard, r.Body)
		switch {
		case r.Header.Get("Authorization") != basic:
			w.Header().Set("WWW-Authenticate", `Basic realm="here"`)
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		case r.Method == http.MethodPost: // blobs are to be sent elsewhere
			w.Header().Set("Location", other.URL+"/upload")
			w.WriteHeader(http.StatusAccepted)
		case r.Method == http.MethodPut:
			w.WriteHeader(http.StatusCreated)
		}
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	dir := image(t, 1000, "amd64")

	_, err := Push(t.Context(), dir, host+"/x:1", Options{})
	var refused *Error
	if !errors.As(err, &refused) || !refused.Refused() || refused.Registry != host || strings.Contains(err.Error(), "\n") {
		t.Errorf("without credentials: %v", err)
	}
	config := fmt.Sprintf(`{"auths":{%q:{"auth":%q},"elsewhere.example.org":{"auth":"eDp5"}}}`, host, strings.TrimPrefix(basic, "Basic "))
	if err := errors.Join(os.Mkdir(filepath.Join(home, ".docker"), 0o700), os.WriteFile(filepath.Join(home, ".docker", "config.json"), []byte(config), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := Push(t.Context(), dir, host+"/x:1", Options{}); err != nil {
		t.Error(err)
	}
	if len(elsewhere.list) < 4 {
		t.Errorf("elsewhere got %d requests", len(elsewhere.list))
	}
	for _, r := range elsewhere.list {
		if !strings.HasSuffix(r, " ") {
			t.Errorf("elsewhere got %s", r)
		}
	}
}

// Nothing is sent to other machines without encryption, unless that is allowed.
func TestGuard(t *testing.T) {
	for _, test := range []struct {
		url      string
		insecure bool
		want     string
	}{
		{"https://example.org/v2/", false, ""},
		{"http://example.org/v2/", true, ""},
		{"http://localhost:5000/v2/", false, ""},
		{"http://127.0.0.9/v2/", false, ""},
		{"http://[::1]:80/v2/", false, ""},
		{"http://10.0.0.1:5000/v2/", false, "10.0.0.1:5000 does not speak TLS, and nothing is sent without encryption but to this machine"},
		{"http://localhost.example.org/v2/", false, "localhost.example.org does not speak TLS, and nothing is sent without encryption but to this machine"},
	} {
		u, err := url.Parse(test.url)
		if err != nil {
			t.Fatal(err)
		}
		sent := false
		g := &guard{roundTrip(func(*http.Request) (*http.Response, error) { sent = true; return nil, nil }), test.insecure}
		_, err = g.RoundTrip(&http.Request{URL: u})
		if sent != (test.want == "") || err != nil && err.Error() != test.want || err == nil && test.want != "" {
			t.Errorf("%s: %v, sent %v", test.url, err, sent)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A blob that is sent once more, as on another connection, counts once.
func TestCounting(t *testing.T) {
	c := &counting{next: roundTrip(func(r *http.Request) (*http.Response, error) {
		if _, err := io.CopyN(io.Discard, r.Body, 3); err != nil {
			return nil, err
		}
		again, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, again)
		return &http.Response{StatusCode: http.StatusAccepted}, err
	})}
	r, err := http.NewRequest(http.MethodPatch, "http://example.org/", strings.NewReader("content"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.RoundTrip(r); err != nil || c.bytes.Load() != 7 || c.blobs.Load() != 1 {
		t.Errorf("%d bytes of %d blobs, %v", c.bytes.Load(), c.blobs.Load(), err)
	}
}

func TestErrors(t *testing.T) {
	noCredentials(t)
	dir := image(t, 1000, "amd64")
	gone, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	cancel(why)
	teapot := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, strings.Repeat("no\n", 1000))
	}))
	defer teapot.Close()
	host := strings.TrimPrefix(teapot.URL, "http://")
	for _, test := range []struct {
		ctx       context.Context
		dir, name string
		o         Options
		want      string
	}{
		{t.Context(), dir, "Not a name", Options{}, `the name of an image in a registry is like example.org/hello:1.0: not "Not a name"`},
		{t.Context(), dir, host + "/x", Options{MountFrom: "A b"}, `a repository is like base/image: not "A b"`},
		{t.Context(), dir, host + "/x", Options{}, host + ": I'm a teapot (status 418)"},
		{t.Context(), t.TempDir(), host + "/x", Options{}, "is no OCI image layout: it has no file oci-layout"},
		{t.Context(), dir, "127.0.0.1:1/x", Options{}, "connection refused"},
		{gone, dir, host + "/x", Options{}, "why"},
	} {
		if _, err := Push(test.ctx, test.dir, test.name, test.o); err == nil || !strings.HasSuffix(err.Error(), test.want) {
			t.Errorf("%v, want %s", err, test.want)
		}
	}
}
