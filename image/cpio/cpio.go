// Package cpio writes a root file system as a cpio archive in the "newc" format
// (magic 070701), which the Linux kernel unpacks as an initramfs.
//
// The root is "."; other names are relative without "./". Inode numbers count
// the entries from 1, the device of all is 0,0, and a file has one link, so
// nothing but the entries and their order reaches the bytes. The archive ends
// with its trailer, at a multiple of 4 bytes: another one, or a compressed one,
// may follow, as the kernel takes them.
//
// The format holds no extended attributes, no fraction of a second, no file of
// 4 GiB or more, and no entry "TRAILER!!!" in the root, which is its end. Paths
// are at most 4095 bytes long and device numbers have 12 and 20 bits: the kernel
// passes over longer paths and cuts off larger numbers, without a word. Hard
// links are not made: a header says how many a file has, and a stream does not
// know that in time.
//
// The format is that of "initramfs buffer format" in the Linux kernel's
// documentation (Documentation/driver-api/early-userspace/buffer-format.rst).
package cpio

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"thaw/rootfs"
)

const (
	// MaxFile is how many bytes a file has at most: a size has eight hexadecimal
	// digits.
	MaxFile = math.MaxUint32
	// MaxPath is how many bytes a path has at most: PATH_MAX with the final NUL.
	MaxPath = 4095

	// HeaderSize is the length of an entry's header, in bytes. The path and a
	// NUL follow it, then the content or the target; both are filled up with
	// zeros so that the next begins at a multiple of 4.
	HeaderSize = 110

	trailer = "TRAILER!!!"

	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1

	bufferSize = 256 << 10
)

// Writer writes a cpio archive. It is a [rootfs.Sink] and trusts the laws of
// package rootfs. Its memory does not grow with the entries.
type Writer struct {
	out *bufio.Writer
	buf []byte
	ino uint32 // of the last entry
	err error  // sticky
}

var _ rootfs.Sink = (*Writer)(nil)

// NewWriter makes a Writer of an archive to w, which it writes to in order.
func NewWriter(w io.Writer) *Writer {
	return &Writer{out: bufio.NewWriterSize(w, bufferSize), buf: make([]byte, bufferSize)}
}

// Add implements [rootfs.Sink].
func (w *Writer) Add(e rootfs.Entry, data io.Reader) error {
	if w.err == nil {
		w.err = w.add(&e, data)
	}
	return w.err
}

func (w *Writer) add(e *rootfs.Entry, data io.Reader) error {
	if reason := refuses(e); reason != "" {
		return &rootfs.EntryError{Path: e.Path, Reason: reason}
	}
	if w.ino == math.MaxUint32 {
		return errors.New("a cpio archive holds no more than 4294967295 entries")
	}
	w.ino++
	h := header{
		ino: w.ino, mode: e.UnixMode(), uid: e.UID, gid: e.GID, links: 1, mtime: uint32(e.ModTime.Unix()),
		size: uint32(e.Size), major: rootfs.Major(e.Dev), minor: rootfs.Minor(e.Dev),
	}
	switch e.Kind() {
	case 0:
		w.header(&h, e.Path)
		n, err := io.CopyBuffer(struct{ io.Writer }{w.out}, io.LimitReader(data, e.Size), w.buf)
		if err == nil && n < e.Size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		return w.pad(e.Size)
	case fs.ModeDir:
		h.links = 2 // as the kernel's own tool has it
	case fs.ModeSymlink:
		h.size = uint32(len(e.Target))
		w.header(&h, e.Path)
		w.out.WriteString(e.Target)
		return w.pad(int64(len(e.Target)))
	}
	return w.header(&h, e.Path)
}

// refuses says why the format cannot hold e, or "".
func refuses(e *rootfs.Entry) string {
	major, minor := rootfs.Major(e.Dev), rootfs.Minor(e.Dev)
	switch sec := e.ModTime.Unix(); {
	case e.Path == trailer:
		return "a cpio archive ends at an entry of this name"
	case len(e.Path) > MaxPath:
		return fmt.Sprintf("a path of %d bytes, and the kernel unpacks none of more than %d from a cpio archive", len(e.Path), MaxPath)
	case e.Size > MaxFile:
		return fmt.Sprintf("%d bytes: a file in a cpio archive has at most %d", e.Size, int64(MaxFile))
	case sec < 0 || sec > math.MaxUint32:
		return fmt.Sprintf("a cpio archive cannot hold the time %v, only 1970 to 2106", e.ModTime.UTC())
	case major > maxMajor || minor > maxMinor:
		return fmt.Sprintf("device %d,%d is beyond %d,%d", major, minor, maxMajor, maxMinor)
	case len(e.Xattrs) > 0:
		return fmt.Sprintf("a cpio archive holds no extended attributes (%q)", e.Xattrs[0].Name)
	}
	return ""
}

// A header is what a header says that is not the same for all entries.
type header struct {
	ino, mode, uid, gid, links, mtime, size uint32
	major, minor                            uint32 // of the device that the entry is
}

// header writes a header and the path, up to where content begins. Errors of
// w.out are sticky: the last call tells.
func (w *Writer) header(h *header, path string) error {
	b := append(w.buf[:0], "070701"...)
	for _, n := range [...]uint32{
		h.ino, h.mode, h.uid, h.gid, h.links, h.mtime, h.size,
		0, 0, // the device that the entry is on
		h.major, h.minor, uint32(len(path) + 1),
		0, // the checksum, of another format
	} {
		for shift := 28; shift >= 0; shift -= 4 {
			b = append(b, "0123456789ABCDEF"[n>>shift&0xf])
		}
	}
	b = append(b, path...)
	w.out.Write(append(b, 0))
	return w.pad(HeaderSize + int64(len(path)) + 1)
}

// pad fills up what n bytes have begun.
func (w *Writer) pad(n int64) error {
	_, err := w.out.WriteString("\x00\x00\x00"[:-n&3])
	return err
}

// Close writes the trailer, unless there was an error, which it returns. It does
// not close the writer below.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	w.err = fs.ErrClosed
	w.header(&header{links: 1}, trailer)
	return w.out.Flush()
}
