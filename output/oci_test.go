package output_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/estimate"
	"thaw/image/oci"
	"thaw/output"
	"thaw/rootfs"
	"thaw/spec"
)

// imageOf returns the output of a spec for that architecture.
func imageOf(t *testing.T, arch, keys string) *spec.Output {
	t.Helper()
	s, err := spec.Parse("spec.yaml", []byte("version: 1\narch: "+arch+"\noutputs: { a: { type: oci, "+keys+" } }"))
	if err != nil {
		t.Fatal(err)
	}
	return &s.Outputs[0]
}

func openDir(t *testing.T) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func stampedDir(path string) rootfs.Entry {
	d := rootfs.Dir(path, 0o755)
	d.ModTime = time.Unix(1, 0)
	return d
}

// A layout and its archive are the same image, in the layers that are asked for.
func TestLayout(t *testing.T) {
	for _, c := range []struct {
		keys           string
		asked, written int // layers
	}{
		{"max-layers: 4", 3, 3},
		{"max-layers: 1, compress: zstd", 0, 1},
		{"compress: none", 99, 3},
	} {
		o := imageOf(t, "riscv64-linux", c.keys)
		asked := 0
		p := &output.Params{Time: time.Unix(1, 0), Arch: "riscv64-linux", Layers: func(most int) []oci.Layer {
			asked = most
			return []oci.Layer{{Paths: []string{"d"}}, {Paths: []string{"large0", "large1"}}}
		}}
		var archive bytes.Buffer
		var digests []string
		for _, to := range []io.Writer{nil, &archive} {
			root := openDir(t)
			w, err := output.NewLayout(root, to, o, p)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(fill(rootfs.Tee(w.Sinks()...)), w.Close()); err != nil {
				t.Fatal(err)
			}
			w.Abort() // does nothing
			if to != nil && w.Size() != int64(archive.Len()) {
				t.Errorf("%s: the archive has %d bytes, and Size says %d", c.keys, archive.Len(), w.Size())
			}
			layout, err := oci.Open(root)
			if err != nil {
				t.Fatal(err)
			}
			images, err := layout.Images()
			if err != nil || len(images) != 1 || images[0].Platform.String() != "linux/riscv64" || images[0].Digest != w.Image().Digest {
				t.Errorf("%s: %+v, %v", c.keys, images, err)
			}
			if n := len(w.Image().Layers); n != c.written || asked != c.asked {
				t.Errorf("%s: %d layers were asked for, and there are %d", c.keys, asked, n)
			}
			digests = append(digests, w.Image().Digest)
		}
		if digests[0] != digests[1] {
			t.Errorf("%s: the image is %s, and in an archive %s", c.keys, digests[0], digests[1])
		}
	}
}

// A writer that is left leaves no file that is being written.
func TestLayoutAbort(t *testing.T) {
	root := openDir(t)
	p := &output.Params{Arch: "x86_64-linux", Layers: func(int) []oci.Layer { return []oci.Layer{{Paths: []string{"d"}}} }}
	w, err := output.NewLayout(root, nil, imageOf(t, "x86_64-linux", "compress: zstd"), p)
	if err != nil {
		t.Fatal(err)
	}
	s := w.Sinks()[0]
	if err := errors.Join(s.Add(stampedDir("."), nil), s.Add(stampedDir("d"), nil)); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if err := s.Add(rootfs.Dir("e", 0o755), nil); err == nil {
		t.Error("a writer that was left takes entries")
	}
	if left, err := filepath.Glob(filepath.Join(root.Name(), "blobs/sha256/.*")); err != nil || len(left) > 0 {
		t.Errorf("%q are left, %v", left, err)
	}
}

// Every architecture of a spec is one of container images.
func TestLayoutArchitectures(t *testing.T) {
	for arch, want := range map[string]string{
		"x86_64-linux": "amd64", "i686-linux": "386", "aarch64-linux": "arm64", "armv7l-linux": "arm/v7", "armv6l-linux": "arm/v6",
		"riscv64-linux": "riscv64", "powerpc64le-linux": "ppc64le", "s390x-linux": "s390x", "loongarch64-linux": "loong64",
	} {
		root := openDir(t)
		w, err := output.NewLayout(root, nil, imageOf(t, arch, "max-layers: 1"), &output.Params{Arch: arch})
		if err != nil {
			t.Fatalf("%s: %v", arch, err)
		}
		if err := errors.Join(w.Sinks()[0].Add(stampedDir("."), nil), w.Close()); err != nil {
			t.Fatal(err)
		}
		layout, err := oci.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		if images, err := layout.Images(); err != nil || images[0].Platform.String() != "linux/"+want {
			t.Errorf("%s is %v, %v", arch, images[0].Platform, err)
		}
	}
}

// However much is said of an image, it is not larger than the most that it may take.
func TestLayoutMost(t *testing.T) {
	text := strings.Repeat("\x01", 10_000)
	o := imageOf(t, "x86_64-linux", "compress: none")
	o.OCI.Labels, o.OCI.Annotations, o.OCI.Cmd = []spec.Label{{Name: "a", Value: text}}, []spec.Label{{Name: "b", Value: text}}, []string{text}
	p := &output.Params{Arch: "x86_64-linux", Time: time.Unix(1, 0), Layers: func(int) []oci.Layer { return nil }}
	for _, archive := range []io.Writer{nil, io.Discard} {
		w, err := output.NewLayout(openDir(t), archive, o, p)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Sinks()[0].Add(stampedDir("."), nil), w.Close()); err != nil {
			t.Fatal(err)
		}
		s, _, err := output.Estimate(&estimate.Content{Known: []rootfs.Entry{stampedDir(".")}, Bare: true}, o, p, &output.Extra{})
		if err != nil || w.Size() < s.Least || w.Size() > s.Most {
			t.Errorf("it takes %d bytes, and the estimate is %+v, %v", w.Size(), s, err)
		}
	}
}

// What a spec takes for names, ports and signals, container images take, too.
func TestLayoutAgrees(t *testing.T) {
	for _, keys := range []string{
		"name: demo", "name: tools/demo:1.0", "name: example.org:5000/a/b_c:X_1.2-3", "name: localhost/a--b", "name: " + strings.Repeat("a", 255) + ":" + strings.Repeat("b", 128),
		`ports: ["1", 65535/udp, 9/sctp]`, "stop-signal: SIGRTMIN+3", `stop-signal: "99"`, `user: "4294967294:0"`, "user: _apt:www-data",
		`labels: { "!~": "", a: "ä" }, annotations: { a: "" }`, `entrypoint: [a, ""]`, `env: { A: "" }, volumes: [/a, /b]`,
	} {
		p := &output.Params{Arch: "x86_64-linux", Layers: func(int) []oci.Layer { return nil }}
		w, err := output.NewLayout(openDir(t), nil, imageOf(t, "x86_64-linux", keys), p)
		if err != nil {
			t.Errorf("%s: %v", keys, err)
			continue
		}
		if err := errors.Join(w.Sinks()[0].Add(stampedDir("."), nil), w.Close()); err != nil {
			t.Errorf("%s: %v", keys, err)
		}
	}
}
