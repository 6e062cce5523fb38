package ext4_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"thaw/image/ext4"
	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

func TestSizes(t *testing.T) {
	var entries []entry
	for _, n := range []int64{0, 1, 59, 60, 61, 4095, 4096, 4097, 8191, 8192, 8193, 1<<20 - 1, 1 << 20, 1<<20 + 1} {
		entries = append(entries, file(fmt.Sprintf("data%d", n), n, all), file(fmt.Sprintf("zeros%d", n), n, none))
	}
	for n := range 9 {
		entries = append(entries, symlink(fmt.Sprintf("link%d", n), strings.Repeat("x", 56+n)))
	}
	verify(t, mustBuild(t, testOptions, entries...), entries)
}

// TestExtents has files of as many extents as fill each form of the tree, and
// one more.
func TestExtents(t *testing.T) {
	t.Parallel()
	var entries []entry
	for _, n := range []int64{1, 2, 3, 4, 5, 339, 340, 341, 680, 681, 4 * 340, 4*340 + 1, 5 * 340} {
		// A block of data, then a hole just long enough; n times.
		entries = append(entries, file(fmt.Sprint(n), n*9*4096-100, func(b int64) bool { return b%9 == 0 }))
		entries = append(entries, file(fmt.Sprintf("-%d", n), n*9*4096-4095, func(b int64) bool { return b%9 == 8 }))
	}
	verify(t, mustBuild(t, testOptions, entries...), entries)
}

func TestHoles(t *testing.T) {
	var entries []entry
	blocks := map[string]int64{}
	for _, test := range []struct {
		name   string
		size   int64 // in blocks
		data   func(int64) bool
		stored int64
	}{
		{"all data", 100, all, 100},
		{"all zeros", 100, none, 0},
		{"seven zeros", 9, func(b int64) bool { return b == 0 || b == 8 }, 9},
		{"eight zeros", 10, func(b int64) bool { return b == 0 || b == 9 }, 2},
		{"seven at the end", 8, func(b int64) bool { return b == 0 }, 8},
		{"eight at the end", 9, func(b int64) bool { return b == 0 }, 1},
		{"eight in front", 9, func(b int64) bool { return b == 8 }, 1},
		{"over a chunk's end", 64, func(b int64) bool { return b < 28 || b >= 36 }, 56},
		{"a huge one", 1 << 20, func(b int64) bool { return b == 1<<20-1 }, 1},
	} {
		entries = append(entries, file(test.name, test.size*4096, test.data))
		blocks[test.name] = test.stored
	}
	path := mustBuild(t, testOptions, entries[:len(entries)-1]...)
	verify(t, path, entries[:len(entries)-1])
	path = mustBuild(t, testOptions, entries...)
	fsck(t, path)
	tool := testbed.Tool(t, "debugfs")
	for name, want := range blocks {
		answers, err := debugfs(tool, path, []string{fmt.Sprintf("stat \"%s\"", name)})
		if err != nil {
			t.Fatal(err)
		}
		var got int64
		if _, rest, ok := strings.Cut(answers[0], "Blockcount: "); ok {
			fmt.Sscan(rest, &got)
		}
		if got != want*8 {
			t.Errorf("%s: %d blocks are stored, not %d", name, got/8, want)
		}
	}
}

// TestChunks checks that the bytes do not depend on how data is read.
func TestChunks(t *testing.T) {
	entries := []entry{
		directory("."),
		file("a", 300_000, func(b int64) bool { return b%20 < 5 }),
		file("b", 300_001, func(b int64) bool { return b < 28 || b > 36 }),
		directory("d"),
		file("d/c", 5, all),
	}
	entries = append(entries, entry{Entry: entries[1].Entry, data: entries[1].data})
	entries[len(entries)-1].Path = "equal"
	for _, v := range variants {
		for _, dedupe := range []bool{false, true} {
			o := v.options
			o.Dedupe = dedupe
			var first []byte
			for i, chunk := range []func(io.Reader) io.Reader{
				nil, nil, iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader,
				func(r io.Reader) io.Reader { return rootfsReader{r} },
			} {
				m := &memory{}
				w, err := ext4.NewWriter(m, o)
				if err != nil {
					t.Fatal(err)
				}
				if err := add(w, entries, chunk); err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					first = m.Bytes()
				} else if !bytes.Equal(first, m.Bytes()) {
					t.Errorf("%s: chunking %d makes other bytes", v.name, i)
				}
			}
		}
	}
}

// rootfsReader hands out an odd number of bytes at a time.
type rootfsReader struct{ r io.Reader }

func (r rootfsReader) Read(p []byte) (int, error) { return r.r.Read(p[:min(len(p), 4099)]) }

func TestDirectories(t *testing.T) {
	t.Parallel()
	var entries []entry
	name := func(n int) string { return strings.Repeat("n", n) }
	// Entries of 264 bytes after 24 for "." and "..": 15 leave 100 of the
	// 4084 bytes in a block; one of 92+8 bytes fills it, one more does not fit.
	for _, last := range []int{0, 91, 92, 93, 96, 97} {
		dir := fmt.Sprintf("fill%d", last)
		entries = append(entries, directory(dir))
		for i := range 15 {
			entries = append(entries, file(fmt.Sprintf("%s/%c%s", dir, 'a'+i, name(254)), 0, nil))
		}
		if last > 0 {
			entries = append(entries, file(dir+"/"+name(last), 0, nil))
		}
	}
	for _, n := range []int{0, 1, 2, 100, 170, 171, 1000, 20_000} {
		dir := fmt.Sprintf("many%d", n)
		entries = append(entries, directory(dir))
		for i := range n {
			entries = append(entries, file(fmt.Sprintf("%s/%d-\xff\x80-%d", dir, i*7919, i), 0, nil))
		}
	}
	deep := "deep"
	entries = append(entries, directory(deep))
	for i := range 100 {
		deep += fmt.Sprintf("/%d", i)
		entries = append(entries, directory(deep), file(deep+"/f", int64(i), all))
	}
	verify(t, mustBuild(t, testOptions, entries...), entries)

	noSeed := testOptions
	noSeed.HashSeed = [16]byte{}
	fsck(t, mustBuild(t, noSeed, entries...))
}

// TestLargeDirectories has an index of two levels, and more subdirectories than
// a count of links holds.
func TestLargeDirectories(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	var entries []entry
	entries = append(entries, directory("files"), directory("dirs"))
	for i := range 150_000 {
		entries = append(entries, file(fmt.Sprintf("files/%d-a name of some length, for more blocks", i), 0, nil))
	}
	for i := range 65_010 {
		entries = append(entries, directory(fmt.Sprintf("dirs/%d", i)))
	}
	path := mustBuild(t, testOptions, entries...)
	fsck(t, path)
	answers, err := debugfs(testbed.Tool(t, "debugfs"), path, []string{"htree_dump /files", "stat /dirs", "stat /files"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(answers[0], "Indirect levels: 1") {
		t.Errorf("no second level: %.300s", answers[0])
	}
	if !strings.Contains(answers[1], "Links: 1 ") || !strings.Contains(answers[2], "Links: 2 ") {
		t.Errorf("links:\n%s%s", answers[1], answers[2])
	}
	needMount(t)
	err = mounted(path, "ro", func(root string) error {
		for _, e := range entries { // each found by its hash
			if _, err := os.Lstat(root + "/" + e.Path); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestHardLinks(t *testing.T) {
	entries := []entry{file("a", 5000, all), directory("d")}
	same := func(path, earlier string) {
		entries = append(entries, entry{Entry: rootfs.Entry{Path: path}, same: earlier})
	}
	same("d/b", "a")
	for i := range 200 { // beyond what is looked through
		entries = append(entries, file(fmt.Sprintf("d/%d", i), int64(i), all))
		same(fmt.Sprintf("d/same%d", i), fmt.Sprintf("d/%d", i/2))
	}
	same("e", "d/b")
	verify(t, mustBuild(t, testOptions, entries...), entries)

	entries = []entry{file("a", 1, all)}
	for i := range 64_999 {
		same(fmt.Sprint(i), "a")
	}
	fsck(t, mustBuild(t, testOptions, entries...))
	same("one more", "a")
	_, err := build(t, testOptions, entries...)
	wantEntryError(t, err, "one more")
}

func wantEntryError(t *testing.T, err error, path string) {
	t.Helper()
	var e *rootfs.EntryError
	if !errors.As(err, &e) || e.Path != path {
		t.Errorf("the error is %v, and no refusal of %q", err, path)
	}
}

func TestLostFound(t *testing.T) {
	own := directory("lost+found")
	own.UID, own.Mode = 7, fs.ModeDir|0o711
	entries := []entry{file("first", 1, all), own, file("lost+found/child", 3, all)}
	path := mustBuild(t, testOptions, entries...)
	fsck(t, path)
	answers, err := debugfs(testbed.Tool(t, "debugfs"), path, []string{"stat lost+found", "stat lost+found/child"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(answers[0], "Inode: 11 ") || !strings.Contains(answers[0], "User:     7 ") || !strings.Contains(answers[1], "Size: 3\n") {
		t.Errorf("%s%s", answers[0], answers[1])
	}
	for _, bad := range []entry{file("lost+found", 1, all), symlink("lost+found", "x"), {Entry: rootfs.Entry{Path: "lost+found"}, same: "first"}} {
		_, err := build(t, testOptions, file("first", 1, all), bad)
		wantEntryError(t, err, "lost+found")
	}
}

func acl(version uint32, entries ...[3]uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, version)
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
		b = binary.LittleEndian.AppendUint32(b, e[2])
	}
	return b
}

const noID = 1<<32 - 1

func TestXattrs(t *testing.T) {
	value := func(n int) []byte { return bytes.Repeat([]byte{'v'}, n) }
	user := func(name string, n int) rootfs.Xattr { return rootfs.Xattr{Name: "user." + name, Value: value(n)} }
	access := "system.posix_acl_access"
	list := func(id uint32) []byte { // debugfs shows 0 where nobody is named, Linux noID
		return acl(2, [3]uint32{1, 6, id}, [3]uint32{2, 7, 1000}, [3]uint32{2, 5, 1001}, [3]uint32{4, 4, id}, [3]uint32{8, 4, 100}, [3]uint32{16, 7, id}, [3]uint32{32, 4, id})
	}
	full := list(0)
	plain := acl(2, [3]uint32{1, 6, noID}, [3]uint32{4, 4, noID}, [3]uint32{32, 4, noID})
	entries := []entry{
		withXattrs(file("acl", 1, all), rootfs.Xattr{Name: access, Value: full}),
		withXattrs(file("plain acl", 1, all), rootfs.Xattr{Name: access, Value: acl(2, [3]uint32{1, 6}, [3]uint32{4, 4}, [3]uint32{32, 4})}),
		withXattrs(directory("default"), rootfs.Xattr{Name: access, Value: full}, rootfs.Xattr{Name: "system.posix_acl_default", Value: full}),
		withXattrs(file("spaces", 1, all), rootfs.Xattr{Name: "security.selinux", Value: []byte("system_u:object_r:bin_t:s0\x00")}, rootfs.Xattr{Name: "trusted.overlay.opaque", Value: []byte("y")}),
		// 88 bytes in the inode: an entry of 16+4 and a value of 68, and one more.
		withXattrs(file("inode", 1, all), user("a", 68)),
		withXattrs(file("inode and more", 1, all), user("a", 69)),
		withXattrs(file("both", 1, all), user("a", 40), user("b", 40), user("c", 8), user("d", 0)),
		// 4060 bytes in a block.
		withXattrs(file("block", 1, all), user("a", 4040)),
		withXattrs(symlink("link", "target"), rootfs.Xattr{Name: "security.x", Value: value(100)}),
		withXattrs(symlink("long", strings.Repeat("x", 100)), rootfs.Xattr{Name: "security.x", Value: value(10)}),
	}
	for n := range 100 {
		entries = append(entries, withXattrs(file(fmt.Sprint(n), 1, all), user("a", n), user("b", 4*n), user(strings.Repeat("c", n+1), n)))
	}
	path := mustBuild(t, testOptions, entries...)
	verify(t, path, entries)
	for _, x := range [][]rootfs.Xattr{
		{user("a", 4041)},
		{user("a", 2000), user("b", 2100)},
		{user("a", 65536)},
		{{Name: "user.", Value: nil}},
		{{Name: "bogus", Value: nil}},
		{{Name: "system.data", Value: nil}},
		{{Name: access, Value: nil}},
		{{Name: access, Value: acl(1, [3]uint32{1, 6, noID}, [3]uint32{4, 4, noID}, [3]uint32{32, 4, noID})}},
		{{Name: access, Value: plain[:len(plain)-1]}},
		{{Name: access, Value: acl(2)}},
		{{Name: access, Value: acl(2, [3]uint32{1, 6, noID}, [3]uint32{1, 6, noID}, [3]uint32{4, 4, noID}, [3]uint32{32, 4, noID})}},
		{{Name: access, Value: acl(2, [3]uint32{4, 6, noID}, [3]uint32{1, 4, noID}, [3]uint32{32, 4, noID})}},
		{{Name: access, Value: acl(2, [3]uint32{1, 6, noID}, [3]uint32{2, 6, 5}, [3]uint32{4, 4, noID}, [3]uint32{32, 4, noID})}},
		{{Name: access, Value: acl(2, [3]uint32{1, 8, noID}, [3]uint32{4, 4, noID}, [3]uint32{32, 4, noID})}},
		{{Name: access, Value: acl(2, [3]uint32{1, 6, noID}, [3]uint32{4, 4, noID}, [3]uint32{32, 4, noID}, [3]uint32{64, 4, noID})}},
	} {
		_, err := build(t, testOptions, withXattrs(file("bad", 1, all), x...))
		wantEntryError(t, err, "bad")
	}
	needMount(t)
	err := mounted(path, "ro", func(root string) error {
		nodes, err := rootfstest.Walk(root)
		for _, n := range nodes {
			if n.Path != "default" {
				continue
			}
			for _, x := range n.Xattrs {
				if !bytes.Equal(x.Value, list(noID)) {
					t.Errorf("%s=%x", x.Name, x.Value)
				}
			}
			if len(n.Xattrs) != 2 {
				t.Errorf("%d lists", len(n.Xattrs))
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	set := func(change func(*ext4.Options)) ext4.Options {
		o := testOptions
		change(&o)
		return o
	}
	for _, o := range []ext4.Options{
		{},
		set(func(o *ext4.Options) { o.Label = "seventeen letters" }),
		set(func(o *ext4.Options) { o.Label = "a\x00b" }),
		set(func(o *ext4.Options) { o.Time = -1 }),
		set(func(o *ext4.Options) { o.Time = ext4.MaxTime + 1 }),
		set(func(o *ext4.Options) { o.Size = -1 }),
		set(func(o *ext4.Options) { o.Free = -1 }),
		set(func(o *ext4.Options) { o.Capacity = -1 }),
		set(func(o *ext4.Options) { o.Size, o.Free = 1<<30, 1<<30 }),
		set(func(o *ext4.Options) { o.Size, o.FreePercent = 1<<30, 10 }),
		set(func(o *ext4.Options) { o.Free, o.FreePercent = 1<<20, 10 }),
		set(func(o *ext4.Options) { o.Size, o.Capacity = 1<<31, 1<<30 }),
		set(func(o *ext4.Options) { o.Free, o.Capacity = 1<<31, 1<<30 }),
		set(func(o *ext4.Options) { o.Capacity = ext4.MaxCapacity + 1 }),
		set(func(o *ext4.Options) { o.Size = 1 }),
		set(func(o *ext4.Options) { o.BlockSize = 512 }),
		set(func(o *ext4.Options) { o.BlockSize = 8192 }),
		set(func(o *ext4.Options) { o.BlockSize = -4096 }),
		set(func(o *ext4.Options) { o.BlockSize, o.Capacity = 1024, 32*gib+1 }),
		set(func(o *ext4.Options) { o.BlockSize, o.Size = 2048, 512*gib+1 }),
		set(func(o *ext4.Options) { o.Inodes = -1 }),
		set(func(o *ext4.Options) { o.Inodes = 10 }),
		set(func(o *ext4.Options) { o.Inodes = 1 << 32 }),
		set(func(o *ext4.Options) { o.BytesPerInode = 1023 }),
		set(func(o *ext4.Options) { o.BytesPerInode = -1 }),
		set(func(o *ext4.Options) { o.BytesPerInode = 64<<20 + 1 }),
		set(func(o *ext4.Options) { o.Reserved = -1 }),
		set(func(o *ext4.Options) { o.Reserved = 2 << 40 }),
		set(func(o *ext4.Options) { o.ReservedPercent = -1 }),
		set(func(o *ext4.Options) { o.ReservedPercent = 51 }),
		set(func(o *ext4.Options) { o.Reserved, o.ReservedPercent = 1, 1 }),
		set(func(o *ext4.Options) { o.Journal = -2 }),
		set(func(o *ext4.Options) { o.Journal = 4<<20 - 1 }),
		set(func(o *ext4.Options) { o.Journal = 10_240_000*4096 + 1 }),
		set(func(o *ext4.Options) { o.Journal, o.Size = 40<<20, 40<<20 }),
	} {
		if _, err := ext4.NewWriter(&memory{}, o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	o := set(func(o *ext4.Options) { o.Label = "\xff234567890123456" })
	path := mustBuild(t, o)
	fsck(t, path)
	out := string(testbed.Run(t, "dumpe2fs", "-h", path))
	for _, want := range []string{
		"volume name:   \xff234567890123456\n", "UUID:          6badcafe-0000-0000-0000-000000000001\n",
		"Filesystem created:       Sun Sep  9 01:46:40 2001\n", "Default directory hash:   half_md4\n",
		"Directory Hash Seed:      01020304-0506-0708-090a-0b0c0d0e0f10\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}

	// The tools tell only the lower half of what they show as times.
	m := &memory{}
	w, err := ext4.NewWriter(m, set(func(o *ext4.Options) { o.Time = 2<<32 + 4 }))
	if err != nil {
		t.Fatal(err)
	}
	if err := add(w, []entry{directory(".")}, nil); err != nil {
		t.Fatal(err)
	}
	super := m.Bytes()[1024:]
	for low, high := range map[int]int{0x30: 0x274, 0x108: 0x276, 0x40: 0x277} {
		if super[low] != 4 || super[high] != 2 {
			t.Errorf("the time at %#x is not what is given", low)
		}
	}
}

func TestRefusals(t *testing.T) {
	huge := file("huge", 1<<44-4095, none)
	_, err := build(t, testOptions, huge)
	wantEntryError(t, err, "huge")
	_, err = build(t, testOptions, file("no/parent", 0, nil))
	wantEntryError(t, err, "no/parent")
	_, err = build(t, testOptions, directory("."))
	wantEntryError(t, err, ".")
	_, err = build(t, testOptions, symlink("a", "x"), entry{Entry: rootfs.Entry{Path: "b"}, same: "a"})
	wantEntryError(t, err, "b")
	_, err = build(t, testOptions, entry{Entry: rootfs.Entry{Path: "b"}, same: "a"})
	wantEntryError(t, err, "b")

	w, err := ext4.NewWriter(&memory{}, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err == nil {
		t.Error("a file system without a root is written")
	}
	short := file("short", 5000, all)
	short.data.size = 4999
	if _, err := build(t, testOptions, short); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("missing data is %v", err)
	}
}
