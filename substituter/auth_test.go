package substituter

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	fault "thaw/internal/faultserver"
	"thaw/narinfo"
)

// withUser returns a server's URL with credentials.
func withUser(server *fault.Server, user *url.Userinfo) string {
	u, err := url.Parse(server.URL)
	if err != nil {
		panic(err)
	}
	u.User = user
	return u.String()
}

// secret is in all credentials of these tests.
const secret = "s3cret-word"

// remote makes a cache with some settings.
func remote(t testing.TB, rawURL string, s HTTPSettings, ev *Events) *Remote {
	t.Helper()
	s.Connect = endless
	client, err := s.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	h, err := calmHTTP(rawURL, client, s, fault.Rule{})
	if err != nil {
		t.Fatal(err)
	}
	return &Remote{From: h, Keys: narinfo.Keys{signer.Key()}, Retry: quick, Events: ev}
}

// Credentials go to the cache's own server with every request, and to no other
// one: not by a redirect, not by a narinfo with another host's URL. They are
// neither shown nor stored.
func TestCredentials(t *testing.T) {
	user := url.UserPassword("joe", secret)
	netrc := func(t *testing.T, server *fault.Server, entry string) *Netrc {
		u, _ := url.Parse(server.URL)
		n, err := ParseNetrc("/etc/netrc", strings.ReplaceAll(entry, "HOST", u.Host))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	const asBasic = "Basic am9lOnMzY3JldC13b3Jk" // printf joe:s3cret-word | base64
	tests := map[string]struct {
		set  func(t *testing.T, server *fault.Server, s *HTTPSettings) (cache string)
		want string
	}{
		"nothing": {func(t *testing.T, server *fault.Server, s *HTTPSettings) string { return server.URL }, ""},
		"URL":     {func(t *testing.T, server *fault.Server, s *HTTPSettings) string { return withUser(server, user) }, asBasic},
		"header": {func(t *testing.T, server *fault.Server, s *HTTPSettings) string {
			s.Authorization = "Bearer " + secret
			return server.URL
		}, "Bearer " + secret},
		"netrc": {func(t *testing.T, server *fault.Server, s *HTTPSettings) string {
			s.Netrc = netrc(t, server, "machine other.example login x password y\nmachine HOST\n  login joe\n  password "+secret+"\n")
			return server.URL
		}, asBasic},
		"netrc without a login": {func(t *testing.T, server *fault.Server, s *HTTPSettings) string {
			s.Netrc = netrc(t, server, "machine 127.0.0.1 password "+secret)
			return server.URL
		}, "Bearer " + secret},
		"netrc of another host": {func(t *testing.T, server *fault.Server, s *HTTPSettings) string {
			s.Netrc = netrc(t, server, "machine other.example login joe password "+secret)
			return server.URL
		}, ""},
		"netrc, default": {func(t *testing.T, server *fault.Server, s *HTTPSettings) string {
			s.Netrc = netrc(t, server, "machine other.example login x password y default login joe password "+secret)
			return server.URL
		}, asBasic},
		"the URL wins": {func(t *testing.T, server *fault.Server, s *HTTPSettings) string {
			s.Netrc = netrc(t, server, "machine HOST login x password y")
			s.Authorization = "Bearer other"
			return withUser(server, user)
		}, asBasic},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			other := fault.New(t, subjectCache("zstd"))
			for how, rule := range map[string]fault.Rule{
				"plain":              {Path: "none", Fault: fault.Status(404)},
				"redirected":         {Path: aNAR, Fault: fault.Redirect(307, other.URL+"%s")},
				"redirected, user":   {Path: aNAR, Fault: fault.Redirect(302, strings.Replace(other.URL, "//", "//joe:"+secret+"@", 1)+"%s")},
				"redirected narinfo": {Path: anInfo, Fault: fault.Redirect(301, other.URL+"%s")},
				"other host's URL":   {Path: anInfo, Fault: fault.Replace("URL: nar/", "URL: "+other.URL+"/nar/")},
				"refused":            {Path: aNAR, Fault: fault.Status(401)},
			} {
				server := fault.New(t, subjectCache("zstd"), rule)
				var s HTTPSettings
				cache := tt.set(t, server, &s)
				dir := t.TempDir()
				r := &rig{}
				ev := r.events.events()
				list := &List{Caches: []*Remote{remote(t, cache, s, ev)}, Events: ev}
				var err error
				if r.Disk, err = OpenDisk(dir, list, narinfo.Keys{signer.Key()}, 1, ev); err != nil {
					t.Fatal(err)
				}
				nar, err := r.get(t, fault.Path(subject))
				if how == "refused" {
					if KindOf(err) != Network || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "credentials") {
						t.Errorf("%s: %v", how, err)
					}
				} else if err != nil || !bytes.Equal(nar, subjectNAR) {
					t.Errorf("%s: %v", how, err)
				}
				for _, q := range server.Log() {
					if got := q.Header.Get("Authorization"); got != tt.want {
						t.Errorf("%s: %s was asked for with %q, want %q", how, q.Path, got, tt.want)
					}
				}
				if w, _, _ := r.got(); strings.Contains(strings.Join(w, "\n"), secret) {
					t.Errorf("a warning has the password: %q", w)
				}
				for _, name := range append(files(t, dir), "nix-cache-info") {
					for _, sub := range []string{"", "nar"} {
						if text, err := os.ReadFile(filepath.Join(dir, sub, name)); err == nil && bytes.Contains(text, []byte(secret)) {
							t.Errorf("%s has the password", name)
						}
					}
				}
			}
			for _, q := range other.Log() {
				for key, values := range q.Header {
					for _, v := range values {
						if strings.Contains(v, secret) || strings.Contains(v, "am9lOn") || key == "Referer" || key == "Authorization" {
							t.Errorf("the other server was told %s: %s", key, v)
						}
					}
				}
			}
			if other.Count(aNAR) < 3 {
				t.Errorf("the other server was asked for %d NARs", other.Count(aNAR))
			}
		})
	}
}

func TestNetrc(t *testing.T) {
	tests := []struct {
		text string
		want []Machine // nil: refused
	}{
		{"", []Machine{}},
		{"machine A login b password c", []Machine{{"a", "b", "c"}}},
		{"machine a\n\tpassword c\n\tlogin b\nmachine d password e", []Machine{{"a", "b", "c"}, {"d", "", "e"}}},
		{"machine a login \"x y\" password \"p\\\"q\"", []Machine{{"a", "x y", "p\"q"}}},
		{"# machine z login z\nmachine a account x password p # more\n", []Machine{{"a", "", "p"}}},
		{"macdef init\ncd /\nmachine no login no\n\nmachine a password p", []Machine{{"a", "", "p"}}},
		{"default login b password c", []Machine{{"", "b", "c"}}},
		{"machine", nil},
		{"machine a password", nil},
		{"login a", nil},
		{"machine a " + secret + " x", nil},
	}
	for _, tt := range tests {
		n, err := ParseNetrc("FILE", tt.text)
		if err != nil {
			if tt.want != nil || strings.Contains(err.Error(), secret) || !strings.HasPrefix(err.Error(), "FILE: ") {
				t.Errorf("%q: %v", tt.text, err)
			}
			continue
		}
		if tt.want == nil || len(n.Machines) != len(tt.want) {
			t.Errorf("%q: %+v", tt.text, n.Machines)
			continue
		}
		for i, m := range n.Machines {
			if m != tt.want[i] {
				t.Errorf("%q: %+v", tt.text, m)
			}
		}
	}
}

func FuzzNetrc(f *testing.F) {
	f.Add("machine a login \"b\\\" password c\nmacdef x\n\ndefault # z")
	f.Fuzz(func(t *testing.T, text string) { ParseNetrc("FILE", text) })
}

// selfSigned makes a client's certificate.
func selfSigned(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secure starts a server with TLS and HTTP/2, and returns a file with the
// authority of its certificate.
func secure(t *testing.T, files fault.Files, seen *[]int, rules ...fault.Rule) (*fault.Server, string) {
	server := fault.Unstarted(t, files, rules...)
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	inner := server.Config.Handler
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*seen = append(*seen, len(r.TLS.PeerCertificates))
		if r.ProtoMajor != 2 {
			t.Errorf("%s came by %s", r.URL, r.Proto)
		}
		inner.ServeHTTP(w, r)
	})
	server.StartTLS()
	return server, bundleOf(t, server)
}

// A client certificate is shown to the host that it is for, and to no other one.
func TestClientCertificate(t *testing.T) {
	var first, second []int
	other, _ := secure(t, subjectCache("zstd"), &second)
	server, bundle := secure(t, subjectCache("zstd"), &first, fault.Rule{Path: aNAR, Fault: fault.Redirect(302, other.URL+"%s")})
	cert := selfSigned(t)
	u, _ := url.Parse(server.URL)
	r := &rig{}
	ev := r.events.events()
	s := HTTPSettings{CABundle: bundle, Certificates: map[string]tls.Certificate{u.Host: cert}}
	list := &List{Caches: []*Remote{remote(t, server.URL, s, ev)}, Events: ev}
	var err error
	if r.Disk, err = OpenDisk(t.TempDir(), list, narinfo.Keys{signer.Key()}, 1, ev); err != nil {
		t.Fatal(err)
	}
	if nar, err := r.get(t, fault.Path(subject)); err != nil || !bytes.Equal(nar, subjectNAR) {
		t.Fatal(err)
	}
	if len(first) != 3 || first[0] != 1 || first[2] != 1 || len(second) != 1 || second[0] != 0 {
		t.Errorf("certificates shown: %v to the cache, %v to the other server", first, second)
	}
}

// What is wrong with a server's TLS is said, and the cache is given up at once.
func TestTLSFaults(t *testing.T) {
	var seen []int
	server, _ := secure(t, subjectCache("zstd"), &seen)
	plain := fault.New(t, subjectCache("zstd"))
	for _, tt := range []struct{ url, want string }{
		{server.URL, "its certificate is not trusted"},
		{strings.Replace(plain.URL, "http:", "https:", 1), "does not speak TLS"},
		{"http://127.0.0.1:1", "connection refused"},
	} {
		start := time.Now()
		_, err := newRig(t, t.TempDir(), tt.url).get(t, fault.Path(subject))
		if KindOf(err) != Network || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.url) {
			t.Errorf("%s: %v", tt.url, err)
		}
		r := newRig(t, t.TempDir(), tt.url, plain.URL)
		if _, err := r.get(t, fault.Path(subject)); err != nil {
			t.Errorf("%s, with a healthy second cache: %v", tt.url, err)
		}
		if w, _, _ := r.got(); len(w) != 1 || !strings.Contains(w[0], "going on without this cache") || len(r.Next.Degraded()) != 1 {
			t.Errorf("%s: warnings %q, degraded %q after %s", tt.url, w, r.Next.Degraded(), time.Since(start))
		}
	}
	if _, err := (HTTPSettings{CABundle: os.DevNull}).Client(); err == nil {
		t.Error("an empty bundle is taken")
	}
}

// A host that does not exist is said, and its cache is given up at once; which hosts do
// is not asked of this machine's servers of names.
func TestNoHost(t *testing.T) {
	gone := &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "no-such-host.invalid", IsNotFound: true}}
	e := failure("http://no-such-host.invalid/x", fmt.Errorf("proxied: %w", gone))
	if e.Kind != Network || !e.dead || e.remedy.again || e.Error() != `http://no-such-host.invalid/x: there is no host "no-such-host.invalid"` {
		t.Errorf("%v: dead %v, %+v", e, e.dead, e.remedy)
	}
	e = failure("http://host/x", &net.OpError{Op: "dial", Err: &net.DNSError{Err: "i/o timeout", Name: "host", IsTimeout: true}})
	if e.Kind != Network || !e.dead || !e.remedy.again || e.Error() != "http://host/x: no connection: it does not answer" {
		t.Errorf("%v: dead %v, %+v", e, e.dead, e.remedy)
	}
}

// The variables for proxies are obeyed. They are read once a process: so this
// runs in another one.
func TestProxy(t *testing.T) {
	const host, variable = "cache.example", "SUBSTITUTER_TEST_PROXY"
	if cache := os.Getenv(variable); cache != "" {
		r := remote(t, cache, HTTPSettings{}, nil)
		plain := r.From.(*stalling).client.Transport.(*agent).plain.(*http.Transport)
		dial := plain.DialContext
		plain.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasPrefix(address, host) { // whether there is one is not asked
				return nil, errors.New("it is dialled itself")
			}
			return dial(ctx, network, address)
		}
		priority, err := r.Describe(t.Context())
		if priority != 40 {
			t.Fatalf("%d, %v", priority, err)
		}
		return
	}
	proxy := fault.New(t, subjectCache("zstd"))
	for no, want := range map[string]bool{"": true, host: false} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestProxy$")
		cmd.Env = append(os.Environ(), variable+"=http://"+host, "HTTP_PROXY="+proxy.URL, "http_proxy="+proxy.URL, "NO_PROXY="+no, "no_proxy="+no)
		out, err := cmd.CombinedOutput()
		if (err == nil) != want {
			t.Errorf("NO_PROXY=%s: %v\n%s", no, err, out)
		}
	}
	if log := proxy.Log(); len(log) != 1 || log[0].Host != host {
		t.Errorf("the proxy saw %+v", log)
	}
}

// A redirect keeps the credentials only if scheme, host and port stay.
func TestRedirects(t *testing.T) {
	request := func(u string) *http.Request {
		req, err := http.NewRequest(http.MethodGet, u, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", secret)
		req.Header.Set("Referer", "http://joe:"+secret+"@a.example/")
		return req
	}
	first := request("https://a.example/x")
	for to, keeps := range map[string]bool{
		"https://a.example/y": true, "http://a.example/x": false, "https://a.example:444/x": false,
		"https://b.a.example/x": false, "https://b.example/x": false, "https://joe:word@a.example/x": true,
	} {
		req := request(to)
		if err := checkRedirect(req, []*http.Request{first}); err != nil {
			t.Errorf("%s: %v", to, err)
		}
		if got := req.Header.Get("Authorization") != ""; got != keeps || req.Header.Get("Referer") != "" || req.URL.User != nil {
			t.Errorf("%s: keeps %v, header %v", to, got, req.Header)
		}
	}
	for _, to := range []string{"file:///etc/passwd", "ftp://a.example/", "gopher:x"} {
		if err := checkRedirect(request(to), []*http.Request{first}); err == nil {
			t.Errorf("%s is followed", to)
		}
	}
}
