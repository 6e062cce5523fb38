package erofs_test

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

	"thaw/image/erofs"
	"thaw/internal/testbed"
	"thaw/rootfs"
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
func pack(dir, path string, o erofs.Options) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	w, err := erofs.NewWriter(out, o)
	if err != nil {
		return err
	}
	first := map[uint64]string{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		e := rootfs.Entry{Mode: info.Mode(), UID: st.Uid, GID: st.Gid, ModTime: time.Unix(o.Time, 0)}
		if e.Path, err = filepath.Rel(dir, path); err != nil {
			return err
		}
		switch e.Kind() {
		case 0:
			if st.Nlink > 1 {
				if earlier, ok := first[st.Ino]; ok {
					return w.AddSame(e.Path, earlier)
				}
				first[st.Ino] = e.Path
			}
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			e.Size = info.Size()
			return w.Add(e, f)
		case fs.ModeSymlink:
			if e.Target, err = os.Readlink(path); err != nil {
				return err
			}
		}
		return w.Add(e, nil)
	})
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return out.Truncate(w.Size())
}

// BenchmarkPack packs a real tree, in turns with mkfs.erofs, and reports seconds
// of CPU, of waiting, and sizes.
func BenchmarkPack(b *testing.B) {
	mkfs := testbed.Tool(b, "mkfs.erofs")
	dir, image := benchTree(b), filepath.Join(b.TempDir(), imageName)
	for _, c := range []struct {
		name string
		o    erofs.Options
		mkfs []string
	}{
		{"plain", testOptions, nil},
		{"lz4,4k", withCompression(erofs.LZ4, 4<<10), []string{"-Eztailpacking", "-zlz4"}},
		{"lz4,64k", withCompression(erofs.LZ4, 64<<10), []string{"-Eztailpacking", "-zlz4", "-C65536"}},
		{"lz4hc,4k", withCompression(erofs.LZ4HC, 4<<10), []string{"-Eztailpacking", "-zlz4hc"}},
		{"lz4hc,64k", withCompression(erofs.LZ4HC, 64<<10), []string{"-Eztailpacking", "-zlz4hc", "-C65536"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var ours, theirs, wall, otherWall time.Duration
			var size, otherSize int64
			for b.Loop() {
				start, clock := rootfstest.CPUTime(syscall.RUSAGE_SELF), time.Now()
				if err := pack(dir, image, c.o); err != nil {
					b.Fatal(err)
				}
				ours += rootfstest.CPUTime(syscall.RUSAGE_SELF) - start
				wall += time.Since(clock)
				size = fileSize(b, image)

				other := image + ".mkfs"
				start, clock = rootfstest.CPUTime(syscall.RUSAGE_CHILDREN), time.Now()
				args := append(c.mkfs, fmt.Sprintf("-T%d", c.o.Time), "--quiet", other, dir)
				if out, err := exec.Command(mkfs, args...).CombinedOutput(); err != nil {
					b.Fatalf("mkfs.erofs: %v: %s", err, out)
				}
				theirs += rootfstest.CPUTime(syscall.RUSAGE_CHILDREN) - start
				otherWall += time.Since(clock)
				otherSize = fileSize(b, other)
				os.Remove(other)
				os.Remove(image)
			}
			n := float64(b.N)
			b.ReportMetric(ours.Seconds()/n, "cpu-s/op")
			b.ReportMetric(theirs.Seconds()/n, "mkfs-cpu-s/op")
			b.ReportMetric(wall.Seconds()/n, "s/op")
			b.ReportMetric(otherWall.Seconds()/n, "mkfs-s/op")
			b.ReportMetric(float64(size), "bytes")
			b.ReportMetric(float64(otherSize), "mkfs-bytes")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func fileSize(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

type discard struct{}

func (discard) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkEntries adds files and reports the bytes of memory that each takes
// until Close.
func BenchmarkEntries(b *testing.B) {
	for _, size := range []int64{100, 5000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			const entries = 200_000
			for b.Loop() {
				w, err := erofs.NewWriter(discard{}, testOptions)
				if err != nil {
					b.Fatal(err)
				}
				before := heap()
				for i := range entries {
					path := fmt.Sprintf("%032x-package-%d", i/50*7919, i/50)
					switch {
					case i == 0:
						err = w.Add(rootfs.Entry{Path: ".", Mode: fs.ModeDir | 0o755}, nil)
					case i%50 == 1:
						err = w.Add(rootfs.Entry{Path: path, Mode: fs.ModeDir | 0o755}, nil)
					case i%50 == 0:
						err = w.Add(rootfs.Entry{Path: fmt.Sprintf("link-%d", i), Mode: fs.ModeSymlink | 0o777, Target: path}, nil)
					default:
						err = w.Add(rootfs.Entry{Path: fmt.Sprintf("%s/file-with-a-name-%d", path, i), Mode: 0o444, Size: size}, strings.NewReader(fmt.Sprintf("%-*d", size, i)))
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
		})
	}
}
