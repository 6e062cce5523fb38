package iso

import (
	"encoding/binary"
	"strings"

	"thaw/rootfs"
)

var le, be = binary.LittleEndian, binary.BigEndian

// both appends a number as both kinds of machines have it (ECMA-119, section 7.3.3).
func both(b []byte, v uint32) []byte { return be.AppendUint32(le.AppendUint32(b, v), v) }

// both16 does that for 16 bits (section 7.2.3).
func both16(b []byte, v uint16) []byte { return be.AppendUint16(le.AppendUint16(b, v), v) }

// Flags of records (ECMA-119, section 9.1.6).
const (
	flagDir  = 1 << 1
	flagMore = 1 << 7 // another extent follows
)

const (
	recordSize = 33
	maxRecord  = 254 // which is even
	ceSize     = 28
	maxEntry   = 250 // bytes of an entry of the system use area
)

// A listing is a directory being written: records, and behind their sectors what did
// not fit into them.
type listing struct {
	records, more []byte
	start         uint32 // sector of more
}

func (l *listing) reset(d *dir) {
	l.records, l.more = l.records[:0], l.more[:0]
	l.start = d.sector + d.sectors
}

// add appends a record (ECMA-119, section 9.1) with its system use area.
func (l *listing) add(id string, when date, at extent, flags byte, su [][]byte) {
	base := (recordSize + len(id) + 1) &^ 1
	inline, rest := split(su, maxRecord-base)
	if len(rest) > 0 {
		inline = append(inline[:len(inline):len(inline)], l.proceed(rest))
	}
	size := base
	for _, e := range inline {
		size += len(e)
	}
	size = (size + 1) &^ 1
	if len(l.records)%sectorSize+size > sectorSize {
		l.records = pad(l.records)
	}
	end := len(l.records) + size
	b := append(l.records, byte(size), 0)
	b = both(b, at.sector)
	b = both(b, uint32(at.size))
	b = append(b, when[:]...)
	b = append(b, flags, 0, 0)
	b = both16(b, 1) // the volume's number
	b = append(b, byte(len(id)))
	b = append(b, id...)
	if len(id)%2 == 0 {
		b = append(b, 0)
	}
	for _, e := range inline {
		b = append(b, e...)
	}
	l.records = append(b, make([]byte, end-len(b))...)
}

// split parts entries in those that fit into room, with a CE to the others if there
// are any, and these.
func split(su [][]byte, room int) (fit, rest [][]byte) {
	total := 0
	for _, e := range su {
		total += len(e)
	}
	if total <= room {
		return su, nil
	}
	sum, n := ceSize, 0
	for ; n < len(su) && sum+len(su[n]) <= room; n++ {
		sum += len(su[n])
	}
	return su[:n], su[n:]
}

// proceed puts entries into a continuation area, which lies in one sector, and
// returns the CE that leads there (SUSP, section 5.1).
func (l *listing) proceed(su [][]byte) []byte {
	room := sectorSize - len(l.more)%sectorSize
	fit, rest := split(su, room)
	if len(rest) > 0 && room < sectorSize { // as few areas as can be
		l.more = pad(l.more)
		fit, rest = split(su, sectorSize)
	}
	from := len(l.more)
	for _, e := range fit {
		l.more = append(l.more, e...)
	}
	if len(rest) > 0 {
		at := len(l.more)
		l.more = append(l.more, make([]byte, ceSize)...)
		size := len(l.more) - from
		ce := l.proceed(rest)
		copy(l.more[at:], ce)
		return l.ce(from, size)
	}
	return l.ce(from, len(l.more)-from)
}

func (l *listing) ce(from, size int) []byte {
	b := header("CE", ceSize)
	b = both(b, l.start+uint32(from/sectorSize))
	b = both(b, uint32(from%sectorSize))
	return both(b, uint32(size))
}

func pad(b []byte) []byte { return append(b, make([]byte, -len(b)&(sectorSize-1))...) }

// header begins an entry of the system use area (SUSP, section 4.1).
func header(sign string, size int) []byte {
	return append(make([]byte, 0, size), sign[0], sign[1], byte(size), 1)
}

// useSharing is the first entry of all (SUSP, section 5.3).
var useSharing = append(header("SP", 7), 0xbe, 0xef, 0)

// extensions says that there is Rock Ridge (RRIP, section 4.3).
var extensions = extensionsReference("IEEE_P1282",
	"THE IEEE P1282 PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS",
	"PLEASE CONTACT THE IEEE STANDARDS DEPARTMENT, PISCATAWAY, NJ, USA FOR THE P1282 SPECIFICATION")

func extensionsReference(id, description, source string) []byte {
	b := header("ER", 8+len(id)+len(description)+len(source))
	b = append(b, byte(len(id)), byte(len(description)), byte(len(source)), 1)
	return append(b, id+description+source...)
}

// attributes are the entries of every node: PX, TF and for devices PN (RRIP, sections
// 4.1.1, 4.1.6 and 4.1.2).
func attributes(number uint32, n *node) [][]byte {
	px := header("PX", 44)
	for _, v := range []uint32{uint32(n.mode), n.links, n.uid, n.gid, number + 1} {
		px = both(px, v)
	}
	const modified = 1 << 1
	tf := append(header("TF", 12), modified)
	tf = append(tf, n.date[:]...)
	all := make([][]byte, 0, 8)
	all = append(all, px, tf)
	if kind := n.kind(); kind == modeChar || kind == modeBlk {
		all = append(all, device(uint64(n.size)))
	}
	return all
}

// device is the entry of a device's number. Readers have two ways to understand it;
// where they can, both come to the same.
func device(dev uint64) []byte {
	high, low := rootfs.Major(dev), rootfs.Minor(dev)
	if high > 0 && low <= 0xff {
		high, low = 0, high<<8|low
	}
	return both(both(header("PN", 20), high), low)
}

// Flags of NM, SL and its components (RRIP, sections 4.1.4 and 4.1.3).
const (
	flagContinue = 1 << 0
	flagCurrent  = 1 << 1
	flagParent   = 1 << 2
	flagRoot     = 1 << 3
)

// nameEntries are the entries of a name.
func nameEntries(name string) (all [][]byte) {
	for more := true; more; {
		const most = maxEntry - 5
		part, flags := name, byte(0)
		if more = len(name) > most; more {
			part, flags = name[:most], flagContinue
		}
		name = name[len(part):]
		nm := append(header("NM", 5+len(part)), flags)
		all = append(all, append(nm, part...))
	}
	return all
}

// links are the entries of a link's target.
func links(target string) (all [][]byte) {
	sl := []byte(nil)
	flush := func(flags byte) {
		all = append(all, append(append(header("SL", 5+len(sl)), flags), sl...))
		sl = nil
	}
	if rest, ok := strings.CutPrefix(target, "/"); ok {
		sl = append(sl, flagRoot, 0)
		if target = rest; target == "" {
			flush(0)
			return all
		}
	}
	for part := range strings.SplitSeq(target, "/") {
		flags := byte(0)
		switch part {
		case ".":
			flags, part = flagCurrent, ""
		case "..":
			flags, part = flagParent, ""
		}
		for more := true; more; {
			if len(sl)+3 > maxEntry-5 {
				flush(flagContinue)
			}
			text := part[:min(len(part), maxEntry-5-len(sl)-2)]
			part = part[len(text):]
			if more = part != ""; more {
				sl = append(sl, flagContinue, byte(len(text)))
			} else {
				sl = append(sl, flags, byte(len(text)))
			}
			sl = append(sl, text...)
		}
	}
	flush(0)
	return all
}
