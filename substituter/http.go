package substituter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"thaw/internal/decompress"
)

// HTTP is a binary cache over HTTP or HTTPS. The zero values of its settings
// are the documented defaults.
type HTTP struct {
	url    *url.URL // ends in a slash, without credentials
	user   *url.Userinfo
	client *http.Client
	stall  time.Duration
}

// HTTPSettings are common to all caches of a run.
type HTTPSettings struct {
	Connections int           // connections per host; 0 means 64
	Connect     time.Duration // limit for making a connection; 0 means 15 s
	Stall       time.Duration // longest silence of a server; 0 means 30 s
	UserAgent   string        // "" means "thaw"
}

// Client returns the client that all HTTP caches of a run share.
func (s HTTPSettings) Client() *http.Client {
	dialer := net.Dialer{Timeout: or(s.Connect, 15*time.Second)}
	conns := or(s.Connections, 64)
	return &http.Client{
		Transport: &agent{or(s.UserAgent, "thaw"), &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           dialer.DialContext,
			TLSHandshakeTimeout:   dialer.Timeout,
			ResponseHeaderTimeout: or(s.Stall, 30*time.Second),
			ForceAttemptHTTP2:     true,
			DisableCompression:    true, // a NAR's hash is over the bytes as stored
			MaxConnsPerHost:       conns,
			MaxIdleConnsPerHost:   conns,
			IdleConnTimeout:       time.Minute,
		}},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			first := via[0].URL
			switch {
			case len(via) > 10:
				return errors.New("more than 10 redirects")
			case req.URL.Scheme != "http" && req.URL.Scheme != "https":
				return fmt.Errorf("a redirect to %s:, which is not followed", req.URL.Scheme)
			case req.URL.Host != first.Host || req.URL.Scheme == "http" && first.Scheme == "https":
				req.Header.Del("Authorization")
			}
			return nil
		},
	}
}

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// agent sets the headers that every request has.
type agent struct {
	name string
	next http.RoundTripper
}

func (a *agent) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", a.name)
	req.Header.Set("Accept-Encoding", "identity")
	return a.next.RoundTrip(req)
}

// NewHTTP returns the cache at a URL, which may hold user:password.
func NewHTTP(rawURL string, client *http.Client, s HTTPSettings) (*HTTP, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("not an http:// or https:// URL")
	}
	h := &HTTP{url: u, user: u.User, client: client, stall: or(s.Stall, 30*time.Second)}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	u.Path = strings.TrimSuffix(u.Path, "/") + "/"
	u.RawPath = ""
	return h, nil
}

// String returns the cache's URL without credentials.
func (h *HTTP) String() string { return strings.TrimSuffix(h.url.String(), "/") }

// resolve returns the URL of a file, and whether it is below the cache's.
func (h *HTTP) resolve(ref string) (u *url.URL, below bool, err error) {
	u, err = url.Parse(ref)
	if err != nil {
		return nil, false, &Error{URL: h.String(), Kind: Integrity, Err: fmt.Errorf("the URL %q is not valid", clip(ref))}
	}
	if u.IsAbs() {
		if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, false, outside(h.String(), ref)
		}
		u.User = nil
		return u, u.Host == h.url.Host && u.Scheme == h.url.Scheme, nil
	}
	if clean := path.Clean("/" + u.Path); u.Host != "" || strings.HasPrefix(u.Path, "/") || clean != "/"+u.Path {
		return nil, false, outside(h.String(), ref)
	}
	return h.url.ResolveReference(u), true, nil
}

// attempts is how often a request is made that fails in a way that may pass.
const attempts = 5

// Get asks for a file, again where the failure may pass, until it has the
// headers of an answer.
func (h *HTTP) Get(ctx context.Context, ref string) (*Body, error) {
	u, below, err := h.resolve(ref)
	if err != nil {
		return nil, err
	}
	for n := 1; ; n++ {
		body, wait, err := h.try(ctx, u, below)
		if err == nil {
			return body, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if wait == 0 || n == attempts {
			e := &Error{URL: u.String(), Kind: Network, Err: err}
			if errors.Is(err, errMissing) {
				e.Kind = NotFound
			} else if n > 1 {
				e.Err = fmt.Errorf("%w (%d attempts)", err, n)
			}
			return nil, e
		}
		if err := sleep(ctx, backoff(wait, n)); err != nil {
			return nil, err
		}
	}
}

// backoff returns a random time of up to base·2ⁿ⁻¹ and at most a minute.
func backoff(base time.Duration, n int) time.Duration {
	return rand.N(min(base<<(n-1), time.Minute)) + 1
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Base waits before another attempt: short where the network failed, longer
// where the server asks for patience.
const (
	soon  = 100 * time.Millisecond
	later = time.Second
)

// try makes one request. wait is the base of the back-off if another attempt may
// help, else 0.
func (h *HTTP) try(ctx context.Context, u *url.URL, below bool) (body *Body, wait time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer func() {
		if err != nil {
			cancel(nil)
		}
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, 0, err
	}
	if below && h.user != nil {
		password, _ := h.user.Password()
		req.SetBasicAuth(h.user.Username(), password)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		var dns *net.DNSError
		if errors.As(err, &dns) && dns.IsNotFound {
			return nil, 0, fmt.Errorf("there is no host %q", dns.Name)
		}
		if strings.Contains(err.Error(), "redirect") || strings.Contains(err.Error(), "x509: ") || strings.Contains(err.Error(), "tls: ") {
			return nil, 0, err
		}
		return nil, soon, err
	}
	defer func() {
		if err != nil {
			resp.Body.Close()
		}
	}()
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
	case code == http.StatusNotFound || code == http.StatusForbidden || code == http.StatusGone:
		return nil, 0, errMissing
	case code == http.StatusUnauthorized || code == http.StatusProxyAuthRequired:
		return nil, 0, fmt.Errorf("the server wants other credentials (HTTP %d); give them as https://USER:PASSWORD@HOST/", code)
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s >= 0 && s <= 60 {
			if err := sleep(ctx, time.Duration(s)*time.Second); err != nil {
				return nil, 0, err
			}
		}
		return nil, later, fmt.Errorf("HTTP %d", code)
	case code >= 500 || code == http.StatusRequestTimeout:
		return nil, soon, fmt.Errorf("HTTP %d", code)
	default:
		return nil, 0, fmt.Errorf("HTTP %d", code)
	}
	alive := &aliveBody{rc: resp.Body, stall: h.stall, cancel: cancel, ctx: ctx}
	body = &Body{alive, resp.ContentLength, u.String()}
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		plain, err := decoded(enc, body)
		if err != nil {
			return nil, 0, err
		}
		body = &Body{plain, -1, u.String()}
	}
	return body, 0, nil
}

// decoded undoes a Content-Encoding.
func decoded(enc string, body *Body) (io.ReadCloser, error) {
	switch enc {
	case "gzip", "x-gzip":
		enc = "gzip"
	case "br", "zstd":
	default:
		return nil, fmt.Errorf("the answer has the unsupported Content-Encoding %q", clip(enc))
	}
	z, err := decompress.NewReader(enc, body, -1)
	if err != nil {
		return nil, fmt.Errorf("the answer is not the %s that its Content-Encoding says: %w", enc, err)
	}
	return &stackedBody{z, body}, nil
}

type stackedBody struct {
	io.ReadCloser
	under io.Closer
}

func (s *stackedBody) Close() error {
	return errors.Join(s.ReadCloser.Close(), s.under.Close())
}

// aliveBody ends a response whose server falls silent. The clock runs only while
// somebody waits for data.
type aliveBody struct {
	rc     io.ReadCloser
	stall  time.Duration
	ctx    context.Context // of the request; here because reads have no ctx of their own
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

func (a *aliveBody) Read(p []byte) (int, error) {
	if a.timer == nil {
		a.timer = time.AfterFunc(a.stall, func() {
			a.cancel(fmt.Errorf("the server sent nothing for %s", a.stall))
		})
	} else {
		a.timer.Reset(a.stall)
	}
	n, err := a.rc.Read(p)
	a.timer.Stop()
	if err != nil && err != io.EOF {
		if a.ctx.Err() != nil {
			err = context.Cause(a.ctx)
		} else if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the server closed the connection early")
		}
	}
	return n, err
}

func (a *aliveBody) Close() error {
	if a.timer != nil {
		a.timer.Stop()
	}
	err := a.rc.Close()
	a.cancel(nil)
	return err
}
