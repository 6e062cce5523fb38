package estimate

import "thaw/narinfo"

// What an entry takes of a NAR, by the grammar in package nar. A tag of n bytes
// takes 8 + n, rounded up to a multiple of 8, which is written P(n); so does a
// name, a target or content. The entry of a directory has the tags entry, (, name,
// node and ), its node the tags (, type, … and ):
//
//	in a directory   88 + P(name) + the node
//	file             88 + P(content), 120 + P(content) if it is executable
//	link             88 + P(target)
//	directory        72 + its entries
//	the archive      24 + the root's node
//
// So no entry takes less than an empty directory with a name of one byte, and
// none takes more than it brings of names, targets and content, and a constant.
const (
	// narEntry is the least that an entry below the root takes: 88 + 8 + 72.
	narEntry = 168
	// narFile is the most that an entry below the root takes besides the bytes of
	// its name, target and content: 88 + 120, and 7 to fill up each of two.
	narFile = 222

	// maxDepth is how deep a NAR may nest that somebody vouches for; see
	// assemble.ReadObject.
	maxDepth = 1024
	maxName  = 255
)

// entries returns the most entries that a NAR of so many bytes has, with its root.
func entries(nar int64) int64 { return add(nar/narEntry, 1) }

// longest returns the most bytes that the path of an entry has in a NAR of so many
// bytes, from the object on, with the slash in front. A name of n bytes adds n + 1
// of them and takes 160 + P(n) of the NAR, so the longest name gives most for
// least: 256 for 416.
func longest(nar int64) int64 {
	return min((maxDepth-1)*(maxName+1), add(mul(nar/416, 256), 256))
}

// likelyEntries guesses how many entries an object has.
func likelyEntries(i *narinfo.Info) int64 {
	return min(add(entriesPerObject, i.NarSize/bytesPerEntry), entries(i.NarSize))
}
