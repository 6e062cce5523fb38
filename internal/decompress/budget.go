package decompress

import (
	"bufio"
	"context"
	"io"
	"math"
	"runtime/debug"

	"golang.org/x/sync/semaphore"

	"thaw/internal/ahead"
	"thaw/xz"
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

// NewBudget returns a budget for so many decoders of common streams: 32 MiB for each
// and 32 more, or half of GOMEMLIMIT if that is less.
func NewBudget(jobs int) *Budget {
	size := int64(max(jobs, 1)+1) * perJob
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		size = max(min(size, limit/2), 1)
	}
	return &Budget{size, semaphore.NewWeighted(size)}
}

// Team is who else may work at one stream.
type Team struct {
	// Jobs is how many goroutines may decode it, at most. Less than 2 is one.
	Jobs int
	// Spare is asked whether one more may work now: see [xz.Config.Spare]. Nil is
	// never: then blocks are decoded one by one.
	Spare func() (release func(), ok bool)
}

// Wide reports whether more goroutines may work than zstd keeps busy anyway: it is decoded
// so fast that what is done with it takes another processor, beside it.
func (t Team) Wide() bool { return t.Jobs > 2 }

// NewReader is like the function [NewReader]. It waits until there is room for the
// decoder; Close makes it again. Streams of xz in several blocks, and of zstd in several frames,
// are decoded by a team, as far as there is room for as many of them, in order; their
// checksums are not looked at. Other large ones are decoded ahead of what is read.
func (b *Budget) NewReader(ctx context.Context, name string, r *bufio.Reader, size int64, team Team) (io.ReadCloser, error) {
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
	z, all, err := b.crew(name, r, head, size, team, weight)
	if err != nil {
		b.left.Release(weight)
		return nil, err
	}
	if z != nil {
		return &budgeted{z, b, all}, nil
	}
	kind := small
	if memory > smallWindow+besides {
		kind = large
	}
	if z, err = newReader(name, r, size, kind); err != nil {
		b.left.Release(weight)
		return nil, err
	}
	if size >= worthAhead && team.Jobs > 1 {
		z = &beside{ahead.New(z), z}
	}
	return &budgeted{z, b, weight}, nil
}

// worthAhead is from which size on a stream is decoded by a goroutine of its own, in
// bytes: what is done with it takes far less time than that.
const worthAhead = 8 << 20

// beside is a stream that is decoded beside what is done with it.
type beside struct {
	*ahead.Reader
	from io.Closer
}

func (r *beside) Close() error {
	r.Reader.Close()
	return r.from.Close()
}

// crew returns a decoder of several parts of a stream at a time, which are blocks of xz
// or frames of zstd, and what it takes of the budget in all; weight is taken already. It
// is nil where there is only one part, or room for one if the others are to have theirs.
// Of zstd only a wide team decodes several.
func (b *Budget) crew(name string, r *bufio.Reader, head []byte, size int64, team Team, weight int64) (io.ReadCloser, int64, error) {
	packed, output := parts(name, head)
	most := max(packed, output)
	// What does not fit would not be decoded side by side.
	if team.Spare == nil || name == "zstd" && !team.Wide() || output == 0 || size <= output || most > b.size {
		return nil, 0, nil
	}
	part := output + packed + packed/4 // others may be packed less well
	for n := min(int64(team.Jobs), (size-1)/output+1); n > 1; n-- {
		all := max(n*part, weight)
		others := int64(team.Jobs-1) * (smallWindow + besides)
		if !b.left.TryAcquire(all - weight + others) {
			continue
		}
		b.left.Release(others)
		if name == "xz" {
			return xz.NewReader(r, xz.Config{MaxSize: size, MaxDict: MaxWindow, SkipCheck: true,
				Workers: int(n), Blocks: int(n), MaxBlock: most, Spare: team.Spare}), all, nil
		}
		z, err := openFrames(r, size, most, int(n), team)
		if err != nil {
			b.left.Release(all - weight)
		}
		return z, all, err
	}
	return nil, 0, nil
}

// parts returns how large the first part of a stream is that could be decoded beside
// others, in bytes. It is 0 where there is none that says so.
func parts(name string, head []byte) (packed, output int64) {
	switch name {
	case "xz":
		if h, ok := readXZ(head); ok && h.packed > 0 {
			return h.packed, h.output
		}
	case "zstd":
		if h, ok := readFrame(head); ok {
			n := int64(h.FrameContentSize)
			return n, n // a frame's header has only that, and it may not shrink
		}
	}
	return 0, 0
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
