package spec

import (
	"slices"
	"strings"
)

// isoLoaders are the loaders that a CD boots with.
var isoLoaders = []string{"uki", "systemd-boot", "efi", "isolinux"}

// BootsISO reports whether a CD can boot in that way.
func (b *Boot) BootsISO() bool { return b != nil && slices.Contains(isoLoaders, b.Loader) }

func (c *checker) iso(iso *ISO, at string) {
	if !c.spec.Boot.BootsISO() {
		loader := "none"
		if c.spec.Boot != nil {
			loader = c.spec.Boot.Loader
		}
		c.errorf(at+".type", "boot.loader is %s, and a CD needs one of %s", loader, strings.Join(isoLoaders, ", "))
	} else if c.spec.Boot.Loader == "isolinux" {
		if iso.EFI != (Size{Kind: Fit}) {
			c.errorf(at+".efi", "isolinux is for BIOSes, and there is nothing that UEFI boots from")
		}
		if iso.Table == "none" && c.spec.Boot.MBR != nil {
			c.errorf(at+".table", "boot.mbr is in front of a partition table, and there is none")
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
