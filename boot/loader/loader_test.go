package loader_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thaw/boot/loader"
	"thaw/boot/uki"
	"thaw/rootfs"
)

var update = flag.Bool("u", false, "rewrite golden files")

var noon = time.Date(2001, 2, 3, 12, 34, 56, 0, time.UTC)

func file(content string) loader.File { return loader.Bytes([]byte(content)) }

// full is an entry with all that a kernel has.
func full() loader.Entry {
	return loader.Entry{ID: "nixos", Title: "NixOS 25.11", Version: "6.12.1", Kernel: file("KERNEL"), Initrd: file("INITRD"), Cmdline: "root=LABEL=nixos ro quiet"}
}

func bare() loader.Entry  { return loader.Entry{ID: "Bare-1.0", Kernel: file("BARE")} }
func whole() loader.Entry { return loader.Entry{ID: "whole", UKI: file("UKI")} }

func with(e loader.Entry, change func(*loader.Entry)) loader.Entry {
	change(&e)
	return e
}

func menu(m uki.Machine, entries ...loader.Entry) loader.Menu {
	return loader.Menu{Machine: m, Entries: entries, Time: noon}
}

// picture collects a tree as text.
type picture struct {
	strings.Builder
	t *testing.T
}

func (p *picture) Add(e rootfs.Entry, data io.Reader) error {
	if !e.ModTime.Equal(noon) || e.UID != 0 || e.GID != 0 {
		p.t.Errorf("%s: time %v, owner %d:%d", e.Path, e.ModTime, e.UID, e.GID)
	}
	fmt.Fprintf(p, "%v %s\n", e.Mode, e.Path)
	if e.Mode.IsRegular() {
		b, err := io.ReadAll(data)
		if err != nil {
			return err
		}
		for l := range strings.Lines(string(b)) {
			fmt.Fprintf(p, "  | %s\n", strings.ReplaceAll(strings.TrimSuffix(l, "\n"), "\r", "\\r"))
		}
	}
	return nil
}

func draw(t *testing.T, tree *rootfs.Tree) string {
	t.Helper()
	p := &picture{t: t}
	if err := tree.Send(rootfs.Check(p)); err != nil {
		t.Fatal(err)
	}
	return p.String()
}

func TestGolden(t *testing.T) {
	dtb := func(e *loader.Entry) { e.DTB = file("DTB") }
	dtbs := func(e *loader.Entry) {
		e.DTBs = map[string]loader.File{"bcm2711-rpi-4-b.dtb": file("B"), "overlays/vc4.dtbo": file("O"), "rockchip/rk3399.dtb": file("R")}
	}
	sys := file("SYS")
	for name, make := range map[string]func() (*rootfs.Tree, error){
		"systemd-boot": func() (*rootfs.Tree, error) {
			m := menu(uki.AA64, with(full(), dtb), bare(), whole())
			m.Timeout = 5
			return loader.SystemdBoot(m, file("PROGRAM"))
		},
		"systemd-boot-whole": func() (*rootfs.Tree, error) {
			m := menu(uki.X64, full(), whole())
			m.Default = "whole"
			return loader.SystemdBoot(m, file("PROGRAM"))
		},
		"efi-whole":  func() (*rootfs.Tree, error) { return loader.EFI(menu(uki.RISCV64, whole())) },
		"efi-bare":   func() (*rootfs.Tree, error) { return loader.EFI(menu(uki.IA32, bare())) },
		"efi-kernel": func() (*rootfs.Tree, error) { return loader.EFI(menu(uki.X64, full())) },
		"extlinux": func() (*rootfs.Tree, error) {
			m := menu(uki.AA64, with(full(), dtbs), with(bare(), dtb))
			m.Timeout, m.Default = 3, "Bare-1.0"
			return loader.Extlinux(m)
		},
		"syslinux": func() (*rootfs.Tree, error) { return loader.Syslinux(menu(uki.X64, full(), bare()), sys, file("C32")) },
		"isolinux": func() (*rootfs.Tree, error) { return loader.Isolinux(menu(uki.X64, full()), sys, file("C32")) },
		"raspberry-pi": func() (*rootfs.Tree, error) {
			return loader.RaspberryPi(menu(uki.AA64, with(full(), dtbs)), map[string]loader.File{"start4.elf": file("ELF"), "overlays/bt.dtbo": file("BT")}, []string{"enable_uart=1", "[pi4]"})
		},
		"raspberry-pi-arm": func() (*rootfs.Tree, error) { return loader.RaspberryPi(menu(uki.ARM, with(bare(), dtb)), nil, nil) },
		"files":            func() (*rootfs.Tree, error) { return loader.Files(menu(uki.AA64, with(full(), dtbs))) },
		"files-bare":       func() (*rootfs.Tree, error) { return loader.Files(menu(uki.AA64, with(bare(), dtb))) },
	} {
		t.Run(name, func(t *testing.T) {
			tree, err := make()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, draw(t, tree))
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || got != string(want) {
		t.Errorf("got:\n%swant (-u rewrites it):\n%s", got, want)
	}
}

func TestIPXE(t *testing.T) {
	for _, c := range []struct{ kernel, initrd, cmdline, want string }{
		{"bzImage", "initrd", "root=/dev/vda1 quiet", "#!ipxe\nkernel bzImage initrd=initrd root=/dev/vda1 quiet\ninitrd --name initrd initrd\nboot\n"},
		{"http://example.org/k?a=1&b=2", "", "", "#!ipxe\nkernel http://example.org/k?a=1&b=2\nboot\n"},
		{"", "", "", "error: there is no kernel"},
		{"a b", "", "", `error: "a b" is not a URL`},
		{"k", "${net0/mac}", "", `error: "${net0/mac}" is not a URL`},
		{"--name", "", "", `error: "--name" is not a URL`},
		{"k", "", "a && b", `error: the command line has "&&" in it, which iPXE would take for itself`},
		{"k", "", "a || b", `error: the command line has "||" in it, which iPXE would take for itself`},
		{"k", "", "a #b", `error: the command line has "#b" in it, which iPXE would take for itself`},
		{"k", "", "mac=${mac}", `error: the command line has "mac=${mac}" in it, which iPXE would take for itself`},
		{"k", "", "a\nb", `error: the command line has '\n' in it, and must be one line of text`},
	} {
		got, err := loader.IPXE(c.kernel, c.initrd, c.cmdline)
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	systemd := func(m loader.Menu) error { _, err := loader.SystemdBoot(m, file("P")); return err }
	efi := func(m loader.Menu) error { _, err := loader.EFI(m); return err }
	extlinux := func(m loader.Menu) error { _, err := loader.Extlinux(m); return err }
	syslinux := func(m loader.Menu) error { _, err := loader.Syslinux(m, file("S"), file("C")); return err }
	pi := func(m loader.Menu) error { _, err := loader.RaspberryPi(m, nil, nil); return err }
	files := func(m loader.Menu) error { _, err := loader.Files(m); return err }
	everyone := []func(loader.Menu) error{systemd, efi, extlinux, syslinux, pi, files}
	cmdline := func(s string) loader.Entry { return with(full(), func(e *loader.Entry) { e.Cmdline = s }) }
	id := func(s string) loader.Entry { return with(full(), func(e *loader.Entry) { e.ID = s }) }
	for _, c := range []struct {
		want string
		by   []func(loader.Menu) error
		menu loader.Menu
	}{
		{"there is nothing to start", everyone, menu(uki.X64)},
		{"the ID is not 1 to 64", everyone, menu(uki.X64, id(""))},
		{"the ID is not 1 to 64", everyone, menu(uki.X64, id("a/b"))},
		{"the ID is not 1 to 64", everyone, menu(uki.X64, id("a b"))},
		{"the ID is not 1 to 64", everyone, menu(uki.X64, id("end."))},
		{"the ID is not 1 to 64", everyone, menu(uki.X64, id("no+3"))},
		{"the ID is not 1 to 64", everyone, menu(uki.X64, id(strings.Repeat("a", 65)))},
		{`entry "NIXOS": another one has this ID`, everyone, menu(uki.X64, full(), id("NIXOS"))},
		{`the default "x" is no entry`, everyone, loader.Menu{Machine: uki.X64, Entries: []loader.Entry{full()}, Default: "x"}},
		{"a timeout of -1 seconds", everyone, loader.Menu{Machine: uki.X64, Entries: []loader.Entry{full()}, Timeout: -1}},
		{"a timeout of 3601 seconds", everyone, loader.Menu{Machine: uki.X64, Entries: []loader.Entry{full()}, Timeout: 3601}},
		{"either a kernel or a unified", everyone, menu(uki.X64, loader.Entry{ID: "x"})},
		{"either a kernel or a unified", everyone, menu(uki.X64, with(full(), func(e *loader.Entry) { e.UKI = file("U") }))},
		{"has its own initrd", everyone, menu(uki.X64, with(whole(), func(e *loader.Entry) { e.Cmdline = "quiet" }))},
		{"either one device tree or several", everyone, menu(uki.X64, with(full(), func(e *loader.Entry) { e.DTB, e.DTBs = file("D"), map[string]loader.File{"x": file("X")} }))},
		{`device tree "../x": not a valid path`, everyone, menu(uki.X64, with(full(), func(e *loader.Entry) { e.DTBs = map[string]loader.File{"../x": file("X")} }))},
		{"is not one line", everyone, menu(uki.X64, with(full(), func(e *loader.Entry) { e.Title = "a\noptions init=/bin/sh" }))},
		{`the command line has '\n' in it`, everyone, menu(uki.X64, cmdline("a\nb"))},
		{`the command line has '\x00' in it`, everyone, menu(uki.X64, cmdline("a\x00b"))},
		{"2 entries and no menu", []func(loader.Menu) error{efi, pi, files}, menu(uki.AA64, full(), bare())},
		{"only EFI starts a unified kernel image", []func(loader.Menu) error{extlinux, syslinux, pi, files}, menu(uki.X64, whole())},
		{"there is no UEFI for machine 0x0", []func(loader.Menu) error{systemd, efi}, menu(0, full())},
		{"there are no BIOSes for aarch64", []func(loader.Menu) error{syslinux}, menu(uki.AA64, full())},
		{"there is none for x86-64", []func(loader.Menu) error{pi}, menu(uki.X64, full())},
		{"does not choose among device trees", []func(loader.Menu) error{systemd}, menu(uki.AA64, with(full(), func(e *loader.Entry) { e.DTBs = map[string]loader.File{"x": file("X")} }))},
		{"passes on no device tree", []func(loader.Menu) error{efi, syslinux}, menu(uki.X64, with(full(), func(e *loader.Entry) { e.DTB = file("X") }))},
		{`take the quotes away from "a"`, []func(loader.Menu) error{systemd}, menu(uki.X64, cmdline(`"a"`))},
		{`the command line "-" means none`, []func(loader.Menu) error{extlinux, syslinux}, menu(uki.X64, cmdline("-"))},
		{`has "%" in it, which the UEFI Shell`, []func(loader.Menu) error{efi}, menu(uki.X64, cmdline("a=%x"))},
		{`has "\"" in it, which the UEFI Shell`, []func(loader.Menu) error{efi}, menu(uki.X64, cmdline(`dyndbg="file x"`))},
		{`has '$' in it, which U-Boot`, []func(loader.Menu) error{extlinux}, menu(uki.X64, cmdline("memmap=64K$0x18000000"))},
		{`has '\'' in it, which U-Boot`, []func(loader.Menu) error{extlinux}, menu(uki.X64, cmdline("a='b'"))},
	} {
		for i, by := range c.by {
			if err := by(c.menu); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d: want %q: %v", i, c.want, err)
			}
		}
	}
	for want, err := range map[string]error{
		"its program is missing":    second(loader.SystemdBoot(menu(uki.X64, full()), loader.File{})),
		"ldlinux.c32 is missing":    second(loader.Syslinux(menu(uki.X64, full()), file("S"), loader.File{})),
		"not one line":              second(loader.RaspberryPi(menu(uki.AA64, full()), nil, []string{"a\nb"})),
		"reads 98 characters":       second(loader.RaspberryPi(menu(uki.AA64, full()), nil, []string{strings.Repeat("a", 99)})),
		`"kernel": there is one of`: second(loader.RaspberryPi(menu(uki.AA64, full()), map[string]loader.File{"kernel": file("K")}, nil)),
		`"/x": not a valid path`:    second(loader.RaspberryPi(menu(uki.AA64, full()), map[string]loader.File{"/x": file("K")}, nil)),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

func second(_ *rootfs.Tree, err error) error { return err }

// TestEveryMachine has the name of the program that firmware looks for (UEFI 2.10,
// section 3.5.1.1).
func TestEveryMachine(t *testing.T) {
	want := map[uki.Machine]string{uki.X64: "BOOTX64", uki.AA64: "BOOTAA64", uki.IA32: "BOOTIA32", uki.ARM: "BOOTARM", uki.RISCV64: "BOOTRISCV64", uki.LoongArch64: "BOOTLOONGARCH64"}
	for _, m := range slices.Sorted(maps.Keys(want)) {
		tree, err := loader.EFI(menu(m, whole()))
		if err != nil || !tree.Has("EFI/BOOT/"+want[m]+".EFI") {
			t.Errorf("%v: %v", m, err)
		}
	}
}

// Kernel and initrd are where a tree says.
func TestPlaces(t *testing.T) {
	for _, c := range []struct {
		name           string
		make           func(m loader.Menu) (*rootfs.Tree, error)
		entry          loader.Entry
		kernel, initrd string
	}{
		{"a unified image", loader.EFI, whole(), "EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/BOOTX64.EFI"},
		{"a kernel alone", loader.EFI, bare(), "EFI/BOOT/BOOTX64.EFI", ""},
		{"a kernel", loader.EFI, full(), "boot/nixos/kernel", "boot/nixos/initrd"},
		{"an entry", func(m loader.Menu) (*rootfs.Tree, error) { return loader.SystemdBoot(m, file("P")) }, full(), "boot/nixos/kernel", "boot/nixos/initrd"},
		{"a unified entry", func(m loader.Menu) (*rootfs.Tree, error) { return loader.SystemdBoot(m, file("P")) }, whole(), "EFI/Linux/whole.efi", "EFI/Linux/whole.efi"},
		{"on a CD", func(m loader.Menu) (*rootfs.Tree, error) { return loader.Isolinux(m, file("P"), file("C")) }, full(), "boot/nixos/kernel", "boot/nixos/initrd"},
	} {
		m := menu(uki.X64, c.entry)
		tree, err := c.make(m)
		if err != nil {
			t.Fatal(err)
		}
		kernel, initrd := loader.Places(tree, m)
		if kernel != c.kernel || initrd != c.initrd || !tree.Has(kernel) || initrd != "" && !tree.Has(initrd) {
			t.Errorf("%s: %q and %q", c.name, kernel, initrd)
		}
	}
}
