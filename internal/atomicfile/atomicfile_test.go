package atomicfile

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func names(t *testing.T, dir string) (out []string) {
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

func TestCommitAndAbort(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	os.WriteFile(path, []byte("old"), 0o644)
	for _, keep := range []bool{false, true} {
		f, err := Create(path, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString("new")
		if b, _ := os.ReadFile(path); string(b) != "old" {
			t.Fatalf("before the commit: %q", b)
		}
		want := "old"
		if keep {
			want = "new"
			if err := f.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		f.Abort()
		if b, _ := os.ReadFile(path); string(b) != want || len(names(t, dir)) != 1 {
			t.Errorf("commit %v: %q, files %q", keep, b, names(t, dir))
		}
	}
}

// What a dead process left goes; what a living one holds, and what only looks
// alike, stays.
func TestOrphans(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	living, err := Create(path, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(dir, ".out.0123abcd.part")
	others := []string{".outer.0123abcd.part", ".out.notes.part", ".out.0123abcd", "out.0123abcd.part"}
	for _, n := range append(others, filepath.Base(dead)) {
		os.WriteFile(filepath.Join(dir, n), nil, 0o644)
	}
	f, err := Create(path, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	f.Abort()
	if _, err := os.Stat(dead); err == nil {
		t.Error("the orphan is still there")
	}
	if got := len(names(t, dir)); got != len(others)+1 {
		t.Errorf("%d files left: %q", got, names(t, dir))
	}
	if err := living.Commit(); err != nil {
		t.Error(err)
	}
}

func TestDir(t *testing.T) {
	parent := t.TempDir()
	path := filepath.Join(parent, "out")
	if err := os.Mkdir(path, 0o755); err != nil { // empty: it may be replaced
		t.Fatal(err)
	}
	dead := filepath.Join(parent, ".out.0123abcd.part")
	if err := os.MkdirAll(dead+"/a/b", 0o755); err != nil {
		t.Fatal(err)
	}
	os.Chmod(dead+"/a", 0o555)
	living, err := CreateDir(path + "/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dead); err == nil {
		t.Error("the orphan is still there")
	}
	other, err := CreateDir(path)
	if err != nil {
		t.Fatal(err)
	}
	os.Mkdir(other.Path+"/x", 0o555)
	other.Abort()
	if err := os.WriteFile(living.Path+"/file", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := living.Commit(); err != nil {
		t.Fatal(err)
	}
	living.Abort()
	if got := names(t, path); len(got) != 1 || len(names(t, parent)) != 1 {
		t.Errorf("%q in %q", got, names(t, parent))
	}
	full, err := CreateDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := full.Commit(); err == nil || len(names(t, parent)) != 1 {
		t.Errorf("a directory that is not empty is replaced: %v", err)
	}
}

// What another process takes for an orphan before it is locked, and removes then, is
// given up for another.
func TestTakenForAnOrphan(t *testing.T) {
	create := map[string]func(string) (Part, error){
		"file":      func(path string) (Part, error) { return Create(path, 0o600) },
		"directory": func(path string) (Part, error) { return CreateDir(path) },
	}
	for name, create := range create {
		for _, late := range []bool{false, true} { // whether it is removed after the attempt to lock it
			dir := t.TempDir()
			var taken *os.File
			flock = func(fd, how int) error {
				if taken != nil {
					return unix.Flock(fd, how)
				}
				var err error
				if taken, err = os.Open(filepath.Join(dir, names(t, dir)[0])); err != nil {
					t.Fatal(err)
				}
				if err := unix.Flock(int(taken.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
					t.Fatal(err)
				}
				if !late {
					os.Remove(taken.Name())
					taken.Close()
				}
				return unix.Flock(fd, how)
			}
			t.Cleanup(func() { flock = unix.Flock })
			p, err := create(filepath.Join(dir, "out"))
			if err != nil {
				t.Fatal(err)
			}
			if late {
				os.Remove(taken.Name())
				taken.Close()
			}
			if temp, _ := p.place(); temp == taken.Name() {
				t.Errorf("%s, late %v: it goes on with what is not its own", name, late)
			}
			if err := CommitAll(p); err != nil {
				t.Errorf("%s, late %v: %v", name, late, err)
			}
			if got := names(t, dir); len(got) != 1 || got[0] != "out" {
				t.Errorf("%s, late %v: there is %q", name, late, got)
			}
		}
	}
}
