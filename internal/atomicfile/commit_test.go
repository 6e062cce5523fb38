package atomicfile

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// files returns what the files in a directory hold.
func files(t *testing.T, dir string) map[string]string {
	found := map[string]string{}
	for _, name := range names(t, dir) {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			text, err = os.ReadFile(filepath.Join(dir, name, "in"))
		}
		if err != nil {
			t.Fatal(err)
		}
		found[name] = string(text)
	}
	return found
}

// Of several parts all come, or none; what they replace is gone, or as it was.
func TestCommitAll(t *testing.T) {
	no := errors.New("no")
	for _, refused := range []error{nil, no} {
		dir := t.TempDir()
		write := func(name, text string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("there", "old")
		os.Mkdir(filepath.Join(dir, "dir"), 0o700)
		write("dir/in", "old")
		os.Mkdir(filepath.Join(dir, "last"), 0o700)
		write("last/in", "old")
		before := files(t, dir)
		var parts []Part
		for _, name := range []string{"new", "there"} {
			f, err := Create(filepath.Join(dir, name), 0o600)
			if err != nil {
				t.Fatal(err)
			}
			f.WriteString("new")
			parts = append(parts, f)
		}
		for _, name := range []string{"dir", "fresh", "last"} {
			d, err := CreateDir(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(d.Path, "in"), []byte("new"), 0o600); err != nil {
				t.Fatal(err)
			}
			d.Replace = func(path string) error {
				if filepath.Base(path) == "last" {
					return refused
				}
				return nil
			}
			parts = append(parts, d)
		}
		if err := CommitAll(parts...); !errors.Is(err, refused) {
			t.Errorf("%v instead of %v", err, refused)
		}
		for _, p := range parts {
			p.Abort() // does nothing any more
		}
		want := before
		if refused == nil {
			want = map[string]string{"new": "new", "there": "new", "dir": "new", "fresh": "new", "last": "new"}
		}
		if got := files(t, dir); !maps.Equal(got, want) {
			t.Errorf("refused %v: %q instead of %q", refused, got, want)
		}
	}
}

// A file never takes the place of a directory, nor a directory that of a file.
func TestKinds(t *testing.T) {
	dir := t.TempDir()
	file, folder := filepath.Join(dir, "file"), filepath.Join(dir, "folder")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(folder+"/x", 0o700); err != nil {
		t.Fatal(err)
	}
	var others []Part
	for range 2 { // alone, and beside another one
		f, err := Create(folder, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := CommitAll(append(others, f)...); err == nil {
			t.Error("a file replaced a directory")
		}
		d, err := CreateDir(file)
		if err != nil {
			t.Fatal(err)
		}
		d.Replace = func(string) error { return nil }
		if err := CommitAll(d); err == nil {
			t.Error("a directory replaced a file")
		}
		if got := names(t, dir); len(got) != 2 {
			t.Fatalf("%q", got)
		}
		other, err := Create(filepath.Join(dir, "other"), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		others = []Part{other} // which the second round ends
	}
}

// Where a file system exchanges nothing, what is there makes way, and comes back.
func TestMakeWay(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(filepath.Join(dir, "there"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	f.WriteString("new")
	if err := os.WriteFile(f.target, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	old, err := makeWay(f.place())
	if err != nil {
		t.Fatal(err)
	}
	got := files(t, dir)
	if got["there"] != "new" || got[filepath.Base(old)] != "old" || len(got) != 2 {
		t.Errorf("%q", got)
	}
	if err := takeBack([]Part{f}, []string{old}); err != nil {
		t.Error(err)
	}
	got = files(t, dir)
	if got["there"] != "old" || got[filepath.Base(f.Name())] != "new" || len(got) != 2 {
		t.Errorf("%q", got)
	}
	if _, err := makeWay(filepath.Join(dir, "absent"), f.target); err == nil || files(t, dir)["there"] != "old" {
		t.Errorf("%v: %q", err, files(t, dir))
	}
}
