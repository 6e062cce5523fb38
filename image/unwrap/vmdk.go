package unwrap

import (
	"bytes"
	"errors"
	"fmt"
)

// VMDK: VMware's "Virtual Disk Format 5.0", sections on hosted sparse extents and
// stream-optimized ones.

func (m *Image) openVMDK() error {
	const sector = 512
	h := make([]byte, sector)
	if err := m.read(h, 0); err != nil {
		return err
	}
	if at, size := le.Uint64(h[28:]), le.Uint64(h[36:]); at > 0 && at < 1<<20 && size < 1<<11 {
		text := make([]byte, size*sector)
		if err := m.read(text, int64(at)*sector); err != nil {
			return err
		}
		switch {
		case !bytes.Contains(text, []byte("parentCID=ffffffff")):
			return errors.New("it is a difference to a parent: merge them first")
		case bytes.Count(text, []byte("\nRW ")) != 1:
			return errors.New("its content is in several files: convert it with qemu-img convert -O qcow2")
		}
	}
	if le.Uint64(h[56:]) == 1<<64-1 { // the footer says it
		if m.length < 3*sector {
			return errors.New("it is cut off")
		}
		if err := m.read(h, m.length-2*sector); err != nil {
			return err
		}
		if !bytes.HasPrefix(h, []byte("KDMV")) || le.Uint64(h[56:]) == 1<<64-1 {
			return errors.New("its footer is missing: it may be cut off")
		}
	}
	version, flags, compression := le.Uint32(h[4:]), le.Uint32(h[8:]), le.Uint16(h[77:])
	capacity, grain, directory := le.Uint64(h[12:]), le.Uint64(h[20:]), le.Uint64(h[56:])
	entries := int64(le.Uint32(h[44:]))
	packed := flags&(1<<16) != 0
	switch {
	case version < 1 || version > 3:
		return fmt.Errorf("version %d", version)
	case packed && compression != 1:
		return fmt.Errorf("unknown compression %d", compression)
	case capacity > 1<<51 || directory > 1<<51 || grain == 0 || grain > maxBlock/sector || entries == 0 || entries > 1<<20:
		return fmt.Errorf("%d sectors in grains of %d, %d in a table", capacity, grain, entries)
	}
	b := &blocks{Image: m, block: int64(grain) * sector}
	if packed {
		b.unpack = unzlib
	}
	b.find = func(i int64) (place, error) {
		table, err := b.le32(int64(directory)*sector + i/entries*4)
		if err != nil || table == 0 {
			return place{}, err
		}
		e, err := b.le32(table*sector + i%entries*4)
		if err != nil || e <= 1 { // 1 stands for zeros
			return place{}, err
		}
		if !packed {
			return place{off: e * sector}, nil
		}
		// The grain's sector and length are in front of it.
		lba, err := b.le64(e * sector)
		if err == nil && lba != uint64(i)*grain {
			err = fmt.Errorf("the grain of sector %d is that of sector %d", uint64(i)*grain, lba)
		}
		if err != nil {
			return place{}, err
		}
		n, err := b.le32(e*sector + 8)
		if err == nil && n == 0 {
			err = errors.New("a grain of no bytes")
		}
		return place{e*sector + 12, n}, err
	}
	return m.use(b, int64(capacity)*sector)
}
