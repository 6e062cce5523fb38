package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"

	"thaw/image/dir"
	"thaw/image/disk"
	"thaw/internal/ahead"
	"thaw/internal/atomicfile"
	"thaw/output"
	"thaw/rootfs"
)

// image is an output that is being written.
type image struct {
	path   string // for now; "" for standard output
	sinks  []rootfs.Sink
	finish func(ctx context.Context) error // ends the writing
	result *result                         // after finish
	part   atomicfile.Part                 // which makes it appear; nil for standard output
	abort  func()                          // removes it; does nothing after commit
}

// commit makes an output appear.
func (img *image) commit() error { return atomicfile.CommitAll(img.part) }

// create starts writing. source has the content of disks that is not the root file
// system.
func (w *work) create(o *destination, source *content, stdout io.Writer) (*image, error) {
	switch {
	case o.of.Type == "dir":
		return o.createDir()
	case o.of.Files != nil:
		return w.createFiles(o, source)
	case o.of.OCI != nil:
		return w.createOCI(o, stdout)
	case o.path == "-":
		return o.stream(stdout)
	}
	f, err := atomicfile.Create(o.path, 0o666)
	if err != nil {
		return nil, err
	}
	var temp *atomicfile.File
	remove := func() {
		if temp != nil {
			temp.Abort()
		}
	}
	params := &output.Params{Spec: w.target.places(), ID: w.plan.ID, Time: w.plan.Time, Jobs: w.jobs, Source: source, Temp: func() (_ output.File, err error) {
		if temp, err = atomicfile.Create(o.path+".disk", 0o600); err != nil {
			return nil, err
		}
		return &interruptible{temp.File, source.ctx}, nil
	}}
	out, err := output.New(f, &o.of, params)
	if err != nil {
		remove()
		f.Abort()
		return nil, err
	}
	img := &image{path: f.Name(), sinks: out.Sinks(), part: f, abort: func() {
		out.Abort()
		remove()
		f.Abort()
	}}
	img.finish = func(ctx context.Context) error {
		err := out.Close()
		remove()
		if err != nil {
			return err
		}
		digest, err := digestAndSync(ctx, f.File)
		if err != nil {
			return err
		}
		img.result = o.result(out.Size(), digest)
		img.result.Partitions = partitions(out.Map())
		return nil
	}
	return img, nil
}

// interruptible is a file that is not read any more once its context has ended: all of a
// disk is read to make another form of it, which takes long.
type interruptible struct {
	*os.File
	ctx context.Context
}

func (f *interruptible) ReadAt(p []byte, off int64) (int, error) {
	if f.ctx.Err() != nil {
		return 0, context.Cause(f.ctx)
	}
	return f.File.ReadAt(p, off)
}

func (o *destination) result(size int64, digest string) *result {
	return &result{Path: o.path, Size: size, Digest: digest, Format: formatOf(&o.of).name}
}

// partitions are those of the map of a disk, which is nil for what is none.
func partitions(m *disk.Map) (out []partition) {
	if m == nil {
		return nil
	}
	for _, r := range m.Regions {
		if r.Kind == disk.KindPartition {
			out = append(out, partition{r.Number, r.Name, r.Start, r.End - r.Start})
		}
	}
	slices.SortFunc(out, func(a, b partition) int { return cmp.Compare(a.Start, b.Start) })
	return out
}

// stream writes an archive to standard output.
func (o *destination) stream(stdout io.Writer) (*image, error) {
	sum := sha256.New()
	out, err := output.NewArchive(io.MultiWriter(stdout, sum), &o.of)
	if err != nil {
		return nil, err
	}
	img := &image{sinks: out.Sinks(), abort: out.Abort}
	img.finish = func(context.Context) error {
		if err := out.Close(); err != nil {
			return err
		}
		img.result = o.result(out.Size(), digest(sum))
		return nil
	}
	return img, nil
}

// newDir makes a directory beside its place.
func (o *destination) newDir(path string) (*atomicfile.Dir, error) {
	d, err := atomicfile.CreateDir(path)
	if err == nil {
		d.Replace = o.replaceable
	}
	return d, err
}

// createDir writes a directory beside its place.
func (o *destination) createDir() (*image, error) {
	d, err := o.newDir(o.path)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(d.Path)
	if err != nil {
		d.Abort()
		return nil, err
	}
	owners := dir.IgnoreOwners
	if os.Geteuid() == 0 {
		owners = dir.KeepOwners
	}
	w, err := dir.NewWriter(root, dir.Options{Owners: owners})
	if err != nil {
		root.Close()
		d.Abort()
		return nil, err
	}
	m := &manifest{next: w, sum: sha256.New()}
	img := &image{path: d.Path, sinks: []rootfs.Sink{m}, part: d, abort: func() {
		root.Close()
		d.Abort()
	}}
	img.finish = func(context.Context) error {
		if err := w.Close(); err != nil {
			return err
		}
		img.result = o.result(m.bytes, digest(m.sum))
		return nil
	}
	return img, nil
}

// manifest hashes a line for each entry on its way to another sink.
type manifest struct {
	next  rootfs.Sink
	sum   hash.Hash
	bytes int64 // of regular files
}

func (m *manifest) Add(e rootfs.Entry, data io.Reader) error {
	content := "-"
	if data != nil {
		h := sha256.New()
		if err := m.next.Add(e, io.TeeReader(data, h)); err != nil {
			return err
		}
		content = hex.EncodeToString(h.Sum(nil))
		m.bytes += e.Size
	} else if err := m.next.Add(e, nil); err != nil {
		return err
	}
	fmt.Fprintf(m.sum, "%q %o %d %d %d %d %q %s\n", e.Path, e.UnixMode(), e.UID, e.GID, e.ModTime.Unix(), e.Size, e.Target, content)
	return nil
}

func digest(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

// digestAndSync hashes a file from its start, while the system writes it to the disk, and
// returns when both are done.
func digestAndSync(ctx context.Context, f *os.File) (_ string, err error) {
	synced := make(chan error, 1)
	go func() { synced <- f.Sync() }()
	defer func() { err = cmp.Or(err, <-synced) }()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	a := ahead.New(f)
	defer a.Close()
	h := sha256.New()
	_, err = a.WriteTo(until{ctx, h})
	return digest(h), err
}

// until is a writer that takes no more when ctx has ended.
type until struct {
	ctx context.Context
	io.Writer
}

func (u until) Write(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.Writer.Write(p)
}
