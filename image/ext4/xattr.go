package ext4

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"thaw/rootfs"
)

const (
	attrMagic     = 0xea020000
	attrEntrySize = 16 // without the name ("Extended Attributes", ext4_xattr_entry)
	attrHeader    = 32 // in front of a block of them (ext4_xattr_header)
	attrBodySize  = inodeSize - baseSize - extraSize
	attrBodyStart = 4 // the magic number; values are counted from behind it
	attrEnd       = 4 // zero bytes after the last entry
)

// attrPrefixes are the beginnings of names that are stored as a number
// ("Extended Attributes", Attribute Name Index). The whole names come before
// the prefix they share.
var attrPrefixes = [...]struct {
	name  string
	index byte
	acl   bool // the whole name of an access control list
}{
	{"user.", 1, false},
	{"system.posix_acl_access", 2, true},
	{"system.posix_acl_default", 3, true},
	{"trusted.", 4, false},
	{"security.", 6, false},
	{"system.", 7, false},
}

// inlineData is the attribute in which ext4 keeps contents of files; as a
// caller's attribute it would be taken for such.
const inlineData = "system.data"

// An attr is an extended attribute as ext4 stores it.
type attr struct {
	index byte
	name  string // what follows the prefix
	value []byte
}

// size returns the bytes that an attribute takes of where it is stored.
func (a *attr) size() int {
	return attrEntrySize + roundUp4(len(a.name)) + roundUp4(len(a.value))
}

func newAttr(x rootfs.Xattr) (attr, error) {
	if x.Name == inlineData {
		return attr{}, fmt.Errorf("ext4 keeps extended attribute %q for itself", x.Name)
	}
	for _, p := range attrPrefixes {
		name, ok := strings.CutPrefix(x.Name, p.name)
		switch {
		case !ok:
		case p.acl && name == "":
			value, err := diskACL(x.Value)
			if err != nil {
				return attr{}, fmt.Errorf("extended attribute %q: %w", x.Name, err)
			}
			return attr{p.index, "", value}, nil
		case !p.acl && name != "":
			return attr{p.index, name, x.Value}, nil
		}
	}
	return attr{}, fmt.Errorf("ext4 holds no extended attribute of the name %q", x.Name)
}

// addXattrs stores an entry's extended attributes: in the inode as many as fit,
// in the order of their names, and the others in a block.
func (w *Writer) addXattrs(e *rootfs.Entry, number uint32) error {
	if len(e.Xattrs) == 0 {
		return nil
	}
	var inBody, inBlock []attr
	bodyRoom := attrBodySize - attrBodyStart - attrEnd
	blockRoom := int(w.block()) - attrHeader - attrEnd
	for _, x := range e.Xattrs {
		a, err := newAttr(x)
		if err != nil {
			return &rootfs.EntryError{Path: e.Path, Reason: err.Error()}
		}
		if a.size() <= bodyRoom {
			bodyRoom -= a.size()
			inBody = append(inBody, a)
		} else {
			blockRoom -= a.size()
			inBlock = append(inBlock, a)
		}
	}
	if blockRoom < 0 {
		return &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf("extended attributes are %d bytes too large for ext4 with blocks of %d", -blockRoom, w.block())}
	}
	i := w.inodes.at(number)
	if len(inBody) > 0 {
		var b [attrBodySize]byte
		le.PutUint32(b[0:], attrMagic)
		putAttrs(b[attrBodyStart:], 0, inBody)
		i.body = w.bodyNumber(b[:])
	}
	if len(inBlock) > 0 {
		i.attrsBlock = uint32(w.addAttrBlock(inBlock))
		i.blocks++
	}
	return nil
}

// bodyNumber keeps what an inode holds of attributes, equal ones once, and
// returns 1 + its number.
func (w *Writer) bodyNumber(b []byte) uint32 {
	n, ok := w.bodyNum[string(b)]
	if !ok {
		s := string(b)
		w.bodies = append(w.bodies, s)
		n = uint32(len(w.bodies))
		w.bodyNum[s] = n
	}
	return n
}

// addAttrBlock writes a block of attributes and returns its number.
func (w *Writer) addAttrBlock(attrs []attr) int64 {
	slices.SortFunc(attrs, func(a, b attr) int { // the order in which the kernel searches
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(len(a.name), len(b.name)), cmp.Compare(a.name, b.name))
	})
	var buf [maxBlockSize]byte
	b := buf[:w.block()]
	le.PutUint32(b[0:], attrMagic)
	le.PutUint32(b[4:], 1) // inodes that use the block
	le.PutUint32(b[8:], 1) // blocks
	putAttrs(b, attrHeader, attrs)
	hash := uint32(0)
	p := b[attrHeader:]
	for i := range attrs {
		h := attrs[i].hash()
		le.PutUint32(p[12:], h)
		hash = bits.RotateLeft32(hash, 16) ^ h
		p = p[attrEntrySize+roundUp4(len(attrs[i].name)):]
	}
	le.PutUint32(b[12:], hash)

	number := w.out.alloc()
	var n [8]byte
	le.PutUint64(n[:], uint64(number))
	le.PutUint32(b[16:], crc32c(crc32c(w.seed, n[:]), b))
	w.out.put(number, b)
	return number
}

// putAttrs puts entries into b from first on, and their values from the end
// down, counted from the beginning of b.
func putAttrs(b []byte, first int, attrs []attr) {
	end := len(b)
	for _, a := range attrs {
		p := b[first:]
		p[0] = byte(len(a.name))
		p[1] = a.index
		if len(a.value) > 0 {
			end -= roundUp4(len(a.value))
			le.PutUint16(p[2:], uint16(end))
			copy(b[end:], a.value)
		}
		le.PutUint32(p[8:], uint32(len(a.value)))
		copy(p[attrEntrySize:], a.name)
		first += attrEntrySize + roundUp4(len(a.name))
	}
}

// hash returns an entry's e_hash: over the bytes of the name, unsigned, and
// over the padded value word by word. Entries in an inode have none.
func (a *attr) hash() uint32 {
	h := uint32(0)
	for i := range len(a.name) {
		h = bits.RotateLeft32(h, 5) ^ uint32(a.name[i])
	}
	for v := a.value; len(v) > 0; v = v[min(4, len(v)):] {
		var word [4]byte
		copy(word[:], v)
		h = bits.RotateLeft32(h, 16) ^ le.Uint32(word[:])
	}
	return h
}
