package vmdk_test

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"thaw/image/raw/rawtest"
	"thaw/image/vmdk"
)

func TestConformance(t *testing.T) {
	rawtest.Run(t, rawtest.Format{
		Name: "vmdk", Block: 64 << 10, MaxSize: vmdk.MaxSize,
		Digest: "6b5884d7d1fc02baa3a95e4f399fe9ac3d890916d7694b8fdacadfe7b6a66729",
		Write: func(w *os.File, r io.ReaderAt, size int64) error {
			return vmdk.Write(w, r, size, vmdk.Options{UUID: [16]byte{0xab, 15: 2}})
		},
	})
}

func TestOptions(t *testing.T) {
	sector := bytes.NewReader(make([]byte, 512))
	err := vmdk.Write(io.Discard, sector, 512, vmdk.Options{})
	if err == nil || err.Error() != "vmdk: the UUID is missing" {
		t.Error(err)
	}
	for first, want := range map[byte]string{0: "\nCID=00ffffff\n", 0xff: "\nCID=fffffffe\n"} {
		var b bytes.Buffer
		if err := vmdk.Write(&b, sector, 512, vmdk.Options{UUID: [16]byte{first, 0xff, 0xff, 0xff}}); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("%q is not there, %v", want, err)
		}
	}
}
