package nixdb

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"thaw/image/dir"
	"thaw/internal/decompress"
	"thaw/nar"
	"thaw/narinfo"
	"thaw/rootfs"
)

// nixEnv makes the Nix of this machine forget its settings.
func nixEnv(t testing.TB) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("NIX_CONF_DIR", t.TempDir())
	t.Setenv("NIX_CONFIG", "build-users-group =\nsubstituters =\nexperimental-features = nix-command\n")
	t.Setenv("NIX_REMOTE", "")
}

// tempStore returns a new directory that can be removed with a store in it, by
// whoever is not root too.
func tempStore(t *testing.T) string {
	dir := t.TempDir()
	t.Cleanup(func() {
		filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				os.Chmod(p, 0o700)
			}
			return nil
		})
	})
	return dir
}

// unpack writes the objects of a store, from the directories that are their
// sources, and what the store puts beside them, into a new directory.
func unpack(t *testing.T, s *Store) string {
	t.Helper()
	root := tempStore(t)
	r, err := os.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	owners := dir.KeepOwners
	if os.Getuid() != 0 {
		owners = dir.IgnoreOwners
	}
	w, err := dir.NewWriter(r, dir.Options{Owners: owners})
	if err != nil {
		t.Fatal(err)
	}
	sink := rootfs.Check(w)
	for _, d := range []string{".", "nix", "nix/store"} {
		e := rootfs.Dir(d, 0o755)
		e.ModTime = time.Unix(1, 0)
		if err := sink.Add(e, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, info := range s.Infos {
		if err := unpackObject(sink, info); err != nil {
			t.Fatalf("%s: %v", info.StorePath, err)
		}
	}
	var tree rootfs.Tree
	if err := s.Put(&tree); err != nil {
		t.Fatal(err)
	}
	if err := tree.Send(sink); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return root
}

// unpackObject adds a store object to a sink.
func unpackObject(sink rootfs.Sink, info *narinfo.Info) error {
	return readObject(info, func(e rootfs.Entry, data io.Reader) error {
		object := "nix/store/" + info.StorePath.Base()
		if e.Path == "." {
			e.Path = object
		} else {
			e.Path = object + "/" + e.Path
		}
		return sink.Add(e, data)
	})
}

// fileOf returns the content of a store object that is one file.
func fileOf(t *testing.T, info *narinfo.Info) (content []byte) {
	t.Helper()
	err := readObject(info, func(e rootfs.Entry, data io.Reader) (err error) {
		content, err = io.ReadAll(data)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", info.StorePath, err)
	}
	return content
}

// readObject visits the entries of a store object.
func readObject(info *narinfo.Info, visit func(e rootfs.Entry, data io.Reader) error) error {
	f, err := os.Open(filepath.Join(info.Source, info.URL))
	if err != nil {
		return err
	}
	defer f.Close()
	plain, err := decompress.NewReader(info.Compression, f, info.NarSize)
	if err != nil {
		return err
	}
	defer plain.Close()
	r := nar.NewReader(plain)
	r.AllowDepth(1024)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		e := rootfs.Entry{Path: h.Path, Mode: h.Kind.Mode(), Size: h.Size, Target: h.Target, ModTime: time.Unix(1, 0)}
		var data io.Reader
		if h.Kind.IsFile() {
			data = r
		}
		if err := visit(e, data); err != nil {
			return err
		}
	}
}
