package iso

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"thaw/image/disk"
	"thaw/rootfs"
)

// A node is what Rock Ridge calls a file: what names point to.
type node struct {
	size   int64  // of a file's content; a device's number
	sector uint32 // of a file's content, which is in one piece
	index  uint32 // of a directory in dirs, of a link in targets
	uid    uint32
	gid    uint32
	links  uint32
	mode   uint16
	date   date
}

// kind returns the type of the node as stat(2) has it.
func (n *node) kind() uint16 { return n.mode & modeKind }

// Types of nodes (stat(2), and RRIP, section 4.1.1).
const (
	modeKind = 0o170000
	modeFile = 0o100000
	modeDir  = 0o040000
	modeLink = 0o120000
	modeChar = 0o020000
	modeBlk  = 0o060000
)

// A date is a time as directories have it (ECMA-119, section 9.1.5).
type date [7]byte

// newDate makes a date of a time within MinTime and MaxTime.
func newDate(t time.Time) date {
	t = t.UTC()
	return date{byte(t.Year() - 1900), byte(t.Month()), byte(t.Day()), byte(t.Hour()), byte(t.Minute()), byte(t.Second())}
}

var (
	errOpen = errors.New("iso: the image added before has no end yet")
	errFull = fmt.Errorf("iso: %w: a volume has up to %d sectors", disk.ErrFull, int64(maxSectors))
)

func (w *Writer) add(e *rootfs.Entry, data io.Reader) error {
	if w.open != nil {
		return errOpen
	}
	n, err := newNode(e)
	if err != nil {
		return err
	}
	if n.kind() == modeFile && e.Size > 0 {
		if n.sector, err = w.place(e.Size); err != nil {
			return err
		}
		if err := w.addData(e, n.sector, data); err != nil {
			return err
		}
	}
	return w.link(e, n)
}

// place returns the sector of content that comes next.
func (w *Writer) place(size int64) (uint32, error) {
	sector := w.out.Pos() / sectorSize
	if sector+sectors(size) > maxSectors {
		return 0, errFull
	}
	return uint32(sector), nil
}

// sectors returns how many sectors a number of bytes takes.
func sectors(size int64) int64 { return (size + sectorSize - 1) / sectorSize }

// link puts a node into the tree.
func (w *Writer) link(e *rootfs.Entry, n node) error {
	if e.Path == "." {
		return w.dirs.AddRoot(w.newDir(e.Path, n, nil))
	}
	parent, name, err := w.newName(e.Path)
	if err != nil {
		return err
	}
	number := uint32(len(w.nodes))
	switch n.kind() {
	case modeDir:
		w.nodes[parent.node].links++
		path := w.dirs.Keep(e.Path)
		w.dirs.Add(path, w.newDir(path, n, parent))
	case modeLink:
		n.index = uint32(len(w.targets))
		w.targets = append(w.targets, strings.Clone(e.Target))
		fallthrough
	default:
		w.nodes = append(w.nodes, n)
	}
	parent.entries.Add(w.dirs.Keep(name), number)
	return nil
}

// newDir adds the node of a directory, which is to be added to the others next.
func (w *Writer) newDir(path string, n node, parent *dir) *dir {
	n.links = 2
	n.index = uint32(len(w.dirs.All))
	w.nodes = append(w.nodes, n)
	return &dir{path: path, node: uint32(len(w.nodes) - 1), parent: parent}
}

// newName returns the directory that a new path lies in, and its last element.
func (w *Writer) newName(path string) (*dir, string, error) {
	if slices.Contains(w.images, path) {
		return nil, "", &rootfs.EntryError{Path: path, Reason: "comes twice, once as an image"}
	}
	return w.dirs.Parent(path)
}

func (w *Writer) addSame(path, earlier string) error {
	if w.open != nil {
		return errOpen
	}
	from, name, err := w.dirs.Parent(earlier)
	if err != nil {
		return err
	}
	number, ok := from.entries.Lookup(name)
	if !ok || w.nodes[number].kind() != modeFile {
		return &rootfs.EntryError{Path: path, Reason: fmt.Sprintf("%q is no regular file added before", earlier)}
	}
	if reason := refusesName(path); reason != "" {
		return &rootfs.EntryError{Path: path, Reason: reason}
	}
	parent, name, err := w.newName(path)
	if err != nil {
		return err
	}
	w.nodes[number].links++
	parent.entries.Add(w.dirs.Keep(name), number)
	return nil
}

// newNode makes the node of an entry, without its place.
func newNode(e *rootfs.Entry) (node, error) {
	n := node{uid: e.UID, gid: e.GID, links: 1, mode: uint16(e.UnixMode())}
	major, minor := rootfs.Major(e.Dev), rootfs.Minor(e.Dev)
	reason := refusesName(e.Path)
	switch sec := e.ModTime.Unix(); {
	case reason != "":
	case n.kind() == 0:
		reason = fmt.Sprintf("mode %v is of no kind that ISO 9660 holds", e.Mode)
	case len(e.Xattrs) > 0:
		reason = fmt.Sprintf("ISO 9660 holds no extended attributes (%q)", e.Xattrs[0].Name)
	case sec < MinTime || sec > MaxTime:
		reason = fmt.Sprintf("ISO 9660 holds no time before 1900 or after 2155: %v", e.ModTime.UTC())
	case e.Size > MaxFile:
		reason = fmt.Sprintf("Linux reads no file of %d bytes on ISO 9660, at most %d", e.Size, int64(MaxFile))
	case major > MaxMajor || minor > MaxMinor || major == 0 && minor > 0xff:
		reason = fmt.Sprintf("Linux reads no device number %d:%d on ISO 9660", major, minor)
	}
	if reason != "" {
		return n, &rootfs.EntryError{Path: e.Path, Reason: reason}
	}
	n.date = newDate(e.ModTime)
	switch e.Kind() {
	case 0:
		n.size = e.Size
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		n.size = int64(e.Dev)
	}
	return n, nil
}

func refusesName(path string) string {
	if _, name := rootfs.Split(path); len(name) > MaxName {
		return fmt.Sprintf("Linux reads no name of %d bytes on ISO 9660, at most %d", len(name), MaxName)
	}
	return ""
}

// addData writes the content of a file.
func (w *Writer) addData(e *rootfs.Entry, sector uint32, data io.Reader) error {
	if e.Path == w.opt.BIOS {
		return w.addBIOS(e, sector, data)
	}
	if err := w.out.Copy(data, e.Size); err != nil {
		return err
	}
	w.pad()
	return w.out.Err()
}

const (
	infoStart, infoEnd = 8, 64
	// maxLoader is far above the size of any loader.
	maxLoader = 16 << 20
)

// addBIOS writes the loader that a BIOS boots from a CD, with a boot information table
// that tells it where it is (the man pages of mkisofs and of SYSLINUX have it).
func (w *Writer) addBIOS(e *rootfs.Entry, sector uint32, data io.Reader) error {
	if e.Size < infoEnd || e.Size > maxLoader {
		return &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf("a BIOS is to boot it, and it has %d bytes, not %d to %d", e.Size, infoEnd, maxLoader)}
	}
	b := make([]byte, e.Size)
	if _, err := io.ReadFull(data, b); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	sum := uint32(0)
	for words := slices.Concat(b[infoEnd:], make([]byte, -e.Size&3)); len(words) > 0; words = words[4:] {
		sum += binary.LittleEndian.Uint32(words)
	}
	clear(b[infoStart:infoEnd])
	for i, v := range []uint32{primarySector, sector, uint32(e.Size), sum} {
		binary.LittleEndian.PutUint32(b[infoStart+4*i:], v)
	}
	w.bios = &extent{sector, e.Size}
	w.mapFiles()
	w.write(b)
	w.mapRegion(e.Path, bootedByBIOS)
	return w.out.Err()
}
