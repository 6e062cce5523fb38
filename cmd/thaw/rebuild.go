package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"thaw/assemble"
	"thaw/internal/anatomy"
	"thaw/narinfo"
	"thaw/substituter"
)

// differentError says that an image came out otherwise the second time.
type differentError struct{ text string }

func (e *differentError) Error() string { return e.text }

// rebuild builds the outputs once more and compares them with images: with another
// number of jobs, in another directory, out of a cache of its own that gets the
// objects from the local one in an order of chance. Nothing is asked of the network.
func (w *work) rebuild(ctx context.Context, outs []*destination, images []*image) (err error) {
	w.ui.step("checking", "building %s once more", count(len(outs), "output"))
	dir, err := os.MkdirTemp("", "thaw-check-")
	if err != nil {
		return err
	}
	defer func() {
		if rm := removeAll(dir); err == nil {
			err = rm
		}
	}()
	again := &work{target: w.target, ui: w.ui, jobs: 2*w.jobs + 1}
	first := &substituter.Remote{From: &planCache{substituter.File{Dir: w.src.Dir}, w.objects()}, Keys: w.src.Keys}
	for _, c := range w.src.list.Caches {
		first.Exempt = first.Exempt || c.Exempt
	}
	again.src = &source{list: &substituter.List{Caches: []*substituter.Remote{first}}}
	again.src.Disk, err = substituter.OpenDisk(filepath.Join(dir, "cache"), again.src.list, w.src.Keys, again.jobs, nil)
	if err != nil {
		return err
	}
	r, err := w.target.request()
	if err != nil {
		return err
	}
	r.Packages, r.Jobs = w.plan.Packages, again.jobs
	if again.plan, err = assemble.Resolve(ctx, again.src.Info, r); err != nil {
		return err
	}
	again.ctx, again.fetcher = startFetcher(ctx, again.src.Disk, again.jobs)
	objects := again.objects()
	rand.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
	for _, info := range objects {
		again.fetcher.add(info)
	}
	second := make([]*destination, len(outs))
	for i, o := range outs {
		second[i] = &destination{filepath.Join(dir, fmt.Sprintf("output-%d", i)), o.of}
	}
	return again.while(func(ctx context.Context) error {
		source := again.newContent(ctx, dir)
		defer source.spool.close()
		rebuilt, _, err := again.write(ctx, second, source, io.Discard)
		for _, img := range rebuilt {
			defer img.abort()
		}
		for i := 0; i < len(images) && err == nil; i++ {
			err = same(outs[i], images[i], rebuilt[i])
		}
		return err
	})
}

// planCache is a cache that has the objects of a plan, out of a local cache. Who signed
// them, if anybody, is as it was.
type planCache struct {
	substituter.File
	objects []*narinfo.Info
}

// Get implements [substituter.Transport].
func (c *planCache) Get(ctx context.Context, ref string, part substituter.Part) (*substituter.Body, error) {
	hash, ok := strings.CutSuffix(ref, ".narinfo")
	if !ok {
		return c.File.Get(ctx, ref, part)
	}
	i := slices.IndexFunc(c.objects, func(i *narinfo.Info) bool { return i.StorePath.Hash() == hash })
	if i < 0 {
		return nil, &substituter.Error{URL: c.String() + "/" + ref, Kind: substituter.NotFound, Err: fs.ErrNotExist}
	}
	info := c.objects[i]
	here := *info
	here.URL, here.Compression = "nar/"+info.NarHash.Digest32()+".nar", "none"
	here.FileHash, here.FileSize = info.NarHash, info.NarSize
	text := here.Text()
	return &substituter.Body{ReadCloser: io.NopCloser(bytes.NewReader(text)), Size: int64(len(text)), URL: c.String() + "/" + ref}, nil
}

// removeAll removes a directory with all that is in it, also where modes forbid it.
func removeAll(dir string) error {
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// same holds that an output is the same both times.
func same(o *destination, a, b *image) error {
	if a.result.Digest == b.result.Digest {
		return nil
	}
	if a.result.Image != nil && o.of.IsDir() {
		return different(o, a, a.result.Image.difference(b.result.Image))
	}
	find := difference
	if o.of.IsDir() {
		find = dirDifference
	}
	where, err := find(a.path, b.path)
	if err != nil {
		return err
	}
	return different(o, a, where)
}

func different(o *destination, a *image, where string) error {
	return &differentError{fmt.Sprintf("output %s (%s) came out otherwise the second time: %s", o.of.Name, a.result.Format, where)}
}

// dirDifference says where two directories differ, as far as one can see it in them.
func dirDifference(a, b string) (string, error) {
	where := ""
	err := filepath.WalkDir(a, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == a {
			return err
		}
		rel := path[len(a):]
		x, err := d.Info()
		if err != nil {
			return err
		}
		y, err := os.Lstat(b + rel)
		switch {
		case err != nil:
			where = rel + " is there only once"
		case x.Mode() != y.Mode():
			where = fmt.Sprintf("the mode of %s: %v and %v", rel, x.Mode(), y.Mode())
		case !x.IsDir() && !x.ModTime().Equal(y.ModTime()):
			where = fmt.Sprintf("the time of %s", rel)
		case x.Mode().IsRegular():
			text, err := difference(path, b+rel)
			if err != nil {
				return err
			}
			if text != "" {
				where = rel + ": " + text
			}
		}
		if where != "" {
			return fs.SkipAll
		}
		return nil
	})
	if where == "" {
		where = "the list of its entries"
	}
	return where, err
}

// difference says where two files differ, "" for nowhere.
func difference(a, b string) (string, error) {
	var files [2]*os.File
	var sizes [2]int64
	for i, name := range []string{a, b} {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			return "", err
		}
		files[i], sizes[i] = f, st.Size()
	}
	off, differ, err := anatomy.Differ(files[0], files[1], sizes[0], sizes[1])
	if err != nil || !differ {
		return "", err
	}
	text := fmt.Sprintf("byte %d, %s", off, anatomy.At(files[0], sizes[0], off))
	if sizes[0] != sizes[1] {
		text += fmt.Sprintf("; %d bytes and %d", sizes[0], sizes[1])
	}
	return text, nil
}
