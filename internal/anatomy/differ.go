package anatomy

import (
	"bytes"
	"fmt"
	"io"
)

// Differ returns the offset of the first byte in which two images differ, and whether
// there is one. Where one image is the beginning of the other, that is its length.
func Differ(a, b io.ReaderAt, sizeA, sizeB int64) (off int64, ok bool, err error) {
	const block = 1 << 20
	x, y := make([]byte, block), make([]byte, block)
	end := min(sizeA, sizeB)
	for off < end {
		n := int(min(block, end-off))
		if err := readAt(a, x[:n], off); err != nil {
			return 0, false, fmt.Errorf("first image: %w", err)
		}
		if err := readAt(b, y[:n], off); err != nil {
			return 0, false, fmt.Errorf("second image: %w", err)
		}
		if !bytes.Equal(x[:n], y[:n]) {
			i := 0
			for x[i] == y[i] {
				i++
			}
			return off + int64(i), true, nil
		}
		off += int64(n)
	}
	return off, sizeA != sizeB, nil
}

// readAt fills p, or says where what is there ends.
func readAt(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || err == io.EOF:
		return fmt.Errorf("it ends at byte %d: %w", off+int64(n), io.ErrUnexpectedEOF)
	}
	return err
}
