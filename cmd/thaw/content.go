package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"thaw/assemble"
	"thaw/overlay"
	"thaw/rootfs"
	"thaw/spec"
)

// content is what disks hold besides the root file system: files of this machine and
// of store paths.
type content struct {
	work  *work
	ctx   context.Context
	dir   string // for the spool
	files *assemble.Files
	spool *os.File // what came from store paths; without a name
	end   int64    // of the spool
	seen  map[string]*stored
}

// stored is a file or directory of a store path, with its files in the spool.
type stored struct {
	entries []rootfs.Entry
	at      []int64 // in the spool, of regular files
}

func (c *content) close() {
	if c.spool != nil {
		c.spool.Close()
	}
}

// store returns what is at a path in the store.
func (c *content) store(path string) (*stored, error) {
	if s := c.seen[path]; s != nil {
		return s, nil
	}
	if c.spool == nil {
		f, err := os.CreateTemp(c.dir, ".thaw.*.part")
		if err != nil {
			return nil, err
		}
		os.Remove(f.Name())
		c.spool, c.seen = f, map[string]*stored{}
	}
	s := &stored{}
	if c.files == nil {
		c.files = assemble.NewFiles(c.work.src, c.work.plan)
	}
	at, err := c.files.Find(c.ctx, path)
	if err != nil {
		return nil, err
	}
	err = c.files.Walk(c.ctx, at, func(e rootfs.Entry, data io.Reader) error {
		s.entries, s.at = append(s.entries, e), append(s.at, c.end)
		if data == nil {
			return nil
		}
		n, err := io.Copy(io.NewOffsetWriter(c.spool, c.end), data)
		c.end += n
		return err
	})
	if err != nil {
		return nil, err
	}
	c.seen[path] = s
	return s, nil
}

// open returns the content of a regular file.
func (c *content) open(s *stored, i int) io.ReadCloser {
	return io.NopCloser(io.NewSectionReader(c.spool, s.at[i], s.entries[i].Size))
}

// Raw implements [output.Source].
func (c *content) Raw(o *spec.Output, i int) (io.ReadCloser, int64, error) {
	raw := &o.Disk.Raw[i]
	place := c.work.target.spec.Place("outputs."+o.Name+".raw", raw.Origin)
	if raw.Source != "" {
		f, err := openFile(c.work.target.spec.File(raw.Source))
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", place, err)
		}
		st, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, 0, err
		}
		return f, st.Size(), nil
	}
	s, err := c.store(raw.Store)
	if err == nil && !s.entries[0].Mode.IsRegular() {
		err = fmt.Errorf("%s is a directory", raw.Store)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", place, err)
	}
	return c.open(s, 0), s.entries[0].Size, nil
}

// Files implements [output.Source].
func (c *content) Files(o *spec.Output, i int) (*rootfs.Tree, error) {
	p := &o.Disk.Partitions[i]
	tree, err := c.local(o, p)
	if err != nil {
		return nil, err
	}
	for _, f := range p.Files {
		if f.Store == "" {
			continue
		}
		if err := c.lay(tree, strings.TrimPrefix(f.Path, "/"), f.Store); err != nil {
			return nil, fmt.Errorf("%s: %w", c.work.target.spec.Place(partitionKey(o, p)+".files", f.Origin), err)
		}
	}
	top := rootfs.Dir(".", 0o755)
	top.ModTime = c.work.plan.Time
	tree.Put(top, nil)
	return tree, nil
}

// local returns the files of a partition but those of store paths.
func (c *content) local(o *spec.Output, p *spec.Partition) (*rootfs.Tree, error) {
	return overlay.ReadPartition(c.work.target.spec, p, partitionKey(o, p))
}

func partitionKey(o *spec.Output, p *spec.Partition) string {
	return fmt.Sprintf("outputs.%s.partitions[%d]", o.Name, p.Origin.Index)
}

// lay puts a file or directory of the store into a tree, below a path, "" for the
// root. Modes become those of files that are made here.
func (c *content) lay(tree *rootfs.Tree, to, path string) error {
	s, err := c.store(path)
	if err != nil {
		return err
	}
	above := rootfs.Dir("", 0o755)
	above.ModTime = c.work.plan.Time
	for i, e := range s.entries {
		if e.Path != "." {
			e.Path = strings.TrimPrefix(to+"/"+e.Path, "/")
		} else if e.Path = to; to == "" {
			if !e.Mode.IsDir() {
				return errors.New(path + " is a file, and the root directory is none")
			}
			continue
		}
		e.ModTime = above.ModTime
		switch e.Kind() {
		case fs.ModeSymlink:
			tree.Dirs(e.Path, above)
			tree.Put(e, nil)
			continue
		case fs.ModeDir:
			e.Mode = fs.ModeDir | 0o755
		default:
			e.Mode = 0o644
		}
		if old, ok := tree.Get(e.Path); ok && old.Mode.IsDir() != e.Mode.IsDir() {
			return fmt.Errorf("/%s is a directory in one place and a file in another", e.Path)
		}
		tree.Dirs(e.Path, above)
		if e.Mode.IsDir() {
			tree.Put(e, nil)
		} else {
			tree.PutFile(e, func() (io.ReadCloser, error) { return c.open(s, i), nil })
		}
	}
	return nil
}
