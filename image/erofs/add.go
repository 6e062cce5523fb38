package erofs

import (
	"fmt"
	"io"
	"io/fs"

	"thaw/rootfs"
)

func (w *Writer) add(e *rootfs.Entry, data io.Reader) error {
	i, err := newInode(e)
	if err != nil {
		return err
	}
	attrs, err := newAttrs(e)
	if err != nil {
		return err
	}
	if e.Path == "." {
		return w.addRoot(i, attrs)
	}
	parent, name, err := w.dirs.Parent(e.Path)
	if err != nil {
		return err
	}
	name = w.dirs.Keep(name)
	switch kind := e.Kind(); {
	case kind == fs.ModeDir:
		w.addDir(parent, name, i, attrs, w.dirs.Keep(e.Path))
	case kind == fs.ModeSymlink:
		target := e.Target
		w.then(func() { w.addTarget(parent, name, i, attrs, target) })
	case i.size == 0:
		w.then(func() { parent.entries.Add(name, w.putInode(&i, w.attrs.body(attrs), nil)) })
	case w.opt.Compression == None || i.size > maxCompressed:
		w.settle(0)
		err = w.addFile(parent, name, i, attrs, data)
	default:
		err = w.addPacked(&packedFile{parent: parent, name: name, inode: i, attrs: attrs}, data)
	}
	if err == nil {
		err = w.out.err
	}
	return err
}

// addRoot adds the root directory. Its inode lies behind the superblock, or if
// it is too large with its attributes, in the first blocks behind that.
func (w *Writer) addRoot(i inode, attrs []attr) error {
	d := &dir{inode: i, attrs: attrs, off: rootOffset}
	if err := w.dirs.AddRoot(d); err != nil {
		return err
	}
	d.inode.links = 2
	d.parent = d
	w.rootRoom = blockSize - rootOffset
	if size := extendedSize + len(w.attrs.body(attrs).bytes); size > w.rootRoom {
		w.rootRoom = 0
		d.off = w.out.take(ceilDiv(int64(size), blockSize)) * blockSize
	}
	return nil
}

func (w *Writer) addDir(parent *dir, name string, i inode, attrs []attr, path string) {
	d := &dir{number: len(w.dirs.All), parent: parent, inode: i, attrs: attrs}
	d.inode.links = 2
	parent.inode.links++
	w.dirs.Add(path, d)
	parent.entries.Add(name, d.ref())
}

func (w *Writer) addSame(path, earlier string) error {
	w.settle(0)
	from, name, err := w.dirs.Parent(earlier)
	if err != nil {
		return err
	}
	ref, _ := from.entries.Lookup(name)
	if ref&refType != typeRegular {
		return &rootfs.EntryError{Path: path, Reason: fmt.Sprintf("%q is no regular file added before", earlier)}
	}
	parent, name, err := w.dirs.Parent(path)
	if err != nil {
		return err
	}
	links := max(1, w.links[ref])
	if links == maxCompactLinks && ref&refExtended == 0 {
		return &rootfs.EntryError{Path: path, Reason: fmt.Sprintf("erofs gives a file like this one at most %d names", maxCompactLinks)}
	}
	w.links[ref] = links + 1
	parent.entries.Add(w.dirs.Keep(name), ref)
	return nil
}

// addTarget adds a symbolic link, with the target behind its inode where both
// fit into a block.
func (w *Writer) addTarget(parent *dir, name string, i inode, attrs []attr, target string) {
	b := w.attrs.body(attrs)
	tail := []byte(target)
	if !w.fits(&i, b, len(tail)) {
		i.data = uint32(w.out.next)
		w.out.append(tail)
		tail = nil
	}
	parent.entries.Add(name, w.putInode(&i, b, tail))
}

// fits reports whether data fit into a block behind an inode and its
// attributes.
func (w *Writer) fits(i *inode, b body, tail int) bool {
	return i.bytes(w.opt.Time)+len(b.bytes)+tail <= blockSize
}

// putInode writes an inode, its extended attributes and the end of its contents
// behind it, or whatever else its layout wants there. It returns what directory
// entries refer to the inode by.
func (w *Writer) putInode(i *inode, b body, tail []byte) (ref uint64) {
	if i.layout == layoutPlain && len(tail) > 0 {
		i.layout = layoutInline
	}
	p := i.encode(w.piece[:0], w.opt.Time, w.nextNumber(), len(b.bytes))
	size := len(p)
	p = append(p, b.bytes...)
	p = append(p, tail...)
	w.piece = p
	off := w.meta.put(p)
	w.attrs.place(&b, off+int64(size))
	ref = uint64(off)/slotSize<<refShift | i.fileType()
	if size == extendedSize {
		ref |= refExtended
	}
	return ref
}
