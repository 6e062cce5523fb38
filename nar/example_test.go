package nar_test

import (
	"bytes"
	"fmt"
	"io"
	"log"

	"thaw/nar"
)

func Example() {
	var archive bytes.Buffer
	w := nar.NewWriter(&archive)
	for _, e := range []struct {
		nar.Header
		contents string
	}{
		{nar.Header{Path: ".", Kind: nar.Directory}, ""},
		{nar.Header{Path: "bin", Kind: nar.Directory}, ""},
		{nar.Header{Path: "bin/hello", Kind: nar.Executable, Size: 20}, "#!/bin/sh\necho hello"},
		{nar.Header{Path: "hi", Kind: nar.Symlink, Target: "bin/hello"}, ""},
	} {
		if err := w.WriteHeader(&e.Header); err != nil {
			log.Fatal(err)
		}
		if _, err := io.WriteString(w, e.contents); err != nil {
			log.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}

	r := nar.NewReader(&archive)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break // the archive is whole, and nothing follows it
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%v %q %q\n", h.Kind.Mode(), h.Path, h.Target)
		if h.Kind.IsFile() {
			contents, err := io.ReadAll(r)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Printf("%q\n", contents)
		}
	}
	// Output:
	// dr-xr-xr-x "." ""
	// dr-xr-xr-x "bin" ""
	// -r-xr-xr-x "bin/hello" ""
	// "#!/bin/sh\necho hello"
	// Lrwxrwxrwx "hi" "bin/hello"
}
