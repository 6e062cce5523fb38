package nar

import (
	"bytes"
	"fmt"
)

// tree is the place of a Reader or Writer in the tree, and enforces its laws
// for both: names, their order, depth.
type tree struct {
	// path is that of the last entry begun, or of the last directory left,
	// whichever came later; empty for the root. So what follows the path of the
	// innermost open directory is the name that the next one has to exceed.
	path []byte
	// depth is the limit where it is greater than MaxDepth.
	depth int
	// dirs holds the length of the path of each open directory, outermost
	// first.
	dirs []int
}

// reset goes back to before the root and keeps the memory.
func (t *tree) reset() {
	t.path, t.dirs, t.depth = t.path[:0], t.dirs[:0], 0
}

// add goes on to the entry name of the innermost open directory, or returns
// why it cannot be there.
func (t *tree) add(name []byte) (reason string) {
	if reason := badName(name); reason != "" {
		return reason
	}
	if len(t.dirs) >= max(t.depth, MaxDepth) {
		return fmt.Sprintf("nested deeper than %d levels", max(t.depth, MaxDepth))
	}
	dir := t.dirs[len(t.dirs)-1]
	last := t.path[dir:]
	if dir > 0 && len(last) > 0 {
		last = last[1:]
	}
	switch c := bytes.Compare(name, last); {
	case c == 0:
		return fmt.Sprintf("the name %q comes twice", name)
	case c < 0:
		return fmt.Sprintf("the name %q comes after %q", name, last)
	}
	t.path = t.path[:dir]
	if dir > 0 {
		t.path = append(t.path, '/')
	}
	t.path = append(t.path, name...)
	return ""
}

// enter opens the entry last added, or the root, as a directory.
func (t *tree) enter() { t.dirs = append(t.dirs, len(t.path)) }

// leave closes the innermost open directory.
func (t *tree) leave() {
	top := len(t.dirs) - 1
	t.path, t.dirs = t.path[:t.dirs[top]], t.dirs[:top]
}

// name returns the path as a [Header] spells it.
func (t *tree) name() string {
	if len(t.path) == 0 {
		return "."
	}
	return string(t.path)
}
