package anatomy

import (
	"fmt"
	"strconv"
	"unicode/utf16"
)

// Partition tables: UEFI 2.10, section 5.

func isGPT(v view) bool { return v.has(512, "EFI PART") || v.has(4096, "EFI PART") }

// isMBR looks at the types, too: many other things end a sector like that.
func isMBR(v view) bool {
	if !v.has(510, "\x55\xaa") {
		return false
	}
	some := false
	for slot := int64(446); slot < 510; slot += 16 {
		if active := v.u8(slot); active != 0 && active != 0x80 {
			return false
		}
		some = some || v.u8(slot+4) != 0 && v.u32(slot+12) != 0
	}
	return some
}

// partition is what a table says of one: its place in bytes.
type partition struct {
	number     int64
	name       string
	start, end int64
}

var gptHeader = []field{
	{0, "signature"}, {8, "revision"}, {12, "header size"}, {16, "header checksum"}, {20, "reserved"},
	{24, "own sector"}, {32, "sector of the other header"}, {40, "first usable sector"}, {48, "last usable sector"},
	{56, "GUID of the disk"}, {72, "sector of the entries"}, {80, "number of entries"}, {84, "size of an entry"},
	{88, "checksum of the entries"}, {92, "rest of the sector"},
}

var gptEntry = []field{
	{0, "type"}, {16, "GUID"}, {32, "first sector"}, {40, "last sector"}, {48, "attributes"}, {56, "name"}, {128, "reserved"},
}

// atGPT answers for a disk with a GUID partition table.
func atGPT(v view, off int64) string {
	sector := int64(512)
	if !v.has(sector, "EFI PART") {
		sector = 4096
	}
	if off < sector {
		return "GPT: protective " + v.mbr(off)
	}
	size, count := v.u32(sector+84), v.u32(sector+80)
	if size < 128 || size > 4096 || count > 4096 {
		return "GPT: of a strange shape"
	}
	backup := v.u64(sector + 32)
	if backup <= 1 || backup > (v.size-1)/sector {
		backup = (v.size - 1) / sector
	}
	var parts []partition
	first := v.u64(sector+72) * sector
	for i := range count {
		e := first + i*size
		if v.bytes(e, 1)[0] == 0 && v.has(e, string(zeros[:16])) {
			continue
		}
		name := ""
		for _, u := range v.name(e + 56) {
			name += string(u)
		}
		parts = append(parts, partition{i + 1, name, v.u64(e+32) * sector, (v.u64(e+40) + 1) * sector})
	}
	for _, table := range []struct {
		name   string
		header int64
	}{{"", sector}, {"backup ", backup * sector}} {
		entries := v.u64(table.header+72) * sector
		switch {
		case off >= table.header && off < table.header+sector:
			return "GPT: " + table.name + "header: " + named(gptHeader, off-table.header)
		case off >= entries && off < entries+count*size:
			n := (off - entries) / size
			s := fmt.Sprintf("GPT: %sentry %d", table.name, n+1)
			for _, p := range parts {
				if p.number == n+1 {
					s = fmt.Sprintf("GPT: %sentry of partition %d %s", table.name, n+1, strconv.Quote(p.name))
				}
			}
			return s + ": " + named(gptEntry, (off-entries)%size)
		}
	}
	return v.inside("GPT", parts, off)
}

// name reads the name in a GPT's entry.
func (v view) name(off int64) []rune {
	var u []uint16
	for i := range int64(36) {
		c := uint16(v.u16(off + 2*i))
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return utf16.Decode(u)
}

// atMBR answers for a disk that has no other table.
func atMBR(v view, off int64) string {
	if off < 512 {
		return v.mbr(off)
	}
	var parts []partition
	for i := range int64(4) {
		slot := 446 + 16*i
		if v.u8(slot+4) != 0 {
			start := v.u32(slot+8) * 512
			parts = append(parts, partition{number: i + 1, start: start, end: start + v.u32(slot+12)*512})
		}
	}
	return v.inside("MBR", parts, off)
}

// mbr names what lies in the first sector.
func (v view) mbr(off int64) string {
	switch {
	case off < 440:
		return "MBR: boot code"
	case off < 446:
		return "MBR: disk signature"
	case off < 510:
		return fmt.Sprintf("MBR: entry of partition %d", (off-446)/16+1)
	case off < 512:
		return "MBR: magic number"
	}
	return "MBR: rest of the sector"
}

// inside says what lies in a partition, or between which of them.
func (v view) inside(table string, parts []partition, off int64) string {
	var next *partition
	for i := range parts {
		p := &parts[i]
		if off >= p.start && off < p.end {
			s := fmt.Sprintf("partition %d", p.number)
			if p.name != "" {
				s += " " + strconv.Quote(p.name)
			}
			return s + ": " + v.part(p.start, p.end-p.start).at(off-p.start)
		}
		if off < p.start && (next == nil || p.start < next.start) {
			next = p
		}
	}
	if next != nil {
		return fmt.Sprintf("%s: gap before partition %d", table, next.number)
	}
	return table + ": gap behind the last partition"
}
