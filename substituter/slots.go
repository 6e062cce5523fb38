package substituter

import (
	"container/heap"
	"context"
	"sync"
)

// slots bounds how many NARs are decoded or hashed at a time. Of those that wait the
// largest is next: the last one at work should be small, and whoever reads the
// objects wants the large ones first.
type slots struct {
	mu      sync.Mutex
	free    int
	waiting waiters
}

// waiter waits for a slot.
type waiter struct {
	size int64
	at   int           // in the heap, -1 when it has its turn
	turn chan struct{} // closed then
}

func newSlots(n int) *slots { return &slots{free: n} }

// take waits until one more may work, which is of so many bytes. release must be
// called once.
func (s *slots) take(ctx context.Context, size int64) (release func(), err error) {
	s.mu.Lock()
	if ctx.Err() != nil {
		s.mu.Unlock()
		return nil, context.Cause(ctx)
	}
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return s.next, nil
	}
	w := &waiter{size: size, turn: make(chan struct{})}
	heap.Push(&s.waiting, w)
	s.mu.Unlock()
	select {
	case <-w.turn:
		return s.next, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	had := w.at < 0
	if !had {
		heap.Remove(&s.waiting, w.at)
	}
	s.mu.Unlock()
	if had {
		s.next()
	}
	return nil, context.Cause(ctx)
}

// try takes a slot if nobody waits for one.
func (s *slots) try() (release func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free == 0 {
		return nil, false
	}
	s.free--
	return s.next, true
}

// next gives the slot of one that is done to another.
func (s *slots) next() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		s.free++
		return
	}
	close(heap.Pop(&s.waiting).(*waiter).turn)
}

// waiters is a heap, the largest first.
type waiters []*waiter

func (w waiters) Len() int           { return len(w) }
func (w waiters) Less(i, j int) bool { return w[i].size > w[j].size }
func (w waiters) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].at, w[j].at = i, j
}

func (w *waiters) Push(x any) {
	x.(*waiter).at = len(*w)
	*w = append(*w, x.(*waiter))
}

func (w *waiters) Pop() any {
	last := len(*w) - 1
	x := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	x.at = -1
	return x
}
