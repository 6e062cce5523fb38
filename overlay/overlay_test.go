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

// list sends a tree, as a build does.
func list(t testing.TB, tree *rootfs.Tree) string {
	t.Helper()
	var l listing
	send(t, tree, &l)
	return l.String()
}

// send sends a tree with what every image has.
func send(t testing.TB, tree *rootfs.Tree, sink rootfs.Sink) {
	t.Helper()
	sink = rootfs.Check(sink)
	for _, dir := range []string{".", "nix", "nix/store"} {
		e := rootfs.Dir(dir, 0o755)
		e.ModTime = time.Unix(1, 0)
		if err := sink.Add(e, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := tree.Send(sink); err != nil {
		t.Fatal(err)
	}
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
				skip := "drwxr-xr-x 0:0 .\ndrwxr-xr-x 0:0 nix\ndrwxr-xr-x 0:0 nix/store\n"
				got = strings.TrimPrefix(list(t, &o.Tree), skip)
				if d := strings.TrimPrefix(list(t, &o.Defaults), skip); d != "" {
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
