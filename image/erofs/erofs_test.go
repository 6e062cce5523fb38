package erofs_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thaw/image/erofs"
	"thaw/internal/testbed"
	"thaw/rootfs"
)

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*erofs.Options)
		err    string
	}{
		{"good", func(o *erofs.Options) {}, ""},
		{"no uuid", func(o *erofs.Options) { o.UUID = [16]byte{} }, "erofs: no UUID is given"},
		{"label of 15", func(o *erofs.Options) { o.Label = strings.Repeat("\xff", 15) }, ""},
		{"label of 16", func(o *erofs.Options) { o.Label = strings.Repeat("l", 16) }, `erofs: label "llllllllllllllll": up to 15 bytes without NUL`},
		{"label with NUL", func(o *erofs.Options) { o.Label = "a\x00" }, `erofs: label "a\x00": up to 15 bytes without NUL`},
		{"no label", func(o *erofs.Options) { o.Label = "" }, ""},
		{"time", func(o *erofs.Options) { o.Time = 1 << 40 }, ""},
		{"negative time", func(o *erofs.Options) { o.Time = -1 }, "erofs: time -1 is negative"},
		{"compression", func(o *erofs.Options) { o.Compression = erofs.LZ4HC + 1 }, "erofs: no compression has the number 3"},
		{"cluster", func(o *erofs.Options) { o.ClusterSize = 1 << 20 }, ""},
		{"large cluster", func(o *erofs.Options) { o.ClusterSize = 1<<20 + 4096 }, "erofs: cluster size 1052672: a multiple of 4096 up to 1048576"},
		{"odd cluster", func(o *erofs.Options) { o.ClusterSize = 5000 }, "erofs: cluster size 5000: a multiple of 4096 up to 1048576"},
		{"jobs", func(o *erofs.Options) { o.Jobs = -1 }, "erofs: -1 jobs"},
	} {
		o := testOptions
		c.change(&o)
		_, err := erofs.NewWriter(&memory{}, o)
		if err == nil && c.err != "" || err != nil && err.Error() != c.err {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestNoRoot(t *testing.T) {
	w, err := erofs.NewWriter(&memory{}, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err == nil || err.Error() != "erofs: no root directory was added" {
		t.Error(err)
	}
}

// TestSuper has dump.erofs read what the options say.
func TestSuper(t *testing.T) {
	t.Parallel()
	path := mustBuild(t, testOptions, file("file", random(5000)))
	out := string(testbed.Run(t, "dump.erofs", "-s", path))
	for _, want := range []string{
		`magic number: +0xE0F5E1E2`, `blocks: +3`, `inode count: +2`, `created: +Sun Sep  9 01:46:40 2001`,
		`features: +sb_csum mtime `, `UUID: +6badcafe-0000-0000-0000-000000000001`,
	} {
		if !regexp.MustCompile(want + `\n`).MatchString(out) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if label := string(b[1024+64 : 1024+80]); strings.TrimRight(label, "\x00") != testOptions.Label {
		t.Errorf("the label is %q", label)
	}
}

// features are the features that readers must know, in the superblock.
func features(t testing.TB, path string) uint32 {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return binary.LittleEndian.Uint32(b[1024+80:])
}

// TestLayouts has dump.erofs tell how files are stored.
func TestLayouts(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(7, 8))
	const plain, full, inline, chunks = 0, 1, 2, 4
	owned := file("", random(4096-64+1))
	owned.UID = 1 << 16
	noise, words := random(1<<20), text(rnd, 100_000)
	half := append(bytes.Clone(noise[:50*4096]), words...)
	zeros := make([]byte, 1<<20)
	for _, c := range []struct {
		name     string
		o        erofs.Options
		e        entry
		layout   int
		size     int // of the inode
		features uint32
	}{
		{"empty", testOptions, file("", nil), plain, 32, 0},
		{"small", testOptions, file("", noise[:1]), inline, 32, 0},
		{"behind the inode", testOptions, file("", noise[:4096-32]), inline, 32, 0},
		{"not behind the inode", testOptions, file("", noise[:4096-32+1]), plain, 32, 0},
		{"not behind a large inode", testOptions, owned, plain, 64, 0},
		{"block", testOptions, file("", noise[:4096]), plain, 32, 0},
		{"more than a block", testOptions, file("", noise[:4097]), inline, 32, 0},
		{"large", testOptions, file("", noise), plain, 32, 0},
		{"zeros", testOptions, file("", zeros[:15*4096]), plain, 32, 0},
		{"a hole", testOptions, file("", zeros[:16*4096]), chunks, 32, 4},
		{"a hole with an end", testOptions, file("", zeros[:16*4096+1]), chunks, 32, 4},
		{"a hole inside", testOptions, file("", append(append(bytes.Clone(noise[:4097]), zeros[:17*4096]...), 1)), chunks, 32, 4},
		{"link", testOptions, entry{Entry: rootfs.Entry{Mode: fs.ModeSymlink | 0o777, ModTime: testTime, Target: strings.Repeat("t", 4000)}}, inline, 32, 0},
		{"long link", testOptions, entry{Entry: rootfs.Entry{Mode: fs.ModeSymlink | 0o777, ModTime: testTime, Target: strings.Repeat("t", 4095)}}, plain, 32, 0},
		{"directory", testOptions, directory(""), inline, 32, 0},
		{"time", testOptions, entry{Entry: rootfs.Entry{Mode: 0o644, ModTime: testTime.Add(1)}}, plain, 64, 0},

		{"small text", withCompression(erofs.LZ4, 4096), file("", []byte(strings.Repeat("a", 1000))), full, 32, 0x11},
		{"tiny text", withCompression(erofs.LZ4, 4096), file("", []byte(strings.Repeat("a", 20))), inline, 32, 0},
		{"text", withCompression(erofs.LZ4, 4096), file("", words), full, 32, 0x11},
		{"text in large clusters", withCompression(erofs.LZ4, 64<<10), file("", words), full, 32, 0x13},
		{"noise", withCompression(erofs.LZ4HC, 64<<10), file("", noise), plain, 32, 0},
		{"half noise", withCompression(erofs.LZ4HC, 64<<10), file("", half), full, 32, 0x13},
		{"zeros to pack", withCompression(erofs.LZ4, 4096), file("", zeros), full, 32, 0x11},
	} {
		c.e.Path = "it"
		path := mustBuild(t, c.o, c.e)
		if err := fsck(testbed.Tool(t, "fsck.erofs"), path, "--extract"); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		out := testbed.Run(t, "dump.erofs", "--path=/it", path)
		if m := regexp.MustCompile(`Layout: (\d)`).FindSubmatch(out); m == nil || string(m[1]) != strconv.Itoa(c.layout) {
			t.Errorf("%s: the layout is not %d\n%s", c.name, c.layout, out)
		}
		if want := fmt.Sprintf("Inode size: %d ", c.size); !bytes.Contains(out, []byte(want)) {
			t.Errorf("%s: not %q\n%s", c.name, want, out)
		}
		if f := features(t, path); f != c.features {
			t.Errorf("%s: features %#x and not %#x", c.name, f, c.features)
		}
	}
}

// blocks asks dump.erofs in which blocks a file lies.
func blocks(t testing.TB, path, name string) string {
	t.Helper()
	out := testbed.Run(t, "dump.erofs", "-e", "--path=/"+name, path)
	var all []string
	for _, m := range regexp.MustCompile(`\| +\d+ : +(\d+)\.\. +(\d+) \|`).FindAllSubmatch(out, -1) {
		all = append(all, string(m[1])+"-"+string(m[2]))
	}
	return strings.Join(all, " ")
}

// TestSharing has equal contents share their blocks.
func TestSharing(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(9, 10))
	noise, words := random(3<<20), text(rnd, 3<<20)
	rewound := append(bytes.Clone(noise), words...)
	for _, c := range []struct {
		name   string
		o      erofs.Options
		data   []byte
		shared bool
	}{
		{"plain", testOptions, noise, true},
		{"plain, one block", testOptions, noise[:4096], true},
		{"plain with an end", testOptions, rewound[:5<<20+100], true},
		{"noise", withCompression(erofs.LZ4, 4096), noise, true},
		{"noise with an end", withCompression(erofs.LZ4, 4096), noise[:100_000], true},
		{"packed", withCompression(erofs.LZ4, 4096), words, false},
	} {
		path := mustBuild(t, c.o, file("a", c.data), file("between", words[:9000]), file("b", c.data), file("other", noise[1:]), file("c", c.data))
		if err := fsck(testbed.Tool(t, "fsck.erofs"), path, "--extract"); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		// Where the end lies is not shared.
		first := func(name string) string { s, _, _ := strings.Cut(blocks(t, path, name), " "); return s }
		a, b := first("a"), first("b")
		if a == "" || (a == b) != c.shared || (a == first("c")) != c.shared {
			t.Errorf("%s: blocks %s, %s and %s", c.name, a, b, first("c"))
		}
	}
	dedupe := withCompression(erofs.LZ4, 4096)
	dedupe.Dedupe = true
	one, two := mustBuild(t, dedupe, file("a", words)), mustBuild(t, dedupe, file("a", words), file("b", words))
	if s := fileSize(t, two) - fileSize(t, one); s > 16<<10 {
		t.Errorf("a file like another takes %d bytes", s)
	}
	if f := features(t, two); f != 0x21 {
		t.Errorf("features %#x", f)
	}
}

// TestBehind has nothing but zeros behind the end, where a file was that turned
// out to be like another.
func TestBehind(t *testing.T) {
	t.Parallel()
	var m memory
	w, err := erofs.NewWriter(&m, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	data := random(5 << 20)
	if err := add(w, []entry{file("a", data), file("b", data)}, whole); err != nil {
		t.Fatal(err)
	}
	if int64(m.Len()) < w.Size()+3<<20 {
		t.Fatal("nothing was taken back")
	}
	if len(bytes.Trim(m.Bytes()[w.Size():], "\x00")) > 0 {
		t.Error("something is behind the end")
	}
}

// TestRefusals has the refusals that the conformance suite does not know.
func TestRefusals(t *testing.T) {
	t.Parallel()
	acl := func(words ...uint32) string {
		b := []byte{2, 0, 0, 0}
		for _, w := range words {
			b = binary.LittleEndian.AppendUint32(b, w)
		}
		return string(b)
	}
	const all = 7 << 16
	minimal := acl(1|all, 0, 4|all, 0, 0x20|all, 0)
	many := []rootfs.Xattr{{Name: "user.!"}}
	for i := range 4 {
		many = append(many, rootfs.Xattr{Name: fmt.Sprintf("user.%d", i), Value: make([]byte, 65_527)})
	}
	links := []entry{file("file", nil)}
	for i := range 1<<16 - 2 {
		links = append(links, entry{Entry: rootfs.Entry{Path: fmt.Sprint(i)}, same: "file"})
	}
	extended := append([]entry(nil), links...)
	extended[0].GID = 1 << 16
	one := func(name, value string) []entry {
		return []entry{withXattrs(file("file", nil), rootfs.Xattr{Name: name, Value: []byte(value)})}
	}
	last := entry{Entry: rootfs.Entry{Path: "last"}, same: "file"}
	for _, c := range []struct {
		name    string
		entries []entry
		reason  string
	}{
		{"prefix alone", one("user.", "x"), `erofs holds no extended attribute of the name "user."`},
		{"other prefix", one("system.x", "x"), `erofs holds no extended attribute of the name "system.x"`},
		{"long value", one("user.x", strings.Repeat("x", 65536)), `erofs holds no extended attribute of 65536 bytes, at most 65535: "user.x"`},
		{"long values", []entry{withXattrs(file("file", nil), many...)}, ""},
		{"too long values", []entry{withXattrs(file("file", nil), append(many, rootfs.Xattr{Name: "user.x"})...)}, "extended attributes of 262156 bytes: erofs holds at most 262148"},
		{"acl", one("system.posix_acl_access", minimal), ""},
		{"acl with names", one("system.posix_acl_default", acl(1|all, 0, 2|all, 5, 2|all, 6, 4|all, 0, 8|all, 5, 0x10|all, 0, 0x20|all, 0)), ""},
		{"acl without mask", one("system.posix_acl_access", acl(1|all, 0, 2|all, 5, 4|all, 0, 0x20|all, 0)), `extended attribute "system.posix_acl_access": not a valid access control list`},
		{"acl without others", one("system.posix_acl_access", acl(1|all, 0, 4|all, 0)), `extended attribute "system.posix_acl_access": not a valid access control list`},
		{"acl in disorder", one("system.posix_acl_access", acl(4|all, 0, 1|all, 0, 0x20|all, 0)), `extended attribute "system.posix_acl_access": not a valid access control list`},
		{"acl twice", one("system.posix_acl_access", acl(1|all, 0, 1|all, 0, 4|all, 0, 0x20|all, 0)), `extended attribute "system.posix_acl_access": not a valid access control list`},
		{"acl with a bit", one("system.posix_acl_access", acl(1|8<<16, 0, 4|all, 0, 0x20|all, 0)), `extended attribute "system.posix_acl_access": not a valid access control list`},
		{"acl of another version", one("system.posix_acl_access", "\x01"+minimal[1:]), `extended attribute "system.posix_acl_access": not a valid access control list`},
		{"acl cut off", one("system.posix_acl_access", minimal[:11]), `extended attribute "system.posix_acl_access": not a valid access control list`},
		{"names", links, ""},
		{"too many names", append(links, last), "erofs gives a file like this one at most 65535 names"},
		{"more names", append(extended, last), ""},
		{"socket", []entry{{Entry: rootfs.Entry{Path: "file", Mode: fs.ModeSocket}}}, "mode S--------- is of no kind that erofs holds"},
		{"no parent", []entry{directory("a/b")}, `comes before its parent "a"`},
		{"link to nothing", []entry{file("a", nil), {Entry: rootfs.Entry{Path: "b"}, same: "c"}}, `"c" is no regular file added before`},
		{"link to a directory", []entry{directory("a"), {Entry: rootfs.Entry{Path: "b"}, same: "a"}}, `"a" is no regular file added before`},
		{"link from nowhere", []entry{file("a", nil), {Entry: rootfs.Entry{Path: "b/c"}, same: "a"}}, `comes before its parent "b"`},
		{"root twice", []entry{directory(".")}, "comes twice"},
	} {
		path, err := build(t, testOptions, c.entries...)
		if c.reason == "" {
			if err == nil {
				err = fsck(testbed.Tool(t, "fsck.erofs"), path)
			}
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		var refusal *rootfs.EntryError
		if !errors.As(err, &refusal) || refusal.Reason != c.reason || refusal.Path != c.entries[len(c.entries)-1].Path {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	path := mustBuild(t, testOptions, append(extended, last)...)
	if out := testbed.Run(t, "dump.erofs", "--path=/last", path); !bytes.Contains(out, []byte("Links: 65536 ")) {
		t.Errorf("%s", out)
	}
}

// TestXattrs has what the conformance suite does not bring: attributes of the
// root that have no room behind the superblock, many of one file, and so much
// before the target of a link that it has none.
func TestXattrs(t *testing.T) {
	t.Parallel()
	needMount(t)
	var many []rootfs.Xattr
	for i := range 600 {
		many = append(many, rootfs.Xattr{Name: fmt.Sprintf("trusted.%03d", i), Value: random(i % 50)})
	}
	long := rootfs.Xattr{Name: "trusted.long", Value: random(60_000)}
	link := entry{Entry: rootfs.Entry{Path: "link", Mode: fs.ModeSymlink | 0o777, ModTime: testTime, Target: strings.Repeat("t", 90)}}
	for _, o := range []erofs.Options{testOptions, withCompression(erofs.LZ4, 4096)} {
		entries := []entry{
			withXattrs(file("file", random(9000)), many...),
			withXattrs(file("same", random(9000)), many...), // 255 of them are shared
			withXattrs(file("text", bytes.Repeat([]byte("text"), 5000)), append(many[:200:200], long)...),
			withXattrs(link, rootfs.Xattr{Name: "trusted.a", Value: random(3950)}),
			withXattrs(directory("dir"), long),
			file("dir/file", []byte("x")),
		}
		var m memory
		w, err := erofs.NewWriter(&m, o)
		if err != nil {
			t.Fatal(err)
		}
		root := withXattrs(directory("."), many...)
		if err := w.Add(root.Entry, nil); err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if err := w.Add(e.Entry, bytes.NewReader(e.data)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), imageName)
		if err := os.WriteFile(path, m.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := fsck(testbed.Tool(t, "fsck.erofs"), path, "--extract"); err != nil {
			t.Fatal(err)
		}
		verify(t, path, true, root, entries)
	}
}

// TestLies has readers that end long before the size that was announced. Nothing
// may be set aside for it.
func TestLies(t *testing.T) {
	for _, c := range []erofs.Compression{erofs.None, erofs.LZ4} {
		for _, size := range []int64{100, 5000, 1 << 33, 1 << 50, 1<<63 - 1} {
			w, err := erofs.NewWriter(&memory{}, withCompression(c, 0))
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Add(directory(".").Entry, nil); err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err = w.Add(rootfs.Entry{Path: "file", Mode: 0o644, Size: size}, strings.NewReader("short"))
			runtime.ReadMemStats(&after)
			if err != io.ErrUnexpectedEOF {
				t.Errorf("%d bytes: %v", size, err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
				t.Errorf("%d bytes: %d bytes of memory", size, used)
			}
			if w.Close() != io.ErrUnexpectedEOF {
				t.Error("Close has forgotten the error")
			}
		}
	}
}

// sparse is a file of zeros but for the beginnings of some blocks.
type sparse struct {
	size, at int64
	data     map[int64]byte
}

func (s *sparse) Read(p []byte) (int, error) {
	if s.at == s.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), s.size-s.at)]
	clear(p)
	for at, b := range s.data {
		if at >= s.at && at < s.at+int64(len(p)) {
			p[at-s.at] = b
		}
	}
	s.at += int64(len(p))
	return len(p), nil
}

// TestLarge has a sparse file of more than 4 GiB, whose holes are holes.
func TestLarge(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("SKIPPED: 5 GiB take some time")
	}
	needMount(t)
	data := map[int64]byte{0: 1, 123_456_789: 2, 4<<30 - 1: 3, 4 << 30: 4, 5<<30 + 4095: 5}
	path := filepath.Join(t.TempDir(), imageName)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := erofs.NewWriter(f, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(directory(".").Entry, nil); err != nil {
		t.Fatal(err)
	}
	for i, data := range []map[int64]byte{data, nil} {
		e := rootfs.Entry{Path: fmt.Sprint(i), Mode: 0o644, ModTime: time.Unix(0, 0), Size: 5<<30 + 4096}
		if err := w.Add(e, &sparse{size: e.Size, data: data}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w.Size() > 2<<20 {
		t.Errorf("it takes %d bytes", w.Size())
	}
	if err := fsck(testbed.Tool(t, "fsck.erofs"), path); err != nil {
		t.Fatal(err)
	}
	if err := mounted(path, func(root string) error {
		for i, data := range []map[int64]byte{data, nil} {
			if err := checkSparse(filepath.Join(root, fmt.Sprint(i)), 5<<30+4096, data); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// checkSparse reads what of a file is no hole.
func checkSparse(path string, size int64, data map[int64]byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != size {
		return fmt.Errorf("%d bytes: %v", info.Size(), err)
	}
	found, read := 0, int64(0)
	for at := int64(0); ; {
		start, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		} else if err != nil {
			return err
		}
		if at, err = f.Seek(start, unix.SEEK_HOLE); err != nil {
			return err
		}
		b := make([]byte, at-start)
		if _, err := f.ReadAt(b, start); err != nil {
			return err
		}
		read += at - start
		for i, x := range b {
			if x != data[start+int64(i)] {
				return fmt.Errorf("%d at %d", x, start+int64(i))
			}
			if x != 0 {
				found++
			}
		}
	}
	if found != len(data) || read > 1<<20 {
		return fmt.Errorf("%d of %d places in %d bytes", found, len(data), read)
	}
	return nil
}
