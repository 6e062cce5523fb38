package squashfs

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strings"

	"thaw/rootfs"
)

func (w *Writer) add(e *rootfs.Entry, data io.Reader) error {
	n, err := w.newNode(e)
	if err != nil {
		return err
	}
	if e.Path == "." {
		return w.dirs.AddRoot(w.newDir(e.Path, n, nil))
	}
	parent, name, err := w.dirs.Parent(e.Path)
	if err != nil {
		return err
	}
	number := uint32(len(w.nodes))
	switch n.kind {
	case typeDir:
		path := w.dirs.Keep(e.Path)
		w.dirs.Add(path, w.newDir(path, n, parent))
		w.nodes[parent.node].links++
	case typeFile:
		f, err := w.addData(e.Size, data)
		if err != nil {
			return err
		}
		n.data = uint32(len(w.files))
		w.files = append(w.files, f)
		w.nodes = append(w.nodes, n)
	case typeSymlink:
		n.data = uint32(len(w.targets))
		w.targets = append(w.targets, strings.Clone(e.Target))
		w.nodes = append(w.nodes, n)
	default:
		w.nodes = append(w.nodes, n)
	}
	parent.entries.Add(w.dirs.Keep(name), number)
	return nil
}

// newDir adds the node of a directory, which is to be added to the others next.
func (w *Writer) newDir(path string, n node, parent *dir) *dir {
	n.links = 2
	n.data = uint32(len(w.dirs.All))
	w.nodes = append(w.nodes, n)
	return &dir{path: path, node: uint32(len(w.nodes) - 1), parent: parent}
}

func (w *Writer) addSame(path, earlier string) error {
	from, name, err := w.dirs.Parent(earlier)
	if err != nil {
		return err
	}
	number, ok := from.entries.Lookup(name)
	if !ok || w.nodes[number].kind != typeFile {
		return &rootfs.EntryError{Path: path, Reason: fmt.Sprintf("%q is no regular file added before", earlier)}
	}
	parent, name, err := w.dirs.Parent(path)
	if err != nil {
		return err
	}
	w.nodes[number].links++
	parent.entries.Add(w.dirs.Keep(name), number)
	return nil
}

// newNode makes the node of an entry, without its contents.
func (w *Writer) newNode(e *rootfs.Entry) (node, error) {
	refuse := func(format string, a ...any) (node, error) {
		return node{}, &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf(format, a...)}
	}
	sec := e.ModTime.Unix()
	if sec < 0 || sec > MaxTime {
		return refuse("squashfs holds no time before 1970 or after 2106-02-07: %v", e.ModTime.UTC())
	}
	n := node{time: uint32(sec), mode: uint16(e.UnixMode() & 0o7777), links: 1}
	switch e.Kind() {
	case 0:
		n.kind = typeFile
		if e.Size/int64(w.opt.BlockSize) > math.MaxInt32 {
			return refuse("squashfs holds no file of %d bytes in blocks of %d", e.Size, w.opt.BlockSize)
		}
	case fs.ModeDir:
		n.kind = typeDir
	case fs.ModeSymlink:
		n.kind = typeSymlink
	case fs.ModeNamedPipe:
		n.kind = typeFifo
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		n.kind = typeBlock
		if e.Mode&fs.ModeCharDevice != 0 {
			n.kind = typeChar
		}
		major, minor := rootfs.Major(e.Dev), rootfs.Minor(e.Dev)
		if major > maxMajor || minor > maxMinor {
			return refuse("squashfs holds no device number %d:%d, at most %d:%d", major, minor, maxMajor, maxMinor)
		}
		n.data = minor&0xff | major<<8 | minor&^0xff<<12
	default:
		return refuse("mode %v is of no kind that squashfs holds", e.Mode)
	}
	var ok bool
	if n.uid, ok = w.idNumber(e.UID); ok {
		n.gid, ok = w.idNumber(e.GID)
	}
	if !ok {
		return refuse("squashfs holds at most %d different owners and groups", maxIDs)
	}
	var err error
	if n.xattrs, err = w.xattrs.add(e.Xattrs); err != nil {
		return refuse("%v", err)
	}
	return n, nil
}

// maxIDs is what the superblock can count, one less than what inodes could.
const maxIDs = math.MaxUint16

// idNumber returns the place of an owner or group in the table of them ("ID
// Table").
func (w *Writer) idNumber(id uint32) (uint16, bool) {
	n, ok := w.idNum[id]
	if !ok {
		if len(w.ids) == maxIDs {
			return 0, false
		}
		n = uint16(len(w.ids))
		w.ids = append(w.ids, id)
		w.idNum[id] = n
	}
	return n, true
}

// addData stores the contents of a regular file.
func (w *Writer) addData(size int64, r io.Reader) (file, error) {
	f := file{size: size, run: noRun, end: end{fragment: noFragment}}
	left := size
	for ; left >= int64(w.opt.BlockSize); left -= int64(w.opt.BlockSize) {
		b, err := w.pipe.take()
		if err != nil {
			return f, err
		}
		b.data = b.data[:w.opt.BlockSize]
		if err := readFull(r, b.data); err != nil {
			return f, err
		}
		if bytes.Equal(b.data, w.zeros) {
			w.pipe.put(b, blockZero)
		} else {
			w.pipe.put(b, blockData)
		}
	}
	if left < size {
		b, err := w.pipe.take()
		if err != nil {
			return f, err
		}
		w.pipe.put(b, blockEndRun)
		f.run = w.runs
		w.runs++
	}
	if left > 0 {
		rest := w.rest[:left]
		if err := readFull(r, rest); err != nil {
			return f, err
		}
		var err error
		if f.end, err = w.ends.add(rest); err != nil {
			return f, err
		}
	}
	return f, nil
}

func readFull(r io.Reader, p []byte) error {
	_, err := io.ReadFull(r, p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
