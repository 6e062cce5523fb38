package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"thaw/assemble"
	"thaw/narinfo"
	"thaw/storepath"
	"thaw/substituter"
)

// work is what build and unpack have in common: a plan, and objects that arrive
// while they are used.
type work struct {
	ui      *ui
	src     *source
	plan    *assemble.Plan
	ctx     context.Context // ends with an object that cannot be had
	fetcher *fetcher

	jobs     int
	resolved time.Duration
	toFetch  []*narinfo.Info // the objects that are not in the local cache
}

// lookups is how many narinfos are looked up at a time for each connection: while
// one is checked the next one is on its way.
const lookups = 2

// resolve opens the caches and makes the plan. The caller calls work.close.
func (a *app) resolve(ctx context.Context, paths []storepath.Path, r assemble.Request) (*work, error) {
	start := time.Now()
	ui, err := a.ui()
	if err != nil {
		return nil, err
	}
	src, err := a.global.open(ui.events())
	if err != nil {
		return nil, err
	}
	w := &work{ui: ui, src: src, jobs: a.global.jobs}
	w.ctx, w.fetcher = startFetcher(ctx, src.Disk, a.global.connections)
	r.Roots, r.Jobs = paths, lookups*a.global.connections
	ui.begin("resolving", 0, 0)
	if w.plan, err = assemble.Resolve(w.ctx, eager{src.Disk, w.fetcher}, r); err != nil {
		if a.global.offline && substituter.KindOf(err) == substituter.NotFound {
			err = missing(ctx, src, paths, err)
		}
		w.close()
		return nil, err
	}
	w.fetcher.largestFirst()
	w.resolved = time.Since(start)
	var size int64
	from := map[string]bool{}
	for _, i := range w.plan.Infos {
		if !src.Local(i) {
			w.toFetch = append(w.toFetch, i)
			size += expected(i)
			from[i.Source] = true
		}
	}
	where := ""
	for _, c := range a.global.effective.Caches {
		if name := cacheName(c.URL); from[name] {
			where += ", " + name
		}
	}
	text := "nothing to fetch"
	if len(w.toFetch) > 0 {
		text = inBytes(size) + " to fetch from " + strings.TrimPrefix(where, ", ")
	}
	ui.step("resolving", "%s → %s, %s unpacked; %s", count(len(paths), "path"), count(len(w.plan.Infos), "path"), inBytes(w.plan.NarSize()), text)
	ui.begin("fetching", int64(len(w.toFetch)), size)
	return w, nil
}

// expected returns how many bytes a NAR's file may have: what the cache says, who
// may not know or lie, at most those of the NAR.
func expected(i *narinfo.Info) int64 {
	if i.FileSize > 0 && i.FileSize < i.NarSize {
		return i.FileSize
	}
	return i.NarSize
}

// missingError lists what a run without a network lacks.
type missingError []storepath.Path

func (e missingError) Error() string {
	lines := make([]string, 0, len(e))
	for i, p := range e {
		if i == 20 {
			lines = append(lines, fmt.Sprintf("and %d more, and all that these refer to", len(e)-i))
			break
		}
		lines = append(lines, p.String()+" is not in the local cache")
	}
	return strings.Join(lines, "\n")
}

// missing makes an error of everything that is not there.
func missing(ctx context.Context, src *source, roots []storepath.Path, err error) error {
	if paths, lookErr := src.Missing(ctx, roots); lookErr == nil && len(paths) > 0 {
		return missingError(paths)
	}
	return err
}

func (w *work) close() {
	w.fetcher.stop(nil)
	w.ui.close()
	w.src.remove()
}

// while runs f, while the objects go on arriving. The first error of either ends
// both.
func (w *work) while(f func(ctx context.Context) error) error {
	err := f(w.ctx)
	if cause := context.Cause(w.ctx); err != nil && cause != nil {
		err = cause
	}
	w.fetcher.stop(err)
	return err
}
