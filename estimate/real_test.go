package estimate_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thaw/assemble"
	"thaw/estimate"
	"thaw/fhs"
	"thaw/image/cpio"
	"thaw/image/erofs"
	"thaw/image/ext4"
	"thaw/image/squashfs"
	"thaw/image/tarball"
	"thaw/internal/compress"
	"thaw/internal/decompress"
	"thaw/internal/testbed"
	"thaw/narinfo"
	"thaw/rootfs"
	"thaw/storepath"
	"thaw/substituter"
)

var update = flag.Bool("u", false, "build all images and rewrite testdata/real.tsv: some minutes")

var (
	fit     = ext4.Options{UUID: [16]byte{1}}
	roomy   = ext4.Options{UUID: [16]byte{1}, Free: 300 << 20}
	percent = ext4.Options{UUID: [16]byte{1}, FreePercent: 20}
	fixed   = ext4.Options{UUID: [16]byte{1}, Size: 1<<30 + 1000}
)

// A format is one that is estimated, and how a real one is written.
type format struct {
	name     string
	estimate func(c *estimate.Content) estimate.Size
	create   func() (writer, error)
	likely   float64 // how far the guess may be off, for the system
}

type writer interface {
	rootfs.Sink
	// Close ends the image and returns its size.
	Close() (int64, error)
}

var formats = []format{
	{"tar", func(c *estimate.Content) estimate.Size { return estimate.Tar(c, "none") }, archive("tar", "none"), 0.05},
	{"tar.gz", func(c *estimate.Content) estimate.Size { return estimate.Tar(c, "gzip") }, archive("tar", "gzip"), 0.05},
	{"tar.zst", func(c *estimate.Content) estimate.Size { return estimate.Tar(c, "zstd") }, archive("tar", "zstd"), 0.05},
	{"cpio", func(c *estimate.Content) estimate.Size { return estimate.Cpio(c, "none") }, archive("cpio", "none"), 0.05},
	{"cpio.gz", func(c *estimate.Content) estimate.Size { return estimate.Cpio(c, "gzip") }, archive("cpio", "gzip"), 0.05},
	{"cpio.zst", func(c *estimate.Content) estimate.Size { return estimate.Cpio(c, "zstd") }, archive("cpio", "zstd"), 0.05},
	{"dir", estimate.Dir, func() (writer, error) { return new(sum), nil }, 0.05},
	{"ext4", ext(fit), volume(fit), 0.05},
	{"ext4 fit+300M", ext(roomy), volume(roomy), 0.05},
	{"ext4 fit+20%", ext(percent), volume(percent), 0.05},
	{"ext4 1G", ext(fixed), volume(fixed), 0},
	{"squashfs", squash(squashfs.Options{}), squashed(squashfs.Options{}), 0.05},
	{"squashfs gzip", squash(squashfs.Options{Compression: squashfs.Gzip}), squashed(squashfs.Options{Compression: squashfs.Gzip}), 0.05},
	{"squashfs lz4", squash(squashfs.Options{Compression: squashfs.LZ4}), squashed(squashfs.Options{Compression: squashfs.LZ4}), 0.05},
	{"squashfs xz", squash(squashfs.Options{Compression: squashfs.XZ}), squashed(squashfs.Options{Compression: squashfs.XZ}), 0.05},
	{"squashfs none 4K", squash(squashfs.Options{Compression: squashfs.None, BlockSize: 4096}), squashed(squashfs.Options{Compression: squashfs.None, BlockSize: 4096}), 0.05},
	{"erofs", ero(erofs.Options{UUID: fit.UUID}), eroded(erofs.Options{UUID: fit.UUID}), 0.05},
	{"erofs lz4", ero(erofs.Options{UUID: fit.UUID, Compression: erofs.LZ4}), eroded(erofs.Options{UUID: fit.UUID, Compression: erofs.LZ4}), 0.05},
	{"erofs lz4hc", ero(erofs.Options{UUID: fit.UUID, Compression: erofs.LZ4HC}), eroded(erofs.Options{UUID: fit.UUID, Compression: erofs.LZ4HC}), 0.05},
}

func ext(o ext4.Options) func(*estimate.Content) estimate.Size {
	return func(c *estimate.Content) estimate.Size { return estimate.Ext4(c, o) }
}

func squash(o squashfs.Options) func(*estimate.Content) estimate.Size {
	return func(c *estimate.Content) estimate.Size { return estimate.Squashfs(c, o) }
}

func ero(o erofs.Options) func(*estimate.Content) estimate.Size {
	return func(c *estimate.Content) estimate.Size { return estimate.Erofs(c, o) }
}

// counter counts what is written.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

func (c *counter) WriteAt(p []byte, off int64) (int, error) { return len(p), nil }

type archived struct {
	rootfs.Sink
	close func() error
	out   *counter
}

func (a archived) Close() (int64, error) {
	err := a.close()
	return a.out.n, err
}

func archive(kind, compression string) func() (writer, error) {
	return func() (writer, error) {
		out := new(counter)
		z, err := compress.NewWriter(compression, out)
		if err != nil {
			return nil, err
		}
		if kind == "cpio" {
			w := cpio.NewWriter(z)
			return archived{w, func() error { return errors.Join(w.Close(), z.Close()) }, out}, nil
		}
		w := tarball.NewWriter(z)
		return archived{w, func() error { return errors.Join(w.Close(), z.Close()) }, out}, nil
	}
}

// sum adds up the bytes of regular files.
type sum struct{ n int64 }

func (s *sum) Add(e rootfs.Entry, data io.Reader) error {
	s.n += e.Size
	if data == nil {
		return nil
	}
	_, err := io.Copy(io.Discard, data)
	return err
}

func (s *sum) Close() (int64, error) { return s.n, nil }

type formatted struct {
	fileSystem
}

// fileSystem is the writer of one.
type fileSystem interface {
	rootfs.Sink
	Close() error
	Size() int64
}

func (f formatted) Close() (int64, error) {
	err := f.fileSystem.Close()
	return f.Size(), err
}

func squashed(o squashfs.Options) func() (writer, error) {
	return func() (writer, error) {
		w, err := squashfs.NewWriter(new(counter), o)
		return formatted{w}, err
	}
}

func eroded(o erofs.Options) func() (writer, error) {
	return func() (writer, error) {
		w, err := erofs.NewWriter(new(counter), o)
		return formatted{w}, err
	}
}

func volume(o ext4.Options) func() (writer, error) {
	return func() (writer, error) {
		w, err := ext4.NewWriter(new(counter), o)
		return formatted{w}, err
	}
}

// tee adds to all writers. It holds whole files in memory.
type tee []writer

func (t tee) Add(e rootfs.Entry, data io.Reader) error {
	var b []byte
	if data != nil {
		var err error
		if b, err = io.ReadAll(data); err != nil {
			return err
		}
	}
	for _, w := range t {
		var r io.Reader
		if data != nil {
			r = bytes.NewReader(b)
		}
		if err := w.Add(e, r); err != nil {
			return err
		}
	}
	return nil
}

// cache is the large test cache, read without a copy on disk.
type cache struct {
	*substituter.Remote
	dir string
}

func openCache(t testing.TB) cache {
	return open(t, testbed.Dir(t, "caches/xz"), testbed.Dir(t, "caches/keys/testbed-1.pub"))
}

func open(t testing.TB, dir, keyFile string) cache {
	t.Helper()
	text, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	key, err := narinfo.ParseKey(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return cache{&substituter.Remote{From: substituter.File{Dir: dir}, Keys: narinfo.Keys{key}}, dir}
}

type closer struct {
	io.ReadCloser
	file io.Closer
}

func (c closer) Close() error { return errors.Join(c.ReadCloser.Close(), c.file.Close()) }

func (c cache) Open(_ context.Context, info *narinfo.Info) (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(c.dir, info.URL))
	if err != nil {
		return nil, err
	}
	r, err := decompress.NewReader(info.Compression, f, info.NarSize)
	return closer{r, f}, err
}

// plan resolves a list.
func (c cache) plan(t testing.TB, list string) *assemble.Plan {
	t.Helper()
	text, err := os.ReadFile(testbed.Dir(t, "caches/lists/"+list+".roots"))
	if err != nil {
		t.Fatal(err)
	}
	return c.resolve(t, string(text))
}

// resolve resolves paths, one a line.
func (c cache) resolve(t testing.TB, paths string) *assemble.Plan {
	t.Helper()
	r := assemble.Request{Jobs: 8, View: assemble.View{Link: fhs.DefaultLink, Collisions: fhs.First}}
	for line := range strings.Lines(paths) {
		p, err := storepath.Parse(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		r.Packages = append(r.Packages, assemble.Package{Path: p})
	}
	p, err := assemble.Resolve(t.Context(), c.Info, r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// build builds a plan in all formats at once and returns their sizes.
func (c cache) build(t testing.TB, p *assemble.Plan) map[string]int64 {
	t.Helper()
	var all tee
	for _, f := range formats {
		w, err := f.create()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	if _, err := assemble.Build(t.Context(), c, p, all); err != nil {
		t.Fatal(err)
	}
	sizes := map[string]int64{}
	for i, w := range all {
		n, err := w.Close()
		if err != nil {
			t.Fatal(formats[i].name, err)
		}
		sizes[formats[i].name] = n
	}
	return sizes
}

const recorded = "testdata/real.tsv"

var lists = []string{"system", "dag", "wide", "small", "large", "all"}

// real returns the sizes of a list: those of small ones as they come out now, those of
// large ones as they are recorded. With -u all are built and recorded.
func real(t *testing.T, c cache) map[string]map[string]int64 {
	t.Helper()
	all := map[string]map[string]int64{}
	if *update {
		var b strings.Builder
		b.WriteString("# real sizes of the large test caches' lists, written by: go test ./estimate -u\n")
		for _, list := range lists {
			all[list] = c.build(t, c.plan(t, list))
			for _, f := range formats {
				fmt.Fprintf(&b, "%s\t%s\t%d\n", list, f.name, all[list][f.name])
			}
		}
		if err := os.WriteFile(recorded, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return all
	}
	text, err := os.ReadFile(recorded)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) < 3 {
			continue
		}
		if all[f[0]] == nil {
			all[f[0]] = map[string]int64{}
		}
		var n int64
		if _, err := fmt.Sscan(f[2], &n); err != nil {
			t.Fatal(err)
		}
		all[f[0]][f[1]] = n
	}
	for _, list := range []string{"dag", "wide", "small"} {
		for name, n := range c.build(t, c.plan(t, list)) {
			if all[list][name] != n {
				t.Errorf("%s as %s has %d bytes, and %d are recorded: run with -u", list, name, n, all[list][name])
				all[list][name] = n
			}
		}
	}
	return all
}

// The bounds hold for every list, and the guesses are near for the system.
func TestReal(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: builds closures in all formats")
	}
	c := openCache(t)
	sizes := real(t, c)
	for _, list := range lists {
		p := c.plan(t, list)
		content := &estimate.Content{Objects: p.Infos, View: "."}
		for _, f := range formats {
			s, is := f.estimate(content), sizes[list][f.name]
			off := float64(s.Likely)/float64(is) - 1
			t.Logf("%-7s %-14s %11d  estimated %11d %+6.1f%%  from %11d to %14d", list, f.name, is, s.Likely, 100*off, s.Least, s.Most)
			if is < s.Least || is > s.Most {
				t.Errorf("%s as %s: the size is %d, and %+v estimated", list, f.name, is, s)
			}
			if list == "system" && math.Abs(off) > f.likely {
				t.Errorf("%s as %s: the size is %d, and %d estimated", list, f.name, is, s.Likely)
			}
		}
	}
}
