package ext4_test

import (
	"os"
	"testing"

	"thaw/image/ext4"
)

// A file system that fits is as small as can be: one block less does not do.
func TestFitsToTheBlock(t *testing.T) {
	for _, o := range []ext4.Options{
		{}, {BlockSize: 1024}, {BlockSize: 2048}, {Journal: ext4.JournalAuto}, {BlockSize: 1024, Journal: ext4.JournalAuto, Inodes: 5000}, {Inodes: 40_000}, {Dedupe: true},
	} {
		o.UUID = testOptions.UUID
		path := mustBuild(t, o, used()...)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		fsck(t, path)
		// It may not get a smaller journal instead.
		if o.Journal != 0 {
			o.Journal = super(t, path)["Total journal blocks"] * blockSize(o)
		}
		o.Size = info.Size() - blockSize(o)
		if _, err := build(t, o, used()...); err == nil {
			t.Errorf("%+v: %d bytes do as well as %d", o, o.Size, info.Size())
		}
	}
}
