// Package resolve finds store paths by the names of packages, without evaluating
// any Nix expression: in the list of paths that a channel publishes, at a Hydra,
// in a devbox.lock, and in lists of store paths.
//
// It never picks silently. A name, an output and a system leave one store path,
// or the error lists those that are left, with what is known of each. What was
// found says how, in words that depend on nothing but what was read, so that a
// lock can hold them.
//
// What a list says is believed by nobody: the store path that is found is
// fetched and verified like any other. The machine that a package is for is a
// hint too, see [Query].
//
// Everything that is read is hostile: it is bounded before it is kept, and a list
// is never in memory as a whole.
package resolve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"thaw/spec"
	"thaw/storepath"
	"thaw/substituter"
)

// Query asks for one store path.
type Query struct {
	// Name is that of a package (git), of a version of it (git-2.39.5), or
	// the whole name of a store path (git-2.39.5-doc). For a Hydra it is that
	// of a job, without or with the system at its end, or "" if From names
	// the job. For a devbox.lock it is a key of it (git@latest), or what comes
	// before the @.
	Name   string
	Output string // "" means out
	From   spec.From
	// Arch is the system that the package is for, "" for any. A devbox.lock
	// and a Hydra state it. Paths of lists are looked into: the machine of
	// the first program in the NAR is the evidence. That NAR is not verified,
	// and who serves it can spoil the choice among the paths of a list, not
	// the contents of one.
	Arch string
}

// Answer is the one store path that a query means.
type Answer struct {
	Path storepath.Path
	How  string // where it was found, and what speaks for it
	// Others are the names of other outputs of the same package that are at
	// the same place, sorted.
	Others []string
}

// Source is where names are looked up.
type Source struct {
	// Get opens the file at an http or https URL, of at most limit bytes, and
	// returns the URL that redirects have led to. What is not there is a
	// [*substituter.Error] of kind NotFound. [substituter.Web] has it.
	Get func(ctx context.Context, url, accept string, limit int64) (body io.ReadCloser, at string, err error)
	// Open opens a file of this machine, by a name as it is in a [spec.From].
	Open func(name string) (io.ReadCloser, error)
	// Store has what the paths of lists are looked into for. If it is nil, no
	// machine is known.
	Store *substituter.Disk
}

// workers is how many places are asked, and store objects looked into, at a time.
const workers = 8

// Resolve answers all queries, in their order. A place that several of them name
// is read once. All that is wrong is one error.
func Resolve(ctx context.Context, src Source, queries []Query) ([]Answer, error) {
	run := &run{Source: src, queries: slices.Clone(queries), answers: make([]Answer, len(queries)), errs: make([]error, len(queries)), looks: map[look]*sighting{}}
	unit := map[spec.From]int{}
	var units [][]int // queries that are answered together
	for i := range run.queries {
		q := &run.queries[i]
		q.Output = cmp.Or(q.Output, "out")
		u, ok := unit[q.From]
		if !ok || q.From.Kind == spec.FromHydra {
			u = len(units)
			units, unit[q.From] = append(units, nil), u
		}
		units[u] = append(units[u], i)
	}
	each(len(units), func(i int) {
		if err := run.place(ctx, units[i]); substituter.KindOf(err) != 0 {
			run.errs[units[i][0]] = &PlaceError{err}
		} else if err != nil {
			run.errs[units[i][0]] = err
		}
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := errors.Join(run.errs...); err != nil {
		return nil, err
	}
	return run.answers, nil
}

// run is one call of Resolve.
type run struct {
	Source
	queries []Query
	answers []Answer
	errs    []error

	mu    sync.Mutex
	looks map[look]*sighting
}

// place answers queries of one place. Its error is about the place.
func (r *run) place(ctx context.Context, queries []int) error {
	q := r.queries[queries[0]]
	switch q.From.Kind {
	case spec.FromHydra:
		var err error
		r.answers[queries[0]], err = r.hydra(ctx, q)
		return err
	case spec.FromChannel, spec.FromFile:
		return r.listed(ctx, q.From, queries)
	}
	return queryErrorf("%s: it is not said where to look it up", clip(q.Name))
}

// each calls f with 0 to n-1, some at a time.
func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, workers)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	wg.Wait()
}

// QueryError says that a query makes no sense.
type QueryError struct{ text string }

func (e *QueryError) Error() string { return e.text }

func queryErrorf(format string, a ...any) error { return &QueryError{fmt.Sprintf(format, a...)} }

// PlaceError says that a channel or a Hydra cannot be read. It wraps a
// [*substituter.Error].
type PlaceError struct{ Err error }

func (e *PlaceError) Error() string { return e.Err.Error() }

func (e *PlaceError) Unwrap() error { return e.Err }

// Candidate is a store path that may be meant.
type Candidate struct {
	Path storepath.Path // zero if there is none
	Note string         // what is known of it
}

// AmbiguousError says that more than one store path may be meant.
type AmbiguousError struct {
	Name       string // what was asked for
	Where      string
	Candidates []Candidate // sorted by name and path
	More       bool        // there are others
}

// maxShown is how many candidates an error lists.
const maxShown = 20

func (e *AmbiguousError) Error() string {
	var b strings.Builder
	more := ""
	if e.More {
		more = " or more"
	}
	fmt.Fprintf(&b, "%s: %d%s store paths may be meant in %s", e.Name, len(e.Candidates), more, e.Where)
	shown := e.Candidates[:min(len(e.Candidates), maxShown)]
	writeCandidates(&b, shown)
	if n := len(e.Candidates) - len(shown); n > 0 {
		fmt.Fprintf(&b, "\n  and %d more", n)
	}
	return b.String()
}

func writeCandidates(b *strings.Builder, list []Candidate) {
	for _, c := range list {
		switch {
		case c.Path.IsZero():
			fmt.Fprintf(b, "\n  %s", c.Note)
		case c.Note == "":
			fmt.Fprintf(b, "\n  %s", c.Path)
		default:
			fmt.Fprintf(b, "\n  %s  (%s)", c.Path, c.Note)
		}
	}
}

// NotFoundError says that no store path is meant.
type NotFoundError struct {
	Name     string // what was asked for
	Where    string
	Reason   string      // what else is there; may be ""
	Rejected []Candidate // what the name would fit, and why it is not meant
	Near     []string    // names that are like it
}

func (e *NotFoundError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is not in %s", e.Name, e.Where)
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
	if len(e.Near) > 0 {
		b.WriteString("; did you mean " + orList(e.Near) + "?")
	}
	writeCandidates(&b, e.Rejected[:min(len(e.Rejected), maxShown)])
	return b.String()
}

// asked is what a query asks for, for messages.
func (q Query) asked() string {
	text := clip(q.Name)
	if q.Output != "out" {
		text += ", output " + clip(q.Output)
	}
	return text
}

func orList(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// clip makes a text from elsewhere fit for one line of a message.
func clip(s string) string {
	cut := len(s) > 200
	if cut {
		s = s[:200]
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	if cut {
		s += "…"
	}
	return s
}
