// Package testkernel runs Linux in a machine of a test's own, whose init is the test's
// program: it mounts file systems without being root, and as a kernel does that the
// test knows.
//
// A package's TestMain calls [Main]; a test starts the machine with [Command].
package testkernel

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thaw/image/cpio"
	"thaw/internal/testbed"
	"thaw/nar"
	"thaw/narinfo"
	"thaw/rootfs"
)

// virtio are the modules that disks need, in their order.
var virtio = []string{
	"drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_modern_dev", "drivers/virtio/virtio_pci_legacy_dev",
	"drivers/virtio/virtio_pci", "drivers/block/virtio_blk",
}

// Main runs the tests. As the init of a machine it loads modules, which stand in their
// order and are named as "fs/fat/vfat", and then those that virtio's disks need; calls
// run, puts its error onto the console, and turns the machine off. /newroot is there to
// mount on.
func Main(m *testing.M, modules []string, run func() error) {
	if os.Getpid() != 1 {
		os.Exit(m.Run())
	}
	err := prepare(slices.Concat(modules, virtio))
	if err == nil {
		err = run()
	}
	fmt.Println(err)
	Off()
}

// Off turns the machine off when its console has all that was written to it.
func Off() {
	unix.IoctlSetInt(1, unix.TCSBRK, 1) // tcdrain: the kernel itself does not wait
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func prepare(modules []string) error {
	for _, m := range [][2]string{{"/dev", "devtmpfs"}, {"/proc", "proc"}} {
		if err := unix.Mount(m[1], m[0], m[1], 0, ""); err != nil {
			return fmt.Errorf("%s: %w", m[0], err)
		}
	}
	for _, name := range modules {
		files, err := filepath.Glob("/lib/modules/*/kernel/" + name + ".ko")
		if err != nil || len(files) != 1 {
			return fmt.Errorf("module %s: %q %v", name, files, err)
		}
		f, err := os.Open(files[0])
		if err != nil {
			return err
		}
		if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
	}
	return nil
}

// Cmdline is of a kernel that says nothing on the console but why it ends, whatever
// the machine that it runs on is doing beside it. Stalls are none of the guest's, and
// whether interrupts of the timer come is not told by how many come in time.
const Cmdline = "console=ttyS0 panic=-1 loglevel=1 nowatchdog rcupdate.rcu_cpu_stall_suppress=1 no_timer_check"

// Until returns a context for [Command] that ends shortly before the test would be
// ended, which says then what is on the console. A machine takes as long as it takes.
func Until(t *testing.T) (context.Context, context.CancelFunc) {
	if end, ok := t.Deadline(); ok {
		return context.WithDeadline(t.Context(), end.Add(-10*time.Second))
	}
	return context.WithCancel(t.Context())
}

// Command returns the command that runs the machine until it turns itself off or ctx
// ends. The arguments say what it has beside a kernel, this program and 512 MiB of
// memory: its console is on the first serial port.
func Command(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	vmlinuz, initrd := filepath.Join(dir, "bzImage"), filepath.Join(dir, "initrd")
	for path, content := range map[string][]byte{
		vmlinuz: Kernel(t),
		initrd:  append(archive(t), stored(t, "initrd-testbed", "initrd")...), // it has the modules
	} {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// On a busy machine the emulated timer may come too late for the kernel's check of it.
	return exec.CommandContext(ctx, testbed.Tool(t, "qemu-system-x86_64"), append([]string{
		"-nodefaults", "-no-reboot", "-display", "none", "-m", "512", "-machine", "q35,accel=tcg", "-cpu", "max", "-monitor", "none",
		"-kernel", vmlinuz, "-initrd", initrd, "-append", "console=ttyS0 panic=-1 no_timer_check quiet rdinit=/judge",
	}, args...)...)
}

// archive is one with this program.
func archive(t *testing.T) []byte {
	program := Program(t)
	var b bytes.Buffer
	w := cpio.NewWriter(&b)
	var err error
	for _, e := range []rootfs.Entry{rootfs.Dir(".", 0o755), {Path: "judge", Mode: 0o755, Size: int64(len(program))}} {
		if e.ModTime = time.Unix(1, 0); err == nil {
			err = w.Add(e, bytes.NewReader(program))
		}
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Program returns this program, for a test that makes it an init.
func Program(t *testing.T) []byte {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		t.Skip("SKIPPED: this test's program is linked dynamically, as under the race detector, and cannot be an init")
	}
	return program
}

// Kernel returns the kernel of the machine.
func Kernel(t *testing.T) []byte {
	t.Helper()
	return stored(t, `linux-[\d.]+-cloud`, "bzImage")
}

// stored returns a file of a path in the large caches.
func stored(t *testing.T, pattern, file string) []byte {
	_, open := Object(t, pattern)
	for r := open(); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("no %s: %v", file, err)
		}
		if filepath.Base(h.Path) == file {
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
}

// Object returns an object of the system in the large caches, by a pattern of its name:
// its path, and what opens its content.
func Object(t *testing.T, pattern string) (path string, open func() *nar.Reader) {
	t.Helper()
	cache := testbed.Dir(t, "caches/xz")
	list, err := os.ReadFile(testbed.Dir(t, "caches/lists/system.closure"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^/nix/store/(\w+)-` + pattern + `$`).FindSubmatch(list)
	if found == nil {
		t.Fatalf("no %s in the list", pattern)
	}
	text, err := os.ReadFile(filepath.Join(cache, string(found[1])+".narinfo"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := narinfo.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(found[0]), func() *nar.Reader {
		return nar.NewReader(bytes.NewReader(testbed.Run(t, "xz", "-dc", filepath.Join(cache, info.URL))))
	}
}
