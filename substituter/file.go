package substituter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Transport gets the files of one binary cache. It is safe for concurrent use.
type Transport interface {
	// Get opens the file with a URL relative to the cache's, or an absolute
	// one as some narinfos have. A file that is not there is an [*Error] of
	// kind [NotFound].
	Get(ctx context.Context, ref string) (*Body, error)
	// String returns the cache's URL without credentials.
	String() string
}

// Body is a file of a cache as it arrives.
type Body struct {
	io.ReadCloser
	Size int64  // bytes to come; -1 if that is not known
	URL  string // where it comes from, without credentials
}

// File is a binary cache in a directory.
type File struct {
	Dir string
}

// String returns the directory as a file:// URL.
func (f File) String() string { return "file://" + f.Dir }

// Get opens a regular file below the directory. A query in ref is passed over.
func (f File) Get(ctx context.Context, ref string) (*Body, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	u, err := url.Parse(ref)
	switch {
	case err != nil:
		return nil, &Error{URL: f.String(), Kind: Integrity, Err: fmt.Errorf("the URL %q is not valid", clip(ref))}
	case u.Scheme == "http" || u.Scheme == "https":
		return nil, &Error{URL: f.String(), Kind: Network, Err: fmt.Errorf("the file lies elsewhere, at %q, where a file:// cache does not reach", clip(ref))}
	case u.Scheme != "" || u.Host != "" || !filepath.IsLocal(filepath.FromSlash(u.Path)):
		return nil, outside(f.String(), ref)
	}
	path := filepath.Join(f.Dir, filepath.FromSlash(u.Path))
	shown := "file://" + path
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{URL: shown, Kind: NotFound, Err: errMissing}
	}
	var st fs.FileInfo
	if err == nil {
		st, err = file.Stat()
	}
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("is not a regular file")
	}
	if err != nil {
		if file != nil {
			file.Close()
		}
		return nil, &Error{URL: shown, Kind: Network, Err: cause(err)}
	}
	return &Body{file, st.Size(), shown}, nil
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
		return s[:200] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
