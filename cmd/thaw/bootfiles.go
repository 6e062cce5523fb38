package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"thaw/boot/loader"
	"thaw/image/dir"
	"thaw/output"
	"thaw/rootfs"
	"thaw/spec"
)

// rootFile returns the root file system of an output that is files, as an output of
// its own; nil for none.
func rootFile(of *spec.BootFiles) *spec.Output {
	if of.Root == "none" {
		return nil
	}
	o := spec.NewOutput("root", of.Root)
	label := spec.DefaultLabel
	switch {
	case o.Ext4 != nil:
		o.Ext4.Label = &label
	case o.Erofs != nil:
		o.Erofs.Label = &label
	}
	return &o
}

// createFiles writes a directory with what a machine boots with beside its place.
func (w *work) createFiles(o *destination, source *content) (*image, error) {
	d, err := o.newDir(o.path)
	if err != nil {
		return nil, err
	}
	img := &image{path: d.Path, part: d, abort: d.Abort}
	var out *output.Writer
	var file *os.File
	if root := rootFile(o.of.Files); root != nil {
		if file, err = os.Create(filepath.Join(d.Path, "root."+root.Type)); err != nil {
			d.Abort()
			return nil, err
		}
		if err = file.Chmod(0o644); err == nil { // whatever the umask is
			out, err = output.New(file, root, &output.Params{ID: w.plan.ID, Time: w.plan.Time, Jobs: w.jobs})
		}
		if err != nil {
			file.Close()
			d.Abort()
			return nil, err
		}
		img.sinks = out.Sinks()
		img.abort = func() {
			out.Abort()
			file.Close()
			d.Abort()
		}
	}
	img.finish = func(ctx context.Context) error {
		list := &fileList{sum: sha256.New()}
		if out != nil {
			if err := out.Close(); err != nil {
				return err
			}
			digest, err := digestAndSync(ctx, file)
			if err != nil {
				return err
			}
			list.note(filepath.Base(file.Name()), out.Size(), digest)
			if err := os.Chtimes(file.Name(), w.plan.Time, w.plan.Time); err != nil {
				return err
			}
		}
		tree, err := source.bootFiles(&o.of)
		if err != nil {
			return err
		}
		if err := list.write(tree, d.Path); err != nil {
			return err
		}
		img.result = o.result(list.bytes, digest(list.sum))
		return os.Chtimes(d.Path, w.plan.Time, w.plan.Time)
	}
	return img, nil
}

// bootFiles returns what lies beside the root file system.
func (c *content) bootFiles(o *spec.Output) (*rootfs.Tree, error) {
	m, _, err := c.menu(o, false)
	if err != nil {
		return nil, err
	}
	tree, err := loader.Files(m)
	if err != nil {
		return nil, err
	}
	initrd := ""
	if tree.Has("initrd") {
		initrd = "initrd"
	}
	script, err := loader.IPXE("kernel", initrd, m.Entries[0].Cmdline)
	if err != nil {
		return nil, err
	}
	tree.Put(rootfs.Entry{Path: "boot.ipxe", Mode: 0o644, ModTime: c.work.plan.Time}, []byte(script))
	return tree, nil
}

// fileList hashes a line for each file of a directory: its digest and its name.
type fileList struct {
	sum   hash.Hash
	bytes int64
	next  rootfs.Sink
}

func (l *fileList) note(name string, size int64, digest string) {
	fmt.Fprintf(l.sum, "%s  %s\n", digest, name)
	l.bytes += size
}

// Add implements [rootfs.Sink].
func (l *fileList) Add(e rootfs.Entry, data io.Reader) error {
	if data == nil {
		return l.next.Add(e, nil)
	}
	h := sha256.New()
	if err := l.next.Add(e, io.TeeReader(data, h)); err != nil {
		return err
	}
	l.note(e.Path, e.Size, "sha256:"+hex.EncodeToString(h.Sum(nil)))
	return nil
}

// write puts a tree into a directory.
func (l *fileList) write(tree *rootfs.Tree, path string) error {
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer root.Close()
	w, err := dir.NewWriter(root, dir.Options{Owners: dir.IgnoreOwners})
	if err != nil {
		return err
	}
	l.next = w
	if err := tree.Send(l); err != nil {
		return err
	}
	return w.Close()
}
