package ext4_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thaw/image/ext4"
	"thaw/internal/testbed"
)

const (
	mib   = 1 << 20
	gib   = 1 << 30
	group = 128 * mib
)

func links(n int) (entries []entry) {
	for i := range n {
		entries = append(entries, symlink(fmt.Sprint(i), "target"))
	}
	return entries
}

// digest is an image of which only a digest of the writes is kept, where data
// is many bytes and is not looked at.
type digest struct {
	sum [32]byte
	end int64
}

func (d *digest) WriteAt(p []byte, off int64) (int, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%x %d", d.sum, off)
	h.Write(p)
	d.sum = [32]byte(h.Sum(nil))
	d.end = max(d.end, off+int64(len(p)))
	return len(p), nil
}

func digestOf(o ext4.Options, entries []entry) (d digest, size int64, err error) {
	w, err := ext4.NewWriter(&d, o)
	if err == nil {
		err = add(w, append([]entry{directory(".")}, entries...), nil)
		size = w.Size()
	}
	return d, size, err
}

// TestFit checks that a file system without a fixed size is as small as can be:
// given its size it comes out the same, and given one block less it fails.
func TestFit(t *testing.T) {
	var data []int64
	// The group's end comes at every stage of writing.
	for n := int64(-12); n <= 3; n++ {
		data = append(data, group-(1+128)*4096+n*4096)
	}
	data = append(data, 0, 1, mib, group, 2*group, 2*group+129*4096, 3*group-300*4096, 3*group-200*4096)
	type test struct {
		name     string
		capacity int64
		entries  []entry
	}
	var tests []test
	for _, n := range data {
		tests = append(tests, test{fmt.Sprint(n), 0, []entry{file("data", n, all)}})
	}
	for _, n := range []int{1, 5, 6, 100, 32_757, 32_758, 70_000, 3 * 32_768} {
		tests = append(tests, test{fmt.Sprintf("%d links", n), 0, links(n)})
	}
	tests = append(tests,
		test{"small capacity", 2 * mib, []entry{file("data", mib, all)}},
		test{"mixed", 300 * mib, append(links(20_000), file("data", group-5*mib, all))},
		test{"descriptors set aside for 8 TiB", ext4.MaxCapacity, []entry{file("data", group-5*mib, all)}},
	)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := testOptions
			o.Capacity = test.capacity
			want, size, err := digestOf(o, test.entries)
			if err != nil {
				t.Fatal(err)
			}
			if want.end > size || size%4096 != 0 {
				t.Errorf("%d bytes are written and %d are the size", want.end, size)
			}
			o.Size = size
			same, sameSize, err := digestOf(o, test.entries)
			if err != nil || sameSize != size || same != want {
				t.Errorf("given %d bytes: %d bytes, same writes: %v, %v", size, sameSize, same == want, err)
			}
			o.Size = size - 4096
			_, _, err = digestOf(o, test.entries)
			var noSpace *ext4.NoSpaceError
			if !errors.As(err, &noSpace) || noSpace.Needed > size || noSpace.Given > o.Size || noSpace.Needed <= noSpace.Given {
				t.Errorf("of %d bytes, given %d: %v", size, o.Size, err)
			}
		})
	}
}

// TestFitJudged has some of the sizes of TestFit judged.
func TestFitJudged(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{group - 135*4096, group - 133*4096, group - 129*4096} {
		fsck(t, mustBuild(t, testOptions, file("data", n, all)))
	}
	for _, n := range []int{32_758, 70_000} {
		fsck(t, mustBuild(t, testOptions, links(n)...))
	}
}

// TestGroups has data across several groups, of which some keep copies.
func TestGroups(t *testing.T) {
	t.Parallel()
	entries := []entry{
		file("first", group-mib, all),
		file("second", 300*mib, all),
		directory("d"),
		file("d/third", 4097, all),
		symlink("d/link", strings.Repeat("l", 4095)),
	}
	path := mustBuild(t, testOptions, entries...)
	fsck(t, path)
	needMount(t)
	err := mounted(path, "ro", func(root string) error {
		for _, e := range entries {
			if e.Kind() != 0 {
				continue
			}
			f, err := os.Open(filepath.Join(root, e.Path))
			if err != nil {
				return err
			}
			defer f.Close()
			if err := equal(f, e.data.reader()); err != nil {
				return fmt.Errorf("%s: %w", e.Path, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestCopies has e2fsck begin from the copies of the superblock. It then trusts
// no mark of what is not initialised, and so finds checksums to set.
func TestCopies(t *testing.T) {
	entries := append(links(100), file("data", 10*mib, all))
	o := testOptions
	o.Free = gib
	for _, group := range []int{1, 3, 5, 7} {
		path := mustBuild(t, o, entries...)
		out, err := exec.Command(testbed.Tool(t, "e2fsck"), "-fy", "-B", "4096", "-b", fmt.Sprint(group*32768), path).CombinedOutput()
		if exit, ok := err.(*exec.ExitError); err != nil && (!ok || exit.ExitCode() != 1) {
			t.Errorf("from group %d: %v\n%s", group, err, out)
		}
		verify(t, path, entries)
	}
}

// equal compares two streams, of which both may be long.
func equal(got, want io.Reader) error {
	a, b := make([]byte, mib), make([]byte, mib)
	for off := int64(0); ; off += mib {
		n, err := io.ReadFull(got, a)
		m, werr := io.ReadFull(want, b)
		if !bytes.Equal(a[:n], b[:m]) {
			return fmt.Errorf("differs within the MiB at %d", off)
		}
		if err != nil || werr != nil {
			if err == io.ErrUnexpectedEOF || err == io.EOF {
				return nil
			}
			return err
		}
	}
}

// super returns the numbers that dumpe2fs shows.
func super(t *testing.T, path string) map[string]int64 {
	t.Helper()
	m := map[string]int64{}
	for line := range strings.Lines(string(testbed.Run(t, "dumpe2fs", "-h", path))) {
		name, value, _ := strings.Cut(line, ":")
		var n int64
		if _, err := fmt.Sscan(value, &n); err == nil {
			m[name] = n
		}
	}
	return m
}

func TestFree(t *testing.T) {
	entries := append(links(1000), file("data", 10*mib, all))
	for _, free := range []int64{1, 4096, 4097, mib, 100 * mib, 118 * mib, 128 * mib, 256 * mib, gib, 9 * gib} {
		o := testOptions
		o.Free = free
		path := mustBuild(t, o, entries...)
		fsck(t, path)
		s := super(t, path)
		if got := s["Free blocks"] * 4096; got < free || got > free+4095 {
			t.Errorf("%d bytes are free, asked for %d", got, free)
		}
		if got := s["Free inodes"]; got < free>>14 {
			t.Errorf("%d bytes are free and %d inodes", free, got)
		}
	}
}

func TestFreePercent(t *testing.T) {
	entries := append(links(1000), file("data", 10*mib, all))
	smallest := super(t, mustBuild(t, testOptions, entries...))["Block count"]
	for _, percent := range []int{1, 10, 150, 1000} {
		o := testOptions
		o.FreePercent = percent
		path := mustBuild(t, o, entries...)
		fsck(t, path)
		want := (smallest*int64(percent) + 99) / 100
		if got := super(t, path)["Free blocks"]; got < want || got > want+1 {
			t.Errorf("%d blocks are free of %d, asked for %d %%", got, smallest, percent)
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	entries := append(links(1000), file("data", 10*mib, all))
	for _, size := range []int64{
		11 * mib, 100 * mib, group - 4096, group, group + 4096, group + 129*4096, group + 130*4096, 2*group + 4096, gib + 4095,
		10*group + 4096, 64 * gib, 1 << 40, ext4.MaxCapacity,
	} {
		o := testOptions
		o.Size = size
		path := mustBuild(t, o, entries...)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if size > 1<<40 { // e2fsck takes long
			testbed.Run(t, "dumpe2fs", "-h", path)
		} else {
			fsck(t, path)
		}
		s := super(t, path)
		if got := s["Block count"] * 4096; got != info.Size() || got > size || got < size-130*4096 {
			t.Errorf("%d blocks in %d bytes, asked for %d", s["Block count"], info.Size(), size)
		}
		// The tables are part of what was free before them.
		if free, inodes := s["Free blocks"], s["Free inodes"]; inodes < free/4-16*(size/group+1) || inodes > free/4+16*(size/group+1) {
			t.Errorf("of %d bytes, %d blocks and %d inodes are free", size, free, inodes)
		}
	}
}

// TestCapacity has file systems that take up all that is set aside.
func TestCapacity(t *testing.T) {
	for _, capacity := range []int64{mib, group, 8 * gib, 8*gib + 4096, 16 * gib} {
		o := testOptions
		o.Size, o.Capacity = capacity, capacity
		fsck(t, mustBuild(t, o, file("data", 100_000, all)))
	}
	o := testOptions
	o.Capacity = 4 * mib
	_, err := build(t, o, file("data", 5*mib, all))
	var noSpace *ext4.NoSpaceError
	if !errors.As(err, &noSpace) || noSpace.Given != 4*mib || noSpace.Needed <= 4*mib {
		t.Errorf("more than the capacity: %v", err)
	}
}

// TestNoSpace checks that the error comes early and that nothing is written
// beyond the size.
func TestNoSpace(t *testing.T) {
	o := testOptions
	o.Size = 10 * mib
	var d digest
	w, err := ext4.NewWriter(&d, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(directory(".").Entry, nil); err != nil {
		t.Fatal(err)
	}
	f := file("data", gib, all)
	read := &counter{r: f.data.reader()}
	err = w.Add(f.Entry, read)
	var noSpace *ext4.NoSpaceError
	if !errors.As(err, &noSpace) || noSpace.Given != o.Size || noSpace.Needed <= o.Size {
		t.Errorf("the error is %v", err)
	}
	if read.n > o.Size+mib || d.end > o.Size {
		t.Errorf("%d bytes were read and %d written", read.n, d.end)
	}
	if again := w.Close(); again != err {
		t.Errorf("after %v comes %v", err, again)
	}

	o.Size = 4 * mib
	_, err = build(t, o, links(100_000)...)
	if !errors.As(err, &noSpace) {
		t.Errorf("the error is %v", err)
	}
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// TestGrow has resize2fs grow file systems, within what is set aside and beyond.
func TestGrow(t *testing.T) {
	entries := append(links(3000), directory("d"), file("d/data", 140*mib, all))
	for _, test := range []struct {
		capacity int64
		sizes    []string
	}{
		{0, []string{"200M", "1200M", "20G"}},
		{gib, []string{"2G"}},
	} {
		o := testOptions
		o.Capacity = test.capacity
		path := mustBuild(t, o, entries...)
		for _, size := range test.sizes {
			testbed.Run(t, "truncate", "-s", size, path)
			testbed.Run(t, "resize2fs", "-f", path)
			fsck(t, path)
		}
	}
}

// used are the entries of file systems for [use].
func used() []entry {
	entries := append(links(3000), directory("d"), directory("e"), file("d/data", 20*mib, all))
	for i := range 1000 {
		entries = append(entries, file(fmt.Sprintf("e/%d-%s", i, strings.Repeat("n", 50)), 1, all))
	}
	return entries
}

// TestUse has Linux write to a file system.
func TestUse(t *testing.T) {
	needMount(t)
	o := testOptions
	o.Free = 100 * mib
	path := mustBuild(t, o, used()...)
	for _, name := range []string{"first", "second"} {
		if err := mounted(path, "rw", func(root string) error { return use(root, name) }); err != nil {
			t.Fatal(err)
		}
		fsck(t, path)
	}
}

// TestGrowMounted has Linux grow a file system in use, within what is set aside
// and beyond.
func TestGrowMounted(t *testing.T) {
	needMount(t)
	resize2fs := testbed.Tool(t, "resize2fs")
	for _, test := range []struct {
		v        variant
		capacity int64
	}{{variants[0], 0}, {variants[0], gib}, {variants[1], 0}, {variants[3], 0}} {
		o := test.v.options
		o.Free, o.Capacity = 100*mib, test.capacity
		path := mustBuild(t, o, used()...)
		err := mounted(path, "rw", func(root string) error {
			if err := use(root, "before"); err != nil {
				return err
			}
			device := strings.TrimSpace(string(testbed.Run(t, "findmnt", "-n", "-o", "SOURCE", root)))
			testbed.Run(t, "truncate", "-s", "20G", path)
			testbed.Run(t, "losetup", "-c", device)
			switch out, err := exec.Command(resize2fs, device).CombinedOutput(); {
			case bytes.Contains(out, []byte("Permission denied")):
				t.Skip("SKIPPED: this system lets nobody grow a mounted file system")
			case err != nil:
				return fmt.Errorf("resize2fs: %v: %s", err, out)
			}
			return use(root, "after")
		})
		if err != nil {
			t.Fatal(err)
		}
		fsck(t, path)
		if got := super(t, path)["Block count"]; got < 20*gib/blockSize(o)-100_000 {
			t.Errorf("grown to %d blocks", got)
		}
	}
}

// use adds, changes and removes files.
func use(root, name string) error {
	if err := os.MkdirAll(filepath.Join(root, name, "sub"), 0o777); err != nil {
		return err
	}
	for i := range 500 {
		if err := os.WriteFile(filepath.Join(root, "e", fmt.Sprintf("%s-%d-%s", name, i, strings.Repeat("m", 100))), make([]byte, i*100), 0o666); err != nil {
			return err
		}
	}
	for i := range 100 {
		if err := os.Remove(filepath.Join(root, "e", fmt.Sprintf("%s-%d-%s", name, i*3, strings.Repeat("m", 100)))); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(filepath.Join(root, "d/data"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(19 * mib); err != nil {
		return err
	}
	_, err = f.WriteAt(bytes.Repeat([]byte("x"), 3*mib), 18*mib)
	return err
}
