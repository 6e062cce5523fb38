package erofs

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"strings"

	"thaw/rootfs"
)

const (
	attrHeader    = 12                        // in front of an inode's attributes
	maxAttrs      = attrHeader + 4*(1<<16-2)  // bytes that an inode can say it has of them
	maxShared     = 255                       // attributes of an inode that lie elsewhere
	maxAttrValue  = math.MaxUint16            // bytes
	maxAttrOffset = int64(math.MaxUint32) * 4 // up to where attributes can be referred to
)

// attrPrefixes are the beginnings of names that are stored as a number
// (e_name_index).
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
}

// An attr is an extended attribute as the disk holds it: lengths, index, name,
// value, filled up to a multiple of 4.
type attr []byte

func newAttr(x rootfs.Xattr) (attr, error) {
	for _, p := range attrPrefixes {
		name, ok := strings.CutPrefix(x.Name, p.name)
		if !ok || p.acl != (name == "") {
			continue
		}
		if len(x.Value) > maxAttrValue {
			return nil, fmt.Errorf("erofs holds no extended attribute of %d bytes, at most %d: %q", len(x.Value), maxAttrValue, x.Name)
		}
		if p.acl {
			if err := checkACL(x.Value); err != nil {
				return nil, fmt.Errorf("extended attribute %q: %w", x.Name, err)
			}
		}
		a := make(attr, roundUp(4+len(name)+len(x.Value), 4))
		a[0] = byte(len(name))
		a[1] = p.index
		le.PutUint16(a[2:], uint16(len(x.Value)))
		copy(a[4+copy(a[4:], name):], x.Value)
		return a, nil
	}
	return nil, fmt.Errorf("erofs holds no extended attribute of the name %q", x.Name)
}

// newAttrs returns the extended attributes of an entry.
func newAttrs(e *rootfs.Entry) ([]attr, error) {
	if len(e.Xattrs) == 0 {
		return nil, nil
	}
	attrs, size := make([]attr, len(e.Xattrs)), attrHeader
	for i, x := range e.Xattrs {
		a, err := newAttr(x)
		if err != nil {
			return nil, &rootfs.EntryError{Path: e.Path, Reason: err.Error()}
		}
		attrs[i] = a
		size += len(a)
	}
	if size > maxAttrs {
		return nil, &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf("extended attributes of %d bytes: erofs holds at most %d", size, maxAttrs)}
	}
	return attrs, nil
}

// attrTable knows where attributes lie that an inode has brought along. Another
// inode that has the same one refers to it there: the area of shared attributes,
// for which the format has no other bounds, is the whole file system.
type attrTable map[[sha256.Size]byte]uint32

// A body is the extended attributes that follow an inode.
type body struct {
	bytes []byte
	own   []placed // attributes that nobody else had
}

type placed struct {
	key [sha256.Size]byte
	at  int // in the body
}

// body makes the body of an inode.
func (t attrTable) body(attrs []attr) body {
	if len(attrs) == 0 {
		return body{}
	}
	shared := make([]byte, attrHeader)
	var rest []byte
	var own []placed
	for _, a := range attrs {
		key := sha256.Sum256(a)
		if id, ok := t[key]; ok && shared[4] < maxShared {
			shared[4]++
			shared = le.AppendUint32(shared, id)
			continue
		}
		own = append(own, placed{key, len(rest)})
		rest = append(rest, a...)
	}
	for i := range own {
		own[i].at += len(shared)
	}
	return body{append(shared, rest...), own}
}

// place notes where the attributes of a body lie that begins at an offset.
func (t attrTable) place(b *body, off int64) {
	for _, p := range b.own {
		if at := off + int64(p.at); at <= maxAttrOffset {
			t[p.key] = uint32(at / 4)
		}
	}
}

var errACL = errors.New("not a valid access control list")

// checkACL refuses an access control list that Linux would refuse to set. On
// reading it checks less, and gives access as it comes.
func checkACL(value []byte) error {
	const user, group, mask = 0x02, 0x08, 0x10
	if len(value) < 4 || len(value)%8 != 4 || le.Uint32(value) != 2 {
		return errACL
	}
	seen, lastTag, lastID := uint16(0), uint16(0), uint32(0)
	for p := value[4:]; len(p) > 0; p = p[8:] {
		tag, perm, id := le.Uint16(p[0:]), le.Uint16(p[2:]), le.Uint32(p[4:])
		named := tag == user || tag == group
		switch {
		case tag == 0 || tag > 0x20 || tag&(tag-1) != 0, perm > 7, tag < lastTag,
			tag == lastTag && (!named || id <= lastID):
			return errACL
		}
		seen |= tag
		lastTag, lastID = tag, id
	}
	// The owner, the owning group and others are always there, and a mask where
	// anybody is named.
	if seen&0x25 != 0x25 || seen&(user|group) != 0 && seen&mask == 0 {
		return errACL
	}
	return nil
}
