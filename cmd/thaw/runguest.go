package main

import (
	"encoding/json"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// guest is a virtual machine.
type guest struct {
	arch     *guestArch
	disk     string // file; "" for none
	format   string // as QEMU calls it
	disc     bool   // the disk is a compact disc
	kernel   string // "" for what the disk starts itself
	initrd   string
	cmdline  string
	firmware []string // arguments of QEMU
	accel    string
	memory   int64 // MiB
	cpus     int
	ports    []string // host:guest, or host:guest/udp
	keep     bool     // what the guest writes
	extra    []string
}

// guestArch is what QEMU and EFI call an architecture.
type guestArch struct {
	name, qemu, machine, console string
	efi, firmware                string
	goarch                       string
}

var guestArchs = []guestArch{
	{"x86_64", "qemu-system-x86_64", "q35", "ttyS0", "x64", "x86_64", "amd64"},
	{"aarch64", "qemu-system-aarch64", "virt", "ttyAMA0", "aa64", "aarch64", "arm64"},
	{"i686", "qemu-system-i386", "q35", "ttyS0", "ia32", "i386", "386"},
	{"armv7l", "qemu-system-arm", "virt", "ttyAMA0", "arm", "arm", "arm"},
	{"riscv64", "qemu-system-riscv64", "virt", "ttyS0", "riscv64", "riscv64", "riscv64"},
}

// qemuPackages are the packages of Debian that QEMU's programs are in.
var qemuPackages = map[string]string{
	"qemu-system-x86_64": "qemu-system-x86", "qemu-system-i386": "qemu-system-x86",
	"qemu-system-aarch64": "qemu-system-arm", "qemu-system-arm": "qemu-system-arm",
	"qemu-system-riscv64": "qemu-system-misc",
}

// archNamed returns the architecture of a name, such as x86_64-linux or x86_64.
func archNamed(name string) (*guestArch, error) {
	name = strings.TrimSuffix(name, "-linux")
	var names []string
	for i := range guestArchs {
		if guestArchs[i].name == name {
			return &guestArchs[i], nil
		}
		names = append(names, guestArchs[i].name)
	}
	return nil, usage("it is one of "+strings.Join(names, ", "), "thaw does not run %s", name)
}

func archOf(match func(*guestArch) bool) *guestArch {
	for i := range guestArchs {
		if match(&guestArchs[i]) {
			return &guestArchs[i]
		}
	}
	return nil
}

func hostArch() *guestArch {
	return archOf(func(a *guestArch) bool { return a.goarch == runtime.GOARCH })
}

// command returns the command line of QEMU.
func (g *guest) command() []string {
	c := []string{g.arch.qemu, "-machine", g.arch.machine, "-accel", g.accel}
	if g.accel == "kvm" {
		c = append(c, "-cpu", "host")
	} else {
		c = append(c, "-cpu", "max")
	}
	c = append(c, "-m", strconv.FormatInt(g.memory, 10), "-smp", strconv.Itoa(g.cpus), "-nographic", "-no-reboot")
	c = append(c, g.firmware...)
	if g.disk != "" {
		disk := g.disk
		if !filepath.IsAbs(disk) && strings.Contains(disk, ":") {
			disk = "./" + disk // else what is before the colon is a protocol
		}
		drive := "file=" + strings.ReplaceAll(disk, ",", ",,") + ",format=" + g.format
		switch {
		case g.disc:
			c = append(c, "-drive", drive+",if=none,id=disc,media=cdrom,readonly=on", "-device", "virtio-scsi-pci", "-device", "scsi-cd,drive=disc")
		case g.keep:
			c = append(c, "-drive", drive+",if=virtio")
		default:
			c = append(c, "-drive", drive+",if=virtio,snapshot=on")
		}
	}
	nic := "user,model=virtio-net-pci"
	for _, p := range g.ports {
		host, inside, _ := strings.Cut(p, ":")
		inside, udp := strings.CutSuffix(inside, "/udp")
		kind := "tcp"
		if udp {
			kind = "udp"
		}
		nic += ",hostfwd=" + kind + ":127.0.0.1:" + host + "-:" + inside
	}
	c = append(c, "-nic", nic, "-device", "virtio-rng-pci")
	if g.kernel != "" {
		c = append(c, "-kernel", g.kernel)
		if g.initrd != "" {
			c = append(c, "-initrd", g.initrd)
		}
		cmdline := g.cmdline
		if !strings.Contains(" "+cmdline, " console=") {
			cmdline = strings.TrimSpace("console=" + g.arch.console + " " + cmdline)
		}
		c = append(c, "-append", cmdline)
	}
	return append(c, g.extra...)
}

// quote writes a command line for a shell.
func quote(args []string) string {
	var out []string
	for _, a := range args {
		plain := a != "" && strings.IndexFunc(a, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,+@%", r)
		}) < 0
		if !plain {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		out = append(out, a)
	}
	return strings.Join(out, " ")
}

// parsePort checks HOST:GUEST or HOST:GUEST/udp.
func parsePort(text string) error {
	host, inside, ok := strings.Cut(text, ":")
	for _, p := range []string{host, strings.TrimSuffix(inside, "/udp")} {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 || p[0] == '0' || p[0] == '+' {
			ok = false
		}
	}
	if !ok {
		return usage("for example 8080:80, or 5353:53/udp", "--port %s is not HOST:GUEST", text)
	}
	return nil
}

// firmwareDirs are where descriptions of firmware are (QEMU's docs/interop/firmware.json).
var firmwareDirs = []string{"/etc/qemu/firmware", "/usr/share/qemu/firmware", "/usr/local/share/qemu/firmware", "/run/current-system/sw/share/qemu/firmware"}

// firmwareFiles are where firmware is without a description: code, and variables, which
// may be missing.
var firmwareFiles = map[string][][2]string{
	"x86_64": {
		{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
		{"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
		{"/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"},
		{"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},
		{"/usr/share/qemu/edk2-x86_64-code.fd", "/usr/share/qemu/edk2-i386-vars.fd"},
	},
	"aarch64": {
		{"/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"},
		{"/usr/share/qemu/edk2-aarch64-code.fd", "/usr/share/qemu/edk2-arm-vars.fd"},
	},
	"arm":     {{"/usr/share/AAVMF/AAVMF32_CODE.fd", "/usr/share/AAVMF/AAVMF32_VARS.fd"}},
	"riscv64": {{"/usr/share/qemu-efi-riscv64/RISCV_VIRT_CODE.fd", "/usr/share/qemu-efi-riscv64/RISCV_VIRT_VARS.fd"}},
}

// findFirmware returns the arguments that give a machine UEFI without Secure Boot. What
// its variables become is forgotten.
func findFirmware(arch *guestArch) ([]string, error) {
	for _, dir := range firmwareDirs {
		files, _ := filepath.Glob(dir + "/*.json") // sorted: the first one counts
		for _, f := range files {
			if code, vars, ok := readFirmware(f, arch.firmware); ok {
				return flash(code, vars), nil
			}
		}
	}
	for _, f := range firmwareFiles[arch.firmware] {
		if exists(f[0]) {
			return flash(f[0], f[1]), nil
		}
	}
	return nil, usage("install it (on Debian, the package ovmf or qemu-efi-aarch64), or give --firmware FILE", "the image starts by UEFI, and there is no such firmware for %s", arch.name)
}

func flash(code, vars string) []string {
	escape := func(s string) string { return strings.ReplaceAll(s, ",", ",,") }
	args := []string{"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + escape(code)}
	if vars != "" && exists(vars) {
		args = append(args, "-drive", "if=pflash,unit=1,format=raw,snapshot=on,file="+escape(vars))
	}
	return args
}

// readFirmware reads a description of firmware.
func readFirmware(file, arch string) (code, vars string, ok bool) {
	text, err := readList(file)
	if err != nil {
		return "", "", false
	}
	var d struct {
		Interfaces []string `json:"interface-types"`
		Mapping    struct {
			Device     string
			Mode       string
			Executable struct{ Filename, Format string }
			NVRAM      struct{ Filename, Format string } `json:"nvram-template"`
		}
		Targets  []struct{ Architecture string }
		Features []string
	}
	if json.Unmarshal(text, &d) != nil {
		return "", "", false
	}
	fits := slices.Contains(d.Interfaces, "uefi") && d.Mapping.Device == "flash" && d.Mapping.Executable.Format == "raw" &&
		!slices.Contains(d.Features, "secure-boot") && len(d.Targets) > 0 && d.Targets[0].Architecture == arch
	return d.Mapping.Executable.Filename, d.Mapping.NVRAM.Filename, fits && exists(d.Mapping.Executable.Filename)
}

// givenFirmware returns the arguments for a file of firmware: code alone, with its
// variables beside it, or both in one.
func givenFirmware(file string) ([]string, error) {
	if !exists(file) {
		return nil, usage("", "--firmware %s cannot be read", file)
	}
	base := filepath.Base(file)
	if name := strings.Replace(base, "CODE", "VARS", 1); name != base {
		return flash(file, filepath.Join(filepath.Dir(file), name)), nil
	}
	return []string{"-bios", file}, nil
}

// memoryOf reads --memory.
func (o *runOptions) memoryOf() (int64, error) {
	n, err := fixedSize(o.memory)
	if err != nil || n < 16<<20 || n > 1<<44 {
		return 0, usage("for example 512M or 2G", "--memory %s is not a size", o.memory)
	}
	return n >> 20, nil
}
