package nar_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thaw/internal/testbed"
	"thaw/nar"
)

// nix runs nix-store.
func nix(t *testing.T, stdin io.Reader, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(testbed.Tool(t, "nix-store"), args...)
	cmd.Stdin = stdin
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("nix-store %q: %v\n%s", args, err, &stderr)
	}
	return out
}

// pack archives a real tree.
func pack(root string, out io.Writer) error {
	w := nar.NewWriter(out)
	// WalkDir goes in the order of the format: names sorted, depth first.
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var h nar.Header
		if h.Path, err = filepath.Rel(root, path); err != nil {
			return err
		}
		switch {
		case info.IsDir():
			h.Kind = nar.Directory
		case info.Mode().Type() == fs.ModeSymlink:
			h.Kind = nar.Symlink
			if h.Target, err = os.Readlink(path); err != nil {
				return err
			}
		case info.Mode().IsRegular():
			if info.Mode()&0o100 != 0 {
				h.Kind = nar.Executable
			}
			h.Size = info.Size()
		default:
			return fmt.Errorf("%s: %v", path, info.Mode())
		}
		if err := w.WriteHeader(&h); err != nil || !h.Kind.IsFile() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	})
	if err != nil {
		return err
	}
	return w.Close()
}

// plant makes a tree with what is hard to archive.
func plant(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "tree")
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(path string) string { return filepath.Join(root, path) }
	for _, d := range []string{"empty", "a", "a.b", "Z", "many", "\xc3\x28 not UTF-8", "deep" + strings.Repeat("/d", 61)} {
		do(os.MkdirAll(at(d), 0o755))
	}
	for size := range 18 {
		do(os.WriteFile(at(fmt.Sprintf("many/%02d", size)), []byte(strings.Repeat("x", size)), 0o644))
		do(os.WriteFile(at(fmt.Sprintf("many/x%d", size)), []byte("#!"), 0o755))
		do(os.Symlink(strings.Repeat("t", size+1), at(fmt.Sprintf("many/l%d", size))))
	}
	for i := range 300 {
		do(os.WriteFile(at(fmt.Sprintf("a/%d", i*i)), nil, 0o644))
	}
	do(os.WriteFile(at("a-"), []byte("between a and a.b as paths, not as names"), 0o600))
	do(os.WriteFile(at("big"), bytes.Repeat([]byte("0123456789abcde"), 100_000), 0o644))
	do(os.WriteFile(at("deep"+strings.Repeat("/d", 61)+"/leaf"), []byte("at depth 64"), 0o644))
	do(os.WriteFile(at(strings.Repeat("n", nar.MaxName)), nil, 0o500))
	do(os.WriteFile(at("name~nix~case~hack~1"), nil, 0o644))
	do(os.Symlink("/nix/store/nowhere", at("\xff")))
	do(os.Symlink(strings.Repeat("../", 1365), at("long")))
	return root
}

func TestNixDump(t *testing.T) {
	root := plant(t)
	want := nix(t, nil, "--dump", root)
	if err := checkCanonical(t, want); err != nil {
		t.Error(err)
	}
	var got bytes.Buffer
	if err := pack(root, &got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the archive of the tree has %d bytes, Nix's %d, and they differ", got.Len(), len(want))
	}
}

func TestNixRestore(t *testing.T) {
	var want bytes.Buffer
	if err := pack(plant(t), &want); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"planted": want.Bytes(),
		"sample":  []byte(sample),
		"file":    []byte(archive(file("hello"))),
		"program": []byte(archive(program("hello"))),
		"link":    []byte(archive(link("hello"))),
	} {
		written, err := reencode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(name, err)
		}
		restored := filepath.Join(t.TempDir(), "restored")
		nix(t, bytes.NewReader(written), "--restore", restored)
		var got bytes.Buffer
		if err := pack(restored, &got); err != nil {
			t.Fatal(name, err)
		}
		if !bytes.Equal(got.Bytes(), data) {
			t.Errorf("%s: what Nix restores differs from what was packed", name)
		}
	}
}

// deepDir is the one archive of the test material that is refused at first: it
// nests 202 levels, which Nix 2.8, its writer, allowed; Nix has stopped at 64
// since.
const deepDir = "1va9x57y3sf4zmgzmyx9mr01ajj1lb87y4aaqgwhpdcr6q2zsyb5.nar"

// Genuine archives of a binary cache.
func TestTestbed(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testbed.Dir(t, "caches/small-none/nar"), "*.nar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives (%v)", err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		err = checkCanonical(t, data)
		if filepath.Base(f) == deepDir {
			if err == nil || !strings.Contains(err.Error(), "deeper than 64") {
				t.Errorf("%s: error %v, want one about its depth", f, err)
			}
			checkDeep(t, data, 202)
		} else if err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
	t.Logf("%d archives", len(files))
}

// checkDeep holds that an archive of the given depth passes where that is
// allowed, and comes out the same; one level less does not do.
func checkDeep(t *testing.T, data []byte, depth int) {
	copyAll := func(allowed int) ([]byte, error) {
		r := nar.NewReader(bytes.NewReader(data))
		r.AllowDepth(allowed)
		var out bytes.Buffer
		w := nar.NewWriter(&out)
		w.AllowDepth(allowed)
		for {
			h, err := r.Next()
			if err == io.EOF {
				err := w.Close()
				return out.Bytes(), err
			}
			if err == nil {
				err = w.WriteHeader(h)
			}
			if err == nil && h.Kind.IsFile() {
				_, err = io.Copy(w, r)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	if out, err := copyAll(depth); err != nil || !bytes.Equal(out, data) {
		t.Errorf("%d levels allowed: %v", depth, err)
	}
	if _, err := copyAll(depth - 1); err == nil {
		t.Errorf("an archive of %d levels passes a limit of %d", depth, depth-1)
	}
}
