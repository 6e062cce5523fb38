package overlay

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/rootfs"
	"thaw/spec"
)

var update = flag.Bool("u", false, "rewrite what is expected")

// listing is a Sink that writes down what it gets.
type listing struct{ bytes.Buffer }

func (l *listing) Add(e rootfs.Entry, data io.Reader) error {
	fmt.Fprintf(l, "%v %d:%d %s", e.Mode, e.UID, e.GID, e.Path)
	if e.Target != "" {
		fmt.Fprintf(l, " -> %s", e.Target)
	}
	if e.Dev != 0 {
		fmt.Fprintf(l, " %d,%d", rootfs.Major(e.Dev), rootfs.Minor(e.Dev))
	}
	l.WriteByte('\n')
	if data == nil {
		return nil
	}
	content, err := io.ReadAll(data)
	for line := range strings.Lines(string(content)) {
		l.WriteString("\t" + strings.TrimSuffix(line, "\n") + "\n")
	}
	return err
}

// list sends a tree, as a build does, and leaves out what every image has.
func list(t testing.TB, tree *rootfs.Tree) string {
	t.Helper()
	var l listing
	if err := send(tree, &l); err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(l.String(), "drwxr-xr-x 0:0 .\ndrwxr-xr-x 0:0 nix\ndrwxr-xr-x 0:0 nix/store\n")
}

// send sends a tree with what every image has.
func send(tree *rootfs.Tree, sink rootfs.Sink) error {
	sink = rootfs.Check(sink)
	for _, dir := range []string{".", "nix", "nix/store"} {
		e := rootfs.Dir(dir, 0o755)
		e.ModTime = time.Unix(1, 0)
		if err := sink.Add(e, nil); err != nil {
			return err
		}
	}
	return tree.Send(sink)
}

func parse(t testing.TB, name, text string) *spec.Spec {
	t.Helper()
	s, err := spec.Parse(name, []byte(text))
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, text)
	}
	return s
}

// read makes the overlay of a root file system, with files relative to dir.
func read(t testing.TB, dir, text string) (*Overlay, error) {
	t.Helper()
	return Read(parse(t, filepath.Join(dir, "spec.yaml"), "version: 1\nrootfs:\n"+text))
}

func mustRead(t testing.TB, dir, text string) *Overlay {
	t.Helper()
	o, err := read(t, dir, text)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestGolden holds overlays against those in testdata/golden. A file has a spec, a
// line "-- overlay --", and what is made of it.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			const mark = "-- overlay --\n"
			text, want, ok := strings.Cut(string(content), mark)
			if !ok {
				t.Fatalf("no line %q", mark)
			}
			var got string
			if o, err := Read(parse(t, "testdata/spec.yaml", text)); err != nil {
				got = fmt.Sprintf("error: %v\n", err)
			} else {
				got = list(t, &o.Tree)
				if d := list(t, &o.Defaults); d != "" {
					got += "-- defaults --\n" + d
				}
			}
			if *update {
				if err := os.WriteFile(file, []byte(text+mark+got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestSpellings makes overlays of specs in YAML and, with the same digest, as Nix
// would write them in JSON.
func TestSpellings(t *testing.T) {
	yaml := `version: 1
rootfs:
  hostname: demo
  users: [{ name: alice, uid: 1000 }]
  hosts: { 10.0.0.5: [a, b], 10.0.0.4: [c] }
  mounts: [{ source: tmpfs, path: /data, type: tmpfs }]
  devices: [{ path: /dev/a, type: fifo }, { path: /dev/Z, type: fifo }]
  files: [{ path: /b, content: x }, { path: /a, source: files/late/index.html }]
  trees: [{ source: files/site, owner: alice }]
  services: { supervisor: s6, run: [{ name: a, command: "/bin/a  'b'", environment: { B: "1", A: "2" } }] }
`
	json := `{"version": 1, "rootfs": {"trees": [{"owner": "1000:1000", "source": "./files/site", "path": "/"}],
"services": {"run": [{"command": "/bin/a b", "name": "a", "user": "root", "environment": {"A": "2", "B": "1"}}], "supervisor": "s6"},
"files": [{"source": "files/late/index.html", "path": "//a/", "mode": "0644"}, {"path": "/b", "content": "x", "owner": "root"}],
"devices": [{"path": "/dev/Z", "type": "fifo"}, {"type": "fifo", "path": "/dev/a", "mode": "600"}],
"mounts": [{"path": "/data/", "source": "tmpfs", "type": "tmpfs", "options": ["defaults"], "pass": 0}],
"hosts": {"10.0.0.4": ["c"], "10.0.0.5": ["a", "b"]},
"users": [{"uid": 1000, "name": "alice", "home": "/home/alice"}], "hostname": "demo"}}`
	a, b := parse(t, "testdata/spec.yaml", yaml), parse(t, "testdata/spec.json", json)
	if a.Digest() != b.Digest() {
		t.Errorf("the specs differ:\n%s\n%s", a.Explain(), b.Explain())
	}
	one, err := Read(a)
	if err != nil {
		t.Fatal(err)
	}
	other, err := Read(b)
	if err != nil {
		t.Fatal(err)
	}
	if one.Digest != other.Digest {
		t.Error("the overlays have two digests")
	}
	if a, b := list(t, &one.Tree)+list(t, &one.Defaults), list(t, &other.Tree)+list(t, &other.Defaults); a != b {
		t.Errorf("%s\nand\n%s", a, b)
	}
}

// TestDigest checks that whatever makes another overlay gives it another digest.
func TestDigest(t *testing.T) {
	seen := map[[32]byte]string{}
	for _, text := range []string{
		"version: 1", "version: 1\nrootfs: { hostname: a }", "version: 1\nrootfs: { hostname: b }", "version: 1\nepoch: 2\nrootfs: { hostname: a }",
		"version: 1\nrootfs: { hostname: a, files: [{ path: /etc/hosts, content: x }] }",
		"version: 1\nrootfs: { files: [{ path: /a, content: x }] }", "version: 1\nrootfs: { files: [{ path: /b, content: x }] }",
		"version: 1\nrootfs: { files: [{ path: /a, content: y }] }", "version: 1\nrootfs: { files: [{ path: /a, content: x, mode: '0600' }] }",
		"version: 1\nrootfs: { files: [{ path: /a, content: x, mode: '4644' }] }",
		"version: 1\nrootfs: { files: [{ path: /a, content: x, owner: '1:0' }] }", "version: 1\nrootfs: { files: [{ path: /a, content: x, owner: '0:1' }] }",
		"version: 1\nrootfs: { files: [{ path: /a, symlink: x }] }", "version: 1\nrootfs: { files: [{ path: /a, symlink: y }] }",
		"version: 1\nrootfs: { files: [{ path: /a, dir: true }] }", "version: 1\nrootfs: { files: [{ path: /a, source: files/late/index.html }] }",
		"version: 1\nrootfs: { devices: [{ path: /a, type: fifo }] }", "version: 1\nrootfs: { devices: [{ path: /a, type: char, major: 1, minor: 3 }] }",
		"version: 1\nrootfs: { devices: [{ path: /a, type: block, major: 1, minor: 3 }] }", "version: 1\nrootfs: { devices: [{ path: /a, type: char, major: 1, minor: 4 }] }",
		"version: 1\nrootfs: { services: { supervisor: busybox } }", "version: 1\nrootfs: { merge: { into: /x }, services: { supervisor: busybox } }",
	} {
		o, err := Read(parse(t, "testdata/spec.yaml", text))
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[o.Digest]; ok {
			t.Errorf("%s\nhas the digest of\n%s", text, other)
		}
		seen[o.Digest] = text
	}
}
