package squashfs

import "math"

const (
	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1
	noRun    = ^uint32(0)
)

// A node is what an inode holds, without pointers: a table of them costs the
// garbage collector nothing.
type node struct {
	time     uint32
	links    uint32
	number   uint32 // of the inode, from 1 on; 0 while that is open
	xattrs   uint32 // place in the table of them, or noXattrs
	data     uint32 // place in files, targets or dirs; of a device its number
	mode     uint16 // permissions
	uid, gid uint16 // places in the table of them
	kind     uint8  // a type of inodes
}

// A file is where the contents of a regular file are.
type file struct {
	size int64
	run  uint32 // place in runs, or noRun
	end  end
}

// encodeInode appends the inode of a node to b ("Inode Table"). Of a file that
// is all but the sizes of its blocks, of a directory all but its index.
func (w *Writer) encodeInode(b []byte, n *node) []byte {
	switch n.kind {
	case typeFile:
		return w.encodeFile(b, n)
	case typeDir:
		return w.encodeDir(b, n)
	}
	if n.xattrs == noXattrs {
		b = n.header(b, n.kind)
	} else {
		b = n.header(b, n.kind+extended)
	}
	b = le.AppendUint32(b, n.links)
	switch n.kind {
	case typeSymlink:
		target := w.targets[n.data]
		b = le.AppendUint32(b, uint32(len(target)))
		b = append(b, target...)
	case typeBlock, typeChar:
		b = le.AppendUint32(b, n.data)
	}
	if n.xattrs != noXattrs {
		b = le.AppendUint32(b, n.xattrs)
	}
	return b
}

// header appends what all inodes begin with.
func (n *node) header(b []byte, kind uint8) []byte {
	for _, v := range []uint16{uint16(kind), n.mode, n.uid, n.gid} {
		b = le.AppendUint16(b, v)
	}
	return le.AppendUint32(le.AppendUint32(b, n.time), n.number)
}

func (w *Writer) encodeFile(b []byte, n *node) []byte {
	f := &w.files[n.data]
	var r run
	if f.run != noRun {
		r = w.pipe.runs[f.run]
	}
	if n.links == 1 && n.xattrs == noXattrs && r.zeros == 0 && r.start <= math.MaxUint32 && f.size <= math.MaxUint32 {
		b = n.header(b, typeFile)
		b = le.AppendUint32(b, uint32(r.start))
		b = le.AppendUint32(b, f.end.fragment)
		b = le.AppendUint32(b, f.end.offset)
		return le.AppendUint32(b, uint32(f.size))
	}
	// Like mksquashfs, it never says that all of a file is sparse.
	sparse := r.zeros * int64(w.opt.BlockSize)
	if sparse == f.size && sparse > 0 {
		sparse--
	}
	b = n.header(b, typeFile+extended)
	b = le.AppendUint64(b, uint64(r.start))
	b = le.AppendUint64(b, uint64(f.size))
	b = le.AppendUint64(b, uint64(sparse))
	b = le.AppendUint32(b, n.links)
	b = le.AppendUint32(b, f.end.fragment)
	b = le.AppendUint32(b, f.end.offset)
	return le.AppendUint32(b, n.xattrs)
}

func (w *Writer) encodeDir(b []byte, n *node) []byte {
	d := w.dirs.All[n.data]
	parent := uint32(len(w.references)) + 1 // of the root, as mksquashfs has it
	if d.parent != nil {
		parent = w.nodes[d.parent.node].number
	}
	size := d.size + 3 // for "." and "..", which are not stored
	if size <= math.MaxUint16 && d.indexed == 0 && n.xattrs == noXattrs {
		b = n.header(b, typeDir)
		b = le.AppendUint32(b, uint32(d.start.block))
		b = le.AppendUint32(b, n.links)
		b = le.AppendUint16(b, uint16(size))
		b = le.AppendUint16(b, d.start.offset)
		return le.AppendUint32(b, parent)
	}
	b = n.header(b, typeDir+extended)
	b = le.AppendUint32(b, n.links)
	b = le.AppendUint32(b, size)
	b = le.AppendUint32(b, uint32(d.start.block))
	b = le.AppendUint32(b, parent)
	b = le.AppendUint16(b, uint16(d.indexed))
	b = le.AppendUint16(b, d.start.offset)
	return le.AppendUint32(b, n.xattrs)
}

// writeInode writes the inode of a node and notes where that is.
func (w *Writer) writeInode(n *node) {
	w.references[n.number-1] = w.inodes.pos().reference()
	w.scratch = w.encodeInode(w.scratch[:0], n)
	switch n.kind {
	case typeDir:
		d := w.dirs.All[n.data]
		w.scratch = append(w.scratch, d.index...)
		d.index = nil
	case typeFile:
		if f := &w.files[n.data]; f.run != noRun {
			r := w.pipe.runs[f.run]
			for _, size := range w.pipe.sizes[r.first:][:f.size/int64(w.opt.BlockSize)] {
				w.scratch = le.AppendUint32(w.scratch, size)
				if len(w.scratch) >= metadataSize {
					w.inodes.write(w.scratch)
					w.scratch = w.scratch[:0]
				}
			}
		}
	}
	w.inodes.write(w.scratch)
}
