package erofs

const (
	// maxOpen is how many blocks of inodes are kept open, for one that just fits.
	maxOpen = 64
	// maxRun is how many blocks are set aside for inodes at a time, so that
	// they lie closer together than one between any two files.
	maxRun = 16
)

// A metaWriter places inodes, each with what follows it in one piece: extended
// attributes, the end of the contents, an index. Data that follow an inode must
// not cross the border of a block, so no piece does that fits into one.
type metaWriter struct {
	out   *blockWriter
	open  []openBlock // in the order in which they were opened
	spare []*[blockSize]byte
	next  int64 // the first block that was set aside and is not in use
	end   int64 // behind the last one
	run   int64 // how many are set aside next
}

type openBlock struct {
	buf   *[blockSize]byte
	block int64
	used  int
}

// put places a piece and returns where it begins, in bytes.
func (m *metaWriter) put(piece []byte) (off int64) {
	if len(piece) > blockSize {
		return m.putLong(piece)
	}
	best := -1
	for i := range m.open {
		if o := &m.open[i]; o.used+len(piece) <= blockSize && (best < 0 || o.used > m.open[best].used) {
			best = i
		}
	}
	if best < 0 {
		best = m.openBlock(m.takeBlock())
	}
	o := &m.open[best]
	off = o.block*blockSize + int64(o.used)
	copy(o.buf[o.used:], piece)
	o.used = roundUp(o.used+len(piece), slotSize)
	if o.used == blockSize {
		m.close(best)
	}
	return off
}

// putLong places a piece of more than a block in blocks of its own. The last
// one has room for others.
func (m *metaWriter) putLong(piece []byte) (off int64) {
	whole, rest := len(piece)/blockSize, len(piece)%blockSize
	block := m.out.take(ceilDiv(int64(len(piece)), blockSize))
	off = block * blockSize
	m.out.writeAt(piece[:whole*blockSize], off)
	if rest > 0 {
		i := m.openBlock(block + int64(whole))
		copy(m.open[i].buf[:], piece[whole*blockSize:])
		m.open[i].used = roundUp(rest, slotSize)
	}
	return off
}

// takeBlock returns a block for inodes.
func (m *metaWriter) takeBlock() int64 {
	if m.next == m.end {
		m.run = min(max(1, 2*m.run), maxRun)
		m.next = m.out.take(m.run)
		m.end = m.next + m.run
	}
	m.next++
	return m.next - 1
}

// openBlock adds a block to those that are open, in place of the fullest where
// they are too many, and returns its number among them.
func (m *metaWriter) openBlock(block int64) int {
	if len(m.open) == maxOpen {
		fullest := 0
		for i := range m.open {
			if m.open[i].used > m.open[fullest].used {
				fullest = i
			}
		}
		m.close(fullest)
	}
	if len(m.spare) == 0 {
		m.spare = append(m.spare, new([blockSize]byte))
	}
	last := len(m.spare) - 1
	m.open = append(m.open, openBlock{buf: m.spare[last], block: block})
	m.spare = m.spare[:last]
	return len(m.open) - 1
}

// close writes an open block.
func (m *metaWriter) close(i int) {
	o := m.open[i]
	m.out.writeAt(o.buf[:], o.block*blockSize)
	clear(o.buf[:])
	m.spare = append(m.spare, o.buf)
	m.open = append(m.open[:i], m.open[i+1:]...)
}

// finish writes all that is open. Blocks that were set aside and are not
// needed go back, or are left as zeros where others follow them.
func (m *metaWriter) finish() {
	for len(m.open) > 0 {
		m.close(0)
	}
	if m.end == m.out.next {
		m.out.next = m.next
	}
	for ; m.next < min(m.end, m.out.next); m.next++ {
		m.out.writeAt(zeroBlock[:], m.next*blockSize)
	}
	m.end = m.next
}
