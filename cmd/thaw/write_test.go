package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"thaw/device"
	"thaw/internal/testbed"
)

// loopDevice makes a loop device of a file with old content.
func loopDevice(t *testing.T, size int) (dev, file string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root makes loop devices")
	}
	file = filepath.Join(t.TempDir(), "stick")
	if err := os.WriteFile(file, bytes.Repeat([]byte("old "), size/4), 0o666); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(testbed.Tool(t, "losetup"), "-f", "--show", file).CombinedOutput()
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

// begins returns the beginning of a file.
func begins(t *testing.T, file string, n int64) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// Disks that were built come onto a device in any format: the same bytes, which sgdisk
// takes for a disk.
func TestWrite(t *testing.T) {
	dev, file := loopDevice(t, 16<<20)
	p := newProgram(t, "--cache", repository(t, "testdata/example"), "--trusted-key", testbedKey)
	const hello = "/nix/store/iv6mnmnw8z16ca4yawz70zfapazdfyvq-hello-static-1.0"
	want := p.run(t, "build", hello, "-o", "d.img", "--size", "8M")
	disk := begins(t, filepath.Join(p.dir, "d.img"), 8<<20)
	for _, name := range []string{"d.img", "d.img.zst", "d.img.gz", "d.img.xz", "d.qcow2", "d.vhd", "d.vhdx", "d.vdi", "d.vmdk"} {
		if name != "d.img" {
			p.run(t, "build", hello, "-o", name, "--size", "8M")
		}
		o := p.run(t, "write", name, dev, "--yes")
		if !strings.HasPrefix(o.stdout, dev+"\t8388608\tsha256:") || o.digest(t) != want.digest(t) {
			t.Errorf("%s: %s", name, o.stdout)
		}
		for _, says := range []string{"writing    8.0 MiB to " + dev, "verifying  8.0 MiB read back, and the same", "sgdisk -e " + dev} {
			if !strings.Contains(o.stderr, says) {
				t.Errorf("%s: not %q in\n%s", name, says, o.stderr)
			}
		}
		if !bytes.Equal(begins(t, file, 8<<20), disk) {
			t.Errorf("%s: other bytes", name)
		}
		if err := os.WriteFile(file, bytes.Repeat([]byte("old "), 1<<20), 0o666); err != nil { // for the next one
			t.Fatal(err)
		}
		if err := os.Truncate(file, 16<<20); err != nil {
			t.Fatal(err)
		}
	}
	p.run(t, "write", "d.img", dev, "--yes", "--json")
	if out := string(testbed.Run(t, "sgdisk", "-e", "-v", dev)); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk: %s", out)
	}
}

// Each device that must not be written to is refused, and not touched.
func TestWriteRefusals(t *testing.T) {
	dev, file := loopDevice(t, 4<<20)
	p := newProgram(t)
	image := filepath.Join(p.dir, "image")
	if err := os.WriteFile(image, bytes.Repeat([]byte("new "), 1<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	old := sha256.Sum256(begins(t, file, 4<<20))
	refuse := func(what string, code int, want string, args ...string) {
		t.Helper()
		o := p.try(t, append([]string{"write"}, args...)...)
		if o.code != code || !strings.Contains(o.stderr, want) {
			t.Errorf("%s: exit %d\n%s", what, o.code, o.stderr)
		}
		if sha256.Sum256(begins(t, file, 4<<20)) != old {
			t.Fatalf("%s: the device was written to", what)
		}
	}
	refuse("no terminal", exitUsage, "all that is on it will be lost, and there is no terminal to ask on", image, dev)
	refuse("itself", exitFailed, dev+": the image itself is on it", file, dev, "--yes")
	if err := os.Truncate(image, 4<<20+512); err != nil {
		t.Fatal(err)
	}
	refuse("too small", exitFailed, dev+": it has 4194304 bytes, and the image has 4194816\n      take one of 4.0 MiB or more", image, dev, "--yes")
	if err := os.Truncate(image, 1<<20); err != nil {
		t.Fatal(err)
	}
	testbed.Run(t, "blockdev", "--setro", dev)
	refuse("read-only", exitFailed, dev+": it is read-only\n", image, dev, "--yes")
	testbed.Run(t, "blockdev", "--setrw", dev)

	held, err := os.OpenFile(dev, os.O_RDONLY|os.O_EXCL, 0)
	if err != nil {
		t.Fatal(err)
	}
	refuse("held", exitFailed, dev+": the kernel or another program uses it", image, dev, "--yes")
	held.Close()

	fs := filepath.Join(p.dir, "fs")
	if err := os.WriteFile(fs, make([]byte, 4<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	testbed.Run(t, "mke2fs", "-q", fs)
	mounted := false
	err = testbed.Mounted(fs, "ext4", "rw", func(root string) error {
		mounted = true
		list, err := device.Host{}.List()
		for _, d := range list {
			if d.Model == fs {
				refuse("mounted", exitFailed, d.Path+": it is in use: "+d.Name+" is mounted at "+root+"\n      unmount it first", image, d.Path, "--yes")
				if o := p.run(t, "write", "--list"); !strings.Contains(o.stdout, d.Path+"\t4194304\tloop\t"+fs+"\t"+d.Name+" is mounted at "+root+"\n") {
					t.Errorf("the list says\n%s", o.stdout)
				}
				return err
			}
		}
		return fmt.Errorf("no device of %s: %v", fs, err)
	})
	if err != nil && !mounted {
		t.Skipf("SKIPPED: no right to mount: %v", err)
	} else if err != nil {
		t.Error(err)
	}

	// Who is not root gets a reason, too.
	for _, d := range []string{p.dir, image} {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	p.become(t, 12345)
	refuse("no right", exitFailed, dev+": no right to write to it\n      run it as root", image, dev, "--yes")
}

// A run that is killed leaves a device that begins with zeros; the second one succeeds.
func TestWriteKilled(t *testing.T) {
	dev, file := loopDevice(t, 64<<20)
	p := newProgram(t)
	d := make([]byte, 64<<20)
	rand.NewChaCha8([32]byte{1}).Read(d)
	image := filepath.Join(p.dir, "image")
	if err := os.WriteFile(image, d, 0o666); err != nil {
		t.Fatal(err)
	}
	cmd := p.command(t.Context(), "write", image, dev, "--yes")
	cmd.Stderr = fullPipe(t) // which it stops at when all but the first block is written
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait()
	}()
	stick, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer stick.Close()
	end := make([]byte, 512)
	waits(t, ended, "the end of the image is there", func() bool {
		_, err := stick.ReadAt(end, int64(len(d)-len(end)))
		return err == nil && bytes.Equal(end, d[len(d)-len(end):])
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if len(bytes.Trim(begins(t, file, device.BlockSize), "\x00")) > 0 {
		t.Error("the device begins like the image")
	}
	p.run(t, "write", image, dev, "--yes")
	if !bytes.Equal(begins(t, file, 64<<20), d) {
		t.Error("the second time: other bytes")
	}
}

// fullPipe returns a pipe into which nothing can be written: who does, waits.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	raw, err := w.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) {
		for err == nil {
			_, err = syscall.Write(int(fd), make([]byte, 4096))
		}
	}); e != nil || err != syscall.EAGAIN {
		t.Fatal(e, err)
	}
	return w
}

// Only the word yes is one.
func TestConfirm(t *testing.T) {
	d := &device.Device{Path: "/dev/sdx", Size: 1 << 30, Model: "Evil\x1b[2J", Bus: "ata"}
	for in, want := range map[string]bool{"yes\n": true, "yes": true, "y\n": false, "\n": false, "": false, "YES\n": false, "no\n": false} {
		var out strings.Builder
		if got := confirm(strings.NewReader(in), &out, d); got != want {
			t.Errorf("%q: %v", in, got)
		}
		if !strings.HasPrefix(out.String(), "/dev/sdx: 1.00 GiB, Evil?[2J, ata\nThis is not a removable device.\nAll that is on it") {
			t.Errorf("it asks %q", out.String())
		}
	}
}
