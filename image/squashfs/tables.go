package squashfs

import (
	"errors"
	"math/bits"
)

// finish writes all that comes behind the contents of files, in the order that
// readers insist on, without gaps ("Overview").
func (w *Writer) finish() error {
	if len(w.dirs.All) == 0 {
		return errors.New("squashfs: no root directory was added")
	}
	s := superblock{
		time:      uint32(w.opt.Time),
		blockSize: uint32(w.opt.BlockSize),
		blockLog:  uint16(bits.TrailingZeros(uint(w.opt.BlockSize))),
		fragments: uint32(len(w.pipe.fragments)),
		ids:       uint16(len(w.ids)),
		flags:     flagAllFragments | flagDuplicates | flagExport,
	}
	s.compressor = compressions[w.opt.Compression].id
	options := w.opt.compressorOptions()
	if len(options) > 0 {
		s.flags |= flagOptions
	}
	if w.opt.Compression == None {
		s.flags |= flagPlainInodes | flagPlainData | flagPlainFragments | flagPlainXattrs | flagPlainIDs
	}

	s.inodeTable = w.place()
	if err := w.writeDirs(); err != nil {
		return err
	}
	w.inodes.flush()
	s.inodes = uint32(len(w.references))
	s.root = w.references[s.inodes-1]

	s.dirTable = w.place()
	w.listing.flush()
	w.out.write(w.listing.data)

	s.fragTable = w.writeTable(len(w.pipe.fragments), nil, func(b []byte, i int) []byte {
		f := w.pipe.fragments[i]
		return le.AppendUint64(le.AppendUint64(b, uint64(f.start)), uint64(f.size))
	})
	s.exportTable = w.writeTable(len(w.references), nil, func(b []byte, i int) []byte {
		return le.AppendUint64(b, w.references[i])
	})
	s.idTable = w.writeTable(len(w.ids), nil, func(b []byte, i int) []byte {
		return le.AppendUint32(b, w.ids[i])
	})
	s.xattrTable = w.writeXattrs()

	s.used = w.place()
	if err := w.inodes.enc.err; err != nil {
		return err
	}
	size := w.out.finish(imageUnit)
	if w.out.err != nil {
		return w.out.err
	}
	if _, err := w.out.w.WriteAt(append(s.encode(), options...), 0); err != nil {
		return err
	}
	w.size = size
	return nil
}

// place returns where the next byte goes, as the superblock says it.
func (w *Writer) place() uint64 { return uint64(w.out.pos()) }

// writeTable writes a lookup table of n records: metadata blocks, and then an
// array of where these begin, with a header in front of it. It returns where
// the latter is ("Storing Lookup Tables"). The size of a record divides that of
// a metadata block.
func (w *Writer) writeTable(n int, header []byte, record func(b []byte, i int) []byte) uint64 {
	blocks := header
	m := metadata{enc: w.inodes.enc, emit: w.out.write}
	for i := range n {
		if len(m.pending) == 0 {
			blocks = le.AppendUint64(blocks, w.place())
		}
		w.scratch = record(w.scratch[:0], i)
		m.write(w.scratch)
	}
	m.flush()
	start := w.place()
	w.out.write(blocks)
	return start
}

// writeXattrs writes the extended attributes and the table of their sets
// ("Extended Attribute Table").
func (w *Writer) writeXattrs() uint64 {
	t := &w.xattrs
	if len(t.sets) == 0 {
		return none
	}
	header := le.AppendUint64(nil, w.place())
	header = le.AppendUint64(header, uint64(len(t.sets)))
	t.pairs.flush()
	w.out.write(t.pairs.data)
	return w.writeTable(len(t.sets), header, func(b []byte, i int) []byte {
		s := t.sets[i]
		b = le.AppendUint64(b, s.start.reference())
		return le.AppendUint32(le.AppendUint32(b, s.count), s.size)
	})
}
