package unwrap

import (
	"errors"
	"fmt"
)

// VDI: VDICore.h of VirtualBox, whose names are in the comments.

const vdiMagic = 0xbeda107f

func (m *Image) openVDI() error {
	h := make([]byte, 512)
	if err := m.read(h, 0); err != nil {
		return err
	}
	switch kind := le.Uint32(h[76:]); {
	case le.Uint32(h[68:]) != 1<<16|1:
		return fmt.Errorf("version %#x", le.Uint32(h[68:]))
	case kind != 1 && kind != 2: // dynamic and fixed
		return errors.New("it is a difference to another image: clone it first")
	case [16]byte(h[424:]) != [16]byte{}: // uuidLinkage
		return errors.New("it is a snapshot of another image: clone it first")
	case le.Uint32(h[380:]) != 0: // cbBlockExtra
		return errors.New("its blocks have data in front of them")
	}
	table, data, count := int64(le.Uint32(h[340:])), int64(le.Uint32(h[344:])), int64(le.Uint32(h[384:]))
	b := &blocks{Image: m, block: int64(le.Uint32(h[376:]))}
	b.find = func(i int64) (place, error) {
		if i >= count {
			return place{}, fmt.Errorf("the table of %d entries is too short", count)
		}
		e, err := b.le32(table + i*4)
		if err != nil || e >= 0xfffffffe { // free, and zeros
			return place{}, err
		}
		if data == 0 {
			return place{}, errors.New("blocks lie at 0")
		}
		return place{off: data + e*b.block}, nil
	}
	return m.use(b, int64(le.Uint64(h[368:])))
}
