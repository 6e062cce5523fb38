package anatomy

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"thaw/internal/testbed"
)

func TestISO(t *testing.T) {
	root := makeTree(t)
	efi := filepath.Join(root, "efi.img")
	if err := os.WriteFile(efi, make([]byte, 1<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	testbed.Run(t, "mkfs.vfat", "-F", "12", efi)
	testbed.Run(t, "mcopy", "-i", efi, filepath.Join(root, "etc/small"), "::/inner")
	if err := os.WriteFile(filepath.Join(root, "share/A long name.text"), content("long", 3000), 0o666); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "iso")
	testbed.Run(t, "xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", "LABEL", "--efi-boot", "efi.img", "-efi-boot-part", "--efi-boot-image", "-o", path, root)
	m := open(t, path)
	for name, size := range files {
		if name == "etc/small" { // it is in the other file system, too
			continue
		}
		for _, pos := range []int{0, size / 2, size - 40} {
			m.says(t, m.find(t, content(name, size)[pos:pos+40]), fmt.Sprintf("ISO 9660: data of %s: byte %d", name, pos))
		}
	}
	m.says(t, m.find(t, content("long", 40)), "ISO 9660: data of share/A long name.text: byte 0")
	inner := int64(bytes.LastIndex(m, []byte("INNER      ")))
	m.says(t, inner, "ISO 9660: file efi.img: FAT12: root directory: entry inner: short name")
	m.says(t, m.find(t, []byte("A long name.text")), "ISO 9660: directory share: entry A long name.text")
	m.says(t, m.find(t, []byte("NM\x08\x01\x00bin")), "ISO 9660: directory .: entry bin")
	m.says(t, 100, "GPT: protective MBR: boot code")
	m.says(t, 512+56, "GPT: header: GUID of the disk")
	m.says(t, 16*2048+45, "ISO 9660: volume descriptor: label")
	m.says(t, 17*2048, "ISO 9660: boot record")
	m.says(t, int64(le32(m[17*2048+0x47:]))*2048+40, "ISO 9660: boot catalog: entry 2")
	m.sections(t, []string{"ISO 9660: path table", "GPT: backup header"})
	m.damaged(t)
	b := bytes.Clone(m) // damaged changes but what lies in front
	clear(b[:16*isoSector])
	copy(b[16*isoSector+156:], bytes.Repeat([]byte{0xff}, 34))
	image(b).says(t, 100, "ISO 9660: system area")
	image(b).says(t, m.find(t, content("long", 40)), fmt.Sprintf("ISO 9660: byte %d, of no file found", m.find(t, content("long", 40))))
}
