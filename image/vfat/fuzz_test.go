package vfat_test

import (
	"strings"
	"testing"

	"thaw/image/vfat"
	"thaw/rootfs"
)

// FuzzNames checks that a name is refused or held.
func FuzzNames(f *testing.F) {
	for _, name := range []string{"a", "A.B", ". a", "~1", "\u00e9", strings.Repeat("x", 255), "a.", "\xff", "a+b.c d.e"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !rootfs.ValidName(name) {
			return
		}
		path, err := build(t, vfat.Options{Capacity: mib}, []entry{dir("."), text(name, "x")})
		if held := err == nil; held != names(name) {
			t.Fatalf("%q: %v", name, err)
		} else if !held {
			return
		}
		if _, nodes, err := readImage(path); err != nil || len(nodes) != 2 || nodes[1].Path != name {
			t.Errorf("%v, %+v", err, nodes)
		}
	})
}
