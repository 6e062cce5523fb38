package vdi_test

import (
	"bytes"
	"io"
	"os"
	"testing"

	"thaw/image/raw/rawtest"
	"thaw/image/vdi"
)

func TestConformance(t *testing.T) {
	rawtest.Run(t, rawtest.Format{
		Name: "vdi", Block: 1 << 20, Check: true, MaxSize: vdi.MaxSize,
		Digest: "980c2f9137a2bc45955e2058b743db5e6afb123dbbac95bb208daf7fbc64c3ee",
		Write: func(w *os.File, r io.ReaderAt, size int64) error {
			return vdi.Write(w, r, size, vdi.Options{UUID: [16]byte{1, 15: 2}, Modified: [16]byte{3, 15: 4}})
		},
	})
}

func TestOptions(t *testing.T) {
	for _, o := range []vdi.Options{{}, {UUID: [16]byte{1}}, {Modified: [16]byte{1}}} {
		err := vdi.Write(nil, bytes.NewReader(make([]byte, 512)), 512, o)
		if err == nil || err.Error() != "vdi: a UUID is missing" {
			t.Errorf("%v: %v", o, err)
		}
	}
}
