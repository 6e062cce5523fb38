package localstore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/closure"
	"thaw/image/dir"
	"thaw/internal/testbed"
	"thaw/narinfo"
	"thaw/storepath"
	"thaw/substituter"
)

// tiny returns a small cache and what it has.
func tiny(t *testing.T) (*substituter.Disk, []*narinfo.Info) {
	t.Helper()
	key, err := narinfo.ParseKey(strings.TrimSpace(read(t, filepath.Join(testbed.Root(t), "testdata/caches/tiny/test-cache-1.pub"))))
	if err != nil {
		t.Fatal(err)
	}
	r := &substituter.Remote{From: substituter.File{Dir: filepath.Join(testbed.Root(t), "testdata/caches/tiny/cache-zstd")}, Keys: narinfo.Keys{key}}
	s, err := substituter.OpenDisk(t.TempDir(), &substituter.List{Caches: []*substituter.Remote{r}}, r.Keys, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	root, err := storepath.ParseBase("qfhwr7cblmbjq9kbrhna3hsdz3jppn6j-system-toplevel")
	if err != nil {
		t.Fatal(err)
	}
	infos, err := closure.Walk(t.Context(), 4, []storepath.Path{root}, s.Info)
	if err != nil || len(infos) != 11 {
		t.Fatalf("%d paths, %v", len(infos), err)
	}
	return s, infos
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func owners() dir.Owners {
	if os.Geteuid() == 0 {
		return dir.KeepOwners
	}
	return dir.IgnoreOwners
}

func open(t *testing.T, root string) *Store {
	t.Helper()
	s, err := Open(t.Context(), root, owners(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestAdd(t *testing.T) {
	from, infos := tiny(t)
	root := t.TempDir()
	s := open(t, root)
	for _, want := range []Outcome{Unpacked, Kept} {
		for _, i := range infos {
			if got, err := s.Add(t.Context(), from, i, Refuse); err != nil || got != want {
				t.Errorf("%s: outcome %d, %v", i.StorePath.Name(), got, err)
			}
		}
	}
	checkNames(t, root, infos)
}

// checkNames holds that the store has the objects and nothing else.
func checkNames(t *testing.T, root string, infos []*narinfo.Info) {
	t.Helper()
	list, err := os.ReadDir(root + storepath.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != len(infos) {
		t.Errorf("%d names for %d objects", len(list), len(infos))
	}
	for i := range min(len(list), len(infos)) {
		if list[i].Name() != infos[i].StorePath.Base() {
			t.Errorf("%s is in the store", list[i].Name())
		}
	}
}

// Each way in which an object can be wrong is damage: refused, or repaired.
func TestDamage(t *testing.T) {
	from, infos := tiny(t)
	for name, damage := range map[string]func(path string) error{
		"a file too many": func(p string) error { return os.WriteFile(p+"/more", nil, 0o444) },
		"a file too few":  func(p string) error { return os.RemoveAll(p + "/bin") },
		"a mode": func(p string) error {
			return filepath.Walk(p, func(path string, st os.FileInfo, err error) error {
				if err == nil && st.Mode().IsRegular() {
					err = os.Chmod(path, st.Mode()^0o111)
				}
				return err
			})
		},
		"a directory too many": func(p string) error { return os.Mkdir(p+"/x", 0o000) },
		"not there":            func(p string) error { return errors.Join(os.RemoveAll(p), os.WriteFile(p, nil, 0o444)) },
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			s := open(t, root)
			var tool *narinfo.Info
			for _, i := range infos {
				if _, err := s.Add(t.Context(), from, i, Refuse); err != nil {
					t.Fatal(err)
				}
				if i.StorePath.Name() == "tool-0.9" {
					tool = i
				}
			}
			path := root + tool.StorePath.String()
			filepath.Walk(path, func(p string, st os.FileInfo, err error) error {
				if err == nil && st.IsDir() {
					err = os.Chmod(p, 0o755)
				}
				return err
			})
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			var damaged *DamagedError
			if _, err := s.Add(t.Context(), from, tool, Refuse); !errors.As(err, &damaged) || damaged.Path != path {
				t.Errorf("refuse: %v", err)
			}
			if got, err := s.Add(t.Context(), from, tool, Repair); err != nil || got != Repaired {
				t.Errorf("repair: outcome %d, %v", got, err)
			}
			if got, err := s.Add(t.Context(), from, tool, Refuse); err != nil || got != Kept {
				t.Errorf("afterwards: outcome %d, %v", got, err)
			}
			checkNames(t, root, infos)
		})
	}
}

// What a killed process left is removed; a living one is waited for.
func TestOrphansAndLock(t *testing.T) {
	from, infos := tiny(t)
	root := t.TempDir()
	first := open(t, root)
	for _, i := range infos {
		if _, err := first.Add(t.Context(), from, i, Refuse); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []string{".thaw-x.part", ".thaw-y.old"} {
		if err := os.MkdirAll(root+storepath.Dir+"/"+n+"/a\xff/b", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(root+storepath.Dir+"/"+n+"/a\xff", 0o555); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, root, owners(), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the store opens twice: %v", err)
	}
	first.Close()
	open(t, root)
	checkNames(t, root, infos)
}

// A store that a link moves out of the root is refused.
func TestLinkOut(t *testing.T) {
	for _, link := range []string{"nix", "nix/store"} {
		root, elsewhere := t.TempDir(), t.TempDir()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, link)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(elsewhere, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(t.Context(), root, owners(), nil); err == nil {
			s.Close()
			t.Errorf("%s may be a link out of the root", link)
		}
		if list, err := os.ReadDir(elsewhere); err != nil || len(list) > 0 {
			t.Errorf("%s was followed: %v, %v", link, list, err)
		}
	}
}

// A NAR that goes wrong leaves nothing.
func TestBadNAR(t *testing.T) {
	from, infos := tiny(t)
	root := t.TempDir()
	s := open(t, root)
	for _, i := range infos {
		wrong := *i
		wrong.NarHash = infos[0].NarHash
		if i == infos[0] {
			wrong.NarHash = infos[1].NarHash
		}
		if _, err := s.Add(t.Context(), from, &wrong, Refuse); substituter.KindOf(err) != substituter.Integrity {
			t.Errorf("%s with a wrong hash: %v", i.StorePath.Name(), err)
		}
	}
	checkNames(t, root, nil)
}
