package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"thaw/spec"
)

// runOptions are those of the run verb.
type runOptions struct {
	output, arch, accel, firmware string
	kernel, initrd, append        string
	memory, dir                   string
	smp                           int
	ports                         []string
	write, print                  bool
}

func (a *app) run() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run IMAGE|SPEC|PATH… [-- QEMU-OPTION…]",
		Short: "Start an image in a virtual machine",
		Long: `Start a disk image, or the directory of an output of the type files, in QEMU, with its
serial console on the terminal: Ctrl-A X ends it, Ctrl-A H helps. A SPEC, or store
paths, are built into a temporary directory, or into --dir. What the machine writes to
its disk is forgotten unless --write is given.

An image that starts by UEFI (EFI/BOOT in its EFI system partition) is given
firmware for it, one with code for a BIOS starts by that. Otherwise the kernel is
started directly: that of the spec or of its packages with its initrd and its arguments,
or --kernel, --initrd and --append. KVM is used where it works, which is tried.

--print prints the command line, quoted for a shell, and starts nothing. The exit code
is QEMU's. QEMU must be installed; thaw runs no other program.`,
		Example: "  thaw run vm.qcow2 --memory 2G --port 2222:22\n  thaw run vm.yaml\n  thaw run root.ext4 --kernel bzImage --append root=/dev/vda --print",
		GroupID: "carry",
		RunE: func(cmd *cobra.Command, args []string) error {
			if n := cmd.ArgsLenAtDash(); n >= 0 {
				return a.start(cmd, &o, args[:n], args[n:])
			}
			return a.start(cmd, &o, args, nil)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.output, "output", "", "the `NAME` of the output of the spec to start (default the first disk, else the first ISO, file system, cpio archive, or one of the type files)")
	f.StringVar(&o.arch, "arch", "", "the machine's `ARCH`: x86_64, aarch64, i686, armv7l or riscv64 (default what the image or the spec says, else this computer's)")
	f.StringVar(&o.accel, "accel", "auto", "`HOW` it runs: kvm, tcg, or auto for kvm where that works")
	f.StringVar(&o.firmware, "firmware", "", "a `FILE` of UEFI firmware to start by")
	f.StringVar(&o.kernel, "kernel", "", "start this kernel `FILE` directly")
	f.StringVar(&o.initrd, "initrd", "", "its initrd `FILE`")
	f.StringVar(&o.append, "append", "", "its `ARGUMENTS`, instead of those of the spec")
	f.StringVar(&o.memory, "memory", "1G", "`SIZE` of the memory")
	f.IntVar(&o.smp, "smp", 2, "`N` processors")
	f.StringArrayVar(&o.ports, "port", nil, "forward a port of this computer's 127.0.0.1: `HOST:GUEST` or HOST:GUEST/udp; may be repeated")
	f.StringVar(&o.dir, "dir", "", "the `DIR` for what is built or decompressed, which stays there")
	f.BoolVar(&o.write, "write", false, "keep what the machine writes to the image")
	f.BoolVar(&o.print, "print", false, "print the command line instead of starting it")
	return cmd
}

// fixedSize reads a size such as 512M.
func fixedSize(text string) (int64, error) {
	s, err := spec.ParseSize(text)
	if err == nil && s.Kind != spec.Fixed {
		err = errors.New("not a size")
	}
	return s.Bytes, err
}

func (a *app) start(cmd *cobra.Command, o *runOptions, args, extra []string) error {
	g, err := o.guest(extra)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return usage("thaw run --help shows an example", "run what? Give an image, a spec, or store paths")
	}
	image := len(args) == 1 && isImage(args[0])
	if image && o.output != "" {
		return usage("leave it out", "--output is for specs, and %s is an image", args[0])
	}
	at, err := o.place()
	if err != nil {
		return err
	}
	defer at.remove()
	if image {
		err = o.useImage(cmd.Context(), g, args[0], at.dir)
	} else {
		err = a.useSpec(cmd, o, g, args, at.dir)
	}
	if err == nil {
		err = a.accelerate(o, g)
	}
	if err != nil {
		return err
	}
	command := g.command()
	if o.print {
		_, err := fmt.Fprintln(a.stdout, quote(command))
		return err
	}
	return a.exec(cmd.Context(), command, at)
}

// guest returns the machine that the options describe.
func (o *runOptions) guest(extra []string) (*guest, error) {
	g := &guest{kernel: o.kernel, initrd: o.initrd, cmdline: o.append, cpus: o.smp, ports: o.ports, keep: o.write, extra: extra}
	var err error
	if g.memory, err = o.memoryOf(); err != nil {
		return nil, err
	}
	if o.arch != "" {
		if g.arch, err = archNamed(o.arch); err != nil {
			return nil, err
		}
	}
	for _, p := range o.ports {
		if err := parsePort(p); err != nil {
			return nil, err
		}
	}
	switch {
	case o.smp < 1 || o.smp > 1024:
		return nil, usage("", "--smp %d is not from 1 to 1024", o.smp)
	case !slices.Contains([]string{"auto", "kvm", "tcg"}, o.accel):
		return nil, usage("", "--accel %s is not auto, kvm or tcg", o.accel)
	case o.kernel == "" && o.initrd != "":
		return nil, usage("give both, or none", "--initrd needs --kernel")
	case o.kernel != "" && o.firmware != "":
		return nil, usage("leave one of them out", "--kernel is started directly, without --firmware")
	}
	for _, f := range []string{o.kernel, o.initrd} {
		if f != "" && !exists(f) {
			return nil, usage("", "%s cannot be read", f)
		}
	}
	if o.firmware != "" {
		g.firmware, err = givenFirmware(o.firmware)
	}
	return g, err
}

// settle decides which machine it is.
func (o *runOptions) settle(g *guest, arch string) error {
	if g.arch == nil && arch != "" {
		var err error
		if g.arch, err = archNamed(arch); err != nil {
			return err
		}
	}
	host := hostArch()
	if g.arch == nil {
		g.arch = host
	}
	if g.arch == nil {
		return usage("give --arch", "thaw does not know this computer's architecture")
	}
	return nil
}

// accelerate decides how a machine runs.
func (a *app) accelerate(o *runOptions, g *guest) error {
	g.accel = o.accel
	if g.accel != "auto" {
		return nil
	}
	g.accel = "tcg"
	if host := hostArch(); host == nil || g.arch != host && (host.name != "x86_64" || g.arch.name != "i686") {
		return nil
	}
	err := tryKVM(kvmLoops, kvmPatience)
	if err == nil {
		g.accel = "kvm"
		return nil
	}
	u, e := a.ui()
	if e != nil {
		return e
	}
	defer u.close()
	u.step("note", "without KVM, so all is emulated, and slow: %v", err)
	return nil
}

// exec runs QEMU and waits for it.
func (a *app) exec(ctx context.Context, command []string, at *place) error {
	path, err := exec.LookPath(command[0])
	if err != nil {
		return &codedError{text: command[0] + " is not installed", hint: "install it (on Debian, the package " + qemuPackages[command[0]] + "), or print the command line with --print", code: exitFailed}
	}
	c := exec.CommandContext(ctx, path, command[1:]...)
	// It ends with thaw, however that ends, as Linux sees it: with the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = endsWithin
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, a.stdout, a.stderr
	if at.lock != nil {
		c.ExtraFiles = []*os.File{at.lock} // what is there is needed as long as QEMU runs
	}
	if f, ok := a.stdout.w.(*os.File); ok {
		c.Stdout = f
		if term.IsTerminal(int(f.Fd())) {
			defer fmt.Fprint(f, "\x1b[?7h") // long lines are broken again: firmware switches that off
		}
	}
	err = c.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return &codedError{code: exit.ExitCode()}
	case err != nil:
		return fmt.Errorf("%s: %w", command[0], err)
	}
	return nil
}

// endsWithin is how long QEMU may take to end when it is told to; then it is killed.
const endsWithin = 10 * time.Second

// chosen returns the output of a spec that is to be started, in the form that suits.
func (o *runOptions) chosen(s *spec.Spec) (spec.Output, error) {
	starts := [][]string{{"disk"}, {"iso"}, {"ext4", "erofs", "squashfs"}, {"cpio"}, {"files"}}
	var found *spec.Output
	for _, types := range starts {
		for i := range s.Outputs {
			if out := &s.Outputs[i]; found == nil && (o.output == "" && slices.Contains(types, out.Type) || out.Name == o.output) {
				found = out
			}
		}
	}
	switch {
	case found == nil && o.output != "":
		return spec.Output{}, usage("thaw check lists them", "the spec has no output %s", o.output)
	case found == nil:
		return spec.Output{}, usage("give it one, or start an image", "the spec has no output that starts: disk, iso, ext4, erofs, squashfs, cpio or files")
	case !slices.ContainsFunc(starts, func(types []string) bool { return slices.Contains(types, found.Type) }):
		return spec.Output{}, usage("disk, iso, ext4, erofs, squashfs, cpio and files do", "the output %s is of the type %s, which does not start", found.Name, found.Type)
	}
	out := *found
	if out.Disk != nil {
		d := *out.Disk
		d.Format, d.Compress = "raw", "none"
		out.Disk = &d
	}
	return out, nil
}

// useSpec builds what a machine starts with, in dir.
func (a *app) useSpec(cmd *cobra.Command, o *runOptions, g *guest, args []string, dir string) error {
	t, err := a.target(cmd, args)
	if err != nil {
		return err
	}
	if dir == "" {
		return o.needsDir("an image is built")
	}
	s, name := t.spec, "disk.img"
	if len(s.Outputs) > 0 || o.output != "" {
		out, err := o.chosen(s)
		if err != nil {
			return err
		}
		s.Outputs = []spec.Output{out}
		name = out.Name + ending(&out)
	}
	b := &buildOptions{output: filepath.Join(dir, name)}
	outs, err := b.apply(cmd, t, a.stdout)
	if err != nil {
		return err
	}
	w, err := a.resolveAndFetch(cmd.Context(), t)
	if err != nil {
		return err
	}
	defer w.close()
	if s = t.spec; s.Boot == nil { // now that all identifiers are settled
		s.Boot = &spec.Boot{Kernel: "auto", Initrd: "auto"}
	}
	return w.while(func(ctx context.Context) error {
		source := w.newContent(ctx, dir)
		defer source.spool.close()
		if t.paths() && g.kernel == "" { // before much is written
			if _, err := source.booting(); err != nil {
				return noKernel(err)
			}
		}
		images, root, err := w.write(ctx, outs, source, io.Discard)
		for _, img := range images {
			defer img.abort()
		}
		if err != nil {
			return err
		}
		w.report(root)
		if err := images[0].commit(); err != nil {
			return err
		}
		w.ui.step("building", "%s, %s", formatOf(&outs[0].of).name, inBytes(images[0].result.Size))
		return o.prepare(g, source, outs[0], dir)
	})
}

// prepare gives a machine what was built.
func (o *runOptions) prepare(g *guest, source *content, out *destination, dir string) error {
	s := source.work.target.spec
	if g.kernel != "" && g.cmdline == "" {
		g.cmdline = rooted(s.Boot.Cmdline, &out.of, g.initrd != "")
	}
	switch {
	case out.of.Files != nil:
		if err := o.settle(g, s.Arch); err != nil {
			return err
		}
		return o.useFiles(g, out.path)
	case out.of.Cpio != nil:
		g.initrd = out.path
		if err := o.settle(g, s.Arch); err != nil {
			return err
		}
	default:
		m, end, err := openImage(out.path)
		if err != nil {
			return err
		}
		defer end()
		g.disk, g.format = out.path, "raw"
		starts, err := o.boot(g, m, s.Arch)
		if starts || err != nil {
			return err
		}
	}
	if g.kernel != "" {
		return nil
	}
	if s.Boot.Kernel == "none" {
		return usage("give --kernel FILE", "the spec has no kernel (boot.kernel)")
	}
	system, err := source.system(&out.of)
	if err != nil {
		return err
	}
	if a := archOfEFI(system.machine.EFI()); a != "" && o.arch == "" && s.Arch == "" {
		g.arch, _ = archNamed(a)
	}
	g.kernel = filepath.Join(dir, "kernel")
	if err := spill(g.kernel, system.kernel); err != nil {
		return err
	}
	if system.initrd != nil && g.initrd == "" {
		g.initrd = filepath.Join(dir, "initrd")
		if err := spill(g.initrd, system.initrd); err != nil {
			return err
		}
	}
	if g.cmdline == "" {
		g.cmdline = rooted(system.cmdline, &out.of, system.initrd != nil)
	}
	return nil
}

// rooted adds to the arguments of a kernel where its root file system is, unless they say
// so. Only an initrd finds it by its label.
func rooted(cmdline string, o *spec.Output, initrd bool) string {
	if o.Cpio != nil || strings.Contains(" "+cmdline, " root=") {
		return cmdline
	}
	root := "/dev/vda"
	if o.Disk != nil {
		for i, p := range o.Disk.Partitions {
			if p.Content != "rootfs" {
				continue
			}
			root = fmt.Sprintf("/dev/vda%d", cmp.Or(p.Number, i+1))
			if initrd && p.Ext4 != nil && p.Ext4.Label != nil {
				root = "LABEL=" + *p.Ext4.Label
			}
			break
		}
	}
	return strings.TrimSpace("root=" + root + " " + cmdline)
}

func spill(name string, data *io.SectionReader) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.NewSectionReader(data, 0, data.Size()))
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
