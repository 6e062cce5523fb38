package erofs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"thaw/internal/testbed"
	"thaw/rootfs/rootfstest"
)

// TestMain has the judges tell times and all else as the tests expect, wherever they
// run.
func TestMain(m *testing.M) {
	os.Setenv("TZ", "UTC")
	os.Setenv("LC_ALL", "C")
	os.Exit(m.Run())
}

// fsck demands that fsck.erofs has no complaint about an image.
func fsck(tool, path string, options ...string) error {
	out, err := exec.Command(tool, append(options, path)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		return fmt.Errorf("fsck.erofs: %v\n%.3000s", err, out)
	}
	return nil
}

// needMount skips the test where images cannot be mounted.
func needMount(t testing.TB) {
	t.Helper()
	if err := mountError(t); err != nil {
		t.Skipf("SKIPPED: this system mounts nothing: %v", err)
	}
}

// mountError says why images cannot be mounted, if so, with and without
// compression.
func mountError(t testing.TB) error {
	t.Helper()
	if os.Getuid() != 0 {
		return errors.New("only root can mount")
	}
	testbed.Tool(t, "mount")
	dir := t.TempDir()
	path, tree := filepath.Join(dir, imageName), filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o777); err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("text"), 10_000)
	if err := os.WriteFile(filepath.Join(tree, "file"), want, 0o666); err != nil {
		t.Fatal(err)
	}
	testbed.Run(t, "mkfs.erofs", "-zlz4", "-C65536", "-Eztailpacking", path, tree)
	return mounted(path, func(root string) error {
		got, err := os.ReadFile(filepath.Join(root, "file"))
		if err == nil && !bytes.Equal(got, want) {
			err = errors.New("what is read is wrong")
		}
		return err
	})
}

// newLinux reports whether Linux knows images with Options.Dedupe.
func newLinux(t testing.TB) bool {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return major > 6 || major == 6 && minor >= 1
}

// mounted mounts an image while do runs.
func mounted(path string, do func(root string) error) error {
	return testbed.Mounted(path, "erofs", "ro", do)
}

// readKernel reads an image as Linux does.
func readKernel(path string) (nodes []rootfstest.Node, err error) {
	err = mounted(path, func(root string) (err error) {
		nodes, err = rootfstest.Walk(root)
		return err
	})
	return nodes, err
}

// readFsck reads an image as fsck.erofs extracts it, without owners.
func readFsck(tool, path string) ([]rootfstest.Node, error) {
	root := path + ".extracted"
	if err := fsck(tool, path, "--extract="+root, "--preserve-perms", "--no-preserve-owner"); err != nil {
		return nil, err
	}
	return rootfstest.Walk(root)
}
