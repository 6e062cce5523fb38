package estimate_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thaw/assemble"
	"thaw/estimate"
	"thaw/internal/testbed"
	"thaw/output"
	"thaw/rootfs"
	"thaw/spec"
)

// forms are outputs of all kinds that are one file, and how far the guess may be off for
// two programs, 2 MB: of so few files no average says much, and a spare MiB of a disk is
// a good part of it.
var forms = map[string]float64{
	"type: tar": 0.15, "type: tar, compress: gzip": 0.35, "type: tar, compress: zstd": 0.05,
	"type: cpio": 0.05, "type: cpio, compress: gzip": 0.35, "type: cpio, compress: zstd": 0.05,
	"type: ext4": 0.3, "type: ext4, size: fit+30M": 0.05, "type: ext4, size: 40M": 0, "type: squashfs": 0.3, "type: erofs": 0.6,
	"type: disk": 0.2, "type: disk, table: mbr": 0.25, "type: disk, size: 40M": 0, "type: disk, format: vhd-fixed": 0.2,
	"type: disk, partitions: [{ fs: ext4, size: fit+60M }]": 0.05, "type: disk, partitions: [{ fs: erofs, compress: none }, { fs: vfat, size: 33M }]": 0.05,
	"type: disk, compress: gzip": 0.35, "type: disk, compress: zstd": 0.3, "type: disk, compress: xz": 0.3, "type: disk, format: vmdk": 0.4,
	"type: disk, format: qcow2": 0.2, "type: disk, format: qcow2, compress: zlib": 0.4, "type: disk, format: qcow2, compress: zstd": 0.35,
	"type: disk, format: vhd": 0.15, "type: disk, format: vdi": 0.15, "type: disk, format: vhdx": 0.15,
}

// What is written of the small cache is between the bounds, whatever the form.
func TestForms(t *testing.T) {
	dir := filepath.Join(testbed.Root(t), "testdata/example")
	c := open(t, dir, filepath.Join(dir, "key.pub"))
	p := c.resolve(t, "/nix/store/iv6mnmnw8z16ca4yawz70zfapazdfyvq-hello-static-1.0\n/nix/store/4816nf1754f3jnz5brkh5n9y252l4san-busybox-static-1.35.0\n")
	known, maybe, err := p.Made()
	if err != nil {
		t.Fatal(err)
	}
	content := &estimate.Content{Objects: p.Infos, View: ".", Known: known, Maybe: maybe}
	for form, likely := range forms {
		s, err := spec.Parse("spec.yaml", []byte("version: 1\noutputs: { a: { "+form+" } }\n"))
		if err != nil {
			t.Fatal(err)
		}
		o := &s.Outputs[0]
		params := &output.Params{ID: p.ID, Time: p.Time, Temp: func() (output.File, error) {
			return os.CreateTemp(t.TempDir(), "disk")
		}, Source: files{}}
		f, err := os.Create(filepath.Join(t.TempDir(), "image"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w, err := output.New(f, o, params)
		if err != nil {
			t.Fatal(form, err)
		}
		if _, err := assemble.Build(t.Context(), c, p, rootfs.Tee(w.Sinks()...)); err != nil {
			t.Fatal(form, err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(form, err)
		}
		guess, _, err := output.Estimate(content, o, params, &output.Extra{Files: make([]output.Files, 2)})
		if err != nil {
			t.Fatal(form, err)
		}
		is := w.Size()
		off := float64(guess.Likely)/float64(is) - 1
		t.Logf("%-60s %9d  estimated %9d %+6.1f%%  from %9d to %12d", strings.TrimPrefix(form, "type: "), is, guess.Likely, 100*off, guess.Least, guess.Most)
		if is < guess.Least || is > guess.Most || math.Abs(off) > likely {
			t.Errorf("%s: the size is %d, and %+v estimated", form, is, guess)
		}
	}
}

// files are none.
type files struct{ output.Source }

func (files) Files(*spec.Output, int) (*rootfs.Tree, error) { return &rootfs.Tree{}, nil }
