package squashfs

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"thaw/rootfs"
)

// xattrPrefixes are the beginnings of names, which are stored as numbers
// ("Extended Attribute Table").
var xattrPrefixes = [...]string{"user.", "trusted.", "security."}

// xattrElsewhere marks an attribute that has a reference for a value.
const xattrElsewhere = 0x100

// An xattrTable holds extended attributes, equal sets of them once, and of equal
// values only the first.
type xattrTable struct {
	pairs  metadata
	sets   []xattrSet
	known  map[digest]uint32   // sets, by what they hold
	values map[digest]position // of values that are longer than a reference
}

type xattrSet struct {
	start       position
	count, size uint32
}

func newXattrTable(enc *metadataEncoder) xattrTable {
	return xattrTable{pairs: metadata{enc: enc}, known: map[digest]uint32{}, values: map[digest]position{}}
}

// add returns the place of a set in the table.
func (t *xattrTable) add(xattrs []rootfs.Xattr) (uint32, error) {
	if len(xattrs) == 0 {
		return noXattrs, nil
	}
	set := xattrSet{count: uint32(len(xattrs))}
	sum := sha256.New()
	for _, x := range xattrs {
		if _, _, err := cutPrefix(x.Name); err != nil {
			return 0, err
		}
		sum.Write(le.AppendUint32(nil, uint32(len(x.Name))))
		sum.Write([]byte(x.Name))
		sum.Write(le.AppendUint32(nil, uint32(len(x.Value))))
		sum.Write(x.Value)
		// That is what Linux counts as their space.
		set.size += uint32(len(x.Name) + 1 + len(x.Value))
	}
	key := digest(sum.Sum(nil))
	if n, ok := t.known[key]; ok {
		return n, nil
	}
	set.start = t.pairs.pos()
	for _, x := range xattrs {
		t.write(x)
	}
	n := uint32(len(t.sets))
	t.known[key] = n
	t.sets = append(t.sets, set)
	return n, nil
}

// write writes a name and its value, or where that has been written before.
func (t *xattrTable) write(x rootfs.Xattr) {
	kind, name, _ := cutPrefix(x.Name)
	const reference = 8
	var first position
	elsewhere := false
	sum := sha256.Sum256(x.Value)
	if len(x.Value) > reference {
		first, elsewhere = t.values[sum]
	}
	if elsewhere {
		kind |= xattrElsewhere
	}
	b := le.AppendUint16(nil, kind)
	b = le.AppendUint16(b, uint16(len(name)))
	t.pairs.write(append(b, name...))
	if elsewhere {
		t.pairs.write(le.AppendUint64(le.AppendUint32(nil, reference), first.reference()))
		return
	}
	if len(x.Value) > reference {
		t.values[sum] = t.pairs.pos()
	}
	t.pairs.write(le.AppendUint32(nil, uint32(len(x.Value))))
	t.pairs.write(x.Value)
}

func cutPrefix(full string) (kind uint16, name string, err error) {
	for i, p := range xattrPrefixes {
		if name, ok := strings.CutPrefix(full, p); ok && name != "" {
			return uint16(i), name, nil
		}
	}
	return 0, "", fmt.Errorf("squashfs holds no extended attribute of the name %q", full)
}
