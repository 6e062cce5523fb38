package registry

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"thaw/internal/testbed"
)

// failing stands before a registry, and fails the first request of each kind.
func failing(t *testing.T, registry string, fail map[string]func(http.ResponseWriter, *http.Request)) string {
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(&url.URL{Scheme: "http", Host: registry})
		p.Out.Host = p.In.Host
	}}
	var mu sync.Mutex
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind := r.Method + " manifest"
		if strings.Contains(r.URL.Path, "/blobs/") {
			kind = r.Method + " blob"
		}
		mu.Lock()
		f := fail[kind]
		delete(fail, kind)
		mu.Unlock()
		if f != nil {
			f(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() {
		for kind := range fail {
			t.Errorf("there was no %s to fail", kind)
		}
	})
	return strings.TrimPrefix(s.URL, "http://")
}

// What fails once is tried again, an upload from its beginning: whether the registry
// says so, before it has the blob or after, or the connection ends within it.
func TestRetry(t *testing.T) {
	registry := testbed.Registry(t)
	noCredentials(t)
	says := func(status int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }
	}
	dir := image(t, 5<<20, "amd64", "arm64")
	// cut lets half of a blob through to the registry.
	cut := func(w http.ResponseWriter, r *http.Request) {
		part, err := http.NewRequest(http.MethodPatch, "http://"+registry+r.URL.RequestURI(), io.LimitReader(r.Body, r.ContentLength/2))
		if err == nil {
			part.ContentLength = r.ContentLength / 2
			_, err = http.DefaultTransport.RoundTrip(part)
		}
		if err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	}
	var wg sync.WaitGroup
	for name, fail := range map[string]map[string]func(http.ResponseWriter, *http.Request){
		"cut":    {"PATCH blob": cut},
		"before": {"PATCH blob": says(http.StatusServiceUnavailable), "PUT manifest": says(http.StatusTooManyRequests)},
		"after": {"PATCH blob": func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusInternalServerError)
		}, "HEAD blob": says(http.StatusBadGateway)},
		"around": {"POST blob": says(http.StatusGatewayTimeout), "PUT blob": says(http.StatusBadGateway)},
	} {
		host := failing(t, registry, fail)
		wg.Go(func() {
			if r, err := Push(t.Context(), dir, host+"/"+name+":1", Options{Jobs: 1, wait: time.Millisecond}); err != nil {
				t.Errorf("%s: %v", name, err)
			} else if r.Sent > r.Total {
				t.Errorf("%s: %d bytes of %d are sent", name, r.Sent, r.Total)
			}
			// All of it is there.
			if r, err := Push(t.Context(), dir, registry+"/"+name+":1", Options{}); err != nil || r.Blobs > 0 {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
		})
	}
	wg.Wait()
}

// What a registry refuses is told with its reason in one line.
func TestRefused(t *testing.T) {
	noCredentials(t)
	dir := image(t, 1000, "amd64")
	var wg sync.WaitGroup
	for _, test := range []struct {
		status     int
		body, want string
		login      bool // would help
	}{
		{http.StatusUnauthorized, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, "authentication required (status 401)", true},
		{http.StatusForbidden, `{"errors":[{"code":"DENIED","message":"requested access to\nthe resource is denied"}]}`, "requested access to the resource is denied (status 403)", true},
		{http.StatusForbidden, "<html>blocked</html>", "Forbidden (status 403)", true},
		{http.StatusNotFound, `{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}`, "repository name not known to registry (status 404)", false},
		{http.StatusNotFound, "", "Not Found (status 404)", false},
		{http.StatusRequestEntityTooLarge, "", "Request Entity Too Large (status 413)", false},
		{http.StatusInternalServerError, "", "Internal Server Error (status 500)", false},
		{http.StatusServiceUnavailable, `{"errors":[{"code":"UNAVAILABLE","message":"in maintenance"}]}`, "in maintenance (status 503)", false},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v2/" {
				return
			}
			w.Header().Set("Content-Type", "application/json")
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.WriteHeader(test.status)
			io.WriteString(w, test.body)
		}))
		defer s.Close()
		wg.Go(func() {
			host := strings.TrimPrefix(s.URL, "http://")
			_, err := Push(t.Context(), dir, host+"/a:1", Options{wait: time.Millisecond})
			var refused *Error
			if !errors.As(err, &refused) || refused.Status != test.status || refused.Refused() != test.login || err.Error() != host+": "+test.want {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
	wg.Wait()
}

// Why there is no answer is told once, and by what went wrong with TLS where that was
// tried. Without encryption nothing is sent to another machine.
func TestUnreachable(t *testing.T) {
	none := errors.New("dial tcp 10.0.0.1:5000: i/o timeout")
	request := func(scheme, host string, err error) error {
		return &url.Error{Op: "Get", URL: scheme + "://" + host + "/v2/", Err: err}
	}
	const host = "10.0.0.1:5000"
	plain := request("http", host, &plainError{&url.URL{Scheme: "http", Host: host}})
	const withoutTLS = host + " does not speak TLS, and nothing is sent without encryption but to this machine"
	for _, test := range []struct {
		err  error
		want string
	}{
		{errors.Join(request("https", host, none), plain), host + ": dial tcp 10.0.0.1:5000: i/o timeout"},
		{errors.Join(request("https", host, errors.New("x509: certificate signed by unknown authority")), plain), host + ": x509: certificate signed by unknown authority"},
		{errors.Join(request("https", host, http.ErrSchemeMismatch), plain), withoutTLS},
		{plain, withoutTLS},
		{errors.Join(request("https", host, none), request("http", host, none)), host + ": dial tcp 10.0.0.1:5000: i/o timeout"},
		{request("https", "token.example.org", none), host + ": token.example.org: dial tcp 10.0.0.1:5000: i/o timeout"},
		{errors.New("what\nelse"), host + ": what else"},
	} {
		ref, err := name.NewTag(host + "/x")
		if err != nil {
			t.Fatal(err)
		}
		if got := failure(t.Context(), ref, test.err); got.Error() != test.want {
			t.Errorf("%v: %v, want %s", test.err, got, test.want)
		}
	}
}
