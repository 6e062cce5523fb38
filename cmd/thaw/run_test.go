package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"thaw/internal/testbed"
	"thaw/spec"
)

// thaw starts a system that it has built, with its console on the terminal.
func TestRunBoots(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: boots take half a minute")
	}
	testbed.Tool(t, "qemu-system-x86_64")
	root := lines(t, testbed.Dir(t, "caches/lists/system.roots"))[0]
	p := newProgram(t)
	home := filepath.Join(p.dir, "home")
	m := start(t, p.dir, "env "+quote([]string{asThaw + "=/dev/null", "HOME=" + home, "TMPDIR=" + p.dir, "XDG_CACHE_HOME=" + home, p.exe, "run", root,
		"--cache", testbed.Dir(t, "caches/xz"), "--trusted-key", testbedKey, "--arch", "x86_64", "--accel", "tcg", "--memory", "512M"})+
		` --append "root=LABEL=nixos testbed.shell init=`+root+`/init"`)
	m.expect("a shell; exit powers off")
	m.expect("# ")
	m.ask("id -u; tty", "0\n/dev/ttyS0")
	m.send("exit\n")
	m.ends()
	empty(t, p.dir, "home")
}

// An image with EFI/BOOT is given firmware, of the architecture of its program.
func TestRunUEFI(t *testing.T) {
	dir := t.TempDir()
	esp := filepath.Join(dir, "esp")
	if err := os.WriteFile(esp, make([]byte, 2<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	testbed.Run(t, "mkfs.vfat", esp)
	testbed.Run(t, "mmd", "-i", esp, "::EFI", "::EFI/BOOT")
	testbed.Run(t, "mcopy", "-i", esp, os.DevNull, "::EFI/BOOT/BOOTX64.EFI")
	img := filepath.Join(dir, "uefi.img")
	if err := os.WriteFile(img, make([]byte, 8<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	testbed.Run(t, "sgdisk", "-n", "1:2048:+2M", "-t", "1:ef00", img)
	testbed.Run(t, "dd", "if="+esp, "of="+img, "bs=1M", "seek=1", "conv=notrunc", "status=none")
	for _, f := range []string{"X_CODE.fd", "X_VARS.fd"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	p := newProgram(t)
	o := p.run(t, "run", img, "--print", "--accel", "tcg", "--firmware", filepath.Join(dir, "X_CODE.fd"))
	want := "-drive if=pflash,unit=0,format=raw,readonly=on,file=" + dir + "/X_CODE.fd -drive if=pflash,unit=1,format=raw,snapshot=on,file=" + dir + "/X_VARS.fd -drive file=" + img
	if !strings.HasPrefix(o.stdout, "qemu-system-x86_64 ") || !strings.Contains(o.stdout, want) || strings.Contains(o.stdout, "-kernel") {
		t.Errorf("it prints %s", o.stdout)
	}
	// Without the option, that of this system is found, or is said to be missing.
	if o = p.try(t, "run", img, "--print", "--accel", "tcg"); o.code == 0 && !strings.Contains(o.stdout, "if=pflash,unit=0") || o.code != 0 && !strings.Contains(o.stderr, "no such firmware for x86_64\n") {
		t.Errorf("exit %d: %s%s", o.code, o.stdout, o.stderr)
	}
}

// Where QEMU is not, its package is named.
func TestRunWithoutQEMU(t *testing.T) {
	p := newProgram(t)
	if err := os.WriteFile(filepath.Join(p.dir, "k"), []byte("k"), 0o666); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", p.dir)
	const want = "thaw: qemu-system-aarch64 is not installed\n      install it (on Debian, the package qemu-system-arm), or"
	if o := p.try(t, "run", "k", "--kernel", "k", "--arch", "aarch64"); o.code != exitFailed || !strings.HasPrefix(o.stderr, want) {
		t.Errorf("exit %d: %s", o.code, o.stderr)
	}
}

// The machine is one that the kernel runs on.
func TestRunArch(t *testing.T) {
	p := newProgram(t)
	for machine, want := range map[uint16]string{0x8664: "qemu-system-x86_64 ", 0xaa64: "qemu-system-aarch64 ", 0x5064: "qemu-system-riscv64 "} {
		if err := os.WriteFile(filepath.Join(p.dir, "kernel"), []byte(efiProgram(machine)), 0o666); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"kernel", "--kernel", "kernel"}, {"."}} { // any file is a disk
			if o := p.run(t, append([]string{"run", "--print", "--accel", "tcg"}, args...)...); !strings.HasPrefix(o.stdout, want) {
				t.Errorf("%v: not %s, but %s", args, want, o.stdout)
			}
		}
	}
}

// Descriptions of firmware are read as QEMU's own tools read them.
func TestReadFirmware(t *testing.T) {
	dir := t.TempDir()
	code := filepath.Join(dir, "code")
	if err := os.WriteFile(code, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	const whole = `{"interface-types": ["uefi"], "mapping": {"device": "flash", "executable": {"filename": "CODE", "format": "raw"},
		"nvram-template": {"filename": "/v", "format": "raw"}}, "targets": [{"architecture": "x86_64"}], "features": ["acpi-s3"]}`
	for _, c := range []struct {
		name, old, new string
		want           bool
	}{
		{"a whole one", "", "", true}, {"BIOS", `"uefi"`, `"bios"`, false}, {"another machine", "x86_64", "aarch64", false},
		{"Secure Boot", "acpi-s3", "secure-boot", false}, {"memory", `"flash"`, `"memory"`, false}, {"not there", "CODE", "/no/such", false},
		{"qcow2", `"raw"}`, `"qcow2"}`, false}, {"damaged", "{", "", false},
	} {
		text := strings.Replace(strings.Replace(whole, c.old, c.new, 1), "CODE", code, 1)
		file := filepath.Join(dir, "60.json")
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		got, vars, ok := readFirmware(file, "x86_64")
		if ok != c.want || ok && (got != code || vars != "/v") {
			t.Errorf("%s: %s, %s, %v", c.name, got, vars, ok)
		}
	}
}

// What is quoted comes out of a shell as it was.
func TestQuote(t *testing.T) {
	args := []string{"plain", "", "a b", "it's", "$HOME", "a\nb", "~", "file=a,,b", "ü", "*", `\`, "-x"}
	out := testbed.Run(t, "sh", "-c", `printf '%s\0' `+quote(args))
	if got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); strings.Join(got, "\x00") != strings.Join(args, "\x00") {
		t.Errorf("%q", got)
	}
	if bytes.Contains([]byte(quote([]string{"plain", "a=b"})), []byte("'")) {
		t.Error("what is plain is quoted")
	}
}

// fakeQEMU puts a program called QEMU before all others: it says what it was started
// with, and runs until its input ends.
func fakeQEMU(t *testing.T, p *program) {
	t.Helper()
	bin := filepath.Join(p.dir, "bin")
	err := os.Mkdir(bin, 0o777)
	if err == nil {
		err = os.WriteFile(filepath.Join(bin, "qemu-system-x86_64"), []byte("#!/bin/sh\nprintf '<%s>\\n' \"$@\" \"\"\nexec cat\n"), 0o777)
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(p.dir, "tmp"), 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("TMPDIR", filepath.Join(p.dir, "tmp"))
}

// zipped makes an image of zeros in gzip.
func zipped(t *testing.T, name string) {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(make([]byte, 1<<20))
	if err := errors.Join(err, w.Close(), os.WriteFile(name, b.Bytes(), 0o666)); err != nil {
		t.Fatal(err)
	}
}

// What is printed does in a shell what thaw does, whatever names are like.
func TestRunPrinted(t *testing.T) {
	p := newProgram(t)
	fakeQEMU(t, p)
	zipped(t, filepath.Join(p.dir, "it's a:b,c $HOME.gz"))
	if err := os.WriteFile(filepath.Join(p.dir, "x:y.img"), make([]byte, 1<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"x:y.img", "--kernel", "x:y.img", "--append", "a 'b' \"c\" \\ `d`"},
		{"it's a:b,c $HOME.gz", "--dir", "o'ut dir", "--kernel", "x:y.img", "--", "-name", "é\t*"},
	} {
		args = append([]string{"run", "--accel", "tcg", "--arch", "x86_64"}, args...)
		want := p.run(t, args...).stdout
		printed := p.run(t, slices.Insert(args, 1, "--print")...).stdout
		cmd := exec.Command("bash", "-c", printed)
		cmd.Dir = p.dir
		if got, err := cmd.CombinedOutput(); err != nil || string(got) != want || !strings.HasPrefix(want, "<-machine>\n") {
			t.Errorf("%v: %s\ndoes %s\nand thaw does %s", err, printed, got, want)
		}
	}
	if want := "<file=./x:y.img,format=raw,"; !strings.Contains(p.run(t, "run", "x:y.img", "--kernel", "x:y.img", "--accel", "tcg", "--arch", "x86_64").stdout, want) {
		t.Errorf("not %s, so QEMU takes it for a protocol", want)
	}
}

// Nothing is left of a run that is ended, and what is left of one that was killed, the
// next one removes; but nothing of one that still runs.
func TestRunLeavesNothing(t *testing.T) {
	p := newProgram(t)
	fakeQEMU(t, p)
	args := []string{"run", "z.gz", "--kernel", "z.gz", "--accel", "tcg", "--arch", "x86_64"}
	zipped(t, filepath.Join(p.dir, "z.gz"))
	places := func() []string {
		t.Helper()
		list, err := filepath.Glob(filepath.Join(p.dir, "tmp/*"))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	left := func(when string, want int) {
		t.Helper()
		if list := places(); len(list) != want {
			t.Errorf("%s: %d directories are there instead of %d", when, len(list), want)
		}
	}
	for _, c := range []struct {
		signal os.Signal
		code   int
		left   int
	}{{os.Kill, -1, 1}, {syscall.SIGTERM, exitInterrupted, 0}} {
		cmd := p.command(t.Context(), args...)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		console := bufio.NewReader(out)
		if line, err := console.ReadString('\n'); line != "<-machine>\n" {
			t.Fatalf("%q, %v", line, err)
		}
		p.run(t, args...)
		left("beside another", 1)
		if err := cmd.Process.Signal(c.signal); err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, console) // until QEMU ends, too
		cmd.Wait()
		// It closes its output a little earlier than what it has locked.
		for _, dir := range places() {
			f, err := os.Open(dir)
			if err == nil {
				err = errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_EX), f.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if code := cmd.ProcessState.ExitCode(); code != c.code {
			t.Errorf("%v: exit %d instead of %d", c.signal, code, c.code)
		}
		left(c.signal.String(), c.left)
		p.run(t, args...)
		left("after "+c.signal.String(), 0)
	}
}

// A kernel is told where its root is, unless its arguments say so.
func TestRooted(t *testing.T) {
	label := "nixos"
	labelled, numbered := spec.NewPartition("ext4"), spec.NewPartition("ext4")
	labelled.Content, labelled.Ext4.Label = "rootfs", &label
	numbered.Content, numbered.Number = "rootfs", 7
	other := spec.NewPartition("vfat")
	disk := func(p ...spec.Partition) *spec.Output {
		o := spec.NewOutput("d", "disk")
		o.Disk.Partitions = p
		return &o
	}
	fs, cpio := spec.NewOutput("e", "ext4"), spec.NewOutput("c", "cpio")
	for _, c := range []struct {
		cmdline string
		out     *spec.Output
		initrd  bool
		want    string
	}{
		{"quiet", disk(other, labelled), true, "root=LABEL=nixos quiet"},
		{"quiet", disk(other, labelled), false, "root=/dev/vda2 quiet"},
		{"", disk(other, numbered), true, "root=/dev/vda7"},
		{"", &fs, true, "root=/dev/vda"},
		{"quiet", &cpio, true, "quiet"},
		{"ro root=LABEL=x", disk(labelled), true, "ro root=LABEL=x"},
	} {
		if got := rooted(c.cmdline, c.out, c.initrd); got != c.want {
			t.Errorf("%q: %q instead of %q", c.cmdline, got, c.want)
		}
	}
}

// A generated initrd has the driver of the root that lies beside it, in an output of the
// type files: it had that of ext4 alone.
func TestRootTypes(t *testing.T) {
	for root, want := range map[string]string{"erofs": "[erofs]", "squashfs": "[squashfs]", "none": "[ext4]"} {
		o := spec.NewOutput("f", "files")
		o.Files.Root = root
		if got := fmt.Sprint(rootTypes(&spec.Spec{Outputs: []spec.Output{o}})); got != want {
			t.Errorf("%s: %s instead of %s", root, got, want)
		}
	}
}
