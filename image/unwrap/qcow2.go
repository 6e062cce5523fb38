package unwrap

import (
	"errors"
	"fmt"
)

// qcow2: docs/interop/qcow2.rst of QEMU, whose names of features are below.

const (
	qcow2Place      = 0x00fffffffffffe00 // of an entry: where the cluster is
	qcow2Zero       = 1                  // of an entry since version 3: all zeros
	qcow2Compressed = 1 << 62
)

// qcow2Features are incompatible features that change how a disk is read.
var qcow2Features = []struct {
	bit  uint64
	says string
}{
	{1 << 1, "it is marked as corrupt: qemu-img check -r all repairs it"},
	{1 << 2, "its content is in another file"},
	{1 << 4, "it has extended entries (extended_l2): convert it with qemu-img convert -O qcow2"},
}

func (m *Image) openQcow2() error {
	h := make([]byte, 112)
	if err := m.read(h[:72], 0); err != nil {
		return err
	}
	version := be.Uint32(h[4:])
	packed := inflate
	if version == 3 {
		if err := m.read(h[:104], 0); err != nil {
			return err
		}
		features := be.Uint64(h[72:])
		for _, f := range qcow2Features {
			if features&f.bit != 0 {
				return errors.New(f.says)
			}
		}
		// The others: unclean counts, which are for writing, and the kind of
		// compression.
		if other := features &^ (1<<0 | 1<<3); other != 0 {
			return fmt.Errorf("unknown features %#x", other)
		}
		if features&(1<<3) != 0 {
			if err := m.read(h, 0); err != nil {
				return err
			}
			if h[104] != 1 {
				return fmt.Errorf("unknown compression %d", h[104])
			}
			packed = unzstd
		}
	}
	bits, l1, entries := be.Uint32(h[20:]), int64(be.Uint64(h[40:])), int64(be.Uint32(h[36:]))
	switch {
	case version != 2 && version != 3:
		return fmt.Errorf("version %d", version)
	case be.Uint64(h[8:]) != 0:
		return errors.New("it is a difference to a backing file: put both together with qemu-img convert -O qcow2")
	case be.Uint32(h[32:]) != 0:
		return errors.New("it is encrypted")
	case bits < 9 || bits > 21:
		return fmt.Errorf("clusters of 2^%d bytes", bits)
	}
	b := &blocks{Image: m, block: 1 << bits, unpack: packed}
	perTable := b.block / 8
	shift := 62 - (bits - 8)
	b.find = func(i int64) (place, error) {
		if i/perTable >= entries {
			return place{}, fmt.Errorf("the table of %d entries is too short", entries)
		}
		e, err := b.be64(l1 + i/perTable*8)
		table := int64(e & qcow2Place)
		if err != nil || table == 0 {
			return place{}, err
		}
		e, err = b.be64(table + i%perTable*8)
		switch {
		case err != nil:
			return place{}, err
		case e&qcow2Compressed != 0:
			at := int64(e & (1<<shift - 1))
			sectors := int64(e>>shift&(1<<(bits-8)-1)) + 1
			if at == 0 {
				return place{}, errors.New("a compressed cluster lies at 0")
			}
			return place{at, sectors*512 - at%512}, nil
		case version == 3 && e&qcow2Zero != 0:
			return place{}, nil
		}
		return place{off: int64(e & qcow2Place)}, nil
	}
	return m.use(b, int64(be.Uint64(h[24:])))
}
