package substituter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

// HTTP is a binary cache over HTTP or HTTPS.
type HTTP struct {
	url    *url.URL // ends in a slash, without credentials
	login  login
	client *http.Client
	stall  time.Duration
	name   string                                // its URL for people, if that is another one
	sign   func(req *http.Request) *http.Request // signs a request to the cache's own server; may be nil
}

var _ Transport = (*HTTP)(nil)

// NewHTTP returns the cache at a URL, which may hold user:password. They, the
// Authorization of the settings, or what their Netrc has for the host, are sent
// to the cache's own scheme, host and port and nowhere else.
func NewHTTP(rawURL string, client *http.Client, s HTTPSettings) (*HTTP, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("not an http:// or https:// URL")
	}
	h := &HTTP{url: u, login: s.login(u), client: client, stall: cmp.Or(s.Stall, 30*time.Second)}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	u.Path = strings.TrimSuffix(u.Path, "/") + "/"
	u.RawPath = ""
	return h, nil
}

// String returns the cache's URL without credentials.
func (h *HTTP) String() string {
	if h.name != "" {
		return h.name
	}
	return strings.TrimSuffix(h.url.String(), "/")
}

// sameHost reports whether what is meant for one URL's server may go to the
// other's.
func sameHost(a, b *url.URL) bool { return a.Host == b.Host && a.Scheme == b.Scheme }

// resolve returns the URL of a file.
func (h *HTTP) resolve(ref string) (*url.URL, error) {
	u, err := url.Parse(ref)
	if err != nil {
		return nil, &Error{URL: h.String(), Kind: Integrity, Err: fmt.Errorf("the URL %q is not valid", clip(ref))}
	}
	if u.IsAbs() {
		if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, outside(h.String(), ref)
		}
		u.User = nil
		return u, nil
	}
	if clean := path.Clean("/" + u.Path); u.Host != "" || strings.HasPrefix(u.Path, "/") || clean != "/"+u.Path {
		return nil, outside(h.String(), ref)
	}
	return h.url.ResolveReference(u), nil
}

// shown returns a URL for messages. A query may be a credential.
func shown(u *url.URL) string {
	if u.RawQuery == "" {
		return u.String()
	}
	v := *u
	v.RawQuery = ""
	return v.String() + "?…"
}

// silentError is for a server that did not begin to answer in that time.
type silentError time.Duration

func (s silentError) Error() string {
	return "the server sent nothing for " + time.Duration(s).String()
}

// errorPage is how much is read of what comes with an error, in bytes.
const errorPage = 64 << 10

// Get implements [Transport].
func (h *HTTP) Get(ctx context.Context, ref string, part Part) (body *Body, err error) {
	u, err := h.resolve(ref)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer func() {
		if err != nil {
			cancel(nil)
		}
	}()
	silence := min(cmp.Or(part.Silence, h.stall), h.stall)
	alarm := alarm{ring: func() { cancel(silentError(silence)) }}
	defer alarm.off()
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { alarm.set(silence) },
	}), http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, &Error{URL: shown(u), Kind: Integrity, Err: err}
	}
	if sameHost(u, h.url) && h.login.header != "" {
		req.Header.Set("Authorization", h.login.header)
	}
	if part.Accept != "" {
		req.Header.Set("Accept", part.Accept)
	}
	if part.From > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", part.From))
		if part.Tag != "" {
			req.Header.Set("If-Range", part.Tag)
		}
	}
	if h.sign != nil && sameHost(u, h.url) {
		req = h.sign(req)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, failure(shown(u), err)
	}
	alarm.off()
	body = &Body{URL: shown(resp.Request.URL), Size: resp.ContentLength}
	body.ReadCloser = &aliveBody{rc: resp.Body, stall: h.stall, left: h.stall, cancel: cancel, ctx: ctx}
	if e := h.judge(resp, part, body); e != nil {
		// A connection is used again only if what came by it was read.
		io.Copy(io.Discard, io.LimitReader(body, errorPage))
		body.Close()
		e.URL = shown(u)
		return nil, e
	}
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		if body.ReadCloser, err = decoded(enc, body.ReadCloser); err != nil {
			resp.Body.Close()
			return nil, &Error{URL: shown(u), Kind: Network, Err: err}
		}
		body.Size, body.Tag, body.Decoded = -1, "", true
	}
	return body, nil
}

// judge looks at the head of an answer and completes body with what it says.
func (h *HTTP) judge(resp *http.Response, part Part, body *Body) *Error {
	e := &Error{Kind: Network, Err: fmt.Errorf("HTTP %d", resp.StatusCode)}
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
		body.Tag = tag(resp.Header)
		return nil
	case code == http.StatusPartialContent:
		from, size, ok := contentRange(resp.Header.Get("Content-Range"))
		if ok && from == part.From && resp.Header.Get("Content-Encoding") == "" {
			body.From, body.Size, body.Tag = from, size, tag(resp.Header)
			return nil
		}
		e.Err = errors.New("the server sent another part of the file than the one asked for")
		e.badRange = true
		e.remedy.again = true
	case code == http.StatusRequestedRangeNotSatisfiable && part.From > 0:
		if resp.Header.Get("Content-Range") == fmt.Sprintf("bytes */%d", part.From) {
			body.Close() // an error page; the file is already whole
			body.ReadCloser, body.From, body.Size = http.NoBody, part.From, part.From
			return nil
		}
		e.badRange = true
		e.remedy.again = true
	case code == http.StatusNotFound || code == http.StatusForbidden || code == http.StatusGone:
		e.Kind, e.Err = NotFound, errMissing
		if code == http.StatusForbidden {
			e.Err = errForbidden
		}
	case code == http.StatusUnauthorized:
		e.dead = true
		e.Err = fmt.Errorf("the server %s (HTTP 401)", h.login.refused())
	case code == http.StatusProxyAuthRequired:
		e.dead = true
		e.Err = errors.New("the proxy wants credentials (HTTP 407): give them as HTTPS_PROXY=http://USER:PASSWORD@HOST")
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		e.remedy = remedy{again: true, patient: true, after: retryAfter(resp.Header, time.Now())}
	case code >= 500 || code == http.StatusRequestTimeout:
		e.remedy.again = true
	}
	return e
}

// tag returns what If-Range takes: a strong ETag, else nothing. A date is too
// coarse.
func tag(h http.Header) string {
	if t := h.Get("ETag"); strings.HasPrefix(t, `"`) {
		return t
	}
	return ""
}

// contentRange reads "bytes FROM-LAST/SIZE", which must reach to the end. A size
// of "*" is not known.
func contentRange(s string) (from, size int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	span, total, ok2 := strings.Cut(s, "/")
	first, last, ok3 := strings.Cut(span, "-")
	from, err := strconv.ParseInt(first, 10, 64)
	end, err2 := strconv.ParseInt(last, 10, 64)
	if !ok || !ok2 || !ok3 || err != nil || err2 != nil || from < 0 || end < from {
		return 0, 0, false
	}
	if total == "*" {
		return from, -1, true
	}
	size, err = strconv.ParseInt(total, 10, 64)
	return from, size, err == nil && end == size-1
}
