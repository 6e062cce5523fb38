package spec

import (
	"crypto/sha256"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Digest is a hash of all in a spec that determines the root file system. Left out
// are caches, keys, what a build reports, and the outputs: the same root file
// system has the same identifiers in each of them. What is spelled otherwise and
// means the same has the same digest: YAML or JSON, the order of keys and of what
// is sorted, defaults left out or not.
//
// Files of this machine count by their names: what reads them must add their
// content. A key that a later version adds changes no digest of specs that do
// not have it.
func (s *Spec) Digest() [32]byte {
	d := digester{skip: map[*node]bool{}, fields: map[*node]*field{}}
	e := encoder{objects: objects{}, visit: func(key *node, f *field, isDefault bool) {
		d.skip[key] = f.quiet || isDefault
		d.fields[key] = f
	}}
	return sha256.Sum256([]byte("thaw spec 1\n" + d.text(e.mapping(reflect.ValueOf(s).Elem()))))
}

// digester writes a tree in a canonical form.
type digester struct {
	skip   map[*node]bool   // keys that do not count
	fields map[*node]*field // by key; names that are free have none
}

// text writes a node.
func (d *digester) text(n *node) string {
	var parts []string
	switch n.kind {
	case list:
		for _, item := range n.items {
			parts = append(parts, d.text(item))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case mapping:
		for i, k := range n.keys {
			if d.skip[k] {
				continue
			}
			item := d.text(n.items[i])
			if f := d.fields[k]; f != nil && f.isObject() && item == "{}" {
				continue // nothing in it counts
			}
			parts = append(parts, strconv.Quote(k.text)+":"+item)
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, ",") + "}"
	}
	return strconv.Quote(n.text)
}
