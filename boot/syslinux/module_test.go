package syslinux_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"thaw/boot/syslinux"
)

// debian returns a file of one of Debian's packages.
func debian(t *testing.T, pkg, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is missing, and CI must have it: %v", pkg, err)
		}
		t.Skipf("SKIPPED: %s is not installed: %v", pkg, err)
	}
	return b
}

// A ldlinux.c32 is one of the installer's version, or refused.
func TestModule(t *testing.T) {
	c32 := debian(t, "syslinux-common", "/usr/lib/syslinux/modules/bios/ldlinux.c32")
	for _, name := range []string{"syslinux", "extlinux"} {
		l := installer(t, name)
		for _, c := range []struct {
			name string
			c32  []byte
			want string
		}{
			{"of this version", c32, ""},
			{"with one symbol of another name", bytes.Replace(c32, []byte("\x00syslinux_banner\x00"), []byte("\x00syslinux_banned\x00"), 1), "another version than the installer"},
			{"another module", debian(t, "syslinux-common", "/usr/lib/syslinux/modules/bios/menu.c32"), "another module of Syslinux"},
			{"of EFI, 32 bits", debian(t, "syslinux-efi", "/usr/lib/syslinux/modules/efi32/ldlinux.e32"), "another module"},
			{"of EFI, 64 bits", debian(t, "syslinux-efi", "/usr/lib/syslinux/modules/efi64/ldlinux.e64"), "no module of Syslinux for BIOSes"},
			{"cut off", c32[:len(c32)/2], "it "},
			{"nothing", nil, "no module"},
			{"too long", make([]byte, syslinux.MaxModule+1), "are the most"},
		} {
			if err := l.Fits(c.c32); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, %s: %v", name, c.name, err)
			}
		}
	}
	if err := syslinux.CheckModule(c32); err != nil {
		t.Error(err)
	}
}

func TestIsolinux(t *testing.T) {
	bin := debian(t, "isolinux", "/usr/lib/ISOLINUX/isolinux.bin")
	at := bytes.Index(bin, []byte("ISOLINUX 6"))
	for _, c := range []struct {
		name    string
		program []byte
		want    string
	}{
		{"as it is", bin, ""},
		{"an older one", bytes.Replace(bin, []byte("ISOLINUX 6"), []byte("ISOLINUX 4"), 1), `it is ISOLINUX "4.04", which starts no ldlinux.c32; take version 6`},
		{"cut off", bin[:at+9], `it is ISOLINUX ""`},
		{"another program", debian(t, "isolinux", "/usr/lib/ISOLINUX/isohdpfx.bin"), "it is not isolinux.bin"},
		{"nothing", nil, "it is not isolinux.bin"},
	} {
		if err := syslinux.CheckIsolinux(c.program); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
