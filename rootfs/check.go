package rootfs

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
)

// Check returns a Sink that passes entries on to s after holding them against
// the laws of this package: what breaks one is an [*EntryError] and never
// reaches s. It keeps about 55 bytes a path. The result is a [SameAdder] that answers
// [errors.ErrUnsupported] where s is not.
func Check(s Sink) Sink {
	return &checker{sink: s, seed: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, seen: map[pathKey]kind{}}
}

type checker struct {
	sink Sink
	seed [2]maphash.Seed
	seen map[pathKey]kind
	err  error // sticky
}

// pathKey stands for a path by 128 bits of keyed hash: two paths that share one
// (chance 2^-88 at a million paths) would be refused as duplicates, never mixed.
type pathKey [2]uint64

type kind byte

const (
	kindOther kind = iota
	kindDir
	kindFile
)

func (c *checker) key(path string) pathKey {
	return pathKey{maphash.String(c.seed[0], path), maphash.String(c.seed[1], path)}
}

func (c *checker) Add(e Entry, data io.Reader) error {
	if c.err != nil {
		return c.err
	}
	c.err = c.add(e, data)
	return c.err
}

func (c *checker) add(e Entry, data io.Reader) error {
	if err := e.Validate(); err != nil {
		return err
	}
	key, err := c.place(e.Path)
	if err != nil {
		return err
	}
	if e.Kind() != 0 {
		if data != nil {
			return &EntryError{e.Path, "data follows what is not a regular file"}
		}
		k := kindOther
		if e.Kind() == fs.ModeDir {
			k = kindDir
		}
		c.seen[key] = k
		return c.sink.Add(e, nil)
	}
	if data == nil {
		return &EntryError{e.Path, "no data follows a regular file"}
	}
	c.seen[key] = kindFile
	r := exactReader{r: data, left: e.Size}
	if err := c.sink.Add(e, &r); err != nil {
		return err
	}
	switch {
	case r.err != nil:
		return r.err // a sink that ignored a read error
	case r.left > 0:
		return &EntryError{e.Path, fmt.Sprintf("the writer left %d of %d bytes unread", r.left, e.Size)}
	}
	return r.end(e.Path)
}

// place checks that path is new and that its parent is a directory.
func (c *checker) place(path string) (pathKey, error) {
	key := c.key(path)
	if _, ok := c.seen[key]; ok {
		return key, &EntryError{path, "comes twice"}
	}
	if path == "." {
		if len(c.seen) != 0 {
			return key, &EntryError{path, "the root is not the first entry"}
		}
		return key, nil
	}
	dir, _ := Split(path)
	switch k, ok := c.seen[c.key(dir)]; {
	case !ok:
		return key, &EntryError{path, fmt.Sprintf("comes before its parent %q", dir)}
	case k != kindDir:
		return key, &EntryError{path, fmt.Sprintf("its parent %q is not a directory", dir)}
	}
	return key, nil
}

func (c *checker) AddSame(path, earlier string) error {
	if c.err != nil {
		return c.err
	}
	err := c.addSame(path, earlier)
	if !errors.Is(err, errors.ErrUnsupported) {
		c.err = err
	}
	return err
}

func (c *checker) addSame(path, earlier string) error {
	if !ValidPath(path) {
		return &EntryError{path, "not a valid path"}
	}
	key, err := c.place(path)
	if err != nil {
		return err
	}
	if c.seen[c.key(earlier)] != kindFile {
		return &EntryError{path, fmt.Sprintf("%q is no regular file added before", earlier)}
	}
	if err := AddSame(c.sink, path, earlier); err != nil {
		return err
	}
	c.seen[key] = kindFile
	return nil
}

// exactReader yields exactly left bytes of r; less is an error.
type exactReader struct {
	r    io.Reader
	left int64
	err  error
}

func (x *exactReader) Read(p []byte) (int, error) {
	if x.left == 0 {
		return 0, io.EOF
	}
	if x.err != nil {
		return 0, x.err
	}
	if int64(len(p)) > x.left {
		p = p[:x.left]
	}
	n, err := x.r.Read(p)
	x.left -= int64(n)
	if err == io.EOF {
		if err = nil; x.left > 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	x.err = err
	return n, err
}

// end checks that nothing follows the last byte.
func (x *exactReader) end(path string) error {
	var b [1]byte
	for range 100 {
		switch n, err := x.r.Read(b[:]); {
		case n > 0:
			return &EntryError{path, "more data follows than its size says"}
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}
