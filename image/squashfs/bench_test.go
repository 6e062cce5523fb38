package squashfs_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"thaw/image/squashfs"
	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

// benchTree is the directory that benchmarks pack.
func benchTree(b *testing.B) string {
	if dir := os.Getenv("THAW_BENCH_TREE"); dir != "" {
		return dir
	}
	return goRoot(b)
}

func goRoot(t testing.TB) string {
	return strings.TrimSpace(string(testbed.Run(t, "go", "env", "GOROOT")))
}

// TestSize packs a real tree and compares the size of the image to that of
// mksquashfs, with settings that take about as long. The rest is the encoders':
// BenchmarkPack tells more.
func TestSize(t *testing.T) {
	dir := filepath.Join(goRoot(t), "src", "net")
	for _, test := range []struct {
		o      squashfs.Options
		theirs []string
		most   float64
	}{
		{squashfs.Options{Fast: true}, []string{"-comp", "zstd", "-Xcompression-level", "3"}, 1.02},
		{squashfs.Options{Compression: squashfs.LZ4, Fast: true}, []string{"-comp", "lz4"}, 1.02},
		{squashfs.Options{Compression: squashfs.Gzip, Fast: true}, []string{"-comp", "gzip", "-Xcompression-level", "6"}, 1.06},
		{squashfs.Options{Compression: squashfs.None}, []string{"-noI", "-noId", "-noD", "-noF", "-noX"}, 1.01},
	} {
		path := filepath.Join(t.TempDir(), imageName)
		if err := pack(test.o, dir, path); err != nil {
			t.Fatal(err)
		}
		testbed.Run(t, "mksquashfs", append([]string{dir, path + ".theirs", "-no-progress", "-quiet"}, test.theirs...)...)
		ratio := float64(size(t, path)) / float64(size(t, path+".theirs"))
		t.Logf("%v: %d bytes, %.3f of mksquashfs %v", test.o.Compression, size(t, path), ratio, test.theirs)
		if ratio > test.most {
			t.Errorf("%v: more than %.2f", test.o.Compression, test.most)
		}
	}
}

// pack writes a real directory as an image.
func pack(o squashfs.Options, dir, path string) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	w, err := squashfs.NewWriter(out, o)
	if err != nil {
		return err
	}
	defer w.Close()
	if err := rootfstest.AddTree(w, dir); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return out.Truncate(w.Size())
}

// BenchmarkPack packs a real tree in turns with mksquashfs, with the settings
// of each that are nearest to the other's. It reports sizes, wall and CPU
// seconds, as ratios to those of mksquashfs.
func BenchmarkPack(b *testing.B) {
	for _, c := range []struct {
		name   string
		o      squashfs.Options
		theirs []string
	}{
		{"zstd", squashfs.Options{}, []string{"-comp", "zstd"}},
		{"zstd-fast", squashfs.Options{Fast: true}, []string{"-comp", "zstd", "-Xcompression-level", "3"}},
		{"gzip", squashfs.Options{Compression: squashfs.Gzip}, []string{"-comp", "gzip"}},
		{"gzip-fast", squashfs.Options{Compression: squashfs.Gzip, Fast: true}, []string{"-comp", "gzip", "-Xcompression-level", "6"}},
		{"lz4", squashfs.Options{Compression: squashfs.LZ4}, []string{"-comp", "lz4", "-Xhc"}},
		{"lz4-fast", squashfs.Options{Compression: squashfs.LZ4, Fast: true}, []string{"-comp", "lz4"}},
		{"xz", squashfs.Options{Compression: squashfs.XZ}, []string{"-comp", "xz"}},
		{"none", squashfs.Options{Compression: squashfs.None}, []string{"-noI", "-noId", "-noD", "-noF", "-noX"}},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkPack(b, c.o, c.theirs) })
	}
}

func benchmarkPack(b *testing.B, o squashfs.Options, args []string) {
	tool := testbed.Tool(b, "mksquashfs")
	dir, image := benchTree(b), filepath.Join(b.TempDir(), imageName)
	var wall, cpu [2]time.Duration
	var size [2]int64
	for b.Loop() {
		for i, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
			start, before := time.Now(), rootfstest.CPUTime(who)
			if i == 0 {
				if err := pack(o, dir, image); err != nil {
					b.Fatal(err)
				}
			} else {
				cmd := exec.Command(tool, append([]string{dir, image, "-noappend", "-no-progress", "-quiet"}, args...)...)
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("mksquashfs: %v: %s", err, out)
				}
			}
			wall[i] += time.Since(start)
			cpu[i] += rootfstest.CPUTime(who) - before
			info, err := os.Stat(image)
			if err != nil {
				b.Fatal(err)
			}
			size[i] = info.Size()
		}
	}
	b.ReportMetric(float64(size[0])/float64(size[1]), "size-ratio")
	b.ReportMetric(wall[0].Seconds()/float64(b.N), "wall-s")
	b.ReportMetric(wall[0].Seconds()/wall[1].Seconds(), "wall-ratio")
	b.ReportMetric(cpu[0].Seconds()/float64(b.N), "cpu-s")
	b.ReportMetric(cpu[0].Seconds()/cpu[1].Seconds(), "cpu-ratio")
	b.ReportMetric(float64(size[0])/1e6, "MB")
}

// BenchmarkEntries adds small files and reports the bytes of memory that each
// takes until Close.
func BenchmarkEntries(b *testing.B) {
	const entries = 200_000
	for b.Loop() {
		w, err := squashfs.NewWriter(discard{}, squashfs.Options{Fast: true, Jobs: 1})
		if err != nil {
			b.Fatal(err)
		}
		before := heap()
		for i := range entries {
			e := rootfs.Entry{Path: ".", Mode: fs.ModeDir | 0o755, ModTime: testTime}
			if i > 0 {
				e.Path = fmt.Sprintf("%032x-package-%d", i/50*7919, i/50)
			}
			if i%50 <= 1 && i != 1 || i == 1 {
				if i%50 == 1 && i > 1 {
					continue
				}
				err = w.Add(e, nil)
			} else {
				data := fmt.Sprintf("%0100d", i)
				e.Path, e.Mode, e.Size = fmt.Sprintf("%s/file-with-a-name-%d", e.Path, i), 0o644, int64(len(data))
				err = w.Add(e, strings.NewReader(data))
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

func (discard) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
