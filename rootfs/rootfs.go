// Package rootfs defines the stream of entries that every image format accepts.
//
// A root file system is a sequence of calls to [Sink.Add], under four laws:
//
//   - the first entry is ".", the root directory;
//   - parents come first: the parent of each entry is a directory that was
//     added before it, never a symbolic link;
//   - each path comes once;
//   - a regular file is followed by exactly Entry.Size bytes.
//
// The order is otherwise the caller's, and a format's bytes may depend on it:
// whoever wants the same bytes twice sends the same order twice.
//
// [Check] enforces the laws in front of any Sink, so that a writer of a format
// may trust them. The package knows nothing about Nix, and does not read or
// write real file systems.
package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

// Limits of a valid entry. They are Linux's own: NAME_MAX, PATH_MAX less the
// final NUL, XATTR_NAME_MAX and XATTR_SIZE_MAX.
const (
	MaxName       = 255   // bytes in one element of a path
	MaxTarget     = 4095  // bytes in the target of a symbolic link
	MaxXattrName  = 255   // bytes in the name of an extended attribute
	MaxXattrValue = 65536 // bytes in the value of an extended attribute
)

// Entry describes one file, directory, link or device. It is a value: copy it,
// change it, pass it on.
type Entry struct {
	// Path is relative and separated by slashes, without empty, "." or ".."
	// elements; "." alone is the root. Elements have 1 to [MaxName] bytes
	// and no NUL; they are bytes, not necessarily UTF-8.
	Path string
	// Mode holds the kind (regular, directory, symlink, named pipe, block or
	// character device) and the permission bits with setuid, setgid, sticky.
	Mode     fs.FileMode
	UID, GID uint32
	ModTime  time.Time
	Size     int64   // regular files: how many bytes follow; otherwise 0
	Target   string  // symbolic links: 1 to [MaxTarget] bytes without NUL
	Dev      uint64  // devices: a number made by [Mkdev]
	Xattrs   []Xattr // sorted by name, each name once
}

// Xattr is an extended attribute; Name has its full prefix ("user.", …).
type Xattr struct {
	Name  string
	Value []byte
}

// A Sink takes a root file system entry by entry.
//
// data is nil unless the entry is a regular file. It is valid only during the
// call, and Add must have read all of its Size bytes when it returns nil. After
// an error the Sink is broken and every further call fails. Sinks are not safe
// for concurrent use. Finishing one (Close) is the business of who opened it.
type Sink interface {
	Add(e Entry, data io.Reader) error
}

// SameAdder is the optional interface of a [Sink] that can store one file under
// several paths (hard links). AddSame adds path as another name of the regular
// file that was added as earlier. A Sink that wraps another one and cannot know
// answers [errors.ErrUnsupported]; the file must then be added in full.
type SameAdder interface {
	AddSame(path, earlier string) error
}

// AddSame calls s.AddSame if s has it, and answers [errors.ErrUnsupported]
// otherwise.
func AddSame(s Sink, path, earlier string) error {
	if a, ok := s.(SameAdder); ok {
		return a.AddSame(path, earlier)
	}
	return errors.ErrUnsupported
}

// Kind returns the type bits of the entry's mode.
func (e *Entry) Kind() fs.FileMode { return e.Mode.Type() }

// UnixMode returns the entry's mode as stat(2) does: the file type, setuid,
// setgid and sticky bits, and permissions.
func (e *Entry) UnixMode() uint32 {
	m := uint32(e.Mode.Perm())
	switch e.Kind() {
	case 0:
		m |= 0o100000
	case fs.ModeDir:
		m |= 0o040000
	case fs.ModeSymlink:
		m |= 0o120000
	case fs.ModeNamedPipe:
		m |= 0o010000
	case fs.ModeDevice:
		m |= 0o060000
	case fs.ModeDevice | fs.ModeCharDevice:
		m |= 0o020000
	}
	if e.Mode&fs.ModeSetuid != 0 {
		m |= 0o4000
	}
	if e.Mode&fs.ModeSetgid != 0 {
		m |= 0o2000
	}
	if e.Mode&fs.ModeSticky != 0 {
		m |= 0o1000
	}
	return m
}

// ModeBits are the bits of a mode that are not its kind and may be set.
const ModeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// Validate reports what is wrong with the entry on its own, without its
// neighbours. The error names the path.
func (e *Entry) Validate() error {
	bad := func(format string, a ...any) error {
		return &EntryError{e.Path, fmt.Sprintf(format, a...)}
	}
	if !ValidPath(e.Path) {
		return bad("not a valid path")
	}
	kind := e.Kind()
	switch kind {
	case 0, fs.ModeDir, fs.ModeSymlink, fs.ModeNamedPipe, fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
	default:
		return bad("mode %v is of no kind that a root file system holds", e.Mode)
	}
	switch {
	case e.Mode&^(fs.ModeType|ModeBits) != 0:
		return bad("mode %v has bits that a root file system does not hold", e.Mode)
	case e.Path == "." && kind != fs.ModeDir:
		return bad("the root is not a directory")
	case e.Size < 0 || e.Size > 0 && kind != 0:
		return bad("size %d", e.Size)
	case kind == fs.ModeSymlink && (e.Target == "" || len(e.Target) > MaxTarget || strings.IndexByte(e.Target, 0) >= 0):
		return bad("a link's target has 1 to %d bytes and no NUL", MaxTarget)
	case kind != fs.ModeSymlink && e.Target != "":
		return bad("has a link target and is no link")
	case kind&fs.ModeDevice == 0 && e.Dev != 0:
		return bad("has a device number and is no device")
	}
	for i, x := range e.Xattrs {
		if len(x.Name) == 0 || len(x.Name) > MaxXattrName || strings.IndexByte(x.Name, 0) >= 0 || len(x.Value) > MaxXattrValue {
			return bad("extended attribute %q is not valid", x.Name)
		}
		if i > 0 && x.Name <= e.Xattrs[i-1].Name {
			return bad("extended attributes are not sorted at %q", x.Name)
		}
	}
	return nil
}

// ValidPath reports whether p is what [Entry.Path] may be.
func ValidPath(p string) bool {
	if p == "." {
		return true
	}
	for {
		name, rest, more := strings.Cut(p, "/")
		if !ValidName(name) {
			return false
		}
		if !more {
			return true
		}
		p = rest
	}
}

// ValidName reports whether name may be one element of a path.
func ValidName(name string) bool {
	return len(name) >= 1 && len(name) <= MaxName && name != "." && name != ".." &&
		strings.IndexByte(name, 0) < 0 && strings.IndexByte(name, '/') < 0
}

// Split returns the parent of a valid path and its last element. The parent of
// a path without a slash is ".".
func Split(path string) (dir, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return ".", path
}

// Mkdev makes a device number as Linux encodes it for user space: 32 bits of
// major and 32 of minor.
func Mkdev(major, minor uint32) uint64 {
	return uint64(major&0xfff)<<8 | uint64(major&^0xfff)<<32 | uint64(minor&0xff) | uint64(minor&^0xff)<<12
}

// Major returns the major part of a device number.
func Major(dev uint64) uint32 { return uint32(dev>>8&0xfff | dev>>32&^0xfff) }

// Minor returns the minor part of a device number.
func Minor(dev uint64) uint32 { return uint32(dev&0xff | dev>>12&^0xff) }

// EntryError says why an entry cannot be added: it breaks a law, or the format
// cannot hold it. Every refusal of a Sink that is about one entry is of this
// type, so that the caller can name the path.
type EntryError struct {
	Path   string
	Reason string
}

func (e *EntryError) Error() string { return fmt.Sprintf("%q: %s", e.Path, e.Reason) }
