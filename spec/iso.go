package spec

import "slices"

// isoLoaders are the loaders that a CD boots with.
var isoLoaders = []string{"uki", "systemd-boot", "efi"}

// BootsISO reports whether a CD can boot in that way.
func (b *Boot) BootsISO() bool { return b != nil && slices.Contains(isoLoaders, b.Loader) }

func (c *checker) iso(iso *ISO, at string) {
	if !c.spec.Boot.BootsISO() {
		loader := "none"
		if c.spec.Boot != nil {
			loader = c.spec.Boot.Loader
		}
		c.errorf(at+".type", "an ISO boots by UEFI: boot.loader is %s, and one of uki, systemd-boot, efi is needed", loader)
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
