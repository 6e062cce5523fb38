package estimate

import "thaw/narinfo"

// The guesses. They are averages of a bootable system of 55 objects and 233 MB of
// NARs (glibc, coreutils, git, python3, a kernel and its modules), rounded, and were
// held against closures of other kinds: many small objects, one object with many
// files, text, zeros. likely_test.go has the real sizes.
const (
	// Most objects have a handful of entries, large ones one for some ten KB.
	entriesPerObject = 8
	bytesPerEntry    = 32 << 10

	// What an entry takes more than in a NAR, where it takes 200 bytes and its name.
	perEntryTar   = 650  // the header, half a block for files, two more blocks for a long path
	perEntryCpio  = 0    // the header and the path are as long
	perEntryFiles = -220 // nothing for the header, and targets go away
	perEntryExt4  = 2600 // half a block for files, a whole one for directories and long targets

	// equalPart is what files that are equal to others take, in hundredths.
	equalPart = 3

	// hollowRatio is how well a NAR has to be compressed to be taken for zeros, of
	// which ext4 keeps nothing. What is not zeros but much the same all over is
	// below that.
	hollowRatio = 4000
)

// hollow reports whether an object is likely to be zeros.
func hollow(i *narinfo.Info) bool {
	return packed(i) && i.NarSize/i.FileSize >= hollowRatio
}

// packed reports whether a narinfo says in earnest how small the NAR becomes. Caches
// are free to say anything: nothing of it is signed.
func packed(i *narinfo.Info) bool {
	return i.Compression != "none" && i.FileSize > 0 && i.FileSize <= add(i.NarSize, i.NarSize/8, 1<<10)
}
