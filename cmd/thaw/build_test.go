package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"thaw/internal/testbed"
	"thaw/narinfo"
)

// Same paths, same options, same bytes: for every format, however many jobs,
// whatever the cache held before, whoever runs it, however NARs are compressed.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	caches := []string{repository(t, "testdata/caches/tiny/cache-xz"), repository(t, "testdata/caches/tiny/cache-zstd"), repository(t, "testdata/caches/tiny/cache-br")}
	var names []string
	for _, f := range formats {
		if !strings.Contains("iso oci files", f.typ) { // which need more than store paths
			names = append(names, f.name)
		}
	}
	if testing.Short() { // each is built a dozen times
		names = []string{"disk", "qcow2", "ext4", "squashfs", "erofs", "tar.zst", "dir"}
	}
	sameBytes(t, caches, tinyKey, narinfoPaths(t, caches[0]), names...)
}

func TestSameBytesLarger(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: builds every small object a dozen times")
	}
	t.Parallel()
	root := testbed.Dir(t, "caches")
	caches := []string{root + "/small", root + "/small-zstd", root + "/xz"}
	paths := slices.DeleteFunc(narinfoPaths(t, caches[0]), func(p string) bool {
		return strings.Contains(p, "-merge") || strings.Contains(p, "-pkg-") || strings.HasSuffix(p, "-debug")
	}) // they collide
	sameBytes(t, caches, testbedKey, paths, "disk", "qcow2", "ext4", "squashfs", "erofs", "tar.zst", "dir")
}

func sameBytes(t *testing.T, caches []string, key string, paths []string, formats ...string) {
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			want, wantFiles := "", []string(nil)
			try := func(name string, p *program, cache string, args ...string) {
				t.Helper()
				out := filepath.Join(p.dir, "out")
				os.RemoveAll(out)
				args = append([]string{"build", "-o", out, "--format", format, "--cache", cache, "--trusted-key", key}, args...)
				got := p.run(t, append(args, paths...)...).digest(t)
				var files []string
				if format == "dir" {
					files = manifestOf(t, out)
				} else if sum := testbed.Run(t, "sha256sum", out); !strings.HasPrefix(string(sum), strings.TrimPrefix(got, "sha256:")) {
					t.Errorf("%s: the result line says %s, the file has %s", name, got, sum)
				}
				if want == "" {
					want, wantFiles = got, files
				}
				if got != want || !slices.Equal(files, wantFiles) {
					t.Errorf("%s: other bytes", name)
				}
				empty(t, p.dir, "out", "cachehome")
			}
			p := newProgram(t)
			try("cold", p, caches[0])
			try("warm", p, caches[0])
			try("warm, one job", p, caches[0], "--jobs", "1")
			try("no cache, two jobs", p, caches[0], "--no-cache", "--jobs", "2")
			try("no cache, eight jobs", p, caches[0], "--no-cache", "--jobs", "8", "--connections", "3")
			try("one job", newProgram(t), caches[0], "--jobs", "1")
			for _, c := range caches[1:] {
				try(filepath.Base(c), newProgram(t), c)
			}
			server := httptest.NewServer(http.FileServer(http.Dir(caches[0])))
			defer server.Close()
			try("http", newProgram(t), server.URL)
			if os.Geteuid() == 0 {
				p := newProgram(t)
				p.become(t, 65534)
				try("an ordinary user", p, caches[0])
			}
		})
	}
}

// What changes the content changes the identifiers; --seed and --uuid pin them.
func TestIdentifiers(t *testing.T) {
	cache := repository(t, "testdata/caches/tiny/cache-xz")
	p := newProgram(t, "--cache", cache, "--trusted-key", tinyKey)
	paths := narinfoPaths(t, cache)
	uuid := func(args ...string) string {
		p.run(t, append([]string{"build", "-o", p.dir + "/i.ext4"}, args...)...)
		for l := range strings.Lines(string(testbed.Run(t, "dumpe2fs", "-h", p.dir+"/i.ext4"))) {
			if id, ok := strings.CutPrefix(l, "Filesystem UUID:"); ok {
				return strings.TrimSpace(id)
			}
		}
		t.Fatal("no UUID")
		return ""
	}
	a, b := uuid(paths[0]), uuid(paths[1])
	if a == b || a == uuid("--link", "/bin", paths[0]) {
		t.Error("other content has the same UUID")
	}
	if s := uuid("--seed", "x", paths[0]); s == a || s != uuid("--seed", "x", paths[1]) {
		t.Error("--seed does not replace the content")
	}
	const id = "6f2c2ac4-3b1e-4d0c-9a53-0b9c7c1f6f10"
	if got := uuid("--uuid", id, paths[0]); got != id {
		t.Errorf("--uuid gives %s", got)
	}
}

// everyOutput has an output of each kind, also of those that are made of a raw disk.
const everyOutput = `
  a: { type: disk }
  b: { type: disk, format: qcow2 }
  c: { type: disk, format: qcow2, compress: zstd }
  d: { type: disk, compress: xz }
  e: { type: disk, format: vmdk }
  f: { type: ext4 }
  g: { type: squashfs }
  h: { type: erofs }
  i: { type: tar, compress: zstd }
  j: { type: cpio }
  k: { type: dir }
  l: { type: disk, partitions: [ { fs: vfat, files: [ { path: /a, content: a } ] }, { fs: squashfs } ] }
  m: { type: oci }
  n: { type: oci, archive: tar, compress: zstd }
`

// specFile writes a spec of these packages and everyOutput.
func specFile(t *testing.T, dir string, paths ...string) string {
	t.Helper()
	name := filepath.Join(dir, "every.yaml")
	text := "version: 1\narch: x86_64-linux\npackages: [ " + strings.Join(paths, ", ") + " ]\noutputs:" + everyOutput
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// A disk that is full ends a build with one line, and nothing is left, whatever the
// format.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can make a small disk")
	}
	full := filepath.Join(t.TempDir(), "full")
	if err := os.Mkdir(full, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", full, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("SKIPPED: this system mounts nothing: %v", err)
	}
	defer testbed.Unmount(full)
	p := newProgram(t, "--cache", repository(t, "testdata/example"), "--trusted-key", testbedKey)
	const busybox = "/nix/store/4816nf1754f3jnz5brkh5n9y252l4san-busybox-static-1.35.0"
	try := func(name string, args ...string) {
		t.Helper()
		got := p.try(t, append([]string{"build"}, args...)...)
		if got.code != exitFailed || !strings.Contains(got.stderr, "no space left on device") || strings.Count(got.stderr, "thaw: ") != 1 {
			t.Errorf("%s: exit %d\n%s", name, got.code, got.stderr)
		}
		empty(t, full)
	}
	for _, f := range formats {
		if !strings.Contains("iso oci files", f.typ) {
			try(f.name, busybox, "--format", f.name, "-o", full+"/x")
		}
	}
	for _, format := range []string{"oci", "oci.tar"} {
		try(format, busybox, "--format", format, "--arch", "x86_64-linux", "-o", full+"/x")
	}
	try("all at once", specFile(t, p.dir, busybox), "-o", full+"/out")
}

// An interrupted build leaves nothing but a cache that is of use.
func TestInterrupt(t *testing.T) {
	cache := repository(t, "testdata/caches/tiny/cache-xz")
	paths := narinfoPaths(t, cache)
	last := paths[len(paths)-1]
	text, err := os.ReadFile(filepath.Join(cache, filepath.Base(last)[:32]+".narinfo"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := narinfo.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var asked []string // NARs
	release := make(chan struct{})
	files := http.FileServer(http.Dir(cache))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/nar/") {
			mu.Lock()
			asked = append(asked, r.URL.Path[1:])
			mu.Unlock()
		}
		if r.URL.Path[1:] == info.URL { // it does not come
			select {
			case <-release:
			case <-r.Context().Done():
				return
			}
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close) // when the program has ended in any case
	p := newProgram(t, "--cache", server.URL, "--trusted-key", tinyKey)
	args := []string{"build", "-o", p.dir + "/out", "--kernel-out", p.dir + "/k", specFile(t, t.TempDir(), paths...)}
	cmd := p.command(t.Context(), args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait()
	}()
	waits(t, ended, "all but one object is there and the outputs are begun", func() bool {
		list, err := os.ReadDir(p.dir)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := filepath.Glob(p.dir + "/cachehome/thaw/*.narinfo")
		return err == nil && len(stored) == len(paths)-1 && len(list) > 1
	})
	cmd.Process.Signal(syscall.SIGINT)
	<-ended
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("exit %d\n%s", code, stderr.String())
	}
	empty(t, p.dir, "cachehome")
	for _, l := range manifestFiles(t, p.dir+"/cachehome") {
		if strings.HasSuffix(l, ".part") && !strings.HasPrefix(filepath.Base(l), ".") {
			t.Errorf("%s is visible", l)
		}
	}
	close(release)
	mu.Lock()
	asked = nil
	mu.Unlock()
	p.run(t, append([]string{"build", "-o", p.dir + "/x.img"}, paths...)...)
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(slices.Compact(asked), []string{info.URL}) {
		t.Errorf("asked for again: %q", asked)
	}
}

// waits waits until something has happened that a program does, and fails the test if it
// ends before.
func waits(t *testing.T, ended <-chan struct{}, what string, happened func() bool) {
	t.Helper()
	for !happened() {
		select {
		case <-ended:
			t.Fatalf("it ended before %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

func manifestFiles(t *testing.T, dir string) (files []string) {
	t.Helper()
	if err := filepath.Walk(dir, func(path string, st os.FileInfo, err error) error {
		if err == nil && st.Mode().IsRegular() {
			files = append(files, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return files
}

// Making another form of a disk, which reads all of it, ends when a build is interrupted.
func TestInterruptedContainer(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	file, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString("disk"); err != nil {
		t.Fatal(err)
	}
	f := &interruptible{file, ctx}
	if _, err := f.ReadAt(make([]byte, 4), 0); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("enough")
	cancel(cause)
	if _, err := f.ReadAt(make([]byte, 4), 0); err != cause {
		t.Errorf("the error is %v", err)
	}
}
