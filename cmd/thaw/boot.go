package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"thaw/assemble"
	"thaw/boot/loader"
	"thaw/boot/syslinux"
	"thaw/boot/uki"
	"thaw/output"
	"thaw/overlay"
	"thaw/rootfs"
	"thaw/spec"
)

// A bootable is what a boot loader starts.
type bootable struct {
	kernel  *io.SectionReader
	initrd  *io.SectionReader // nil for none
	cmdline string
	machine uki.Machine
}

// loads holds that the boot loader comes onto something, if there are disks.
func (t *target) loads() error {
	if t.spec.Boot == nil || t.spec.Boot.Loader == "none" {
		return nil
	}
	disk := ""
	for i := range t.spec.Outputs {
		o := &t.spec.Outputs[i]
		switch {
		case o.ISO != nil:
			return nil
		case o.Disk == nil:
			continue
		case slices.ContainsFunc(o.Disk.Partitions, func(p spec.Partition) bool { return p.Content == "boot" }):
			return nil
		}
		disk = cmp.Or(disk, o.Name)
	}
	if disk == "" {
		return nil
	}
	return usage("give it one, such as { fs: vfat, content: boot }", "%s: outputs.%s: boot.loader is %s, and there is no partition for it", t.file, disk, t.spec.Boot.Loader)
}

// kernel finds the kernel: as the spec says, or in the packages; nil if there shall be
// none.
func (w *work) kernel(ctx context.Context, files *assemble.Files) (*assemble.Place, error) {
	switch b := w.target.spec.Boot; {
	case b == nil || b.Kernel == "auto":
		return files.Kernel(ctx)
	case b.Kernel == "none":
		return nil, nil
	default:
		return regular(files.Find(ctx, b.Kernel))
	}
}

// initrd finds the initrd likewise. In the packages there need not be one.
func (w *work) initrd(ctx context.Context, files *assemble.Files) (*assemble.Place, error) {
	switch b := w.target.spec.Boot; {
	case b == nil:
		return files.Initrd(ctx)
	case b.Initrd == "auto":
		p, err := files.Initrd(ctx)
		if none := (*assemble.NoBootFileError)(nil); errors.As(err, &none) {
			return nil, nil
		}
		return p, err
	case b.Initrd == "none", b.Initrd == "generate":
		return nil, nil
	default:
		return regular(files.Find(ctx, b.Initrd))
	}
}

// regular holds that a place is that of a file.
func regular(p *assemble.Place, err error) (*assemble.Place, error) {
	if err == nil && !p.Mode.IsRegular() {
		err = fmt.Errorf("%s is not a file", p)
	}
	return p, err
}

// maxParams is the length limit of a file kernel-params, in bytes.
const maxParams = 64 << 10

// cmdline returns the kernel's arguments: those of a package that has a file
// kernel-params, as the top level of a NixOS system, with its init, and those of the
// spec.
func (w *work) cmdline(ctx context.Context, files *assemble.Files) (string, error) {
	words := []string{}
	for _, root := range w.plan.Roots() {
		p, err := files.Find(ctx, root.String()+"/kernel-params")
		if absent := (*assemble.NotThereError)(nil); errors.As(err, &absent) {
			continue
		}
		if err != nil {
			return "", err
		}
		var text strings.Builder
		if err := files.Copy(ctx, p, &limited{w: &text, left: maxParams}); err != nil {
			return "", fmt.Errorf("%s: %w", p, err)
		}
		words = append([]string{"init=" + root.String() + "/init"}, strings.Fields(text.String())...)
		break
	}
	if b := w.target.spec.Boot; b != nil {
		words = append(words, b.Cmdline)
	}
	return strings.TrimSpace(strings.Join(words, " ")), nil
}

// limited passes on so many bytes and no more.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, fmt.Errorf("it is longer than %d bytes", maxParams)
	}
	return l.w.Write(p)
}

// system returns what boots from an output.
func (c *content) system(o *spec.Output) (*bootable, error) {
	w, b := c.work, c.work.target.spec.Boot
	root := output.FindRoot(o, w.plan.ID)
	if s := c.boots[root]; s != nil {
		return s, nil
	}
	s := &bootable{}
	place, err := w.kernel(c.ctx, c.files)
	if err == nil {
		s.kernel, err = c.at(place)
	}
	if err != nil {
		return nil, fmt.Errorf("boot.kernel: %w", err)
	}
	switch k, err := uki.ReadKernel(s.kernel); {
	case err == nil:
		s.machine = k.Machine
	case b.Loader == "uki" || b.Loader == "systemd-boot" || b.Loader == "efi":
		return nil, fmt.Errorf("boot.kernel: %s: %w", place, err)
	}
	if machine := machines[w.target.spec.Arch]; machine != 0 && s.machine != 0 && machine != s.machine {
		return nil, fmt.Errorf("boot.kernel: %s is for %v, and arch is %s", place, s.machine, w.target.spec.Arch)
	}
	s.machine = cmp.Or(s.machine, machines[w.target.spec.Arch])
	if b.Initrd == "generate" {
		if s.initrd, err = c.generate(root); err != nil {
			return nil, fmt.Errorf("boot.generate: %w", err)
		}
	} else if place, err = w.initrd(c.ctx, c.files); err == nil && place != nil {
		s.initrd, err = c.at(place)
	}
	if err != nil {
		return nil, fmt.Errorf("boot.initrd: %w", err)
	}
	if s.cmdline, err = w.cmdline(c.ctx, c.files); err != nil {
		return nil, fmt.Errorf("boot.cmdline: %w", err)
	}
	c.boots[root] = s
	return s, nil
}

var machines = map[string]uki.Machine{
	"x86_64-linux": uki.X64, "aarch64-linux": uki.AA64, "i686-linux": uki.IA32, "armv7l-linux": uki.ARM, "armv6l-linux": uki.ARM,
	"riscv64-linux": uki.RISCV64, "loongarch64-linux": uki.LoongArch64,
}

// at returns the content of a file in the store.
func (c *content) at(p *assemble.Place) (*io.SectionReader, error) {
	s, err := c.store(p.String())
	if err != nil {
		return nil, err
	}
	return s.file()
}

// blob returns a file or directory that the spec names for a key of boot.
func (c *content) blob(key string, b *spec.Blob) (s *stored, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("boot.%s: %w", key, err)
		}
	}()
	if b.Store != "" {
		return c.store(b.Store)
	}
	sp := c.work.target.spec
	st, err := os.Stat(sp.File(b.Source))
	if err != nil {
		return nil, err
	}
	s = &stored{spool: c.spool}
	if st.IsDir() {
		tree, err := overlay.ReadPartition(sp, &spec.Partition{Trees: []spec.Tree{{Source: b.Source, Path: "/"}}}, "boot."+key)
		if err != nil {
			return nil, err
		}
		return s, tree.Send(s)
	}
	f, err := openFile(sp.File(b.Source))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return s, s.Add(rootfs.Entry{Path: ".", Mode: 0o644}, f)
}

// blobFile returns a file that the spec names for a key of boot; nil for none.
func (c *content) blobFile(key string, b *spec.Blob) (*io.SectionReader, error) {
	if b == nil {
		return nil, nil
	}
	s, err := c.blob(key, b)
	if err != nil {
		return nil, err
	}
	file, err := s.file()
	if err != nil {
		return nil, fmt.Errorf("boot.%s: %w", key, err)
	}
	return file, nil
}

// blobBytes is blobFile for what has to be in memory.
func (c *content) blobBytes(key string, b *spec.Blob, most int64) ([]byte, error) {
	file, err := c.blobFile(key, b)
	if file == nil || err != nil {
		return nil, err
	}
	if file.Size() > most {
		return nil, fmt.Errorf("boot.%s: it has %d bytes, and %d are the most", key, file.Size(), most)
	}
	return io.ReadAll(io.NewSectionReader(file, 0, file.Size()))
}

// blobFiles returns the files in a directory that the spec names for a key of boot, by
// their paths.
func (c *content) blobFiles(key string, b *spec.Blob) (map[string]loader.File, error) {
	if b == nil {
		return nil, nil
	}
	s, err := c.blob(key, b)
	if err != nil {
		return nil, err
	}
	files := map[string]loader.File{}
	for i, e := range s.entries {
		if s.data[i] == nil {
			continue
		}
		if e.Path == "." {
			return nil, fmt.Errorf("boot.%s: it is a file, and a directory is needed", key)
		}
		files[e.Path] = loader.Section(s.data[i])
	}
	return files, nil
}

// Boot implements [output.Source].
func (c *content) Boot(o *spec.Output) (*rootfs.Tree, error) {
	m, _, err := c.menu(o, c.work.target.spec.Boot.Stub != nil)
	if err != nil {
		return nil, err
	}
	return c.loaderTree(m)
}

// menu returns what a loader starts, as a unified kernel image, which it returns, too, or
// as files.
func (c *content) menu(o *spec.Output, unified bool) (m loader.Menu, whole *uki.Image, err error) {
	b := c.work.target.spec.Boot
	s, err := c.system(o)
	if err != nil {
		return m, nil, err
	}
	m = loader.Menu{Machine: s.machine, Timeout: b.Timeout, Time: c.work.plan.Time}
	e := loader.Entry{ID: entryID(c.work.target.spec.Name), Title: b.Title}
	if unified {
		align := int64(0)
		if o.ISO != nil && b.Isolinux != nil {
			align = output.Sector
		}
		if whole, err = c.unified(s, align); err != nil {
			return m, nil, err
		}
		e.UKI = loader.File{Size: whole.Size(), Open: whole.Open}
	} else {
		e.Kernel, e.Cmdline = loader.Section(s.kernel), s.cmdline
		if s.initrd != nil {
			e.Initrd = loader.Section(s.initrd)
		}
		dtb, err := c.blobFile("dtb", b.DTB)
		if err != nil {
			return m, nil, err
		}
		if dtb != nil {
			e.DTB = loader.Section(dtb)
		}
		if e.DTBs, err = c.blobFiles("dtbs", b.DTBs); err != nil {
			return m, nil, err
		}
	}
	m.Entries = []loader.Entry{e}
	return m, whole, nil
}

// entryID makes a name for an entry of a menu of that of a spec.
func entryID(name string) string { return strings.TrimRight(name, "._-") }

// unified makes a unified kernel image.
func (c *content) unified(s *bootable, align int64) (*uki.Image, error) {
	b := c.work.target.spec.Boot
	p := uki.Parts{Linux: s.kernel, Cmdline: s.cmdline, Align: align}
	var err error
	if p.Stub, err = c.blobBytes("stub", b.Stub, uki.MaxStub); err != nil {
		return nil, err
	}
	if p.DTB, err = c.blobBytes("dtb", b.DTB, uki.MaxStub); err != nil {
		return nil, err
	}
	if s.initrd != nil {
		p.Initrds = []*io.SectionReader{s.initrd}
	}
	p.OSRelease = fmt.Appendf(nil, "ID=%s\nPRETTY_NAME=%q\nVERSION_ID=1\n", entryID(c.work.target.spec.Name), b.Title)
	img, err := uki.New(p)
	if err != nil {
		return nil, fmt.Errorf("boot.stub: %w", err)
	}
	return img, nil
}

// loaderTree returns the files of the loader that the spec chooses.
func (c *content) loaderTree(m loader.Menu) (*rootfs.Tree, error) {
	b := c.work.target.spec.Boot
	of := func(tree *rootfs.Tree, err error) (*rootfs.Tree, error) {
		if err != nil {
			return nil, fmt.Errorf("boot.loader: %s: %w", b.Loader, err)
		}
		return tree, nil
	}
	switch b.Loader {
	case "systemd-boot":
		program, err := c.blobFile("program", b.Program)
		if err != nil {
			return nil, err
		}
		machine, err := uki.ReadProgram(program)
		if err != nil {
			return nil, fmt.Errorf("boot.program: it %w", err)
		}
		if machine != m.Machine {
			return nil, fmt.Errorf("boot.program: it is for %v, and the kernel for %v", machine, m.Machine)
		}
		return of(loader.SystemdBoot(m, loader.Section(program)))
	case "uki", "efi":
		return of(loader.EFI(m))
	case "extlinux":
		return of(loader.Extlinux(m))
	case "raspberry-pi":
		firmware, err := c.blobFiles("firmware", b.Firmware)
		if err != nil {
			return nil, err
		}
		return of(loader.RaspberryPi(m, firmware, b.Config))
	case "syslinux":
		bios, err := c.bios()
		if err != nil {
			return nil, err
		}
		c32, err := c.blobBytes("ldlinux", b.Ldlinux, syslinux.MaxModule)
		if err != nil {
			return nil, err
		}
		if err := bios.Fits(c32); err != nil {
			return nil, fmt.Errorf("boot.ldlinux: %w", err)
		}
		return of(loader.Syslinux(m, loader.Bytes(bios.Sys()), loader.Bytes(c32)))
	}
	return of(nil, errors.New("there is no such loader"))
}

// bios returns the loader for BIOSes.
func (c *content) bios() (*syslinux.Loader, error) {
	program, err := c.blobFile("program", c.work.target.spec.Boot.Program)
	if err != nil {
		return nil, err
	}
	l, err := syslinux.Open(io.NewSectionReader(program, 0, program.Size()))
	if err != nil {
		return nil, fmt.Errorf("boot.program: %w", err)
	}
	return l, nil
}

// BIOS implements [output.Source].
func (c *content) BIOS() (*output.BIOS, error) {
	b := c.work.target.spec.Boot
	if b == nil || b.Loader != "syslinux" {
		return nil, nil
	}
	l, err := c.bios()
	if err != nil {
		return nil, err
	}
	code, err := c.blobBytes("mbr", b.MBR, output.CodeSize)
	if err != nil {
		return nil, err
	}
	return &output.BIOS{Code: code, Loader: l}, nil
}
