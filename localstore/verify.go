package localstore

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"thaw/nar"
	"thaw/narinfo"
	"thaw/nixhash"
)

// maxDepth is how deep an object may nest that is packed to be hashed.
const maxDepth = 1024

// Verify hashes the object that is in the store. One that is not what info says
// is a [*DamagedError].
func (s *Store) Verify(ctx context.Context, info *narinfo.Info) error {
	select {
	case s.hashing <- struct{}{}:
		defer func() { <-s.hashing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	base := info.StorePath.Base()
	h := sha256.New()
	p := packer{ctx: ctx, root: s.root, w: nar.NewWriter(h), buf: make([]byte, 256<<10)}
	p.w.AllowDepth(maxDepth)
	err := p.pack(base, ".", 1)
	if err == nil {
		err = p.w.Close()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if got := nixhash.Of(nixhash.SHA256, h.Sum(nil)); err == nil && got != info.NarHash {
		err = fmt.Errorf("its NAR hash is %s instead of %s", got, info.NarHash)
	}
	if err != nil {
		return &DamagedError{filepath.Join(s.root.Name(), base), err}
	}
	return nil
}

// packer packs files of a store into a NAR.
type packer struct {
	ctx  context.Context
	root *os.Root
	w    *nar.Writer
	buf  []byte
}

// pack writes what lies at file, which the NAR calls name.
func (p *packer) pack(file, name string, depth int) error {
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	if depth > maxDepth {
		return fmt.Errorf("%s nests deeper than %d levels", file, maxDepth)
	}
	st, err := p.root.Lstat(file)
	if err != nil {
		return err
	}
	h := nar.Header{Path: name}
	switch st.Mode().Type() {
	case 0:
		return p.file(file, &h)
	case fs.ModeSymlink:
		h.Kind = nar.Symlink
		if h.Target, err = p.root.Readlink(file); err != nil {
			return err
		}
		return p.w.WriteHeader(&h)
	case fs.ModeDir:
		h.Kind = nar.Directory
		if err := p.w.WriteHeader(&h); err != nil {
			return err
		}
		names, err := list(p.root, file)
		for _, n := range names {
			if err == nil {
				err = p.pack(file+"/"+n, path.Join(name, n), depth+1)
			}
		}
		return err
	}
	return fmt.Errorf("%s is a %v, which no NAR holds", file, st.Mode().Type())
}

func (p *packer) file(file string, h *nar.Header) error {
	f, err := p.root.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if h.Size = st.Size(); st.Mode()&0o100 != 0 {
		h.Kind = nar.Executable
	}
	if err := p.w.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{p.w}, struct{ io.Reader }{io.LimitReader(f, h.Size)}, p.buf)
	return err
}

// list returns the names in a directory, sorted bytewise. Names need not be
// UTF-8, which package fs demands.
func list(root *os.Root, dir string) ([]string, error) {
	f, err := root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}
