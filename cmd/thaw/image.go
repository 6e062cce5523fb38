package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"

	"thaw/image/dir"
	"thaw/image/disk"
	"thaw/internal/atomicfile"
	"thaw/output"
	"thaw/rootfs"
)

// image is an output that is being written.
type image struct {
	sinks  []rootfs.Sink                              // of the root file system
	finish func(ctx context.Context) (*result, error) // ends the writing
	commit func() error                               // makes it appear
	abort  func()                                     // removes it; does nothing after commit
	layout func() *disk.Map                           // of a disk, after finish; nil for others
}

// create starts writing. source has the content of disks that is not the root file
// system.
func (w *work) create(o *destination, source output.Source, stdout io.Writer) (*image, error) {
	switch {
	case o.of.Type == "dir":
		return o.createDir()
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
	params := &output.Params{ID: w.plan.ID, Time: w.plan.Time, Jobs: w.jobs, Source: source, Temp: func() (_ output.File, err error) {
		temp, err = atomicfile.Create(o.path+".disk", 0o600)
		return temp, err
	}}
	out, err := output.New(f, &o.of, params)
	if err != nil {
		remove()
		f.Abort()
		return nil, err
	}
	return &image{
		sinks: out.Sinks(),
		finish: func(ctx context.Context) (*result, error) {
			err := out.Close()
			remove()
			if err != nil {
				return nil, err
			}
			digest, err := digestFile(ctx, f.File)
			if err != nil {
				return nil, err
			}
			return &result{o.path, out.Size(), digest, formatOf(&o.of).name}, f.Sync()
		},
		commit: f.Commit,
		abort: func() {
			out.Abort()
			remove()
			f.Abort()
		},
		layout: out.Map,
	}, nil
}

// stream writes an archive to standard output.
func (o *destination) stream(stdout io.Writer) (*image, error) {
	sum := sha256.New()
	out, err := output.NewArchive(io.MultiWriter(stdout, sum), &o.of)
	if err != nil {
		return nil, err
	}
	return &image{
		sinks: out.Sinks(),
		finish: func(context.Context) (*result, error) {
			if err := out.Close(); err != nil {
				return nil, err
			}
			return &result{o.path, out.Size(), digest(sum), formatOf(&o.of).name}, nil
		},
		commit: func() error { return nil },
		abort:  func() {},
	}, nil
}

// createDir writes a directory beside its place.
func (o *destination) createDir() (*image, error) {
	d, err := atomicfile.CreateDir(o.path)
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
	return &image{
		sinks: []rootfs.Sink{m},
		finish: func(context.Context) (*result, error) {
			if err := w.Close(); err != nil {
				return nil, err
			}
			return &result{o.path, m.bytes, digest(m.sum), formatOf(&o.of).name}, nil
		},
		commit: d.Commit,
		abort: func() {
			root.Close()
			d.Abort()
		},
	}, nil
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

// digestFile hashes a file from its start.
func digestFile(ctx context.Context, f *os.File) (string, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for {
		n, err := f.Read(buf)
		h.Write(buf[:n])
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if err == io.EOF {
			return digest(h), nil
		}
		if err != nil {
			return "", err
		}
	}
}
