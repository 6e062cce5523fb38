package anatomy

import (
	"fmt"
	"strconv"
)

// cpio, newc: Documentation/driver-api/early-userspace/buffer-format.rst of Linux.

func isCpio(v view) bool { return v.has(0, "070701") || v.has(0, "070702") }

var cpioHeader = []field{
	{0, "magic number"}, {6, "inode"}, {14, "mode"}, {22, "user"}, {30, "group"}, {38, "links"}, {46, "modification time"},
	{54, "size"}, {62, "device, major"}, {70, "device, minor"}, {78, "device it is, major"}, {86, "device it is, minor"},
	{94, "length of the name"}, {102, "checksum"},
}

// atCpio walks through the headers. Behind an archive's end there can be another one,
// which need not be compressed alike.
func atCpio(v view, off int64) string {
	const header = 110
	for at := int64(0); at < v.size && !v.spent(); {
		switch {
		case isCpio(v.part(at, header)):
		case off > at && v.bytes(at, 1)[0] == 0:
			at++
			if at%pageSize == 0 && v.has(at, string(zeros[:])) && off >= at+pageSize {
				at += pageSize - 1 // many zeros at a time
			}
			continue
		case off >= at && at > 0 && v.part(at, v.size-at).known():
			return fmt.Sprintf("cpio: behind it, from byte %d: %s", at, v.part(at, v.size-at).at(off-at))
		default:
			return "cpio: padding behind the last entry"
		}
		h := v.bytes(at, header)
		length, ok1 := cpioNumber(h[94:])
		size, ok2 := cpioNumber(h[54:])
		if !ok1 || !ok2 {
			return "cpio: damaged header"
		}
		data := (at + header + length + 3) &^ 3
		next := (data + size + 3) &^ 3
		if off < next {
			entry := "entry " + show(tarText(v.bytes(at+header, min(length, 4096))))
			switch {
			case off < at+header:
				return "cpio: header of " + entry + ": " + named(cpioHeader, off-at)
			case off < at+header+length:
				return "cpio: name of " + entry
			case off < data:
				return "cpio: padding behind the name of " + entry
			case off < data+size:
				return fmt.Sprintf("cpio: content of %s: byte %d", entry, off-data)
			}
			return "cpio: padding behind " + entry
		}
		at = next
	}
	return "cpio: behind the last entry"
}

// cpioNumber reads eight hexadecimal digits.
func cpioNumber(b []byte) (int64, bool) {
	n, err := strconv.ParseUint(string(b[:8]), 16, 32)
	return int64(n), err == nil
}
