package anatomy

import "fmt"

// guest is a disk whose blocks lie somewhere in an image.
type guest struct {
	view        // the image
	size, block int64
	unit        string // what the format calls a block
	// find tells where a block is. It must not trust its argument to be one
	// of the disk's.
	find  func(i int64) place
	cache [32]struct {
		number int64 // counted from 1; 0 is none
		data   []byte
	}
}

// place is where in an image a block is.
type place struct {
	off    int64 // 0 is nowhere: all zeros
	head   int64 // how many bytes in front of it are about it
	packed string
	length int64 // if packed
	skip   int64 // if nowhere: how many blocks from this one on are too, or 0
}

// valid tells whether blocks have a size that can be worked with.
func (g *guest) valid() bool { return g.block >= 512 && g.block <= 1<<30 && g.size >= 0 }

// disk returns a view of the disk.
func (g *guest) disk() view { return g.within(g, g.size) }

// ReadAt implements [io.ReaderAt] for reads of pages, whose multiples blocks are or
// which are multiples of blocks.
func (g *guest) ReadAt(b []byte, off int64) (int, error) {
	done := 0
	for done < len(b) && !g.spent() {
		at := off + int64(done)
		n := min(g.block-at%g.block, int64(len(b)-done))
		copy(b[done:], g.piece(at/g.block, at%g.block, n))
		done += int(n)
	}
	return done, nil
}

// piece returns n bytes of a block, or less.
func (g *guest) piece(i, from, n int64) []byte {
	p := g.find(i)
	switch {
	case p.off == 0:
		return zeros[:min(n, pageSize)]
	case p.packed == "":
		return g.bytes(p.off+from, n)
	}
	c := &g.cache[i%int64(len(g.cache))]
	if c.number != i+1 {
		c.number, c.data = i+1, g.unpack(p.packed, g.bytes(p.off, min(p.length, maxRead)), min(g.block, maxRead))
	}
	if from >= int64(len(c.data)) {
		return nil
	}
	return c.data[from:min(from+n, int64(len(c.data)))]
}

// owner says what block of the disk lies at an offset of the image, and what is in it;
// nothing if there is none.
func (g *guest) owner(off int64) string {
	count := (g.size + g.block - 1) / g.block
	found, in := int64(-1), place{}
	for i := int64(0); i < count && !g.spent(); i++ {
		p := g.find(i)
		if p.off == 0 {
			i += min(max(p.skip, 1), count-i) - 1
			continue
		}
		length := g.block
		if p.packed != "" {
			length = p.length
		}
		// The end of what is packed may be given in sectors that it shares.
		if off >= p.off-p.head && off < p.off+length && p.off > in.off {
			found, in = i, p
			if p.packed == "" {
				break
			}
		}
	}
	if found < 0 {
		return ""
	}
	pos := found * g.block
	switch {
	case off < in.off:
		return fmt.Sprintf("head of the %s of guest offset %d", g.unit, pos)
	case in.packed != "":
		return fmt.Sprintf("compressed %s of guest offset %d, which begins with %s", g.unit, pos, g.disk().at(pos))
	case pos+off-in.off >= g.size:
		return "behind the end of the disk"
	}
	pos += off - in.off
	return fmt.Sprintf("%s of guest offset %d: %s", g.unit, pos, g.disk().at(pos))
}
