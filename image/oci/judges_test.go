package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/internal/testbed"
	"thaw/rootfs"
)

// skopeo copies every form to a directory, which has the same blobs.
func TestSkopeo(t *testing.T) {
	testbed.Tool(t, "skopeo")
	for _, compression := range []string{"none", "gzip", "zstd"} {
		dir := t.TempDir()
		layout := filepath.Join(dir, "layout")
		l := twoImages(t, layout, "example.org/tools/hello:1.0", compression, "amd64")
		archive := filepath.Join(dir, "archive.tar")
		writeArchive(t, l, archive)
		m, err := l.manifest(only(t, l))
		if err != nil {
			t.Fatal(err)
		}
		for i, from := range []string{"oci:" + layout + ":1.0", "oci:" + layout, "oci-archive:" + archive, "docker-archive:" + archive, "docker-archive:" + archive + ":example.org/tools/hello:1.0"} {
			to := filepath.Join(dir, string(rune('a'+i)))
			testbed.Run(t, "skopeo", "--insecure-policy", "copy", "--quiet", from, "dir:"+to)
			var got manifest
			b, err := os.ReadFile(filepath.Join(to, "manifest.json"))
			if err := errors.Join(err, json.Unmarshal(b, &got)); err != nil {
				t.Fatal(err)
			}
			if len(got.Layers) != len(m.Layers) || got.Config.Digest != m.Config.Digest {
				t.Errorf("%s: %d layers, configuration %s", from, len(got.Layers), got.Config.Digest)
				continue
			}
			for k, d := range m.Layers {
				want := d.Digest
				if strings.HasPrefix(from, "docker") {
					var c configFile
					if err := l.unmarshal(m.Config, &c); err != nil {
						t.Fatal(err)
					}
					want = c.RootFS.DiffIDs[k] // skopeo unpacks those of docker archives
				}
				if got.Layers[k].Digest != want {
					t.Errorf("%s: layer %d is %s, want %s", from, k, got.Layers[k].Digest, want)
				}
			}
		}
		var seen struct {
			Architecture, Os string
			Labels           map[string]string
			Env, Layers      []string
		}
		if err := json.Unmarshal(testbed.Run(t, "skopeo", "inspect", "oci-archive:"+archive), &seen); err != nil {
			t.Fatal(err)
		}
		if seen.Architecture != "amd64" || seen.Os != "linux" || seen.Labels["a"] != "1" || len(seen.Layers) != len(m.Layers) {
			t.Errorf("skopeo sees %+v", seen)
		}
	}
}

// skopeo chooses an image of an index by its platform.
func TestSkopeoIndex(t *testing.T) {
	dir := t.TempDir()
	layout := filepath.Join(dir, "layout")
	l := twoImages(t, layout, "hello:1", "gzip", "amd64", "arm64")
	archive := filepath.Join(dir, "archive.tar")
	writeArchive(t, l, archive)
	for _, arch := range []string{"amd64", "arm64"} {
		for _, from := range []string{"oci:" + layout + ":1", "oci-archive:" + archive} {
			out := testbed.Run(t, "skopeo", "inspect", "--override-arch", arch, "--config", from)
			if !bytes.Contains(out, []byte(`"`+arch+`"`)) {
				t.Errorf("%s: %s", arch, out)
			}
		}
	}
	testbed.Run(t, "skopeo", "--insecure-policy", "copy", "--quiet", "--all", "oci:"+layout, "dir:"+filepath.Join(dir, "all"))
	// The same images of layouts of their own make the same index.
	var alone []*Layout
	for _, arch := range []string{"amd64", "arm64"} {
		alone = append(alone, twoImages(t, filepath.Join(dir, arch), "", "gzip", arch))
	}
	merged := filepath.Join(dir, "merged")
	if err := os.Mkdir(merged, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(merged)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	into, err := Create(root)
	if err != nil {
		t.Fatal(err)
	}
	var images []Descriptor
	for _, from := range alone {
		found, err := into.Import(from)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, found...)
	}
	if _, err := into.Finish("hello:1", images...); err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(dir, "again.tar")
	writeArchive(t, into, again)
	a, _ := os.ReadFile(archive)
	if b, err := os.ReadFile(again); err != nil || !bytes.Equal(a, b) {
		t.Errorf("the merged layout differs: %v", err)
	}
}

// twoImages writes a layout with an image for each architecture.
func twoImages(t *testing.T, dir, name, compression string, archs ...string) *Layout {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	l, err := Create(root)
	if err != nil {
		t.Fatal(err)
	}
	var images []Descriptor
	for _, arch := range archs {
		w, err := l.NewWriter(Options{
			Platform: Platform{Architecture: arch}, Compression: compression, Layers: []Layer{{Paths: []string{"s/base"}}, {Paths: []string{"s/two"}}},
			Config: Config{Entrypoint: []string{"/s/app"}, Labels: map[string]string{"a": "1"}, Ports: []string{"80"}}, Created: time.Unix(1, 0),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(add(w, entries()), w.Close()); err != nil {
			t.Fatal(err)
		}
		images = append(images, w.Image())
	}
	if _, err := l.Finish(name, images...); err != nil {
		t.Fatal(err)
	}
	return l
}

func only(t *testing.T, l *Layout) Descriptor {
	t.Helper()
	images, err := l.Images()
	if err != nil || len(images) != 1 {
		t.Fatalf("%d images, %v", len(images), err)
	}
	return images[0]
}

func writeArchive(t *testing.T, l *Layout, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Archive(f, time.Unix(1, 0)), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// umoci unpacks an image, and its entrypoint runs there in a user namespace.
func TestUmociRuns(t *testing.T) {
	args := []string{"-Ur"}
	if err := exec.Command(testbed.Tool(t, "unshare"), "-Ur", "true").Run(); err != nil {
		if os.Geteuid() != 0 {
			t.Skip("SKIPPED: this system gives us no user namespaces")
		}
		args = nil // root does without
	}
	busybox, err := os.ReadFile(testbed.Tool(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	layout := filepath.Join(dir, "layout")
	if err := os.Mkdir(layout, 0o755); err != nil {
		t.Fatal(err)
	}
	entrypoint := []string{"/s/shell/bin/sh", "-c", `echo "$GREETING from $(cat /s/data/text)"`}
	w, err := create(layout, math.MaxInt64, Options{
		Platform: Platform{Architecture: "amd64"}, Compression: "gzip", Layers: []Layer{{Paths: []string{"s/data"}}, {Paths: []string{"s/shell"}}},
		Config: Config{Entrypoint: entrypoint, Env: []string{"PATH=/bin", "GREETING=hello"}, WorkingDir: "/s"},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := rootfs.Check(w)
	for _, e := range []struct {
		rootfs.Entry
		data []byte
	}{
		{rootfs.Dir(".", 0o755), nil}, {rootfs.Dir("s", 0o755), nil}, {rootfs.Dir("s/shell", 0o555), nil}, {rootfs.Dir("s/shell/bin", 0o555), nil},
		{rootfs.Entry{Path: "s/shell/bin/busybox", Mode: 0o555}, busybox}, {rootfs.Link("s/shell/bin/sh", "busybox"), nil},
		{rootfs.Link("s/shell/bin/cat", "busybox"), nil}, {rootfs.Dir("s/data", 0o555), nil}, {rootfs.Entry{Path: "s/data/text", Mode: 0o444}, []byte("the image\n")},
		{rootfs.Link("bin", "s/shell/bin"), nil},
	} {
		e.ModTime, e.Size = time.Unix(1, 0), int64(len(e.data))
		var data io.Reader
		if e.Mode.IsRegular() {
			data = bytes.NewReader(e.data)
		}
		if err := s.Add(e.Entry, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Writer.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.layout.Finish("shell", w.Image()); err != nil {
		t.Fatal(err)
	}
	w.root.Close()

	bundle := filepath.Join(dir, "bundle")
	unpack := []string{"unpack", "--image", layout + ":latest", bundle}
	if os.Geteuid() != 0 {
		unpack = append([]string{"unpack", "--rootless"}, unpack[1:]...)
	}
	testbed.Run(t, "umoci", unpack...)
	t.Cleanup(func() { exec.Command("chmod", "-R", "u+w", bundle).Run() })
	var config struct {
		Process struct {
			Args, Env []string
			Cwd       string
		}
	}
	b, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if err := errors.Join(err, json.Unmarshal(b, &config)); err != nil {
		t.Fatal(err)
	}
	p := config.Process
	args = append(append(args, "--root="+filepath.Join(bundle, "rootfs"), "--wd="+p.Cwd), p.Args...)
	cmd := exec.Command(testbed.Tool(t, "unshare"), args...)
	cmd.Env = p.Env
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "hello from the image\n" {
		t.Errorf("%q in %s: %v\n%s", p.Args, p.Cwd, err, out)
	}
}
