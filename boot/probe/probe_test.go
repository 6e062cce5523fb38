package probe

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thaw/internal/testbed"
)

// fatImage makes a FAT of so many MiB by mtools, with files of these names.
func fatImage(t *testing.T, mib, bits int, files ...string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "fat")
	if err := os.WriteFile(file, make([]byte, mib<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	testbed.Run(t, "mkfs.vfat", "-F", fmt.Sprint(bits), file)
	made := map[string]bool{}
	for _, f := range files {
		dir := ""
		for _, d := range strings.Split(filepath.Dir(f), "/") {
			if dir += "/" + d; !made[dir] {
				testbed.Run(t, "mmd", "-i", file, "::"+dir)
				made[dir] = true
			}
		}
		testbed.Run(t, "mcopy", "-i", file, "/dev/null", "::/"+f)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const at = 64 << 10

// gpt puts a partition into a GPT, whose checks nobody makes.
func gpt(part []byte, sector int) []byte {
	d := make([]byte, at, at+len(part))
	d[510], d[511] = 0x55, 0xaa
	copy(d[sector:], "EFI PART")
	le.PutUint64(d[sector+72:], 2)
	le.PutUint32(d[sector+80:], 128)
	le.PutUint32(d[sector+84:], 128)
	e := d[2*sector+128:] // the second entry
	copy(e, typeESP)
	le.PutUint64(e[32:], uint64(at/sector))
	return append(d, part...)
}

func TestRead(t *testing.T) {
	fat12 := fatImage(t, 2, 12, "EFI/BOOT/BOOTX64.EFI")
	fat16 := fatImage(t, 16, 16, "EFI/systemd/x.efi", "EFI/BOOT/BOOTAA64.EFI", "EFI/BOOT/BOOTRISCV64.EFI")
	fat32 := fatImage(t, 40, 32, "loader/loader.conf", "efi/boot/bootia32.efi", "efi/boot/bootarm.efi")
	none := fatImage(t, 2, 12, "EFI/other/BOOTX64.EFI")
	mbr := make([]byte, at)
	mbr[446+4], mbr[510], mbr[511] = 0xef, 0x55, 0xaa
	le.PutUint32(mbr[446+8:], at/512)
	code := append(bytes.Repeat([]byte{0x90}, 440), make([]byte, 72)...)
	code[510], code[511] = 0x55, 0xaa
	disc := make([]byte, at)
	copy(disc[16*2048+1:], "CD001")
	copy(disc[17*2048+1:], "CD001\x01EL TORITO SPECIFICATION")
	le.PutUint32(disc[17*2048+71:], 20)
	catalog := disc[20*2048:]
	catalog[32] = 0x88
	catalog[64], catalog[65] = 0x91, 0xef
	catalog[96] = 0x88
	le.PutUint32(catalog[96+8:], at/2048)
	for name, c := range map[string]struct {
		disk []byte
		want string
	}{
		"FAT12 in a GPT":          {gpt(fat12, 512), "{[x64] false false}"},
		"FAT16 in a GPT":          {gpt(fat16, 512), "{[aa64 riscv64] false false}"},
		"FAT32 in a GPT of 4 KiB": {gpt(fat32, 4096), "{[ia32 arm] false false}"},
		"no EFI/BOOT":             {gpt(none, 512), "{[] false false}"},
		"FAT12 in an MBR":         {append(mbr, fat12...), "{[x64] false false}"},
		"code of a BIOS":          {code, "{[] true false}"},
		"a disc":                  {append(disc, fat12...), "{[x64] true true}"},
		"nothing":                 {make([]byte, 100), "{[] false false}"},
		"an entry beyond the end": {gpt(nil, 512), "{[] false false}"},
	} {
		if got := fmt.Sprint(Read(bytes.NewReader(c.disk), int64(len(c.disk)))); got != c.want {
			t.Errorf("%s: %s instead of %s", name, got, c.want)
		}
	}
}

// Whatever a disk holds, it is read without a panic, and to an end.
func FuzzRead(f *testing.F) {
	f.Add(gpt(make([]byte, 4096), 512), uint32(0), []byte{})
	f.Add(gpt(make([]byte, 4096), 4096), uint32(at), []byte("\xeb\x3c\x90MSDOS5.0\x00\x02\x01\x01\x00\x02\xe0\x00\x40\x0b\xf0\x09\x00"))
	f.Fuzz(func(t *testing.T, disk []byte, off uint32, patch []byte) {
		if int(off) < len(disk) {
			disk = bytes.Clone(disk)
			copy(disk[off:], patch)
		}
		Read(bytes.NewReader(disk), int64(len(disk)))
	})
}
