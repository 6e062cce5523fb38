package unwrap

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
)

// VHDX: Microsoft's [MS-VHDX], whose sections comments name.

// GUIDs as they are in the file.
const (
	vhdxTable    = "\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08"
	vhdxMetadata = "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e"
	vhdxFile     = "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b"
	vhdxSize     = "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8"
	vhdxSector   = "\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// vhdxPart reads a structure of which there are two, and checks it.
func (m *Image) vhdxPart(off, size int64, magic string) ([]byte, error) {
	b := make([]byte, size)
	if err := m.read(b, off); err != nil {
		return nil, err
	}
	sum := le.Uint32(b[4:])
	clear(b[4:8])
	if !bytes.HasPrefix(b, []byte(magic)) || crc32.Checksum(b, castagnoli) != sum {
		return nil, errors.New("its headers are damaged")
	}
	return b, nil
}

func (m *Image) openVHDX() error {
	const kib = 1 << 10
	// 2.2.2: the one with the higher number counts.
	h, err := m.vhdxPart(64*kib, 4*kib, "head")
	if second, err2 := m.vhdxPart(128*kib, 4*kib, "head"); err2 == nil && (err != nil || le.Uint64(second[8:]) > le.Uint64(h[8:])) {
		h, err = second, nil
	}
	if err != nil {
		return err
	}
	if [16]byte(h[48:]) != [16]byte{} {
		return errors.New("it was not closed cleanly, and has a log: qemu-img check -r all replays it")
	}
	r, err := m.vhdxPart(192*kib, 64*kib, "regi") // 2.2.3
	if err != nil {
		if r, err = m.vhdxPart(256*kib, 64*kib, "regi"); err != nil {
			return err
		}
	}
	var table, tableSize, metadata int64
	for i := range min(int64(le.Uint32(r[8:])), 2047) {
		e := r[16+32*i:]
		switch string(e[:16]) {
		case vhdxTable:
			table, tableSize = int64(le.Uint64(e[16:])), int64(le.Uint32(e[24:]))
		case vhdxMetadata:
			metadata = int64(le.Uint64(e[16:]))
		default:
			if le.Uint32(e[28:])&1 != 0 {
				return errors.New("it has a region that must be known, and is not")
			}
		}
	}
	if table == 0 || metadata == 0 {
		return errors.New("it has no table of blocks, or no metadata")
	}
	if table < 0 || table > m.length-tableSize {
		return errors.New("it is cut off")
	}
	size, block, sector, err := m.vhdxItems(metadata)
	if err != nil {
		return err
	}
	if sector != 512 && sector != 4096 || block == 0 || block%(1<<20) != 0 || block > sector<<23 {
		return fmt.Errorf("blocks of %d bytes, sectors of %d", block, sector)
	}
	chunk := sector << 23 / block // 2.5
	b := &blocks{Image: m, block: block}
	b.find = func(i int64) (place, error) {
		at := 8 * (i + i/chunk)
		if at >= tableSize {
			return place{}, fmt.Errorf("the table of %d bytes is too short", tableSize)
		}
		e, err := b.le64(table + at)
		if err != nil {
			return place{}, err
		}
		switch e & 7 { // 2.5.1.1
		case 0, 1, 2, 3:
			return place{}, nil
		case 6:
			if at := int64(e >> 20 << 20); at > 0 {
				return place{off: at}, nil
			}
		}
		return place{}, fmt.Errorf("a block is of the unknown kind %#x", e)
	}
	return m.use(b, size)
}

// vhdxItems reads the metadata (2.6).
func (m *Image) vhdxItems(metadata int64) (size, block, sector int64, err error) {
	t := make([]byte, 64<<10)
	if err := m.read(t, metadata); err != nil {
		return 0, 0, 0, err
	}
	if !bytes.HasPrefix(t, []byte("metadata")) {
		return 0, 0, 0, errors.New("its metadata is damaged")
	}
	for i := range min(int64(le.Uint16(t[10:])), 2047) {
		e := t[32+32*i:]
		var v [8]byte
		n := 8
		id := string(e[:16])
		switch id {
		case vhdxSector:
			n = 4
		case vhdxFile, vhdxSize:
		default:
			continue
		}
		if err := m.read(v[:n], metadata+int64(le.Uint32(e[16:]))); err != nil {
			return 0, 0, 0, err
		}
		switch id {
		case vhdxFile:
			if block = int64(le.Uint32(v[:])); le.Uint32(v[4:])&2 != 0 {
				return 0, 0, 0, errors.New("it is a difference to a parent: merge them first")
			}
		case vhdxSize:
			size = int64(le.Uint64(v[:]))
		case vhdxSector:
			sector = int64(le.Uint32(v[:]))
		}
	}
	return size, block, sector, nil
}
