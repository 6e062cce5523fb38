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

	"golang.org/x/sys/unix"
)

// File is a binary cache in a directory.
type File struct {
	Dir string
}

var _ Transport = File{}

// String returns the directory as a file:// URL.
func (f File) String() string { return "file://" + f.Dir }

// Get opens a regular file below the directory. A query in ref is passed over.
func (f File) Get(ctx context.Context, ref string, part Part) (*Body, error) {
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
		file.Close()
		return nil, &Error{URL: shown, Kind: Integrity, Err: errors.New("is not a regular file")}
	}
	from := part.From
	if err == nil && from > 0 {
		if from > st.Size() {
			from = 0
		}
		_, err = file.Seek(from, io.SeekStart)
	}
	if err != nil {
		if file != nil {
			file.Close()
		}
		return nil, &Error{URL: shown, Kind: Network, Err: cause(err)}
	}
	return &Body{ReadCloser: file, From: from, Size: st.Size(), URL: shown}, nil
}
