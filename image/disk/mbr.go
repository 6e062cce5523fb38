package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

const (
	// mbrSlots is how many partitions an MBR has.
	mbrSlots       = 4
	mbrSize        = 512
	typeProtective = 0xee
)

// describeMBR adds what an MBR says of a partition that stands in it.
func (w *Writer) describeMBR(p *Partition, q *part) error {
	switch {
	case w.table == GPT && p.InMBR:
		return errors.New("it is to stand in the MBR, and the table is no hybrid one")
	case w.table != MBR && !p.InMBR:
		return nil
	}
	if q.MBRType = p.MBRType; q.MBRType == 0 {
		q.MBRType = p.Type.MBRType()
	}
	beside, active := 0, false
	for _, o := range w.parts {
		if o.MBRType != 0 {
			beside++
			active = active || o.attributes&AttrLegacyBoot != 0
		}
	}
	switch {
	case w.table == Hybrid && beside == mbrSlots-1:
		return fmt.Errorf("the MBR beside a GPT has %d partitions", mbrSlots-1)
	case q.MBRType == 0 || q.MBRType == typeProtective:
		return fmt.Errorf("its type in an MBR is missing or %#x", typeProtective)
	case w.table == MBR && q.attributes&^AttrLegacyBoot != 0:
		return fmt.Errorf("an MBR holds no attributes %#x", q.attributes&^AttrLegacyBoot)
	case active && q.attributes&AttrLegacyBoot != 0:
		return errors.New("a partition before it is the one that a BIOS boots")
	}
	return nil
}

// writeMBR writes the first sector but for the code in it: the table of an MBR, or one
// that tells tools that know no GPT that the disk is full (UEFI 2.10, section
// 5.2.3), up to its first partition if some stand in it.
func (w *Writer) writeMBR() error {
	b := make([]byte, mbrSize-CodeSize)
	binary.LittleEndian.PutUint32(b, w.signature)
	slots := b[446-CodeSize:]
	if w.table != MBR {
		end := w.size
		for _, p := range w.parts {
			if p.MBRType != 0 {
				end = min(end, p.Start)
			}
		}
		protect(slots, end/w.sector)
		slots = slots[16:]
	}
	next := 0
	for _, p := range w.parts {
		if w.table == MBR {
			next = p.Number - 1
		}
		if p.MBRType != 0 {
			w.slot(slots[16*next:], p)
			next++
		}
	}
	b[510-CodeSize], b[511-CodeSize] = 0x55, 0xaa
	_, err := w.out.WriteAt(b, CodeSize)
	return err
}

// protect fills in a slot for all from sector 1 up to an end.
func protect(b []byte, end int64) {
	b[2] = 2 // start: cylinder 0, head 0, sector 2
	b[4] = typeProtective
	b[5], b[6], b[7] = 0xff, 0xff, 0xff // end: beyond what these three can tell
	binary.LittleEndian.PutUint32(b[8:], 1)
	binary.LittleEndian.PutUint32(b[12:], uint32(min(end-1, math.MaxUint32)))
}

// slot fills in the slot of a partition.
func (w *Writer) slot(b []byte, p *part) {
	if p.attributes&AttrLegacyBoot != 0 {
		b[0] = 0x80
	}
	start, end := p.Start/w.sector, p.End/w.sector
	b[1], b[2], b[3] = chs(start)
	b[4] = p.MBRType
	b[5], b[6], b[7] = chs(end - 1)
	binary.LittleEndian.PutUint32(b[8:], uint32(start))
	binary.LittleEndian.PutUint32(b[12:], uint32(end-start))
}

// chs returns a sector's number as head, sector and cylinder of a disk with 255 heads
// of 63 sectors, or the last one that these can tell.
func chs(n int64) (head, sector, cylinder byte) {
	const heads, sectors, cylinders = 255, 63, 1024
	n = min(n, heads*sectors*cylinders-1)
	c := n / (heads * sectors)
	return byte(n / sectors % heads), byte(n%sectors+1) | byte(c>>8)<<6, byte(c)
}
