package xz_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"thaw/xz"
)

// A body of known size, whose own hash is verified elsewhere, is decoded on
// two cores.
func ExampleReader() {
	body, err := os.Open("testdata/blocks-sized.xz")
	if err != nil {
		log.Fatal(err)
	}
	defer body.Close()
	z := xz.NewReader(body, xz.Config{MaxSize: 6000, SkipCheck: true, Workers: 2})
	defer z.Close()
	n, err := io.Copy(io.Discard, z)
	fmt.Println(n, err)
	// Output: 6000 <nil>
}

// One Reader decodes many streams with the same memory.
func ExampleReader_Reset() {
	var z xz.Reader
	for _, name := range []string{"crc32.xz", "empty.xz", "content"} {
		in, err := os.ReadFile("testdata/" + name)
		if err != nil {
			log.Fatal(err)
		}
		z.Reset(bytes.NewReader(in), xz.Config{})
		n, err := z.WriteTo(io.Discard)
		var format *xz.FormatError
		fmt.Println(name, n, errors.As(err, &format))
	}
	// Output:
	// crc32.xz 6000 false
	// empty.xz 0 false
	// content 0 true
}
