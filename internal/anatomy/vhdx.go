package anatomy

import "fmt"

// VHDX: Microsoft's [MS-VHDX].

func isVHDX(v view) bool { return v.has(0, "vhdxfile") }

var vhdxHeader = []field{
	{0, "signature"}, {4, "checksum"}, {8, "sequence number"}, {16, "GUID of the file's writing"}, {32, "GUID of the data's writing"},
	{48, "GUID of the log"}, {64, "version of the log"}, {66, "version"}, {68, "length of the log"}, {72, "place of the log"},
	{80, "reserved"},
}

var vhdxItems = map[string]string{
	"\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b": "file parameters",
	"\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8": "size of the disk",
	"\xab\x12\xca\xbe\xe6\xb2\x23\x45\x93\xef\xc3\x09\xe0\x00\xc7\x46": "UUID of the disk",
	"\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f": "logical sector size",
	"\xc7\x48\xa3\xcd\x5d\x44\x71\x44\x9c\xc9\xe9\x88\x52\x51\xc5\x56": "physical sector size",
}

const (
	vhdxTable    = "\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08"
	vhdxMetadata = "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e"
)

func atVHDX(v view, off int64) string {
	const kib = 1 << 10
	switch n := off / (64 * kib); {
	case n == 0:
		return "VHDX: file identifier"
	case n <= 2:
		return fmt.Sprintf("VHDX: header %d: %s", n, named(vhdxHeader, off%(64*kib)))
	case n <= 4:
		return fmt.Sprintf("VHDX: region table %d", n-2)
	case off < kib*kib:
		return "VHDX: reserved"
	}
	var table, metadata view
	var tablePlace, metadataPlace int64
	for i := range min(v.u32(192*kib+8), 2047) {
		e := 192*kib + 16 + 32*i
		switch place := v.u64(e + 16); string(v.bytes(e, 16)) {
		case vhdxTable:
			table, tablePlace = v.part(place, v.u32(e+24)), place
		case vhdxMetadata:
			metadata, metadataPlace = v.part(place, v.u32(e+24)), place
		}
	}
	if table.src == nil || metadata.src == nil {
		return "VHDX: of a strange shape"
	}
	items := map[string]int64{}
	for i := range min(metadata.u16(10), 2047) {
		e := 32 + 32*i
		name, at := vhdxItems[string(metadata.bytes(e, 16))], metadata.u32(e+16)
		items[name] = at
		if pos := off - metadataPlace; name != "" && pos >= at && pos < at+metadata.u32(e+20) {
			return "VHDX: metadata: " + name
		}
	}
	g := &guest{view: v, size: metadata.u64(items["size of the disk"]), block: metadata.u32(items["file parameters"]), unit: "block"}
	sector := metadata.u32(items["logical sector size"])
	if !g.valid() || sector < 512 || sector > 4096 || g.block > sector<<23 {
		return "VHDX: of a strange shape"
	}
	chunk := sector << 23 / g.block
	g.find = func(i int64) place {
		at := 8 * (i + i/chunk)
		if at >= table.size {
			return place{skip: g.size}
		}
		e := table.u64(at)
		if e&7 < 6 {
			return place{}
		}
		return place{off: e &^ (kib*kib - 1)}
	}
	log, header := int64(0), int64(64*kib)
	if v.u64(128*kib+8) > v.u64(64*kib+8) {
		header = 128 * kib
	}
	log = v.u64(header + 72)
	switch pos := off - tablePlace; {
	case pos >= 0 && pos < table.size:
		if n := pos / 8; n%(chunk+1) != chunk && (n-n/(chunk+1))*g.block < g.size {
			return fmt.Sprintf("VHDX: block table: entry of guest offset %d", (n-n/(chunk+1))*g.block)
		}
		return "VHDX: block table: entry of no block"
	case off >= metadataPlace && off < metadataPlace+metadata.size:
		return "VHDX: metadata"
	case off >= log && off < log+v.u32(header+68):
		return "VHDX: log"
	}
	if s := g.owner(off); s != "" {
		return "VHDX: " + s
	}
	return "VHDX: block of no entry"
}
