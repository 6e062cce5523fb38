package spec

import (
	"slices"
	"strings"
)

// uefiLoaders are the loaders that UEFI starts from a CD.
var uefiLoaders = []string{"uki", "systemd-boot", "efi"}

// BootsISO reports whether a CD can boot in that way.
func (b *Boot) BootsISO() bool { return b != nil && (b.UEFI() || b.Isolinux != nil) }

// UEFI reports whether the loader is one that UEFI starts from a CD.
func (b *Boot) UEFI() bool { return slices.Contains(uefiLoaders, b.Loader) }

// isolinux checks what BIOSes boot from CDs.
func (c *checker) isolinux() {
	const at = "boot.isolinux"
	if arch := c.spec.Arch; arch != "" && arch != "x86_64-linux" && arch != "i686-linux" {
		c.errorf(at, "machines of %s have no BIOS", arch)
	}
	if len(c.spec.Outputs) > 0 && !slices.ContainsFunc(c.spec.Outputs, func(o Output) bool { return o.ISO != nil }) {
		c.errorf(at, "CDs boot by it, and no output is of the type iso; disks boot by the loader syslinux")
	}
}

func (c *checker) iso(iso *ISO, at string) {
	if b := c.spec.Boot; !b.BootsISO() {
		loader := "none"
		if b != nil {
			loader = b.Loader
		}
		c.errorf(at+".type", "boot.loader is %s, and a CD needs one of %s, or boot.isolinux for BIOSes", loader, strings.Join(uefiLoaders, ", "))
	} else {
		if !b.UEFI() && iso.EFI != (Size{Kind: Fit}) {
			c.errorf(at+".efi", "boot.loader is %s, and there is nothing that UEFI boots from", b.Loader)
		}
		if iso.Table == "none" && b.Isolinux != nil && b.Isolinux.MBR != nil {
			c.errorf(at+".table", "boot.isolinux.mbr is in front of a partition table, and there is none")
		}
	}
	if iso.EFI.Kind == Fill {
		c.errorf(at+".efi", "there is nothing to fill; write fit or 64M")
	}
	if iso.Root == nil {
		iso.Root = &ISORoot{}
		made(iso.Root, "fs", "squashfs")
	}
	switch root := iso.Root; {
	case root.Squashfs != nil:
		c.squashfs(root.Squashfs, at+".root")
	case root.Erofs != nil:
		c.erofs(root.Erofs, at+".root", DefaultLabel)
		if *root.Erofs.Label == iso.Label {
			c.errorf(at+".root.label", "%s is the label of the CD, too: a system that looks for it finds either", clip(iso.Label))
		}
	}
}
