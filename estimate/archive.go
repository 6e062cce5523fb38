package estimate

import (
	"io/fs"

	"thaw/image/cpio"
	"thaw/narinfo"
	"thaw/rootfs"
)

// An archive is what a format takes whose entries stand behind one another: the
// sum of its entries, and an end.
type archive struct {
	end int64
	// entry returns what an entry takes, which attributes may make larger.
	entry func(e *rootfs.Entry) (least, most int64)
	// least and most bound what an object takes.
	least, most func(i *narinfo.Info) int64
	// link returns the most that a link of the merged view takes, besides twice the
	// length of its path in the view.
	link int64
	// perEntry is what an entry is likely to take more than it does in a NAR, or
	// less if it is negative.
	perEntry int64
}

func (a *archive) size(c *Content) Size {
	s := Size{Least: a.end, Likely: a.end, Most: a.end}
	for _, e := range c.least() {
		least, _ := a.entry(&e)
		s.Least = add(s.Least, least)
		s.Likely = add(s.Likely, least)
	}
	for _, e := range c.most() {
		_, most := a.entry(&e)
		s.Most = add(s.Most, most)
	}
	for _, i := range c.Objects {
		s.Least = add(s.Least, a.least(i))
		s.Most = add(s.Most, a.most(i))
	}
	if c.View != "" {
		s.Most = add(s.Most, viewMost(a.link+int64(len(c.View)+1)))
	}
	bytes, entries := c.likely()
	s.Likely = add(s.Likely, mul(entries, max(a.perEntry, 0)), max(0, bytes-mul(entries, max(-a.perEntry, 0))))
	return s.ordered()
}

// The merged view is no larger than package fhs allows it to be: its entries, each
// for viewEntry and twice the length of its path, make up viewWork at most. (There
// is no bound by the sizes of the packages: links to directories multiply paths.)
const (
	viewWork  = 128 << 20
	viewEntry = 64
)

// viewMost returns the most bytes of a view whose entries take so many, besides
// twice the lengths of their paths.
func viewMost(entry int64) int64 { return add(viewWork, mul(viewWork/viewEntry, entry)) }

// viewTarget is the most that the target of a link of the view has besides the path
// in it: /nix/store/, an object's name of up to 32 + 1 + 211 bytes, a slash.
const viewTarget = 11 + 244 + 1

// A tar archive as package tarball writes it: a header of 512 bytes, and in front
// of it a header of 512 bytes with the path and a NUL if they are more than 100, and
// another with the target. All is filled up to a multiple of 512.
const (
	tarBlock = 512
	tarEnd   = 2 * tarBlock
	tarShort = 100
)

var tar = archive{
	end:      tarEnd,
	entry:    tarEntry,
	least:    tarLeast,
	most:     tarMost,
	link:     3*tarBlock + 2*tarFill + viewTarget,
	perEntry: perEntryTar,
}

// tarFill is the most that a path or a target with a NUL is filled up by, and the
// slash and the NUL.
const tarFill = tarBlock - 1 + 2

func tarEntry(e *rootfs.Entry) (least, most int64) {
	path := len(e.Path)
	if e.Kind() == fs.ModeDir {
		path++ // the slash
	}
	n := add(tarBlock, padded(e.Size, tarBlock))
	for _, length := range []int{path, len(e.Target)} {
		if length > tarShort {
			n = add(n, tarBlock+padded(int64(length)+1, tarBlock))
		}
	}
	if len(e.Xattrs) == 0 {
		return n, n
	}
	// A header of records instead: of attributes, path and target, each with its
	// length and key, and what fills up the last block.
	records := int64(len(e.Path) + len(e.Target) + 1024)
	for _, x := range e.Xattrs {
		records += int64(len(x.Name) + len(x.Value) + 64)
	}
	return add(tarBlock, padded(e.Size, tarBlock)), add(n, tarBlock+padded(records, tarBlock))
}

// tarLeast: an entry takes more in a tar archive than in a NAR, as its block is
// larger than what a NAR has around names and content. With a path of at most 100
// bytes, of which the name has at most 55, as "nix/store/", a hash and "-" and a
// letter and a slash are 45 of them: 512 + content for at most 208 + 56 + content;
// a link with a target of at most 100, 512 for at most 176 + 56 + 104. With a longer
// path or target the additional 1024 outweigh what the longer name takes, 256. And
// the root, which has no name in the NAR, takes 512 for at most 144, or as a link,
// 216: that much more an object takes at least.
func tarLeast(i *narinfo.Info) int64 { return add(i.NarSize, tarBlock-216) }

// tarMost: an entry takes at most three headers, path and target with what fills
// them up, and content with 511: fewer than 5 blocks and a path more than the
// content and target, of which there are fewer than the NAR has bytes.
func tarMost(i *narinfo.Info) int64 {
	path := add(int64(len(store)+1+len(i.StorePath.Base())), longest(i.NarSize))
	return add(i.NarSize, mul(entries(i.NarSize), add(3*tarBlock+3*tarFill, path)))
}

// A cpio archive as package cpio writes it: a header, the path and a NUL, filled up
// to a multiple of 4, and content or target, likewise.
var newc = archive{
	end:      padded(cpio.HeaderSize+int64(len("TRAILER!!!"))+1, 4),
	entry:    cpioEntry,
	least:    cpioLeast,
	most:     cpioMost,
	link:     cpio.HeaderSize + 1 + 3 + viewTarget + 3,
	perEntry: perEntryCpio,
}

func cpioEntry(e *rootfs.Entry) (least, most int64) {
	n := add(padded(int64(cpio.HeaderSize+len(e.Path)+1), 4), padded(add(e.Size, int64(len(e.Target))), 4))
	return n, n
}

// cpioLeast: an entry below an object whose path has b bytes takes at least
// 112 + b + name + content in the archive, as its path has b + 1 + name, and in the
// NAR at most narFile + name + content. What both have more of brings the two
// nearer to each other, so the first is to the second at least as it is for a name
// of one byte: a shorter one there is not. The root takes at least 111 + b + content,
// where b is 44 or more, for at most 151 + content: 24 + 120 and 7 to fill up.
func cpioLeast(i *narinfo.Info) int64 {
	b := int64(len(store) + 1 + len(i.StorePath.Base()))
	least, nar := cpio.HeaderSize+3+b, int64(narFile+1)
	if least >= nar {
		return i.NarSize
	}
	return i.NarSize/nar*least + i.NarSize%nar*least/nar
}

// cpioMost: an entry takes at most its header, the path and a NUL, 3 to fill up,
// and content or target and 3, of which there are fewer than the NAR has bytes. Longer
// paths than MaxPath are refused.
func cpioMost(i *narinfo.Info) int64 {
	path := min(cpio.MaxPath, add(int64(len(store)+1+len(i.StorePath.Base())), longest(i.NarSize)))
	return add(i.NarSize, mul(entries(i.NarSize), cpio.HeaderSize+1+3+path+3))
}

// The bytes of regular files, which is the size of a directory.
var files = archive{
	entry:    func(e *rootfs.Entry) (least, most int64) { return e.Size, e.Size },
	least:    func(*narinfo.Info) int64 { return 0 },
	most:     func(i *narinfo.Info) int64 { return i.NarSize },
	perEntry: perEntryFiles,
}

// Tar estimates a tar archive, compressed as package compress does under that name.
func Tar(c *Content, compression string) Size { return compressed(c, tar.size(c), compression) }

// Cpio estimates a cpio archive, compressed likewise.
func Cpio(c *Content, compression string) Size { return compressed(c, newc.size(c), compression) }

// Dir estimates the bytes of the regular files of a directory.
func Dir(c *Content) Size {
	d := *c
	d.View = "" // links are no regular files
	return files.size(&d)
}
