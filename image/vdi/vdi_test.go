package vdi_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"thaw/image/raw"
	"thaw/image/raw/rawtest"
	"thaw/image/vdi"
	"thaw/internal/testbed"
)

var options = vdi.Options{UUID: [16]byte{1, 15: 2}, Modified: [16]byte{3, 15: 4}}

func TestConformance(t *testing.T) {
	rawtest.Run(t, rawtest.Format{
		Name: "vdi", Block: 1 << 20, Check: true, MaxSize: vdi.MaxSize,
		Digest: "980c2f9137a2bc45955e2058b743db5e6afb123dbbac95bb208daf7fbc64c3ee",
		Write: func(w *os.File, r io.ReaderAt, size int64) error {
			return vdi.Write(w, r, size, options)
		},
		NewWriter: func(w io.WriterAt, limit int64) (*raw.Writer, error) {
			o := options
			o.Limit = limit
			return vdi.NewWriter(w, o)
		},
	})
}

// The table of the default limit is as large as it can be within a MiB.
func TestLimit(t *testing.T) {
	for limit, want := range map[int64]int64{0: 1 << 20, vdi.DefaultLimit: 1 << 20, vdi.DefaultLimit + 1: 2 << 20, 4 << 40: 17 << 20} {
		out, err := os.Create(filepath.Join(t.TempDir(), "image"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		o := options
		o.Limit = limit
		w, err := vdi.NewWriter(out, o)
		if err != nil {
			t.Fatal(err)
		}
		size := max(limit, vdi.DefaultLimit)
		if _, err := w.WriteAt([]byte{1}, size-1); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(size); err != nil || w.Size() != want+1<<20 {
			t.Errorf("limit %d: a file of %d bytes, %v", limit, w.Size(), err)
		}
		testbed.Run(t, "qemu-img", "check", "-f", "vdi", out.Name())
	}
	for _, limit := range []int64{-1, vdi.MaxSize + 1} {
		o := options
		o.Limit = limit
		if _, err := vdi.NewWriter(nil, o); err == nil || err.Error() != fmt.Sprintf("vdi: a limit of %d bytes: it is up to 70368744177664", limit) {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []vdi.Options{{}, {UUID: [16]byte{1}}, {Modified: [16]byte{1}}} {
		err := vdi.Write(nil, bytes.NewReader(make([]byte, 512)), 512, o)
		if err == nil || err.Error() != "vdi: a UUID is missing" {
			t.Errorf("%v: %v", o, err)
		}
	}
}
