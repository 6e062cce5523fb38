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

// BenchmarkEntries adds small files and reports the bytes of memory that each
// takes until Close.
func BenchmarkEntries(b *testing.B) {
	const entries = 200_000
	for b.Loop() {
		var d discard
		w, err := ext4.NewWriter(&d, testOptions)
		if err != nil {
			b.Fatal(err)
		}
		before := heap()
		for i := range entries {
			e := directory(".")
			if i > 0 {
				e = directory(fmt.Sprintf("%032x-package-%d", i/50*7919, i/50))
			}
			if i%50 > 1 || i%50 == 1 && i > 1 {
				e = file(fmt.Sprintf("%s/file-with-a-name-%d", e.Path, i), 100, all)
			}
			if e.Mode.IsDir() {
				err = w.Add(e.Entry, nil)
			} else {
				err = w.Add(e.Entry, e.data.reader())
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(heap()-before)/entries, "bytes/entry")
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (*discard) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
