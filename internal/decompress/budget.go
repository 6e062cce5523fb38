package decompress

import (
	"bufio"
	"context"
	"io"
	"math"
	"runtime/debug"

	"golang.org/x/sync/semaphore"
)

// A Budget bounds the memory of the decoders that are at work at a time, whatever
// their number: one that has no room waits. A decoder that takes more than all of the
// budget works alone. It is safe for concurrent use. None, nil, bounds nothing.
//
// Whoever has a decoder of a budget must not wait for another one of it.
type Budget struct {
	size int64
	left *semaphore.Weighted
}

// perJob is the share of one decoder, in bytes: the window of xz -6 or zstd -19
// three times, of which the collector of garbage may have left as much.
const perJob = 32 << 20

// NewBudget returns a budget for so many decoders of common streams: 32 MiB for each,
// or half of GOMEMLIMIT if that is less.
func NewBudget(jobs int) *Budget {
	size := int64(max(jobs, 1)) * perJob
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		size = max(min(size, limit/2), 1)
	}
	return &Budget{size, semaphore.NewWeighted(size)}
}

// NewReader is like the function [NewReader]. It waits until there is room for the
// decoder; Close makes it again.
func (b *Budget) NewReader(ctx context.Context, name string, r *bufio.Reader, size int64) (io.ReadCloser, error) {
	if b == nil {
		return NewReader(name, r, size)
	}
	head, err := r.Peek(headSize)
	if err != nil && err != io.EOF {
		return nil, err
	}
	memory := Window(name, head, size)
	weight := min(memory, b.size)
	if err := b.left.Acquire(ctx, weight); err != nil {
		return nil, context.Cause(ctx)
	}
	kind := small
	if memory > smallWindow+besides {
		kind = large
	}
	z, err := newReader(name, r, size, kind)
	if err != nil {
		b.left.Release(weight)
		return nil, err
	}
	return &budgeted{z, b, weight}, nil
}

// budgeted is a decoder that a budget has room for.
type budgeted struct {
	io.ReadCloser
	b      *Budget
	weight int64 // 0 when it is given back
}

func (o *budgeted) Close() error {
	err := o.ReadCloser.Close()
	o.b.left.Release(o.weight)
	o.weight = 0
	return err
}
