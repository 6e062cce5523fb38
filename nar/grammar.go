package nar

import "fmt"

// An archive is a sequence of strings, each a little-endian length of 8 bytes,
// the bytes, and zeros up to a multiple of 8. Fixed strings are called tags:
//
//	archive = "nix-archive-1" node
//	node    = "(" "type" ( "regular" [ "executable" "" ] "contents" STRING
//	                     | "symlink" "target" STRING
//	                     | "directory" { "entry" "(" "name" STRING "node" node ")" }
//	                     ) ")"
//
// Because the grammar leaves no choice of spelling, tags are held here as they
// look on disk, and whole runs of them are compared and written at once.
const (
	tagMagic      = "\x0d" + zero7 + "nix-archive-1" + zero3
	tagOpen       = "\x01" + zero7 + "(" + zero7
	tagClose      = "\x01" + zero7 + ")" + zero7
	tagType       = "\x04" + zero7 + "type" + zero4
	tagRegular    = "\x07" + zero7 + "regular" + zero1
	tagExecutable = "\x0a" + zero7 + "executable" + zero6
	tagEmpty      = "\x00" + zero7
	tagContents   = "\x08" + zero7 + "contents"
	tagSymlink    = "\x07" + zero7 + "symlink" + zero1
	tagTarget     = "\x06" + zero7 + "target" + zero2
	tagDirectory  = "\x09" + zero7 + "directory" + zero7
	tagEntry      = "\x05" + zero7 + "entry" + zero3
	tagName       = "\x04" + zero7 + "name" + zero4
	tagNode       = "\x04" + zero7 + "node" + zero4

	zero1 = "\x00"
	zero2 = zero1 + zero1
	zero3 = zero2 + zero1
	zero4 = zero2 + zero2
	zero6 = zero4 + zero2
	zero7 = zero6 + zero1
)

// The runs. Each of the four ways to start a node is, with what has to follow
// it, at least as long as the longest run: see [Reader.oneOf].
const (
	runRegular    = tagOpen + tagType + tagRegular + tagContents
	runExecutable = tagOpen + tagType + tagRegular + tagExecutable
	runSymlink    = tagOpen + tagType + tagSymlink + tagTarget
	runDirectory  = tagOpen + tagType + tagDirectory

	runMarked   = tagEmpty + tagContents       // follows runExecutable
	runName     = tagOpen + tagName            // follows tagEntry
	runEndEntry = tagClose + tagClose          // ends a node and the entry that holds it
	runEntry    = tagEntry + tagOpen + tagName // for a Writer, which has no choice to make
	runProgram  = runExecutable + runMarked    // likewise
)

// maxTag is the longest tag worth quoting in an error, in bytes; the longest
// in the grammar has 13.
const maxTag = 32

// badPadding is a reason in a FormatError.
const badPadding = "padding that is not zero"

// tagLen returns how long the tag that b starts with is on disk. b is one of
// the runs above, or a part that starts with a tag.
func tagLen(b string) int { return 8 + padded(int(b[0])) }

// padded rounds n up to a multiple of 8.
func padded(n int) int { return (n + 7) &^ 7 }

// padding returns how many zeros follow a string of n bytes.
func padding(n int64) int { return int(-n & 7) }

// badName returns what is wrong with name, or "".
func badName(name []byte) string {
	switch {
	case len(name) == 0 || len(name) > MaxName:
		return fmt.Sprintf("a name of %d bytes, not 1 to %d", len(name), MaxName)
	case string(name) == "." || string(name) == "..":
		return fmt.Sprintf("the name %q", name)
	}
	for _, c := range name {
		if c == 0 || c == '/' {
			return fmt.Sprintf("%q in the name %q", c, name)
		}
	}
	return ""
}

// badTarget returns what is wrong with the target of a symbolic link, or "".
func badTarget(target []byte) string {
	if len(target) == 0 || len(target) > MaxTarget {
		return fmt.Sprintf("a target of %d bytes, not 1 to %d", len(target), MaxTarget)
	}
	for _, c := range target {
		if c == 0 {
			return "a NUL in a target"
		}
	}
	return ""
}
