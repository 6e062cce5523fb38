package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thaw/internal/testbed"
	"thaw/narinfo"
	"thaw/nixhash"
)

// raceDetector tells that the tests run under the race detector.
var raceDetector bool

// system builds the bootable system of the large caches and returns the
// directory with vm.img, vm.kernel and vm.initrd, and the path of the system.
func system(t *testing.T, cache string, args ...string) (dir, root string) {
	t.Helper()
	root = lines(t, testbed.Dir(t, "caches/lists/system.roots"))[0]
	p := newProgram(t, "--cache", cache, "--trusted-key", testbedKey)
	o := p.run(t, append([]string{"build", root, "-o", "vm.img", "--size", "fit+64M", "--kernel-out", "vm.kernel", "--initrd-out", "vm.initrd"}, args...)...)
	t.Logf("peak memory %d MiB: %s", o.peak>>20, o.stdout)
	if !raceDetector && (o.peak == 0 || o.peak > 128<<20) {
		t.Errorf("the build took %d MiB of memory, the limit is 128", o.peak>>20)
	}
	empty(t, p.dir, "vm.img", "vm.kernel", "vm.initrd", "cachehome")
	return p.dir, root
}

// The whole road on a real system: the image is believed by the tools of its
// formats, and holds what Nix would hold.
func TestSystemImage(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: a system of 233 MB")
	}
	xz := testbed.Dir(t, "caches/xz")
	dir, _ := system(t, xz)
	img := filepath.Join(dir, "vm.img")
	if out := string(testbed.Run(t, "sgdisk", "-v", img)); !strings.Contains(out, "No problems found") || strings.Contains(out, "Caution") {
		t.Errorf("sgdisk: %s", out)
	}
	fs := filepath.Join(dir, "root.ext4")
	testbed.Run(t, "dd", "if="+img, "of="+fs, "bs=1M", "skip=1", "conv=sparse", "status=none")
	if out, err := exec.Command(testbed.Tool(t, "e2fsck"), "-fn", fs).CombinedOutput(); err != nil || strings.Count(string(out), "\n") != 7 {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	testbed.Run(t, "debugfs", "-R", fmt.Sprintf("rdump / %s", root), fs)
	checkStore(t, root, xz)

	zstd := filepath.Join(dir, "zstd")
	copyCache(t, xz, zstd, "zstd")
	fromZstd, _ := system(t, zstd, "--jobs", "3")
	testbed.Run(t, "cmp", img, filepath.Join(fromZstd, "vm.img"))

	// Over HTTP the same image comes.
	server := httptest.NewServer(http.FileServer(http.Dir(xz)))
	defer server.Close()
	again, _ := system(t, server.URL)
	testbed.Run(t, "cmp", img, filepath.Join(again, "vm.img"))
	for _, f := range []string{"vm.kernel", "vm.initrd"} {
		testbed.Run(t, "cmp", filepath.Join(dir, f), filepath.Join(again, f))
	}
}

// copyCache lets real Nix write the system's closure in another compression.
func copyCache(t *testing.T, from, to, compression string) {
	t.Helper()
	home := t.TempDir()
	cmd := exec.Command(testbed.Tool(t, "nix"), "--extra-experimental-features", "nix-command", "copy", "--no-check-sigs",
		"--from", "file://"+from, "--to", "file://"+to+"?compression="+compression, lines(t, testbed.Dir(t, "caches/lists/system.roots"))[0])
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME="+home, "NIX_STATE_DIR="+home, "NIX_LOCALSTATE_DIR="+home, "NIX_CONF_DIR="+home, "NIX_REMOTE=dummy://")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nix copy: %v\n%s", err, out)
	}
}

// checkStore holds each object below root against its narinfo, by real Nix.
func checkStore(t *testing.T, root, cache string) {
	t.Helper()
	for _, path := range lines(t, testbed.Dir(t, "caches/lists/system.closure")) {
		text, err := os.ReadFile(filepath.Join(cache, filepath.Base(path)[:32]+".narinfo"))
		if err != nil {
			t.Fatal(err)
		}
		info, err := narinfo.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := nixhash.Sum256(testbed.Run(t, "nix-store", "--dump", root+path)); got != info.NarHash {
			t.Errorf("%s: real Nix packs it into %s instead of %s", path, got, info.NarHash)
		}
	}
}

// The kernel mounts the file system read-write, and it is clean afterwards.
func TestSystemMounts(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: a system of 233 MB")
	}
	xz := testbed.Dir(t, "caches/xz")
	dir, _ := system(t, xz, "--format", "ext4")
	img, mounted := filepath.Join(dir, "vm.img"), false
	err := testbed.Mounted(img, "ext4", "rw", func(at string) error {
		mounted = true
		checkStore(t, at, xz)
		return errors.Join(
			os.WriteFile(at+"/root/new", make([]byte, 1<<20), 0o644),
			os.WriteFile(at+"/etc/new", []byte("not in the store"), 0o644),
			os.Remove(at+"/etc/hostname"), // a link of the merged view
		)
	})
	if err != nil && !mounted {
		t.Skipf("SKIPPED: no right to mount: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	testbed.Run(t, "e2fsck", "-fn", img)
}
