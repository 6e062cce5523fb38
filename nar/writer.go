package nar

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// errClosed is what a Writer answers after Close.
var errClosed = errors.New("write to a closed archive")

// A Writer writes one archive, entry by entry, in the order in which a [Reader]
// gives them. Make one with [NewWriter].
//
// What would not make a canonical archive is refused with an [*EntryError], and
// an error of the writer under it comes through as it is. Errors are sticky:
// after the first, every method returns it, and what was written is worthless.
// A Writer is not safe for concurrent use.
type Writer struct {
	out  *bufio.Writer
	tree tree
	text []byte // scratch

	started bool  // the root has been written
	leaf    bool  // the current entry's node is not closed, and it is no directory
	left    int64 // bytes of the current entry's contents still to come
	pad     int   // zeros that follow them
	err     error // sticky
}

// NewWriter returns a Writer of an archive to w. Call [Writer.Close] to finish
// it.
func NewWriter(w io.Writer) *Writer {
	return &Writer{out: bufio.NewWriterSize(w, bufferSize)}
}

// AllowDepth raises the limit of [MaxDepth], as [Reader.AllowDepth] does.
func (w *Writer) AllowDepth(levels int) { w.tree.depth = levels }

// WriteHeader begins the next entry; if it is a file, exactly h.Size bytes have
// to be written before the next call. The first entry is "."; each other's
// parent is a directory that came before it and was not left since; names
// increase bytewise within a directory.
func (w *Writer) WriteHeader(h *Header) error {
	if w.err == nil {
		w.finish()
	}
	if w.err == nil {
		w.header(h)
	}
	return w.err
}

// header writes the start of an entry, up to where a file's contents begin or
// to the end of a link's target.
func (w *Writer) header(h *Header) {
	switch {
	case h.Size < 0 || h.Size > 0 && !h.Kind.IsFile():
		w.refuse(h.Path, fmt.Sprintf("a %v with a size of %d bytes", h.Kind, h.Size))
		return
	case h.Target != "" && h.Kind != Symlink:
		w.refuse(h.Path, fmt.Sprintf("a %v with a target", h.Kind))
		return
	}
	if !w.place(h.Path) {
		return
	}
	w.leaf = true
	switch h.Kind {
	case Regular:
		w.put(runRegular)
		w.contents(h.Size)
	case Executable:
		w.put(runProgram)
		w.contents(h.Size)
	case Directory:
		w.leaf = false
		w.tree.enter()
		w.put(runDirectory)
	case Symlink:
		w.text = append(w.text[:0], h.Target...)
		if reason := badTarget(w.text); reason != "" {
			w.refuse(h.Path, reason)
			return
		}
		w.put(runSymlink)
		w.string(h.Target)
	default:
		w.refuse(h.Path, h.Kind.String()+", which no archive holds")
	}
}

// place goes to the entry path, out of directories if need be, and writes what
// comes before its node. It reports whether there is a place for it.
func (w *Writer) place(path string) bool {
	if !w.started {
		if path != "." {
			w.refuse(path, `the first entry is not "."`)
			return false
		}
		w.started = true
		w.put(tagMagic)
		return true
	}
	dir, name, nested := "", path, false
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, name, nested = path[:i], path[i+1:], true
	}
	depth := len(w.tree.dirs)
	for depth > 0 && w.tree.dirs[depth-1] > len(dir) {
		depth--
	}
	if depth == 0 || nested && dir == "" || string(w.tree.path[:w.tree.dirs[depth-1]]) != dir {
		w.refuse(path, "its parent is not an open directory")
		return false
	}
	for len(w.tree.dirs) > depth {
		w.tree.leave()
		w.put(runEndEntry)
	}
	w.text = append(w.text[:0], name...)
	if reason := w.tree.add(w.text); reason != "" {
		w.refuse(path, reason)
		return false
	}
	w.put(runEntry)
	w.string(name)
	w.put(tagNode)
	return true
}

// contents begins a file's contents.
func (w *Writer) contents(size int64) {
	w.left, w.pad = size, padding(size)
	w.length(uint64(size))
}

// Write writes to the contents of the current entry. More than its size is
// refused, after as much as fits.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	fits := p[:min(int64(len(p)), w.left)]
	if len(fits) >= bufferSize {
		// What is large goes past the buffer, once that is empty.
		if w.err = w.out.Flush(); w.err != nil {
			return 0, w.err
		}
	}
	n, err := w.out.Write(fits)
	w.left -= int64(n)
	w.err = err
	if err == nil && n < len(p) {
		w.refuse(w.tree.name(), fmt.Sprintf("%d bytes of contents too many", len(p)-n))
	}
	return n, w.err
}

// Close finishes the archive; it does not close the writer under it. It fails
// if there is no entry, or contents are missing. After the first, successful
// call it does nothing.
func (w *Writer) Close() error {
	if w.err == errClosed {
		return nil
	}
	if w.err == nil && !w.started {
		w.refuse(".", "the archive has no entry")
	}
	if w.err == nil {
		w.finish()
	}
	for w.err == nil && len(w.tree.dirs) > 0 {
		w.tree.leave()
		w.closeNode()
	}
	if w.err == nil {
		w.err = w.out.Flush()
	}
	if w.err != nil {
		return w.err
	}
	w.err = errClosed
	return nil
}

// finish writes what follows the contents of a file or the target of a link.
func (w *Writer) finish() {
	if w.left > 0 {
		w.refuse(w.tree.name(), fmt.Sprintf("%d bytes of contents are missing", w.left))
		return
	}
	if w.leaf {
		w.leaf = false
		w.put(zero7[:w.pad])
		w.pad = 0
		w.closeNode()
	}
}

// closeNode ends a node and, unless it is the root, the entry that holds it.
func (w *Writer) closeNode() {
	if len(w.tree.dirs) > 0 {
		w.put(runEndEntry)
	} else {
		w.put(tagClose)
	}
}

func (w *Writer) refuse(path, reason string) {
	w.err = &EntryError{Path: path, Reason: reason}
}

func (w *Writer) string(s string) {
	w.length(uint64(len(s)))
	w.put(s)
	w.put(zero7[:padding(int64(len(s)))])
}

func (w *Writer) length(n uint64) {
	if w.err == nil {
		w.text = binary.LittleEndian.AppendUint64(w.text[:0], n)
		_, w.err = w.out.Write(w.text)
	}
}

// put writes s, unless something has gone wrong before.
func (w *Writer) put(s string) {
	if w.err == nil {
		_, w.err = w.out.WriteString(s)
	}
}
