// Package registry sends container images to registries, by the protocol of OCI's
// distribution specification.
//
// What a registry has is not sent again: each blob is asked for first, and where it
// is in another repository of the same registry that the caller names, the registry
// is asked to take it from there. What fails for the moment is tried three times, an
// upload from its beginning.
//
// Credentials are those of docker and podman: ~/.docker/config.json, or
// config.json in DOCKER_CONFIG, REGISTRY_AUTH_FILE, containers/auth.json; a helper
// that one of these files names for the registry is run. They go to the registry
// that the image's name says and to the token service that this registry names, and
// nowhere else: not along redirects, and not without encryption, but to this machine
// itself or where the caller allows it.
package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"thaw/image/oci"
)

// Options say how to send. The zero value will do.
type Options struct {
	// Insecure allows registries of other machines without encryption.
	Insecure bool
	// Jobs is how many blobs are sent at a time; 0 is 4.
	Jobs int
	// MountFrom is a repository of the same registry, like "base/image", that may
	// have blobs already.
	MountFrom string
	// UserAgent names the program.
	UserAgent string

	wait time.Duration // after the first of three attempts; 0 is a second
}

// Result says what was sent.
type Result struct {
	Name   string // the image with its digest: "example.org/hello@sha256:…"
	Digest string
	Total  int64 // bytes of the image: of manifests and all that they lead to
	Sent   int64 // bytes of blobs that the registry did not have
	Blobs  int   // how many these were
}

// Error is what came of talking to a registry.
type Error struct {
	Registry string
	Status   int // of the answer that refused; 0 if there was none
	Err      error
}

func (e *Error) Error() string { return e.Registry + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Refused reports whether the registry wants other credentials.
func (e *Error) Refused() bool {
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
}

// Push sends the image or index that the layout in dir has, under a name like
// "example.org/hello:1.0".
func Push(ctx context.Context, dir, image string, o Options) (*Result, error) {
	var naming []name.Option
	if o.Insecure {
		naming = append(naming, name.Insecure)
	}
	ref, err := name.NewTag(image, naming...)
	if err != nil {
		return nil, fmt.Errorf("the name of an image in a registry is like example.org/hello:1.0: not %q", image)
	}
	result := &Result{}
	if result.Total, err = check(dir); err != nil {
		return nil, err
	}
	top, err := open(dir)
	if err != nil {
		return nil, err
	}
	if o.MountFrom != "" {
		if top.from, err = name.NewRepository(ref.RegistryStr()+"/"+o.MountFrom, naming...); err != nil {
			return nil, fmt.Errorf("a repository is like base/image: not %q", o.MountFrom)
		}
	}
	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, ref.Context())
	if err != nil {
		return nil, fmt.Errorf("the credentials for %s that docker or podman keep: %s", ref.Context().RegistryStr(), clean(err.Error()))
	}
	count := &counting{next: &guard{remote.DefaultTransport, o.Insecure}}
	jobs := o.Jobs
	if jobs == 0 {
		jobs = 4
	}
	wait := remote.Backoff{Duration: cmp.Or(o.wait, time.Second), Factor: 3, Jitter: 0.1, Steps: 3}
	options := []remote.Option{
		remote.WithContext(ctx), remote.WithAuth(auth), remote.WithTransport(count),
		remote.WithJobs(jobs), remote.WithUserAgent(o.UserAgent), remote.WithRetryBackoff(wait),
	}
	if err := remote.Push(ref, top.taggable(), options...); err != nil {
		return nil, failure(ctx, ref, err)
	}
	result.Digest = top.desc.Digest.String()
	result.Name = ref.Context().Name() + "@" + result.Digest
	result.Sent, result.Blobs = count.bytes.Load(), int(count.blobs.Load())
	return result, nil
}

// check verifies manifests and configurations, and counts all bytes. Layers are
// verified by the registry.
func check(dir string) (int64, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	l, err := oci.Open(root)
	if err != nil {
		return 0, err
	}
	return l.Size()
}

// failure says what went wrong in one line.
func failure(ctx context.Context, ref name.Reference, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// TLS is tried first: unless there is none, what went wrong is with that.
	var first *url.Error
	var plain *plainError
	if errors.As(err, &plain) && (errors.Is(err, http.ErrSchemeMismatch) || !errors.As(err, &first) || errors.As(first.Err, &plain)) {
		return plain
	}
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return &Error{ref.Context().RegistryStr(), 0, errors.New(clean(reason(ref, err)))}
	}
	said := http.StatusText(answer.StatusCode)
	if len(answer.Errors) > 0 && answer.Errors[0].Message != "" {
		said = answer.Errors[0].Message
	}
	return &Error{ref.Context().RegistryStr(), answer.StatusCode, fmt.Errorf("%s (status %d)", clean(said), answer.StatusCode)}
}

// reason says why there is no answer: of several attempts the first, with the host if
// that is not the registry.
func reason(ref name.Reference, err error) string {
	var request *url.Error
	if !errors.As(err, &request) {
		return err.Error()
	}
	if u, wrong := url.Parse(request.URL); wrong == nil && u.Host != ref.Context().RegistryStr() {
		return u.Host + ": " + request.Err.Error()
	}
	return request.Err.Error()
}

// clean makes one short line of what a server says.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	return strings.ToValidUTF8(s[:min(len(s), 300)], "")
}

// guard refuses requests that are not encrypted, but to this machine.
type guard struct {
	next  http.RoundTripper
	plain bool // allow them
}

// plainError says that a request would not be encrypted.
type plainError struct{ url *url.URL }

func (e *plainError) Error() string {
	return fmt.Sprintf("%s does not speak TLS, and nothing is sent without encryption but to this machine", e.url.Host)
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !g.plain && !here(r.URL.Hostname()) {
		return nil, &plainError{r.URL}
	}
	return g.next.RoundTrip(r)
}

// here reports whether a host is this machine.
func here(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// counting counts the blobs that are sent.
type counting struct {
	next         http.RoundTripper
	bytes, blobs atomic.Int64
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPatch || r.Body == nil {
		return c.next.RoundTrip(r)
	}
	body := &counted{ReadCloser: r.Body}
	sent := r.Clone(r.Context())
	sent.Body = body
	if r.GetBody != nil { // for another connection, where one ends before it is used
		sent.GetBody = func() (io.ReadCloser, error) {
			again, err := r.GetBody()
			body = &counted{ReadCloser: again}
			return body, err
		}
	}
	answer, err := c.next.RoundTrip(sent)
	if err == nil && answer.StatusCode/100 == 2 {
		c.bytes.Add(body.n.Load())
		c.blobs.Add(1)
	}
	return answer, err
}

type counted struct {
	io.ReadCloser
	n atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// content is what a layout has: an image or an index.
type content struct {
	desc  v1.Descriptor
	image v1.Image
	index v1.ImageIndex
	from  name.Repository // may have blobs, if it has a name
}

func open(dir string) (*content, error) {
	list, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	m, err := list.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(m.Manifests) != 1 {
		return nil, fmt.Errorf("%s has %d images side by side, and one name is for one image or one index", dir, len(m.Manifests))
	}
	c := &content{desc: m.Manifests[0]}
	if c.desc.MediaType.IsIndex() {
		c.index, err = list.ImageIndex(c.desc.Digest)
	} else {
		c.image, err = list.Image(c.desc.Digest)
	}
	return c, err
}

func (c *content) taggable() remote.Taggable {
	if c.index != nil {
		return mountIndex{c.index, c.from}
	}
	return mountImage{c.image, c.from}
}

// imageIndex has another name, as a field called ImageIndex would hide that method.
type imageIndex = v1.ImageIndex

// mountIndex is an index whose images may be mounted.
type mountIndex struct {
	imageIndex
	from name.Repository
}

var _ v1.ImageIndex = mountIndex{}

func (x mountIndex) Image(h v1.Hash) (v1.Image, error) {
	i, err := x.imageIndex.Image(h)
	return mountImage{i, x.from}, err
}

// mountImage is an image whose layers may be in another repository.
type mountImage struct {
	v1.Image
	from name.Repository
}

func (i mountImage) Layers() ([]v1.Layer, error) {
	layers, err := i.Image.Layers()
	if i.from.RepositoryStr() != "" {
		for k, l := range layers {
			layers[k] = &remote.MountableLayer{Layer: l, Reference: i.from.Tag("latest")}
		}
	}
	return layers, err
}
