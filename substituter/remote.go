package substituter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

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
	From   Transport
	Keys   narinfo.Keys // trusted to sign its narinfos
	Exempt bool         // its narinfos need no signature
	Events *Events      // may be nil
}

// String returns the cache's URL without credentials.
func (r *Remote) String() string { return r.From.String() }

// Describe reads nix-cache-info and returns the cache's priority. A cache
// without that file has the defaults; one for another store directory is an
// error.
func (r *Remote) Describe(ctx context.Context) (priority int, err error) {
	text, err := r.small(ctx, "nix-cache-info", maxCacheInfo)
	if KindOf(err) == NotFound {
		return DefaultPriority, nil
	}
	if err != nil {
		return 0, err
	}
	priority = DefaultPriority
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "StoreDir":
			if value != storepath.Dir {
				return 0, &Error{Object: "nix-cache-info", URL: r.String(), Kind: Integrity, Err: fmt.Errorf("the cache is of the store %q, only %s is supported", clip(value), storepath.Dir)}
			}
		case "Priority":
			if n, err := strconv.Atoi(value); err == nil {
				priority = n
			}
		}
	}
	return priority, nil
}

// small reads a file of at most limit bytes.
func (r *Remote) small(ctx context.Context, name string, limit int64) ([]byte, error) {
	body, err := r.From.Get(ctx, name)
	if err != nil {
		return nil, name0(err, name)
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && body.Size >= 0 && int64(len(text)) < min(body.Size, limit) {
		err = io.ErrUnexpectedEOF
	}
	if r.Events != nil {
		r.Events.received(r.String(), len(text))
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, &Error{Object: name, URL: body.URL, Kind: Network, Err: err}
	case int64(len(text)) > limit:
		return nil, &Error{Object: name, URL: body.URL, Kind: Integrity, Err: fmt.Errorf("is longer than %d KiB", limit>>10)}
	}
	return text, nil
}

// name0 gives an error of a Transport the name of the object.
func name0(err error, object string) error {
	var e *Error
	if errors.As(err, &e) && e.Object == "" {
		e.Object = object
	}
	return err
}

// Info implements [Substituter].
func (r *Remote) Info(ctx context.Context, p storepath.Path) (*narinfo.Info, error) {
	object := "narinfo of " + p.Name()
	file := p.Hash() + ".narinfo"
	text, err := r.small(ctx, file, narinfo.MaxSize)
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
		return nil, &Error{Object: object, URL: r.String() + "/" + file, Kind: Integrity, Err: err}
	}
	if w := info.Trust.Warning; w != "" && r.Events != nil {
		r.Events.warn("%s: %s", r, w)
	}
	info.Source = r.String()
	return info, nil
}

// Open implements [Substituter] for an info that this cache gave.
func (r *Remote) Open(ctx context.Context, info *narinfo.Info) (io.ReadCloser, error) {
	object := "NAR of " + info.StorePath.Name()
	body, err := r.From.Get(ctx, info.URL)
	if err != nil {
		return nil, name0(err, object)
	}
	n := &narStream{info: info, body: body, remote: r, object: object}
	if err := n.open(); err != nil {
		body.Close()
		return nil, n.fail(err)
	}
	return n, nil
}

var _ Substituter = (*Remote)(nil)

// equalContent reports whether two narinfos are of the same object with the
// same content.
func equalContent(a, b *narinfo.Info) bool {
	return a.StorePath == b.StorePath && a.NarHash == b.NarHash && a.NarSize == b.NarSize &&
		slices.Equal(sortedRefs(a), sortedRefs(b))
}

func sortedRefs(i *narinfo.Info) []storepath.Path {
	return slices.SortedFunc(slices.Values(i.References), storepath.Path.Compare)
}
