package narinfo

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"

	"thaw/nixhash"
	"thaw/storepath"
)

// A content address has one of the forms
//
//	text:sha256:H          the path is one file without self-references; H is the file's hash
//	fixed:ALGO:H           the path is one plain file; H is the file's hash
//	fixed:r:ALGO:H         H is the NAR's hash, taken modulo self-references
//
// and the store path is a hash of it, the references and the name
// (store-api.cc and content-address.cc of Nix).
type contentAddress struct {
	text      bool // text:, not fixed:
	recursive bool // r:
	hash      nixhash.Hash
}

func parseCA(s string) (ca contentAddress, err error) {
	kind, rest, _ := strings.Cut(s, ":")
	switch kind {
	case "text":
		ca.text = true
	case "fixed":
		rest, ca.recursive = strings.CutPrefix(rest, "r:")
	default:
		return ca, fmt.Errorf("%q is of no known form", clip(s))
	}
	if ca.hash, err = nixhash.Parse(rest); err != nil {
		return ca, err
	}
	if ca.text && ca.hash.Algo() != nixhash.SHA256 {
		return ca, fmt.Errorf("%q is not by SHA-256", clip(s))
	}
	return ca, nil
}

// String returns the address as Nix writes it, the hash in base-32.
func (ca contentAddress) String() string {
	switch {
	case ca.text:
		return "text:" + ca.hash.Base32()
	case ca.recursive:
		return "fixed:r:" + ca.hash.Base32()
	}
	return "fixed:" + ca.hash.Base32()
}

// ContentAddress returns the CA field as Nix writes it, whatever its spelling
// here, or "" unless [Open] found that the store path recomputes from it.
func (i *Info) ContentAddress() string {
	if !i.Trust.ByCA {
		return ""
	}
	ca, err := parseCA(i.CA)
	if err != nil {
		return ""
	}
	return ca.String()
}

// verifyCA reports why the CA field does not prove the store path; nil where
// there is no CA.
func (i *Info) verifyCA() error {
	if i.CA == "" {
		return nil
	}
	ca, err := parseCA(i.CA)
	if err != nil {
		return err
	}
	got, err := ca.path(i)
	if err != nil {
		return err
	}
	if got != i.StorePath {
		return fmt.Errorf("%q leads to %s", clip(i.CA), got.Base())
	}
	if ca.isNarHash(i) && ca.hash != i.NarHash {
		return fmt.Errorf("%q is not the NarHash %s", clip(i.CA), i.NarHash)
	}
	return nil
}

// isNarHash reports whether the address must equal the NarHash.
func (ca contentAddress) isNarHash(i *Info) bool {
	return ca.recursive && ca.hash.Algo() == nixhash.SHA256 && !i.selfReference()
}

func (i *Info) selfReference() bool { return slices.Contains(i.References, i.StorePath) }

// path computes the store path that the address stands for.
func (ca contentAddress) path(i *Info) (storepath.Path, error) {
	if !ca.text && !(ca.recursive && ca.hash.Algo() == nixhash.SHA256) {
		if len(i.References) > 0 {
			return storepath.Path{}, fmt.Errorf("%q cannot have references", clip(i.CA))
		}
		method := ""
		if ca.recursive {
			method = "r:"
		}
		inner := nixhash.Sum256([]byte("fixed:out:" + method + ca.hash.Base16() + ":"))
		return makePath("output:out", inner, i.StorePath.Name())
	}
	kind := "source"
	if ca.text {
		kind = "text"
	}
	for _, r := range slices.SortedFunc(slices.Values(i.References), storepath.Path.Compare) {
		if r != i.StorePath {
			kind += ":" + r.String()
		}
	}
	if i.selfReference() {
		if ca.text {
			return storepath.Path{}, fmt.Errorf("%q cannot refer to itself", clip(i.CA))
		}
		kind += ":self"
	}
	return makePath(kind, ca.hash, i.StorePath.Name())
}

// makePath is Nix's makeStorePath: 160 bits folded out of a SHA-256.
func makePath(kind string, h nixhash.Hash, name string) (storepath.Path, error) {
	sum := sha256.Sum256([]byte(kind + ":" + h.Base16() + ":" + storepath.Dir + ":" + name))
	var folded [20]byte
	for i, b := range sum {
		folded[i%20] ^= b
	}
	return storepath.New(nixhash.Encode32(folded[:]), name)
}

// ContentCheck returns a writer that takes the plain NAR and holds it against
// the content address, or nil if the NarHash already says all: when a trusted
// key vouches for it, or the address is the NarHash itself. Its Close reports
// the verdict. It keeps less than 128 KiB, and 8 bytes for each of at most
// [MaxSelf] self-references.
func (i *Info) ContentCheck() io.WriteCloser {
	if len(i.Trust.Keys) > 0 || !i.Trust.ByCA {
		return nil
	}
	ca, err := parseCA(i.CA)
	if err != nil || ca.isNarHash(i) {
		return nil
	}
	c := &contentCheck{info: i, want: ca.hash}
	switch {
	case !ca.recursive:
		c.sums = []hash.Hash{ca.hash.Algo().New()}
		c.w = &flatFile{w: c.sums[0]}
	case i.selfReference():
		c.sums = []hash.Hash{ca.hash.Algo().New(), ca.hash.Algo().New()}
		c.w = &selfless{plain: c.sums[0], counted: c.sums[1], self: []byte(i.StorePath.Hash())}
	default:
		c.sums = []hash.Hash{ca.hash.Algo().New()}
		c.w = nopCloser{c.sums[0]}
	}
	return c
}

type contentCheck struct {
	info *Info
	want nixhash.Hash
	w    io.WriteCloser
	sums []hash.Hash // any of them may be the address
}

func (c *contentCheck) Write(p []byte) (int, error) { return c.w.Write(p) }

func (c *contentCheck) Close() error {
	if err := c.w.Close(); err != nil {
		return fmt.Errorf("the NAR of %s is not what its content address %q says: %w", c.info.StorePath.Base(), clip(c.info.CA), err)
	}
	for _, s := range c.sums {
		if bytes.Equal(s.Sum(nil), c.want.Digest()) {
			return nil
		}
	}
	return fmt.Errorf("the NAR of %s does not have the content address %q", c.info.StorePath.Base(), clip(c.info.CA))
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// flatFile passes on the contents of a NAR that is one plain file.
type flatFile struct {
	w    io.Writer
	head []byte // the bytes before the contents, collected
	left int64  // bytes of contents to come
	tail []byte // the bytes after the contents
}

// The NAR of one plain file is this, its length in 8 bytes, its contents, zeros
// up to a multiple of 8, and ")".
const flatHead = "\x0d\x00\x00\x00\x00\x00\x00\x00nix-archive-1\x00\x00\x00" +
	"\x01\x00\x00\x00\x00\x00\x00\x00(\x00\x00\x00\x00\x00\x00\x00" +
	"\x04\x00\x00\x00\x00\x00\x00\x00type\x00\x00\x00\x00" +
	"\x07\x00\x00\x00\x00\x00\x00\x00regular\x00" +
	"\x08\x00\x00\x00\x00\x00\x00\x00contents"

const flatTail = "\x01\x00\x00\x00\x00\x00\x00\x00)\x00\x00\x00\x00\x00\x00\x00"

var errNotFlat = errors.New("it is not one plain file")

func (f *flatFile) Write(p []byte) (int, error) {
	n := len(p)
	if need := len(flatHead) + 8 - len(f.head); need > 0 {
		k := min(need, len(p))
		f.head = append(f.head, p[:k]...)
		p = p[k:]
		if k < need {
			return n, nil
		}
		for i, b := range f.head[len(flatHead):] {
			f.left |= int64(b) << (8 * i)
		}
		if string(f.head[:len(flatHead)]) != flatHead || f.left < 0 {
			return 0, errNotFlat
		}
	}
	k := min(f.left, int64(len(p)))
	if _, err := f.w.Write(p[:k]); err != nil {
		return 0, err
	}
	f.left -= k
	if p = p[k:]; len(f.tail)+len(p) > len(flatTail)+7 {
		return 0, errNotFlat
	}
	f.tail = append(f.tail, p...)
	return n, nil
}

func (f *flatFile) Close() error {
	pad := len(f.tail) - len(flatTail)
	if len(f.head) < len(flatHead)+8 || f.left > 0 || pad < 0 || string(f.tail[pad:]) != flatTail || strings.Trim(string(f.tail[:pad]), "\x00") != "" {
		return errNotFlat
	}
	return nil
}

// selfless hashes a NAR with each occurrence of the object's own hash part
// replaced by zeros. Nix up to 2.8 and after differ in what follows: one ends
// with "|OFFSET" for each occurrence, in decimal; both bind the content.
type selfless struct {
	plain, counted hash.Hash
	self           []byte
	buf            []byte  // not yet hashed; keeps one byte less than a match at the least
	pos            int64   // offset of buf[0]
	offsets        []int64 // of the matches; the NAR's size bounds them
}

// MaxSelf is how often a content-addressed object that nobody signed may name
// itself.
const MaxSelf = 1 << 16

// chunk is how much is collected before it is searched.
const chunk = 64 << 10

func (s *selfless) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		k := min(len(p), chunk)
		s.buf = append(s.buf, p[:k]...)
		p = p[k:]
		if len(s.buf) >= chunk {
			if err := s.flush(len(s.self) - 1); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// flush zeroes the matches in buf and hashes all but the last keep bytes.
func (s *selfless) flush(keep int) error {
	zeros := make([]byte, len(s.self))
	for from := 0; ; {
		i := bytes.Index(s.buf[from:], s.self)
		if i < 0 {
			break
		}
		copy(s.buf[from+i:], zeros)
		if s.offsets = append(s.offsets, s.pos+int64(from+i)); len(s.offsets) > MaxSelf {
			return fmt.Errorf("it names itself more than %d times", MaxSelf)
		}
		from += i + len(s.self)
	}
	n := len(s.buf) - keep
	s.plain.Write(s.buf[:n])
	s.counted.Write(s.buf[:n])
	s.pos += int64(n)
	s.buf = append(s.buf[:0], s.buf[n:]...)
	return nil
}

func (s *selfless) Close() error {
	if err := s.flush(0); err != nil {
		return err
	}
	for _, o := range s.offsets {
		s.counted.Write(strconv.AppendInt([]byte{'|'}, o, 10))
	}
	return nil
}
