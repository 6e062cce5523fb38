package spec

import (
	"fmt"
	"strings"
)

// Limits on what is read.
const (
	// MaxSize is how many bytes a spec may have.
	MaxSize = 1 << 20
	// maxDepth is how deep mappings and lists may be nested.
	maxDepth = 32
	// Of YAML: the bytes of a line, the lines, the empty lines in a row, and the
	// keys of a mapping. They bound the time of the parser, which is quadratic
	// in them; JSON needs no such limits.
	maxLine  = 8 << 10
	maxLines = 32 << 10
	maxBlank = 256
	maxKeys  = 512
)

// node is a value of YAML or JSON, with its place.
type node struct {
	kind      kind
	text      string  // of a scalar: as written for numbers and booleans, what is meant for texts
	keys      []*node // of a mapping, scalars; as many as items
	items     []*node
	line, col int  // from 1, in characters; 0 for what was not read from a text
	secret    bool // not to be shown
}

type kind int

const (
	null kind = iota
	boolean
	number
	text
	list
	mapping
)

// String says what a node is, for messages.
func (n *node) String() string {
	switch n.kind {
	case null:
		return "nothing"
	case boolean, number:
		return n.text
	case text:
		return clip(n.text)
	case list:
		return "a list"
	default:
		return "a mapping"
	}
}

// get returns the value of a key of a mapping, nil if it has none.
func (n *node) get(key string) *node {
	for i, k := range n.keys {
		if k.text == key {
			return n.items[i]
		}
	}
	return nil
}

// put adds a key to a mapping.
func (n *node) put(key string, value *node) {
	n.keys = append(n.keys, &node{kind: text, text: key})
	n.items = append(n.items, value)
}

// twice reports keys that a mapping has twice, in n and all below it.
func (n *node) twice(p *problems, path string) {
	first := make(map[string]*node, len(n.keys))
	for i, k := range n.keys {
		if f, ok := first[k.text]; !ok {
			first[k.text] = k
		} else if f.line == k.line {
			p.add(k, path, "the key %s is given twice", clip(k.text))
		} else {
			p.add(k, path, "the key %s is given twice, first in line %d", clip(k.text), f.line)
		}
		n.items[i].twice(p, join(path, k.text))
	}
	if n.kind == list {
		for i, item := range n.items {
			item.twice(p, fmt.Sprintf("%s[%d]", path, i))
		}
	}
}

// join names a key of the mapping at path.
func join(path, key string) string {
	if len(key) == 0 || len(key) > 64 || strings.ContainsFunc(key, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}) {
		key = clip(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
