package anatomy

import "fmt"

// entry says what lies in a block of a directory: at is an offset in the block, pos in
// the directory.
func (e ext4) entry(inode []byte, pos, block, at int64) string {
	if le32(inode[32:])&ext4Indexed != 0 && pos == at && at >= 24 {
		return "index"
	}
	s := "behind its entries"
	e.entries(e.bytes(block, e.block), func(d ext4Entry) bool {
		if at < int64(d.at) || at >= int64(d.at+d.length) {
			return true
		}
		switch {
		case d.inode == 0 && d.kind == 0xde:
			s = "checksum"
		case d.inode == 0 && int64(d.length) >= e.block-12:
			s = "index, or free"
		case d.inode == 0:
			s = "free entry"
		default:
			s = fmt.Sprintf("entry %s", show(d.name))
		}
		return false
	})
	return s
}

// ext4Entry is an entry of a directory, and where in its block it is.
type ext4Entry struct {
	at, length int
	inode      int64
	kind       byte
	name       string
}

// entries calls f with the entries of a block until it returns false, as entries does
// then.
func (e ext4) entries(b []byte, f func(ext4Entry) bool) bool {
	for at := 0; at+8 <= len(b); {
		d := ext4Entry{at: at, length: int(le16(b[at+4:])), inode: int64(le32(b[at:])), kind: b[at+7]}
		if d.length == 0xffff || d.length == 0 && len(b) == 1<<16 {
			d.length = len(b)
		}
		name := int(b[at+6])
		if d.length < 8+name || d.length%4 != 0 || at+d.length > len(b) {
			return true
		}
		d.name = string(b[at+8 : at+8+name])
		if !f(d) {
			return false
		}
		at += d.length
	}
	return true
}

// path returns the path of an inode, or nothing if it is not found.
func (e ext4) path(want int64) (path string) {
	files := tree{{}}
	dirs := []struct {
		inode int64
		file  int // its place in files
	}{{ext4Root, 0}}
	if want == ext4Root {
		return "."
	}
	seen := map[int64]bool{ext4Root: true}
	for len(dirs) > 0 && path == "" && len(files) < maxFiles && !e.spent() {
		dir := dirs[0]
		dirs = dirs[1:]
		e.runs(e.inodeBytes(dir.inode), func(r run) bool {
			for b := r.start; r.kind == ext4Data && b < r.start+r.count && path == "" && !e.spent(); b++ {
				e.entries(e.bytes(b*e.block, e.block), func(d ext4Entry) bool {
					if d.inode == 0 || d.name == "." || d.name == ".." || d.inode != want && d.kind != 2 && d.kind != 0 || seen[d.inode] {
						return true
					}
					files = append(files, leaf{dir.file, d.name})
					if d.inode == want {
						path = files.path(len(files) - 1)
						return false
					}
					if d.kind == 2 || le16(e.inodeBytes(d.inode))&modeKind == modeDir {
						seen[d.inode] = true
						dirs = append(dirs, struct {
							inode int64
							file  int
						}{d.inode, len(files) - 1})
					}
					return true
				})
			}
			return path == "" && len(files) < maxFiles
		})
	}
	return path
}
