package output_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/internal/testbed"
	"thaw/output"
	"thaw/rootfs"
	"thaw/spec"
)

// A CD has what UEFI boots and the root file system, as files and as partitions.
func TestISO(t *testing.T) {
	outs := parse(t, `
  cd: { type: iso, label: Demo 1 }
  cd.erofs: { type: iso, root: { fs: erofs, label: r }, table: mbr, efi: 40M }
  cd.plain: { type: iso, table: none }
  erofs: { type: erofs, label: r }
  squashfs: { type: squashfs }
`)
	files, _ := write(t, outs, 2)
	read := func(name string) []byte {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for i, c := range []struct{ label, image, table string }{
		{"Demo 1", "squashfs", "gpt"}, {"NIXOS_ISO", "erofs", "dos"}, {"NIXOS_ISO", "squashfs", ""},
	} {
		name := files[outs[i].Name]
		dir := t.TempDir()
		testbed.Run(t, "xorriso", "-osirrox", "on", "-indev", name, "-extract", "/", dir)
		if list := string(testbed.Run(t, "ls", dir)); list != "efi.img\nroot."+c.image+"\n" {
			t.Errorf("%s has %q", name, list)
		}
		if got := string(testbed.Run(t, "blkid", "-p", "-o", "value", "-s", "LABEL", "-s", "PTTYPE", "-n", "iso9660", name)); !strings.HasPrefix(got, c.label+"\n") {
			t.Errorf("%s is called %q", name, got)
		}
		root := read(filepath.Join(dir, "root."+c.image))
		if !bytes.Equal(root, read(files[c.image])) {
			t.Errorf("%s has another root file system than the output %s", name, c.image)
		}
		efi := filepath.Join(dir, "efi.img")
		if got := string(testbed.Run(t, "mtype", "-i", efi, "::EFI/BOOT/BOOTX64.EFI")); got != "MZ" {
			t.Errorf("%s boots %q", name, got)
		}
		testbed.Run(t, "fsck.vfat", "-n", efi)
		if !bytes.Contains(testbed.Run(t, "xorriso", "-indev", name, "-report_el_torito", "plain"), []byte("UEFI  y   none")) {
			t.Errorf("UEFI boots nothing from %s", name)
		}
		if c.table == "" {
			continue
		}
		var places []int64
		for line := range strings.Lines(string(testbed.Run(t, "partx", "-g", "-o", "START", "-b", name))) {
			var at int64
			for _, r := range strings.TrimSpace(line) {
				at = at*10 + int64(r-'0')
			}
			places = append(places, at*512)
		}
		whole := read(name)
		if len(places) != 2 || !bytes.HasPrefix(whole[places[0]:], read(efi)) || !bytes.HasPrefix(whole[places[1]:], root) {
			t.Errorf("%s has partitions at %d, and not those of its files", name, places)
		}
		if got := string(testbed.Run(t, "sfdisk", "--json", name)); !strings.Contains(got, `"label": "`+c.table+`"`) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// forBIOS has what BIOSes boot from CDs.
type forBIOS struct{ source }

func (forBIOS) BIOS() (*output.BIOS, error) {
	return &output.BIOS{Code: bytes.Repeat([]byte{0x90}, 432), File: "isolinux.bin"}, nil
}

func (s forBIOS) Boot(o *spec.Output) (*rootfs.Tree, error) {
	tree, err := s.source.Boot(o)
	tree.Put(rootfs.Entry{Path: "isolinux.bin", Mode: 0o644, ModTime: time.Unix(1, 0)}, bytes.Repeat([]byte("loader"), 500))
	return tree, err
}

// A CD for BIOSes has as files what they boot.
func TestISOForBIOS(t *testing.T) {
	o := parse(t, "  cd: { type: iso, table: mbr }")[0]
	dir := t.TempDir()
	name := filepath.Join(dir, "cd.iso")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := params(t, dir, 2)
	p.Source = forBIOS{}
	w, err := output.New(f, &o, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(fill(rootfs.Tee(w.Sinks()...)), w.Close()); err != nil {
		t.Fatal(err)
	}
	files := string(testbed.Run(t, "xorriso", "-indev", name, "-find", "/", "-type", "f", "-exec", "echo"))
	if files != "'/EFI/BOOT/BOOTX64.EFI'\n'/isolinux.bin'\n'/root.squashfs'\n" {
		t.Errorf("it has %s", files)
	}
	if boots := string(testbed.Run(t, "xorriso", "-indev", name, "-report_el_torito", "plain")); !strings.Contains(boots, "BIOS  y   none") ||
		!strings.Contains(boots, "/isolinux.bin") || strings.Contains(boots, "UEFI") {
		t.Errorf("it boots %s", boots)
	}
}

// A generated initrd finds the root file system of a disk by its partition, and that of
// a CD as a file.
func TestFindRoot(t *testing.T) {
	id := params(t, "", 1).ID
	outs := parse(t, `
  a: { type: disk, partitions: [{ fs: vfat, size: 64M }, { fs: ext4, guid: 6F2C2AC4-3B1E-4D0C-9A53-0B9C7C1F6F10 }] }
  b: { type: iso, label: Demo 1, root: { fs: erofs } }
  c: { type: tar }
`)
	for i, want := range []output.RootPlace{
		{Device: "PARTUUID=6f2c2ac4-3b1e-4d0c-9a53-0b9c7c1f6f10"}, {Device: "LABEL=Demo 1", Image: "/root.erofs"}, {},
	} {
		if got := output.FindRoot(&outs[i], id); got != want {
			t.Errorf("%s: %+v", outs[i].Name, got)
		}
	}
}
