package substituter

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"thaw/narinfo"
)

// largestFirst returns infos by falling size: most bytes lie in few NARs, and
// the last one to start should not be the longest.
func largestFirst(infos []*narinfo.Info) []*narinfo.Info {
	return slices.SortedStableFunc(slices.Values(infos), func(a, b *narinfo.Info) int { return cmp.Compare(b.NarSize, a.NarSize) })
}

// each calls f for the items on up to workers goroutines and returns the first
// error, after all have ended.
func each[T any](ctx context.Context, workers int, items []T, f func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan T)
	var wg sync.WaitGroup
	for range min(workers, len(items)) {
		wg.Go(func() {
			for item := range next {
				if err := f(ctx, item); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
feed:
	for _, item := range items {
		select {
		case next <- item:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// Prefetch ensures the objects, largest first, by up to workers goroutines, as
// users of a Disk do in their own ways.
func (d *Disk) Prefetch(ctx context.Context, workers int, infos []*narinfo.Info) error {
	return each(ctx, workers, largestFirst(infos), d.Ensure)
}
