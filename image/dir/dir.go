// Package dir writes a root file system into a directory of the machine it runs
// on, which is a Linux one.
//
// Nothing is written outside that directory, through a symbolic link, or over
// what is there: each name is made anew in its parent's open descriptor. Until
// [Writer.Close] every directory is open to its owner alone and writable, so
// that children may come at any time and nobody else can meddle; Close gives the
// directories their modes, owners and times.
//
// Modes are exact whatever the umask. Times are as fine as the file system keeps
// them, and access times are set like those of the last change. A symbolic
// link's permissions are lost: Linux has none. Nothing is synced to the disk.
package dir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"thaw/rootfs"
)

// Options says how a directory is written. The zero value keeps everything.
type Options struct {
	Owners Owners
}

// Owners says whose the files become.
type Owners int

const (
	// KeepOwners gives each file to the owner its entry names, which needs
	// the right to give files away: an entry whose owner cannot be set is an
	// error.
	KeepOwners Owners = iota
	// IgnoreOwners leaves all files to who runs the program.
	IgnoreOwners
)

// Writer writes a root file system into a directory. It is a [rootfs.SameAdder]
// and trusts the laws of package rootfs. It keeps the path and about 150 bytes
// for each directory, and at most [maxOpen] descriptors.
//
// What the file system or the user's rights do not allow is a
// [*rootfs.EntryError], and so is a path that exists already. After an error the
// directory is unfinished and its owner can remove it.
type Writer struct {
	options Options
	open    handles
	dirs    []rootfs.Entry    // without extended attributes, parents first
	buf     *[bufferSize]byte // of buffers; nil when closed
	err     error             // sticky
}

var _ rootfs.SameAdder = (*Writer)(nil)

// bufferSize is how much is read and written at once.
const bufferSize = 256 << 10

// buffers are for many small directories, one after the other.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// NewWriter makes a Writer into root. The entry "." sets the root's own mode,
// owner and time; a root that gets none is left as it is. Closing root remains the
// caller's business, who may do it at any time.
func NewWriter(root *os.Root, o Options) (*Writer, error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	return &Writer{options: o, open: newHandles(f), buf: buffers.Get().(*[bufferSize]byte)}, nil
}

// Add implements [rootfs.Sink].
func (w *Writer) Add(e rootfs.Entry, data io.Reader) error {
	if w.err != nil {
		return w.err
	}
	w.err = w.add(&e, data)
	return w.err
}

func (w *Writer) add(e *rootfs.Entry, data io.Reader) error {
	if err := w.expressible(e); err != nil {
		return err
	}
	at, err := w.open.place(e.Path)
	if err != nil {
		return err
	}
	switch e.Kind() {
	case 0:
		return w.addFile(e, at, data)
	case fs.ModeDir:
		return w.addDir(e, at)
	case fs.ModeSymlink:
		err = unix.Symlinkat(e.Target, at.dir, at.name)
	default:
		err = unix.Mknodat(at.dir, at.name, e.UnixMode(), int(e.Dev))
	}
	if err != nil {
		return fail("create", e.Path, err)
	}
	return w.finish(e, at)
}

func (w *Writer) addFile(e *rootfs.Entry, at place, data io.Reader) error {
	perm := uint32(e.Mode.Perm())
	if len(e.Xattrs) > 0 {
		perm = 0o600 // setting them may need the right to write
	}
	fd, err := openAt(at.dir, at.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, perm)
	if err != nil {
		return fail("create", e.Path, err)
	}
	err = w.fill(fd, e, data)
	if err == nil {
		err = w.finishFile(fd, e, at)
	}
	if closed := unix.Close(fd); err == nil && closed != nil {
		err = fail("close", e.Path, closed)
	}
	return err
}

// fill writes the content of e.
func (w *Writer) fill(fd int, e *rootfs.Entry, data io.Reader) error {
	for left := e.Size; left > 0; {
		p := w.buf[:min(left, bufferSize)]
		if _, err := io.ReadFull(data, p); err == io.EOF {
			return io.ErrUnexpectedEOF
		} else if err != nil {
			return err
		}
		left -= int64(len(p))
		for len(p) > 0 {
			n, err := unix.Write(fd, p)
			if err == unix.EINTR {
				continue
			} else if err != nil {
				return fail("write", e.Path, err)
			}
			p = p[n:]
		}
	}
	return nil
}

func (w *Writer) addDir(e *rootfs.Entry, at place) error {
	if e.Path == "." {
		if err := unix.Fchmod(at.dir, 0o700); err != nil {
			return fail("chmod", e.Path, err)
		}
	} else if err := unix.Mkdirat(at.dir, at.name, 0o700); err != nil {
		return fail("create", e.Path, err)
	}
	if err := setXattrs(e, at); err != nil {
		return err
	}
	d := *e
	d.Xattrs = nil
	w.dirs = append(w.dirs, d)
	return nil
}

// AddSame implements [rootfs.SameAdder] by a hard link. Where the file system
// has none, or not one more, it answers [errors.ErrUnsupported].
func (w *Writer) AddSame(path, earlier string) error {
	if w.err != nil {
		return w.err
	}
	err := w.link(path, earlier)
	if !errors.Is(err, errors.ErrUnsupported) {
		w.err = err
	}
	return err
}

func (w *Writer) link(path, earlier string) error {
	from, err := w.open.place(earlier)
	if err != nil {
		return err
	}
	to, err := w.open.place(path) // leaves from.dir open
	if err != nil {
		return err
	}
	switch err = unix.Linkat(from.dir, from.name, to.dir, to.name, 0); err {
	case nil:
		return nil
	case unix.EPERM, unix.EMLINK, unix.EOPNOTSUPP:
		return errors.ErrUnsupported
	}
	return fail("link", path, err)
}

// Close finishes the directory, unless there was an error, which it returns. It
// does not close the [os.Root].
func (w *Writer) Close() error {
	err := w.err
	for len(w.dirs) > 0 && err == nil {
		last := len(w.dirs) - 1 // children before their parents, which may become unreadable
		err = w.finishDir(&w.dirs[last])
		w.dirs = w.dirs[:last]
	}
	w.err = err
	if err == nil {
		w.err = fs.ErrClosed
	}
	w.open.close()
	if w.buf != nil {
		buffers.Put(w.buf)
		w.buf = nil
	}
	return err
}

// fail says what became of path. It puts on the entry what another file system
// or user would have allowed, and else on the destination.
func fail(op, path string, err error) error {
	switch err {
	case unix.EEXIST:
		return &rootfs.EntryError{Path: path, Reason: "exists already"}
	case unix.EPERM, unix.EINVAL, unix.EILSEQ, unix.EOPNOTSUPP, unix.EFBIG, unix.ENAMETOOLONG, unix.ERANGE, unix.E2BIG, unix.EMLINK:
		return &rootfs.EntryError{Path: path, Reason: fmt.Sprintf("%s: %v", op, err)}
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}
