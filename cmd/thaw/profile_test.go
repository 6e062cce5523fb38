package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// Profiles are written by a run that ends well and by one that does not.
func TestProfile(t *testing.T) {
	for args, code := range map[string]int{"version": exitOK, "closure": exitUsage} {
		dir := filepath.Join(t.TempDir(), "new")
		if got := run(t.Context(), []string{args, "--profile", dir}, io.Discard, io.Discard); got != code {
			t.Errorf("%s: exit code %d", args, got)
		}
		for _, name := range []string{cpuProfile, heapProfile} {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Error(err)
				continue
			}
			z, err := gzip.NewReader(bytes.NewReader(text))
			if err == nil {
				_, err = io.Copy(io.Discard, z)
			}
			if err != nil {
				t.Errorf("%s: %s: %v", args, name, err)
			}
		}
	}
	var out bytes.Buffer
	if got := run(t.Context(), []string{"version", "--profile", filepath.Join(os.Args[0], "x")}, io.Discard, &out); got != exitFailed || !bytes.Contains(out.Bytes(), []byte("not a directory")) {
		t.Errorf("exit code %d: %s", got, &out)
	}
}
