package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"thaw/boot/probe"
	"thaw/boot/uki"
	"thaw/image/unwrap"
)

// isImage tells an image from specs and store paths.
func isImage(arg string) bool {
	if strings.HasSuffix(arg, lockSuffix) || slices.Contains(specSuffixes, filepath.Ext(arg)) {
		return false
	}
	return arg != "-" && !strings.HasPrefix(arg, "/nix/store/")
}

// qemuFormats are what QEMU calls formats of images.
var qemuFormats = map[string]string{"raw": "raw", "qcow2": "qcow2", "vhd": "vpc", "vhdx": "vhdx", "vdi": "vdi", "vmdk": "vmdk"}

// cpioMagic is how an archive for an initramfs begins (the kernel's buffer-format.rst).
const cpioMagic = "070701"

// useImage makes an image the disk of a machine. A compressed one is expanded in dir.
func (o *runOptions) useImage(ctx context.Context, g *guest, name, dir string) error {
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		return o.useFiles(g, name)
	}
	m, end, err := openImage(name)
	if err != nil {
		return err
	}
	defer end()
	magic := make([]byte, len(cpioMagic))
	if _, err := m.ReadAt(magic, 0); err == nil && string(magic) == cpioMagic && g.initrd == "" {
		if g.kernel == "" {
			return usage("give --kernel FILE", "%s is an initramfs, which a kernel starts", name)
		}
		g.initrd = name // the kernel decompresses it
		return o.settle(g, kernelArch(g.kernel))
	}
	g.disk, g.format = name, qemuFormats[m.Format]
	if m.Compression != "" {
		if dir == "" {
			return o.needsDir(name + " is compressed, and has to be decompressed for QEMU")
		}
		g.disk = filepath.Join(dir, "disk.img")
		if err := expand(ctx, m, g.disk); err != nil {
			return fmt.Errorf("image %s: %w", name, err)
		}
		end()
		if m, end, err = openImage(g.disk); err != nil {
			return err
		}
		defer end()
	}
	starts, err := o.boot(g, m, "")
	if err == nil && !starts {
		err = usage("give --kernel FILE, and what it needs with --initrd and --append", "%s does not start by itself on %s: it has no EFI/BOOT in an EFI system partition, and no code for a BIOS", name, g.arch.name)
	}
	return err
}

// useFiles starts what an output of the type files has in its directory.
func (o *runOptions) useFiles(g *guest, dir string) error {
	if kernel := filepath.Join(dir, "kernel"); g.kernel == "" {
		if g.kernel = kernel; !exists(kernel) {
			return usage("an output of the type files has a kernel in it; else give an image", "%s is a directory without a kernel", dir)
		}
	}
	if initrd := filepath.Join(dir, "initrd"); g.initrd == "" && exists(initrd) {
		g.initrd = initrd
	}
	for _, fs := range []string{"squashfs", "erofs", "ext4"} {
		if root := filepath.Join(dir, "root."+fs); exists(root) {
			g.disk, g.format = root, "raw"
		}
	}
	if cmdline := filepath.Join(dir, "cmdline"); g.cmdline == "" && exists(cmdline) {
		text, err := readList(cmdline)
		if err != nil {
			return err
		}
		g.cmdline = strings.TrimSpace(string(text))
		if g.disk != "" && !strings.Contains(" "+g.cmdline, " root=") {
			g.cmdline = "root=/dev/vda " + g.cmdline
		}
	}
	return o.settle(g, kernelArch(g.kernel))
}

// kernelArch is the architecture that a kernel is for, "" if it does not say.
func kernelArch(name string) string {
	f, err := openFile(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	machine, err := uki.ReadProgram(f)
	if err != nil {
		return ""
	}
	return archOfEFI(machine.EFI())
}

// archOfEFI is the architecture that EFI calls so, "" if there is none.
func archOfEFI(name string) string {
	if a := archOf(func(a *guestArch) bool { return a.efi == name }); a != nil {
		return a.name
	}
	return ""
}

// expand writes a compressed image to a file.
func expand(ctx context.Context, m *unwrap.Image, name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	const size = 1 << 20
	for b, err := range m.Blocks(size, nil) {
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err == nil {
			_, err = f.WriteAt(b.Data, b.Index*size)
		}
		if err != nil {
			return err
		}
	}
	if err := f.Truncate(m.Size()); err != nil {
		return err
	}
	return f.Close()
}

// boot decides how a machine with a disk starts, and reports whether it does: by
// firmware, or because a kernel is given.
func (o *runOptions) boot(g *guest, m *unwrap.Image, arch string) (bool, error) {
	b := probe.Read(m, m.Size())
	g.disc = b.Disc
	if arch == "" && g.kernel != "" {
		arch = kernelArch(g.kernel)
	}
	if arch == "" && len(b.EFI) > 0 {
		arch = archOfEFI(b.EFI[0])
		if host := hostArch(); host != nil && slices.Contains(b.EFI, host.efi) {
			arch = host.name
		}
	}
	err := o.settle(g, arch)
	switch {
	case err != nil:
		return false, err
	case g.kernel != "" || len(g.firmware) > 0:
		return true, nil
	case slices.Contains(b.EFI, g.arch.efi):
		g.firmware, err = findFirmware(g.arch)
		return true, err
	}
	return b.BIOS && g.arch.machine == "q35", nil
}
