// Package closure finds everything that a set of store paths refers to, and
// answers questions about it. It works on narinfos alone and never sees a NAR.
package closure

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"thaw/narinfo"
	"thaw/storepath"
)

// Lookup returns the verified narinfo of a path. [Walk] calls it from many
// goroutines at once, once for each path.
type Lookup func(ctx context.Context, p storepath.Path) (*narinfo.Info, error)

// NameError says that a path refers to an object by another name than the one
// its signed narinfo has.
type NameError struct{ Referrer, Reference, Signed storepath.Path }

func (e *NameError) Error() string {
	return fmt.Sprintf("%s refers to %s, and the narinfo for that is of %s", e.Referrer.Base(), e.Reference.Base(), e.Signed.Base())
}

// Walk returns the narinfos of roots and of all they refer to, directly or not,
// sorted by path. Up to jobs lookups run at a time, and each path is looked up
// as soon as something refers to it: the walk takes as long as its longest chain
// of references, or as all lookups divided by jobs. Cycles are no trouble. The
// first error ends the walk.
//
// A root may have another name than its narinfo, as long as the hash part is
// the same; the result has the signed name.
func Walk(ctx context.Context, jobs int, roots []storepath.Path, lookup Lookup) ([]*narinfo.Info, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := walk{lookup: lookup, cancel: cancel, jobs: max(jobs, 1), seen: map[string]bool{}}
	w.mu.Lock()
	for _, r := range roots {
		w.visit(ctx, r)
	}
	w.mu.Unlock()
	w.wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	slices.SortFunc(w.found, func(a, b *narinfo.Info) int { return a.StorePath.Compare(b.StorePath) })
	return w.found, checkNames(w.found)
}

// checkNames holds that references name objects as their narinfos do.
func checkNames(infos []*narinfo.Info) error {
	signed := make(map[string]storepath.Path, len(infos))
	for _, i := range infos {
		signed[i.StorePath.Hash()] = i.StorePath
	}
	for _, i := range infos {
		for _, r := range i.References {
			if s := signed[r.Hash()]; s != r {
				return &NameError{i.StorePath, r, s}
			}
		}
	}
	return nil
}

type walk struct {
	lookup Lookup
	cancel context.CancelCauseFunc
	jobs   int
	wg     sync.WaitGroup

	mu      sync.Mutex
	seen    map[string]bool // by hash part
	waiting []storepath.Path
	workers int // that are running; a goroutine for each path would cost more than its narinfo
	found   []*narinfo.Info
}

// visit makes sure that p is looked up. w.mu is held.
func (w *walk) visit(ctx context.Context, p storepath.Path) {
	if w.seen[p.Hash()] {
		return
	}
	w.seen[p.Hash()] = true
	w.waiting = append(w.waiting, p)
	if w.workers < w.jobs {
		w.workers++
		w.wg.Go(func() { w.work(ctx) })
	}
}

// work looks up what is waiting, until nothing is.
func (w *walk) work(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.workers-- }()
	for len(w.waiting) > 0 && ctx.Err() == nil {
		p := w.waiting[0]
		w.waiting = w.waiting[1:]
		w.mu.Unlock()
		info, err := w.lookup(ctx, p)
		w.mu.Lock()
		if err != nil {
			w.cancel(err)
			return
		}
		w.found = append(w.found, info)
		for _, r := range info.References {
			w.visit(ctx, r)
		}
	}
}

// Graph answers questions about a closure.
type Graph struct {
	Infos []*narinfo.Info // sorted by path
	refs  [][]int32       // by position in Infos, sorted, without self-references
}

// NewGraph returns the graph of what [Walk] found.
func NewGraph(infos []*narinfo.Info) (*Graph, error) {
	index := make(map[storepath.Path]int32, len(infos))
	for i, info := range infos {
		index[info.StorePath] = int32(i)
	}
	g := &Graph{infos, make([][]int32, len(infos))}
	for i, info := range infos {
		for _, r := range info.References {
			j, ok := index[r]
			if !ok {
				return nil, fmt.Errorf("%s refers to %s, which is not in the closure", info.StorePath.Base(), r.Base())
			}
			if int(j) != i {
				g.refs[i] = append(g.refs[i], j)
			}
		}
		slices.Sort(g.refs[i]) // caches need not
	}
	return g, nil
}
