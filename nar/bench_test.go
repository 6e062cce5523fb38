package nar_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"thaw/nar"
)

const (
	bigSize   = 256 << 20
	manyFiles = 20_000
)

func many() (data []byte, headers []nar.Header) {
	headers = []nar.Header{{Path: ".", Kind: nar.Directory}}
	for i := range manyFiles {
		if i%100 == 0 {
			headers = append(headers, nar.Header{Path: fmt.Sprintf("dir%04d", i/100), Kind: nar.Directory})
		}
		headers = append(headers, nar.Header{Path: fmt.Sprintf("dir%04d/file%06d.txt", i/100, i), Size: 100})
	}
	var out bytes.Buffer
	if err := writeMany(nar.NewWriter(&out), headers); err != nil {
		panic(err)
	}
	return out.Bytes(), headers
}

func writeMany(w *nar.Writer, headers []nar.Header) error {
	var contents [100]byte
	for i := range headers {
		if err := w.WriteHeader(&headers[i]); err != nil {
			return err
		}
		if _, err := w.Write(contents[:headers[i].Size]); err != nil {
			return err
		}
	}
	return w.Close()
}

func BenchmarkReadBigFile(b *testing.B) {
	data := []byte(archive(file(string(make([]byte, bigSize)))))
	for _, c := range []struct {
		name string
		read func(*nar.Reader) error
	}{
		{"Read1MiB", func(r *nar.Reader) error {
			_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, 1<<20))
			return err
		}},
		{"WriteTo", func(r *nar.Reader) error {
			_, err := r.WriteTo(struct{ io.Writer }{io.Discard})
			return err
		}},
		{"Skip", func(*nar.Reader) error { return nil }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(bigSize)
			in := bytes.NewReader(nil)
			r := nar.NewReader(in)
			for b.Loop() {
				in.Reset(data)
				r.Reset(in)
				_, err := r.Next()
				if err == nil {
					err = c.read(r)
				}
				if err == nil {
					_, err = r.Next()
				}
				if err != io.EOF {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReadManyFiles(b *testing.B) {
	data, headers := many()
	p := make([]byte, 100)
	in := bytes.NewReader(nil)
	r := nar.NewReader(in)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		in.Reset(data)
		r.Reset(in)
		for {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err == nil {
				_, err = io.ReadFull(r, p[:h.Size])
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	perEntry(b, len(headers))
}

// The figures show what the Writer adds to a write: nothing is stored.
func BenchmarkWriteBigFile(b *testing.B) {
	p := make([]byte, 1<<20)
	for _, piece := range []int{32 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", piece>>10), func(b *testing.B) {
			b.SetBytes(bigSize)
			for b.Loop() {
				w := nar.NewWriter(io.Discard)
				err := w.WriteHeader(&nar.Header{Path: ".", Size: bigSize})
				for n := 0; n < bigSize && err == nil; n += piece {
					_, err = w.Write(p[:piece])
				}
				if err == nil {
					err = w.Close()
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWriteManyFiles(b *testing.B) {
	data, headers := many()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := writeMany(nar.NewWriter(io.Discard), headers); err != nil {
			b.Fatal(err)
		}
	}
	perEntry(b, len(headers))
}

func perEntry(b *testing.B, entries int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*entries), "ns/entry")
}
