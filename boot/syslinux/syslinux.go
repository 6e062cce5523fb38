// Package syslinux installs Syslinux, a boot loader for BIOSes, in a FAT file system
// that is being written.
//
// A [Loader] is two things that Syslinux's installers carry in them and its packages
// have nowhere else: the code of a boot sector, and ldlinux.sys. [Open] finds both in
// an installer, the programs syslinux and extlinux, without running it. The caller
// puts [Loader.Sys] into the root directory as ldlinux.sys, beside ldlinux.c32 of the
// same version, as [Loader.Fits] holds, and when it knows where that file came to lie, [Loader.Install] writes
// what syslinux -i would: a boot sector and an ldlinux.sys that know each other's
// places. The disk needs code in its first sector, too, which is gptmbr.bin or
// mbr.bin of the package, and a partition with the attribute for legacy boot.
//
// What differs from syslinux -i: the file has no DOS attributes (hidden, system,
// read-only), which no loader looks at, and FAT32's copy of the boot sector stays
// one. The place of things in both is that of
// Syslinux 4 to 6; installers and files are untrusted, and everything in them is
// checked before it is used.
package syslinux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

var le = binary.LittleEndian

const (
	sectorSize = 512
	// advSize is the size of each of two copies of data that the loader can
	// write as it runs.
	advSize = 512
	// magic begins the patch area of ldlinux.sys and stands at the end of the
	// boot sector's code.
	magic = 0x3eb202fe

	minSys, maxSys = 16 << 10, 256 << 10
	// MaxProgram is how many bytes an installer has at most.
	MaxProgram = 16 << 20
)

// Parts of a boot sector of FAT (see package [thaw/image/vfat]): what the loader brings
// is in front of and behind the parameters of the file system. FAT32 has the most of
// these.
const (
	headEnd   = 11
	codeStart = 90
	codeEnd   = 510
	magicAt   = 504
)

// Fields of the patch area, from its magic on.
const (
	patchDataSectors = 8
	patchADVSectors  = 10
	patchDwords      = 12
	patchChecksum    = 16
	patchExtended    = 22 // where in ldlinux.sys the extended patch area is
	patchSize        = 24
)

// Fields of the extended patch area: each has 16 bits, and is a place in ldlinux.sys
// or, for the last two, in the boot sector.
const (
	extADV         = 0  // two numbers of sectors, of 64 bits
	extExtents     = 10 // numbers of sectors (64 bits) and counts (16 bits)
	extExtentCount = 12
	extSector      = 14 // of ldlinux.sys' first: the low 32 bits
	extSectorHigh  = 16
	extSize        = 20

	extentSize = 10
	// maxExtent is how many sectors a BIOS reads at once: less than 64 KiB.
	maxExtent = 127
)

// A Loader is Syslinux as it can be installed.
type Loader struct {
	boot  []byte
	sys   []byte // in whole sectors
	patch int    // where in sys
	ext   int

	module []string // of the installer's ldlinux.c32; nil if it is not known
}

// New makes a Loader of the code of a boot sector, ldlinux.bss in Syslinux's
// sources, and of ldlinux.sys.
func New(boot, sys []byte) (*Loader, error) {
	if len(boot) != sectorSize || le.Uint16(boot[codeEnd:]) != 0xaa55 || le.Uint32(boot[magicAt:]) != magic {
		return nil, errors.New("the boot sector is not Syslinux's")
	}
	if len(sys) < minSys || len(sys) > maxSys {
		return nil, fmt.Errorf("ldlinux.sys has %d bytes, not %d to %d", len(sys), minSys, maxSys)
	}
	l := &Loader{boot: bytes.Clone(boot), sys: slices.Concat(sys, make([]byte, -len(sys)&(sectorSize-1))), patch: -1}
	for at := 0; at+patchSize <= sectorSize && l.patch < 0; at += 4 {
		if le.Uint32(l.sys[at:]) == magic {
			l.patch = at
		}
	}
	if l.patch < 0 {
		return nil, errors.New("ldlinux.sys is not Syslinux's: it has no patch area in its first sector")
	}
	l.ext = int(le.Uint16(l.sys[l.patch+patchExtended:]))
	if l.ext+extSize > len(l.sys) {
		return nil, errors.New("ldlinux.sys has its extended patch area beyond its end")
	}
	adv, extents, count := l.field(extADV), l.field(extExtents), l.field(extExtentCount)
	if adv+16 > len(l.sys) || extents+count*extentSize > len(l.sys) {
		return nil, errors.New("ldlinux.sys has a list of sectors beyond its end")
	}
	for _, f := range []int{extSector, extSectorHigh} {
		if at := l.field(f); at < codeStart || at+4 > magicAt {
			return nil, fmt.Errorf("ldlinux.sys and the boot sector do not fit: one is to be patched at %d of the other", at)
		}
	}
	return l, nil
}

// field returns a field of the extended patch area.
func (l *Loader) field(at int) int { return int(le.Uint16(l.sys[l.ext+at:])) }

// Sys returns the content of ldlinux.sys as it is before it is installed. It must come
// to lie in one piece.
func (l *Loader) Sys() []byte { return slices.Concat(l.sys, adv(), adv()) }

// adv returns an empty auxiliary data vector.
func adv() []byte {
	b := make([]byte, advSize)
	le.PutUint32(b, 0x5a2d2fa5)
	le.PutUint32(b[4:], 0xa3041767) // less all that follows, which is zero
	le.PutUint32(b[advSize-4:], 0xdd28bf64)
	return b
}

// Install writes ldlinux.sys, which lies in one piece at a place in a FAT file system,
// and the boot sector and copies of it at theirs, but for what the file system says of
// itself there. Its sectors have 512 bytes. The file system is complete before.
func (l *Loader) Install(w io.WriterAt, bootAt []int64, at int64) error {
	if at <= 0 || at%sectorSize != 0 {
		return fmt.Errorf("ldlinux.sys cannot be at %d", at)
	}
	boot, sys := bytes.Clone(l.boot), bytes.Clone(l.sys)
	first, count := uint64(at/sectorSize), len(sys)/sectorSize
	le.PutUint32(boot[l.field(extSector):], uint32(first))
	le.PutUint32(boot[l.field(extSectorHigh):], uint32(first>>32))
	patch := sys[l.patch:]
	le.PutUint16(patch[patchDataSectors:], uint16(count))
	le.PutUint16(patch[patchADVSectors:], 2)
	le.PutUint32(patch[patchDwords:], uint32(len(sys)/4))
	extents := sys[l.field(extExtents):][:l.field(extExtentCount)*extentSize]
	clear(extents)
	for next, left := first+1, count-1; left > 0; {
		if len(extents) == 0 {
			return errors.New("ldlinux.sys has no room for the list of its sectors")
		}
		n := min(left, maxExtent)
		le.PutUint64(extents, next)
		le.PutUint16(extents[8:], uint16(n))
		next, left, extents = next+uint64(n), left-n, extents[extentSize:]
	}
	adv := sys[l.field(extADV):]
	le.PutUint64(adv, first+uint64(count))
	le.PutUint64(adv[8:], first+uint64(count)+1)
	le.PutUint32(patch[patchChecksum:], 0)
	sum := uint32(magic)
	for at := 0; at < len(sys); at += 4 {
		sum -= le.Uint32(sys[at:])
	}
	le.PutUint32(patch[patchChecksum:], sum)
	if err := write(w, sys, at); err != nil {
		return err
	}
	for _, at := range bootAt {
		if err := write(w, boot[:headEnd], at); err != nil {
			return err
		}
		if err := write(w, boot[codeStart:codeEnd], at+codeStart); err != nil {
			return err
		}
	}
	return nil
}

func write(w io.WriterAt, p []byte, at int64) error {
	n, err := w.WriteAt(p, at)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}
