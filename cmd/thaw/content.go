package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"thaw/assemble"
	"thaw/output"
	"thaw/overlay"
	"thaw/rootfs"
	"thaw/spec"
)

// content is what disks hold besides the root file system: files of this machine and
// of store paths, and what boots.
type content struct {
	work  *work
	ctx   context.Context
	files *assemble.Files
	spool *spool
	seen  map[string]*stored // of store paths
	boots map[output.RootPlace]*bootable
}

// newContent makes the content of outputs, of which something is kept in dir for a
// while.
func (w *work) newContent(ctx context.Context, dir string) *content {
	return &content{
		work: w, ctx: ctx, files: assemble.NewFiles(w.src, w.plan), spool: &spool{dir: dir},
		seen: map[string]*stored{}, boots: map[output.RootPlace]*bootable{},
	}
}

// A spool keeps contents in a file without a name.
type spool struct {
	dir  string
	file *os.File
	end  int64
}

// Write appends to the spool.
func (s *spool) Write(p []byte) (int, error) {
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, ".thaw.*.part")
		if err != nil {
			return 0, err
		}
		os.Remove(f.Name())
		s.file = f
	}
	n, err := s.file.WriteAt(p, s.end)
	s.end += int64(n)
	return n, err
}

// section returns what was written from a place on.
func (s *spool) section(from int64) *io.SectionReader {
	return io.NewSectionReader(s.file, from, s.end-from)
}

func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
	}
}

// stored is a file or directory with its files in the spool.
type stored struct {
	entries []rootfs.Entry
	data    []*io.SectionReader // of regular files
	spool   *spool
}

// Add implements [rootfs.Sink].
func (s *stored) Add(e rootfs.Entry, data io.Reader) error {
	from := s.spool.end
	var section *io.SectionReader
	if data != nil {
		if _, err := io.Copy(s.spool, data); err != nil {
			return err
		}
		section = s.spool.section(from)
	}
	s.entries, s.data = append(s.entries, e), append(s.data, section)
	return nil
}

// open returns the content of a regular file.
func (s *stored) open(i int) io.ReadCloser {
	return io.NopCloser(io.NewSectionReader(s.data[i], 0, s.data[i].Size()))
}

// file returns the only file that there is.
func (s *stored) file() (*io.SectionReader, error) {
	if len(s.data) != 1 || s.data[0] == nil {
		return nil, errors.New("it is a directory, and a file is needed")
	}
	return s.data[0], nil
}

// store returns what is at a path in the store.
func (c *content) store(path string) (*stored, error) {
	if s := c.seen[path]; s != nil {
		return s, nil
	}
	at, err := c.files.Find(c.ctx, path)
	if err != nil {
		return nil, err
	}
	s := &stored{spool: c.spool}
	if err := c.files.Walk(c.ctx, at, s.Add); err != nil {
		return nil, err
	}
	c.seen[path] = s
	return s, nil
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
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", place, err)
	}
	file, err := s.file()
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %s: %w", place, raw.Store, err)
	}
	return s.open(0), file.Size(), nil
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
		if err := c.lay(tree, p, &f); err != nil {
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

// lay puts a file or directory of the store into the tree of a partition. Modes become
// those of files that are made here. A file that the partition has at just that path
// stays.
func (c *content) lay(tree *rootfs.Tree, p *spec.Partition, f *spec.PartitionFile) error {
	s, err := c.store(f.Store)
	if err != nil {
		return err
	}
	to := strings.TrimPrefix(f.Path, "/")
	above := rootfs.Dir("", 0o755)
	above.ModTime = c.work.plan.Time
	for i, e := range s.entries {
		if e.Path != "." {
			e.Path = strings.TrimPrefix(to+"/"+e.Path, "/")
		} else if e.Path = to; to == "" {
			if !e.Mode.IsDir() {
				return errors.New(f.Store + " is a file, and the root directory is none")
			}
			continue
		}
		if err := fits(tree, e); err != nil {
			return err
		}
		if slices.ContainsFunc(p.Files, func(f spec.PartitionFile) bool { return f.Store == "" && f.Path == "/"+e.Path }) {
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
		tree.Dirs(e.Path, above)
		if e.Mode.IsDir() {
			tree.Put(e, nil)
		} else {
			tree.PutFile(e, func() (io.ReadCloser, error) { return s.open(i), nil })
		}
	}
	return nil
}

// fits holds that an entry takes no directory's place, and that no file is above it.
func fits(tree *rootfs.Tree, e rootfs.Entry) error {
	for path, dir := e.Path, e.Mode.IsDir(); path != "."; dir = true {
		if old, ok := tree.Get(path); ok && old.Mode.IsDir() != dir {
			return fmt.Errorf("/%s is a directory in one place and a file in another", path)
		}
		path, _ = rootfs.Split(path)
	}
	return nil
}
