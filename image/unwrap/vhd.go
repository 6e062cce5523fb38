package unwrap

import (
	"bytes"
	"errors"
	"fmt"
)

// VHD: Microsoft's "Virtual Hard Disk Image Format Specification", version 1.0.

const vhdFooter = 512 // bytes

// vhdSum is the checksum of a footer or a header, at different places in them.
func vhdSum(b []byte) uint32 {
	at := 64
	if len(b) == 1024 {
		at = 36
	}
	var sum uint32
	for i, c := range b {
		if i < at || i >= at+4 {
			sum += uint32(c)
		}
	}
	return ^sum
}

// openVHD opens a fixed or a dynamic one. The latter begins with a copy of the footer.
func (m *Image) openVHD(head []byte) error {
	if m.length < 2*vhdFooter {
		return errors.New("it is cut off")
	}
	f := make([]byte, vhdFooter)
	if err := m.read(f, m.length-vhdFooter); err != nil {
		return err
	}
	if !bytes.HasPrefix(f, []byte("conectix")) || vhdSum(f) != be.Uint32(f[64:]) {
		return errors.New("its footer is missing or damaged: it may be cut off")
	}
	size := int64(be.Uint64(f[48:]))
	switch kind := be.Uint32(f[60:]); kind {
	case 2:
		if size > m.length-vhdFooter {
			return fmt.Errorf("a disk of %d bytes in a file of %d: it is cut off", size, m.length)
		}
		m.disk, m.plain, m.size = m.file, true, size
		return nil
	case 3:
	case 4:
		return errors.New("it is a difference to a parent: merge them first")
	default:
		return fmt.Errorf("unknown type %d", kind)
	}
	h := make([]byte, 1024)
	if err := m.read(h, int64(be.Uint64(f[16:]))); err != nil {
		return err
	}
	if !bytes.HasPrefix(h, []byte("cxsparse")) || vhdSum(h) != be.Uint32(h[36:]) {
		return errors.New("its header is damaged")
	}
	table, entries := int64(be.Uint64(h[16:])), int64(be.Uint32(h[28:]))
	b := &blocks{Image: m, block: int64(be.Uint32(h[32:]))}
	if b.block%512 != 0 {
		return fmt.Errorf("blocks of %d bytes", b.block)
	}
	// A bitmap of its sectors is in front of each block. Those that are not in
	// the image are zeros in it.
	bitmap := (b.block/512/8 + 511) / 512 * 512
	b.find = func(i int64) (place, error) {
		if i >= entries {
			return place{}, fmt.Errorf("the table of %d entries is too short", entries)
		}
		e, err := b.be32(table + i*4)
		if err != nil || e == 0xffffffff {
			return place{}, err
		}
		return place{off: e*512 + bitmap}, nil
	}
	return m.use(b, size)
}
