package ext4

import "math/bits"

// totals are what the superblock says about all groups.
type totals struct {
	freeBlocks, freeInodes int64
}

// A bitmap is the block of bits of one group.
type bitmap []byte

func (g geometry) bitmap() bitmap { return make(bitmap, g.block()) }

// set sets the bits from one up to another. Bits outside of the bitmap count
// for nothing.
func (b bitmap) set(from, to int64) { b.fill(from, to, 0xff) }

func (b bitmap) clear(from, to int64) { b.fill(from, to, 0) }

func (b bitmap) fill(from, to int64, with byte) {
	from, to = max(from, 0), min(to, 8*int64(len(b)))
	for from < to {
		if from%8 == 0 && to-from >= 8 {
			b[from/8] = with
			from += 8
			continue
		}
		bit := byte(1) << (from % 8)
		b[from/8] = b[from/8]&^bit | with&bit
		from++
	}
}

func (b bitmap) zeros() int64 {
	n := 0
	for p := b; len(p) > 0; p = p[8:] {
		n += 64 - bits.OnesCount64(le.Uint64(p))
	}
	return int64(n)
}

// writeGroups writes the bitmaps and inode tables and returns the group
// descriptors ("Block Group Descriptors"). The bitmaps of groups that nothing
// uses are not written, but marked as not initialised; so that an image of much
// free space has few bytes.
func (w *Writer) writeGroups(l *layout) (descs []byte, t totals) {
	descs = make([]byte, l.descBlocks*l.block())
	desc := func(group int64) []byte { return descs[group*descSize:][:descSize] }
	c := w.out.place
	end := c.tables(l.groups, l.perGroup)

	for g := range l.groups {
		d, at := desc(g), c.take(1)
		le.PutUint32(d[0x00:], uint32(at))
		b, unused := blockBitmap(g, l, &end)
		free := b.zeros()
		t.freeBlocks += free
		le.PutUint16(d[0x0c:], uint16(free))
		if unused {
			d[0x12] |= groupNoBlocks
			continue
		}
		w.out.put(at, b)
		sum := crc32c(w.seed, b)
		le.PutUint16(d[0x18:], uint16(sum))
		le.PutUint16(d[0x38:], uint16(sum>>16))
	}
	for g := range l.groups {
		d, at := desc(g), c.take(1)
		le.PutUint32(d[0x04:], uint32(at))
		used := min(max(w.inodes.len()-g*l.perGroup, 0), l.perGroup)
		t.freeInodes += l.perGroup - used
		le.PutUint16(d[0x0e:], uint16(l.perGroup-used))
		le.PutUint16(d[0x1c:], uint16(l.perGroup-used)) // never used, at the end
		d[0x12] |= groupZeroed
		if used == 0 {
			d[0x12] |= groupNoInodes
			continue
		}
		b := l.bitmap()
		b.set(0, used)
		b.set(l.perGroup, l.groupBlocks())
		w.out.put(at, b)
		sum := crc32c(w.seed, b[:l.perGroup/8])
		le.PutUint16(d[0x1a:], uint16(sum))
		le.PutUint16(d[0x3a:], uint16(sum>>16))
	}
	for g := range l.groups {
		at := c.take(l.perGroup / l.inodesPerBlock())
		le.PutUint32(desc(g)[0x08:], uint32(at))
		w.writeInodes(at, g*l.perGroup, l.perGroup)
	}
	for _, dir := range w.dirs.All {
		d := desc(int64(dir.number-1) / l.perGroup)
		le.PutUint16(d[0x10:], le.Uint16(d[0x10:])+1)
	}
	for g := range l.groups {
		d := desc(g)
		var number [4]byte
		le.PutUint32(number[:], uint32(g))
		le.PutUint16(d[0x1e:], uint16(crc32c(crc32c(w.seed, number[:]), d)))
	}
	return descs, t
}

// blockBitmap returns which blocks of a group are in use, given where the last
// table ends, and whether that is none but the group's front.
func blockBitmap(g int64, l *layout, end *cursor) (b bitmap, unused bool) {
	b = l.bitmap()
	first := l.start(g)
	b.set(0, end.next-first)
	for _, gap := range end.gaps {
		b.clear(gap[0]-first, gap[1]-first)
	}
	if hasCopy(g) {
		b.set(0, end.reserved)
	}
	b.set(l.blocks-first, l.groupBlocks()) // beyond the end
	return b, first >= end.next && g < l.groups-1
}

// writeInodes writes the inode table of a group, that is its inodes after the
// first ones up to count, as far as there are any.
func (w *Writer) writeInodes(at, first, count int64) {
	last := min(first+count, w.inodes.len())
	for ; first < last; first += w.inodesPerBlock() {
		var b [maxBlockSize]byte
		for k := range min(w.inodesPerBlock(), last-first) {
			number := uint32(first + k + 1)
			i := w.inodes.at(number)
			body := ""
			if i.body > 0 {
				body = w.bodies[i.body-1]
			}
			i.encode(b[k*inodeSize:][:inodeSize], uint64(w.block()/512), w.seed, number, body)
		}
		w.out.put(at, b[:w.block()])
		at++
	}
}
