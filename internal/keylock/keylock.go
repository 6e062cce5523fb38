// Package keylock holds one lock for each key of a set that is not known
// beforehand. A key that nobody holds or waits for takes no memory.
package keylock

import (
	"context"
	"sync"
)

// Set is a set of locks. The zero value is ready; do not copy it after use.
type Set struct {
	mu    sync.Mutex
	locks map[string]*lock
}

type lock struct {
	held chan struct{} // of capacity 1: full while held
	refs int           // holders and waiters
}

// Lock waits until it has the key's lock or ctx ends, and then returns ctx's
// cause. unlock must be called once.
func (s *Set) Lock(ctx context.Context, key string) (unlock func(), err error) {
	s.mu.Lock()
	if s.locks == nil {
		s.locks = map[string]*lock{}
	}
	l := s.locks[key]
	if l == nil {
		l = &lock{held: make(chan struct{}, 1)}
		s.locks[key] = l
	}
	l.refs++
	s.mu.Unlock()
	select {
	case l.held <- struct{}{}:
		return func() {
			<-l.held
			s.leave(key, l)
		}, nil
	case <-ctx.Done():
		s.leave(key, l)
		return nil, context.Cause(ctx)
	}
}

func (s *Set) leave(key string, l *lock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.refs--; l.refs == 0 {
		delete(s.locks, key)
	}
}
