package oci

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

var can = rootfstest.Abilities{
	Names:     func(name string) bool { return !strings.HasPrefix(name, ".wh.") },
	MaxTarget: rootfs.MaxTarget,
	MaxMajor:  1<<21 - 1, MaxMinor: 1<<21 - 1,
	Fifos: true, HardLinks: true,
	Modes: rootfstest.Held, Owners: rootfstest.Held,
	Times: rootfstest.Held, Resolution: time.Nanosecond, MinTime: -1 << 41, MaxTime: 1 << 41,
	Xattrs: func(e rootfs.Entry) bool {
		return !slices.ContainsFunc(e.Xattrs, func(x rootfs.Xattr) bool { return strings.ContainsAny(x.Name, "=%") })
	},
}

// TestConformance reads the union of layers by archive/tar: of one layer, and of
// several whose paths come in the middle of others. The file of more than 4 GiB is
// left to the test of tar archives.
func TestConformance(t *testing.T) {
	if !testing.Short() {
		flag.Set("test.short", "true")
		defer flag.Set("test.short", "false")
	}
	several := []Layer{{Paths: []string{"bin", "caps"}}, {Paths: []string{"not/there", "etc/hosts", "dir"}}, {Paths: []string{"dev"}}, {Paths: []string{"etc", "plain"}}}
	for name, o := range map[string]Options{
		"one":     {Compression: "none"},
		"several": {Compression: "gzip", Layers: several},
	} {
		o.Platform.Architecture = "amd64"
		t.Run(name, func(t *testing.T) {
			rootfstest.Test(t, rootfstest.Format{Can: can, Create: func(dir string, limit int64) (rootfstest.Writer, error) {
				return create(dir, limit, o)
			}, Read: func(dir string) ([]rootfstest.Node, error) {
				nodes, _, err := read(dir)
				return nodes, err
			}})
		})
	}
}

// single is an image that is a layout of its own.
type single struct {
	*Writer
	layout *Layout
	root   *os.Root
	full   string // a file system that is unmounted with it
}

func (s *single) Close() (err error) {
	if s.full != "" {
		defer func() { err = errors.Join(err, testbed.Unmount(s.full)) }()
	}
	defer s.root.Close()
	if err := s.Writer.Close(); err != nil {
		return err
	}
	_, err = s.layout.Finish("", s.Image())
	return err
}

func create(dir string, limit int64, o Options) (*single, error) {
	full := ""
	switch {
	case limit < 0:
		return nil, errors.ErrUnsupported // see TestPackerFails
	case limit < math.MaxInt64 && os.Geteuid() != 0:
		return nil, syscall.ENOSPC // only root mounts a full disk
	case limit < math.MaxInt64:
		dir = filepath.Join(dir, "full")
		full = dir
		if err := errors.Join(os.Mkdir(dir, 0o755), syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", max(limit, 1)))); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	l, err := Create(root)
	if err != nil {
		return nil, err
	}
	w, err := l.NewWriter(o)
	return &single{w, l, root, full}, err
}

// entries are a small tree, in an order that jumps between layers.
func entries() []rootfs.Entry {
	list := []rootfs.Entry{
		rootfs.Dir(".", 0o755), rootfs.Dir("s", 0o755), rootfs.Dir("s/base", 0o555), {Path: "s/base/lib", Mode: 0o444, Size: 3000},
		{Path: "s/app", Mode: 0o555, Size: 10}, {Path: "s/tool", Mode: 0o555, Size: 20}, rootfs.Dir("s/baseline", 0o500),
		rootfs.Dir("s/two", 0o555), rootfs.Link("s/two/x", "../base"), rootfs.Link("bin", "s/two"), {Path: "s/base/late", Mode: 0o444, Size: 1},
		rootfs.Dir("s/three", 0o755), rootfs.Dir("s/three/sub", 0o755), {Path: "s/three/sub/f", Mode: 0o600, Size: 5},
	}
	for i := range list {
		list[i].ModTime = time.Unix(1, 0)
	}
	return list
}

func add(s rootfs.Sink, list []rootfs.Entry) error {
	s = rootfs.Check(s)
	for _, e := range list {
		var data io.Reader
		if e.Mode.IsRegular() {
			data = strings.NewReader(strings.Repeat("x", int(e.Size)))
		}
		if err := s.Add(e, data); err != nil {
			return err
		}
	}
	return nil
}

// write makes a layout of one image.
func write(dir string, o Options, list []rootfs.Entry) (string, error) {
	o.Platform.Architecture = "amd64"
	w, err := create(dir, math.MaxInt64, o)
	if err != nil {
		return "", err
	}
	err = errors.Join(add(w, list), w.Close())
	return w.Image().Digest, err
}

func TestLayers(t *testing.T) {
	for _, test := range []struct {
		layers []Layer
		want   string // paths of layers, without those of directories above them
	}{
		{nil, "s s/base s/base/lib s/app s/tool s/baseline s/two s/two/x bin s/base/late s/three s/three/sub s/three/sub/f"},
		// What comes back to a layer that is packed goes to the last one.
		{[]Layer{{Paths: []string{"s/base"}}}, "s/base s/base/lib | s/app s/tool s/baseline s/two s/two/x bin s/base s/base/late s/three s/three/sub s/three/sub/f"},
		{[]Layer{{Paths: []string{"s/base", "s/two"}}, {Paths: []string{"s/app"}}},
			"s/base s/base/lib s/two s/two/x | s/app | s/tool s/baseline bin s/base s/base/late s/three s/three/sub s/three/sub/f"},
		// A layer that waits for more is still open.
		{[]Layer{{Paths: []string{"s/three", "s/base"}}}, "s/base s/base/lib s/base/late s/three s/three/sub s/three/sub/f | s/app s/tool s/baseline s/two s/two/x bin"},
		{[]Layer{{Paths: []string{"s/not"}}, {}, {Paths: []string{"s/three/sub", "s/base/lib"}}},
			"s/base/lib s/three/sub s/three/sub/f | s/base s/app s/tool s/baseline s/two s/two/x bin s/base/late s/three"},
	} {
		for _, compression := range []string{"none", "gzip", "zstd"} {
			dir := t.TempDir()
			if _, err := write(dir, Options{Layers: test.layers, Compression: compression}, entries()); err != nil {
				t.Fatal(err)
			}
			nodes, layers, err := read(dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(nodes) != len(entries()) {
				t.Errorf("%d entries", len(nodes))
			}
			var got []string
			for i, paths := range layers {
				var own []string
				for k, p := range paths {
					above := p == "." || p == "s" && len(test.layers) > 0 // those of all layers
					for _, next := range paths[k+1:] {
						above = above || i < len(layers)-1 && strings.HasPrefix(next, p+"/") && !owned(test.layers, p)
					}
					if !above {
						own = append(own, p)
					}
				}
				got = append(got, strings.Join(own, " "))
			}
			if s := strings.Join(got, " | "); s != test.want {
				t.Errorf("%v:\ngot  %s\nwant %s", test.layers, s, test.want)
			}
		}
	}
}

// owned reports whether path is in a layer by its name.
func owned(layers []Layer, path string) bool {
	return slices.ContainsFunc(layers, func(l Layer) bool {
		return slices.ContainsFunc(l.Paths, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
	})
}

// A change of this digest is a change of every image.
func TestDigests(t *testing.T) {
	o := Options{
		Layers: []Layer{{"base", []string{"s/base"}}, {"two", []string{"s/two", "s/app"}}}, Created: time.Unix(1, 0),
		Config: Config{
			Entrypoint: []string{"/s/app"}, Cmd: []string{"a&b", "<"}, Env: []string{"PATH=/bin"}, User: "1000:1000", WorkingDir: "/tmp",
			Labels: map[string]string{"b": "2", "a": "1"}, Ports: []string{"80", "53/udp"}, Volumes: []string{"/data"}, StopSignal: "SIGTERM",
		},
		Annotations: map[string]string{"note": "é"},
	}
	for compression, want := range map[string]string{
		"none": "sha256:65dd64511e4a4ac2fb1249757500a8530b86a9dbf032050a96dcdeda5eb9a08a",
		"gzip": "sha256:2d78d79d2cb929215ef67aab08ef76ce98bba353d38678a4cca48817ff060925",
		"zstd": "sha256:d91e8a8a26a9833913d8d9e14511f2fc6d11ba7047ac032247a897170de1711f",
	} {
		o.Compression = compression
		for range 2 {
			if got, err := write(t.TempDir(), o, entries()); err != nil || got != want {
				t.Errorf("%s: %s, %v; want %s", compression, got, err, want)
			}
		}
	}
	dir := t.TempDir()
	if _, err := write(dir, o, entries()); err != nil {
		t.Fatal(err)
	}
	l, list, err := images(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := l.manifest(list[0])
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.blob(m.Config)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"architecture":"amd64","config":{"Cmd":["a&b","<"],"Entrypoint":["/s/app"],"Env":["PATH=/bin"],` +
		`"ExposedPorts":{"53/udp":{},"80/tcp":{}},"Labels":{"a":"1","b":"2"},"StopSignal":"SIGTERM","User":"1000:1000","Volumes":{"/data":{}},"WorkingDir":"/tmp"},` +
		`"created":"1970-01-01T00:00:01Z","history":[{"created":"1970-01-01T00:00:01Z","created_by":"thaw","comment":"base"},` +
		`{"created":"1970-01-01T00:00:01Z","created_by":"thaw","comment":"two"},{"created":"1970-01-01T00:00:01Z","created_by":"thaw"}],"os":"linux","rootfs":`
	if !strings.HasPrefix(string(got), want) {
		t.Errorf("configuration %s", got)
	}
}

// A change in one layer leaves the others as they are.
func TestOtherLayersStay(t *testing.T) {
	o := Options{Compression: "zstd", Layers: []Layer{{Paths: []string{"s/base"}}, {Paths: []string{"s/tool", "s/app"}}, {Paths: []string{"s/two"}}}}
	var lists [2][]Descriptor
	for i := range lists {
		list := entries()
		list[5].Size += int64(i) // s/tool
		dir := t.TempDir()
		if _, err := write(dir, o, list); err != nil {
			t.Fatal(err)
		}
		l, found, err := images(dir)
		if err != nil {
			t.Fatal(err)
		}
		m, err := l.manifest(found[0])
		if err != nil {
			t.Fatal(err)
		}
		lists[i] = m.Layers
	}
	for i := range lists[0] {
		if same := lists[0][i].Digest == lists[1][i].Digest; same != (i != 1) {
			t.Errorf("layer %d: the same %v", i, same)
		}
	}
}

// A link to a file in another layer is refused as what is not supported, and the
// file can then be added in full.
func TestLinksAcrossLayers(t *testing.T) {
	dir := t.TempDir()
	w, err := create(dir, math.MaxInt64, Options{Platform: Platform{Architecture: "amd64"}, Layers: []Layer{{Paths: []string{"s/base"}}, {Paths: []string{"s/tool"}}}})
	if err != nil {
		t.Fatal(err)
	}
	s := rootfs.Check(w)
	list := entries()
	if err := add(s, list[:4]); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path, earlier string
		ok            bool
	}{
		{"s/base/again", "s/base/lib", true}, {"s/tool", "s/base/lib", false}, {"s/rest", "s/base/lib", false},
		{"s/base/closed", "s/base/lib", false}, {"s/more", "s/full-s/rest", true},
	} {
		err := rootfs.AddSame(s, test.path, strings.TrimPrefix(test.earlier, "s/full-"))
		if test.ok != (err == nil) || !test.ok && !errors.Is(err, errors.ErrUnsupported) {
			t.Fatalf("%s: %v", test.path, err)
		}
		if err != nil {
			e := list[3]
			e.Path = test.path
			if err := s.Add(e, strings.NewReader(strings.Repeat("x", 3000))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if nodes, _, err := read(dir); err != nil || len(nodes) != 4+5 {
		t.Errorf("%d entries, %v", len(nodes), err)
	}
}

func TestRefusals(t *testing.T) {
	many := make([]Layer, MaxLayers)
	amd64 := Platform{Architecture: "amd64"}
	for _, test := range []struct {
		o    Options
		want string
	}{
		{Options{}, `an image has an architecture like amd64 or arm64: there is no platform "linux/"`},
		{Options{Platform: Platform{"AMD", "linux", ""}}, `an image has an architecture like amd64 or arm64: there is no platform "linux/AMD"`},
		{Options{Platform: amd64, Layers: many}, `an image has at most 127 layers, and the last one is for the rest: 127 are too many`},
		{Options{Platform: amd64, Layers: []Layer{{Paths: []string{"/a"}}}}, `a layer cannot have the path "/a"`},
		{Options{Platform: amd64, Layers: []Layer{{Paths: []string{"."}}}}, `a layer cannot have the path "."`},
		{Options{Platform: amd64, Layers: []Layer{{Paths: []string{"a"}}, {Paths: []string{"a"}}}}, `the path "a" is in layers twice`},
		{Options{Platform: amd64, Compression: "xz"}, `no compression is called "xz": there are gzip, zstd and none`},
		{Options{Platform: amd64, Config: Config{Env: []string{"=x"}}}, `the variable "=x" is not NAME=value`},
		{Options{Platform: amd64, Config: Config{Ports: []string{"http"}}}, `the port "http" is not like 80 or 53/udp`},
		{Options{Platform: amd64, Config: Config{WorkingDir: "x"}}, `the directory "x" is not absolute`},
		{Options{Platform: amd64, Config: Config{Volumes: []string{""}}}, `a volume is no empty path`},
		{Options{Platform: amd64, Config: Config{StopSignal: "term"}}, `the stop signal "term" is not like SIGTERM`},
		{Options{Platform: amd64, Config: Config{Cmd: []string{"\xff"}}}, `cmd: "\xff" is not UTF-8 without NUL`},
		{Options{Platform: amd64, Config: Config{Labels: map[string]string{"": "x"}}}, `a label has no name`},
		{Options{Platform: amd64, Created: time.Unix(1<<40, 0)}, `an image cannot be of the year 36812`},
	} {
		if _, err := create(t.TempDir(), math.MaxInt64, test.o); err == nil || err.Error() != test.want {
			t.Errorf("%v, want %s", err, test.want)
		}
	}
	_, err := write(t.TempDir(), Options{}, append(entries(), rootfs.Link("s/.wh.x", "y")))
	var refusal *rootfs.EntryError
	if !errors.As(err, &refusal) || refusal.Path != "s/.wh.x" {
		t.Error(err)
	}
}

// What a packer cannot do is the error of the image, and nothing is left over.
func TestPackerFails(t *testing.T) {
	for _, compression := range []string{"none", "gzip", "zstd"} {
		dir := t.TempDir()
		w, err := create(dir, math.MaxInt64, Options{Platform: Platform{Architecture: "amd64"}, Compression: compression, Layers: []Layer{{Paths: []string{"s/base"}}, {Paths: []string{"s/two"}}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := add(w, entries()[:3]); err != nil {
			t.Fatal(err)
		}
		w.layers[0].spool.Close() // as if it could not be read
		if err := w.Close(); err == nil || !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %v", compression, err)
		}
		if left, err := filepath.Glob(filepath.Join(dir, blobs, "*")); err != nil || len(left) > 0 {
			t.Errorf("%s: left over %q, %v", compression, left, err)
		}
	}
}

func hashOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
