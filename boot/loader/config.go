package loader

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"thaw/boot/uki"
	"thaw/rootfs"
)

// Extlinux is a file extlinux/extlinux.conf, by which U-Boot starts boards, on any file
// system that U-Boot reads, its root or that of /boot alike.
func Extlinux(m Menu) (*rootfs.Tree, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	for i := range m.Entries {
		// U-Boot puts in its variables, and takes quotes and backslashes away.
		if c := strings.IndexAny(m.Entries[i].Cmdline, `$'\`); c >= 0 {
			return nil, fmt.Errorf("entry %q: the command line has %q in it, which U-Boot would take for itself", m.Entries[i].ID, m.Entries[i].Cmdline[c])
		}
	}
	p, lines, err := m.labels(func(e *Entry, dir string) (lines []string) {
		if e.DTB.given() {
			lines = append(lines, "FDT "+dir+dtbName)
		}
		if len(e.DTBs) > 0 {
			lines = append(lines, "FDTDIR "+dir+dtbsName)
		}
		return lines
	})
	if err != nil {
		return nil, err
	}
	p.text("extlinux/extlinux.conf", lines, "\n")
	return &p.Tree, nil
}

// Syslinux is Syslinux for BIOSes on a FAT file system. Its files ldlinux.sys and
// ldlinux.c32 are given; package [thaw/boot/syslinux] makes the former and what the
// file system needs besides.
func Syslinux(m Menu, sys, c32 File) (*rootfs.Tree, error) {
	return syslinux(&m, "ldlinux.sys", sys, c32)
}

// Isolinux is ISOLINUX, of version 6, on a CD with Rock Ridge: its program, which a BIOS
// starts, becomes isolinux.bin.
func Isolinux(m Menu, program, c32 File) (*rootfs.Tree, error) {
	return syslinux(&m, "isolinux.bin", program, c32)
}

func syslinux(m *Menu, name string, sys, c32 File) (*rootfs.Tree, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	if m.Machine != uki.X64 && m.Machine != uki.IA32 {
		return nil, fmt.Errorf("there are no BIOSes for %v", m.Machine)
	}
	if !sys.given() || !c32.given() {
		return nil, errors.New(name + " or ldlinux.c32 is missing")
	}
	for i := range m.Entries {
		if e := &m.Entries[i]; e.DTB.given() || len(e.DTBs) > 0 {
			return nil, fmt.Errorf("entry %q: it passes on no device tree", e.ID)
		}
	}
	p, lines, err := m.labels(func(*Entry, string) []string { return nil })
	if err != nil {
		return nil, err
	}
	p.file(name, sys)
	p.file("ldlinux.c32", c32)
	p.text("syslinux.cfg", lines, "\n")
	return &p.Tree, nil
}

// labels adds the files of a checked menu's entries, and returns what Syslinux and U-Boot read alike,
// with more lines for each entry.
func (m *Menu) labels(more func(e *Entry, dir string) []string) (*partition, []string, error) {
	for i := range m.Entries {
		if err := m.Entries[i].parts(); err != nil {
			return nil, nil, err
		}
		if e := &m.Entries[i]; e.Cmdline == "-" {
			return nil, nil, fmt.Errorf("entry %q: the command line %q means none", e.ID, e.Cmdline)
		}
	}
	first, err := m.first()
	if err != nil {
		return nil, nil, err
	}
	p := m.partition()
	lines := []string{"DEFAULT " + first.ID}
	if m.Timeout == 0 {
		lines = append(lines, "PROMPT 0")
	} else { // in tenths of a second
		lines = append(lines, "PROMPT 1", fmt.Sprintf("TIMEOUT %d", 10*m.Timeout))
	}
	for i := range m.Entries {
		e := &m.Entries[i]
		dir := "/" + dirOf(e) + "/"
		p.entry(dirOf(e), e)
		add := func(s ...string) {
			for _, l := range s {
				lines = append(lines, "  "+l)
			}
		}
		lines = append(lines, "", "LABEL "+e.ID)
		add("MENU LABEL "+e.title(), "LINUX "+dir+kernelName)
		if e.Initrd.given() {
			add("INITRD " + dir + initrdName)
		}
		add(more(e, dir)...)
		if e.Cmdline != "" {
			add("APPEND " + e.Cmdline)
		}
	}
	return p, lines, nil
}

// maxConfigLine is how many characters of a line in config.txt the firmware reads.
const maxConfigLine = 98

// RaspberryPi is one entry for the firmware of a Raspberry Pi, whose files, such as
// start4.elf, fixup4.dat and overlays/disable-bt.dtbo, are given by their paths. The
// entry's device trees lie beside them, where the firmware looks for them. config are
// lines of config.txt, behind those that start the kernel.
func RaspberryPi(m Menu, firmware map[string]File, config []string) (*rootfs.Tree, error) {
	e, err := m.only()
	if err != nil {
		return nil, err
	}
	if err := e.parts(); err != nil {
		return nil, err
	}
	wide := "arm_64bit=1"
	switch m.Machine {
	case uki.AA64:
	case uki.ARM:
		wide = "arm_64bit=0"
	default:
		return nil, fmt.Errorf("there is none for %v", m.Machine)
	}
	p := m.partition()
	lines := []string{wide, "kernel=" + kernelName}
	p.file(kernelName, e.Kernel)
	if e.Initrd.given() {
		p.file(initrdName, e.Initrd)
		lines = append(lines, "initramfs "+initrdName+" followkernel")
	}
	if e.DTB.given() {
		p.file(dtbName, e.DTB)
		lines = append(lines, "device_tree="+dtbName)
	}
	for _, l := range config {
		if err := oneLine("line of config.txt", l); err != nil {
			return nil, err
		}
		if len(l) > maxConfigLine {
			return nil, fmt.Errorf("the firmware reads %d characters of a line in config.txt: %q", maxConfigLine, l)
		}
	}
	p.text("config.txt", slices.Concat(lines, config), "\n")
	p.text("cmdline.txt", []string{e.Cmdline}, "\n")
	for _, files := range []map[string]File{firmware, e.DTBs} {
		for path := range files {
			if !rootfs.ValidPath(path) || path == "." {
				return nil, fmt.Errorf("file %q: not a valid path", path)
			}
			if p.Has(path) {
				return nil, fmt.Errorf("file %q: there is one of this name already", path)
			}
		}
		p.files(".", files)
	}
	return &p.Tree, nil
}

// IPXE is a script for iPXE that starts a kernel from the network. Kernel and initrd are
// URLs, which may be relative to that of the script; an empty initrd is none.
func IPXE(kernel, initrd, cmdline string) (string, error) {
	if err := uki.CheckCmdline(cmdline); err != nil {
		return "", err
	}
	if kernel == "" {
		return "", errors.New("there is no kernel")
	}
	for _, url := range []string{kernel, initrd} {
		if strings.ContainsFunc(url, func(r rune) bool { return r <= ' ' || r > '~' }) || strings.Contains(url, "${") || strings.HasPrefix(url, "-") || strings.HasPrefix(url, "#") {
			return "", fmt.Errorf("%q is not a URL", url)
		}
	}
	for _, word := range strings.Fields(cmdline) {
		if word == "&&" || word == "||" || strings.HasPrefix(word, "#") || strings.Contains(word, "${") {
			return "", fmt.Errorf("the command line has %q in it, which iPXE would take for itself", word)
		}
	}
	lines := []string{"#!ipxe", "kernel " + kernel}
	if initrd != "" {
		lines[1] += " initrd=" + initrdName // of which EFI wants to be told
		lines = append(lines, "initrd --name "+initrdName+" "+initrd)
	}
	if cmdline != "" {
		lines[1] += " " + cmdline
	}
	return strings.Join(append(lines, "boot"), "\n") + "\n", nil
}
