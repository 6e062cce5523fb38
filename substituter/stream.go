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

	"thaw/internal/decompress"
	"thaw/narinfo"
	"thaw/nixhash"
)

// narStream is a NAR on its way from a cache: counted, decompressed, verified.
type narStream struct {
	info   *narinfo.Info
	remote *Remote
	object string

	body  *Body
	got   int64     // bytes received
	sum   hash.Hash // of the bytes received, if the narinfo states it
	ended bool      // the transport reported the end
	bad   error     // what else it reported
	plain io.ReadCloser
	check *verifier
	err   error // sticky
}

// open looks at the first bytes and starts the decoder.
func (n *narStream) open() error {
	if !n.info.FileHash.IsZero() && n.info.Compression != "none" {
		n.sum = n.info.FileHash.Algo().New()
	}
	br := bufio.NewReaderSize((*rawBody)(n), 64<<10)
	head, err := br.Peek(24)
	if err != nil && err != io.EOF {
		return err
	}
	codec := n.info.Compression
	if !decompress.Known(codec) {
		return decompress.UnsupportedError(codec)
	}
	if seen := decompress.Sniff(head); seen != "" && seen != codec {
		n.warn("the NAR is %s although the narinfo says %s", seen, codec)
		codec = seen
	} else if what := notANar(head); seen == "" && what != "" {
		return errors.New(what)
	}
	if n.plain, err = decompress.NewReader(codec, br, n.info.NarSize); err != nil {
		return err
	}
	n.check = newVerifier(n.plain, n.info)
	return nil
}

func (n *narStream) warn(format string, a ...any) {
	if n.remote.Events != nil {
		n.remote.Events.warn("%s: %s: %s", n.object, n.body.URL, fmt.Sprintf(format, a...))
	}
}

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

// rawBody is the narStream seen from below: the bytes as they arrive.
type rawBody narStream

func (b *rawBody) Read(p []byte) (int, error) {
	k, err := b.body.Read(p)
	b.got += int64(k)
	if b.sum != nil {
		b.sum.Write(p[:k])
	}
	if b.remote.Events != nil {
		b.remote.Events.received(b.remote.String(), k)
	}
	if err == io.EOF {
		b.ended = true
	} else if err != nil {
		b.bad = err
	}
	return k, err
}

// tooShort reports whether a transfer ended before the cache's word for it. A
// file on disk is as long as it is: being too short is wrong content.
func (n *narStream) tooShort() bool {
	_, file := n.remote.From.(File)
	return n.ended && n.got < n.info.FileSize && !file
}

func (n *narStream) Read(p []byte) (int, error) {
	if n.err != nil {
		return 0, n.err
	}
	k, err := n.check.Read(p)
	if err != nil {
		if err == io.EOF {
			n.compareHints()
			n.err = io.EOF
		} else {
			n.err = n.fail(err)
		}
	}
	return k, n.err
}

// compareHints warns of a narinfo whose unsigned fields are wrong although the
// NAR is right.
func (n *narStream) compareHints() {
	if n.info.FileSize != 0 && n.got != n.info.FileSize {
		n.warn("%d bytes came; the FileSize in its narinfo is %d", n.got, n.info.FileSize)
	} else if n.sum != nil && !bytes.Equal(n.sum.Sum(nil), n.info.FileHash.Digest()) {
		n.warn("its NarHash is right; the FileHash in its narinfo is wrong")
	}
}

// fail makes the error that the stream's reader sees.
func (n *narStream) fail(err error) error {
	e := &Error{Object: n.object, URL: n.body.URL, Kind: Integrity, Err: err}
	switch {
	case n.bad != nil:
		if errors.Is(n.bad, context.Canceled) {
			return n.bad
		}
		e.Kind, e.Err = Network, fmt.Errorf("%w after %d bytes", n.bad, n.got)
	case n.tooShort():
		e.Kind, e.Err = Network, fmt.Errorf("%d of %d bytes came, then the end", n.got, n.info.FileSize)
	case errors.Is(err, io.ErrUnexpectedEOF):
		e.Err = fmt.Errorf("the file is cut off after %d bytes", n.got)
	}
	return e
}

func (n *narStream) Close() error {
	var err error
	if n.plain != nil {
		err = n.plain.Close()
	}
	return errors.Join(err, n.body.Close())
}

// verifier reads a plain NAR and checks its length and hash: where they are
// wrong, there is an error instead of the end.
type verifier struct {
	r    io.Reader
	left int64
	info *narinfo.Info
	sum  hash.Hash
	ca   io.WriteCloser // nil unless the NAR's content address must be checked
	err  error
}

func newVerifier(r io.Reader, info *narinfo.Info) *verifier {
	return &verifier{r: r, left: info.NarSize, info: info, sum: sha256.New(), ca: info.ContentCheck()}
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
	v.sum.Write(p[:n])
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

func (v *verifier) verdict() error {
	if v.left > 0 {
		return fmt.Errorf("the NAR is cut off: %d of %d bytes", v.info.NarSize-v.left, v.info.NarSize)
	}
	if got := nixhash.Of(nixhash.SHA256, v.sum.Sum(nil)); got != v.info.NarHash {
		return fmt.Errorf("the NAR has the hash %s instead of %s", got, v.info.NarHash)
	}
	if v.ca != nil {
		return v.ca.Close()
	}
	return nil
}
