// Package tarball writes a root file system as a tar archive.
//
// Entries have GNU headers: names and targets that are longer than 100 bytes
// come before their entry in one of type L or K, and numbers that are too large
// for octal digits are binary. GNU tar, archive/tar, libarchive, Python and the
// small tars of rescue systems read all that, and names remain the bytes they
// are, in UTF-8 or not. Only an entry that has extended attributes or a time
// with a fraction of a second has a POSIX (pax) header, with records SCHILY.xattr.NAME
// and mtime; if its name or target is not UTF-8, a record hdrcharset=BINARY says
// so as POSIX asks, which GNU tar warns of and reads right.
//
// The root is "./"; other names are relative without "./", and those of
// directories end in a slash, as container tools write layers. Owners are numbers
// without names. Nothing but the entries and their order reaches the bytes.
package tarball

import (
	"archive/tar"
	"bufio"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"strings"
	"time"
	"unicode/utf8"

	"thaw/rootfs"
)

const (
	// maxDevice is the largest part of a device number: seven octal digits.
	maxDevice = 1<<21 - 1
	// maxRecords bounds the pax records of an entry; archive/tar reads no
	// more than 1 MiB.
	maxRecords = 1<<20 - 64<<10
)

// Writer writes a tar archive. It is a [rootfs.SameAdder] and trusts the laws of
// package rootfs. For AddSame it keeps about 30 bytes for each regular file.
type Writer struct {
	out *bufio.Writer
	tar *tar.Writer
	buf []byte
	err error // sticky

	seed  [2]maphash.Seed
	files map[[2]uint64]uint32 // place in metas, by a path's hash
	metas []meta
	known map[meta]uint32 // place in metas
}

var _ rootfs.SameAdder = (*Writer)(nil)

// meta is what the header of a hard link repeats.
type meta struct {
	mode     int64
	uid, gid uint32
	sec      int64
	nsec     int
}

const bufferSize = 256 << 10

// NewWriter makes a Writer of an archive to w, which it writes to in order.
func NewWriter(w io.Writer) *Writer {
	out := bufio.NewWriterSize(w, bufferSize)
	return &Writer{
		out: out, tar: tar.NewWriter(out), buf: make([]byte, bufferSize),
		seed:  [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		files: make(map[[2]uint64]uint32), known: make(map[meta]uint32),
	}
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
	h, err := header(e)
	if err != nil {
		return err
	}
	if err := w.tar.WriteHeader(h); err != nil {
		return err
	}
	if e.Kind() != 0 {
		return nil
	}
	w.remember(e, h.Mode)
	// The tar.Writer is hidden: it would have its own way of copying.
	n, err := io.CopyBuffer(struct{ io.Writer }{w.tar}, io.LimitReader(data, e.Size), w.buf)
	if err == nil && n < e.Size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// header is the header of e, which [tar.Writer] can write.
func header(e *rootfs.Entry) (*tar.Header, error) {
	bad := func(format string, a ...any) (*tar.Header, error) {
		return nil, &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf(format, a...)}
	}
	h := &tar.Header{
		Typeflag: tar.TypeReg,
		Name:     e.Path,
		Linkname: e.Target,
		Size:     e.Size,
		Mode:     int64(e.UnixMode() & 0o7777),
		Uid:      int(e.UID),
		Gid:      int(e.GID),
		ModTime:  e.ModTime,
	}
	if e.ModTime.IsZero() {
		return bad("a tar archive cannot hold the time %v", e.ModTime.UTC())
	}
	switch e.Kind() {
	case fs.ModeDir:
		h.Typeflag = tar.TypeDir
		h.Name += "/"
	case fs.ModeSymlink:
		h.Typeflag = tar.TypeSymlink
	case fs.ModeNamedPipe:
		h.Typeflag = tar.TypeFifo
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		h.Typeflag = tar.TypeBlock
		if e.Mode&fs.ModeCharDevice != 0 {
			h.Typeflag = tar.TypeChar
		}
		major, minor := rootfs.Major(e.Dev), rootfs.Minor(e.Dev)
		if max(major, minor) > maxDevice {
			return bad("device %d,%d is beyond %d", major, minor, maxDevice)
		}
		h.Devmajor, h.Devminor = int64(major), int64(minor)
	}
	size := 0
	for _, x := range e.Xattrs {
		// A record's key ends at "=", and GNU tar takes "%" for an escape.
		if strings.ContainsAny(x.Name, "=%") {
			return bad("extended attribute %q: a tar archive cannot have = or %% in the name", x.Name)
		}
		record(h, "SCHILY.xattr."+x.Name, string(x.Value))
		size += len(x.Name) + len(x.Value) + 32 // length, "SCHILY.xattr.", "=" and newline
	}
	if size > maxRecords {
		return bad("%d bytes of extended attributes are more than the %d that a tar archive's readers take", size, maxRecords)
	}
	choose(h)
	return h, nil
}

// choose gives h the GNU format if that can hold it.
func choose(h *tar.Header) {
	h.Format = tar.FormatGNU
	if len(h.PAXRecords) == 0 && h.ModTime.Nanosecond() == 0 {
		return
	}
	h.Format = tar.FormatPAX
	if !utf8.ValidString(h.Name) || !utf8.ValidString(h.Linkname) {
		record(h, "hdrcharset", "BINARY")
	}
}

func record(h *tar.Header, key, value string) {
	if h.PAXRecords == nil {
		h.PAXRecords = make(map[string]string)
	}
	h.PAXRecords[key] = value
}

// AddSame implements [rootfs.SameAdder] by an entry of type 1. It repeats the
// file's mode, owner and time: some who unpack set them again.
func (w *Writer) AddSame(path, earlier string) error {
	if w.err != nil {
		return w.err
	}
	i, ok := w.files[w.key(earlier)]
	if !ok {
		w.err = &rootfs.EntryError{Path: path, Reason: fmt.Sprintf("%q is no regular file added before", earlier)}
		return w.err
	}
	m := w.metas[i]
	w.files[w.key(path)] = i
	h := &tar.Header{
		Typeflag: tar.TypeLink, Name: path, Linkname: earlier,
		Mode: m.mode, Uid: int(m.uid), Gid: int(m.gid), ModTime: time.Unix(m.sec, int64(m.nsec)),
	}
	choose(h)
	w.err = w.tar.WriteHeader(h)
	return w.err
}

func (w *Writer) remember(e *rootfs.Entry, mode int64) {
	m := meta{mode, e.UID, e.GID, e.ModTime.Unix(), e.ModTime.Nanosecond()}
	i, ok := w.known[m]
	if !ok {
		i = uint32(len(w.metas))
		w.metas = append(w.metas, m)
		w.known[m] = i
	}
	w.files[w.key(e.Path)] = i
}

func (w *Writer) key(path string) [2]uint64 {
	return [2]uint64{maphash.String(w.seed[0], path), maphash.String(w.seed[1], path)}
}

// Close writes the end of the archive, unless there was an error, which it
// returns. It does not close the writer below.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	w.err = fs.ErrClosed
	if err := w.tar.Close(); err != nil {
		return err
	}
	return w.out.Flush()
}
