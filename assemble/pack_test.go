package assemble

import (
	"bytes"
	"strings"
	"testing"

	"thaw/nar"
)

// pack makes a NAR of pairs of a path and a content: "d" is a directory,
// "->TARGET" a link, "*TEXT" an executable, anything else a file.
func pack(t *testing.T, pairs ...string) []byte {
	t.Helper()
	return packTo(t, 0, pairs)
}

// packDeep is pack without the limit of depth.
func packDeep(t *testing.T, pairs ...string) []byte {
	t.Helper()
	return packTo(t, 1<<20, pairs)
}

func packTo(t *testing.T, depth int, pairs []string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	w.AllowDepth(depth)
	for i := 0; i < len(pairs); i += 2 {
		h, content := nar.Header{Path: strings.TrimPrefix(pairs[i], "./")}, pairs[i+1]
		if target, ok := strings.CutPrefix(content, "->"); ok {
			h.Kind, h.Target, content = nar.Symlink, target, ""
		} else if content == "d" {
			h.Kind, content = nar.Directory, ""
		} else if run, ok := strings.CutPrefix(content, "*"); ok {
			h.Kind, content = nar.Executable, run
		}
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); content != "" && err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
