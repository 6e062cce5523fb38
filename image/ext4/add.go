package ext4

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"

	"thaw/rootfs"
)

const (
	chunkSize = 128 << 10
	// holeBlocks is how many zero blocks in a row become a hole in a file. A
	// hole costs an extent and, beyond the fourth, a share of a node, so
	// shorter runs are not worth it.
	holeBlocks = 8
	// InlineTarget is how many bytes a symbolic link's target may have for the
	// inode itself to hold it.
	InlineTarget = 59
)

func (w *Writer) add(e rootfs.Entry, data io.Reader) error {
	i, err := w.newInode(&e)
	if err != nil {
		return err
	}
	if e.Path == "." {
		return w.addRoot(&e, i)
	}
	parent, name, err := w.dirs.Parent(e.Path)
	if err != nil {
		return err
	}
	from := w.out.place
	var number uint32
	if e.Path == lostFound {
		if e.Kind() != fs.ModeDir {
			return &rootfs.EntryError{Path: e.Path, Reason: "ext4 needs a directory of this name"}
		}
		number = firstInode
		*w.inodes.at(number) = i
	} else {
		number = w.inodes.add(i)
	}
	if err := w.addXattrs(&e, number); err != nil {
		return err
	}
	switch e.Kind() {
	case 0:
		if w.files != nil {
			w.files.begin(&i, e.Xattrs)
		}
		if err = w.addData(number, e.Size, data); err == nil && w.files != nil {
			number = w.share(number, from)
		}
	case fs.ModeDir:
		path := w.dirs.Keep(e.Path) // of which its name is a part
		w.addDir(path, number, parent)
		parent.entries.Add(path[len(path)-len(name):], number)
		return w.room()
	case fs.ModeSymlink:
		w.addTarget(number, e.Target)
	}
	if err != nil {
		return err
	}
	parent.entries.Add(w.dirs.Keep(name), number)
	return w.room()
}

func (w *Writer) addRoot(e *rootfs.Entry, i inode) error {
	if err := w.dirs.AddRoot(&dir{path: ".", number: rootInode, parent: rootInode}); err != nil {
		return err
	}
	*w.inodes.at(rootInode) = i
	if err := w.addXattrs(e, rootInode); err != nil {
		return err
	}
	return w.room()
}

func (w *Writer) addDir(path string, number uint32, parent *dir) {
	w.dirs.Add(path, &dir{path: path, number: number, parent: parent.number})
	w.inodes.at(parent.number).links++
	if path != lostFound {
		w.pending++
	}
}

func (w *Writer) addSame(path, earlier string) error {
	from, name, err := w.dirs.Parent(earlier)
	if err != nil {
		return err
	}
	number, ok := from.entries.Lookup(name)
	if !ok || w.inodes.at(number).mode&0xf000 != modeRegular {
		return &rootfs.EntryError{Path: path, Reason: fmt.Sprintf("%q is no regular file added before", earlier)}
	}
	parent, name, err := w.dirs.Parent(path)
	if err != nil {
		return err
	}
	if path == lostFound {
		return &rootfs.EntryError{Path: path, Reason: "ext4 needs a directory of this name"}
	}
	i := w.inodes.at(number)
	if i.links == maxLinks {
		return &rootfs.EntryError{Path: path, Reason: fmt.Sprintf("ext4 gives a file at most %d names", maxLinks)}
	}
	i.links++
	parent.entries.Add(w.dirs.Keep(name), number)
	return w.room()
}

// addTarget stores the target of a symbolic link, in a block of its own where
// the inode is too small ("Symbolic Links").
func (w *Writer) addTarget(number uint32, target string) {
	i := w.inodes.at(number)
	if len(target) <= InlineTarget {
		copy(i.block[:], target)
		return
	}
	w.tree.reset(number)
	w.tree.add(0, w.out.append([]byte(target)))
	w.setTree(i)
}

// setTree gives an inode the tree that was built for it.
func (w *Writer) setTree(i *inode) {
	i.flags |= flagExtents
	i.block = w.tree.finish()
	i.blocks += w.tree.data + w.tree.nodes
}

// addData stores the contents of a regular file. Where holes are depends on
// the contents alone, not on how r hands them out.
func (w *Writer) addData(number uint32, size int64, r io.Reader) error {
	w.tree.reset(number)
	logical := uint32(0) // of the next block
	zeros := uint32(0)   // blocks before it that are not stored yet
	store := func(block []byte) {
		w.tree.add(logical, w.out.append(block))
		logical++
	}
	storeZeros := func() {
		if zeros >= holeBlocks {
			logical += zeros
			zeros = 0
		}
		for ; zeros > 0; zeros-- {
			store(nil)
		}
	}
	for left := size; left > 0; {
		n := int(min(left, chunkSize))
		if _, err := io.ReadFull(r, w.chunk[:n]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		left -= int64(n)
		if w.files != nil {
			w.files.hash.Write(w.chunk[:n])
		}
		for rest := w.chunk[:n]; len(rest) > 0; {
			block := rest[:min(int(w.block()), len(rest))]
			rest = rest[len(block):]
			if bytes.Equal(block, zeroBlock[:len(block)]) {
				zeros++
				continue
			}
			storeZeros()
			store(block)
		}
		if w.files != nil && w.out.err == nil {
			continue // what does not fit may be equal to what is there
		}
		if err := w.room(); err != nil {
			return err
		}
	}
	storeZeros()
	w.setTree(w.inodes.at(number))
	return w.out.err
}
