package squashfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"thaw/image/squashfs"
	"thaw/internal/testbed"
	"thaw/rootfs"
)

// plain options make sizes easy to foretell.
var plain = squashfs.Options{Compression: squashfs.None, BlockSize: 4 << 10}

// TestEqual compares images with contents that are equal, whole or in parts, to
// images that have them once.
func TestEqual(t *testing.T) {
	t.Parallel()
	const block = 4 << 10
	large := noise(1, 3<<20) // more than waits to be written
	for _, test := range []struct {
		name         string
		first, again []byte
		saved        int // bytes that are stored once
	}{
		{"small", noise(1, 1000), noise(1, 1000), 1000},
		{"blocks", noise(2, 4*block), noise(2, 4*block), 4 * block},
		{"blocks and end", noise(3, 4*block+9), noise(3, 4*block+9), 4*block + 9},
		{"other end", noise(4, 4*block+900), join(noise(4, 4*block), noise(5, 900)), 4 * block},
		{"other blocks", join(noise(6, 4*block), noise(7, 900)), join(noise(8, 4*block), noise(7, 900)), 900},
		{"end only", join(noise(9, block), noise(10, 900)), noise(10, 900), 900},
		{"last block differs", noise(11, 4*block), join(noise(11, 3*block), noise(12, block)), 0},
		{"shorter", noise(13, 4*block), noise(13, 3*block), 0},
		{"zeros between", join(noise(14, block), make([]byte, block), noise(15, block)),
			join(noise(14, block), make([]byte, block), noise(15, block)), 2 * block},
		{"zeros elsewhere", join(noise(16, block), make([]byte, block), noise(17, block)),
			join(noise(16, block), noise(17, block), make([]byte, block)), 0},
		{"large", large, large, len(large)},
		{"large end", join(large, noise(18, 5)), join(large, noise(19, 6)), len(large)},
		{"large begin", large, join(large, noise(20, block)), 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			behind := file("c", noise(100, 2*block+100))
			entries := []entry{file("a", test.first), file("b", test.again), behind}
			path := mustBuild(t, plain, entries...)
			verify(t, path, entries)
			list := len(join(test.first, test.again)) / block * 4
			stored := list + len(test.first) + len(test.again) - bytes.Count(join(test.first, test.again), make([]byte, block))*block +
				len(behind.data) - test.saved
			if rest := size(t, path) - int64(stored); rest < 300 || rest > 5000 {
				t.Errorf("%d bytes are stored, and the image has %d", stored, size(t, path))
			}
		})
	}
}

// TestEqualLast has the writer go back at the very end.
func TestEqualLast(t *testing.T) {
	data := noise(1, 5<<20)
	entries := []entry{file("a", data), file("b", data)}
	path := mustBuild(t, plain, entries...)
	verify(t, path, entries)
	if got := size(t, path); got > 5<<20+50_000 {
		t.Errorf("the image has %d bytes", got)
	}
}

// TestHuge has files that are larger than 4 GiB, and looks at parts of them.
func TestHuge(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes long under the race detector")
	}
	t.Parallel()
	needMount(t)
	type file struct {
		size   int64
		blocks int64 // that stat tells of, in 512 bytes
	}
	files := map[string]file{
		"all zeros": {5 << 30, 1}, // not 0, as mksquashfs has it
		"marked":    {4<<30 + 4097, 9},
		"odd":       {1<<32 - 1, 128},
		"even":      {1 << 32, 1},
	}
	path := filepath.Join(t.TempDir(), imageName)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := squashfs.NewWriter(f, squashfs.Options{BlockSize: 64 << 10, Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Add(directory(".").Entry, nil); err != nil {
		t.Fatal(err)
	}
	for name, f := range files {
		e := rootfs.Entry{Path: name, Mode: 0o644, ModTime: testTime, Size: f.size}
		var data io.Reader = zeros{}
		if name == "marked" {
			data = io.MultiReader(io.LimitReader(zeros{}, 4<<30), strings.NewReader("here"), zeros{})
		}
		if err := w.Add(e, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), f.Truncate(w.Size())); err != nil {
		t.Fatal(err)
	}
	err = mounted(path, func(root string) error {
		for name, want := range files {
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(root, name), &st); err != nil {
				return err
			}
			if st.Size != want.size || st.Blocks != want.blocks {
				t.Errorf("%s has %d bytes in %d blocks, not %d in %d", name, st.Size, st.Blocks, want.size, want.blocks)
			}
			f, err := os.Open(filepath.Join(root, name))
			if err != nil {
				return err
			}
			defer f.Close()
			for _, at := range []int64{0, 1<<31 - 10, 1<<32 - 100, 1 << 32} {
				got := make([]byte, 1000)
				n, err := f.ReadAt(got, at)
				if err != nil && err != io.EOF {
					return err
				}
				data := make([]byte, max(0, min(1000, want.size-at)))
				if name == "marked" && at >= 1<<32-100 {
					copy(data[1<<32-at:], "here")
				}
				if !bytes.Equal(got[:n], data) {
					t.Errorf("%s has other bytes at %d", name, at)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestDirectories has directories of sizes around those of blocks and indexes,
// and looks for names that are not there.
func TestDirectories(t *testing.T) {
	t.Parallel()
	needMount(t)
	var entries []entry
	for _, n := range []int{0, 1, 256, 257, 600, 2000} {
		dir := fmt.Sprintf("dir%d", n)
		entries = append(entries, directory(dir))
		for i := range n {
			// Each with the one before it as its beginning, or a byte
			// above 0x7f.
			name := strings.Repeat("n", i%8) + fmt.Sprintf("%04d", i/8)
			if i%3 == 0 {
				name = "\xff" + name
			}
			entries = append(entries, symlink(dir+"/"+name, "x"))
		}
		if n == 600 { // links to what lies in many blocks, far from each other
			for i := range 600 {
				entries = append(entries, file(fmt.Sprintf("%s/file%d", dir, i), nil))
			}
			entries = append(entries, directory("links"))
			for i := range 600 {
				entries = append(entries, hardLink(fmt.Sprintf("links/%d", i), fmt.Sprintf("dir600/file%d", i*7%600)))
			}
		}
	}
	path := mustBuild(t, plain, entries...)
	verifyMounted(t, path, entries)
	err := mounted(path, func(root string) error {
		for _, e := range entries {
			if _, err := os.Lstat(filepath.Join(root, e.Path+"~")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("looking for %q and ~: %v", e.Path, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFarLinks has a directory of links to inodes whose numbers are too far
// apart for one header.
func TestFarLinks(t *testing.T) {
	t.Parallel()
	needMount(t)
	entries := []entry{directory("a"), file("a/1", []byte("one")), file("a/2", []byte("two")), directory("m")}
	for i := range 33_000 {
		entries = append(entries, symlink(fmt.Sprintf("m/%d", i), "x"))
	}
	entries = append(entries, directory("z"), file("z/3", []byte("three")),
		directory("links"), hardLink("links/1", "a/1"), hardLink("links/2", "z/3"), hardLink("links/3", "a/2"))
	err := mounted(mustBuild(t, testOptions, entries...), func(root string) error {
		for name, want := range map[string]string{"links/1": "one", "links/2": "three", "links/3": "two", "a/1": "one", "z/3": "three"} {
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(root, name), &st); err != nil {
				return err
			}
			got, err := os.ReadFile(filepath.Join(root, name))
			if string(got) != want || st.Nlink != 2 || err != nil {
				t.Errorf("%s has %q and %d links, %v", name, got, st.Nlink, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSuperblock has unsquashfs tell what it reads there.
func TestSuperblock(t *testing.T) {
	shared := []rootfs.Xattr{{Name: "security.a", Value: noise(1, 3000)}, {Name: "user.b", Value: []byte("short")}}
	other := []rootfs.Xattr{{Name: "trusted.c", Value: noise(1, 3000)}}
	entries := []entry{
		withXattrs(file("a", words(1, 100_000)), shared...), withXattrs(directory("b"), shared...), withXattrs(file("c", nil), other...),
		hardLink("d", "a"), symlink("e", "a"),
	}
	for _, test := range []struct {
		c    squashfs.Compression
		more string
	}{
		{squashfs.Zstd, `Compression zstd\nBlock size 16384\n`},
		{squashfs.XZ, `Compression xz\nBlock size 16384\n`},
		{squashfs.Gzip, `Compression gzip\nBlock size 16384\n`},
		{squashfs.LZ4, `Compression lz4\n\tHigh Compression option specified \(-Xhc\)\nBlock size 16384\n`},
		{squashfs.None, `(?s)Inodes are uncompressed.*Data is uncompressed.*\(Id table\) are uncompressed.*Fragments are uncompressed.*Xattrs are uncompressed`},
	} {
		path := mustBuild(t, squashfs.Options{Time: 1<<32 - 1, Compression: test.c, BlockSize: 16 << 10}, entries...)
		verify(t, path, entries)
		out := testbed.Run(t, "unsquashfs", "-UTC", "-s", path)
		for _, want := range []string{
			test.more, `Creation or last append time Sun Feb  7 06:28:15 2106\n`, `Filesystem is exportable via NFS\n`,
			`Always-use-fragments option is specified\n`, `Duplicates are removed\n`, `Number of fragments 1\n`, `Number of inodes 5\n`,
			`Number of ids 1\n`, `Number of xattr ids 2\n`,
		} {
			if !regexp.MustCompile(want).Match(out) {
				t.Errorf("%v: no %q in\n%s", test.c, want, out)
			}
		}
		// The long value is there once.
		if test.c == squashfs.None && size(t, path) > 102_400+4096 {
			t.Errorf("the image has %d bytes", size(t, path))
		}
	}
}

// TestList has unsquashfs list what Linux could not make of an image: the
// owner -1, and what only root may make.
func TestList(t *testing.T) {
	own := func(e entry, mode fs.FileMode, uid, gid uint32) entry {
		e.Mode, e.UID, e.GID = mode, uid, gid
		return e
	}
	device := own(directory("dev"), fs.ModeDevice|0o640, 0, 6)
	device.Dev = rootfs.Mkdev(8, 17)
	path := mustBuild(t, testOptions,
		own(file("file", words(1, 200_000)), 0o751|fs.ModeSetuid|fs.ModeSticky, math.MaxUint32, math.MaxUint32-1), device,
		own(directory("fifo"), fs.ModeNamedPipe|0o600, 1, 1), symlink("link", "to\xff"))
	var got []string
	for line := range strings.Lines(string(testbed.Run(t, "unsquashfs", "-UTC", "-lln", "-d", "", path))) {
		if f := strings.Fields(line); len(f) > 0 {
			got = append(got, strings.Join(f, " "))
		}
	}
	want := []string{
		"drwxr-xr-x 0/0 62 2009-02-13 23:31",
		"brw-r----- 0/6 8, 17 2009-02-13 23:31 /dev",
		"prw------- 1/1 0 2009-02-13 23:31 /fifo",
		"-rwsr-x--t 4294967295/4294967294 200000 2009-02-13 23:31 /file",
		"lrwxrwxrwx 0/0 3 2009-02-13 23:31 /link -> to\xff",
	}
	if !slices.Equal(got, want) {
		t.Errorf("unsquashfs lists %q, not %q", got, want)
	}
}

// TestExport opens files by handles, as NFS does. It mounts the image anew in
// between, so that Linux must find inodes by their numbers.
func TestExport(t *testing.T) {
	t.Parallel()
	needMount(t)
	var entries []entry
	for i := range 3000 {
		entries = append(entries, file(fmt.Sprintf("%d", i), []byte(fmt.Sprint(i))))
	}
	path := mustBuild(t, testOptions, entries...)
	handles := map[string]unix.FileHandle{}
	err := mounted(path, func(root string) error {
		for _, e := range entries {
			h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, filepath.Join(root, e.Path), 0)
			if err != nil {
				return err
			}
			handles[e.Path] = h
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = mounted(path, func(root string) error {
		dir, err := os.Open(root)
		if err != nil {
			return err
		}
		defer dir.Close()
		for name, h := range handles {
			fd, err := unix.OpenByHandleAt(int(dir.Fd()), h, unix.O_RDONLY)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			f := os.NewFile(uintptr(fd), name)
			got, err := io.ReadAll(f)
			f.Close()
			if string(got) != name || err != nil {
				t.Errorf("the handle of %s leads to %q, %v", name, got, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
