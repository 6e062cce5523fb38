package main

import (
	"fmt"

	"thaw/boot/loader"
	"thaw/boot/syslinux"
	"thaw/boot/uki"
	"thaw/output"
	"thaw/rootfs"
	"thaw/spec"
)

// isolinuxName is how the program of ISOLINUX is called on a CD.
const isolinuxName = "isolinux.bin"

// CD implements [output.Source].
func (c *content) CD(o *spec.Output) (cd *output.CD, err error) {
	b := c.work.target.spec.Boot
	cd = &output.CD{}
	var uefi loader.Menu
	var whole *uki.Image
	if b.UEFI() {
		if uefi, whole, err = c.menu(o, b.Stub != nil); err != nil {
			return nil, err
		}
		if cd.UEFI, err = c.loaderTree(uefi); err != nil {
			return nil, err
		}
	}
	if b.Isolinux == nil {
		return cd, nil
	}
	bios, _, err := c.menu(o, false)
	if err != nil {
		return nil, err
	}
	if cd.BIOS, err = c.isolinux(bios); err != nil {
		return nil, err
	}
	cd.Loader = isolinuxName
	if cd.Code, err = c.blobBytes("isolinux.mbr", b.Isolinux.MBR, output.CDCodeSize); err != nil || cd.UEFI == nil {
		return cd, err
	}
	cd.Within = within(cd, uefi, bios, whole)
	return cd, nil
}

// within says where in what UEFI boots from kernel and initrd are, which BIOSes boot, too.
func within(cd *output.CD, uefi, bios loader.Menu, whole *uki.Image) map[string]output.Within {
	var kernelAt, initrdAt int64
	if whole != nil {
		kernelAt = whole.Linux()
		initrdAt, _ = whole.Initrd()
	}
	kernel, initrd := loader.Places(cd.BIOS, bios)
	inKernel, inInitrd := loader.Places(cd.UEFI, uefi)
	places := map[string]output.Within{kernel: {Path: inKernel, Offset: kernelAt}}
	if initrd != "" && bios.Entries[0].Initrd.Size > 0 {
		places[initrd] = output.Within{Path: inInitrd, Offset: initrdAt}
	}
	return places
}

// isolinux returns the files that a BIOS boots from a CD.
func (c *content) isolinux(m loader.Menu) (*rootfs.Tree, error) {
	of := c.work.target.spec.Boot.Isolinux
	program, err := c.blobBytes("isolinux.program", of.Program, syslinux.MaxProgram)
	if err != nil {
		return nil, err
	}
	if err := syslinux.CheckIsolinux(program); err != nil {
		return nil, fmt.Errorf("boot.isolinux.program: %w", err)
	}
	c32, err := c.blobBytes("isolinux.ldlinux", of.Ldlinux, syslinux.MaxModule)
	if err != nil {
		return nil, err
	}
	if err := syslinux.CheckModule(c32); err != nil {
		return nil, fmt.Errorf("boot.isolinux.ldlinux: %w", err)
	}
	tree, err := loader.Isolinux(m, loader.Bytes(program), loader.Bytes(c32))
	if err != nil {
		return nil, fmt.Errorf("boot.isolinux: %w", err)
	}
	return tree, nil
}
