// Package output writes a root file system in the forms that a spec asks for: it
// chooses the writers of image formats and puts them together.
//
// A [Writer] is opened on a file, offers the sinks into which the root file system
// goes, and is closed. Of the root file system it sees the entries alone; content
// of other kinds, such as files of a boot partition, comes from the [Source]. The
// bytes depend on the spec, on Params, on the entries and their order, and on
// nothing else.
package output

import (
	"fmt"
	"io"
	"time"

	"thaw/boot/syslinux"
	"thaw/image/cpio"
	"thaw/image/disk"
	"thaw/image/oci"
	"thaw/image/tarball"
	"thaw/internal/compress"
	"thaw/rootfs"
	"thaw/spec"
)

// Params say what an output of a spec does not.
type Params struct {
	// Spec says where in it errors are. It may be nil: then they do not say.
	Spec *spec.Spec

	ID   func(name string) [16]byte // derives identifiers
	Time time.Time                  // when what says so was made
	Jobs int                        // blocks compressed at a time; 0 for as many as there are processors

	// Arch is what the image runs on, in Nix's words: for container images.
	Arch string
	// Layers divides the root file system into at most so many layers of a container
	// image, besides the one with what is in none of them.
	Layers func(most int) []oci.Layer

	// Source has the content of partitions and places that is not the root file
	// system.
	Source Source
	// Temp makes an empty file for what cannot be written at once. The caller
	// removes it.
	Temp func() (File, error)
}

// whole is what an output is called in errors.
func (p *Params) whole(o *spec.Output) string {
	if p.Spec == nil {
		return ""
	}
	return "outputs." + o.Name
}

// place is what an item of a list of an output is called in errors.
func (p *Params) place(o *spec.Output, list string, origin spec.Origin) string {
	if p.Spec == nil {
		return ""
	}
	return p.Spec.Place("outputs."+o.Name+"."+list, origin)
}

// A Source has content for disks and CDs.
type Source interface {
	// Files returns the files of their own of the partition of that index.
	Files(o *spec.Output, partition int) (*rootfs.Tree, error)
	// Boot returns what the boot loader reads.
	Boot(o *spec.Output) (*rootfs.Tree, error)
	// BIOS returns what BIOSes start from a disk, nil for nothing. Its code goes to
	// the start, and its loader into partitions with what boot loaders read.
	BIOS() (*BIOS, error)
	// CD returns what machines boot from a CD.
	CD(o *spec.Output) (*CD, error)
	// Raw opens what has a place of its own, and tells its size in bytes.
	Raw(o *spec.Output, raw int) (content io.ReadCloser, size int64, err error)
}

// CodeSize is how many bytes the code at the start of a disk has at most.
const CodeSize = 440

// BIOS is what BIOSes start from a disk.
type BIOS struct {
	Code   []byte // at the start of the disk, up to CodeSize bytes
	Loader *syslinux.Loader
}

// File is a file that is written and read. It is empty at first.
type File interface {
	io.Writer
	io.WriterAt
	io.ReaderAt
	Truncate(size int64) error
}

// Writer writes an output.
type Writer struct {
	sinks  []rootfs.Sink
	finish func() (size int64, err error)
	leave  func() // ends what works for the writer; nil for nothing
	size   int64
	layout *disk.Map // of disks and CDs
	image  *Image
}

// Archive reports whether an output is written from its beginning to its end, and
// can go into a pipe.
func Archive(o *spec.Output) bool { return o.Tar != nil || o.Cpio != nil }

// NewArchive makes a Writer of an archive to w.
func NewArchive(w io.Writer, o *spec.Output) (*Writer, error) {
	counted := &counter{w: w}
	var sink sinkCloser
	c, err := compress.NewWriter(compression(o), counted)
	switch {
	case err != nil:
		return nil, err
	case o.Cpio != nil:
		sink = cpio.NewWriter(c)
	case o.Tar != nil:
		sink = tarball.NewWriter(c)
	default:
		return nil, fmt.Errorf("%s is no archive", o.Type)
	}
	return &Writer{sinks: []rootfs.Sink{sink}, finish: func() (int64, error) {
		if err := sink.Close(); err != nil {
			return 0, err
		}
		err := c.Close()
		return counted.n, err
	}}, nil
}

// New makes a Writer of an output that is one file to f.
func New(f File, o *spec.Output, p *Params) (*Writer, error) {
	switch {
	case Archive(o):
		return NewArchive(f, o)
	case o.Disk != nil:
		return newDisk(f, o, p)
	case o.ISO != nil:
		return newISO(f, o, p)
	}
	fs, err := newFileSystem(f, p, alone(o), p.whole(o))
	if err != nil {
		return nil, err
	}
	finish := func() (int64, error) {
		if err := fs.Close(); err != nil {
			return 0, err
		}
		return fs.Size(), f.Truncate(fs.Size())
	}
	return &Writer{sinks: []rootfs.Sink{fs}, finish: finish, leave: func() { fs.Close() }}, nil
}

// Sinks returns the sinks of the root file system. Each gets all of it, and they may
// be used at the same time.
func (w *Writer) Sinks() []rootfs.Sink { return w.sinks }

// Close writes what is left. It does not close the file, which is whole when it has
// returned nil, and has the right length.
func (w *Writer) Close() (err error) {
	w.size, err = w.finish()
	return err
}

// Abort ends a writer that is not closed. What is in the file is worthless.
func (w *Writer) Abort() {
	if w.leave != nil {
		w.leave()
	}
}

// Size returns how many bytes the file has. It is known after Close.
func (w *Writer) Size() int64 { return w.size }

// Map returns the map of a disk or CD, nil for other outputs. It is known after Close.
func (w *Writer) Map() *disk.Map { return w.layout }

// Image returns what a container image has, nil for other outputs. It is known after
// Close.
func (w *Writer) Image() *Image { return w.image }

type sinkCloser interface {
	rootfs.Sink
	io.Closer
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// compression returns that of an archive, "" for other outputs.
func compression(o *spec.Output) string {
	switch {
	case o.Tar != nil:
		return o.Tar.Compress
	case o.Cpio != nil:
		return o.Cpio.Compress
	}
	return ""
}
