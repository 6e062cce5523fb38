package vfat

import (
	"fmt"
	"io/fs"
	"math/bits"
	"time"

	"thaw/internal/names"
	"thaw/rootfs"
)

const (
	slotSize = 32 // bytes of a slot in a directory
	// maxSlots is how many slots a directory has at most: 2 MiB.
	maxSlots = 1 << 16
	// rootSlots is how many the root directory of FAT12 and FAT16 has.
	rootSlots = 512

	minCluster, maxCluster = 512, 32 << 10
)

// A tree is what a file system holds beside contents.
type tree struct {
	dirs  names.Dirs[dir]
	label bool
	// taken counts the clusters of all directories but the root, by the
	// logarithm of the size of a cluster, from minCluster to maxCluster.
	taken [7]int64
}

// A dir is a directory whose entries are still coming in.
type dir struct {
	path     string
	parent   *dir
	self     stamp
	children []node
	byFold   map[string]int32 // children by their names without case
	slots    int64
	first    uint32 // its first cluster, when it has one
}

// A node is an entry of a directory.
type node struct {
	name  string
	dir   *dir   // of a directory
	first uint32 // cluster of a file's content, or 0
	size  uint32
	stamp
}

// A stamp is a time as FAT holds it.
type stamp struct{ date, time uint16 }

// newStamp makes a stamp of a time that is not above MaxTime (section "Date and
// Time Formats").
func newStamp(t time.Time) stamp {
	if t = t.UTC(); t.Unix() < MinTime {
		t = time.Unix(MinTime, 0).UTC()
	}
	return stamp{
		date: uint16((t.Year()-1980)<<9 | int(t.Month())<<5 | t.Day()),
		time: uint16(t.Hour()<<11 | t.Minute()<<5 | t.Second()/2),
	}
}

func (t *tree) empty() bool { return len(t.dirs.All) == 0 }

// root returns the root directory, or an empty one before it is there.
func (t *tree) root() *dir {
	if t.empty() {
		return new(dir)
	}
	return t.dirs.All[0]
}

// clusters returns how many clusters of a size all directories but the root take.
func (t *tree) clusters(cluster int64) int64 { return t.taken[clusterLog(cluster)] }

func clusterLog(cluster int64) int { return bits.TrailingZeros64(uint64(cluster / minCluster)) }

// clusters returns how many clusters of a size the directory takes, which is one at
// least.
func (d *dir) clusters(cluster int64) int64 { return max(1, ceilDiv(d.slots*slotSize, cluster)) }

// last returns the path of the last entry of the directory.
func (d *dir) last() string {
	if len(d.children) == 0 {
		return d.path
	}
	return join(d.path, d.children[len(d.children)-1].name)
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// add adds an entry without its content. The node is valid until the next call, and
// nil for the root.
func (t *tree) add(e *rootfs.Entry) (*node, error) {
	if reason := refuses(e); reason != "" {
		return nil, &rootfs.EntryError{Path: e.Path, Reason: reason}
	}
	if e.Path == "." {
		root := &dir{path: ".", self: newStamp(e.ModTime)}
		if t.label {
			root.slots = 1
		}
		return nil, t.dirs.AddRoot(root)
	}
	d, name, err := t.dirs.Parent(e.Path)
	if err != nil {
		return nil, err
	}
	key := foldCase(name)
	if i, ok := d.byFold[key]; ok {
		return nil, &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf("FAT cannot tell its name from that of %q", join(d.path, d.children[i].name))}
	}
	n := slots(name)
	if d.slots+n > maxSlots {
		return nil, &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf("the directory is full: FAT gives it %d slots, and a long name takes several", maxSlots)}
	}
	t.grow(d, n)
	name = t.dirs.Keep(name)
	if d.byFold == nil {
		d.byFold = map[string]int32{}
	}
	d.byFold[key] = int32(len(d.children))
	child := node{name: name, size: uint32(e.Size), stamp: newStamp(e.ModTime)}
	if e.Kind() == fs.ModeDir {
		child.dir = &dir{path: join(d.path, name), parent: d, self: child.stamp}
		t.dirs.Add(child.dir.path, child.dir)
		t.grow(child.dir, 2) // "." and ".."
	}
	d.children = append(d.children, child)
	return &d.children[len(d.children)-1], nil
}

// rootRoom reports whether the root directory is too large for a type, as the entry
// at path made it; 0 is a type that is not known yet.
func (t *tree) rootRoom(bits int, path string) error {
	if bits != 0 && bits != 32 && t.root().slots > rootSlots {
		return &rootfs.EntryError{Path: path, Reason: fmt.Sprintf("the root directory of FAT%d is full: it has %d slots, and a long name takes several", bits, rootSlots)}
	}
	return nil
}

// grow gives a directory n slots more.
func (t *tree) grow(d *dir, n int64) {
	for k := range t.taken {
		if cluster := int64(minCluster) << k; d.parent != nil {
			t.taken[k] += ceilDiv((d.slots+n)*slotSize, cluster) - ceilDiv(d.slots*slotSize, cluster)
		}
	}
	d.slots += n
}

// refuses says why FAT cannot hold e, or "".
func refuses(e *rootfs.Entry) string {
	switch kind := e.Kind(); {
	case kind == fs.ModeSymlink:
		return "FAT holds no symbolic links"
	case kind != 0 && kind != fs.ModeDir:
		return "FAT holds no devices and no pipes"
	case len(e.Xattrs) > 0:
		return fmt.Sprintf("FAT holds no extended attributes (%q)", e.Xattrs[0].Name)
	case e.Size > MaxFile:
		return fmt.Sprintf("FAT holds no file of %d bytes, at most %d", e.Size, int64(MaxFile))
	case e.ModTime.Unix() > MaxTime:
		return fmt.Sprintf("FAT holds no time after 2107: %s", e.ModTime.UTC().Format(time.RFC3339))
	}
	if e.Path == "." {
		return ""
	}
	_, name := rootfs.Split(e.Path)
	return refusesName(name)
}
