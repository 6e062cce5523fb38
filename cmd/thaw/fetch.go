package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"thaw/assemble"
	"thaw/closure"
	"thaw/config"
	"thaw/narinfo"
	"thaw/resolve"
	"thaw/storepath"
	"thaw/substituter"
)

// work is what build, unpack and plan have in common: a plan, and objects that
// arrive while they are used.
type work struct {
	target *target
	ui     *ui
	src    *source
	plan   *assemble.Plan
	names  []resolve.Answer // of the packages that are named

	ctx     context.Context // ends with an object that cannot be had
	fetcher *fetcher

	jobs     int
	resolved time.Duration
	absent   sync.Map        // the paths of objects that were not in the local cache when they were looked up
	toFetch  []*narinfo.Info // those of them that the build reads
}

// lookups is how many narinfos are looked up at a time for each connection: while
// one is checked the next one is on its way.
const lookups = 2

// resolve opens the caches and makes the plan. Nothing but narinfos is fetched
// before [work.fetch]. The caller calls work.close.
func (a *app) resolve(ctx context.Context, t *target) (*work, error) {
	w := &work{target: t, ctx: ctx}
	if err := a.resolveWork(ctx, w, nil); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// resolveAndFetch is like resolve, and begins to fetch the objects: at once, as
// soon as each is known, if nothing in the plan can stop the build.
func (a *app) resolveAndFetch(ctx context.Context, t *target) (*work, error) {
	w := &work{target: t, ctx: ctx}
	start := func(d *substituter.Disk) { w.ctx, w.fetcher = startFetcher(ctx, d, a.global.connections) }
	var early func(*substituter.Disk)
	if !t.limited() {
		early = start
	}
	err := a.resolveWork(ctx, w, early)
	if err == nil {
		err = w.withinLimits()
	}
	if err != nil {
		w.close()
		return nil, err
	}
	if w.fetcher == nil {
		start(w.src.Disk)
		for _, i := range w.objects() {
			w.fetcher.add(i)
		}
	}
	w.fetcher.arrange(w.plan.Order())
	w.tell(a.global.effective.Caches)
	w.ui.begin("fetching", int64(len(w.toFetch)), w.fetchSize())
	return w, nil
}

// resolveWork makes the plan of w. start, if it is not nil, is called before the
// first narinfo is asked for.
func (a *app) resolveWork(ctx context.Context, w *work, start func(*substituter.Disk)) (err error) {
	began := time.Now()
	if w.ui, err = a.ui(); err != nil {
		return err
	}
	for _, text := range w.target.doubts {
		w.ui.warn(text)
	}
	w.jobs = a.global.jobs
	r, err := w.target.request()
	if err != nil {
		return err
	}
	if w.src, err = a.global.open(w.ui.events()); err != nil {
		return err
	}
	if a.global.offline && w.target.lock != nil {
		if lacking := w.src.lacking(w.target.lock); len(lacking) > 0 {
			return lacking
		}
	}
	if start != nil {
		start(w.src.Disk)
	}
	w.ui.begin("resolving", 0, 0)
	if r.Packages, w.names, err = a.packages(ctx, w); err != nil {
		return err
	}
	r.Jobs = lookups * a.global.connections
	w.plan, err = assemble.Resolve(w.ctx, w.lookup(), r)
	if err != nil {
		if cause := context.Cause(w.ctx); cause != nil {
			err = cause
		}
		if a.global.offline && substituter.KindOf(err) == substituter.NotFound {
			var roots []storepath.Path
			for _, p := range r.Packages {
				roots = append(roots, p.Path)
			}
			err = missing(ctx, w.src, roots, err)
		}
		return err
	}
	for _, p := range r.Packages {
		if signed := w.plan.Signed(p.Path); signed != p.Path {
			w.ui.warn(fmt.Sprintf("%s is signed as %s, and is called that", p.Path, signed.Name()))
		}
	}
	w.resolved = time.Since(began)
	for _, i := range w.objects() {
		if _, ok := w.absent.Load(i.StorePath); ok {
			w.toFetch = append(w.toFetch, i)
		}
	}
	return nil
}

// objects returns the narinfos of all that the build reads.
func (w *work) objects() []*narinfo.Info { return slices.Concat(w.plan.Infos, w.plan.Aside) }

// lookup returns what knows narinfos, and notes what is not in the local cache. What it
// finds begins to arrive, if there is a fetcher.
func (w *work) lookup() closure.Lookup {
	lookup := closure.Lookup(w.src.Info)
	if w.target.lock != nil {
		lookup = w.src.pins(w.target.lock).Info
	}
	return func(ctx context.Context, p storepath.Path) (*narinfo.Info, error) {
		info, err := lookup(ctx, p)
		if err != nil {
			return nil, err
		}
		if !w.src.Local(info) {
			w.absent.Store(info.StorePath, true)
		}
		if w.fetcher != nil {
			w.fetcher.add(info)
		}
		return info, nil
	}
}

// tell says what the plan is.
func (w *work) tell(caches []config.Cache) {
	from := map[string]bool{}
	for _, i := range w.toFetch {
		from[i.Source] = true
	}
	where := ""
	for _, c := range caches {
		if name := cacheName(c.URL); from[name] {
			where += ", " + name
		}
	}
	text := "nothing to fetch"
	if len(w.toFetch) > 0 {
		text = inBytes(w.fetchSize()) + " to fetch from " + strings.TrimPrefix(where, ", ")
	}
	w.ui.step("resolving", "%s → %s, %s unpacked; %s", count(len(w.plan.Packages), "path"), count(len(w.plan.Infos), "path"), inBytes(w.plan.NarSize()), text)
}

// fetchSize returns how many bytes are to be fetched, as far as can be told.
func (w *work) fetchSize() (size int64) {
	for _, i := range w.toFetch {
		size += expected(i)
	}
	return size
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
	if w.fetcher != nil {
		w.fetcher.stop(nil)
	}
	if w.ui != nil {
		w.ui.close()
	}
	if w.src != nil {
		w.src.remove()
	}
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
