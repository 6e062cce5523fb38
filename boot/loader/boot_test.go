package loader_test

import (
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thaw/boot/loader"
	"thaw/boot/syslinux"
	"thaw/boot/uki"
	"thaw/image/disk"
	"thaw/image/vfat"
	"thaw/internal/testbed"
	"thaw/rootfs"
)

var all = flag.Bool("all", false, "boot by every loader, not by two of them")

const mib = 1 << 20

// system is one of the large test caches: its kernel, initrd, and root file system.
type system struct {
	kernel, initrd *io.SectionReader
	root           string
}

const cmdline = "root=LABEL=nixos console=ttyS0 panic=-1"

// build has thaw build the system.
func build(t *testing.T) system {
	t.Helper()
	top, err := os.ReadFile(testbed.Dir(t, "caches", "lists", "system.roots"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	cmd := exec.Command("go", "run", "./cmd/thaw", "build", strings.TrimSpace(string(top)), "-o", path("root.ext4"), "--kernel-out", path("kernel"), "--initrd-out", path("initrd"),
		"--cache", testbed.Dir(t, "caches", "xz"), "--trusted-key", testbed.Dir(t, "caches", "keys", "testbed-1.pub"), "--no-cache")
	cmd.Dir = testbed.Root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("thaw: %v: %s", err, out)
	}
	return system{section(t, path("kernel")), section(t, path("initrd")), path("root.ext4")}
}

func section(t *testing.T, path string) *io.SectionReader {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return io.NewSectionReader(f, 0, info.Size())
}

// debian returns a file of one of Debian's packages.
func debian(t *testing.T, pkg, path string) *io.SectionReader {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is missing, and CI must have it: %v", pkg, err)
		}
		t.Skipf("SKIPPED: %s is not installed: %v", pkg, err)
	}
	return section(t, path)
}

func read(t *testing.T, r *io.SectionReader) []byte {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// compose makes a disk of a boot partition and the system's root. bios is the loader
// for BIOSes in it, if there is one.
func compose(t *testing.T, tree *rootfs.Tree, s system, bios *syslinux.Loader) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	d, err := disk.NewWriter(f, disk.Options{GUID: "00000000-0000-8000-8000-000000000001"})
	must(err)
	boot := disk.Partition{Name: "boot", Type: disk.TypeESP, GUID: "00000000-0000-8000-8000-000000000002", Size: 64 * mib}
	if bios != nil {
		code, err := d.AddRaw(disk.Raw{Name: "boot code", Size: 440})
		must(err)
		_, err = code.WriteAt(read(t, debian(t, "syslinux-common", "/usr/lib/syslinux/mbr/gptmbr.bin")), 0)
		must(err)
		boot.Attributes = disk.AttrLegacyBoot
	}
	at, err := d.Add(boot)
	must(err)
	fat, err := vfat.NewWriter(at, vfat.Options{Serial: 1, Label: "BOOT", Size: at.Size(), HiddenSectors: uint32(at.Start() / 512)})
	must(err)
	must(tree.Send(rootfs.Check(fat)))
	must(fat.Close())
	if bios != nil {
		place, ok := fat.Place("ldlinux.sys")
		if !ok {
			t.Fatal("there is no ldlinux.sys")
		}
		must(bios.Install(at, fat.BootSectors(), place))
	}
	at, err = d.Add(disk.Partition{Name: "nixos", Type: disk.TypeRootX86_64, GUID: "00000000-0000-8000-8000-000000000003"})
	must(err)
	root := section(t, s.root)
	_, err = io.Copy(io.NewOffsetWriter(at, 0), root)
	must(err)
	must(at.End(root.Size()))
	must(d.Close())
	must(f.Truncate(d.Size()))
	return name
}

// TestBoot boots disks to the system's own checks.
func TestBoot(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: boots systems")
	}
	testbed.Tool(t, "qemu-system-x86_64")
	check := testbed.Dir(t, "boot", "boot-check.sh")
	s := build(t)
	parts := loader.Entry{ID: "nixos", Title: "NixOS", Version: "6.1", Kernel: loader.Section(s.kernel), Initrd: loader.Section(s.initrd), Cmdline: cmdline}
	whole := func(t *testing.T) loader.Entry {
		t.Helper()
		i, err := uki.New(uki.Parts{Stub: read(t, debian(t, "systemd-boot-efi", "/usr/lib/systemd/boot/efi/linuxx64.efi.stub")), Linux: s.kernel,
			Initrds: []*io.SectionReader{s.initrd}, Cmdline: cmdline, OSRelease: []byte("ID=nixos\nPRETTY_NAME=\"NixOS\"\nVERSION_ID=1\n")})
		if err != nil {
			t.Fatal(err)
		}
		return loader.Entry{ID: "whole", UKI: loader.File{Size: i.Size(), Open: i.Open}}
	}
	program := func(t *testing.T) loader.File {
		return loader.Section(debian(t, "systemd-boot-efi", "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"))
	}
	for _, c := range []struct {
		name string
		more bool // if all are to boot
		bios bool
		tree func(t *testing.T, l *syslinux.Loader) (*rootfs.Tree, error)
	}{
		{name: "systemd-boot starts a unified kernel image", tree: func(t *testing.T, _ *syslinux.Loader) (*rootfs.Tree, error) {
			return loader.SystemdBoot(loader.Menu{Machine: uki.X64, Entries: []loader.Entry{parts, whole(t)}, Default: "whole"}, program(t))
		}},
		{name: "systemd-boot starts a kernel", more: true, tree: func(t *testing.T, _ *syslinux.Loader) (*rootfs.Tree, error) {
			return loader.SystemdBoot(loader.Menu{Machine: uki.X64, Entries: []loader.Entry{whole(t), parts}, Default: "nixos", Timeout: 1}, program(t))
		}},
		{name: "firmware starts a unified kernel image", more: true, tree: func(t *testing.T, _ *syslinux.Loader) (*rootfs.Tree, error) {
			return loader.EFI(loader.Menu{Machine: uki.X64, Entries: []loader.Entry{whole(t)}})
		}},
		{name: "the UEFI Shell starts a kernel", more: true, tree: func(t *testing.T, _ *syslinux.Loader) (*rootfs.Tree, error) {
			return loader.EFI(loader.Menu{Machine: uki.X64, Entries: []loader.Entry{parts}})
		}},
		{name: "a BIOS and Syslinux", bios: true, tree: func(t *testing.T, l *syslinux.Loader) (*rootfs.Tree, error) {
			return loader.Syslinux(loader.Menu{Machine: uki.X64, Entries: []loader.Entry{parts}}, loader.Bytes(l.Sys()),
				loader.Section(debian(t, "syslinux-common", "/usr/lib/syslinux/modules/bios/ldlinux.c32")))
		}},
	} {
		if c.more && !*all {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			var bios *syslinux.Loader
			args := []string{"--uefi", "--timeout", "180"}
			if c.bios {
				var err error
				if bios, err = syslinux.Open(debian(t, "syslinux", "/usr/bin/syslinux")); err != nil {
					t.Fatal(err)
				}
				args = args[1:]
			} else {
				debian(t, "ovmf", "/usr/share/OVMF/OVMF_CODE_4M.fd")
			}
			tree, err := c.tree(t, bios)
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(check, append([]string{compose(t, tree, s, bios)}, args...)...).CombinedOutput()
			if err != nil {
				t.Fatalf("boot-check: %v\n%s", err, out)
			}
			t.Logf("%s", out[strings.LastIndex(strings.TrimRight(string(out), "\n"), "\n")+1:])
		})
	}
}
