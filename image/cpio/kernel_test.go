package cpio_test

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thaw/image/cpio"
	"thaw/internal/compress"
	"thaw/internal/testbed"
	"thaw/internal/testkernel"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

// unpacked is the directory of the initramfs that the kernel is asked about.
const unpacked = "tree"

// TestMain is the init of the machine that TestKernel starts: it tells on the
// console what the kernel has unpacked.
func TestMain(m *testing.M) {
	if os.Getpid() != 1 {
		os.Exit(m.Run())
	}
	var b bytes.Buffer
	nodes, err := []rootfstest.Node(nil), unix.Mount("proc", "/proc", "proc", 0, "")
	if err == nil {
		nodes, err = rootfstest.Walk("/" + unpacked)
	}
	if err == nil {
		err = gob.NewEncoder(&b).Encode(nodes)
	}
	fmt.Printf("NODES %x %v END\n", b.Bytes(), err)
	testkernel.Off()
}

// TestKernel has the Linux kernel unpack archives, compressed ones too.
func TestKernel(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: a boot takes some seconds")
	}
	dir := t.TempDir()
	vmlinuz, initrd := filepath.Join(dir, "bzImage"), filepath.Join(dir, "initrd")
	if err := os.WriteFile(vmlinuz, testkernel.Kernel(t), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(initrd)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var w *cpio.Writer
	var want []rootfstest.Node
	add := func(e rootfs.Entry, content string) {
		e.Size, e.ModTime = int64(len(content)), time.Unix(1_000_000_000, 0)
		if err := w.Add(e, strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		if path, ok := strings.CutPrefix(e.Path, unpacked); ok {
			n := rootfstest.Node{Entry: e}
			if n.Path = strings.TrimPrefix(path, "/"); n.Path == "" {
				n.Path = "."
			}
			if e.Kind() == 0 {
				n.SHA256, _, _ = rootfstest.Digest(strings.NewReader(content))
			}
			want = append(want, n)
		}
	}
	program := testkernel.Program(t)
	// Three archives behind one another, two of them compressed.
	for _, compression := range []string{"none", "gzip", "zstd"} {
		c, err := compress.NewWriter(compression, out)
		if err != nil {
			t.Fatal(err)
		}
		w = cpio.NewWriter(c)
		switch compression {
		case "none":
			add(rootfs.Dir(".", 0o755), "")
			add(rootfs.Dir("proc", 0o555), "")
			add(rootfs.Dir("dev", 0o755), "")
			add(rootfs.Entry{Path: "dev/console", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o600, Dev: rootfs.Mkdev(5, 1)}, "")
			trees(add)
		case "gzip":
			add(rootfs.Entry{Path: "init", Mode: 0o755}, string(program))
		case "zstd":
			add(rootfs.Entry{Path: unpacked + "/from zstd", Mode: 0o600}, string(program)+"end")
		}
		if err := errors.Join(w.Close(), c.Close()); err != nil {
			t.Fatal(err)
		}
	}

	ctx, cancel := testkernel.Until(t)
	defer cancel()
	serial, err := exec.CommandContext(ctx, testbed.Tool(t, "qemu-system-x86_64"), "-nodefaults", "-no-reboot", "-display", "none", "-m", "512",
		"-machine", "q35,accel=tcg", "-cpu", "max", "-serial", "stdio", "-monitor", "none",
		"-kernel", vmlinuz, "-initrd", initrd, "-append", testkernel.Cmdline).Output()
	said := regexp.MustCompile(`NODES ([0-9a-f]*) (.*) END`).FindSubmatch(serial)
	if err != nil || said == nil || string(said[2]) != "<nil>" {
		t.Fatalf("%v\n%s", err, serial)
	}
	b, err := hex.DecodeString(string(said[1]))
	if err != nil {
		t.Fatal(err)
	}
	var got []rootfstest.Node
	if err := gob.NewDecoder(bytes.NewReader(b)).Decode(&got); err != nil {
		t.Fatal(err)
	}
	can := can
	can.Times = rootfstest.Dropped // it is for the kernel's configuration to keep them
	if err := rootfstest.Diff(can, want, got); err != nil {
		t.Error(err)
	}
}

// trees adds what kernels might read otherwise than cpio.
func trees(add func(rootfs.Entry, string)) {
	add(rootfs.Dir(unpacked, 0o555), "")
	for n := range 9 {
		add(rootfs.Entry{Path: unpacked + "/" + strings.Repeat("n", n+1), Mode: 0o444}, strings.Repeat("content", n)[:n])
		add(rootfs.Entry{Path: unpacked + "/l" + strings.Repeat("l", n), Mode: fs.ModeSymlink | 0o777, Target: "/target"[:min(n+1, 7)]}, "")
	}
	add(rootfs.Entry{Path: unpacked + "/\xff\n", Mode: fs.ModeSetuid | 0o755, UID: 7, GID: math.MaxInt32}, "\x00")
	add(rootfs.Entry{Path: unpacked + "/large", Mode: 0o640}, strings.Repeat("0123456789", 100_001))
	add(rootfs.Entry{Path: unpacked + "/long", Mode: fs.ModeSymlink | 0o777, Target: strings.Repeat("t", rootfs.MaxTarget)}, "")
	add(rootfs.Entry{Path: unpacked + "/fifo", Mode: fs.ModeNamedPipe | 0o622}, "")
	add(rootfs.Entry{Path: unpacked + "/char", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o660, Dev: rootfs.Mkdev(4095, 1<<20-1)}, "")
	add(rootfs.Entry{Path: unpacked + "/block", Mode: fs.ModeDevice | 0o660, GID: 6, Dev: rootfs.Mkdev(259, 300)}, "")
	deep := unpacked
	for len(deep)+1+rootfs.MaxName < cpio.MaxPath {
		deep += "/" + strings.Repeat("d", rootfs.MaxName)
		add(rootfs.Dir(deep, fs.ModeSticky|0o700), "")
	}
	add(rootfs.Entry{Path: deep + "/" + strings.Repeat("f", cpio.MaxPath-len(deep)-1), Mode: 0o600}, "deepest")
	add(rootfs.Dir(unpacked+"/dir", 0o755), "")
	add(rootfs.Entry{Path: unpacked + "/dir/TRAILER!!!", Mode: 0o644}, "no end")
	add(rootfs.Entry{Path: unpacked + "/last", Mode: 0o644}, "odd")
}
