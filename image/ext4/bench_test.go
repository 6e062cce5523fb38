package ext4_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"thaw/image/ext4"
	"thaw/internal/testbed"
	"thaw/rootfs/rootfstest"
)

// benchTree is the directory that benchmarks pack.
func benchTree(b *testing.B) string {
	if dir := os.Getenv("THAW_BENCH_TREE"); dir != "" {
		return dir
	}
	return strings.TrimSpace(string(testbed.Run(b, "go", "env", "GOROOT")))
}

// pack writes a real directory as an image.
func pack(dir, path string) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	w, err := ext4.NewWriter(out, testOptions)
	if err != nil {
		return err
	}
	if err := rootfstest.AddTree(w, dir); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return out.Truncate(w.Size())
}

// BenchmarkPack packs a real tree, in turns with mkfs.ext4 -d. It reports CPU
// seconds of each and the ratio.
func BenchmarkPack(b *testing.B) {
	mkfs := testbed.Tool(b, "mkfs.ext4")
	dir, image := benchTree(b), filepath.Join(b.TempDir(), imageName)
	var ours, theirs time.Duration
	for b.Loop() {
		start := rootfstest.CPUTime(syscall.RUSAGE_SELF)
		if err := pack(dir, image); err != nil {
			b.Fatal(err)
		}
		ours += rootfstest.CPUTime(syscall.RUSAGE_SELF) - start

		b.StopTimer()
		info, err := os.Stat(image)
		if err != nil {
			b.Fatal(err)
		}
		other := image + ".mkfs"
		start = rootfstest.CPUTime(syscall.RUSAGE_CHILDREN)
		cmd := exec.Command(mkfs, "-q", "-F", "-O", "^has_journal", "-b", "4096", "-i", "8192", "-d", dir, other, fmt.Sprintf("%dK", info.Size()/1024*5/4))
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("mkfs.ext4: %v: %s", err, out)
		}
		theirs += rootfstest.CPUTime(syscall.RUSAGE_CHILDREN) - start
		os.Remove(other)
		os.Remove(image)
		b.StartTimer()
	}
	b.ReportMetric(ours.Seconds()/float64(b.N), "cpu-s/op")
	b.ReportMetric(theirs.Seconds()/float64(b.N), "mkfs-cpu-s/op")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ratio")
}

// peak is a destination that measures how much memory is in use, now and then.
type peak struct {
	every, written, most int64
}

func (p *peak) WriteAt(b []byte, _ int64) (int, error) {
	if p.written += int64(len(b)); p.written >= p.every {
		p.written = 0
		p.measure()
	}
	return len(b), nil
}

func (p *peak) measure() { p.most = max(p.most, heap()) }

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A shape names the entries of a large tree by their number.
type shape struct {
	name string
	at   func(i int) (path string, isDir bool)
}

var shapes = []shape{
	{"packages", func(i int) (string, bool) {
		p := fmt.Sprintf("%032x-package-%d", i/50*7919, i/50)
		if i%50 == 0 {
			return p, true
		}
		return fmt.Sprintf("%s/file-with-a-name-%d", p, i), false
	}},
	{"one directory", func(i int) (string, bool) { return fmt.Sprintf("file-with-a-name-%d", i), false }},
	{"directories", func(i int) (string, bool) { return fmt.Sprintf("directory-with-a-name-%d", i), true }},
}

// peakPerEntry adds small files of a shape, and returns the bytes of memory that
// each takes at most until the end of Close, of which a Writer's buffers are no part.
func peakPerEntry(t testing.TB, o ext4.Options, s shape, entries int) float64 {
	t.Helper()
	p := peak{every: int64(entries) * 200}
	w, err := ext4.NewWriter(&p, o)
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	if err := w.Add(directory(".").Entry, nil); err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		path, isDir := s.at(i)
		if isDir {
			err = w.Add(directory(path).Entry, nil)
		} else {
			e := file(path, 1+int64(i%4000), all)
			e.UID = uint32(i) // equal to none
			err = w.Add(e.Entry, e.data.reader())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	p.measure()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return float64(p.most-before) / float64(entries)
}

// TestMemory holds the memory for each entry against what the documentation says.
func TestMemory(t *testing.T) {
	for _, s := range shapes {
		if got := peakPerEntry(t, testOptions, s, 35_000); got > 300 {
			t.Errorf("%s: %.0f bytes an entry", s.name, got)
		}
	}
	o := testOptions
	o.Dedupe = true
	if got := peakPerEntry(t, o, shapes[0], 35_000); got > 300 {
		t.Errorf("with equal files stored once: %.0f bytes an entry", got)
	}
}

// BenchmarkEntries does the same with a million entries.
func BenchmarkEntries(b *testing.B) {
	for _, s := range shapes {
		b.Run(s.name, func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(peakPerEntry(b, testOptions, s, 1_000_000), "bytes/entry")
			}
		})
	}
}
