package squashfs_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thaw/image/squashfs"
	"thaw/rootfs"
)

// TestLimits has as many owners as the format holds, and one more.
func TestLimits(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes long under the race detector")
	}
	t.Parallel()
	needMount(t)
	var entries []entry
	for i := range uint32(1<<15 - 1) { // and that of the root
		e := symlink(fmt.Sprint(i), "x")
		e.UID, e.GID = 10+2*i, 11+2*i
		entries = append(entries, e)
	}
	err := mounted(mustBuild(t, testOptions, entries...), func(root string) error {
		for _, e := range entries {
			var st unix.Stat_t
			if err := unix.Lstat(filepath.Join(root, e.Path), &st); err != nil {
				return err
			}
			if st.Uid != e.UID || st.Gid != e.GID {
				t.Errorf("%s belongs to %d:%d, not %d:%d", e.Path, st.Uid, st.Gid, e.UID, e.GID)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	e := file("one more", nil)
	e.UID = 5
	if _, err := build(t, testOptions, append(entries, e)...); !refused(err, "one more", "65535 different owners") {
		t.Errorf("one owner more: %v", err)
	}
}

func refused(err error, path, reason string) bool {
	var e *rootfs.EntryError
	return errors.As(err, &e) && e.Path == path && strings.Contains(e.Reason, reason)
}

// TestRefusals has what the conformance suite does not come to.
func TestRefusals(t *testing.T) {
	attr := func(name string) entry {
		return withXattrs(file("f", nil), rootfs.Xattr{Name: name, Value: []byte("x")})
	}
	large := file("f", nil)
	large.Size = math.MaxInt64
	for _, test := range []struct {
		name   string
		add    []entry
		path   string
		reason string
	}{
		{"no name behind the prefix", []entry{attr("user.")}, "f", `name "user."`},
		{"an access control list", []entry{attr("system.posix_acl_access")}, "f", `name "system.posix_acl_access"`},
		{"the root again", []entry{directory(".")}, ".", "twice"},
		{"no parent", []entry{file("a/f", nil)}, "a/f", `before its parent "a"`},
		{"a link to nothing", []entry{hardLink("f", "g")}, "f", `"g" is no regular file`},
		{"a link from nowhere", []entry{hardLink("f", "g/h")}, "g/h", `before its parent "g"`},
		{"a link to a directory", []entry{directory("d"), hardLink("f", "d")}, "f", `"d" is no regular file`},
		{"too large to count", []entry{large}, "f", "no file of 9223372036854775807 bytes"},
	} {
		if _, err := build(t, testOptions, test.add...); !refused(err, test.path, test.reason) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, test := range []struct {
		o    squashfs.Options
		want string
	}{
		{squashfs.Options{Time: -1}, "squashfs: time -1: 0 to 4294967295"},
		{squashfs.Options{Time: 1 << 32}, "squashfs: time 4294967296: 0 to 4294967295"},
		{squashfs.Options{BlockSize: 2048}, "squashfs: block size 2048: a power of two from 4096 to 1048576"},
		{squashfs.Options{BlockSize: 5000}, "squashfs: block size 5000: a power of two from 4096 to 1048576"},
		{squashfs.Options{BlockSize: 2 << 20}, "squashfs: block size 2097152: a power of two from 4096 to 1048576"},
		{squashfs.Options{BlockSize: -4096}, "squashfs: block size -4096: a power of two from 4096 to 1048576"},
		{squashfs.Options{Jobs: -1}, "squashfs: -1 jobs: at most 1024"},
		{squashfs.Options{Jobs: 1 << 30}, "squashfs: 1073741824 jobs: at most 1024"},
		{squashfs.Options{Compression: 5}, "squashfs: there is no Compression(5)"},
		{squashfs.Options{Compression: -1}, "squashfs: there is no Compression(-1)"},
	} {
		if _, err := squashfs.NewWriter(discard{}, test.o); err == nil || err.Error() != test.want {
			t.Errorf("%+v: %v", test.o, err)
		}
	}
	w, err := squashfs.NewWriter(discard{}, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err == nil || !strings.Contains(err.Error(), "no root") {
		t.Errorf("an image of nothing: %v", err)
	}
}

// TestMemory bounds what is in memory while a large file goes through.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("memory is not judged under the race detector")
	}
	const jobs, blockSize = 2, 1 << 20
	w, err := squashfs.NewWriter(discard{}, squashfs.Options{Compression: squashfs.LZ4, Fast: true, BlockSize: blockSize, Jobs: jobs})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Add(directory(".").Entry, nil); err != nil {
		t.Fatal(err)
	}
	before, most := heap(), int64(0)
	data := &measured{most: &most}
	e := rootfs.Entry{Path: "large", Mode: 0o644, ModTime: time.Unix(1, 0), Size: 256 << 20}
	if err := w.Add(e, data); err != nil {
		t.Fatal(err)
	}
	if limit := int64((5*jobs+8)*blockSize + 2<<20); most-before > limit {
		t.Errorf("%d bytes of memory, more than %d", most-before, limit)
	}
}

// measured is a reader of noise that notes how much memory is in use.
type measured struct {
	most *int64
	n    uint64
	read int
}

func (r *measured) Read(p []byte) (int, error) {
	if r.read += len(p); r.read >= 32<<20 {
		r.read = 0
		*r.most = max(*r.most, heap())
	}
	for i := 0; i+8 <= len(p); i += 8 {
		r.n += 0x9e3779b97f4a7c15
		binary.LittleEndian.PutUint64(p[i:], r.n^r.n>>29)
	}
	return len(p), nil
}
