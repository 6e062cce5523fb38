package overlay

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"thaw/rootfs"
	"thaw/spec"
)

// modeOf turns permission bits of the spec into those of an entry.
func modeOf(m spec.Mode) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	for bit, flag := range map[spec.Mode]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if m&bit != 0 {
			mode |= flag
		}
	}
	return mode
}

// files adds the files, directories and links that the spec lists.
func (b *builder) files() error {
	for _, f := range b.rootfs.Files {
		place := b.spec.Place(b.key+".files", f.Origin)
		e := rootfs.Entry{Path: path(f.Path), UID: f.Owner.UID, GID: f.Owner.GID}
		if f.Mode != nil {
			e.Mode = modeOf(*f.Mode)
		}
		var err error
		switch {
		case f.Content != nil:
			err = b.put(e, []byte(*f.Content), place)
		case f.Source != "":
			name := b.spec.File(f.Source)
			err = b.putSource(e, &source{name: name, place: place, open: func() (*os.File, error) { return os.OpenFile(name, nonblock, 0) }})
		case f.Dir:
			e.Mode |= fs.ModeDir
			err = b.put(e, nil, place)
		default:
			e.Mode, e.Target = fs.ModeSymlink|0o777, f.Symlink
			err = b.put(e, nil, place)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// devices adds the devices and named pipes that the spec lists.
func (b *builder) devices() error {
	kinds := map[string]fs.FileMode{"char": fs.ModeDevice | fs.ModeCharDevice, "block": fs.ModeDevice, "fifo": fs.ModeNamedPipe}
	for _, d := range b.rootfs.Devices {
		e := rootfs.Entry{Path: path(d.Path), Mode: kinds[d.Type] | modeOf(d.Mode), UID: d.Owner.UID, GID: d.Owner.GID}
		if d.Major != nil && d.Minor != nil {
			e.Dev = rootfs.Mkdev(*d.Major, *d.Minor)
		}
		if err := b.put(e, nil, b.spec.Place("rootfs.devices", d.Origin)); err != nil {
			return err
		}
	}
	return nil
}

// trees copies directories of this machine.
func (b *builder) trees() error {
	for _, t := range b.rootfs.Trees {
		c := copier{builder: b, tree: t, name: b.spec.File(t.Source), place: b.spec.Place(b.key+".trees", t.Origin)}
		if err := c.copy(); err != nil {
			return err
		}
	}
	return nil
}

// copier copies a directory of this machine. It never follows a link out of it.
type copier struct {
	*builder
	tree  spec.Tree
	name  string // of the directory, on this machine
	place string
	root  *os.Root
}

func (c *copier) copy() (err error) {
	if c.root, err = os.OpenRoot(c.name); err != nil {
		return named(c.place, c.name, err)
	}
	defer c.root.Close()
	return c.dir(".", path(c.tree.Path))
}

// dir copies the directory rel to the path to.
func (c *copier) dir(rel, to string) error {
	if !always(to) {
		e := rootfs.Dir(to, dirMode(to))
		e.UID, e.GID = c.tree.Owner.UID, c.tree.Owner.GID
		if err := c.put(e, nil, c.place); err != nil {
			return err
		}
	}
	names, err := c.list(rel)
	if err != nil {
		return err
	}
	for _, name := range names {
		below := name
		if to != "." {
			below = to + "/" + name
		}
		if err := c.entry(filepath.Join(rel, name), below); err != nil {
			return err
		}
	}
	return nil
}

// list returns the names in a directory, sorted.
func (c *copier) list(rel string) ([]string, error) {
	dir, err := c.root.OpenFile(rel, nonblock, 0)
	if err != nil {
		return nil, c.errorf(rel, err)
	}
	defer dir.Close()
	var names []string
	for {
		some, err := dir.Readdirnames(1024)
		names = append(names, some...)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, c.errorf(rel, err)
		}
		if len(c.marks)+len(names) > c.most {
			return nil, c.tooMany(c.place)
		}
	}
	slices.Sort(names)
	return names, nil
}

// entry copies what is at rel to the path to.
func (c *copier) entry(rel, to string) error {
	info, err := c.root.Lstat(rel)
	if err != nil {
		return c.errorf(rel, err)
	}
	e := rootfs.Entry{Path: to, UID: c.tree.Owner.UID, GID: c.tree.Owner.GID}
	switch info.Mode().Type() {
	case fs.ModeDir:
		return c.dir(rel, to)
	case fs.ModeSymlink:
		if e.Target, err = c.root.Readlink(rel); err != nil {
			return c.errorf(rel, err)
		}
		e.Mode = fs.ModeSymlink | 0o777
		return c.put(e, nil, c.place)
	case 0:
		e.Mode = 0o644
		if info.Mode()&0o100 != 0 {
			e.Mode = 0o755
		}
		return c.putSource(e, &source{name: filepath.Join(c.name, rel), place: c.place, open: c.opener(rel)})
	}
	return fmt.Errorf("%s: %s is %s: a tree has files, directories and links", c.place, show(filepath.Join(c.name, rel)), kindOf(info.Mode()))
}

// opener returns what opens the file at rel, now or when the root is closed.
func (c *copier) opener(rel string) func() (*os.File, error) {
	name := c.name
	return func() (*os.File, error) {
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		return root.OpenFile(rel, nonblock, 0)
	}
}

func (c *copier) errorf(rel string, err error) error {
	return named(c.place, filepath.Join(c.name, rel), err)
}
