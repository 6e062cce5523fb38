package substituter

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	fault "thaw/internal/faultserver"
)

// What does not fit into memory after all goes to a file without a name.
func TestUnnamed(t *testing.T) {
	dir := t.TempDir()
	s := newSpool(filepath.Join(dir, "x"+partSuffix))
	defer s.close(drop)
	content := fault.Noise("spool", 3*inMemory)
	for p := content; len(p) > 0; p = p[min(len(p), inMemory/2):] {
		if err := s.add(p[:min(len(p), inMemory/2)]); err != nil {
			t.Fatal(err)
		}
	}
	s.end(nil)
	if got, err := io.ReadAll(s.reader()); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes of %d: %v", len(got), len(content), err)
	}
	if left := files(t, dir); !s.stored() || len(left) > 0 {
		t.Errorf("in a file: %v; there is %q", s.stored(), left)
	}
}

// Another process may take that file for a rest while it has its name.
func TestTakenForARest(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), ".*"+partSuffix)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 2 { // the second time it has none
		if err := unname(f); err != nil {
			t.Error(err)
		}
	}
	if err := os.Mkdir(f.Name(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.Name(), "in"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unname(f); err == nil {
		t.Error("what cannot be removed is no error")
	}
}
