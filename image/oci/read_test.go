package oci

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Layouts that others made, or damaged, are refused in one line that names the file.
func TestHostile(t *testing.T) {
	const zeros = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	image := func(digest, size string) string {
		return `{"manifests":[{"mediaType":"` + typeManifest + `","digest":"` + digest + `","size":` + size + `}]}`
	}
	for _, test := range []struct{ marker, index, want string }{
		{"", "", "is no OCI image layout: it has no file oci-layout"},
		{"{}", "{}", "/oci-layout: not of version 1"},
		{`{"imageLayoutVersion":"2.0.0"}`, "{}", "/oci-layout: not of version 1"},
		{strings.Repeat(" ", 2000), "{}", "/oci-layout has more than 1024 bytes"},
		{marker, "", "index.json: no such file or directory"},
		{marker, "[", "/index.json: unexpected end of JSON input"},
		{marker, strings.Repeat(" ", maxJSON+1), "/index.json has more than 4194304 bytes"},
		{marker, `{"manifests":[{"mediaType":"text/plain","digest":"x"}]}`, `/index.json: x has the type "text/plain", which is not an image's`},
		{marker, image("sha256:../../../etc/passwd", "1"), `: no blob has the digest "sha256:../../../etc/passwd" and 1 bytes`},
		{marker, image(zeros, "-1"), ` and -1 bytes`},
		{marker, image(zeros, "1000000000000"), ": " + zeros + " is to have 1000000000000 bytes, the limit is 4194304"},
		{marker, image(zeros, "5"), "blobs/sha256/" + zeros[7:] + ": no such file or directory"},
		{marker, image(strings.Replace(zeros, "000", "111", 1), "5"), " is damaged: it has 3 bytes with the digest sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae, and is to have 5"},
	} {
		dir := t.TempDir()
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		if _, err := Create(root); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string]string{"oci-layout": test.marker, "index.json": test.index, filepath.Join(blobs, "111"+zeros[10:]): "foo"} {
			if content != "" {
				if err := root.WriteFile(name, []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		l, err := Open(root)
		if err == nil {
			_, err = l.Images()
		}
		if err == nil || !strings.HasSuffix(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v\nwant %s", err, test.want)
		}
	}
}

// A damaged layer is found when its layout is imported, and nothing is left of it.
func TestImportDamaged(t *testing.T) {
	dir := t.TempDir()
	l := twoImages(t, filepath.Join(dir, "from"), "", "gzip", "amd64")
	m, err := l.manifest(only(t, l))
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "from", blobPath(m.Layers[1].Digest))
	if err := os.WriteFile(name, []byte("short"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "to"), 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(filepath.Join(dir, "to"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	into, err := Create(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := into.Import(l); err == nil || !strings.Contains(err.Error(), " is damaged: it has 5 bytes") {
		t.Error(err)
	}
	if _, err := root.Stat(blobPath(m.Layers[1].Digest)); err == nil {
		t.Error("the damaged layer is there")
	}
	if err := l.Archive(io.Discard, time.Unix(1, 0)); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("an archive of it: %v", err)
	}
}

func TestReferences(t *testing.T) {
	for name, want := range map[string]string{
		"hello": "docker.io/library/hello:latest", "team/hello:1.0": "docker.io/team/hello:1.0", "example.org/hello": "example.org/hello:latest",
		"localhost/x": "localhost/x:latest", "example.org:5000/a/b_c:V-1": "example.org:5000/a/b_c:V-1", "localhost:80/x:y": "localhost:80/x:y",
		"": "", "Hello": "", "a//b": "", "a:b:c": "", "hello:": "", "-a": "", "a/../b": "", "hello:" + strings.Repeat("t", 129): "", strings.Repeat("n", 256): "",
	} {
		r, err := parseReference(name)
		if (err == nil) != (want != "") || err == nil && r.full() != want {
			t.Errorf("%q: %+v, %v; want %q", name, r, err, want)
		}
	}
}

// Whatever an index and a blob say, reading them ends, and without a panic.
func FuzzImages(f *testing.F) {
	f.Add([]byte(`{"manifests":[]}`), []byte("{}"))
	f.Add([]byte(`{"manifests":[{"mediaType":"`+typeIndex+`","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}]}`), []byte("{}"))
	f.Add([]byte(`{"manifests":[{"mediaType":"`+typeManifest+`","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}]}`), []byte("{}"))
	f.Fuzz(func(t *testing.T, list, blob []byte) {
		root, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		l, err := Create(root)
		if err != nil {
			t.Fatal(err)
		}
		h := hashOf(blob)
		for name, content := range map[string][]byte{"index.json": list, "oci-layout": []byte(marker), blobPath(h): blob} {
			if err := root.WriteFile(name, content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Archive(io.Discard, time.Unix(1, 0)); err != nil && err.Error() == "" {
			t.Error("an empty error")
		}
	})
}
