// Package anatomy says in words what lies at an offset of an image: which field of
// which structure, the data of which file. It helps people who want to know why
// two images differ. Its laws:
//   - it knows an image by its magic numbers, and looks into partitions and into
//     disks within it;
//   - it is best effort: what cannot be found out, or not within a bound of work,
//     is left unsaid, and the answer is less exact;
//   - whatever the image holds, it reads a bounded amount, does not panic and comes
//     to an end;
//   - it imports none of the packages that write images, so that their mistakes are
//     not repeated here.
package anatomy

import (
	"fmt"
	"io"
	"strconv"
	"unicode"
)

// maxDepth is how many images within images are looked into.
const maxDepth = 4

// At says in a few words what lies at an offset of an image. An answer goes from the
// whole to its parts, which colons separate:
//
//	partition 1 "nixos": ext4: inode table of group 0: inode 12 (bin/hello): modification time
func At(r io.ReaderAt, size, off int64) string {
	return at(r, size, off, maxWork)
}

func at(r io.ReaderAt, size, off int64, work int64) string {
	if off < 0 || off >= size {
		return "beyond the end"
	}
	return view{src: &source{r: r, work: &work}, size: size}.at(off)
}

// at recognises what a view holds, and asks its format.
func (v view) at(off int64) string {
	if v.depth > maxDepth {
		return fmt.Sprintf("byte %d", off)
	}
	v.depth++
	for _, f := range formats() {
		if f.is(v) {
			return f.at(v, off)
		}
	}
	return fmt.Sprintf("unknown format: byte %d", off)
}

// known tells whether some format has a view's magic numbers.
func (v view) known() bool {
	for _, f := range formats() {
		if f.is(v) {
			return true
		}
	}
	return false
}

// format is how an image is known, and what says what lies in it.
type format struct {
	is func(v view) bool
	at func(v view, off int64) string
}

// formats returns all formats, first those that are known for sure: a boot sector's
// magic number is the weakest.
func formats() []format {
	return []format{
		{isQcow2, atQcow2},
		{isVHDX, atVHDX},
		{isVMDK, atVMDK},
		{isVDI, atVDI},
		{isVHD, atVHD},
		{isISO, atISO},
		{isGPT, atGPT},
		{isSquashfs, atSquashfs},
		{isCpio, atCpio},
		{isPacked, atPacked},
		{isErofs, atErofs},
		{isExt4, atExt4},
		{isTar, atTar},
		{isFAT, atFAT},
		{isMBR, atMBR},
	}
}

// field is the name of what begins at an offset of a structure.
type field struct {
	off  int64
	name string
}

// named returns the name of what lies at an offset of a structure.
func named(fields []field, off int64) string {
	name := "reserved"
	for _, f := range fields {
		if f.off > off {
			break
		}
		name = f.name
	}
	return name
}

// show returns a name as it is, or in quotes if it could disturb the line it stands in.
func show(name string) string {
	if name == "" || len(name) > 4096 {
		return strconv.Quote(name[:min(len(name), 4096)])
	}
	for _, r := range name {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar || r == '"' || r == '(' || r == ')' {
			return strconv.Quote(name)
		}
	}
	return name
}

// tree is a set of files, the root first.
type tree []leaf

// leaf is a file of a tree, and where in it the directory is that has it.
type leaf struct {
	parent int
	name   string
}

// path returns the path of a file; the root's is ".".
func (t tree) path(i int) string {
	if i == 0 {
		return "."
	}
	name := t[i].name
	for n := 0; t[i].parent > 0 && n < 256; n++ {
		i = t[i].parent
		name = t[i].name + "/" + name
	}
	return name
}
