package overlay

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// write makes files of names and contents: a name that ends in a slash is a
// directory, one with " -> " a link, and one that ends in * is executable.
func write(t testing.TB, dir string, files ...string) {
	t.Helper()
	for _, f := range files {
		name, content, _ := strings.Cut(f, "=")
		link, target, isLink := strings.Cut(name, " -> ")
		path := filepath.Join(dir, strings.TrimSuffix(link, "*"))
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch {
		case err != nil:
		case isLink:
			err = os.Symlink(target, path)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		case strings.HasSuffix(name, "*"):
			err = os.WriteFile(path, []byte(content), 0o755)
		default:
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestTreeErrors(t *testing.T) {
	long := strings.Repeat("n", 255)
	for _, test := range []struct {
		name string
		make func(t *testing.T, dir string)
		spec string
		want string // after "dir/spec.yaml:4: rootfs.trees[0]: "
	}{
		{"named pipe", func(t *testing.T, dir string) { must(t, syscall.Mkfifo(dir+"/tree/a/pipe", 0o600)) }, "",
			"DIR/tree/a/pipe is a named pipe: a tree has files, directories and links"},
		{"socket", func(t *testing.T, dir string) {
			l, err := net.Listen("unix", dir+"/tree/a/socket")
			must(t, err)
			t.Cleanup(func() { l.Close() })
		}, "", "DIR/tree/a/socket is a socket: a tree has files, directories and links"},
		{"odd name", func(t *testing.T, dir string) { must(t, syscall.Mkfifo(dir+"/tree/a/\xff\n\x1b", 0o600)) }, "",
			`"DIR/tree/a/\xff\n\x1b" is a named pipe: a tree has files, directories and links`},
		{"not readable", func(t *testing.T, dir string) {
			if os.Geteuid() == 0 {
				t.Skip("root reads everything")
			}
			write(t, dir, "tree/secret=x")
			must(t, os.Chmod(dir+"/tree/secret", 0))
		}, "", "DIR/tree/secret: permission denied"},
		{"in the store", func(t *testing.T, dir string) { write(t, dir, "tree/nix/store/a=x") }, "",
			"/nix/store/a: what is in /nix/store comes from packages"},
		{"instead of the store", func(t *testing.T, dir string) { write(t, dir, "tree/nix -> /n") }, "",
			"/nix: it is a directory"},
		{"in the database", func(t *testing.T, dir string) { write(t, dir, "tree/nix/var/nix/db=x") }, "nix: { db: true }",
			"/nix/var/nix/db: rootfs.nix.db writes what is in /nix/var/nix"},
		{"instead of the database", func(t *testing.T, dir string) { write(t, dir, "tree/nix/var=x") }, "nix: { db: true }",
			"/nix/var: it is a directory"},
		{"as the closure's information", func(t *testing.T, dir string) { write(t, dir, "tree/registration=x") }, "nix: { closure-info: / }",
			"/registration: rootfs.nix.closure-info writes it"},
		{"long", func(t *testing.T, dir string) {
			root, err := os.OpenRoot(dir + "/tree")
			must(t, err)
			defer root.Close()
			path := ""
			for range 17 {
				path += long + "/"
				must(t, root.Mkdir(path[:len(path)-1], 0o755))
			}
		}, "", "/" + long[:40] + "… has more than 4095 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "tree/a/")
			test.make(t, dir)
			_, err := read(t, dir, "  trees:\n    - source: tree\n  "+test.spec)
			want := dir + "/spec.yaml:4: rootfs.trees[0]: " + strings.ReplaceAll(test.want, "DIR", dir)
			if err == nil || err.Error() != want {
				t.Errorf("the error is\n%v\nwant\n%s", err, want)
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTreeLimit(t *testing.T) {
	dir := t.TempDir()
	for i := range 10 {
		write(t, dir, fmt.Sprintf("tree/d/%d=x", i))
	}
	s := parse(t, dir+"/spec.yaml", "version: 1\nrootfs:\n  trees: [{ source: tree }]\n  files: [{ path: /f, content: x }]\n")
	for most, ok := range map[int]bool{5: false, 10: false, 11: false, 12: true} {
		b := newBuilder(s)
		b.most = most
		if _, err := b.build(); (err == nil) != ok {
			t.Errorf("with %d entries at most, the error is %v", most, err)
		}
	}
}

// TestTreeLinks checks that links are never followed.
func TestTreeLinks(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "secret/file=secret", "tree/file -> ../secret/file", "tree/dir -> ../secret", "tree/abs -> "+dir+"/secret", "tree/loop -> loop", "link -> tree")
	want := fmt.Sprintf("Lrwxrwxrwx 0:0 abs -> %s/secret\nLrwxrwxrwx 0:0 dir -> ../secret\nLrwxrwxrwx 0:0 file -> ../secret/file\nLrwxrwxrwx 0:0 loop -> loop\n", dir)
	for _, source := range []string{"tree", "link"} { // what the spec names may be a link
		o := mustRead(t, dir, "  trees: [{ source: "+source+" }]\n")
		if got := list(t, &o.Tree); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}

// TestMachine checks that of this machine only names, contents and executable bits
// count.
func TestMachine(t *testing.T) {
	const text = "  trees: [{ source: tree }]\n  files: [{ path: /f, source: file }]\n"
	files := []string{"tree/b/exec*=x", "tree/b/plain=x", "tree/a -> b", "tree/empty/", "file=content"}
	one, other := t.TempDir(), t.TempDir()
	write(t, one, files...)
	for i := range files { // made in another order
		write(t, other, files[len(files)-1-i])
	}
	for name, mode := range map[string]fs.FileMode{"tree/b/exec": 0o4700, "tree/b/plain": 0o666, "tree/b": 0o700, "file": 0o755} {
		must(t, os.Chmod(filepath.Join(other, name), mode))
		must(t, os.Chtimes(filepath.Join(other, name), time.Unix(1e9, 0), time.Unix(1e9, 0)))
	}
	defer syscall.Umask(syscall.Umask(0o077))
	a, b := mustRead(t, one, text), mustRead(t, other, text)
	if a.Digest != b.Digest {
		t.Errorf("another digest of\n%s\nand\n%s", list(t, &a.Tree), list(t, &b.Tree))
	}
	if a, b := list(t, &a.Tree), list(t, &b.Tree); a != b {
		t.Errorf("%s\nand\n%s", a, b)
	}
	for e := range b.Tree.All() {
		if e.ModTime.Unix() != 1 {
			t.Errorf("%s has the time %v", e.Path, e.ModTime)
		}
	}
	for change, undo := range map[string]string{"tree/b/plain=y": "tree/b/plain=x", "tree/c=x": "", "file=Content": "file=content"} {
		write(t, other, change)
		if mustRead(t, other, text).Digest == a.Digest {
			t.Errorf("%s does not change the digest", change)
		}
		if name, _, _ := strings.Cut(change, "="); undo == "" {
			must(t, os.Remove(filepath.Join(other, name)))
		} else {
			write(t, other, undo)
		}
		if mustRead(t, other, text).Digest != a.Digest {
			t.Errorf("the digest does not come back from %s", change)
		}
	}
	must(t, os.Chmod(other+"/tree/b/plain", 0o744))
	if mustRead(t, other, text).Digest == a.Digest {
		t.Error("the executable bit does not change the digest")
	}
}

// TestChanged changes files between reading and sending.
func TestChanged(t *testing.T) {
	const changed = "changed during the build: build again, and leave it alone meanwhile"
	for _, test := range []struct {
		name   string
		change func(t *testing.T, path string)
		want   string // after the file's name
	}{
		{"as it was", func(t *testing.T, path string) { write(t, path, "=content") }, ""},
		{"other", func(t *testing.T, path string) { write(t, path, "=Content") }, " " + changed},
		{"shorter", func(t *testing.T, path string) { write(t, path, "=conten") }, " " + changed},
		{"empty", func(t *testing.T, path string) { write(t, path, "=") }, " " + changed},
		{"longer", func(t *testing.T, path string) { write(t, path, "=contents") }, " " + changed},
		{"gone", func(t *testing.T, path string) {}, ": no such file or directory"},
		{"a directory", func(t *testing.T, path string) { write(t, path, "/") }, " is a directory, and a file is needed"},
		{"a named pipe", func(t *testing.T, path string) { must(t, syscall.Mkfifo(path, 0o600)) }, " is a named pipe, and a file is needed"},
		{"a link to the same elsewhere", func(t *testing.T, path string) {
			write(t, filepath.Dir(filepath.Dir(path)), "elsewhere=content")
			must(t, os.Symlink("../elsewhere", path))
		}, "TREE: path escapes from parent"},
	} {
		for _, kind := range []string{"files", "trees"} {
			t.Run(test.name+" of "+kind, func(t *testing.T) {
				dir := t.TempDir()
				write(t, dir, "tree/file=content")
				item := "{ source: tree }"
				if kind == "files" {
					item = "{ source: tree/file, path: /file }"
				}
				o := mustRead(t, dir, fmt.Sprintf("  %s: [ %s ]\n", kind, item))
				file := filepath.Join(dir, "tree/file")
				must(t, os.Remove(file))
				test.change(t, file)
				err := send(&o.Tree, &listing{})
				want, onlyTree := strings.CutPrefix(test.want, "TREE")
				if want == "" || onlyTree && kind == "files" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				place := fmt.Sprintf("%s/spec.yaml:3: rootfs.%s[0]: %s", dir, kind, file)
				if err == nil || !strings.HasSuffix(err.Error(), place+want) {
					t.Errorf("the error is\n%v\nwant\n%s", err, place+want)
				}
			})
		}
	}
}
