package lock

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"thaw/narinfo"
	"thaw/storepath"
)

// Pins answers for narinfos out of a lock. A path that the lock has is never
// asked for elsewhere. Pins is safe for concurrent use.
type Pins struct {
	Lock   *File
	Keys   narinfo.Keys // that this run trusts
	Exempt []string     // URLs of the caches that need no signatures in this run
	// Next is asked for paths that the lock does not have. If it is nil, the lock
	// is out of date by them.
	Next func(ctx context.Context, p storepath.Path) (*narinfo.Info, error)
}

// Info returns the narinfo of a path as its cache said it when the lock was made,
// if it can be believed today: by a signature or a content address, or on the
// word of the cache that it came from, if that was exempt then and is now.
// Errors about what the lock says are of type [*Error].
func (p *Pins) Info(ctx context.Context, path storepath.Path) (*narinfo.Info, error) {
	o := p.Lock.object(path)
	switch {
	case o == nil && p.Next != nil:
		return p.Next(ctx, path)
	case o == nil:
		return nil, &StaleError{p.Lock.file, fmt.Sprintf("%s is not in it", path.Base())}
	}
	var info *narinfo.Info
	var err error
	if o.Exempt != "" && slices.Contains(p.Exempt, o.Exempt) {
		info, err = narinfo.OpenExempt(o.text(), path)
	} else {
		info, err = narinfo.Open(o.text(), path, p.Keys)
	}
	if err != nil {
		var unsigned *narinfo.UnsignedError
		switch {
		case !errors.As(err, &unsigned):
			return nil, p.Lock.errorAt(o.Path.String(), err)
		case o.Exempt != "":
			err = fmt.Errorf("%w; it was locked on the word of %s alone, whose signatures are checked now", err, o.Exempt)
		}
		return nil, p.Lock.errorAt("", err) // it names the path
	}
	info.Source, info.Pinned = o.Hints.Cache, true
	return info, nil
}

// text returns the narinfo of an object.
func (o *Object) text() []byte {
	h := &o.Hints
	i := narinfo.Info{
		StorePath: o.Path, NarHash: o.NarHash, NarSize: o.NarSize, References: o.References, Sigs: o.Sigs, CA: o.CA, Deriver: o.Deriver.Base(),
		URL: h.URL, Compression: h.Compression, FileHash: h.FileHash, FileSize: h.FileSize,
	}
	return i.Text()
}
