package vfat_test

import (
	"bytes"
	"fmt"
	"testing"

	"thaw/image/vfat"
)

func BenchmarkWriter(b *testing.B) {
	data := make([]byte, 40_000)
	data[0] = 1
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	w, err := vfat.NewWriter(nowhere{}, vfat.Options{Serial: 1, Size: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	if err := w.Add(dir(".").Entry, nil); err != nil {
		b.Fatal(err)
	}
	r := bytes.NewReader(data)
	for i := 0; b.Loop(); i++ {
		if i%1000 == 0 {
			if err := w.Add(dir(fmt.Sprintf("dir%d", i/1000)).Entry, nil); err != nil {
				b.Fatal(err)
			}
		}
		r.Reset(data)
		if err := w.Add(file(fmt.Sprintf("dir%d/some file%d", i/1000, i), int64(len(data))).Entry, r); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

type nowhere struct{}

func (nowhere) WriteAt(p []byte, off int64) (int, error) { return len(p), nil }
