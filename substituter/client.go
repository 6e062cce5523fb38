package substituter

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

// HTTPSettings are those of HTTP caches. The zero values are the documented
// defaults.
type HTTPSettings struct {
	// Common to all caches of a run: they are used by Client.
	Connections  int                        // requests at a time to one host; 0 means 64
	Connect      time.Duration              // limit for making a connection; 0 means 15 s
	Stall        time.Duration              // in which a server must send 1 KiB or the end; 0 means 30 s
	UserAgent    string                     // "" means "thaw"
	CABundle     string                     // PEM file of the authorities to trust; "" means the system's
	Certificates map[string]tls.Certificate // client certificates by host, or by HOST:PORT

	// Of one cache: they are used by [NewHTTP].
	Authorization string // value of the header of that name; "" means none
	Netrc         *Netrc // passwords by host; may be nil
}

// maxRedirects is how many redirects of one request are followed.
const maxRedirects = 10

// Client returns the client that all HTTP caches of a run share.
func (s HTTPSettings) Client() (*http.Client, error) {
	common := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CABundle != "" {
		pem, err := os.ReadFile(s.CABundle)
		if err != nil {
			return nil, fmt.Errorf("the bundle of certificate authorities: %w", err)
		}
		common.RootCAs = x509.NewCertPool()
		if !common.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: there is no certificate in it", s.CABundle)
		}
	}
	a := &agent{
		name:  cmp.Or(s.UserAgent, "thaw"),
		limit: cmp.Or(s.Connections, 64),
		hosts: map[string]chan struct{}{},
		plain: s.transport(common),
		known: map[string]http.RoundTripper{},
	}
	for host, cert := range s.Certificates {
		c := common.Clone()
		c.Certificates = []tls.Certificate{cert}
		a.known[host] = s.transport(c)
	}
	return &http.Client{Transport: a, CheckRedirect: checkRedirect}, nil
}

func (s HTTPSettings) transport(c *tls.Config) *http.Transport {
	dialer := net.Dialer{Timeout: cmp.Or(s.Connect, 15*time.Second)}
	conns := cmp.Or(s.Connections, 64)
	stall := cmp.Or(s.Stall, 30*time.Second)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        c,
		TLSHandshakeTimeout:    dialer.Timeout,
		MaxResponseHeaderBytes: 1 << 20,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: stall, PingTimeout: dialer.Timeout},
		DisableCompression:     true, // a NAR's hash is over the bytes as stored
		MaxConnsPerHost:        conns,
		MaxIdleConnsPerHost:    conns,
		IdleConnTimeout:        time.Minute,
	}
}

// redirectError says why a redirect is not followed.
type redirectError string

func (e redirectError) Error() string { return string(e) }

func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) > maxRedirects:
		return redirectError(fmt.Sprintf("more than %d redirects", maxRedirects))
	case req.URL.Scheme != "http" && req.URL.Scheme != "https":
		return redirectError(fmt.Sprintf("a redirect to %s:, which is not followed", clip(req.URL.Scheme)))
	case !sameHost(req.URL, first):
		req.Header.Del("Authorization")
	}
	req.URL.User = nil // as it would be sent
	req.Header.Del("Referer")
	return nil
}

// agent sets the headers that every request has, bounds the requests to each
// host, and shows client certificates only to the hosts they are for.
type agent struct {
	name  string
	plain http.RoundTripper
	known map[string]http.RoundTripper // by host, for those with a certificate

	limit int
	mu    sync.Mutex
	hosts map[string]chan struct{}
}

func (a *agent) RoundTrip(req *http.Request) (*http.Response, error) {
	slot := a.slot(req.URL.Host)
	select {
	case slot <- struct{}{}:
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	release := sync.OnceFunc(func() { <-slot })
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", a.name)
	req.Header.Set("Accept-Encoding", "identity")
	next, ok := a.known[req.URL.Host]
	if !ok {
		if next, ok = a.known[req.URL.Hostname()]; !ok {
			next = a.plain
		}
	}
	if req.URL.Scheme != "https" {
		next = a.plain
	}
	resp, err := next.RoundTrip(req)
	if err != nil {
		release()
		return nil, err
	}
	resp.Body = &releasing{resp.Body, release}
	return resp, nil
}

func (a *agent) slot(host string) chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.hosts[host]
	if s == nil {
		s = make(chan struct{}, a.limit)
		a.hosts[host] = s
	}
	return s
}

// CloseIdleConnections is called by the method of that name of [http.Client].
func (a *agent) CloseIdleConnections() {
	type closer interface{ CloseIdleConnections() }
	for _, t := range a.known {
		t.(closer).CloseIdleConnections()
	}
	a.plain.(closer).CloseIdleConnections()
}

// releasing is a response's body that gives its host's slot back.
type releasing struct {
	io.ReadCloser
	release func()
}

func (r *releasing) Close() error {
	defer r.release()
	return r.ReadCloser.Close()
}

// failure makes an [*Error] of what went wrong before there was an answer.
func failure(shown string, err error) *Error {
	e := &Error{URL: shown, Kind: Network, Err: err, remedy: remedy{again: true}}
	var (
		refused  redirectError
		dns      *net.DNSError
		op       *net.OpError
		cert     *tls.CertificateVerificationError
		alert    tls.AlertError
		timeout  net.Error
		silent   silentError
		dialing  = errors.As(err, &op) && op.Op == "dial"
		proxying = errors.As(err, &op) && op.Op == "proxyconnect"
	)
	switch {
	case errors.As(err, &refused):
		e.remedy.again, e.Err = false, refused
	case errors.As(err, &dns) && dns.IsNotFound:
		e.remedy.again, e.dead, e.Err = false, true, fmt.Errorf("there is no host %q", dns.Name)
	case errors.As(err, &cert):
		e.remedy.again, e.dead, e.Err = false, true, fmt.Errorf("its certificate is not trusted: %w", cert.Err)
	case errors.Is(err, http.ErrSchemeMismatch):
		e.remedy.again, e.dead, e.Err = false, true, errors.New("it does not speak TLS: perhaps the URL should begin with http")
	case errors.As(err, &alert):
		e.remedy.again, e.dead = false, true
	case dialing || proxying || errors.As(err, &dns):
		e.dead = true
		if errors.As(err, &timeout) && timeout.Timeout() {
			e.Err = errors.New("no connection: it does not answer")
		} else if errno := syscall.Errno(0); dialing && errors.As(err, &errno) {
			e.Err = errno // the URL says to whom
		}
	case errors.As(err, &silent):
		e.dead = true
	case errors.Is(err, io.EOF):
		e.Err = errors.New("the server closed the connection without an answer")
	}
	return e
}
