package substituter

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"thaw/internal/decompress"
	"thaw/narinfo"
	"thaw/storepath"
)

// Limits of the small files of a cache, in bytes.
const maxCacheInfo = 64 << 10

// DefaultPriority is the priority of a cache that does not state one. Caches
// with lower numbers are asked first.
const DefaultPriority = 50

// Remote is one binary cache.
type Remote struct {
	From     Transport
	Keys     narinfo.Keys // trusted to sign its narinfos
	Exempt   bool         // its narinfos need no signature
	Priority int          // replaces the one in its nix-cache-info, unless 0
	Retry    Retry
	Events   *Events // may be nil
}

// String returns the cache's URL without credentials.
func (r *Remote) String() string { return r.From.String() }

// Describe reads nix-cache-info and returns the cache's priority. A cache
// without that file has the defaults, as has one whose file makes no sense; one
// for another store directory is an error.
func (r *Remote) Describe(ctx context.Context) (priority int, err error) {
	priority = cmp.Or(r.Priority, DefaultPriority)
	text, err := r.small(ctx, "nix-cache-info", maxCacheInfo)
	switch KindOf(err) {
	case NotFound:
		return priority, nil
	case Integrity:
		r.Events.warn("%v; the file is passed over", err)
		return priority, nil
	}
	if err != nil {
		return 0, err
	}
	known := false
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "StoreDir":
			known = true
			if value != storepath.Dir {
				return 0, &Error{Object: "nix-cache-info", URL: r.String(), Kind: Integrity, dead: true,
					Err: fmt.Errorf("the cache is of the store %q, only %s is supported", clip(value), storepath.Dir)}
			}
		case "Priority":
			known = true
			if n, err := strconv.Atoi(value); err == nil && r.Priority == 0 {
				priority = n
			}
		case "WantMassQuery":
			known = true
		}
	}
	if !known && len(text) > 0 {
		r.Events.warn("%s: what it has as nix-cache-info is something else; the file is passed over", r)
	}
	return priority, nil
}

// Info returns the cache's verified narinfo of a path.
func (r *Remote) Info(ctx context.Context, p storepath.Path) (*narinfo.Info, error) {
	object := "narinfo of " + p.Name()
	file := p.Hash() + ".narinfo"
	text, err := r.small(ctx, file, narinfo.MaxSize)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx) // maybe an *Error of another lookup
	}
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			e.Object = object
		}
		return nil, err
	}
	var info *narinfo.Info
	if r.Exempt {
		info, err = narinfo.OpenExempt(text, p)
	} else {
		info, err = narinfo.Open(text, p, r.Keys)
	}
	if err != nil {
		return nil, &Error{Object: object, URL: r.String() + "/" + file, Kind: Integrity, Err: r.madeUp(err)}
	}
	if w := info.Trust.Warning; w != "" {
		r.Events.warn("%s: %s", r, w)
	}
	info.Source = r.String()
	return info, nil
}

// madeUp adds to a refused signature that the trusted key of the best known
// cache is not what it should be: many published configurations have it wrong.
func (r *Remote) madeUp(err error) error {
	var u *narinfo.UnsignedError
	official, keyErr := narinfo.ParseKey(narinfo.CacheNixosOrg)
	if keyErr != nil || !errors.As(err, &u) || u.Reason != narinfo.BadSignature {
		return err
	}
	for _, k := range r.Keys {
		if k.Name == official.Name && !k.Public.Equal(official.Public) {
			return fmt.Errorf("%w; the key given as %s is not the one of cache.nixos.org, which is %s", err, k.Name, official)
		}
	}
	return err
}

// small reads a file of at most limit bytes.
func (r *Remote) small(ctx context.Context, name string, limit int64) ([]byte, error) {
	for p := r.Retry.start(); ; {
		text, err := r.smallOnce(ctx, name, limit, Part{Silence: p.silence(silenceSmall)})
		if err == nil {
			return text, nil
		}
		if err := p.again(ctx, err, 0); err != nil {
			return nil, named(err, name)
		}
	}
}

func (r *Remote) smallOnce(ctx context.Context, name string, limit int64, part Part) ([]byte, error) {
	body, err := r.From.Get(ctx, name, part)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, limit+1))
	r.Events.received(r.String(), len(text))
	if err != nil && int64(len(text)) <= limit {
		return nil, broken(body.URL, err, int64(len(text)), body.Size)
	}
	if int64(len(text)) <= limit {
		if codec := decompress.Sniff(text[:min(len(text), 24)]); codec != "" && codec != "none" {
			text, err = unpacked(codec, text, limit)
		} else if body.Size < 0 && !body.Decoded && isPart(text) {
			return nil, broken(body.URL, errEarly, int64(len(text)), -1)
		}
	}
	switch {
	case err != nil:
		return nil, &Error{URL: body.URL, Kind: Integrity, Err: err}
	case int64(len(text)) > limit:
		return nil, &Error{URL: body.URL, Kind: Integrity, Err: fmt.Errorf("is longer than %d KiB", limit>>10)}
	}
	return text, nil
}

var errEarly = errors.New("the answer ended early")

// isPart reports whether a small file, from a server that did not say how long
// it is, looks cut off: what has lines ends in a newline.
func isPart(text []byte) bool {
	return len(text) == 0 || isText(text) && text[0] != '<' && text[len(text)-1] != '\n'
}

// unpacked expands a small file, up to a byte more than limit.
func unpacked(codec string, packed []byte, limit int64) ([]byte, error) {
	z, err := decompress.NewReader(codec, bytes.NewReader(packed), -1)
	if err != nil {
		return nil, fmt.Errorf("it is damaged %s: %w", codec, err)
	}
	defer z.Close()
	text, err := io.ReadAll(io.LimitReader(z, limit+1))
	if err != nil {
		return nil, fmt.Errorf("it is damaged %s: %w", codec, err)
	}
	return text, nil
}

// broken makes an [*Error] of a body that ended early.
func broken(url string, err error, got, size int64) *Error {
	of := ""
	if size >= 0 {
		of = fmt.Sprintf(" of %d", size)
	}
	return &Error{URL: url, Kind: Network, Err: fmt.Errorf("%w after %d%s bytes", err, got, of), remedy: remedy{again: true}}
}

// named gives an error of a Transport the name of the object.
func named(err error, object string) error {
	var e *Error
	if errors.As(err, &e) && e.Object == "" {
		e.Object = object
	}
	return err
}

// download brings the NAR file of an info into s, after what s has of it.
func (r *Remote) download(ctx context.Context, info *narinfo.Info, s *spool) error {
	p := r.Retry.start()
	p.reached = s.length()
	tag, whole := "", false // whole: no more ranges
	for {
		part := Part{Silence: p.silence(silenceNAR)}
		if !whole {
			part.From, part.Tag = s.length(), tag
		}
		body, err := r.From.Get(ctx, info.URL, part)
		if err == nil {
			tag = body.Tag
			err = r.pour(body, info, s)
		}
		if err == nil {
			return nil
		}
		var e *Error
		if errors.As(err, &e) && e.badRange && !whole {
			whole = true
			continue // a server's oddity, not a failure
		}
		if err := p.again(ctx, err, s.length()); err != nil {
			return err
		}
	}
}

// pour copies a body into s and checks that it is whole, as far as can be told.
func (r *Remote) pour(body *Body, info *narinfo.Info, s *spool) error {
	defer body.Close()
	if body.From != s.length() {
		s.restart()
	}
	s.from(body)
	limit := largestFile(info)
	if body.Size > limit {
		return tooLong(body.URL, body.Size, info)
	}
	buf := bodyBuffers.Get().(*[bodyBuffer]byte)
	defer bodyBuffers.Put(buf)
	for {
		n, err := body.Read(buf[:])
		r.Events.received(r.String(), n)
		if n > 0 {
			if err := s.add(buf[:n]); err != nil {
				return err
			}
		}
		length := s.length()
		switch {
		case length > limit:
			return tooLong(body.URL, length, info)
		case body.Size >= 0 && length > body.Size:
			return &Error{URL: body.URL, Kind: Integrity, Err: fmt.Errorf("more bytes came than the %d that the server spoke of", body.Size)}
		case err == io.EOF:
			if body.Size < 0 && !body.Decoded && length < info.FileSize {
				return broken(body.URL, errEarly, length, info.FileSize)
			}
			if length < body.Size {
				return broken(body.URL, errEarly, length, body.Size)
			}
			return nil
		case err != nil:
			return broken(body.URL, err, length, body.Size)
		}
	}
}

// largestFile bounds the length of a NAR's file: no compression makes it longer
// than by a little.
func largestFile(info *narinfo.Info) int64 { return info.NarSize + info.NarSize/16 + 64<<10 }

func tooLong(url string, size int64, info *narinfo.Info) *Error {
	return &Error{URL: url, Kind: Integrity, Err: fmt.Errorf("the file has %d bytes or more, and its NAR only %d", size, info.NarSize)}
}

// equalContent reports whether two narinfos are of the same object with the
// same content.
func equalContent(a, b *narinfo.Info) bool {
	return a.StorePath == b.StorePath && a.NarHash == b.NarHash && a.NarSize == b.NarSize &&
		slices.Equal(sortedRefs(a), sortedRefs(b))
}

func sortedRefs(i *narinfo.Info) []storepath.Path {
	return slices.SortedFunc(slices.Values(i.References), storepath.Path.Compare)
}
