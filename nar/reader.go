package nar

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// bufferSize is how many bytes a Reader or Writer buffers: enough for the
// longest string and for reads that cost little beside copying, and still small
// enough for a core's own cache.
const bufferSize = 64 << 10

// A Reader reads one archive, entry by entry. Make one with [NewReader].
//
// Errors are sticky: after the first, every method returns it. A Reader is not
// safe for concurrent use.
type Reader struct {
	in   *bufio.Reader
	off  int64 // bytes taken from in
	tree tree
	hdr  Header // the one given out; what the caller does to it is his own affair
	text []byte // the last name or target

	started bool  // the magic and the root have been read
	leaf    bool  // the current entry's node is not closed, and it is no directory
	left    int64 // unread bytes of the current entry's contents
	pad     int   // zeros that follow them
	err     error // sticky; io.EOF after the end
}

// NewReader returns a Reader of the archive that is all of r.
func NewReader(r io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, bufferSize)}
}

// AllowDepth raises the limit of [MaxDepth], for archives that somebody trusted
// vouches for: Nix before 2.34.7 had no limit and made deeper ones. It holds
// until [Reader.Reset].
func (r *Reader) AllowDepth(levels int) { r.tree.depth = levels }

// Reset makes the Reader read another archive from its start, with the memory
// it has. The header last returned is no longer valid.
func (r *Reader) Reset(in io.Reader) {
	r.in.Reset(in)
	r.tree.reset()
	*r = Reader{in: r.in, tree: r.tree, text: r.text}
}

// Next goes on to the next entry, past what is unread of the current one. The
// header is valid until the next call. After the last entry, and once the
// stream has ended well, the error is [io.EOF].
func (r *Reader) Next() (*Header, error) {
	if r.err == nil {
		r.err = r.next()
	}
	if r.err != nil {
		return nil, r.err
	}
	return &r.hdr, nil
}

func (r *Reader) next() error {
	if !r.started {
		r.started = true
		if err := r.expect(tagMagic); err != nil {
			return err
		}
		return r.node()
	}
	if r.leaf {
		if err := r.closeLeaf(); err != nil {
			return err
		}
	}
	for len(r.tree.dirs) > 0 {
		tag, err := r.oneOf(tagEntry, tagClose)
		if err != nil {
			return err
		}
		if tag == 0 {
			return r.entry()
		}
		r.tree.leave()
		if len(r.tree.dirs) > 0 {
			if err := r.expect(tagClose); err != nil { // of the entry
				return err
			}
		}
	}
	return r.end()
}

// entry reads on from the tag "entry" to where a file's contents begin, or to
// the end of a link's target.
func (r *Reader) entry() error {
	if err := r.expect(runName); err != nil {
		return err
	}
	off := r.off
	if err := r.string("name", MaxName); err != nil {
		return err
	}
	if reason := r.tree.add(r.text); reason != "" {
		return &FormatError{Offset: off, Reason: reason}
	}
	if err := r.expect(tagNode); err != nil {
		return err
	}
	return r.node()
}

// node reads the start of a node and fills in the header.
func (r *Reader) node() error {
	run, err := r.oneOf(runRegular, runExecutable, runDirectory, runSymlink)
	if err != nil {
		return err
	}
	r.hdr = Header{Path: r.tree.name()}
	r.leaf = true
	switch run {
	case 0:
		r.hdr.Kind = Regular
		return r.contents()
	case 1:
		r.hdr.Kind = Executable
		if err := r.expect(runMarked); err != nil {
			return err
		}
		return r.contents()
	case 2:
		r.hdr.Kind = Directory
		r.leaf = false
		r.tree.enter()
		return nil
	default:
		r.hdr.Kind = Symlink
		return r.target()
	}
}

// contents reads the length of a file's contents.
func (r *Reader) contents() error {
	off := r.off
	size, err := r.length()
	if err != nil {
		return err
	}
	if size > math.MaxInt64 {
		return &FormatError{Offset: off, Reason: fmt.Sprintf("contents of %d bytes", size)}
	}
	r.hdr.Size = int64(size)
	r.left, r.pad = r.hdr.Size, padding(r.hdr.Size)
	return nil
}

func (r *Reader) target() error {
	off := r.off
	if err := r.string("target", MaxTarget); err != nil {
		return err
	}
	if reason := badTarget(r.text); reason != "" {
		return &FormatError{Offset: off, Reason: reason}
	}
	r.hdr.Target = string(r.text)
	return nil
}

// closeLeaf skips what is unread of a file, and reads the end of a file or link
// and of the entry that holds it.
func (r *Reader) closeLeaf() error {
	for r.left > 0 {
		b, err := r.buffered()
		if err != nil {
			return err
		}
		r.discard(len(b))
		r.left -= int64(len(b))
	}
	if r.pad > 0 {
		b, err := r.peek(r.pad)
		if err != nil {
			return err
		}
		if !allZero(b) {
			return &FormatError{Offset: r.off, Reason: badPadding}
		}
		r.discard(r.pad)
		r.pad = 0
	}
	r.leaf = false
	if len(r.tree.dirs) == 0 {
		return r.expect(tagClose)
	}
	return r.expect(runEndEntry)
}

// end checks that the stream ends here, and returns io.EOF if it does so well.
func (r *Reader) end() error {
	if _, err := r.in.Peek(1); err != nil {
		return err
	}
	return &FormatError{Offset: r.off, Reason: "data after the end of the archive"}
}

// Read reads from the contents of the current entry; at their end, and where
// an entry has none, the error is [io.EOF]. Reads of 64 KiB and more go
// straight into p.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.in.Read(p[:min(int64(len(p)), r.left)])
	r.off += int64(n)
	r.left -= int64(n)
	if err != nil {
		r.err = r.cause(err, 0)
	}
	return n, r.err
}

// WriteTo writes what is unread of the current entry's contents to w, straight
// from the buffer. An error of w is not sticky: reading goes on after the last
// byte that w took.
func (r *Reader) WriteTo(w io.Writer) (written int64, err error) {
	if r.err != nil && r.err != io.EOF {
		return 0, r.err
	}
	for r.left > 0 {
		var b []byte
		if b, r.err = r.buffered(); r.err != nil {
			return written, r.err
		}
		n, err := w.Write(b)
		if n < 0 || n > len(b) {
			return written, errors.New("invalid count from Write")
		}
		r.discard(n)
		r.left -= int64(n)
		written += int64(n)
		if err != nil {
			return written, err
		}
		if n < len(b) {
			return written, io.ErrShortWrite
		}
	}
	return written, nil
}

// buffered returns what the buffer holds of the unread contents, of which there
// are some; it fills an empty buffer first. (bufio.Reader.Discard could do that
// too, but forgets an error that came with the bytes before.)
func (r *Reader) buffered() ([]byte, error) {
	if _, err := r.peek(1); err != nil {
		return nil, err
	}
	return r.in.Peek(int(min(r.left, int64(r.in.Buffered()))))
}

// expect reads the given tags and nothing else.
func (r *Reader) expect(run string) error {
	_, err := r.oneOf(run)
	return err
}

// oneOf reads one of the given runs of tags, and returns which. It may look at
// as many bytes as the longest has; a good archive must have so many left,
// whichever it is.
func (r *Reader) oneOf(runs ...string) (int, error) {
	n := 0
	for _, run := range runs {
		n = max(n, len(run))
	}
	b, err := r.in.Peek(n)
	if err != nil && err != io.EOF {
		return 0, err
	}
	if err == nil {
		for i, run := range runs {
			if string(b[:len(run)]) == run {
				r.discard(len(run))
				return i, nil
			}
		}
	}
	return 0, r.mismatch(b, runs)
}

// mismatch says why b, which is cut short where the stream ends, starts with
// none of the runs: it names the first tag that is wrong, and what belongs
// there.
func (r *Reader) mismatch(b []byte, runs []string) error {
	best, agree := "", -1
	for _, run := range runs {
		if n := common(b, run); n > agree {
			best, agree = run, n
		}
	}
	if agree == len(b) || agree == len(best) {
		return r.cause(io.EOF, len(b))
	}
	pos := 0
	for next := tagLen(best); next <= agree; next += tagLen(best[next:]) {
		pos = next
	}
	found := "no tag"
	if rest := b[pos:]; len(rest) >= 8 {
		n := binary.LittleEndian.Uint64(rest)
		switch rest = rest[8:]; {
		case n > maxTag:
			found = fmt.Sprintf("a tag of %d bytes", n)
		case n > uint64(len(rest)):
			found = fmt.Sprintf("a tag that starts with %q", rest)
		default:
			found = fmt.Sprintf("the tag %q", rest[:n])
		}
	}
	var wanted []string
	for _, run := range runs {
		if len(run) <= pos || run[:pos] != best[:pos] {
			continue
		}
		want := fmt.Sprintf("%q", run[pos+8:pos+8+int(run[pos])])
		if found == "the tag "+want {
			found = badPadding
		}
		if len(wanted) == 0 || wanted[len(wanted)-1] != want {
			wanted = append(wanted, want)
		}
	}
	return &FormatError{
		Offset: r.off + int64(pos),
		Reason: found + " where " + strings.Join(wanted, " or ") + " belongs",
	}
}

// common returns how many bytes a and b share at their start.
func common(a []byte, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// length reads the length of a string.
func (r *Reader) length() (uint64, error) {
	b, err := r.peek(8)
	if err != nil {
		return 0, err
	}
	n := binary.LittleEndian.Uint64(b)
	r.discard(8)
	return n, nil
}

// string reads a string of 1 to most bytes into r.text; what names it in an
// error.
func (r *Reader) string(what string, most int) error {
	n, err := r.length()
	if err != nil {
		return err
	}
	if n == 0 || n > uint64(most) {
		return &FormatError{Offset: r.off - 8, Reason: fmt.Sprintf("a %s of %d bytes, not 1 to %d", what, n, most)}
	}
	b, err := r.peek(padded(int(n)))
	if err != nil {
		return err
	}
	if !allZero(b[n:]) {
		return &FormatError{Offset: r.off + int64(n), Reason: badPadding}
	}
	r.text = append(r.text[:0], b[:n]...)
	r.discard(len(b))
	return nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// peek returns the next n bytes, valid until something else is read.
func (r *Reader) peek(n int) ([]byte, error) {
	b, err := r.in.Peek(n)
	if err != nil {
		return nil, r.cause(err, len(b))
	}
	return b, nil
}

// discard takes n bytes that were peeked at.
func (r *Reader) discard(n int) {
	r.in.Discard(n) // cannot fail: they are in the buffer
	r.off += int64(n)
}

// cause returns the error to report for the stream's error err, before which
// came more bytes than have been taken: err itself, except that no archive ends
// where this is asked.
func (r *Reader) cause(err error, more int) error {
	if err == io.EOF {
		return &FormatError{Offset: r.off + int64(more), Reason: "the archive ends too early", truncated: true}
	}
	return err
}
