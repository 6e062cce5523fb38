package rootfstest

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"thaw/rootfs"
)

// generator makes a tree of chance of what a format can hold.
type generator struct {
	*tree
	rnd   *rand.Rand
	can   *Abilities
	dirs  []string
	files []int // steps that add a regular file
	taken map[string]bool
	left  int64 // bytes of contents that may still come

	// What all of the tree has in common.
	name    func() string
	modTime func() time.Time
	owner   func() uint32
	nearest int // directories among which a parent is chosen, of the first or if negative, of the last
	attrs   int // bytes of extended attributes in an entry
}

// The trees that have a shape of their own; all later numbers are of chance.
var shapes = []func(*generator, extent){
	func(*generator, extent) {}, // the root alone
	(*generator).large,
	(*generator).deep,
	(*generator).huge,
	(*generator).borders,
	(*generator).everyByte,
	(*generator).fullBlocks,
	(*generator).hardLinks,
	(*generator).attributes,
}

// generate makes tree number n.
func generate(n uint64, size extent, can *Abilities) *tree {
	rnd := rand.New(rand.NewPCG(n, 0))
	g := &generator{
		tree: &tree{name: fmt.Sprint(n)}, rnd: rnd, can: can,
		dirs: []string{"."}, taken: map[string]bool{".": true}, left: 1 << 20, attrs: 2000,
	}
	g.nearest = []int{1, 5, 30, 1000, -1, -3}[rnd.IntN(6)]
	g.name = []func() string{g.number, g.word, g.long, g.unicode, g.bytes, g.odd, func() string {
		return []func() string{g.number, g.word, g.long, g.unicode, g.bytes, g.odd}[g.rnd.IntN(6)]()
	}}[rnd.IntN(7)]
	g.modTime = []func() time.Time{func() time.Time { return baseTime }, g.recent, g.anyTime}[rnd.IntN(3)]
	g.owner = []func() uint32{func() uint32 { return 0 }, g.fewOwners, g.anyOwner}[rnd.IntN(3)]
	root := rootfs.Entry{Path: ".", Mode: fs.ModeDir | 0o755, ModTime: baseTime}
	if can.Modes == Held {
		root.Mode, root.UID, root.ModTime = fs.ModeDir|g.mode(), g.owner(), g.modTime()
	}
	g.steps = []step{{entry: root}}
	if n < uint64(len(shapes)) {
		shapes[n](g, size)
		return g.tree
	}
	entries := 1 + rnd.IntN(1<<rnd.IntN(9))
	if n%16 == 0 {
		entries, g.left = 2000, 8<<20
	}
	for range entries {
		g.any()
	}
	return g.tree
}

// any adds an entry of chance.
func (g *generator) any() {
	e := rootfs.Entry{Path: g.path()}
	switch kind := g.rnd.IntN(12); {
	case kind < 3:
		e.Mode = fs.ModeDir
	case kind == 3:
		e.Mode, e.Target = fs.ModeSymlink, g.target()
	case kind == 4:
		e.Mode = []fs.FileMode{fs.ModeNamedPipe, fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice}[g.rnd.IntN(3)]
		if e.Mode&fs.ModeDevice != 0 {
			e.Dev = g.device()
		}
	case kind == 5 && len(g.files) > 0:
		g.again(e.Path, g.files[g.rnd.IntN(len(g.files))])
		return
	default:
		e.Size = g.size()
	}
	g.entry(e)
}

// entry adds e with properties of chance, if its path is valid and new and the
// format can hold it.
func (g *generator) entry(e rootfs.Entry) {
	if g.can.Modes != Refused && e.Kind() != fs.ModeSymlink { // whose mode Linux does not change
		e.Mode |= g.mode()
	} else {
		e.Mode |= plainMode(e.Kind())
	}
	e.UID, e.GID, e.ModTime = g.owner(), g.owner(), g.modTime()
	if g.rnd.IntN(4) == 0 {
		e.Xattrs = g.xattrs(e.Kind())
	}
	s := step{entry: e, seed: e.Path}
	for len(s.entry.Xattrs) > 0 && g.can.refuses(s) == "xattr" {
		s.entry.Xattrs = s.entry.Xattrs[1:]
	}
	if g.can.refuses(s) != "" || !g.take(e.Path) {
		return
	}
	switch e.Kind() {
	case fs.ModeDir:
		g.dirs = append(g.dirs, e.Path)
	case 0:
		s.texture = texture(g.rnd.IntN(int(sparse)))
		switch g.rnd.IntN(6) {
		case 0: // begins as others do
			s.seed = fmt.Sprint(g.rnd.IntN(4))
		case 1: // is one that is there
			if len(g.files) > 0 {
				old := g.steps[g.files[g.rnd.IntN(len(g.files))]]
				s.entry.Size, s.seed, s.texture = old.entry.Size, old.seed, old.texture
			}
		}
		g.files = append(g.files, len(g.steps))
	}
	g.steps = append(g.steps, s)
}

// again adds a file that is there under another path.
func (g *generator) again(path string, file int) {
	s := g.steps[file]
	s.entry.Path, s.same = path, s.entry.Path
	if g.can.refuses(s) == "" && g.take(path) {
		g.files = append(g.files, len(g.steps))
		g.steps = append(g.steps, s)
	}
}

// take reports whether a path is valid and new.
func (g *generator) take(path string) bool {
	key := path
	if g.can.FoldsCase {
		key = strings.ToUpper(strings.ToLower(path))
	}
	if !rootfs.ValidPath(path) || g.taken[key] {
		return false
	}
	g.taken[key] = true
	return true
}

// path makes one in a directory that is there.
func (g *generator) path() string {
	dir := g.dirs[len(g.dirs)-1-g.rnd.IntN(min(len(g.dirs), max(1, -g.nearest)))]
	if g.nearest > 0 {
		dir = g.dirs[g.rnd.IntN(min(len(g.dirs), g.nearest))]
	}
	name := g.name()
	for len(dir)+len(name) > 900 { // which every judge reads
		dir, name = g.dirs[g.rnd.IntN(min(len(g.dirs), 2))], g.word()
	}
	return join(dir, name)
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

func (g *generator) number() string { return fmt.Sprint(g.rnd.IntN(100_000)) }

func (g *generator) word() string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+~"
	b := make([]byte, 1+g.rnd.IntN(20))
	for i := range b {
		b[i] = letters[g.rnd.IntN(len(letters))]
	}
	return string(b)
}

func (g *generator) long() string {
	n := g.number()
	return strings.Repeat("n", g.rnd.IntN(rootfs.MaxName-len(n)+1)) + n
}

func (g *generator) unicode() string {
	b := []byte(fmt.Sprint(g.rnd.IntN(1000)))
	for range g.rnd.IntN(40) {
		b = append(b, []string{"\u00e9", "e\u0301", "\u20ac", "\u00df", "\U0001f9ca", "\u212b", "\u0130", "\ufffd"}[g.rnd.IntN(8)]...)
	}
	return string(b)
}

// bytes makes a name of all bytes that one can have.
func (g *generator) bytes() string {
	b := make([]byte, 1+g.rnd.IntN(rootfs.MaxName))
	for i := range b {
		for b[i] == 0 || b[i] == '/' {
			b[i] = byte(g.rnd.Uint32())
		}
	}
	return string(b)
}

func (g *generator) odd() string {
	n := g.rnd.IntN(1000)
	return fmt.Sprintf([]string{"...%d", "-%d", " %d", "%d ", "%d.", "Name%d.Txt", "NAME~%d", ".%d+ =.x", "%d\n", "#%d#", "$(%d)", "lost+found%d", "%d.tar.gz"}[g.rnd.IntN(13)], n)
}

func (g *generator) mode() fs.FileMode {
	mode := fs.FileMode(g.rnd.IntN(0o1000))
	if g.rnd.IntN(4) == 0 {
		mode |= []fs.FileMode{fs.ModeSetuid, fs.ModeSetgid, fs.ModeSticky, fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky}[g.rnd.IntN(4)]
	}
	if mode == 0 {
		mode = 0o644
	}
	return mode
}

func (g *generator) recent() time.Time {
	return time.Unix(baseTime.Unix()+g.rnd.Int64N(1e9), g.rnd.Int64N(1e9))
}

func (g *generator) anyTime() time.Time {
	first, last := max(g.can.MinTime, -beyond), min(g.can.MaxTime, beyond)
	return time.Unix(first+g.rnd.Int64N(last-first+1), g.rnd.Int64N(1e9))
}

func (g *generator) maxID() uint32 {
	switch {
	case g.can.Owners == Refused:
		return 0
	case g.can.MaxID == 0:
		return 1<<32 - 1
	}
	return g.can.MaxID
}

func (g *generator) fewOwners() uint32 {
	return min([]uint32{0, 1, 1000, 65534, 65535, 65536, 1<<31 - 1}[g.rnd.IntN(7)], g.maxID())
}

func (g *generator) anyOwner() uint32 { return uint32(g.rnd.Uint64N(uint64(g.maxID()) + 1)) }

func (g *generator) device() uint64 {
	bits := func(limit uint32) uint32 { return g.rnd.Uint32N(min(limit, 1<<31)+1) >> g.rnd.IntN(20) }
	return rootfs.Mkdev(max(1, bits(g.can.MaxMajor)), bits(g.can.MaxMinor))
}

func (g *generator) target() string {
	n := 1 + g.rnd.IntN(1<<g.rnd.IntN(13))
	if g.rnd.IntN(3) == 0 {
		n = []int{58, 59, 60, 61, 255, 256, 4000, 4093, 4094, 4095}[g.rnd.IntN(10)]
	}
	return strings.Repeat("../\xffé/", 1000)[:max(1, min(n, g.can.MaxTarget))]
}

// size is that of a file: around a multiple of a block, or of chance.
func (g *generator) size() int64 {
	size := g.rnd.Int64N(1 << g.rnd.IntN(18))
	if g.rnd.IntN(3) == 0 {
		size = g.rnd.Int64N(4)*512<<g.rnd.IntN(12) + g.rnd.Int64N(3) - 1
	}
	size = max(0, min(size, g.left))
	g.left -= size
	return size
}

// xattrs makes up to four, some of which are those of other entries too.
func (g *generator) xattrs(kind fs.FileMode) []rootfs.Xattr {
	var all []rootfs.Xattr
	left := g.attrs
	for i := range 1 + g.rnd.IntN(4) {
		prefix := []string{"security.", "trusted.", "user."}[g.rnd.IntN(3)]
		if prefix == "user." && kind != 0 && kind != fs.ModeDir {
			continue // Linux has none
		}
		size := min(left, rootfs.MaxXattrValue, g.rnd.IntN(1<<g.rnd.IntN(18)))
		left -= size
		value := []byte(strings.Repeat(fmt.Sprintf("value %d\n\x00\xff=", g.rnd.IntN(3)), size/10+1)[:size])
		all = append(all, rootfs.Xattr{Name: fmt.Sprintf("%s%d%s", prefix, i, strings.Repeat("n", g.rnd.IntN(1<<g.rnd.IntN(8)))), Value: value})
	}
	if kind == 0 && g.rnd.IntN(4) == 0 { // a file capability, in its second version
		all = append(all, rootfs.Xattr{Name: "security.capability", Value: []byte{1, 0, 0, 2, 0, 0x20, 19: 0}})
	}
	slices.SortFunc(all, func(a, b rootfs.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return all
}
