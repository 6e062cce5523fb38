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

// forBIOS has what BIOSes boot from CDs, and what UEFI does.
type forBIOS struct {
	source
	uefi bool
}

// kernel is in both, in one behind four sectors of others.
var kernel = bytes.Repeat([]byte("kernel"), 1000)

func (s forBIOS) CD(o *spec.Output) (*output.CD, error) {
	cd := &output.CD{Code: bytes.Repeat([]byte{0x90}, 432), Loader: "isolinux.bin", BIOS: &rootfs.Tree{}}
	top := rootfs.Dir(".", 0o755)
	top.ModTime = time.Unix(1, 0)
	cd.BIOS.Put(top, nil)
	put := func(tree *rootfs.Tree, path string, content []byte) {
		tree.Put(rootfs.Entry{Path: path, Mode: 0o644, ModTime: time.Unix(1, 0)}, content)
	}
	put(cd.BIOS, "isolinux.bin", bytes.Repeat([]byte("loader"), 500))
	put(cd.BIOS, "kernel", kernel)
	if !s.uefi {
		return cd, nil
	}
	var err error
	cd.UEFI, err = s.Boot(o)
	put(cd.UEFI, "whole.efi", append(make([]byte, 4*output.Sector), kernel...))
	cd.Within = map[string]output.Within{"kernel": {Path: "whole.efi", Offset: 4 * output.Sector}}
	return cd, err
}

// A CD for BIOSes has as files what they boot, which may be in what UEFI boots, too.
func TestISOForBIOS(t *testing.T) {
	outs := parse(t, `
  a: { type: iso, table: mbr }
  b: { type: iso, table: hybrid, efi: 40M }
  c: { type: iso }
`)
	for i, want := range []struct {
		uefi         bool
		files, boots string
	}{
		{false, "isolinux.bin\nkernel\nroot.squashfs\n", "MBR partition      :   1   0x80  0x83"},
		{true, "efi.img\nisolinux.bin\nkernel\nroot.squashfs\n", "MBR partition      :   2   0x80  0xef"},
		{true, "efi.img\nisolinux.bin\nkernel\nroot.squashfs\n", "UEFI  y   none"},
	} {
		dir := t.TempDir()
		name := filepath.Join(dir, "cd.iso")
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		p := params(t, dir, 2)
		p.Source = forBIOS{uefi: want.uefi}
		w, err := output.New(f, &outs[i], p)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(fill(rootfs.Tee(w.Sinks()...)), w.Close()); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, "files")
		testbed.Run(t, "xorriso", "-osirrox", "on", "-indev", name, "-extract", "/", to)
		if list := string(testbed.Run(t, "ls", to)); list != want.files {
			t.Errorf("%s has %q", outs[i].Name, list)
		}
		if b, err := os.ReadFile(filepath.Join(to, "kernel")); err != nil || !bytes.Equal(b, kernel) {
			t.Errorf("%s has another kernel: %v", outs[i].Name, err)
		}
		boots := string(testbed.Run(t, "xorriso", "-indev", name, "-report_el_torito", "plain", "-report_system_area", "plain"))
		if !strings.Contains(boots, want.boots) || !strings.Contains(boots, "/isolinux.bin") || strings.Contains(boots, "UEFI") != want.uefi {
			t.Errorf("%s boots %s", outs[i].Name, boots)
		}
		if !want.uefi {
			continue
		}
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(whole, kernel); n != 1 {
			t.Errorf("%s has the kernel %d times", outs[i].Name, n)
		}
		testbed.Run(t, "fsck.vfat", "-n", filepath.Join(to, "efi.img"))
		if got := testbed.Run(t, "sgdisk", "-v", name); !bytes.Contains(got, []byte("No problems found")) {
			t.Errorf("%s: sgdisk says %s", outs[i].Name, got)
		}
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
