package anatomy

import (
	"strings"
	"unicode/utf16"
)

// fatFile is a file or directory. A first cluster of 0 is that of a root directory
// outside of the clusters, or of nothing.
type fatFile struct {
	path  string
	first int64
	dir   bool
	index int64 // which of its clusters was looked for
}

var fatEntry = []field{
	{0, "short name"}, {11, "attributes"}, {12, "case"}, {13, "creation time"}, {18, "access date"}, {20, "first cluster, high"},
	{22, "modification time"}, {26, "first cluster"}, {28, "size"},
}

// chain calls g with the clusters of a file until it returns false.
func (f fat) chain(first int64, g func(i, c int64) bool) {
	for i, c := int64(0), first; i < f.clusters && c >= 2 && c < f.clusters+2 && !f.spent(); i++ {
		if !g(i, c) {
			return
		}
		c = f.next(c)
	}
}

// pieces calls g with the parts of a directory until it returns false.
func (f fat) pieces(dir fatFile, g func(off int64, b []byte) bool) {
	if dir.first == 0 {
		g(f.root, f.bytes(f.root, f.data-f.root))
		return
	}
	f.chain(dir.first, func(_, c int64) bool {
		off := f.data + (c-2)*f.cluster
		return g(off, f.bytes(off, f.cluster))
	})
}

// slots calls g with the entries of a directory that are in use, until it returns
// false: long reports that one is a part of the long name of the entry that follows,
// whose name is not known yet.
func (f fat) slots(dir fatFile, g func(off int64, e []byte, name string, long bool) bool) {
	name := ""
	f.pieces(dir, func(off int64, b []byte) bool {
		for ; len(b) >= 32; off, b = off+32, b[32:] {
			e := b[:32]
			switch {
			case e[0] == 0:
				return false
			case e[0] == 0xe5:
				continue
			case e[11] == 0x0f:
				name = longName(e) + name
				name = name[:min(len(name), 1024)]
				if !g(off, e, "", true) {
					return false
				}
				continue
			case name == "":
				name = shortName(e)
			}
			if !g(off, e, name, false) {
				return false
			}
			name = ""
		}
		return true
	})
}

// shortName returns the name that an entry itself has.
func shortName(e []byte) string {
	name, ext := strings.TrimRight(string(e[:8]), " "), strings.TrimRight(string(e[8:11]), " ")
	if e[12]&0x08 != 0 {
		name = strings.ToLower(name)
	}
	if e[12]&0x10 != 0 {
		ext = strings.ToLower(ext)
	}
	if ext != "" {
		name += "." + ext
	}
	return name
}

// longName returns the part of a long name that a slot has.
func longName(e []byte) string {
	var u []uint16
	for _, part := range [][]byte{e[1:11], e[14:26], e[28:32]} {
		for ; len(part) > 0; part = part[2:] {
			c := le16(part)
			if c == 0 {
				return string(utf16.Decode(u))
			}
			u = append(u, c)
		}
	}
	return string(utf16.Decode(u))
}

// owner returns the file that has a cluster.
func (f fat) owner(want int64) fatFile {
	root := fatFile{path: ".", dir: true}
	if f.bits == 32 {
		root.first = f.u32(44)
	}
	found := fatFile{}
	look := func(file fatFile) {
		f.chain(file.first, func(i, c int64) bool {
			if c == want {
				found, found.index = file, i
			}
			return c != want
		})
	}
	look(root)
	seen := map[int64]bool{root.first: true}
	for dirs := []fatFile{root}; len(dirs) > 0 && found.path == "" && !f.spent(); dirs = dirs[1:] {
		f.slots(dirs[0], func(_ int64, e []byte, name string, long bool) bool {
			file := fatFile{path: name, first: int64(le16(e[26:])) | int64(le16(e[20:]))<<16, dir: e[11]&0x10 != 0}
			if long || e[11]&8 != 0 || name == "." || name == ".." || file.first == 0 {
				return true
			}
			if p := dirs[0].path; p != "." {
				file.path = p + "/" + name
			}
			look(file)
			if file.dir && !seen[file.first] && len(file.path) < 4096 && len(dirs) < maxFiles/64 {
				seen[file.first] = true
				dirs = append(dirs, file)
			}
			return found.path == "" && !f.spent()
		})
	}
	return found
}

// entry says what lies at an offset of the file system, which is in a directory.
func (f fat) entry(dir fatFile, off int64) string {
	what, long := "behind its entries", false
	f.slots(dir, func(at int64, e []byte, name string, isLong bool) bool {
		if isLong {
			long = long || off >= at && off < at+32
			return true
		}
		switch {
		case long:
			what = "long name of entry " + show(name)
		case off >= at && off < at+32:
			what = "entry " + show(name) + ": " + named(fatEntry, off-at)
			if e[11]&8 != 0 {
				what = "label: " + named(fatEntry, off-at)
			}
		default:
			return true
		}
		return false
	})
	return what
}
