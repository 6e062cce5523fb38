package anatomy

import (
	"fmt"
	"strings"
)

// ISO 9660: ECMA-119; the names of Rock Ridge (IEEE P1282), where it has them; the boot
// catalog of El Torito.

const isoSector = 2048

func isISO(v view) bool { return v.has(16*isoSector, "\x01CD001\x01") }

var isoVolume = []field{
	{0, "type"}, {1, "magic number"}, {6, "version"}, {8, "system"}, {40, "label"}, {72, "reserved"}, {80, "number of sectors"}, {88, "reserved"},
	{120, "volumes in the set"}, {124, "number in the set"}, {128, "sector size"}, {132, "size of a path table"}, {140, "places of path tables"},
	{156, "root directory"}, {190, "texts about it"}, {813, "time of making"}, {830, "time of change"}, {847, "time of expiry"},
	{864, "time of effect"}, {881, "version of the structure"}, {882, "reserved"}, {883, "for applications"}, {1395, "reserved"},
}

// isoRecord is an entry of a directory.
type isoRecord struct {
	at, length int64
	name       string
	start      int64 // of its content
	size       int64
	dir        bool
	more       bool // another piece of the same file follows
}

// atISO answers for a file system, which may have a partition table around it. Of what
// has a name, the name is said rather than the partition.
func atISO(v view, off int64) string {
	if s := v.isoFrame(off); s != "" {
		return "ISO 9660: " + s
	}
	if s := v.isoTree(off); s != "" {
		return "ISO 9660: " + s
	}
	switch {
	case isGPT(v):
		return atGPT(v, off)
	case isMBR(v):
		return atMBR(v, off)
	case off < 16*isoSector:
		return "ISO 9660: system area"
	}
	return fmt.Sprintf("ISO 9660: byte %d, of no file found", off)
}

// isoFrame says what lies outside of files and directories, "" for nothing.
func (v view) isoFrame(off int64) string {
	for n := int64(16); n < 32; n++ {
		at, kind := n*isoSector, v.u8(n*isoSector)
		within := off >= at && off < at+isoSector
		switch {
		case !v.has(at+1, "CD001"):
			return ""
		case within && kind == 1:
			return "volume descriptor: " + named(isoVolume, off-at)
		case within && kind == 0:
			return "boot record"
		case within && kind == 255:
			return "end of volume descriptors"
		case within:
			return fmt.Sprintf("volume descriptor of type %d", kind)
		}
		if catalog := v.u32(at+0x47) * isoSector; kind == 0 && off >= catalog && off < catalog+isoSector {
			return fmt.Sprintf("boot catalog: entry %d", (off-catalog)/32+1)
		}
		if kind == 1 {
			size := v.u32(at + 132)
			for _, table := range []int64{v.u32(at + 140), v.big32(at + 148)} {
				if table *= isoSector; table > 0 && off >= table && off < table+size {
					return "path table"
				}
			}
		}
		if kind == 255 {
			return ""
		}
	}
	return ""
}

// isoTree says which file or directory has an offset, "" for none.
func (v view) isoTree(off int64) (what string) {
	root := isoRecord{name: ".", start: v.u32(16*isoSector+156+2) * isoSector, size: v.u32(16*isoSector + 156 + 10), dir: true}
	seen := map[int64]bool{root.start: true}
	for dirs := []isoRecord{root}; len(dirs) > 0 && what == "" && !v.spent(); dirs = dirs[1:] {
		d := dirs[0]
		pos := int64(0) // in a file of several pieces
		v.isoRecords(d, func(r isoRecord) bool {
			if off >= r.at && off < r.at+r.length {
				what = fmt.Sprintf("directory %s: entry %s", show(d.name), show(r.name))
				return false
			}
			if r.name == "." || r.name == ".." {
				return true
			}
			if d.name != "." {
				r.name = d.name + "/" + r.name
			}
			switch {
			case r.dir:
				if !seen[r.start] && len(r.name) < 4096 && len(dirs) < maxFiles/64 {
					seen[r.start] = true
					dirs = append(dirs, r)
				}
			case off >= r.start && off < r.start+r.size:
				if content := v.part(r.start, r.size); pos == 0 && !r.more && content.known() {
					what = fmt.Sprintf("file %s: %s", show(r.name), content.at(off-r.start))
				} else {
					what = fmt.Sprintf("data of %s: byte %d", show(r.name), pos+off-r.start)
				}
			}
			if pos += r.size; !r.more {
				pos = 0
			}
			return what == "" && !v.spent()
		})
		if what == "" && off >= d.start && off < d.start+d.size {
			what = fmt.Sprintf("directory %s: behind an entry", show(d.name))
		}
	}
	return what
}

// isoRecords calls f for the records of a directory, which lie within sectors.
func (v view) isoRecords(d isoRecord, f func(isoRecord) bool) {
	for at := d.start; at < d.start+d.size && at < v.size && !v.spent(); {
		length := v.u8(at)
		if length < 34 {
			at = (at/isoSector + 1) * isoSector
			continue
		}
		b := v.bytes(at, length)
		r := isoRecord{at: at, length: length, start: int64(le32(b[2:])) * isoSector, size: int64(le32(b[10:])), dir: b[25]&2 != 0, more: b[25]&0x80 != 0}
		n := min(int64(b[32]), length-33)
		r.name = strings.TrimSuffix(string(b[33:33+n]), ";1")
		switch r.name {
		case "\x00":
			r.name = "."
		case "\x01":
			r.name = ".."
		default:
			if name := rockRidge(b[33+n+(n+1)%2:]); name != "" {
				r.name = name
			}
		}
		if !f(r) {
			return
		}
		at += length
	}
}

// rockRidge returns the name in the system use of a record, as far as it is there and
// not in a continuation.
func rockRidge(b []byte) (name string) {
	for len(b) >= 5 && b[2] >= 5 && int(b[2]) <= len(b) {
		if string(b[:2]) == "NM" {
			name += string(b[5:b[2]])
		}
		b = b[b[2]:]
	}
	return name
}
