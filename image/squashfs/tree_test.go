package squashfs_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"thaw/image/squashfs"
	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

var testTime = time.Unix(1_234_567_890, 0)

// An entry is one call to a Writer: Add, or AddSame if same is set.
type entry struct {
	rootfs.Entry
	data []byte
	same string
}

func directory(path string) entry {
	return entry{Entry: rootfs.Entry{Path: path, Mode: fs.ModeDir | 0o755, ModTime: testTime}}
}

func file(path string, data []byte) entry {
	return entry{Entry: rootfs.Entry{Path: path, Mode: 0o644, ModTime: testTime, Size: int64(len(data))}, data: data}
}

func symlink(path, target string) entry {
	return entry{Entry: rootfs.Entry{Path: path, Mode: fs.ModeSymlink | 0o777, ModTime: testTime, Target: target}}
}

func hardLink(path, earlier string) entry {
	return entry{Entry: rootfs.Entry{Path: path}, same: earlier}
}

func withXattrs(e entry, xattrs ...rootfs.Xattr) entry {
	e.Xattrs = xattrs
	return e
}

// noise returns bytes of chance, which no encoder makes shorter.
func noise(seed uint64, size int) []byte {
	data := make([]byte, size)
	rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, seed))).Read(data)
	return data
}

// words returns bytes that encoders make shorter.
func words(seed uint64, size int) []byte {
	rnd := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, 0, size+16)
	for len(b) < size {
		b = strconv.AppendUint(b, rnd.Uint64N(5000)*0x9e3779b9, 36)
		b = append(b, ' ')
	}
	return b[:size]
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// build writes a new image of entries, behind a root directory, and returns
// its path.
func build(t testing.TB, o squashfs.Options, entries ...entry) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), imageName)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := squashfs.NewWriter(f, o)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, e := range append([]entry{directory(".")}, entries...) {
		switch {
		case e.same != "":
			err = w.AddSame(e.Path, e.same)
		case e.Kind() != 0:
			err = w.Add(e.Entry, nil)
		default:
			err = w.Add(e.Entry, bytes.NewReader(e.data))
		}
		if err != nil {
			return path, err
		}
	}
	if err := w.Close(); err != nil {
		return path, err
	}
	if w.Size()%4096 != 0 {
		t.Errorf("%d bytes are no whole number of pages", w.Size())
	}
	behind := new(bytes.Buffer)
	if _, err := io.Copy(behind, io.NewSectionReader(f, w.Size(), 1<<40)); err != nil {
		t.Fatal(err)
	}
	if bytes.Trim(behind.Bytes(), "\x00") != nil {
		t.Errorf("something is left behind the end of the file system")
	}
	return path, f.Truncate(w.Size())
}

func mustBuild(t testing.TB, o squashfs.Options, entries ...entry) string {
	t.Helper()
	path, err := build(t, o, entries...)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func size(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// nodes are what an image of entries is to hold.
func nodes(entries []entry) []rootfstest.Node {
	all := []rootfstest.Node{{Entry: directory(".").Entry}}
	at := map[string]int{}
	for _, e := range entries {
		n := rootfstest.Node{Entry: e.Entry}
		if e.same != "" {
			first := &all[at[e.same]]
			first.Inode = uint64(at[e.same])
			n = *first
			n.Path = e.Path
		} else if e.Kind() == 0 {
			n.SHA256 = sha256.Sum256(e.data)
		}
		at[e.Path] = len(all)
		all = append(all, n)
	}
	return all
}

// verify has an image judged by unsquashfs and Linux.
func verify(t testing.TB, path string, entries []entry) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can set owners")
	}
	got, err := unsquash(testbed.Tool(t, "unsquashfs"), path, path+".root")
	if err == nil {
		err = rootfstest.Diff(anything, nodes(entries), got)
	}
	if err != nil {
		t.Errorf("unsquashfs: %v", err)
	}
	verifyMounted(t, path, entries)
}

// verifyMounted has an image judged by Linux.
func verifyMounted(t testing.TB, path string, entries []entry) {
	t.Helper()
	needMount(t)
	got, err := mountAndWalk(path)
	if err == nil {
		err = rootfstest.Diff(anything, nodes(entries), got)
	}
	if err != nil {
		t.Errorf("Linux: %v", err)
	}
}

var anything = abilities(func(rootfs.Entry) string { return "" })

// TestCompressions has something of every kind, in each compression and in
// blocks of several sizes.
func TestCompressions(t *testing.T) {
	t.Parallel()
	for c := squashfs.Zstd; c <= squashfs.None; c++ {
		for _, size := range []int{squashfs.MinBlockSize, squashfs.DefaultBlockSize, squashfs.MaxBlockSize} {
			for _, fast := range []bool{false, true} {
				if fast && (c == squashfs.XZ || c == squashfs.None) || testing.Short() && size > squashfs.MinBlockSize {
					continue
				}
				t.Run(fmt.Sprintf("%v/%d/%t", c, size, fast), func(t *testing.T) {
					entries := []entry{
						file("words", words(1, size+size/4)), file("noise", noise(1, size+100)),
						file("zeros", make([]byte, size*3)), file("zeros and one", append(make([]byte, size*2), 1)),
						directory("dir"), symlink("dir/link", strings.Repeat("target/", 200)),
						file("less", words(5, size-1)), hardLink("dir/less", "less"),
					}
					if size < squashfs.MaxBlockSize {
						entries = append(entries, file("one value", bytes.Repeat([]byte{7}, 2*size)),
							file("mixed", join(words(2, size), make([]byte, size), noise(2, size), words(3, 10))),
							file("tiny", []byte("tiny")), file("a block", words(4, size)), file("more", words(6, size+1)))
					}
					for i := range 40 {
						entries = append(entries, file(fmt.Sprintf("dir/file number %d", i), words(uint64(i), i*i)))
					}
					verify(t, mustBuild(t, squashfs.Options{Compression: c, BlockSize: size, Fast: fast}, entries...), entries)
				})
			}
		}
	}
}

// TestJobs demands the same bytes of any number of jobs and processors.
func TestJobs(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	files := 60
	if testing.Short() {
		files = 15
	}
	var entries []entry
	for i := range files {
		// Some files are equal, some begin alike.
		data := join(words(uint64(i%40), i*500), make([]byte, i%7*4096), noise(uint64(i%20), i*200))
		entries = append(entries, file(fmt.Sprintf("file%d", i), data))
	}
	for c := squashfs.Zstd; c <= squashfs.None; c++ {
		var want []byte
		for procs, jobs := range []int{1, 0, 2, 7} {
			runtime.GOMAXPROCS(procs + 1)
			path := mustBuild(t, squashfs.Options{Compression: c, BlockSize: 16 << 10, Fast: true, Jobs: jobs}, entries...)
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = got
			} else if !bytes.Equal(got, want) {
				t.Errorf("%v: the bytes with %d jobs differ from those with one", c, jobs)
			}
		}
	}
}
