package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"thaw/internal/testbed"
	"thaw/internal/testkernel"
)

// A CD of a system, for UEFI and BIOSes, is as large as its plan says, has the kernel once,
// and tells its partitions.
func TestISO(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("SKIPPED: a system of 233 MB")
	}
	cache := testbed.Dir(t, "caches/xz")
	const (
		stub     = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
		isolinux = "/usr/lib/ISOLINUX/"
		modules  = "/usr/lib/syslinux/modules/bios/"
	)
	for _, name := range []string{stub, isolinux + "isolinux.bin", modules + "ldlinux.c32"} {
		if _, err := os.Stat(name); err != nil {
			t.Skipf("SKIPPED: %v", err)
		}
	}
	list, err := os.ReadFile(testbed.Dir(t, "caches/lists/system.closure"))
	if err != nil {
		t.Fatal(err)
	}
	find := func(name string) string {
		path := regexp.MustCompile(`(?m)^/nix/store/\w{32}-` + name + `$`).FindString(string(list))
		if path == "" {
			t.Fatalf("no %s in the list", name)
		}
		return path
	}
	p := newProgram(t, "--cache", cache, "--trusted-key", testbedKey)
	text := fmt.Sprintf(`version: 1
name: live
packages: [%s]
boot:
  loader: uki
  cmdline: console=ttyS0 panic=-1
  stub: { source: %s }
  isolinux: { program: { source: %sisolinux.bin }, ldlinux: { source: %sMODULE }, mbr: { source: %[3]sisohdpfx.bin } }
  generate: { busybox: %[5]s/bin/busybox, modules: %[6]s, overlay: tmpfs }
outputs:
  live: { type: iso, label: A live CD }
`, find("testbed-system-1.0"), stub, isolinux, modules, find(`busybox-static-[\d.]+`), find(`linux-[\d.]+-cloud-modules`))
	for name, module := range map[string]string{"live.yaml": "ldlinux.c32", "bad.yaml": "menu.c32"} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(strings.ReplaceAll(text, "MODULE", module)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var bill bill
	if err := json.Unmarshal([]byte(p.run(t, "plan", "live.yaml", "--json").stdout), &bill); err != nil {
		t.Fatal(err)
	}
	var built struct {
		Outputs []struct {
			Size       int64
			Partitions []partition
		}
	}
	if err := json.Unmarshal([]byte(p.run(t, "build", "live.yaml", "-o", "live.iso", "--json").stdout), &built); err != nil {
		t.Fatal(err)
	}
	if o, n := bill.Outputs[0], built.Outputs[0].Size; n < o.Least || n > o.Most || n < o.Likely*3/4 || n > o.Likely*5/4 {
		t.Errorf("it has %d bytes, and was planned to have %d, %d to %d", n, o.Likely, o.Least, o.Most)
	}
	for _, parts := range [][]partition{bill.Outputs[0].Partitions, built.Outputs[0].Partitions} {
		if len(parts) != 2 || parts[0].Name != "esp" || parts[1].Name != "nixos" {
			t.Errorf("it has the partitions %v", parts)
		}
	}
	iso, err := os.ReadFile(filepath.Join(p.dir, "live.iso"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(iso, testkernel.Kernel(t)); n != 1 {
		t.Errorf("it has the kernel %d times", n)
	}
	if m := p.run(t, "plan", "live.yaml", "--map").stdout; !strings.Contains(m, "1 esp  esp  boots from a CD, under UEFI") {
		t.Errorf("its map is %s", m)
	}
	if o := p.try(t, "build", "bad.yaml", "-o", "bad.iso"); o.code == 0 || !strings.Contains(o.stderr, "it is another module of Syslinux") {
		t.Errorf("another module: %d, %s", o.code, o.stderr)
	}
}
