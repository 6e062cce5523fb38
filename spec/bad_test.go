package spec

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("u", false, "rewrite the expected errors, and the reference in docs")

// TestBad holds the errors of wrong specs against those in testdata/bad. A file
// has the spec, a line "-- error --" and the error. It is called as the spec is,
// and .txt.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.txt")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			const mark = "-- error --\n"
			text, want, ok := bytes.Cut(content, []byte(mark))
			if !ok {
				t.Fatalf("%s has no line %q", file, mark)
			}
			_, err = Parse("spec"+filepath.Ext(name), text)
			var errs Errors
			if !errors.As(err, &errs) || len(errs) == 0 || len(errs) > MaxErrors {
				t.Fatalf("the error is %T, %v", err, err)
			}
			got := err.Error() + "\n"
			if *update {
				if err := os.WriteFile(file, []byte(string(text)+mark+got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
