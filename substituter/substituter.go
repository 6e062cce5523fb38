// Package substituter fetches verified store objects from binary caches.
//
// A binary cache serves, under one URL, a narinfo file for each store object
// (HASH.narinfo) and the object's contents as a NAR. A [Remote] is one such
// cache over HTTP or in a directory; a [List] is several as one; a [Disk] brings
// NARs from them into a directory that is itself a binary cache.
//
// Nothing unverified leaves this package. A narinfo is returned only after
// [narinfo.Open] has accepted it. A NAR's length and hash are checked while it
// is read: where they are wrong, the reader gets an error instead of the end.
// Memory is bounded, whatever a cache sends.
package substituter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"thaw/narinfo"
	"thaw/storepath"
)

// Substituter gives verified store objects. It is safe for concurrent use.
type Substituter interface {
	// Info returns what is known of a path. The StorePath in the answer has
	// the same hash part; its name may differ. A path that is nowhere is an
	// [*Error] of kind [NotFound].
	Info(ctx context.Context, p storepath.Path) (*narinfo.Info, error)
	// Open returns the plain NAR of an object that Info described. A wrong
	// length or hash is an error where the end would be.
	Open(ctx context.Context, info *narinfo.Info) (io.ReadCloser, error)
}

// Kind is the kind of a failure. A greater kind is the more useful one to
// report of several.
type Kind int

// The kinds.
const (
	NotFound  Kind = 1 + iota // every cache answered that it does not have it
	Network                   // a cache could not be reached or broke off
	Integrity                 // what came is complete, and is wrong
)

// Error says why an object could not be had.
type Error struct {
	Object string   // what was wanted: "narinfo of NAME", "NAR of NAME"
	URL    string   // where; without credentials, maybe ""
	Kind   Kind     // the kind of Err
	Err    error    // what happened there
	Also   []*Error // what other caches answered, less telling than Err

	remedy   remedy
	dead     bool // the server is of no use for other files either
	badRange bool // it does not serve the part that was asked for
	cut      bool // the file ends early, and nobody said how long it is
}

func (e *Error) Error() string {
	var b strings.Builder
	var unsigned *narinfo.UnsignedError
	if e.Object != "" && !errors.As(e.Err, &unsigned) { // that names its object
		b.WriteString(e.Object + ": ")
	}
	if e.URL != "" {
		b.WriteString(e.URL + ": ")
	}
	b.WriteString(e.Err.Error())
	for _, a := range e.Also {
		fmt.Fprintf(&b, "; also tried %s: %v", a.URL, a.Err)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of an error, 0 if it does not come from a cache.
func KindOf(err error) Kind {
	var e *Error
	var u *narinfo.UnsignedError
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.As(err, &u):
		return Integrity
	}
	return 0
}

var (
	errMissing   = errors.New("not there")
	errForbidden = errors.New("not there, or not allowed (HTTP 403)")
)

// mostUseful makes one error of what several caches answered, in their order.
func mostUseful(object string, errs []*Error) *Error {
	best := 0
	for i, e := range errs {
		if e.Kind > errs[best].Kind {
			best = i
		}
	}
	out := *errs[best]
	out.Object = object
	for i, e := range errs {
		if i != best {
			out.Also = append(out.Also, e)
		}
	}
	return &out
}

// Events is told what happens, from many goroutines at once. Nil functions are
// not called.
type Events struct {
	// Warn gets one line about something that did not stop the run.
	Warn func(text string)
	// Received counts bytes as they come from a cache, given by its URL.
	Received func(cache string, bytes int)
	// Stored is called when an object has come whole from a cache.
	Stored func(info *narinfo.Info)
}

func (e *Events) warn(format string, a ...any) {
	if e != nil && e.Warn != nil {
		e.Warn(fmt.Sprintf(format, a...))
	}
}

func (e *Events) received(cache string, n int) {
	if e != nil && e.Received != nil && n > 0 {
		e.Received(cache, n)
	}
}

func (e *Events) stored(info *narinfo.Info) {
	if e != nil && e.Stored != nil {
		e.Stored(info)
	}
}
