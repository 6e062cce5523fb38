package initrd

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"thaw/boot/kmod"
	"thaw/rootfs"
)

// buses are the modules that drive disks. A kernel has some of them, mostly.
var buses = map[string][]string{
	"ata":    {"ahci", "ata_piix", "ata_generic", "sd_mod", "sr_mod"},
	"hyperv": {"hv_vmbus", "hv_storvsc", "sd_mod"},
	"mmc":    {"sdhci_pci", "sdhci_acpi", "sdhci_iproc", "bcm2835", "mmc_block"},
	"nvme":   {"nvme"},
	"scsi":   {"sd_mod", "sr_mod"},
	"usb":    {"xhci_pci", "ehci_pci", "ohci_pci", "uhci_hcd", "usb_storage", "uas", "sd_mod", "sr_mod"},
	"virtio": {"virtio_pci", "virtio_mmio", "virtio_blk", "virtio_scsi", "sd_mod", "sr_mod"},
	"vmware": {"vmw_pvscsi", "mptspi", "sd_mod", "sr_mod"},
	"xen":    {"xen_blkfront"},
}

// Buses returns the names that Options.Buses may have, sorted.
func Buses() []string { return slices.Sorted(maps.Keys(buses)) }

// companions are modules that a file system asks for when it is mounted, without
// saying so in any list.
var companions = map[string][]string{
	"vfat":  {"nls_cp437", "nls_iso8859_1", "nls_ascii", "nls_utf8"},
	"msdos": {"nls_cp437", "nls_iso8859_1", "nls_ascii", "nls_utf8"},
}

// modulesOf are the modules of file systems that are called otherwise.
var modulesOf = map[string]string{"iso9660": "isofs"}

const modulesDir = "lib/modules"

// modules finds what must be loaded.
func (b *builder) modules() error {
	b.put(rootfs.Entry{Path: "etc/initrd.modules", Mode: 0o644}, nil)
	for _, bus := range b.o.Buses {
		if buses[bus] == nil {
			return fmt.Errorf("no bus is called %q: there are %s", bus, strings.Join(Buses(), ", "))
		}
	}
	if b.o.Modules.Walk == nil {
		if len(b.o.Names) > 0 {
			return fmt.Errorf("modules %s: there is no object that has them", strings.Join(b.o.Names, ", "))
		}
		return nil
	}
	index, err := b.lists()
	if err != nil {
		return fmt.Errorf("%s: %w", b.o.Modules.Path, err)
	}
	names, err := b.names(index)
	if err != nil {
		return fmt.Errorf("%s: %w", b.o.Modules.Path, err)
	}
	modules, err := index.Resolve(names...)
	if err != nil {
		return fmt.Errorf("%s: %w", b.o.Modules.Path, err)
	}
	dir := path.Join(modulesDir, b.result.Version)
	p := &pick{object: b.o.Modules, files: map[string]string{}}
	b.picks = append(b.picks, p)
	var list strings.Builder
	for _, m := range modules {
		plain, _ := compression(m.File)
		if strings.ContainsAny(plain, " \t\n\\") {
			return fmt.Errorf("%s: the module %q has a blank or a backslash in its name", b.o.Modules.Path, plain)
		}
		b.result.Modules = append(b.result.Modules, plain)
		to := path.Join(dir, plain)
		p.files[path.Join(dir, m.File)] = to
		b.dirs(to)
		fmt.Fprintln(&list, strings.Join(append([]string{m.Name, "/" + to}, m.Needs...), " "))
	}
	b.put(rootfs.Entry{Path: "etc/initrd.modules", Mode: 0o644}, []byte(list.String()))
	return nil
}

// names returns the names of all modules that are asked for.
func (b *builder) names(index *kmod.Index) ([]string, error) {
	names := slices.Clone(b.o.Names)
	drivers := 0
	for _, bus := range b.o.Buses {
		for _, name := range buses[bus] {
			if index.Has(name) {
				names = append(names, name)
				drivers++
			}
		}
	}
	if len(b.o.Buses) > 0 && drivers == 0 {
		return nil, fmt.Errorf("the kernel has no module for disks at %s", strings.Join(b.o.Buses, ", "))
	}
	types := b.o.FSTypes
	if b.o.Overlay != "" {
		types = append(slices.Clone(types), "overlay")
	}
	for _, fstype := range types {
		// Kernels that do not list the aliases of what is built in have the
		// name of the file at least.
		if alias := "fs-" + fstype; index.Has(alias) {
			names = append(names, alias)
		} else {
			names = append(names, cmp.Or(modulesOf[fstype], fstype))
		}
		for _, name := range companions[fstype] {
			if index.Has(name) {
				names = append(names, name)
			}
		}
	}
	if b.o.Image != "" {
		names = append(names, "loop")
	}
	return names, nil
}

// lists reads the lists of the kernel's modules, and sets the version.
func (b *builder) lists() (*kmod.Index, error) {
	var l kmod.Lists
	into := map[string]*[]byte{
		kmod.DepFile: &l.Dep, kmod.SoftdepFile: &l.Softdep, kmod.AliasFile: &l.Alias,
		kmod.BuiltinFile: &l.Builtin, kmod.BuiltinModinfoFile: &l.BuiltinModinfo,
	}
	seen, version := false, b.o.Version
	err := b.o.Modules.Walk(func(e rootfs.Entry, data io.Reader) error {
		dir, name := rootfs.Split(e.Path)
		if dir == modulesDir && e.Kind() != 0 {
			if version == "" {
				version = name
			}
			switch {
			case e.Kind() == fs.ModeSymlink && version == name:
				return fmt.Errorf("%s is a link to %s: name the object that has the modules themselves", e.Path, e.Target)
			case b.o.Version == "" && version != name:
				return fmt.Errorf("has modules for %s and for %s: say for which version", version, name)
			}
		}
		list := into[name]
		if list == nil || dir != path.Join(modulesDir, version) || !e.Mode.IsRegular() {
			return nil
		}
		if e.Size > kmod.MaxList {
			return fmt.Errorf("%s has %d bytes, and %d are the most that is read", e.Path, e.Size, kmod.MaxList)
		}
		seen = seen || name == kmod.DepFile
		var err error
		*list, err = io.ReadAll(data)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !seen {
		return nil, fmt.Errorf("has no %s", path.Join(modulesDir, version+"/"+kmod.DepFile))
	}
	b.result.Version = version
	index, err := kmod.New(l)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path.Join(modulesDir, version), err)
	}
	return index, nil
}
