package spec

import (
	"cmp"
	"slices"
	"strings"
)

// Boot is how the image starts. Kernel and Initrd are "auto", "none" or the path of a
// file in the store; Initrd is "generate" if Generate says how.
type Boot struct {
	Kernel   string   `key:"kernel" is:"boot file" default:"auto"`
	Initrd   string   `key:"initrd" is:"initrd" unset:"generate with the key generate, none without a kernel, otherwise auto"`
	Cmdline  string   `key:"cmdline" is:"kernel arguments" unset:"empty"`
	Loader   string   `key:"loader" only:"none uki systemd-boot efi extlinux raspberry-pi syslinux" default:"none"`
	Title    string   `key:"title" is:"line" unset:"the name of the spec"`
	Timeout  int      `key:"timeout" range:"0 3600" default:"0"` // seconds; 0 for no menu
	Generate *Initrd  `key:"generate" unset:"nothing is generated"`
	Stub     *Blob    `key:"stub" unset:"needed for uki; with systemd-boot, kernel and initrd are files of their own"`
	Program  *Blob    `key:"program" unset:"needed for systemd-boot and syslinux"`
	Ldlinux  *Blob    `key:"ldlinux" unset:"needed for syslinux"`
	MBR      *Blob    `key:"mbr" unset:"needed for syslinux"`
	DTB      *Blob    `key:"dtb" unset:"none"`
	DTBs     *Blob    `key:"dtbs" unset:"none"`
	Firmware *Blob    `key:"firmware" unset:"needed for raspberry-pi"`
	Config   []string `key:"config" is:"line" unset:"nothing"`

	Isolinux *Isolinux `key:"isolinux" unset:"no BIOS boots from CDs"`
}

// Isolinux is what BIOSes boot from CDs, beside the loader for UEFI or alone.
type Isolinux struct {
	Program *Blob `key:"program" need:"yes"`
	Ldlinux *Blob `key:"ldlinux" need:"yes"`
	MBR     *Blob `key:"mbr" unset:"a BIOS boots from the CD, and not where it is a disk"`
}

// Blob is a file, or where it is asked for a directory. One of its fields is set.
type Blob struct {
	Source string `key:"source" is:"file" one:"of"`
	Store  string `key:"store,short" is:"store file" one:"of"`
}

// Initrd is an initrd that is made of BusyBox, kernel modules and a script.
type Initrd struct {
	Busybox     string   `key:"busybox" is:"store file" need:"yes"`
	Modules     string   `key:"modules" is:"store file" unset:"none: the kernel has all that it needs"`
	Load        []string `key:"load" is:"kernel module" unset:"none"`
	Buses       []string `key:"buses" is:"bus" default:"ata mmc nvme scsi usb virtio"`
	Filesystems []string `key:"filesystems" only:"btrfs erofs ext4 squashfs xfs" unset:"those that the outputs have the root file system in, or ext4"`
	Firmware    []string `key:"firmware" is:"store file" unset:"none"`
	Files       []string `key:"firmware-files" is:"file pattern" unset:"none"`
	Root        string   `key:"root" is:"root device" unset:"the first root file system of the first disk, by its PARTUUID"`
	Overlay     string   `key:"overlay" is:"overlay device" unset:"none: the root is what is mounted"`
	ReadOnly    bool     `key:"read-only" default:"false"`
	Rescue      bool     `key:"rescue" default:"false"`
	Timeout     int      `key:"timeout" range:"1 3600" default:"30"` // seconds
	Microcode   *Blob    `key:"microcode" unset:"none"`
	Compress    string   `key:"compress" only:"none gzip zstd" default:"zstd"`
}

// loaderKeys are the keys that a loader needs, and those that it takes besides.
var loaderKeys = map[string]struct{ needs, takes []string }{
	"none":         {takes: []string{"dtb", "dtbs"}}, // for outputs that are files
	"uki":          {needs: []string{"stub"}, takes: []string{"dtb"}},
	"systemd-boot": {needs: []string{"program"}, takes: []string{"stub", "timeout", "dtb"}},
	"efi":          {takes: []string{"stub"}},
	"extlinux":     {takes: []string{"timeout", "dtb", "dtbs"}},
	"raspberry-pi": {needs: []string{"firmware"}, takes: []string{"dtb", "dtbs", "config"}},
	"syslinux":     {needs: []string{"program", "ldlinux", "mbr"}, takes: []string{"timeout"}},
}

func (c *checker) boot() {
	b := c.spec.Boot
	if b == nil {
		return
	}
	if b.Kernel == "none" {
		if b.Initrd != "" && b.Initrd != "none" || b.Generate != nil {
			c.errorf("boot.initrd", "an initrd needs a kernel, and boot.kernel is none")
		}
		if b.Cmdline != "" {
			c.errorf("boot.cmdline", "arguments need a kernel, and boot.kernel is none")
		}
		if b.Loader != "none" {
			c.errorf("boot.loader", "a boot loader needs a kernel, and boot.kernel is none")
		}
		if b.Isolinux != nil {
			c.errorf("boot.isolinux", "a boot loader needs a kernel, and boot.kernel is none")
		}
		b.Initrd = "none"
	}
	if b.Generate != nil {
		b.Initrd = cmp.Or(b.Initrd, "generate")
		b.Generate.Filesystems = sorted(b.Generate.Filesystems)
		b.Generate.Buses = sorted(b.Generate.Buses)
	}
	switch {
	case b.Initrd == "generate" && b.Generate == nil:
		c.errorf("boot.initrd", "the key \"generate\" is needed: what the initrd is made of")
	case b.Initrd != "generate" && b.Generate != nil:
		c.errorf("boot.generate", "boot.initrd is %s, and nothing is to be generated", b.Initrd)
	}
	b.Initrd = cmp.Or(b.Initrd, "auto")
	keys := loaderKeys[b.Loader]
	for _, key := range []string{"stub", "program", "ldlinux", "mbr", "dtb", "dtbs", "firmware", "config", "timeout"} {
		at := "boot." + key
		given := c.given(at) && (key != "timeout" || b.Timeout != 0)
		switch {
		case slices.Contains(keys.needs, key) && !given:
			c.errorf("boot.loader", "%s needs the key %q", b.Loader, key)
		case key == "timeout" && b.Isolinux != nil:
		case given && !slices.Contains(keys.needs, key) && !slices.Contains(keys.takes, key):
			c.errorf(at, "this is not for the loader %s", b.Loader)
		}
	}
	if b.DTB != nil && b.DTBs != nil {
		c.errorf("boot.dtb", "dtb and dtbs exclude each other")
	}
	if b.Isolinux != nil {
		c.isolinux()
	}
	if b.Loader != "none" || b.Isolinux != nil {
		b.Title = cmp.Or(b.Title, c.spec.Name)
	}
}

// StoreFiles returns the paths in the store that booting takes files from, some empty.
func (b *Boot) StoreFiles() (files []string) {
	if b == nil {
		return nil
	}
	add := func(list ...*Blob) {
		for _, f := range list {
			if f != nil {
				files = append(files, f.Store)
			}
		}
	}
	add(b.Stub, b.Program, b.Ldlinux, b.MBR, b.DTB, b.DTBs, b.Firmware)
	if i := b.Isolinux; i != nil {
		add(i.Program, i.Ldlinux, i.MBR)
	}
	for _, name := range []string{b.Kernel, b.Initrd} {
		if strings.HasPrefix(name, "/") {
			files = append(files, name)
		}
	}
	if g := b.Generate; g != nil {
		files = append(append(files, g.Busybox, g.Modules), g.Firmware...)
		add(g.Microcode)
	}
	return files
}
