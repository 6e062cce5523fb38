// Package nar reads and writes Nix archives (NARs), the serialisation of one
// file, symbolic link or directory tree whose hash names it in a Nix store.
//
// It is archive/tar transposed: [Reader.Next] goes to the next entry,
// [Reader.Read] reads its contents; [Writer.WriteHeader] and [Writer.Write] are
// the mirror image. The format is figure 5.2 of Eelco Dolstra's thesis, "The
// Purely Functional Software Deployment Model", and "Nix Archive (NAR) format"
// in the Nix manual.
//
// # Laws
//
// One tree has exactly one archive, and both sides hold to it:
//
//   - the first entry is ".", the root; each directory is followed at once by
//     what is in it, in strictly increasing bytewise order of names;
//   - padding is zero, no tag is left out, repeated or reordered, and nothing
//     follows the root node;
//   - so what a Reader accepts, a Writer reproduces byte for byte, and a Writer
//     writes nothing that a Reader refuses.
//
// Nix itself has accepted archives that it would write differently; they are
// errors here, and so are duplicate names, the way to write through a symbolic
// link (CVE-2024-45593), and bottomless nesting (CVE-2026-44028).
//
// # Limits
//
// A node is at most [MaxDepth] deep unless the caller allows more, a name has 1 to [MaxName] bytes and a
// target 1 to [MaxTarget]; contents may have up to 2^63-1 bytes and are never
// held in memory. A Reader keeps one buffer of 64 KiB and one path of at most
// 256 bytes a level, whatever the archive says. How long an archive may be altogether is
// for the caller to bound, who knows the signed size.
//
// # End of the stream
//
// [Reader.Next] returns [io.EOF] only after the stream under it has done so:
// a stream that checks a hash and reports the wrong one where it would end is
// heard. A stream that ends before the archive does is a [*FormatError] that
// wraps [io.ErrUnexpectedEOF]; any other error of the stream comes through as
// it is.
//
// # What it does not do
//
// It touches no file system and computes no hash. It gives names as bytes, not
// as UTF-8, and knows no suffix for names that differ by case only. It cannot
// find the end of an archive that other data follows.
package nar

import (
	"fmt"
	"io"
	"io/fs"
)

// Limits of an entry, the same for [Reader] and [Writer].
const (
	MaxDepth  = 64   // of a node, the root having depth 1
	MaxName   = 255  // bytes in a name, as in Linux's NAME_MAX
	MaxTarget = 4095 // bytes in the target of a symbolic link: Linux's PATH_MAX less the final NUL
)

// Header describes one entry of an archive.
type Header struct {
	// Path is "." for the root, otherwise relative to it: names separated by
	// slashes. A name has 1 to [MaxName] bytes, is not "." or ".." and holds
	// no slash or NUL; it need not be UTF-8.
	Path   string
	Kind   Kind
	Size   int64  // Regular and Executable: bytes of contents; otherwise 0
	Target string // Symlink: 1 to [MaxTarget] bytes without NUL; otherwise ""
}

// Kind says what an entry is; an archive knows nothing else about its mode.
type Kind uint8

// The four kinds of entries.
const (
	Regular    Kind = iota // a file with contents
	Executable             // likewise, with permission to run it
	Directory
	Symlink
)

// IsFile reports whether an entry of this kind has contents.
func (k Kind) IsFile() bool { return k == Regular || k == Executable }

// Mode returns the kind and the permissions that Nix gives such an entry in a
// store.
func (k Kind) Mode() fs.FileMode {
	switch k {
	case Regular:
		return 0o444
	case Executable:
		return 0o555
	case Directory:
		return fs.ModeDir | 0o555
	case Symlink:
		return fs.ModeSymlink | 0o777
	}
	return fs.ModeIrregular
}

// String returns the kind in words.
func (k Kind) String() string {
	switch k {
	case Regular:
		return "regular file"
	case Executable:
		return "executable file"
	case Directory:
		return "directory"
	case Symlink:
		return "symlink"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// FormatError says where and why what was read is not a canonical archive. It
// wraps [io.ErrUnexpectedEOF] if the stream ended before the archive did.
type FormatError struct {
	Offset int64 // in bytes from the start of the archive
	Reason string

	truncated bool
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("malformed archive at byte %d: %s", e.Offset, e.Reason)
}

// Unwrap returns [io.ErrUnexpectedEOF] for an archive cut short, otherwise nil.
func (e *FormatError) Unwrap() error {
	if e.truncated {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// EntryError says why a [Writer] refuses an entry or its contents.
type EntryError struct {
	Path   string
	Reason string
}

func (e *EntryError) Error() string { return fmt.Sprintf("%q: %s", e.Path, e.Reason) }
