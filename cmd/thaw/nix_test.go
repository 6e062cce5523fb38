package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"thaw/internal/testbed"
)

// An image whose database thaw wrote boots, and the Nix in it, which came from a
// cache as everything else did, finds all its store objects valid; one flipped byte
// is found.
func TestNixInImage(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: a boot takes half a minute")
	}
	testbed.Tool(t, "qemu-system-x86_64")
	xz := testbed.Dir(t, "caches/xz")
	p := newProgram(t, "--cache", xz, "--trusted-key", testbedKey, "-q")
	cache, nix := nixObject(t)
	const (
		busybox = "/nix/store/4816nf1754f3jnz5brkh5n9y252l4san-busybox-static-1.35.0"
		linux   = "/nix/store/4ym2jvskrm382f6jmp005zdzk1cplzca-linux-6.1-cloud"
		initrd  = "/nix/store/hv2m7cy04jq5y1x44r9kn5szsx33zr9w-initrd-testbed"
		hello   = "/nix/store/sn434rnsv561nqykqn21f6vj48gyn56a-hello-2.10"
	)
	run := nix + "/lib/ld.so --library-path " + nix + "/lib " + nix + "/bin/nix-store"
	file := writeSpec(t, p, `packages: [ `+busybox+`, `+nix+`, `+linux+`, `+initrd+`, `+hello+` ]
boot: { kernel: `+linux+`/bzImage, initrd: `+initrd+`/initrd }
rootfs:
  nix:
    db: true
    gcroots: { nix: `+nix+` }
  users: [ { name: root, uid: 0 } ]
  files:
    - path: /sbin/init
      mode: "0755"
      content: |
        #!/bin/sh
        export PATH=/bin HOME=/root NIX_REMOTE=local NIX_CONF_DIR=/none
        mount -t proc proc /proc; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp; mount -o remount,rw /
        exec </dev/console >/dev/console 2>&1
        `+run+` --verify --check-contents && echo ALL IS VALID
        echo requisites $(`+run+` -q --requisites `+hello+` | wc -l)
        chmod u+w `+hello+`/bin/hello
        printf X | dd of=`+hello+`/bin/hello bs=1 seek=100 conv=notrunc 2>/dev/null
        `+run+` --verify --check-contents || echo THE CHANGE IS SEEN
        poweroff -f
outputs: { vm: { type: disk, partitions: [ { fs: ext4, size: fit+64M } ] } }
`)
	p.run(t, "build", file, "-o", p.dir+"/vm.img", "--kernel-out", p.dir+"/kernel", "--initrd-out", p.dir+"/initrd", "--cache", cache)
	log := console(t, p.dir, nil, "-kernel", "kernel", "-initrd", "initrd", "-append", "console=ttyS0 panic=-1 root=LABEL=nixos "+calm,
		"-drive", "file=vm.img,format=raw,if=virtio,snapshot=on")
	requisites := len(strings.Fields(p.run(t, "closure", hello).stdout))
	for _, want := range []string{"ALL IS VALID", fmt.Sprintf("requisites %d", requisites), "hello-2.10' was modified", "THE CHANGE IS SEEN"} {
		if !strings.Contains(log, want) {
			t.Errorf("the console does not say %q:\n%s", want, log)
			break
		}
	}
}

// nixObject makes a store object of this machine's Nix with its libraries and the
// loader, and a cache that has it. Its content address vouches for it.
func nixObject(t *testing.T) (cache, object string) {
	t.Helper()
	program := testbed.Tool(t, "nix-store")
	dir := filepath.Join(t.TempDir(), "nix-debian")
	add := func(file, to string) {
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(dir+"/"+to), 0o755)
		}
		if err == nil {
			err = os.WriteFile(dir+"/"+to, data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	add(program, "bin/nix-store")
	library := regexp.MustCompile(`(\S+) => (/\S+)|^\s+(/\S*/ld-linux\S+)`)
	for line := range strings.Lines(string(testbed.Run(t, "ldd", program))) {
		switch m := library.FindStringSubmatch(line); {
		case m == nil:
		case m[3] != "":
			add(m[3], "lib/ld.so")
		default:
			add(m[2], "lib/"+m[1])
		}
	}
	store := t.TempDir()
	t.Cleanup(func() { exec.Command("chmod", "-R", "u+w", store).Run() })
	t.Setenv("NIX_CONFIG", "experimental-features = nix-command")
	t.Setenv("HOME", t.TempDir()) // where Nix keeps what others would use at the same time
	t.Setenv("XDG_CACHE_HOME", "")
	object = strings.TrimSpace(string(testbed.Run(t, program, "--store", store, "--add", dir)))
	cache = filepath.Join(t.TempDir(), "cache")
	testbed.Run(t, "nix", "copy", "--no-check-sigs", "--from", store, "--to", "file://"+cache+"?compression=none", object)
	return cache, object
}

// console boots a machine without a display, of the given devices, until it powers
// off, and returns what it says on its serial console. talk, if it is not nil, sees
// each line and may answer.
func console(t *testing.T, dir string, talk func(line string, in io.Writer), devices ...string) string {
	t.Helper()
	ctx, cancel := ended(t)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", append([]string{"-nodefaults", "-no-reboot", "-display", "none", "-m", "512",
		"-machine", "q35,accel=tcg", "-cpu", "max", "-serial", "stdio", "-monitor", "none"}, devices...)...)
	cmd.Dir = dir
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	for sc := bufio.NewScanner(stdout); sc.Scan(); {
		log.WriteString(sc.Text() + "\n")
		if talk != nil {
			talk(sc.Text(), stdin)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the machine: %v", err)
	}
	return log.String()
}
