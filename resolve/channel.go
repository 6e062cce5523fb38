package resolve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strings"

	"thaw/storepath"
	"thaw/substituter"
)

// The files of a channel. https://channels.nixos.org/NAME redirects to the
// directory of one release.
const (
	listName     = "store-paths.xz"
	revisionName = "git-revision"
)

// maxRevision is how long a git-revision may be, in bytes.
const maxRevision = 4 << 10

// errMoved says that two files of a channel come from different releases.
var errMoved = errors.New("the channel went on to another release while it was read")

// channel passes the paths of a channel to add, and returns what it is called.
func (r *run) channel(ctx context.Context, place string, add func(storepath.Path)) (where string, err error) {
	if !isURL(place) {
		return r.channelFile(place, add)
	}
	dir := strings.TrimSuffix(place, "/"+listName)
	var list io.ReadCloser
	for range 3 {
		if list, where, err = r.channelURL(ctx, dir); err == nil || !errors.Is(err, errMoved) {
			break
		}
	}
	if err != nil {
		return "", err
	}
	defer list.Close()
	return where, at(dir+"/"+listName, readPacked(list, add))
}

// channelURL opens the list of a channel. Its list and its revision must be of
// one release, so they may not be redirected to different places.
func (r *run) channelURL(ctx context.Context, dir string) (list io.ReadCloser, where string, err error) {
	list, listAt, err := r.Get(ctx, dir+"/"+listName, "", maxPacked)
	if err != nil {
		return nil, "", err
	}
	where = "channel " + dir
	release := strings.TrimSuffix(listAt, "/"+listName)
	if release != dir {
		where += ", at " + clip(release)
	}
	revision, revisionAt, err := r.read(ctx, dir+"/"+revisionName, "", maxRevision)
	if substituter.KindOf(err) == substituter.NotFound {
		return list, where, nil
	}
	if err == nil && strings.TrimSuffix(revisionAt, "/"+revisionName) != release {
		err = &substituter.Error{URL: dir, Kind: substituter.Network, Err: errMoved}
	}
	var id string
	if err == nil {
		id, err = parseRevision(revision)
		err = at(dir+"/"+revisionName, err)
	}
	if err != nil {
		list.Close()
		return nil, "", err
	}
	return list, where + ", git revision " + id, nil
}

// channelFile reads a copy of the list of a channel, and of the revision beside it
// if there is one.
func (r *run) channelFile(file string, add func(storepath.Path)) (where string, err error) {
	list, err := r.Open(file)
	if err != nil {
		return "", err
	}
	defer list.Close()
	where = "channel " + file
	beside := file[:strings.LastIndexByte(file, '/')+1] + revisionName
	f, err := r.Open(beside)
	switch {
	case err == nil:
		defer f.Close()
		text, err := io.ReadAll(io.LimitReader(f, maxRevision))
		var id string
		if err == nil {
			id, err = parseRevision(text)
		}
		if err != nil {
			return "", at(beside, err)
		}
		where += ", git revision " + id
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	return where, at(file, readPacked(list, add))
}

// readPacked reads a list that may be compressed.
func readPacked(r io.Reader, add func(storepath.Path)) error {
	br, done, err := unpack(r)
	if err != nil {
		return err
	}
	defer done()
	return readLines(br, add)
}

var revisions = regexp.MustCompile(`^[0-9A-Za-z._-]{1,128}$`)

func parseRevision(text []byte) (string, error) {
	id := strings.TrimSpace(string(text))
	if !revisions.MatchString(id) {
		return "", fmt.Errorf("%q is not a revision", clip(id))
	}
	return id, nil
}

// read gets a small file.
func (r *run) read(ctx context.Context, url, accept string, limit int64) (text []byte, final string, err error) {
	body, final, err := r.Get(ctx, url, accept, limit)
	if err != nil {
		return nil, "", err
	}
	defer body.Close()
	text, err = io.ReadAll(body)
	return text, final, err
}
