package device

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"thaw/internal/testbed"
)

// loop makes a loop device of a file of so many bytes, all of which are 0xdd.
func loop(t *testing.T, size int, options ...string) (dev, file string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root makes loop devices")
	}
	file = filepath.Join(t.TempDir(), "backing")
	if err := os.WriteFile(file, bytes.Repeat([]byte{0xdd}, size), 0o666); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(testbed.Tool(t, "losetup"), append(options, "-f", "--show", file)...).CombinedOutput()
	if err != nil {
		t.Skipf("SKIPPED: no loop devices: %s", out)
	}
	dev = strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "-d", dev).CombinedOutput(); err != nil {
			t.Errorf("losetup -d %s: %v: %s", dev, err, out)
		}
	})
	return dev, file
}

func find(t *testing.T, path string) *Device {
	t.Helper()
	d, err := Host{}.Find(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A real device has the image afterwards, and nothing is held any more.
func TestLoop(t *testing.T) {
	d := plain()
	for _, options := range [][]string{nil, {"--sector-size=4096"}} {
		dev, file := loop(t, 24*mib, options...)
		info := find(t, dev)
		if info.Size != 24*mib || info.Bus != "loop" || info.Model != file || len(info.Uses) > 0 || info.Disk != "" || len(options) > 0 && info.Sector != 4096 {
			t.Errorf("%+v", info)
		}
		f, err := Open(info)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(info); !errors.Is(err, ErrBusy) {
			t.Errorf("a second time: %v", err)
		}
		out, err := Write(t.Context(), f, open(t, d), quiet)
		if err != nil {
			t.Fatal(err)
		}
		if !f.Reread() {
			t.Error("the kernel does not read the table anew")
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(got[:len(d)], d) || len(bytes.Trim(got[len(got)-mib:], "\x00")) > 0 {
			t.Errorf("%v: other bytes: %v", options, err)
		}
		if out.Zeros != 8*mib {
			t.Errorf("%+v", out)
		}
	}
}

// Reads at odd places come from whole sectors.
func TestUnaligned(t *testing.T) {
	dev, _ := loop(t, mib, "--sector-size=4096")
	f, err := Open(find(t, dev))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(bytes.Repeat([]byte("01234567"), 1024), 4096); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 9001)[1:]
	if n, err := f.ReadAt(p[:8000], 4097); n != 8000 || err != nil || !bytes.HasPrefix(p, []byte("1234567012")) {
		t.Errorf("%d, %v, %.20q", n, err, p)
	}
	if n, err := f.ReadAt(p, mib-10); n != 10 || err == nil || !bytes.Equal(p[:10], bytes.Repeat([]byte{0xdd}, 10)) {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if n, err := f.ReadAt(p, mib); n != 0 || err == nil {
		t.Errorf("beyond the end: %d, %v", n, err)
	}
}

// What is mounted, read-only, or has become another device is not opened.
func TestNotOpened(t *testing.T) {
	dev, file := loop(t, 4*mib, "--read-only")
	info := find(t, dev)
	if _, err := Open(info); !info.ReadOnly || !errors.Is(err, ErrReadOnly) && !errors.Is(err, ErrPermission) {
		t.Errorf("read-only: %v", err)
	}
	if !(Host{}).Holds(info, file) {
		t.Error("the image is not known to be the device")
	}
	other, _ := loop(t, 4*mib)
	d := find(t, other)
	d.Number = "1:1"
	if _, err := Open(d); err == nil || !strings.HasSuffix(err.Error(), "it has just become another device") {
		t.Errorf("another device: %v", err)
	}
	image := filepath.Join(t.TempDir(), "fs")
	if err := os.WriteFile(image, make([]byte, 4*mib), 0o666); err != nil {
		t.Fatal(err)
	}
	testbed.Run(t, "mke2fs", "-q", image)
	err := testbed.Mounted(image, "ext4", "rw", func(root string) error {
		list, err := Host{}.List()
		if err != nil {
			return err
		}
		for _, d := range list {
			if d.Model != image {
				continue
			}
			if len(d.Uses) != 1 || d.Uses[0].What != "is mounted at "+root {
				t.Errorf("%+v", d)
			}
			if _, err := Open(d); !errors.Is(err, ErrBusy) {
				t.Errorf("mounted: %v", err)
			}
			return nil
		}
		t.Errorf("%s is not listed", image)
		return nil
	})
	if err != nil {
		t.Skipf("SKIPPED: no right to mount: %v", err)
	}
}

// A device is known by its number, wherever its node is: swap space on one outside of /dev
// was not taken for what the system needs.
func TestNode(t *testing.T) {
	dev, _ := loop(t, mib)
	var st unix.Stat_t
	if err := unix.Stat(dev, &st); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "node")
	if err := unix.Mknod(path, unix.S_IFBLK|0o600, int(st.Rdev)); err != nil {
		t.Skipf("SKIPPED: no right to make a node: %v", err)
	}
	if name, ok := (Host{}).node(path); !ok || name != filepath.Base(dev) {
		t.Errorf("%s is %s, %v", path, name, ok)
	}
}
