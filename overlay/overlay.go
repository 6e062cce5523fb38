// Package overlay makes entries of what a spec puts into the root file system
// besides its packages: accounts, what a running system reads in /etc, services,
// devices, files, and directories of this machine.
//
// What wins, from the weakest: trees, in the order of the spec; homes and the
// places of mounts; what is generated; files and devices of the spec. A file
// replaces a file, and a directory is one with another of its path, but where
// one needs a directory and another has a file is an error that names both.
//
// Nothing comes from the clock, the environment, or owners, times and modes of
// this machine but for the executable bit. Files of this machine are read twice,
// never held in memory: once for their sizes and hashes, and again while the
// image is written. If they have changed by then, the build fails.
package overlay

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io/fs"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"thaw/rootfs"
	"thaw/spec"
)

// Overlay is the root file system without what comes from packages. Both trees
// have the parents of what is in them, but for what every image has: the root,
// /nix and /nix/store.
type Overlay struct {
	// Tree wins over the merged view of the packages.
	Tree rootfs.Tree
	// Defaults are for where neither the merged view nor Tree has anything.
	Defaults rootfs.Tree
	// Digest is a hash of all that is in both trees, with the contents of files.
	Digest [32]byte
}

const (
	maxEntries = 500_000 // of an overlay; each takes about 600 bytes of memory
	maxPath    = 4095    // bytes of a path that Linux takes
)

// Read makes the overlay of a spec, which must be normalised. It reads the files
// that the spec names, relative to the directory of the spec.
func Read(s *spec.Spec) (*Overlay, error) {
	return newBuilder(s).build()
}

func newBuilder(s *spec.Spec) *builder {
	b := &builder{
		spec: s, rootfs: &s.Rootfs, key: "rootfs", over: &Overlay{}, time: time.Unix(s.Epoch, 0).UTC(), most: maxEntries,
		marks: map[string]mark{}, sums: map[string][32]byte{}, reserved: map[string]string{}, dirs: map[string]string{},
	}
	b.reserve()
	return b
}

func (b *builder) build() (*Overlay, error) {
	for _, step := range []func() error{b.trees, b.homes, b.mounts, b.accounts, b.etc, b.services, b.devices, b.files, b.defaults} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	b.digest()
	return b.over, nil
}

type builder struct {
	spec   *spec.Spec
	rootfs *spec.Rootfs
	key    string // of rootfs, in messages
	over   *Overlay
	time   time.Time
	most   int // entries of Tree

	marks    map[string]mark     // of the entries of Tree
	sums     map[string][32]byte // of the contents of files in Defaults
	reserved map[string]string   // files that the build writes, and the keys that say so
	dirs     map[string]string   // directories of these and of the merged view, likewise
}

// mark is what an entry does not say.
type mark struct {
	place string   // what in the spec put it there
	sum   [32]byte // SHA-256 of a regular file's content
}

// path turns an absolute path of the spec into that of an entry.
func path(p string) string {
	if p = strings.TrimPrefix(p, "/"); p == "" {
		return "."
	}
	return p
}

// put adds an entry with its content, and the parents that it lacks.
func (b *builder) put(e rootfs.Entry, content []byte, place string) error {
	if err := b.claim(&e, place, sha256.Sum256(content)); err != nil {
		return err
	}
	b.over.Tree.Put(e, content)
	return nil
}

// file adds a regular file that thaw wrote.
func (b *builder) file(p string, perm fs.FileMode, content string, place string) error {
	return b.put(rootfs.Entry{Path: p, Mode: perm}, []byte(content), place)
}

// dir adds a directory of root where there is none.
func (b *builder) dir(p string, place string) error {
	if e, ok := b.over.Tree.Get(p); ok && e.Mode.IsDir() || always(p) {
		return nil
	}
	return b.put(rootfs.Dir(p, dirMode(p)), nil, place)
}

// always reports whether p is a directory that every image has.
func always(p string) bool { return p == "." || p == "nix" || p == "nix/store" }

// dirMode returns the mode of a directory for which the spec gives none.
func dirMode(p string) fs.FileMode {
	switch p {
	case "tmp", "var/tmp":
		return fs.ModeSticky | 0o777
	case "root":
		return 0o700
	}
	return 0o755
}

// reserve notes what the build writes besides the overlay.
func (b *builder) reserve() {
	if dir := b.rootfs.Nix.ClosureInfo; dir != "" {
		const key = "rootfs.nix.closure-info"
		for _, name := range []string{"registration", "store-paths", "total-nar-size"} {
			b.reserved[strings.TrimPrefix(path(dir)+"/"+name, "./")] = key
		}
		b.needDir(path(dir), key)
	}
	if len(b.rootfs.Merge.Link) > 0 {
		b.needDir(path(b.rootfs.Merge.Into), "rootfs.merge.into")
	}
}

// needDir notes that p and all above it are directories, as a key says.
func (b *builder) needDir(p, key string) {
	for ; p != "."; p, _ = rootfs.Split(p) {
		b.dirs[p] = key
	}
}

// inTheWay says why an entry cannot be where Nix has its files, or the build needs
// a directory; "" if it can.
func (b *builder) inTheWay(e *rootfs.Entry) string {
	db := b.rootfs.Nix.DB
	switch p := e.Path; {
	case strings.HasPrefix(p, "nix/store/"):
		return "what is in /nix/store comes from packages"
	case db && strings.HasPrefix(p, "nix/var/nix/"):
		return "rootfs.nix.db writes what is in /nix/var/nix"
	case !e.Mode.IsDir() && (p == "nix" || p == "nix/store" || db && (p == "nix/var" || p == "nix/var/nix")):
		return "it is a directory"
	case b.reserved[p] != "":
		return b.reserved[p] + " writes it"
	case !e.Mode.IsDir() && b.dirs[p] != "":
		return "it is a directory, as " + b.dirs[p] + " says"
	}
	return ""
}

// claim makes a place for an entry: it adds the parents that are not there, and
// holds that nothing else is in the way.
func (b *builder) claim(e *rootfs.Entry, place string, sum [32]byte) error {
	e.ModTime = b.time
	switch why := b.inTheWay(e); {
	case len(e.Path) > maxPath:
		return fmt.Errorf("%s: %s… has more than %d bytes", place, show("/"+e.Path[:40]), maxPath)
	case why != "":
		return fmt.Errorf("%s: %s: %s", place, show("/"+e.Path), why)
	case len(b.marks) >= b.most:
		return b.tooMany(place)
	}
	if dir, _ := rootfs.Split(e.Path); !always(dir) {
		if parent, ok := b.over.Tree.Get(dir); !ok {
			if err := b.dir(dir, place); err != nil {
				return err
			}
		} else if !parent.Mode.IsDir() {
			return fmt.Errorf("%s: %s cannot be there: %s is no directory, as %s says", place, show("/"+e.Path), show("/"+dir), b.marks[dir].place)
		}
	}
	if other, ok := b.over.Tree.Get(e.Path); ok && other.Mode.IsDir() != e.Mode.IsDir() {
		if e.Mode.IsDir() {
			return fmt.Errorf("%s: %s cannot be a directory: it is none, as %s says", place, show("/"+e.Path), b.marks[e.Path].place)
		}
		return fmt.Errorf("%s: %s is a directory, as %s says, and nothing else can be there", place, show("/"+e.Path), b.marks[e.Path].place)
	}
	b.marks[e.Path] = mark{place, sum}
	return nil
}

// show writes the name of a file for a message of one line.
func show(name string) string {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}

func (b *builder) tooMany(place string) error {
	return fmt.Errorf("%s: more than %d files and directories come from no package: make one of them", place, b.most)
}

// fallback adds an entry to the defaults, unless Tree has it or cannot have it.
func (b *builder) fallback(e rootfs.Entry, content string) {
	if b.over.Tree.Has(e.Path) || b.dirs[e.Path] != "" {
		return
	}
	for dir, _ := rootfs.Split(e.Path); dir != "."; dir, _ = rootfs.Split(dir) {
		if other, ok := b.over.Tree.Get(dir); ok && !other.Mode.IsDir() {
			return
		}
	}
	like := rootfs.Dir("", 0o755)
	like.ModTime, e.ModTime = b.time, b.time
	b.over.Defaults.Dirs(e.Path, like)
	b.over.Defaults.Put(e, []byte(content))
	b.sums[e.Path] = sha256.Sum256([]byte(content))
}

// digest hashes what was made.
func (b *builder) digest() {
	h := sha256.New()
	for e := range b.over.Tree.All() {
		hashEntry(h, &e, b.marks[e.Path].sum)
	}
	fmt.Fprintln(h, "defaults")
	for e := range b.over.Defaults.All() {
		hashEntry(h, &e, b.sums[e.Path])
	}
	h.Sum(b.over.Digest[:0])
}

func hashEntry(h hash.Hash, e *rootfs.Entry, sum [32]byte) {
	fmt.Fprintf(h, "%q %o %d:%d %d %d %d %q %x\n", e.Path, e.UnixMode(), e.UID, e.GID, e.ModTime.Unix(), e.Size, e.Dev, e.Target, sum)
}
