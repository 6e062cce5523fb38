package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"

	"thaw/assemble"
	"thaw/image/cpio"
	"thaw/image/dir"
	"thaw/image/disk"
	"thaw/image/ext4"
	"thaw/image/tarball"
	"thaw/internal/atomicfile"
	"thaw/internal/compress"
	"thaw/rootfs"
	"thaw/spec"
)

// image is an output that is being written.
type image struct {
	sink   rootfs.Sink
	finish func(ctx context.Context) (*result, error) // ends the writing
	commit func() error                               // makes it appear
	abort  func()                                     // removes it; does nothing after commit
}

// create starts writing.
func (o *output) create(p *assemble.Plan, stdout io.Writer) (*image, error) {
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
	img := &image{commit: f.Commit, abort: f.Abort}
	var close func() (size int64, err error)
	switch o.of.Type {
	case "ext4":
		img.sink, close, err = fileSystem(f, ext4Options(p, &o.of.Ext4.FileSystem, 0))
	case "disk":
		img.sink, close, err = o.disk(f, p)
	default:
		var end func() error
		img.sink, end, err = o.archive(f)
		close = func() (int64, error) {
			if err := end(); err != nil {
				return 0, err
			}
			return f.Seek(0, io.SeekCurrent)
		}
	}
	if err != nil {
		f.Abort()
		return nil, err
	}
	img.finish = func(ctx context.Context) (*result, error) {
		size, err := close()
		if err != nil {
			return nil, err
		}
		if err := f.Truncate(size); err != nil {
			return nil, err
		}
		digest, err := digestFile(ctx, f.File)
		if err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		return &result{o.path, size, digest, formatOf(&o.of)}, nil
	}
	return img, nil
}

// archive writes a tar or cpio archive, compressed if it is to be.
func (o *output) archive(w io.Writer) (rootfs.Sink, func() error, error) {
	c, err := compress.NewWriter(compression(&o.of), w)
	if err != nil {
		return nil, nil, err
	}
	var sink interface {
		rootfs.Sink
		io.Closer
	}
	if o.of.Type == "cpio" {
		sink = cpio.NewWriter(c)
	} else {
		sink = tarball.NewWriter(c)
	}
	return sink, func() error {
		if err := sink.Close(); err != nil {
			return err
		}
		return c.Close()
	}, nil
}

// ext4Options are those of a file system that has room for so many bytes, if that
// is not 0.
func ext4Options(p *assemble.Plan, of *spec.FileSystem, room int64) ext4.Options {
	opt := ext4.Options{UUID: [16]byte(of.UUID), HashSeed: p.ID("root/ext4/hash-seed"), Label: of.Label, Time: p.Time.Unix()}
	switch size := of.Size; size.Kind {
	case spec.Fixed:
		opt.Size = size.Bytes
	case spec.Fill:
		opt.Size = room
	default:
		opt.Free, opt.FreePercent = size.Bytes, size.Percent
	}
	if opt.Free > 0 {
		opt.Capacity = max(ext4.DefaultCapacity, 2*opt.Free)
	}
	if opt.UUID == [16]byte{} {
		opt.UUID = p.ID("root/ext4/uuid")
	}
	return opt
}

// fileSystem writes an ext4 file system into w.
func fileSystem(w io.WriterAt, opt ext4.Options) (rootfs.Sink, func() (int64, error), error) {
	fs, err := ext4.NewWriter(w, opt)
	if err != nil {
		return nil, nil, err
	}
	return fs, func() (int64, error) {
		err := fs.Close()
		return fs.Size(), err
	}, nil
}

// disk writes a partition table and one partition with a file system.
func (o *output) disk(w io.WriterAt, p *assemble.Plan) (rootfs.Sink, func() (int64, error), error) {
	of := o.of.Disk
	opt := disk.Options{GUID: guid(of.GUID, p, "disk/guid"), Size: of.Size.Bytes}
	d, err := disk.NewWriter(w, opt)
	if err != nil {
		return nil, nil, err
	}
	root := of.Partitions[0]
	part, err := d.Add(disk.Partition{Type: disk.TypeLinux, GUID: guid(root.GUID, p, "root/partition-guid"), Name: root.Label})
	if err != nil {
		return nil, nil, err
	}
	room := int64(0)
	if opt.Size > 0 {
		room = part.Size()
	}
	sink, closeFS, err := fileSystem(part, ext4Options(p, &root.FileSystem, room))
	if err != nil {
		return nil, nil, err
	}
	return sink, func() (int64, error) {
		n, err := closeFS()
		if err == nil {
			err = part.End(n)
		}
		if err == nil {
			err = d.Close()
		}
		return d.Size(), err
	}, nil
}

// guid returns the one that is given, or one derived from the plan.
func guid(given spec.UUID, p *assemble.Plan, name string) disk.GUID {
	if given == (spec.UUID{}) {
		return disk.MakeGUID(p.ID(name))
	}
	return disk.MakeGUID(given)
}

// stream writes an archive to standard output.
func (o *output) stream(stdout io.Writer) (*image, error) {
	c := &counting{w: stdout, sum: sha256.New()}
	sink, end, err := o.archive(c)
	if err != nil {
		return nil, err
	}
	return &image{
		sink: sink,
		finish: func(context.Context) (*result, error) {
			if err := end(); err != nil {
				return nil, err
			}
			return &result{o.path, c.n, digest(c.sum), formatOf(&o.of)}, nil
		},
		commit: func() error { return nil },
		abort:  func() {},
	}, nil
}

// counting counts and hashes what is written.
type counting struct {
	w   io.Writer
	n   int64
	sum hash.Hash
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.sum.Write(p[:n])
	return n, err
}

// createDir writes a directory beside its place.
func (o *output) createDir() (*image, error) {
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
		sink: m,
		finish: func(context.Context) (*result, error) {
			if err := w.Close(); err != nil {
				return nil, err
			}
			return &result{o.path, m.bytes, digest(m.sum), formatOf(&o.of)}, nil
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
