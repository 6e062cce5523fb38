package overlay

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"syscall"

	"thaw/rootfs"
)

// source is a regular file of this machine.
type source struct {
	name  string                   // for messages
	place string                   // what in the spec names it
	open  func() (*os.File, error) // without waiting, if it is a named pipe
	size  int64
	sum   [32]byte
}

// nonblock opens a file without waiting for the other end of a named pipe.
const nonblock = os.O_RDONLY | syscall.O_NONBLOCK

// putSource adds a file with the content of a file of this machine.
func (b *builder) putSource(e rootfs.Entry, f *source) error {
	if err := f.hash(); err != nil {
		return err
	}
	if err := b.claim(&e, f.place, f.sum); err != nil {
		return err
	}
	e.Size = f.size
	b.over.Tree.PutFile(e, f.reopen)
	return nil
}

func (f *source) errorf(format string, a ...any) error {
	return fmt.Errorf("%s: %s "+format, append([]any{f.place, show(f.name)}, a...)...)
}

// named adds to an error of the system what in the spec names the file, and the
// file's name as the user knows it.
func named(place, name string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("%s: %s: %w", place, show(name), err)
}

// start opens the file and checks that it is one.
func (f *source) start() (*os.File, fs.FileInfo, error) {
	file, err := f.open()
	if err != nil {
		return nil, nil, named(f.place, f.name, err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = f.errorf("is %s, and a file is needed", kindOf(info.Mode()))
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

// hash reads the file for its size and hash.
func (f *source) hash() error {
	file, info, err := f.start()
	if err != nil {
		return err
	}
	defer file.Close()
	h := sha256.New()
	f.size, err = io.Copy(h, file)
	if err != nil {
		return named(f.place, f.name, err)
	}
	if f.size != info.Size() {
		return f.errorf("changed while it was read")
	}
	h.Sum(f.sum[:0])
	return nil
}

// reopen opens the file again. What is read is an error at the end, if it is not
// what was read before.
func (f *source) reopen() (io.ReadCloser, error) {
	file, _, err := f.start()
	if err != nil {
		return nil, err
	}
	return &again{f, file, sha256.New(), 0}, nil
}

// again reads a file once more.
type again struct {
	source *source
	file   *os.File
	hash   hash.Hash
	n      int64
}

func (a *again) Close() error { return a.file.Close() }

func (a *again) Read(p []byte) (int, error) {
	n, err := a.file.Read(p)
	a.hash.Write(p[:n])
	a.n += int64(n)
	switch f := a.source; {
	case err != nil && err != io.EOF:
		return n, named(f.place, f.name, err)
	case a.n > f.size, err == io.EOF && (a.n < f.size || [32]byte(a.hash.Sum(nil)) != f.sum):
		return 0, f.errorf("changed during the build: build again, and leave it alone meanwhile")
	}
	return n, err
}

// kindOf names what is no regular file.
func kindOf(m fs.FileMode) string {
	switch m.Type() {
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a link"
	case fs.ModeNamedPipe:
		return "a named pipe"
	case fs.ModeSocket:
		return "a socket"
	}
	return "a device"
}
