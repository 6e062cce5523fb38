package squashfs

// metadata is a stream of records in metadata blocks of 8 KiB, compressed one
// by one ("Packing Metadata").
type metadata struct {
	enc     *metadataEncoder
	emit    func([]byte) // takes what is finished; if nil, data does
	data    []byte
	done    int64 // bytes finished
	pending []byte
}

// A metadataEncoder is what all streams of metadata share. Its error is sticky.
type metadataEncoder struct {
	encoder
	buf []byte
	err error
}

// A position is a place in a stream of metadata. It is known before the block
// that it lies in is finished.
type position struct {
	block  int64  // where the block begins, in bytes from the stream's beginning
	offset uint16 // in the block, when that is not compressed
}

// reference returns the position as tables have it.
func (p position) reference() uint64 { return uint64(p.block)<<16 | uint64(p.offset) }

// pos returns where the next record goes.
func (m *metadata) pos() position { return position{m.done, uint16(len(m.pending))} }

func (m *metadata) write(record []byte) {
	for len(record) > 0 {
		n := min(len(record), metadataSize-len(m.pending))
		m.pending = append(m.pending, record[:n]...)
		record = record[n:]
		if len(m.pending) == metadataSize {
			m.flush()
		}
	}
}

// flush finishes the block that is pending, if there is one.
func (m *metadata) flush() {
	if len(m.pending) == 0 {
		return
	}
	stored, err := m.enc.encode(m.enc.buf, m.pending)
	if err != nil {
		m.enc.err = err
	}
	header := uint16(len(stored))
	if len(stored) < len(m.pending) {
		m.enc.buf = stored
	} else {
		stored, header = m.pending, uint16(len(m.pending))|metadataPlain
	}
	m.put(le.AppendUint16(nil, header))
	m.put(stored)
	m.pending = m.pending[:0]
}

func (m *metadata) put(p []byte) {
	m.done += int64(len(p))
	if m.emit != nil {
		m.emit(p)
	} else {
		m.data = append(m.data, p...)
	}
}
