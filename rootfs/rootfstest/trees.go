package rootfstest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"thaw/rootfs"
)

// baseTime is what every format can hold: even, after 1980, before 2038.
var baseTime = time.Unix(1_000_000_000, 0)

// step is one call to a Sink: Add of entry, or if same is set, AddSame of
// entry.Path to it (entry then is the earlier file's, under its new path).
type step struct {
	entry   rootfs.Entry
	same    string
	seed    string // of the content: the path the file was first added under
	texture texture
	twin    string // an earlier path that differs in case only
}

func (s *step) add(sink rootfs.Sink, can Abilities, chunk chunker) error {
	if s.same != "" {
		err := rootfs.AddSame(sink, s.entry.Path, s.same)
		if can.HardLinks || !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	var data io.Reader
	if s.entry.Kind() == 0 {
		data = chunk(content(*s))
	}
	return sink.Add(s.entry, data)
}

type tree struct {
	name  string
	steps []step
}

func newTree(name string) *tree {
	t := &tree{name: name}
	t.dir(".")
	return t
}

// put adds e, with a plain mode and time where it has none.
func (t *tree) put(e rootfs.Entry) *step {
	if e.Mode&rootfs.ModeBits == 0 {
		e.Mode |= plainMode(e.Kind())
	}
	if e.ModTime.IsZero() {
		e.ModTime = baseTime
	}
	t.steps = append(t.steps, step{entry: e, seed: e.Path})
	return &t.steps[len(t.steps)-1]
}

// plainMode has the permissions that every format can hold.
func plainMode(kind fs.FileMode) fs.FileMode {
	switch kind {
	case fs.ModeDir:
		return 0o755
	case fs.ModeSymlink:
		return 0o777
	}
	return 0o644
}

func (t *tree) dir(path string) { t.put(rootfs.Entry{Path: path, Mode: fs.ModeDir}) }
func (t *tree) file(path string, size int64) *step {
	return t.put(rootfs.Entry{Path: path, Size: size})
}
func (t *tree) link(path, target string) {
	t.put(rootfs.Entry{Path: path, Mode: fs.ModeSymlink, Target: target})
}

func (t *tree) same(path, earlier string) {
	i := slices.IndexFunc(t.steps, func(s step) bool { return s.entry.Path == earlier })
	s := t.steps[i]
	s.entry.Path, s.same = path, earlier
	t.steps = append(t.steps, s)
}

// sift parts the steps that a can hold from the others. Each of those is the
// end of a stream of its own, after what it needs before it; the streams go by
// the reason for the refusal.
func (t *tree) sift(a Abilities) (held []step, refused map[string][][]step) {
	refused = make(map[string][][]step)
	in := make(map[string]step)
	for _, s := range t.steps {
		needs, ok := s.needs(in)
		if !ok {
			continue // refused with its parent
		}
		if reason := a.refuses(s); reason != "" {
			refused[reason] = append(refused[reason], append(needs, s))
			if s.entry.Path != "." {
				continue
			}
			s = newTree("").steps[0]
		}
		in[s.entry.Path] = s
		held = append(held, s)
	}
	return held, refused
}

// needs finds the steps that must come before s, parents first.
func (s *step) needs(in map[string]step) (steps []step, ok bool) {
	for path := s.entry.Path; path != "."; {
		path, _ = rootfs.Split(path)
		dir, ok := in[path]
		if !ok {
			return nil, false
		}
		steps = append(steps, dir)
	}
	slices.Reverse(steps)
	for _, path := range []string{s.same, s.twin} {
		if path == "" {
			continue
		}
		other, ok := in[path]
		if !ok {
			return nil, false
		}
		more, ok := other.needs(in)
		if !ok {
			return nil, false
		}
		for _, m := range append(more, other) {
			if !slices.ContainsFunc(steps, func(s step) bool { return s.entry.Path == m.entry.Path }) {
				steps = append(steps, m)
			}
		}
	}
	return steps, true
}

// refuses says why a format with these abilities cannot hold s, in a word or
// two, or "" if it can.
func (a *Abilities) refuses(s step) string {
	e := &s.entry
	_, name := rootfs.Split(e.Path)
	maxID := cmp.Or(a.MaxID, 1<<32-1)
	sec := e.ModTime.Unix()
	switch {
	case e.Path != "." && a.Names != nil && !a.Names(name):
		return "name"
	case s.twin != "" && a.FoldsCase:
		return "case"
	case a.MaxPath > 0 && len(e.Path) > a.MaxPath:
		return "path"
	case a.MaxFile > 0 && e.Size > a.MaxFile:
		return "size"
	case e.Kind() == fs.ModeSymlink && len(e.Target) > a.MaxTarget:
		return "target"
	case e.Kind() == fs.ModeNamedPipe && !a.Fifos:
		return "fifo"
	case e.Kind()&fs.ModeDevice != 0 && (a.MaxMajor|a.MaxMinor == 0 ||
		rootfs.Major(e.Dev) > a.MaxMajor || rootfs.Minor(e.Dev) > a.MaxMinor):
		return "device"
	case e.Mode&rootfs.ModeBits != plainMode(e.Kind()) && a.Modes == Refused:
		return "mode"
	case e.UID|e.GID != 0 && a.Owners == Refused, max(e.UID, e.GID) > maxID && a.Owners == Held:
		return "owner"
	case a.Times == Refused, a.Times == Held && (sec < a.MinTime || sec > a.MaxTime):
		return "time"
	case len(e.Xattrs) > 0 && (a.Xattrs == nil || !a.Xattrs(*e)):
		return "xattr"
	}
	return ""
}

// expected is what an image of steps is to hold.
func expected(steps []step, a Abilities) []Node {
	nodes := make([]Node, len(steps))
	index := make(map[string]int)
	for i, s := range steps {
		n := &nodes[i]
		n.Entry = s.entry
		index[s.entry.Path] = i
		switch {
		case s.same != "" && a.HardLinks:
			first := &nodes[index[s.same]]
			if first.Inode == 0 {
				first.Inode = uint64(i)
			}
			n.SHA256, n.Inode = first.SHA256, first.Inode
		case s.entry.Kind() == 0:
			n.SHA256, _, _ = Digest(content(s)) // the reader has no errors
		}
	}
	return nodes
}

// extent says how much of the suite is run.
type extent struct {
	files int  // in the large directory
	huge  bool // a file of more than 4 GiB
}

var (
	full  = extent{files: 20_000, huge: true}
	short = extent{files: 5_000}
)

func trees(size extent, a Abilities) []*tree {
	all := []*tree{
		newTree("empty"), sampleTree(), namesTree(), sizesTree(), modesTree(), timesTree(a), ownersTree(a),
		linksTree(a), devicesTree(a), xattrsTree(), hardLinksTree(), deepTree(), lateTree(), manyTree(size.files),
	}
	if size.huge {
		all = append(all, hugeTree())
	}
	return all
}

// sampleTree has something of everything, and whatever the format, a file that
// [testFull] can count on.
func sampleTree() *tree {
	t := newTree("sample")
	t.file("plain", 300_000)
	t.dir("bin")
	t.file("bin/sh", 150_000).entry.Mode = 0o755
	t.link("bin/bash", "sh")
	t.dir("etc")
	t.file("etc/empty", 0)
	t.file("etc/hosts", 7)
	t.put(rootfs.Entry{Path: "etc/shadow", Mode: 0o600, Size: 513, UID: 1, GID: 42})
	t.dir("dev")
	t.put(rootfs.Entry{Path: "dev/null", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666, Dev: rootfs.Mkdev(1, 3)})
	t.put(rootfs.Entry{Path: "dev/initctl", Mode: fs.ModeNamedPipe | 0o600})
	t.same("bin/ash", "bin/sh")
	t.put(rootfs.Entry{Path: "caps", Size: 5000, Xattrs: []rootfs.Xattr{{Name: "user.note", Value: []byte("a\x00b")}}})
	return t
}

func namesTree() *tree {
	t := newTree("names")
	for i, name := range []string{
		strings.Repeat("n", 100), strings.Repeat("n", 101), strings.Repeat("n", 254), strings.Repeat("n", rootfs.MaxName),
		strings.Repeat("é", 127) + "x", "\xff\xfe\x80", strings.Repeat("\xe9", rootfs.MaxName),
		"new\nline", "tab\tcr\r", "\x01\x1b\x7f", " ", " lead", "trail ", "trail.", "...", "..data", ".hidden", "-rf", "--",
		`back\slash`, `quo"te'`, "a:b", "*?<>|", "%2e", "$HOME", "#", "=", "~nix~case~hack~1", "con", "a.b.c", "file.tar.gz",
		"\u00e9", "e\u0301", "\U0001f9ca", "\u202e", "LongNameWithMixedCase.Text", "TRAILER!!!", "lost+foun", "a=b", "1 x=y\n",
	} {
		t.file(name, int64(i))
	}
	t.file("case", 1)
	t.file("Case", 2).twin = "case"
	t.dir("dir")
	t.dir("dir/" + strings.Repeat("d", rootfs.MaxName))
	t.file("dir/"+strings.Repeat("d", rootfs.MaxName)+"/"+strings.Repeat("f", rootfs.MaxName), 3)
	t.link("dir/\xfflink\n", "\xfe\n")
	t.link(strings.Repeat("l", rootfs.MaxName), strings.Repeat("\xfd", 200))
	return t
}

// sizesTree has files around every power of two to 4 MiB, and then many small
// ones, so that blocks shared by ends of files are met too.
func sizesTree() *tree {
	t := newTree("sizes")
	for k := range 23 {
		for _, size := range []int64{1<<k - 1, 1 << k, 1<<k + 1} {
			if k > 1 || size == 1<<k-1 {
				t.file(fmt.Sprintf("%d", size), size)
			}
		}
	}
	t.file("3 MiB and a bit", 3<<20+123)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		t.file(fmt.Sprintf("small%d", i), rnd.Int64N(3000))
	}
	return t
}

func modesTree() *tree {
	t := newTree("modes")
	t.steps[0].entry.Mode = fs.ModeDir | 0o555
	special := []fs.FileMode{0, fs.ModeSetuid, fs.ModeSetgid, fs.ModeSticky, fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky}
	for i, bits := range special {
		for _, perm := range []fs.FileMode{0o001, 0o111, 0o222, 0o444, 0o555, 0o640, 0o755, 0o777} {
			t.put(rootfs.Entry{Path: fmt.Sprintf("file%d-%03o", i, perm), Mode: perm | bits, Size: 10})
			dir := fmt.Sprintf("dir%d-%03o", i, perm)
			t.put(rootfs.Entry{Path: dir, Mode: fs.ModeDir | perm | bits})
			t.file(dir+"/child", 1)
		}
	}
	for _, s := range t.steps { // children that come when all directories are there
		if s.entry.Kind() == fs.ModeDir && s.entry.Path != "." {
			t.file(s.entry.Path+"/late", 2)
		}
	}
	t.steps = append(t.steps, step{entry: rootfs.Entry{Path: "file-000", ModTime: baseTime}},
		step{entry: rootfs.Entry{Path: "dir-000", Mode: fs.ModeDir, ModTime: baseTime}})
	return t
}

// beyond is further than times are tried, in seconds from 1970: 34,000 years.
const beyond = 1 << 40

func timesTree(a Abilities) *tree {
	t := newTree("times")
	t.steps[0].entry.ModTime = time.Unix(1, 0)
	for i, at := range []time.Time{
		time.Unix(0, 0), time.Unix(1, 0), time.Unix(315532800, 0), time.Unix(1<<31-1, 999_999_999), time.Unix(1<<31, 0),
		time.Unix(1<<32-1, 0), time.Unix(1<<32, 0), time.Unix(1<<33, 5), time.Unix(1<<34, 1), time.Unix(-1, 0), time.Unix(-1, 1),
		time.Unix(-1<<31, 0), time.Unix(-1<<31-1, 0), time.Unix(1_000_000_001, 123_456_789), time.Unix(1_000_000_002, 500_000_000),
		time.Unix(1_000_000_003, 1), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC),
		time.Unix(a.MinTime, 0), time.Unix(a.MinTime-1, 0), time.Unix(a.MaxTime, 0), time.Unix(a.MaxTime+1, 0),
	} {
		if at.Unix() < -beyond || at.Unix() > beyond {
			continue
		}
		t.put(rootfs.Entry{Path: fmt.Sprintf("file%d", i), ModTime: at, Size: 1})
		t.put(rootfs.Entry{Path: fmt.Sprintf("dir%d", i), ModTime: at, Mode: fs.ModeDir})
		t.put(rootfs.Entry{Path: fmt.Sprintf("link%d", i), ModTime: at, Mode: fs.ModeSymlink, Target: "x"})
		t.put(rootfs.Entry{Path: fmt.Sprintf("dir%d/child", i)})
	}
	return t
}

func ownersTree(a Abilities) *tree {
	t := newTree("owners")
	t.steps[0].entry.UID, t.steps[0].entry.GID = 1000, 100
	for i, id := range []uint32{1, 1000, 65534, 65535, 65536, 1<<21 - 1, 1 << 21, 1<<31 - 1, 1 << 31, 1<<32 - 2, 1<<32 - 1, a.MaxID, a.MaxID + 1} {
		t.put(rootfs.Entry{Path: fmt.Sprintf("uid%d", i), UID: id})
		t.put(rootfs.Entry{Path: fmt.Sprintf("gid%d", i), GID: id})
		t.put(rootfs.Entry{Path: fmt.Sprintf("dir%d", i), UID: id, GID: 3, Mode: fs.ModeDir})
		t.put(rootfs.Entry{Path: fmt.Sprintf("link%d", i), UID: 3, GID: id, Mode: fs.ModeSymlink, Target: "x"})
		t.put(rootfs.Entry{Path: fmt.Sprintf("su%d", i), UID: id, GID: id, Mode: 0o755 | fs.ModeSetuid | fs.ModeSetgid})
	}
	return t
}

func linksTree(a Abilities) *tree {
	t := newTree("links")
	for i, target := range []string{"x", "/absolute", "../../above", ".", "/", "dangling/not there", "links/", "a//b", "new\nline", "\xff"} {
		t.link(fmt.Sprintf("link%d", i), target)
	}
	for _, n := range []int{58, 59, 60, 61, 99, 100, 101, 155, 255, 256, 511, 512, 1023, 1024, 2047, 4000, 4094, rootfs.MaxTarget, a.MaxTarget, a.MaxTarget + 1} {
		if n > 0 && n <= rootfs.MaxTarget && !slices.ContainsFunc(t.steps, func(s step) bool { return s.entry.Path == fmt.Sprintf("long%d", n) }) {
			t.link(fmt.Sprintf("long%d", n), strings.Repeat("target/89", 500)[:n])
		}
	}
	t.dir("real")
	t.link("to-dir", "real")
	t.file("real/file", 3)
	return t
}

func devicesTree(a Abilities) *tree {
	t := newTree("devices")
	for i, d := range [][2]uint32{ // not 0,0, which is no device but a mark for a deleted file
		{1, 3}, {5, 1}, {8, 0}, {8, 255}, {8, 256}, {255, 255}, {256, 0}, {259, 1<<20 - 1}, {4095, 1<<20 - 1}, {4096, 0}, {0, 1 << 20},
		{max(a.MaxMajor, 1), a.MaxMinor}, {a.MaxMajor + 1, 1}, {1, a.MaxMinor + 1},
	} {
		t.put(rootfs.Entry{Path: fmt.Sprintf("char%d", i), Mode: fs.ModeDevice | fs.ModeCharDevice | 0o660, Dev: rootfs.Mkdev(d[0], d[1])})
		t.put(rootfs.Entry{Path: fmt.Sprintf("block%d", i), Mode: fs.ModeDevice | 0o600, Dev: rootfs.Mkdev(d[0], d[1]), GID: 6})
	}
	t.put(rootfs.Entry{Path: "fifo", Mode: fs.ModeNamedPipe | 0o622})
	t.put(rootfs.Entry{Path: "fifo2", Mode: fs.ModeNamedPipe | 0o777 | fs.ModeSticky})
	return t
}

func xattrsTree() *tree {
	t := newTree("xattrs")
	long := func(n int) []byte { return []byte(strings.Repeat("value\n\x00\xff", n/8+1)[:n]) }
	// A file capability (cap_net_raw, effective) in its second version.
	capability := []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	for i, xattrs := range [][]rootfs.Xattr{
		{{Name: "user.a", Value: []byte("1")}},
		{{Name: "user.a", Value: []byte("1")}}, // shared with the one before
		{{Name: "user.empty", Value: nil}},
		{{Name: "user.a", Value: []byte("\x00\n=\xff")}, {Name: "user.b", Value: long(30)}, {Name: "user.c", Value: long(100)}},
		{{Name: "user." + strings.Repeat("n", rootfs.MaxXattrName-5), Value: []byte("long name")}},
		{{Name: "user.\xff=\n", Value: []byte("name of bytes")}},
		{{Name: "user.k", Value: long(1000)}},
		{{Name: "user.k3", Value: long(3000)}},
		{{Name: "user.k5", Value: long(5000)}},
		{{Name: "user.max", Value: long(rootfs.MaxXattrValue)}},
		{{Name: "security.capability", Value: capability}},
		{{Name: "security.thaw", Value: long(40)}},
		{{Name: "trusted.thaw", Value: long(40)}},
		{{Name: "security.thaw", Value: long(9)}, {Name: "trusted.thaw", Value: nil}, {Name: "user.z", Value: long(1)}},
		{{Name: "bogus", Value: []byte("no namespace")}},
	} {
		t.put(rootfs.Entry{Path: fmt.Sprintf("file%d", i), Xattrs: xattrs, Size: int64(i), Mode: 0o444})
		t.put(rootfs.Entry{Path: fmt.Sprintf("setuid%d", i), Xattrs: xattrs, Size: int64(i), Mode: 0o755 | fs.ModeSetuid, UID: 7})
		t.put(rootfs.Entry{Path: fmt.Sprintf("dir%d", i), Xattrs: xattrs, Mode: fs.ModeDir})
		t.put(rootfs.Entry{Path: fmt.Sprintf("link%d", i), Xattrs: xattrs, Mode: fs.ModeSymlink, Target: "x"})
		t.put(rootfs.Entry{Path: fmt.Sprintf("fifo%d", i), Xattrs: xattrs, Mode: fs.ModeNamedPipe})
	}
	return t
}

func hardLinksTree() *tree {
	t := newTree("hard links")
	t.dir("a")
	t.file("a/one", 5000).entry.Mode = 0o444
	t.file("empty", 0)
	t.dir("z")
	t.same("z/one", "a/one")
	t.same("a/same dir", "a/one")
	t.same("of a link", "z/one")
	t.same("z/empty", "empty")
	long := "z/" + strings.Repeat("\xff", rootfs.MaxName)
	t.file(long, 70)
	t.same("z/"+strings.Repeat("y", rootfs.MaxName), long)
	t.put(rootfs.Entry{Path: "setuid", Size: 100, Mode: 0o755 | fs.ModeSetuid, UID: 9, Xattrs: []rootfs.Xattr{{Name: "user.a", Value: []byte("x")}}})
	t.same("a/setuid", "setuid")
	for i := range 200 {
		t.same(fmt.Sprintf("z/link%d", i), "a/one")
	}
	t.file("two alike", 5000) // alike in size, but a file of its own
	return t
}

// deepTree has directories 100 deep within PATH_MAX, and some beyond it.
func deepTree() *tree {
	t := newTree("deep")
	path := "top"
	t.dir(path)
	for i := range 100 {
		path += fmt.Sprintf("/%030d", i)
		t.dir(path)
		t.file(path+"/file", int64(i))
	}
	path = "long"
	t.dir(path)
	for range 20 { // 5,124 bytes
		path += "/" + strings.Repeat("d", rootfs.MaxName)
		t.dir(path)
		t.file(path+"/f", 1)
	}
	t.link(path+"/link", "f")
	return t
}

// lateTree has 3,000 directories whose children come in many rounds, in an order
// of chance, and links last.
func lateTree() *tree {
	t := newTree("late")
	rnd := rand.New(rand.NewPCG(3, 4))
	var dirs []string
	for i := range 3000 {
		dir := fmt.Sprintf("d%d", i)
		if i > 0 && rnd.IntN(3) > 0 {
			dir = dirs[rnd.IntN(len(dirs))] + "/" + dir
		}
		if strings.Count(dir, "/") > 30 {
			continue
		}
		dirs = append(dirs, dir)
		t.put(rootfs.Entry{Path: dir, Mode: fs.ModeDir | 0o755, ModTime: baseTime.Add(time.Duration(2*i) * time.Second)})
	}
	for i := range 3000 {
		t.file(fmt.Sprintf("%s/f%d", dirs[rnd.IntN(len(dirs))], i), rnd.Int64N(100))
	}
	for i := range 500 {
		t.link(fmt.Sprintf("%s/l%d", dirs[rnd.IntN(len(dirs))], i), "/"+dirs[rnd.IntN(len(dirs))])
	}
	return t
}

// manyTree has n files in one directory, and as many names again that end a
// long way on.
func manyTree(n int) *tree {
	t := newTree("many")
	t.dir("many")
	for i := range n {
		name := fmt.Sprintf("%d", i*7919%n)
		if i%4 == 0 {
			name = strings.Repeat("x", i%200) + "-" + name
		}
		t.file("many/"+name, int64(i%40))
	}
	t.dir("many/sub")
	t.file("many/sub/file", 1)
	return t
}

// hugeTree has a file of just over 4 GiB, nearly all of it zeros.
func hugeTree() *tree {
	t := newTree("huge")
	t.file("before", 10)
	t.file("huge", 4<<30+4097).texture = sparse
	t.file("after", 10)
	return t
}
