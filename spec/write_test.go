package spec

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// What is written as JSON is read as the same spec, and written the same again.
func TestJSON(t *testing.T) {
	files, err := filepath.Glob("testdata/good/*.[yj]*")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string][]byte{"odd.yaml": []byte("version: 1\npackages: []\nrootfs: { files: [ { path: \"/etc/ä\\\"<&>\", content: \"a\\tb\\n\\u0001é\" } ] }\nboot: {}\n")}
	for _, f := range files {
		if texts[f], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range texts {
		s, err := Parse(name, text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := Parse(filepath.Join(filepath.Dir(name), "again.json"), s.JSON())
		if err != nil {
			t.Errorf("%s: %v in\n%s", name, err, s.JSON())
			continue
		}
		if again.Digest() != s.Digest() || !bytes.Equal(again.JSON(), s.JSON()) || !bytes.Equal(again.Explain(), s.Explain()) {
			t.Errorf("%s: another spec:\n%s", name, again.JSON())
		}
	}
}
