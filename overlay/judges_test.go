package overlay

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thaw/image/dir"
	"thaw/internal/testbed"
	"thaw/rootfs"
)

// unpack writes a tree to a new directory of ours.
func unpack(t testing.TB, tree *rootfs.Tree) string {
	t.Helper()
	path := t.TempDir()
	root, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	w, err := dir.NewWriter(root, dir.Options{Owners: owners()})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(send(tree, w), w.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestAccountsJudged has the accounts checked by the programs that edit them.
func TestAccountsJudged(t *testing.T) {
	pwck, grpck := testbed.Tool(t, "pwck"), testbed.Tool(t, "grpck")
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: this system lets only root have accounts of another root checked")
	}
	root := unpack(t, &mustRead(t, ".", `
  groups: [{ name: wheel, gid: 10 }]
  users:
    - { name: alice, uid: 1000, groups: [wheel], description: "Ä, b" }
    - { name: bob, uid: 1001, group: wheel, password: "$5$saltsalt$`+strings.Repeat("a", 43)+`" }
  files:
    - { path: /bin/sh, content: "", mode: "0755" }
`).Tree)
	for _, args := range [][]string{{pwck, "-r", "-R", root}, {grpck, "-r", "-R", root}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", filepath.Base(args[0]), err, out)
		}
	}
}

// owners keeps them if we may.
func owners() dir.Owners {
	if os.Geteuid() == 0 {
		return dir.KeepOwners
	}
	return dir.IgnoreOwners
}

// TestFstabJudged has mount(8)'s library read fstab.
func TestFstabJudged(t *testing.T) {
	root := unpack(t, &mustRead(t, ".", `
  mounts:
    - { source: LABEL=nixos, path: /, type: ext4, options: [noatime], pass: 1 }
    - { source: "LABEL=my data", path: '/with blank/and \040', type: ext4, options: [nofail, 'x-a=\134'], pass: 2 }
    - { source: "#none", path: /c, type: fuse.x }
    - { source: /dev/vdb, type: swap, options: [sw, pri=5] }
`).Tree)
	tab := filepath.Join(root, "etc/fstab")
	got := testbed.Run(t, "findmnt", "--json", "--list", "--tab-file", tab, "--output", "SOURCE,TARGET,FSTYPE,OPTIONS,FREQ,PASSNO")
	type line struct {
		Source, Target, Fstype, Options string
		Freq, Passno                    int
	}
	var table struct{ Filesystems []line }
	if err := json.Unmarshal(got, &table); err != nil {
		t.Fatal(err)
	}
	if want := []line{
		{"LABEL=nixos", "/", "ext4", "noatime", 0, 1},
		{"LABEL=my data", `/with blank/and \040`, "ext4", `nofail,x-a=\134`, 0, 2},
		{"#none", "/c", "fuse.x", "defaults", 0, 0},
		{"/dev/vdb", "none", "swap", "sw,pri=5", 0, 0},
	}; !slices.Equal(table.Filesystems, want) {
		t.Errorf("findmnt reads %+v", table.Filesystems)
	}
	out, _ := exec.Command(testbed.Tool(t, "findmnt"), "--verify", "--tab-file", tab).CombinedOutput()
	if !strings.Contains(string(out), "\n0 parse errors") {
		t.Errorf("findmnt: %s", out)
	}
}

// TestOSReleaseJudged has a shell read os-release.
func TestOSReleaseJudged(t *testing.T) {
	root := unpack(t, &mustRead(t, ".", `
  os-release: { ID: demo, NAME: "it's \"5\" $HOME \\$x `+"`y`"+` !", EMPTY: "" }
`).Tree)
	got := testbed.Run(t, "sh", "-euc", `. "$0"; printf '<%s>' "$ID" "$NAME" "$EMPTY"`, filepath.Join(root, "etc/os-release"))
	if want := "<demo><it's \"5\" $HOME \\$x `y` !><>"; string(got) != want {
		t.Errorf("sh reads %s, and not %s", got, want)
	}
}

// TestUnitsJudged has systemd read units.
func TestUnitsJudged(t *testing.T) {
	root := unpack(t, &mustRead(t, ".", `
  services:
    supervisor: systemd
    getty: [ttyS0]
    run:
      - name: web
        command: /bin/echo 'a b' "it's" '$HOME' '${HOME}' 100% %h ';' 'a\b' 'q"q' '' '#' ''
        directory: /srv/a b%h
        environment: { A: "it's $5 %h \\ \"q\" #", B: "", PATH: /bin }
      - { name: seed, command: /bin/true, once: true, console: ttyS1 }
`).Tree)
	for unit, want := range map[string][]string{
		"web": {
			`Command Line: /bin/echo "a b" "it's" "\$\$HOME" "\$\${HOME}" 100% %h ";" "a\\b" "q\"q" "" # ""`, // $$ becomes $ last
			`Environment: A=it's $5 %h \ "q" #`, "Environment: B=", "Environment: PATH=/bin", "WorkingDirectory: /srv/a b%h",
			"After: seed.service",
		},
		"seed": {"Command Line: /bin/true", "TTYPath: /dev/ttyS1", "Type: oneshot"},
	} {
		verify := exec.Command(testbed.Tool(t, "systemd-analyze"), "verify", "--man=no", filepath.Join(root, "etc/systemd/system", unit+".service"))
		if out, err := verify.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%v\n%s", err, out)
		}
		verify = exec.Command(verify.Path, verify.Args[1:]...)
		verify.Env = append(os.Environ(), "SYSTEMD_LOG_LEVEL=debug") // shows units as they were read
		out, err := verify.CombinedOutput()
		said := slices.DeleteFunc(strings.Split(string(out), "\n"), func(line string) bool { return !strings.HasPrefix(line, "\t\t") })
		for _, line := range want {
			if !strings.Contains(string(out), "\t"+line+"\n") && !strings.Contains(string(out), "\t"+line+" (") {
				t.Errorf("%v: systemd does not say %s\n%s", err, line, strings.Join(said, "\n"))
			}
		}
	}
}
