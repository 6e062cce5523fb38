package substituter

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"sync"
	"time"

	"thaw/narinfo"
	"thaw/storepath"
)

// List is several caches as one. The caches are asked in the order of their
// priorities, and in the order given where these are equal; one that does not
// answer is left out with a warning, as long as there are others.
type List struct {
	Caches []*Remote
	Grace  time.Duration // how long the first answer waits for the other caches'; 0 means 3 s
	Events *Events       // may be nil

	mu      sync.Mutex
	members []*member // by priority; nil until they are described
}

// Degraded returns the URLs of the caches that were left out, or that failed
// for some object that another cache had.
func (l *List) Degraded() (urls []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.members {
		if m.troubled() {
			urls = append(urls, m.String())
		}
	}
	return urls
}

var errNoCache = errors.New("there is no cache to fetch from")

// errSlow ends waiting for a nix-cache-info.
var errSlow = errors.New("it is slow to answer")

// order describes the caches, all at once, when it is called first, and returns
// them by priority. Those that are slow come last, not described yet.
func (l *List) order(ctx context.Context) ([]*member, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.members != nil || len(l.Caches) == 0 {
		return l.members, nil
	}
	members := make([]*member, len(l.Caches))
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var first sync.Once
	var wg sync.WaitGroup
	for i, c := range l.Caches {
		m := &member{Remote: c, priority: DefaultPriority, missing: map[string]bool{}}
		members[i] = m
		wg.Go(func() {
			if m.ready(work) == nil {
				first.Do(func() { time.AfterFunc(cmp.Or(l.Grace, 3*time.Second), func() { cancel(errSlow) }) })
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	slices.SortStableFunc(members, func(a, b *member) int {
		if a.described != b.described {
			return map[bool]int{true: -1, false: 1}[a.described]
		}
		return a.priority - b.priority
	})
	l.members = members
	for _, m := range members {
		if m.lost() != nil {
			l.leaveOut(m)
		}
	}
	return members, nil
}

// leaveOut warns of a cache that has been lost, unless it was the last: then its
// error ends the run.
func (l *List) leaveOut(m *member) {
	for _, other := range l.members {
		if other.lost() == nil {
			l.Events.warn("%v; going on without this cache", m.lost())
			return
		}
	}
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
	members, err := l.order(ctx)
	if err != nil {
		return nil, err
	}
	var errs failures
	for _, m := range members {
		info, err := l.ask(ctx, m, p)
		switch {
		case err == nil:
			errs.instead(l.Events, m)
			return info, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
		errs.add(m, err)
	}
	return nil, errs.verdict("narinfo of " + p.Name())
}

// ask asks one cache for a narinfo, unless it is known not to have it.
func (l *List) ask(ctx context.Context, m *member, p storepath.Path) (*narinfo.Info, error) {
	if err := m.skip(p); err != nil {
		return nil, err
	}
	err := m.ready(ctx)
	var info *narinfo.Info
	if err == nil {
		info, err = m.Info(ctx, p)
	}
	if KindOf(err) == NotFound {
		m.lacks(p)
	}
	l.note(ctx, m, err)
	return info, err
}

// note keeps an account of how a cache answers, and leaves it out if it is lost.
func (l *List) note(ctx context.Context, m *member, err error) {
	if ctx.Err() == nil && m.count(err) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.leaveOut(m)
	}
}

// fetch calls get for the cache that info comes from and then, if that fails,
// for each other one that has the same content. What is not an [*Error] ends the
// attempts.
func (l *List) fetch(ctx context.Context, info *narinfo.Info, get func(*Remote, *narinfo.Info) error) error {
	members, err := l.order(ctx)
	if err != nil {
		return err
	}
	members = slices.Clone(members)
	slices.SortStableFunc(members, func(a, b *member) int { // the source first
		return map[bool]int{true: 1, false: 0}[b.String() == info.Source] - map[bool]int{true: 1, false: 0}[a.String() == info.Source]
	})
	var errs failures
	for _, m := range members {
		err := l.fetchFrom(ctx, m, info, get)
		switch {
		case err == nil:
			errs.instead(l.Events, m)
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case KindOf(err) == 0:
			return err
		}
		errs.add(m, err)
	}
	return errs.verdict(nameOf(info))
}

var errOther = errors.New("has other content for this path")

func (l *List) fetchFrom(ctx context.Context, m *member, info *narinfo.Info, get func(*Remote, *narinfo.Info) error) error {
	if err := m.ready(ctx); err != nil {
		return err
	}
	source := m.String() == info.Source
	var tried error
	if source || info.Pinned && isRelative(info.URL) { // another cache may be a mirror
		tried = get(m.Remote, info)
		l.note(ctx, m, tried)
		if k := KindOf(tried); !info.Pinned || k != NotFound && k != Integrity {
			return tried
		}
		// What the lock remembers is out of date, or not of this cache.
	}
	now, err := l.askSame(ctx, m, info)
	switch {
	case err != nil && source && KindOf(tried) == Integrity:
		return tried
	case err != nil:
		return err
	case tried != nil && sameFile(now, info):
		return tried
	}
	err = get(m.Remote, now)
	l.note(ctx, m, err)
	return err
}

// isRelative reports whether the URL of a NAR is meant within its cache.
func isRelative(ref string) bool {
	u, err := url.Parse(ref)
	return err == nil && !u.IsAbs()
}

// askSame asks one cache for the narinfo of an object. Another one of the same
// path does not count.
func (l *List) askSame(ctx context.Context, m *member, info *narinfo.Info) (*narinfo.Info, error) {
	other, err := l.ask(ctx, m, info.StorePath)
	if err == nil && !equalContent(other, info) {
		return nil, &Error{URL: m.String(), Kind: NotFound, Err: errOther}
	}
	return other, err
}

// sameFile reports whether two narinfos of a cache lead to the same file.
func sameFile(a, b *narinfo.Info) bool {
	return a.URL == b.URL && a.Compression == b.Compression && a.FileHash == b.FileHash && a.FileSize == b.FileSize
}
