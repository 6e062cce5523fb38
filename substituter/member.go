package substituter

import (
	"context"
	"sync"

	"thaw/storepath"
)

// member is what a [List] knows of one of its caches.
type member struct {
	*Remote

	describing sync.Mutex
	described  bool // its nix-cache-info was read, or is not to be had
	priority   int

	mu      sync.Mutex
	down    *Error          // why it is asked no more
	strikes int             // failures since the last success
	spared  int             // failures of which a warning told
	failed  bool            // for some object
	missing map[string]bool // hash parts of what it does not have
}

// maxStrikes is how many files in a row a server may fail to deliver before it
// is taken for dead.
const maxStrikes = 5

// maxWarnings is how many objects are named that a cache failed for.
const maxWarnings = 3

// ready describes the cache unless that is done, and returns why it cannot be
// used.
func (m *member) ready(ctx context.Context) error {
	m.describing.Lock()
	defer m.describing.Unlock()
	if m.described {
		return m.lostErr()
	}
	priority, err := m.Describe(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m.described = true
	if err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.down = asError(err)
		return m.down
	}
	m.priority = priority
	return nil
}

// lost returns why the cache is asked no more, or nil.
func (m *member) lost() *Error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.down
}

// lostErr is lost as an error.
func (m *member) lostErr() error {
	if e := m.lost(); e != nil {
		return e
	}
	return nil
}

// skip returns the answer for a path that the cache need not be asked for.
func (m *member) skip(p storepath.Path) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil {
		return m.down
	}
	if m.missing[p.Hash()] {
		return &Error{URL: m.String(), Kind: NotFound, Err: errMissing}
	}
	return nil
}

// lacks remembers that the cache does not have a path.
func (m *member) lacks(p storepath.Path) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.missing[p.Hash()] = true
}

// count keeps the account of answers, and reports whether the cache has just
// been lost: its server is dead, or has failed too often in a row.
func (m *member) count(err error) (lost bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if KindOf(err) != Network {
		m.strikes = 0
		return false
	}
	m.strikes++
	e := asError(err)
	if m.down != nil || !e.dead && m.strikes < maxStrikes {
		return false
	}
	m.down = e
	return true
}

// troubled reports whether the cache was lost or failed for some object.
func (m *member) troubled() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.down != nil || m.failed
}

// failures are what several caches answered, in their order.
type failures struct {
	errs    []*Error
	members []*member
}

func (f *failures) add(m *member, err error) {
	e := *asError(err) // each caller names it and adds to it
	if e.URL == "" {
		e.URL = m.String()
	}
	f.errs = append(f.errs, &e)
	f.members = append(f.members, m)
}

// verdict makes one error of them.
func (f *failures) verdict(object string) error {
	if len(f.errs) == 0 {
		return &Error{Object: object, Kind: NotFound, Err: errNoCache}
	}
	return mostUseful(object, f.errs)
}

// instead warns of caches that failed for an object that another one had. That
// a cache does not have it is no failure, nor are those worth a word that were
// warned of when they were left out.
func (f *failures) instead(ev *Events, other *member) {
	for i, e := range f.errs {
		if m := f.members[i]; e.Kind != NotFound && m.lost() == nil {
			switch n := m.spare(); {
			case n <= maxWarnings:
				ev.warn("%v; taken from %s instead", e, other)
			case n == maxWarnings+1:
				ev.warn("%s: other objects are wrong or broken too, and are taken from elsewhere", m)
			}
		}
	}
}

// spare counts an object that the cache failed for.
func (m *member) spare() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed = true
	m.spared++
	return m.spared
}
