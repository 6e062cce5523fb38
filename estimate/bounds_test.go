package estimate_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"thaw/estimate"
	"thaw/image/ext4"
	"thaw/nar"
	"thaw/narinfo"
	"thaw/rootfs"
	"thaw/storepath"
)

// An object is what a NAR may hold, in the NAR's order.
type object struct {
	name    string
	entries []nar.Header
	random  bool // content is of chance instead of zeros
}

func (o *object) content(h *nar.Header) io.Reader {
	if o.random {
		return io.LimitReader(rand.NewChaCha8([32]byte{1}), h.Size)
	}
	return bytes.NewReader(make([]byte, h.Size))
}

// info is the object's narinfo.
func (o *object) info(t testing.TB, n int) *narinfo.Info {
	t.Helper()
	var size counter
	w := nar.NewWriter(&size)
	w.AllowDepth(1024)
	for _, h := range o.entries {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, o.content(&h)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := storepath.New(fmt.Sprintf("%032d", n), o.name)
	if err != nil {
		t.Fatal(err)
	}
	return &narinfo.Info{StorePath: p, NarSize: size.n, Compression: "none"}
}

// send adds an image of the objects and of the entries that are known.
func send(objects []object, c *estimate.Content, sink rootfs.Sink) error {
	sink = rootfs.Check(sink)
	var small rootfs.Tree
	for _, e := range []rootfs.Entry{rootfs.Dir(".", 0o755), rootfs.Dir("nix", 0o755), rootfs.Dir("nix/store", 0o755)} {
		e.ModTime = time.Unix(1, 0)
		if err := sink.Add(e, nil); err != nil {
			return err
		}
	}
	for i, o := range objects {
		for _, h := range o.entries {
			e := rootfs.Entry{Path: "nix/store/" + c.Objects[i].StorePath.Base(), Mode: h.Kind.Mode(), Size: h.Size, Target: h.Target, ModTime: time.Unix(1, 0)}
			if h.Path != "." {
				e.Path += "/" + h.Path
			}
			var data io.Reader
			if h.Kind.IsFile() {
				data = o.content(&h)
			}
			if err := sink.Add(e, data); err != nil {
				return err
			}
		}
	}
	for _, e := range c.Known {
		e.ModTime = time.Unix(1, 0)
		like := rootfs.Dir("", 0o755)
		like.ModTime = e.ModTime
		small.Dirs(e.Path, like)
		small.Put(e, make([]byte, e.Size))
	}
	return small.Send(sink)
}

func root() []nar.Header { return []nar.Header{{Path: ".", Kind: nar.Directory}} }

// extremes are objects that come near to a bound of one format or another.
func extremes() map[string]object {
	name := func(i int) string { // short ones, sorted
		const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		return string([]byte{letters[i/62], letters[i%62]})
	}
	many := func(h func(i int) nar.Header) []nar.Header {
		all := root()
		for i := range 1500 {
			e := h(i)
			e.Path = name(i)
			all = append(all, e)
		}
		return all
	}
	long := func(h nar.Header) []nar.Header {
		all := root()
		for i := range 700 {
			h.Path = fmt.Sprintf("%04d", i) + strings.Repeat("n", 251)
			all = append(all, h)
		}
		return all
	}
	deep := func(length, levels, files int) []nar.Header {
		all, path := root(), ""
		for range levels {
			path += strings.Repeat("d", length)
			all = append(all, nar.Header{Path: path, Kind: nar.Directory})
			path += "/"
		}
		for i := range files {
			all = append(all, nar.Header{Path: path + name(i), Kind: nar.Directory})
		}
		return all
	}
	target := func(n int) nar.Header { return nar.Header{Kind: nar.Symlink, Target: strings.Repeat("t", n)} }
	return map[string]object{
		"empty directory":  {"e", root(), false},
		"empty file":       {"e", []nar.Header{{Path: "."}}, false},
		"link":             {"e", []nar.Header{{Path: ".", Kind: nar.Symlink, Target: "t"}}, false},
		"program":          {"e", []nar.Header{{Path: ".", Kind: nar.Executable, Size: 1}}, false},
		"long link":        {"e", []nar.Header{{Path: ".", Kind: nar.Symlink, Target: strings.Repeat("t", 100)}}, false},
		"longest link":     {strings.Repeat("n", 211), []nar.Header{{Path: ".", Kind: nar.Symlink, Target: strings.Repeat("t", 4095)}}, false},
		"directories":      {"d", many(func(int) nar.Header { return nar.Header{Kind: nar.Directory} }), false},
		"programs":         {"p", many(func(int) nar.Header { return nar.Header{Kind: nar.Executable} }), false},
		"files of a byte":  {"f", many(func(int) nar.Header { return nar.Header{Size: 1} }), true},
		"files of 4097":    {"f", many(func(int) nar.Header { return nar.Header{Size: 4097} }), true},
		"links of 60":      {"l", many(func(int) nar.Header { return target(60) }), false},
		"links of 100":     {"l", many(func(int) nar.Header { return target(100) }), false},
		"links of 4095":    {"l", many(func(int) nar.Header { return target(4095) }), false},
		"long directories": {strings.Repeat("n", 211), long(nar.Header{Kind: nar.Directory}), false},
		"long files":       {"f", long(nar.Header{}), false},
		"long links":       {"f", long(target(4095)), false},
		"deep":             {"d", deep(255, 300, 300), false},
		"rather deep":      {"d", deep(255, 14, 1500), false},
		"deep short":       {"d", deep(1, 1022, 100), false},
		"zeros":            {"z", []nar.Header{{Path: ".", Size: 9 << 20}}, false},
		"chance":           {"c", []nar.Header{{Path: ".", Size: 4 << 20}}, true},
	}
}

// known are entries of all kinds.
var known = []rootfs.Entry{
	rootfs.Dir("etc", 0o755),
	{Path: "etc/passwd", Mode: 0o644, Size: 513},
	{Path: "srv/" + strings.Repeat("long/", 30) + "file", Mode: 0o644, Size: 100_000},
	rootfs.Link("etc/localtime", strings.Repeat("t", 200)),
	{Path: "srv/fifo", Mode: fs.ModeNamedPipe | 0o644},
}

// Whatever a NAR holds, the bounds hold.
func TestExtremes(t *testing.T) {
	for name, o := range extremes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &estimate.Content{Objects: []*narinfo.Info{o.info(t, 1)}, Known: known}
			bounded(t, []object{o}, c)
		})
	}
}

// bounded checks that the bounds of all formats hold.
func bounded(t *testing.T, objects []object, c *estimate.Content) {
	t.Helper()
	for _, f := range formats {
		w, err := f.create()
		if err != nil {
			t.Fatal(err)
		}
		var size int64
		if err = send(objects, c, w); err == nil {
			size, err = w.Close()
		}
		var refused *rootfs.EntryError
		if errors.As(err, &refused) {
			continue // a path that is too long for cpio, for one
		}
		if err != nil {
			t.Fatal(f.name, err)
		}
		if s := f.estimate(c); size < s.Least || size > s.Most || s.Likely < s.Least || s.Likely > s.Most {
			t.Errorf("%s: %d bytes of %d in NARs, estimated %+v", f.name, size, c.Objects[0].NarSize, s)
		}
	}
}

// The bounds are not far from what some NARs make: nobody could prove much more.
func TestTight(t *testing.T) {
	all := extremes()
	for _, test := range []struct {
		object, format string
		least          float64 // the size by the bound, at most; 0 where it is not near
		most           float64 // the bound by the size, likewise
	}{
		{"programs", "tar", 2.9, 0}, {"files of 4097", "tar", 1.2, 0}, {"zeros", "tar", 1.001, 0},
		{"programs", "cpio", 1.1, 0},
		{"zeros", "tar.gz", 2.2, 0}, {"zeros", "tar.zst", 1.6, 0},
		{"zeros", "ext4", 1.01, 0},
		{"chance", "dir", 0, 1.001}, {"directories", "ext4", 0, 1.3}, {"deep", "tar", 0, 3.5},
	} {
		o := all[test.object]
		c := &estimate.Content{Objects: []*narinfo.Info{o.info(t, 1)}}
		for _, f := range formats {
			if f.name != test.format {
				continue
			}
			w, err := f.create()
			if err != nil {
				t.Fatal(err)
			}
			if err := send([]object{o}, c, w); err != nil {
				t.Fatal(err)
			}
			size, err := w.Close()
			if err != nil {
				t.Fatal(err)
			}
			s := f.estimate(c)
			least, most := float64(size)/float64(s.Least), float64(s.Most)/float64(size)
			if test.least > 0 && least > test.least || test.most > 0 && most > test.most {
				t.Errorf("%s as %s: %d bytes, the bounds are %+v: %.4f, %.4f", test.object, f.name, size, s, least, most)
			}
		}
	}
}

// A file system's bounds hold for all sizes, and one of fixed size is as large as
// it says.
func TestVolumes(t *testing.T) {
	o := extremes()["rather deep"]
	c := &estimate.Content{Objects: []*narinfo.Info{o.info(t, 1)}}
	const group = 128 << 20
	var all []ext4.Options
	for _, free := range []int64{1, 1 << 20, group - 20<<20, group, 2 * group, 5 << 30, 100 << 30} {
		all = append(all, ext4.Options{Free: free})
	}
	for _, size := range []int64{100 << 20, group + 4096, group + 100*4096, group + 129*4096, group + 130*4096, 2*group + 50*4096, 3*group + 50*4096, 5<<30 + 1} {
		all = append(all, ext4.Options{Size: size}, ext4.Options{Size: size, Capacity: 8 << 30})
	}
	all = append(all, ext4.Options{BlockSize: 1024, Free: 1 << 20}, ext4.Options{BlockSize: 2048, Journal: ext4.JournalAuto, FreePercent: 3}, ext4.Options{BlockSize: 1024, Size: 300 << 20})
	all = append(all, ext4.Options{FreePercent: 1}, ext4.Options{FreePercent: 1000}, ext4.Options{Capacity: 1 << 30}, ext4.Options{Capacity: ext4.MaxCapacity})
	for _, opt := range all {
		opt.UUID = fit.UUID
		w, err := volume(opt)()
		if err != nil {
			t.Fatal(err)
		}
		if err := send([]object{o}, c, w); err != nil {
			t.Fatal(err)
		}
		size, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		s := estimate.Ext4(c, opt)
		if size < s.Least || size > s.Most {
			t.Errorf("%+v: %d bytes, estimated %+v", opt, size, s)
		}
		if opt.Size > 0 && (s.Least != size || s.Most != size) {
			t.Errorf("%+v: %d bytes, estimated %+v", opt, size, s)
		}
	}
}

// FuzzBounds makes objects of chance.
func FuzzBounds(f *testing.F) {
	f.Add(uint64(1), uint(20), uint(10), uint(3), uint(100))
	f.Add(uint64(2), uint(255), uint(4095), uint(60), uint(10_000))
	f.Fuzz(func(t *testing.T, seed uint64, name, target, depth, size uint) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		o := object{fmt.Sprintf("o%d", name%1000), root(), seed%2 == 0}
		var fill func(dir string, depth int)
		fill = func(dir string, depth int) {
			for i := range rnd.IntN(20) {
				h := nar.Header{Path: fmt.Sprintf("%s%02d%s", dir, i, strings.Repeat("n", rnd.IntN(int(name%254)+1)))}
				switch h.Kind = nar.Kind(rnd.IntN(4)); h.Kind {
				case nar.Symlink:
					h.Target = strings.Repeat("t", 1+rnd.IntN(int(target%4095)+1))
				case nar.Regular, nar.Executable:
					h.Size = rnd.Int64N(int64(size%100_000) + 1)
				}
				if len(o.entries) > 1000 {
					return
				}
				o.entries = append(o.entries, h)
				if h.Kind == nar.Directory && depth > 0 {
					fill(h.Path+"/", depth-1)
				}
			}
		}
		fill("", int(depth%60))
		o2 := object{"second", []nar.Header{{Path: ".", Size: int64(size % 100_000)}}, true}
		c := &estimate.Content{Objects: []*narinfo.Info{o.info(t, 1), o2.info(t, 2)}, Known: known[:rnd.IntN(len(known)+1)]}
		bounded(t, []object{o, o2}, c)
	})
}

// Numbers that no cache has do no harm.
func TestOverflow(t *testing.T) {
	p, err := storepath.New(strings.Repeat("0", 32), "huge")
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{1, 1 << 40, 1 << 50, 1 << 60, 1<<63 - 1} {
		c := &estimate.Content{View: "."}
		for range 3 {
			c.Objects = append(c.Objects, &narinfo.Info{StorePath: p, NarSize: size, FileSize: size, Compression: "xz"})
		}
		c.Known = []rootfs.Entry{{Path: "f", Mode: 0o644, Size: size}}
		for _, f := range formats {
			if s := f.estimate(c); s.Least < 0 || s.Likely < s.Least || s.Most < s.Likely {
				t.Errorf("%s of %d bytes: %+v", f.name, size, s)
			}
		}
	}
}
