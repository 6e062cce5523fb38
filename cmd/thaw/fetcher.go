package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"thaw/narinfo"
	"thaw/substituter"
)

// fetcher makes objects arrive in the local cache as soon as they are known to be
// wanted, while the walk of the closure and then the build go on.
type fetcher struct {
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	more  sync.Cond // the queue has changed
	queue []*narinfo.Info
	ended bool
}

// startFetcher starts a fetcher of so many requests at a time. The context that it
// returns ends with the first object that cannot be had.
func startFetcher(ctx context.Context, d *substituter.Disk, workers int) (context.Context, *fetcher) {
	ctx, cancel := context.WithCancelCause(ctx)
	f := &fetcher{cancel: cancel}
	f.more.L = &f.mu
	for range workers {
		f.wg.Go(func() {
			for info := f.next(); info != nil; info = f.next() {
				if err := d.Ensure(ctx, info); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	return ctx, f
}

// add queues an object.
func (f *fetcher) add(info *narinfo.Info) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, info)
	f.more.Signal()
}

// arrange orders what is still queued, once it is known how the objects are wanted.
func (f *fetcher) arrange(infos []*narinfo.Info) {
	at := make(map[*narinfo.Info]int, len(infos))
	for i, info := range infos {
		at[info] = i + 1
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.SortStableFunc(f.queue, func(a, b *narinfo.Info) int { return cmp.Compare(at[a], at[b]) })
}

// next waits for an object; nil is the end.
func (f *fetcher) next() *narinfo.Info {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.queue) == 0 && !f.ended {
		f.more.Wait()
	}
	if f.ended {
		return nil
	}
	info := f.queue[0]
	f.queue = f.queue[1:]
	return info
}

// errEnough ends the fetching of what nobody waits for any more.
var errEnough = errors.New("not needed any more")

// stop ends the fetching, for err if it is not nil, and waits for that.
func (f *fetcher) stop(err error) {
	if err == nil {
		err = errEnough
	}
	f.mu.Lock()
	f.ended = true
	f.more.Broadcast()
	f.mu.Unlock()
	f.cancel(err)
	f.wg.Wait()
}
