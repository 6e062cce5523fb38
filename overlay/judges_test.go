package overlay

import (
	"os"
	"os/exec"
	"path/filepath"
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
	send(t, tree, w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestAccountsJudged has the accounts checked by the programs that edit them.
func TestAccountsJudged(t *testing.T) {
	pwck, grpck := testbed.Tool(t, "pwck"), testbed.Tool(t, "grpck")
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can have pwck look into another root")
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
