package vhdx_test

import (
	"bytes"
	"io"
	"os"
	"testing"

	"thaw/image/raw"
	"thaw/image/raw/rawtest"
	"thaw/image/vhdx"
)

func TestConformance(t *testing.T) {
	o := vhdx.Options{UUID: [16]byte{1, 15: 2}, FileWrite: [16]byte{3, 15: 4}, DataWrite: [16]byte{5, 15: 6}}
	rawtest.Run(t, rawtest.Format{
		Name: "vhdx", Block: 1 << 20, Check: true, MaxSize: vhdx.MaxSize, Slow: true,
		Digest: "7801ac9849fa7e3ed6591b6e63e15af97ad15506d6981058dd54836c3a2e0140",
		Write: func(w *os.File, r io.ReaderAt, size int64) error {
			return vhdx.Write(w, r, size, o)
		},
		NewWriter: func(w io.WriterAt, _ int64) (*raw.Writer, error) { return vhdx.NewWriter(w, o) },
	})
}

func TestOptions(t *testing.T) {
	id := [16]byte{1}
	for _, o := range []vhdx.Options{{}, {UUID: id, FileWrite: id}, {UUID: id, DataWrite: id}, {FileWrite: id, DataWrite: id}} {
		err := vhdx.Write(nil, bytes.NewReader(make([]byte, 512)), 512, o)
		if err == nil || err.Error() != "vhdx: a UUID is missing" {
			t.Errorf("%v: %v", o, err)
		}
	}
}
