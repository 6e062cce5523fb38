package initrd

import (
	"bytes"
	"fmt"
	"io"
)

// MaxMicrocode is how many bytes an archive of microcode may have.
const MaxMicrocode = 64 << 20

// Microcode copies an uncompressed cpio archive to w, as which processors take
// microcode before anything else: it must come first in an initrd. What follows
// it begins at a multiple of 512.
func Microcode(w io.Writer, archive io.Reader) error {
	var head [6]byte
	got, err := io.ReadFull(archive, head[:])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	if string(head[:]) != "070701" {
		return fmt.Errorf("microcode: not an uncompressed cpio archive (newc), which begins with 070701: %q", head[:got])
	}
	n, err := io.Copy(w, io.MultiReader(bytes.NewReader(head[:]), io.LimitReader(archive, MaxMicrocode)))
	if err != nil {
		return err
	}
	if n > MaxMicrocode {
		return fmt.Errorf("microcode: more than %d MiB", MaxMicrocode>>20)
	}
	_, err = w.Write(make([]byte, -n&511))
	return err
}
