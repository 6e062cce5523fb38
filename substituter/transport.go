package substituter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

// Transport gets the files of one binary cache. It is safe for concurrent use.
type Transport interface {
	// Get opens the file with a URL relative to the cache's, or an absolute
	// one as some narinfos have, with one request. A file that is not there is
	// an [*Error] of kind [NotFound].
	Get(ctx context.Context, ref string, part Part) (*Body, error)
	// String returns the cache's URL without credentials.
	String() string
}

// Part says which bytes of a file are wanted. The zero value is all of them.
type Part struct {
	From    int64         // offset of the first byte; the answer may start at 0 all the same
	Tag     string        // of the version that the bytes before From are of, "" if not known
	Silence time.Duration // longest wait for the beginning of the answer; 0 means the transport's own
	Accept  string        // value of the header of that name; "" for none
}

// Body is a file of a cache as it arrives.
type Body struct {
	io.ReadCloser
	From int64  // offset of the first byte: the one asked for, or 0
	Size int64  // bytes of the whole file; -1 if that is not known
	URL  string // where it comes from, without credentials
	Tag  string // of this version of the file, for [Part]; "" if there is none

	Decoded bool // a Content-Encoding was undone: other bytes travelled
}

func outside(cache, ref string) *Error {
	return &Error{URL: cache, Kind: Integrity, Err: fmt.Errorf("the URL %q leads out of the cache", clip(ref))}
}

// cause takes the operation and the path off an error of package os: the caller
// names them.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func clip(s string) string {
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
