package main

import (
	"bufio"
	"fmt"
	"io"
	"os"

	ulikunitz "github.com/ulikunitz/xz"

	"thaw/xz"
)

// decode decodes a file of size bytes of content to nowhere.
func decode(mode, name string, workers int, size int64) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var n int64
	switch mode {
	case "xz", "xz-check":
		z := xz.NewReader(f, xz.Config{MaxSize: size, Workers: workers, SkipCheck: mode == "xz"})
		defer z.Close()
		n, err = z.WriteTo(io.Discard)
	case "ulikunitz":
		var z *ulikunitz.Reader
		if z, err = ulikunitz.NewReader(bufio.NewReaderSize(f, 1<<16)); err == nil {
			n, err = io.Copy(io.Discard, z)
		}
	default:
		return fmt.Errorf("unknown mode %q", mode)
	}
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes, want %d", n, size)
	}
	return err
}
