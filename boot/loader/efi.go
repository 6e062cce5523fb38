package loader

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"thaw/boot/uki"
	"thaw/rootfs"
)

// fallback is the program that firmware starts from a disk that it has not seen before
// (UEFI 2.10, section 3.5.1.1).
func fallback(m uki.Machine) (string, error) {
	if m.EFI() == "" {
		return "", fmt.Errorf("there is no UEFI for %v", m)
	}
	return "EFI/BOOT/BOOT" + strings.ToUpper(m.EFI()) + ".EFI", nil
}

// SystemdBoot is systemd-boot, whose program for the machine is given, on an EFI
// System Partition. Its entries are files of the Boot Loader Specification: kernels of
// type 1 and unified kernel images of type 2. Nobody can change a command line in its
// menu.
func SystemdBoot(m Menu, program File) (*rootfs.Tree, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	boot, err := fallback(m.Machine)
	if err != nil {
		return nil, err
	}
	if !program.given() {
		return nil, errors.New("its program is missing")
	}
	p := m.partition()
	p.file("EFI/systemd/systemd-boot"+m.Machine.EFI()+".efi", program)
	p.file(boot, program)
	for i := range m.Entries {
		e := &m.Entries[i]
		if e.UKI.given() {
			p.file(unifiedName(e), e.UKI)
			continue
		}
		if len(e.DTBs) > 0 {
			return nil, fmt.Errorf("entry %q: it does not choose among device trees", e.ID)
		}
		for _, value := range []string{e.title(), e.Version, e.Cmdline} {
			if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
				return nil, fmt.Errorf("entry %q: it would take the quotes away from %s", e.ID, value)
			}
		}
		p.entry(dirOf(e), e)
		p.text("loader/entries/"+e.ID+".conf", bls(e), "\n")
	}
	p.text("loader/entries.srel", []string{"type1"}, "\n")
	first, err := m.first()
	if err != nil {
		return nil, err
	}
	name := first.ID + ".conf"
	if first.UKI.given() {
		name = first.ID + ".efi"
	}
	p.text("loader/loader.conf", []string{"default " + name, fmt.Sprintf("timeout %d", m.Timeout), "editor no"}, "\n")
	return &p.Tree, nil
}

// bls is an entry of the Boot Loader Specification, type 1.
func bls(e *Entry) []string {
	dir := "/" + dirOf(e) + "/"
	lines := []string{"title " + e.title()}
	if e.Version != "" {
		lines = append(lines, "version "+e.Version)
	}
	lines = append(lines, "linux "+dir+kernelName)
	if e.Initrd.given() {
		lines = append(lines, "initrd "+dir+initrdName)
	}
	if e.DTB.given() {
		lines = append(lines, "devicetree "+dir+dtbName)
	}
	if e.Cmdline != "" {
		lines = append(lines, "options "+e.Cmdline)
	}
	return lines
}

// EFI is one entry that firmware starts by itself from an EFI System Partition. A
// unified kernel image, or a kernel that needs neither initrd nor command line,
// is the program that it looks for on every disk. To any other kernel such
// firmware would say nothing; it is started by a script, startup.nsh, where there is
// no such program and the firmware has a UEFI Shell, as in virtual machines. In front
// of the command line, the kernel then finds its own name.
func EFI(m Menu) (*rootfs.Tree, error) {
	e, err := m.only()
	if err != nil {
		return nil, err
	}
	boot, err := fallback(m.Machine)
	if err != nil {
		return nil, err
	}
	p := m.partition()
	switch {
	case e.UKI.given():
		p.file(boot, e.UKI)
		return &p.Tree, nil
	case e.DTB.given() || len(e.DTBs) > 0:
		return nil, fmt.Errorf("entry %q: it passes on no device tree: make a unified kernel image", e.ID)
	case !e.Initrd.given() && e.Cmdline == "":
		p.file(boot, e.Kernel)
		return &p.Tree, nil
	}
	script, err := startup(e)
	if err != nil {
		return nil, fmt.Errorf("entry %q: %w", e.ID, err)
	}
	p.entry(dirOf(e), e)
	p.text("startup.nsh", script, "\r\n")
	return &p.Tree, nil
}

// Places says in which files of a tree by [SystemdBoot], [EFI] or [Isolinux] the first
// entry of its menu has kernel and initrd: files of their own, or a unified kernel image
// for both. They are empty for what the entry does not have.
func Places(t *rootfs.Tree, m Menu) (kernel, initrd string) {
	e := &m.Entries[0]
	boot, _ := fallback(m.Machine)
	names := []string{dirOf(e) + "/" + kernelName, unifiedName(e), boot}
	if i := slices.IndexFunc(names, t.Has); i >= 0 {
		kernel = names[i]
	}
	switch {
	case e.UKI.given():
		initrd = kernel
	case e.Initrd.given():
		initrd = dirOf(e) + "/" + initrdName
	}
	return kernel, initrd
}

// unifiedName is where systemd-boot looks for an entry that is a unified kernel image.
func unifiedName(e *Entry) string { return "EFI/Linux/" + e.ID + ".efi" }

// startup is a script of the UEFI Shell (UEFI Shell Specification 2.2), which begins
// on no disk: it looks for the one with the kernel.
func startup(e *Entry) ([]string, error) {
	if i := strings.IndexFunc(e.Cmdline, func(r rune) bool { return r > '~' || r < ' ' || strings.ContainsRune(`%^"|<>#;`, r) }); i >= 0 {
		return nil, fmt.Errorf("the command line has %q in it, which the UEFI Shell would take for itself: make a unified kernel image", e.Cmdline[i:][:1])
	}
	path := strings.ReplaceAll("/"+dirOf(e)+"/", "/", `\`)
	args := ""
	if e.Initrd.given() {
		args += " initrd=" + path + initrdName
	}
	if e.Cmdline != "" {
		args += " " + e.Cmdline
	}
	return []string{
		"@echo -off",
		"for %a in 0 1 2 3 4 5 6 7 8 9",
		"  if exist FS%a:" + path + kernelName + " then",
		"    FS%a:" + path + kernelName + args,
		"  endif",
		"endfor",
	}, nil
}
