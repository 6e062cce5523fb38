package ext4_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thaw/image/ext4"
	"thaw/internal/testbed"
	"thaw/rootfs"
)

// A variant is a kind of file system that tests are repeated for.
type variant struct {
	name    string
	options ext4.Options
}

// variants begin with the default; the first four have the whole suite.
var variants = func() (all []variant) {
	for _, size := range []int{0, 1024, 2048} {
		o := testOptions
		o.BlockSize = size
		all = append(all, variant{fmt.Sprintf("blocks of %d", blockSize(o)), o})
		o.Journal = ext4.JournalAuto
		all = append(all, variant{fmt.Sprintf("blocks of %d, journal", blockSize(o)), o})
	}
	return all
}()

func blockSize(o ext4.Options) int64 {
	if o.BlockSize == 0 {
		return 4096
	}
	return int64(o.BlockSize)
}

// TestVariants has trees with what depends on the size of blocks.
func TestVariants(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			bs := blockSize(v.options)
			entries := []entry{directory("few"), directory("many"), directory("more")}
			for _, n := range []int64{0, 1, bs - 1, bs, bs + 1, 8*bs - 1, 8 * bs, 9 * bs, 100*bs + 1} {
				entries = append(entries, file(fmt.Sprintf("few/data%d", n), n, all), file(fmt.Sprintf("few/zeros%d", n), n, none))
			}
			for _, n := range []int64{3, 4, 5, 200} { // extents
				entries = append(entries, file(fmt.Sprintf("few/holes%d", n), n*9*4096, func(b int64) bool { return b%9 == 0 }))
			}
			for _, n := range []int{59, 60, int(bs) - 1} {
				entries = append(entries, symlink(fmt.Sprintf("few/link%d", n), strings.Repeat("l", n)))
			}
			for i := range 500 {
				entries = append(entries, symlink(fmt.Sprintf("many/%d-%s", i, strings.Repeat("n", i%200)), "x"))
			}
			for i := range 8000 {
				entries = append(entries, symlink(fmt.Sprintf("more/%d-%s", i, strings.Repeat("n", 20)), "x"))
			}
			value := func(n int64) []byte { return bytes.Repeat([]byte{'v'}, int(n)) }
			full := rootfs.Xattr{Name: "user.a", Value: value(bs - 32 - 4 - 20)}
			entries = append(entries,
				withXattrs(file("few/attr", 1, all), full),
				withXattrs(directory("few/attrs"), rootfs.Xattr{Name: "security.x", Value: value(50)}, rootfs.Xattr{Name: "user.b", Value: value(500)}))
			verify(t, mustBuild(t, v.options, entries...), entries)

			full.Value = value(bs - 32 - 4 - 19)
			_, err := build(t, v.options, withXattrs(file("bad", 1, all), full))
			wantEntryError(t, err, "bad")
			_, err = build(t, v.options, symlink("bad", strings.Repeat("l", int(bs))))
			wantEntryError(t, err, "bad")
			if bs == 4096 {
				return
			}
			_, err = build(t, v.options, file("bad", bs<<32-bs+1, none))
			wantEntryError(t, err, "bad")
		})
	}
}

// TestVariantsInUse has Linux write to file systems, before and after resize2fs
// has grown them.
func TestVariantsInUse(t *testing.T) {
	needMount(t)
	for _, v := range variants[1:] {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			o := v.options
			o.Free, o.ReservedPercent = 40*mib, 5
			path := mustBuild(t, o, used()...)
			for round, size := range []string{"", "300M"} {
				if size != "" {
					testbed.Run(t, "truncate", "-s", size, path)
					testbed.Run(t, "resize2fs", "-f", path)
					fsck(t, path)
				}
				if err := mounted(path, "rw", func(root string) error { return use(root, fmt.Sprint("round", round)) }); err != nil {
					t.Fatal(err)
				}
				fsck(t, path)
			}
		})
	}
}

// TestJournal compares a journal with one that mke2fs makes, and has Linux replay
// what it wrote to one.
func TestJournal(t *testing.T) {
	for _, v := range variants[1:] {
		if v.options.Journal == 0 {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			bs := blockSize(v.options)
			dir := t.TempDir()
			made := filepath.Join(dir, "made")
			testbed.Run(t, "mkfs.ext4", "-q", "-b", fmt.Sprint(bs), "-U", "6badcafe-0000-0000-0000-000000000001", made, "100M")
			o := v.options
			o.Size = 100 * mib
			path := mustBuild(t, o, file("data", 20*mib, all))
			var journals [2][]byte
			for i, image := range []string{made, path} {
				to := filepath.Join(dir, fmt.Sprint(i))
				testbed.Run(t, "debugfs", "-R", "dump <8> "+to, image)
				var err error
				if journals[i], err = os.ReadFile(to); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(journals[0], journals[1]) {
				t.Errorf("the journal of %d bytes is not mke2fs's of %d", len(journals[1]), len(journals[0]))
			}
			stats := string(testbed.Run(t, "dumpe2fs", "-h", path))
			for _, want := range []string{"Filesystem features:      has_journal ", "Journal inode:            8\n", "Journal backup:           inode blocks\n"} {
				if !strings.Contains(stats, want) {
					t.Errorf("no %q in\n%s", want, stats)
				}
			}

			needMount(t)
			crashed := filepath.Join(t.TempDir(), imageName)
			err := mounted(path, "rw", func(root string) error {
				if err := os.MkdirAll(filepath.Join(root, "new/dir"), 0o777); err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(root, "new/file"), []byte("written"), 0o666); err != nil {
					return err
				}
				testbed.Run(t, "sync", "-f", root)
				testbed.Run(t, "cp", "--sparse=always", path, crashed)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			fsck(t, path)
			if !strings.Contains(string(testbed.Run(t, "dumpe2fs", "-h", crashed)), "needs_recovery") {
				t.Fatal("nothing is to be replayed")
			}
			err = mounted(crashed, "rw", func(root string) error {
				b, err := os.ReadFile(filepath.Join(root, "new/file"))
				if err == nil && string(b) != "written" {
					err = fmt.Errorf("the file holds %q", b)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
			fsck(t, crashed)
		})
	}
}

// TestJournalSize holds journals against what is asked for.
func TestJournalSize(t *testing.T) {
	for _, test := range []struct {
		block             int
		size, free, given int64
		want              int64 // in blocks
	}{
		{4096, 0, 0, ext4.JournalAuto, 1024},
		{4096, 0, 300 * mib, ext4.JournalAuto, 4096},
		{4096, 300 * mib, 0, ext4.JournalAuto, 4096},
		// Only with the journal of 4 MiB it is more than 128 MiB, and then has 16.
		{4096, 0, 122 * mib, ext4.JournalAuto, 4096},
		{4096, 0, 0, 4 * mib, 1024},
		{4096, 0, 0, 8*mib + 1, 2049},
		{1024, 0, 0, ext4.JournalAuto, 1024},
		{1024, 0, 40 * mib, ext4.JournalAuto, 4096},
		{1024, 100 * mib, 0, 40 * mib, 40 << 10}, // more than four extents
		{1024, 3 * gib, 0, 2 * gib, 2 << 20},     // and more than a node of them
	} {
		o := testOptions
		o.BlockSize, o.Size, o.Free, o.Journal = test.block, test.size, test.free, test.given
		path := mustBuild(t, o, file("data", 100_000, all))
		fsck(t, path)
		if got := super(t, path)["Total journal blocks"]; got != test.want {
			t.Errorf("%+v: %d blocks", test, got)
		}
	}
}

// TestInodes holds numbers of inodes and of reserved blocks against what is asked
// for.
func TestInodes(t *testing.T) {
	for _, v := range variants {
		bs := blockSize(v.options)
		unit := max(8, bs/256)
		for _, test := range []struct {
			change                  func(*ext4.Options)
			least, most             int64 // inodes
			leastRoot, mostReserved int64 // bytes
		}{
			{func(o *ext4.Options) { o.Inodes = 1000 }, 1000, 1000 + unit - 1, 0, 0},
			{func(o *ext4.Options) { o.Inodes, o.Size = 5000, 300*mib }, 5000, 5000 + 38*unit, 0, 0},
			{func(o *ext4.Options) { o.Inodes, o.Free = 200_000, 10*mib }, 200_000, 200_000 + 38*unit, 0, 0},
			{func(o *ext4.Options) { o.BytesPerInode, o.Free = 1024, 10*mib }, 10<<10 + 110, 10<<10 + 112 + 4*unit, 0, 0},
			{func(o *ext4.Options) { o.BytesPerInode, o.Free = 1<<20, 10*mib }, 120, 120 + 4*unit, 0, 0},
			{func(o *ext4.Options) { o.BytesPerInode, o.Size = 1<<20, 100*mib }, 180, 211 + 13*unit, 0, 0},
			{func(o *ext4.Options) { o.ReservedPercent, o.Size = 5, 100*mib }, 0, 1 << 20, 5*mib - bs, 5 * mib},
			{func(o *ext4.Options) { o.ReservedPercent = 50 }, 0, 1 << 20, 1, 10 * mib},
			{func(o *ext4.Options) { o.Reserved, o.Size = 10*mib-1, 100*mib }, 0, 1 << 20, 10 * mib, 10 * mib},
		} {
			o := v.options
			test.change(&o)
			path := mustBuild(t, o, append(links(100), file("data", 100_000, all))...)
			fsck(t, path)
			s := super(t, path)
			if n := s["Inode count"]; n < test.least || n > test.most {
				t.Errorf("%+v: %d inodes, not %d to %d", o, n, test.least, test.most)
			}
			if n := s["Reserved block count"] * bs; n < test.leastRoot || n > test.mostReserved {
				t.Errorf("%+v: %d bytes are reserved, not %d to %d", o, n, test.leastRoot, test.mostReserved)
			}
		}
	}
	o := testOptions
	o.Inodes = 110
	_, err := build(t, o, links(100)...)
	var noInodes *ext4.NoInodesError
	if !errors.As(err, &noInodes) || noInodes.Needed != 111 || noInodes.Given != 110 {
		t.Errorf("more than the inodes: %v", err)
	}
	o.Inodes = 111
	fsck(t, mustBuild(t, o, links(100)...))

	o = testOptions
	o.Reserved = 10 * mib
	if _, err := build(t, o); err == nil || !strings.Contains(err.Error(), "for root") {
		t.Errorf("more for root than there is: %v", err)
	}
	// One group has room for them, but not for their numbers.
	o = testOptions
	o.Size = group
	_, err = build(t, o, links(40_000)...)
	var noSpace *ext4.NoSpaceError
	if !errors.As(err, &noSpace) || noSpace.Needed != group+4096 {
		t.Errorf("more inodes than a group has: %v", err)
	}
}

// TestVariantsFit does for all sizes of blocks what TestFit does, mostly without
// writing anything.
func TestVariantsFit(t *testing.T) {
	for i, v := range variants {
		bs := blockSize(v.options)
		group := 8 * bs // in blocks
		var sizes []int64
		for _, front := range []int64{0, 260, 260 + 1024} {
			for n := int64(-12); n <= 12; n++ { // a group's end comes at every stage
				sizes = append(sizes, group-front+n, 3*group-front+n)
			}
		}
		for n := int64(0); n < 7*group; n += group / 7 {
			sizes = append(sizes, n)
		}
		written := map[int64]bool{group - 260: bs < 4096, 4 * (group / 7): i > 0, group - 1284 - 3: bs == 1024, 0: true, 3*group - 2: bs == 1024}
		for _, blocks := range sizes {
			for _, inodes := range []int64{0, 9000} {
				o := v.options
				o.Inodes = inodes
				size, err := o.Fit(blocks+1, 2) // with the root directory
				if err != nil || size%bs != 0 {
					t.Fatal(size, err)
				}
				o.Size = size
				if o.Journal != 0 { // as much as was chosen
					o.Journal = 1024 * bs
					if size >= 1<<15*bs {
						o.Journal *= 4
					}
				}
				if n, err := o.Fit(blocks+1, 2); err != nil || n != size {
					t.Errorf("%s, %d blocks: given %d bytes, %d: %v", v.name, blocks, size, n, err)
				}
				if written[blocks] {
					o := v.options
					o.Inodes = inodes
					d, n, err := digestOf(o, []entry{file("data", blocks*bs, all)})
					if err != nil || n != size || d.end > size {
						t.Errorf("%s, %d blocks: %d bytes in %d, not %d: %v", v.name, blocks, d.end, n, size, err)
					}
				}
				o.Size -= bs
				var noSpace *ext4.NoSpaceError
				if _, err := o.Fit(blocks+1, 2); !errors.As(err, &noSpace) || noSpace.Needed > size || noSpace.Given > o.Size || noSpace.Needed <= noSpace.Given {
					t.Errorf("%s, %d blocks: of %d bytes, given %d: %v", v.name, blocks, size, o.Size, err)
				}
			}
		}
	}
}

// TestFitRises checks that more blocks and inodes never make less.
func TestFitRises(t *testing.T) {
	for _, v := range variants {
		o := v.options
		o.FreePercent = 10
		step := blockSize(o) / 13
		last := int64(0)
		for blocks := int64(1); blocks < 40*8*blockSize(o); blocks += step {
			n, err := o.Fit(blocks, blocks/3)
			if err != nil || n < last {
				t.Fatalf("%s: %d blocks take %d bytes, fewer take %d: %v", v.name, blocks, n, last, err)
			}
			last = n
		}
		var noSpace *ext4.NoSpaceError
		for _, huge := range [][2]int64{{1 << 62, 1}, {1, 1 << 62}, {1 << 62, 1 << 62}} {
			if _, err := o.Fit(huge[0], huge[1]); !errors.As(err, &noSpace) || noSpace.Needed <= noSpace.Given {
				t.Errorf("%d: %v", huge, err)
			}
		}
		if _, err := o.Fit(-1, 1); err == nil {
			t.Error("a negative number is accepted")
		}
		o.FreePercent = 1<<63 - 1
		if _, err := o.Fit(1, 1); !errors.As(err, &noSpace) {
			t.Errorf("%d %%: %v", o.FreePercent, err)
		}
	}
}

// TestVariantsLimit has file systems of the largest size, and more.
func TestVariantsLimit(t *testing.T) {
	for size, want := range map[int]int64{1024: 32 * gib, 2048: 512 * gib, 4096: ext4.MaxCapacity, 512: 0, 0: 0} {
		if got := ext4.CapacityLimit(size); got != want {
			t.Errorf("blocks of %d: %d", size, got)
		}
	}
	o := testOptions
	o.BlockSize, o.Size = 1024, 32*gib
	path := mustBuild(t, o, links(10)...)
	fsck(t, path)
	o.Size++
	if _, err := build(t, o); err == nil || !strings.Contains(err.Error(), "in blocks of 1024: at most 34359738368") {
		t.Errorf("more than the limit: %v", err)
	}
}

// imageOf returns the bytes of an image, up to its size.
func imageOf(t *testing.T, o ext4.Options, entries ...entry) []byte {
	t.Helper()
	path := mustBuild(t, o, entries...)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDedupe compares images with those of which somebody else said what is equal.
func TestDedupe(t *testing.T) {
	t.Parallel()
	attr := rootfs.Xattr{Name: "user.a", Value: make([]byte, 900)}
	large := file("large", 5*mib+3, func(b int64) bool { return b%40 > 10 })
	var entries, said []entry
	put := func(e entry, same string) {
		entries = append(entries, e)
		if same != "" {
			e = entry{Entry: rootfs.Entry{Path: e.Path}, same: same}
		}
		said = append(said, e)
	}
	at := func(path string, e entry) entry { e.Path = path; return e }
	put(directory("d"), "")
	put(large, "")
	put(file("small", 100, all), "")
	put(file("empty", 0, all), "")
	put(file("d/small", 100, all), "small")
	put(file("d/empty", 0, all), "empty")
	put(file("other", 101, all), "")
	put(at("d/large", large), "large")
	put(file("after", 100_000, all), "")
	for i, change := range []func(e *entry){
		func(e *entry) { e.Mode |= 0o111 },
		func(e *entry) { e.UID = 1 },
		func(e *entry) { e.GID = 1 },
		func(e *entry) { e.ModTime = e.ModTime.Add(1) },
		func(e *entry) { e.Xattrs = []rootfs.Xattr{attr} },
		func(e *entry) { e.Xattrs = []rootfs.Xattr{{Name: "user.a", Value: attr.Value[1:]}} },
		func(e *entry) { e.data.data = none },
	} {
		for k, same := range []string{"", fmt.Sprintf("changed%d.0", i)} {
			e := file(fmt.Sprintf("changed%d.%d", i, k), 100, all)
			change(&e)
			put(e, same)
		}
	}
	put(at("d/again", large), "large")
	put(symlink("link", strings.Repeat("x", 100)), "")
	put(at("last", large), "large")
	entries = append(entries, entry{Entry: rootfs.Entry{Path: "same"}, same: "d/large"})
	said = append(said, entry{Entry: rootfs.Entry{Path: "same"}, same: "d/large"})

	for _, v := range variants {
		o := v.options
		want := imageOf(t, o, said...)
		o.Dedupe = true
		if got := imageOf(t, o, entries...); !bytes.Equal(got, want) {
			t.Errorf("%s: the images of %d and %d bytes differ", v.name, len(got), len(want))
		}
		// A file that does not fit may be equal to one that is there.
		o.Size = int64(len(want))
		if got := imageOf(t, o, entries...); !bytes.Equal(got, want) {
			t.Errorf("%s: given its size, the image of %d bytes differs", v.name, len(got))
		}
		more := append(entries[:len(entries):len(entries)], file("more", 6*mib, all))
		var noSpace *ext4.NoSpaceError
		if _, err := build(t, o, more...); !errors.As(err, &noSpace) {
			t.Errorf("%s: of more than fits: %v", v.name, err)
		}
		o.Size = 0
		path := mustBuild(t, o, entries...)
		verify(t, path, said)
	}

	// What was written and is not in use is zeros, also beyond the size.
	o := testOptions
	o.Dedupe = true
	m := &memory{}
	w, err := ext4.NewWriter(m, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := add(w, []entry{directory("."), large, at("equal", large)}, nil); err != nil {
		t.Fatal(err)
	}
	image, beyond := m.Bytes()[:w.Size()], m.Bytes()[w.Size():]
	if len(beyond) == 0 || !bytes.Equal(beyond, make([]byte, len(beyond))) {
		t.Errorf("the %d bytes behind the end are not zeros", len(beyond))
	}
	o.Dedupe = false
	if want := imageOf(t, o, large, entry{Entry: rootfs.Entry{Path: "equal"}, same: "large"}); !bytes.Equal(image, want) {
		t.Error("with data in the way, the image differs")
	}
}

// TestDedupeLinks has more equal files than a file has names.
func TestDedupeLinks(t *testing.T) {
	var entries []entry
	for i := range 65_002 {
		entries = append(entries, file(fmt.Sprint(i), 3, all))
	}
	o := testOptions
	o.Dedupe = true
	path := mustBuild(t, o, entries...)
	fsck(t, path)
	answers, err := debugfs(testbed.Tool(t, "debugfs"), path, []string{"stat /64999", "stat /65000", "stat /65001"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(answers[0], "Links: 65000 ") || !strings.Contains(answers[1], "Links: 2 ") || !strings.Contains(answers[2], "Links: 2 ") {
		t.Errorf("%.200s\n%.200s\n%.200s", answers[0], answers[1], answers[2])
	}
}
