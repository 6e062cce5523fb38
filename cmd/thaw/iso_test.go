package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"thaw/internal/testbed"
)

// A CD of a system is as large as its plan says.
func TestISO(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("SKIPPED: a system of 233 MB")
	}
	cache := testbed.Dir(t, "caches/xz")
	const stub = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
	if _, err := os.Stat(stub); err != nil {
		t.Skipf("SKIPPED: %v", err)
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
  generate: { busybox: %s/bin/busybox, modules: %s, overlay: tmpfs }
outputs:
  live: { type: iso, label: A live CD }
`, find("testbed-system-1.0"), stub, find(`busybox-static-[\d.]+`), find(`linux-[\d.]+-cloud-modules`))
	if err := os.WriteFile(filepath.Join(p.dir, "live.yaml"), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	var bill bill
	if err := json.Unmarshal([]byte(p.run(t, "plan", "live.yaml", "--json").stdout), &bill); err != nil {
		t.Fatal(err)
	}
	p.run(t, "build", "live.yaml", "-o", "live.iso")
	st, err := os.Stat(filepath.Join(p.dir, "live.iso"))
	if err != nil {
		t.Fatal(err)
	}
	if o, n := bill.Outputs[0], st.Size(); n < o.Least || n > o.Most || n < o.Likely*3/4 || n > o.Likely*5/4 {
		t.Errorf("it has %d bytes, and was planned to have %d, %d to %d", n, o.Likely, o.Least, o.Most)
	}
}
