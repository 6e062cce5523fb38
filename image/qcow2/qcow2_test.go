package qcow2_test

import (
	"io"
	"os"
	"testing"

	"thaw/image/qcow2"
	"thaw/image/raw"
	"thaw/image/raw/rawtest"
)

func TestConformance(t *testing.T) {
	for c, digest := range map[qcow2.Compression]string{
		qcow2.None: "259a3ddc290e2bc916c4059c9e969d34615bb085cae41eafae55eaec6f8d83bf",
		qcow2.Zlib: "9f93c0666f9a9b9853b741927e7f9e174ad38a0dc8f93f1a8515c990b6855c30",
		qcow2.Zstd: "738589a3b2a75230fc03ccfea5eeafd13d3d4d11f3a772629b7df4adf2276b00",
	} {
		var stream func(w io.WriterAt, _ int64) (*raw.Writer, error)
		if c == qcow2.None {
			stream = func(w io.WriterAt, _ int64) (*raw.Writer, error) { return qcow2.NewWriter(w, qcow2.Options{}) }
		} else if _, err := qcow2.NewWriter(nil, qcow2.Options{Compression: c}); err == nil {
			t.Errorf("a stream with compression %v: no error", c)
		}
		t.Run(c.String(), func(t *testing.T) {
			rawtest.Run(t, rawtest.Format{
				Name: "qcow2", Block: 64 << 10, Check: true, Digest: digest,
				Write: func(w *os.File, r io.ReaderAt, size int64) error {
					return qcow2.Write(w, r, size, qcow2.Options{Compression: c})
				},
				NewWriter: stream,
			})
		})
	}
}
