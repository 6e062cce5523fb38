package anatomy

import (
	"fmt"
	"strconv"
	"strings"
)

// tar: POSIX.1-2017, pax, section "ustar Interchange Format", and GNU tar's manual,
// section "Basic Tar Format".

func isTar(v view) bool { return v.has(257, "ustar") }

var tarHeader = []field{
	{0, "name"}, {100, "mode"}, {108, "user"}, {116, "group"}, {124, "size"}, {136, "modification time"}, {148, "checksum"},
	{156, "type"}, {157, "link target"}, {257, "magic number"}, {263, "version"}, {265, "user's name"}, {297, "group's name"},
	{329, "device"}, {345, "prefix"}, {500, "padding"},
}

// atTar walks through the headers.
func atTar(v view, off int64) string {
	name := "" // what an extra header says of the next entry
	for at := int64(0); at < v.size && !v.spent(); {
		h := v.bytes(at, 512)
		if !strings.HasPrefix(string(h[257:]), "ustar") {
			break
		}
		size, kind := tarNumber(h[124:136]), h[156]
		if size < 0 || size > v.size {
			break
		}
		what := "entry"
		switch kind {
		case 'L', 'K', 'x':
			what = "extra header of entry"
			if kind != 'K' {
				if n := tarName(v, kind, at+512, size); n != "" {
					name = n
				}
			}
		case 'g':
			what = "extra header of all entries"
		case '1', '2', '3', '4', '5', '6':
			size = 0
		}
		next := at + 512 + (size+511)/512*512
		if off >= next {
			at = next
			if what == "entry" {
				name = ""
			}
			continue
		}
		if kind != 'g' {
			what += " " + tarEntry(v, at, name)
		}
		switch {
		case off < at+512:
			return "tar: header of " + what + ": " + named(tarHeader, off-at)
		case off < at+512+size:
			return fmt.Sprintf("tar: content of %s: byte %d", what, off-at-512)
		}
		return "tar: padding behind " + what
	}
	if v.bytes(off, 1)[0] == 0 {
		return "tar: end of the archive"
	}
	return "tar: behind the last entry"
}

// tarEntry names the entry whose header, or the first of whose headers, is at an
// offset.
func tarEntry(v view, at int64, name string) string {
	for n := 0; name == "" && n < 4; n++ {
		h := v.bytes(at, 512)
		size, kind := tarNumber(h[124:136]), h[156]
		if size < 0 || size > v.size || kind != 'L' && kind != 'K' && kind != 'x' {
			name = tarText(h[:100])
			if p := tarText(h[345:500]); p != "" && h[263] == '0' { // GNU has other fields there
				name = p + "/" + name
			}
			break
		}
		name = tarName(v, kind, at+512, size)
		at += 512 + (size+511)/512*512
	}
	return show(name)
}

// tarName reads a name from the content of an extra header.
func tarName(v view, kind byte, at, size int64) string {
	s := string(v.bytes(at, min(size, 64<<10)))
	if kind == 'L' {
		return tarText([]byte(s))
	}
	for kind == 'x' && s != "" { // records: length, blank, key, =, value, newline
		length, rest, _ := strings.Cut(s, " ")
		n, err := strconv.Atoi(length)
		if err != nil || n <= len(length) || n > len(s) {
			break
		}
		if path, ok := strings.CutPrefix(rest[:n-len(length)-1], "path="); ok {
			return strings.TrimSuffix(path, "\n")
		}
		s = s[n:]
	}
	return ""
}

// tarText is what is in front of the first NUL.
func tarText(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

// tarNumber reads an octal number, or one in GNU's base 256; -1 is none.
func tarNumber(b []byte) int64 {
	n := int64(0)
	if b[0]&0x80 != 0 {
		for _, c := range b[len(b)-8:] {
			n = n<<8 | int64(c)
		}
		return n
	}
	s := strings.Trim(string(b), " \x00")
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 8, 64)
	if err != nil {
		return -1
	}
	return n
}
