package substituter

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"

	"thaw/internal/ahead"
	"thaw/internal/decompress"
	"thaw/narinfo"
	"thaw/nixhash"
)

// decoder is what decodes NAR files.
type decoder struct {
	budget  *decompress.Budget // of memory; may be nil
	team    decompress.Team    // which may help
	pending atomic.Int64       // bytes of all NARs that are being fetched, or wait for it
}

// helpers returns the team for a NAR of so many bytes. Only one that would still be at
// work when the others are done is worth the memory that several blocks take.
func (d *decoder) helpers(size int64) decompress.Team {
	team := d.team
	if others := d.pending.Load() - size; others >= size*int64(team.Jobs-1) {
		team.Spare = nil
	}
	return team
}

// decode reads the NAR file of an info from raw, and take gets the plain NAR. What
// it makes of that is worthless if decode returns an error, which is a [takenError]
// if it is not the NAR's fault. Warnings are about fields of the narinfo that are
// wrong although the NAR is right. Where the budget has no room it waits.
func (d *decoder) decode(ctx context.Context, raw io.Reader, info *narinfo.Info, take taker) (warnings []string, err error) {
	in := &counted{r: raw}
	if !info.FileHash.IsZero() && info.Compression != "none" {
		in.sum = info.FileHash.Algo().New()
	}
	br := rawBuffers.Get().(*bufio.Reader)
	br.Reset(in)
	defer func() {
		br.Reset(nil)
		rawBuffers.Put(br)
	}()
	head, err := br.Peek(24)
	if err != nil && err != io.EOF {
		return nil, err
	}
	codec := info.Compression
	if !decompress.Known(codec) {
		return nil, decompress.UnsupportedError(codec)
	}
	if seen := decompress.Sniff(head); seen != "" && seen != codec {
		warnings = append(warnings, fmt.Sprintf("the NAR is %s although the narinfo says %s", seen, codec))
		codec = seen
	} else if what := notANar(head); seen == "" && what != "" {
		return warnings, errors.New(what)
	}
	plain, err := d.budget.NewReader(ctx, codec, br, info.NarSize, d.helpers(info.NarSize))
	if err == nil {
		v := newVerifier(&withContext{ctx, plain}, info)
		err = v.give(take, d.team.Wide())
		if s, ok := raw.(*spoolReader); ok && err != nil {
			s.stop() // who reads ahead may wait for more
		}
		v.close()
		err = errors.Join(err, plain.Close())
	}
	var taken takenError
	switch {
	case errors.As(err, &taken):
		return warnings, taken
	case err != nil && in.err != nil && in.err != io.EOF:
		return warnings, in.err // the cause, not what a decoder makes of it
	case errors.Is(err, io.ErrUnexpectedEOF) && info.FileSize > 0 && in.n > info.FileSize:
		return warnings, fmt.Errorf("the file has %d bytes instead of %d, and what follows is not %s", in.n, info.FileSize, codec)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return warnings, fileCutOff(in.n)
	case err != nil && len(warnings) > 0:
		return warnings, fmt.Errorf("%w (%s)", err, warnings[0])
	case err != nil:
		return warnings, err
	case info.FileSize != 0 && in.n != info.FileSize && in.err == io.EOF:
		warnings = append(warnings, fmt.Sprintf("its NarHash is right; it has %d bytes, and the FileSize in its narinfo is %d", in.n, info.FileSize))
	case in.sum != nil && in.err == io.EOF && !bytes.Equal(in.sum.Sum(nil), info.FileHash.Digest()):
		warnings = append(warnings, "its NarHash is right; the FileHash in its narinfo is wrong")
	}
	return warnings, nil
}

// rawBuffers are what NAR files are read through.
var rawBuffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 64<<10) }}

// notANar has a word for bodies that servers send in place of a file.
func notANar(head []byte) string {
	head = bytes.TrimLeft(head, " \t\r\n")
	switch {
	case bytes.HasPrefix(head, []byte("<")):
		return "the server sent a web page instead of the NAR"
	case bytes.HasPrefix(head, []byte("version https://git-lfs")):
		return "this is a git-lfs pointer; the cache's files were not fetched with git lfs"
	}
	return ""
}

// counted counts and hashes what is read, and remembers how it ended.
type counted struct {
	r   io.Reader
	n   int64
	sum hash.Hash // may be nil
	err error
}

func (c *counted) Read(p []byte) (int, error) {
	k, err := c.r.Read(p)
	c.n += int64(k)
	if c.sum != nil {
		c.sum.Write(p[:k])
	}
	if err != nil && err != errStopped {
		c.err = err
	}
	return k, err
}

// withContext ends reading with its context.
type withContext struct {
	ctx context.Context
	r   io.Reader
}

func (w *withContext) Read(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.r.Read(p)
}

// verifier reads a plain NAR and checks its length and hash: where they are
// wrong, there is an error instead of the end.
type verifier struct {
	r    io.Reader
	left int64
	info *narinfo.Info
	sum  hash.Hash      // nil if the bytes are known to be right
	ca   io.WriteCloser // nil unless the NAR's content address must be checked
	err  error

	beside *ahead.Reader // of it, where it is read ahead
}

func newVerifier(r io.Reader, info *narinfo.Info) *verifier {
	return &verifier{r: r, left: info.NarSize, info: info, sum: sha256.New(), ca: info.ContentCheck()}
}

// unhashed makes v check the length alone.
func (v *verifier) unhashed() *verifier {
	v.sum, v.ca = nil, nil
	return v
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil || len(p) == 0 {
		return 0, v.err
	}
	if int64(len(p)) > v.left {
		p = p[:max(v.left, 1)]
	}
	n, err := v.r.Read(p)
	if int64(n) > v.left {
		v.err = fmt.Errorf("the NAR is longer than its %d bytes", v.info.NarSize)
		return 0, v.err
	}
	v.left -= int64(n)
	if v.sum != nil {
		v.sum.Write(p[:n])
	}
	if v.ca != nil {
		if _, caErr := v.ca.Write(p[:n]); caErr != nil {
			v.err = caErr
			return 0, v.err
		}
	}
	if err == io.EOF {
		if err = v.verdict(); err == nil {
			err = io.EOF
		}
	}
	v.err = err
	return n, err
}

// taker uses a plain NAR. It sees the bytes before their hash is known to be right,
// and a wrong one where the end would be. It may be called again, for another
// attempt: what it made the last time was worthless.
type taker func(nar io.Reader) error

// takenError is an error of a [taker] that was given the right bytes. It has no
// Unwrap: no cache is to be blamed for it.
type takenError struct{ err error }

func (e takenError) Error() string { return e.err.Error() }

// own returns the error of the taker if err is one of those, else err.
func own(err error) error {
	var taken takenError
	if errors.As(err, &taken) {
		return taken.err
	}
	return err
}

// give lets take have the NAR, and reads what it leaves: whatever take says of wrong
// bytes, that they are wrong is the error. If aside is set, a large NAR is hashed in a
// goroutine of its own, and close ends that.
func (v *verifier) give(take taker, aside bool) error {
	nar := &noted{r: v}
	if aside && v.sum != nil && v.left >= worthAside {
		v.beside = ahead.New(v)
		nar.r = v.beside
	}
	err := take(nar)
	var local *fs.PathError
	if nar.err == nil && errors.As(err, &local) { // the disk is full, say
		return takenError{err}
	}
	if _, rest := copyBuffer(io.Discard, nar); rest != nil {
		return rest
	}
	if err != nil {
		return takenError{err}
	}
	return nil
}

// worthAside is from which size on a NAR is hashed beside what is done with it, in bytes.
const worthAside = 8 << 20

// close ends what give began. v must not be waiting for input that does not come.
func (v *verifier) close() {
	if v.beside != nil {
		v.beside.Close()
	}
}

// noted remembers how reading ended.
type noted struct {
	r   io.Reader
	err error
}

func (n *noted) Read(p []byte) (int, error) {
	k, err := n.r.Read(p)
	n.err = err
	return k, err
}

// writeTo writes the NAR to w.
func writeTo(w io.Writer) taker {
	return func(nar io.Reader) error {
		_, err := copyBuffer(w, nar)
		return err
	}
}

// cutOff is the error for a NAR that ends early.
type cutOff struct{ got, want int64 }

func (c cutOff) Error() string {
	return fmt.Sprintf("the NAR is cut off: %d of %d bytes", c.got, c.want)
}

// fileCutOff is the error for a file that ends early, after so many bytes.
type fileCutOff int64

func (c fileCutOff) Error() string {
	return fmt.Sprintf("the file is cut off after %d bytes", int64(c))
}
func (c fileCutOff) Unwrap() error { return io.ErrUnexpectedEOF }

func (v *verifier) verdict() error {
	if v.left > 0 {
		return cutOff{v.info.NarSize - v.left, v.info.NarSize}
	}
	if v.sum == nil {
		return nil
	}
	if got := nixhash.Of(nixhash.SHA256, v.sum.Sum(nil)); got != v.info.NarHash {
		return fmt.Errorf("the NAR has the hash %s instead of %s", got, v.info.NarHash)
	}
	if v.ca != nil {
		return v.ca.Close()
	}
	return nil
}

// isCutOff reports whether an error says that a NAR, or its file, ends early.
func isCutOff(err error) bool {
	var c cutOff
	return errors.As(err, &c) || errors.Is(err, io.ErrUnexpectedEOF)
}
