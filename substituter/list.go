package substituter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"thaw/narinfo"
	"thaw/storepath"
)

// List is several caches as one. The caches are asked in the order of their
// priorities, and in the order given where these are equal.
type List struct {
	Caches []*Remote
	Events *Events // may be nil

	mu       sync.Mutex
	ordered  []*Remote // the caches in use; nil until they are described
	degraded []string
}

// Degraded returns the URLs of the caches that were left out because they did
// not answer.
func (l *List) Degraded() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.degraded)
}

// caches describes the caches, all at once, when it is called first.
func (l *List) caches(ctx context.Context) ([]*Remote, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ordered != nil {
		return l.ordered, nil
	}
	type described struct {
		cache    *Remote
		priority int
		err      error
	}
	all := make([]described, len(l.Caches))
	var wg sync.WaitGroup
	for i, c := range l.Caches {
		wg.Go(func() {
			p, err := c.Describe(ctx)
			all[i] = described{c, p, err}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	slices.SortStableFunc(all, func(a, b described) int { return a.priority - b.priority })
	var use []*Remote
	var errs []*Error
	for _, d := range all {
		if d.err == nil {
			use = append(use, d.cache)
			continue
		}
		e := asError(d.err)
		errs = append(errs, e)
	}
	if len(use) == 0 {
		if len(errs) == 0 {
			return nil, errors.New("there is no cache to fetch from")
		}
		return nil, mostUseful("binary cache", errs)
	}
	for _, e := range errs {
		l.degraded = append(l.degraded, e.URL)
		if l.Events != nil {
			l.Events.warn("%v; going on without this cache", e)
		}
	}
	l.ordered = use
	return use, nil
}

func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: Network, Err: err}
}

// Info returns the answer of the first cache that has one.
func (l *List) Info(ctx context.Context, p storepath.Path) (*narinfo.Info, error) {
	return l.info(ctx, p, func(*Remote, *narinfo.Info) bool { return true })
}

// info returns the first answer that accept takes.
func (l *List) info(ctx context.Context, p storepath.Path, accept func(*Remote, *narinfo.Info) bool) (*narinfo.Info, error) {
	caches, err := l.caches(ctx)
	if err != nil {
		return nil, err
	}
	var errs []*Error
	for _, c := range caches {
		info, err := c.Info(ctx, p)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			errs = append(errs, asError(err))
		case accept(c, info):
			return info, nil
		}
	}
	if len(errs) == 0 {
		return nil, &Error{Object: "narinfo of " + p.Name(), Kind: NotFound, Err: errMissing}
	}
	return nil, mostUseful("narinfo of "+p.Name(), errs)
}

// fetches is how often a NAR that broke off is asked for from one cache.
const fetches = 3

// Fetch hands the plain, verified NAR of info to into: first from the cache that
// info comes from and then, if that fails, from each other one that has the same
// content. into must read to the end; it may be called again, and must then
// start anew. An error of its own ends the attempts.
func (l *List) Fetch(ctx context.Context, info *narinfo.Info, into func(io.Reader) error) error {
	caches, err := l.caches(ctx)
	if err != nil {
		return err
	}
	var errs []*Error
	try := func(c *Remote, info *narinfo.Info) (done bool, err error) {
		for n := 1; ; n++ {
			err, own := l.once(ctx, c, info, into)
			switch {
			case err == nil || own:
				return true, err
			case ctx.Err() != nil:
				return true, context.Cause(ctx)
			}
			e := asError(err)
			if e.Kind != Network || n == fetches {
				if e.Kind == Network && n > 1 {
					e.Err = fmt.Errorf("%w (%d downloads)", e.Err, n)
				}
				errs = append(errs, e)
				return false, nil
			}
			if err := sleep(ctx, backoff(soon, n)); err != nil {
				return true, err
			}
		}
	}
	for _, c := range caches {
		if c.String() == info.Source {
			if done, err := try(c, info); done {
				return err
			}
		}
	}
	for _, c := range caches {
		if c.String() == info.Source {
			continue
		}
		other, err := c.Info(ctx, info.StorePath)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			errs = append(errs, asError(err))
			continue
		case !equalContent(other, info):
			errs = append(errs, &Error{URL: c.String(), Kind: NotFound, Err: errors.New("has other content for this path")})
			continue
		}
		if done, err := try(c, other); done {
			if err == nil {
				for _, e := range errs {
					if l.Events != nil {
						l.Events.warn("%v; taken from %s instead", e, c)
					}
				}
			}
			return err
		}
	}
	if len(errs) == 0 {
		return &Error{Object: "NAR of " + info.StorePath.Name(), Kind: NotFound, Err: errMissing}
	}
	return mostUseful("NAR of "+info.StorePath.Name(), errs)
}

// once opens one NAR and hands it to into. own tells that the error is into's.
func (l *List) once(ctx context.Context, c *Remote, info *narinfo.Info, into func(io.Reader) error) (err error, own bool) {
	rc, err := c.Open(ctx, info)
	if err != nil {
		return err, false
	}
	defer rc.Close()
	watched := watch{r: rc}
	err = into(&watched)
	if watched.err != nil && watched.err != io.EOF {
		return watched.err, false
	}
	if err == nil && watched.err == nil {
		return errors.New("substituter: a NAR was not read to its end"), true
	}
	return err, true
}

// watch remembers how reading ended.
type watch struct {
	r   io.Reader
	err error
}

func (w *watch) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil {
		w.err = err
	}
	return n, err
}
