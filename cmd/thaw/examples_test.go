package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"thaw/examples"
	"thaw/internal/testbed"
	"thaw/storepath"
)

// exampleTests are the specs in examples/, and what the images must be able to do.
var exampleTests = map[string]struct {
	large bool // needs the large caches
	judge func(e *example, t *testing.T)
}{
	"container": {true, (*example).container},
	"hello":     {false, nil}, // examples/hello.sh looks at it
	"initramfs": {false, (*example).initramfs},
	"router":    {true, (*example).router},
	"sbc":       {false, (*example).sbc},
	"vm":        {true, (*example).vm},
}

// example is one that was built.
type example struct {
	dir  string // the current directory of its commands
	qemu string // the command that starts it
}

// Every example is built by the command at its top, from YAML and from JSON, with
// the same bytes, and does what it is for. Presets are as thaw init writes them.
func TestExamples(t *testing.T) {
	specs, err := filepath.Glob(repository(t, "examples/*.yaml"))
	if err != nil || len(specs) != len(exampleTests) {
		t.Fatalf("there are %d examples instead of %d: %v", len(specs), len(exampleTests), err)
	}
	for _, spec := range specs {
		name := strings.TrimSuffix(filepath.Base(spec), ".yaml")
		t.Run(name, func(t *testing.T) {
			test := exampleTests[name]
			p := newProgram(t)
			switch {
			case name == "hello":
				// It names its cache itself.
			case test.large && testing.Short():
				t.Skip("SKIPPED: a system of 233 MB")
			case test.large:
				p.args = []string{"--cache", testbed.Dir(t, "caches/xz"), "--trusted-key", testbedKey}
			default:
				p.args = []string{"--cache", repository(t, "testdata/example"), "--trusted-key", testbedKey}
			}
			text := p.example(t, name)
			e := &example{dir: p.dir}
			var build []string
			for _, c := range commands(text) {
				if strings.HasPrefix(c, "thaw build ") {
					build = strings.Fields(c)[1:]
				}
				if strings.HasPrefix(c, "qemu-system-x86_64 ") {
					e.qemu = c
				}
			}
			yaml := p.run(t, build...)
			asJSON := strings.TrimSuffix(build[1], ".yaml") + ".json"
			if err := os.WriteFile(filepath.Join(p.dir, asJSON), []byte(p.run(t, "check", "--json", build[1]).stdout), 0o666); err != nil {
				t.Fatal(err)
			}
			if json := p.run(t, "build", asJSON, "-o", "json.out"); json.digest(t) != yaml.digest(t) {
				t.Errorf("JSON makes %s\nYAML makes %s", json.stdout, yaml.stdout)
			}
			if err := os.Remove(filepath.Join(p.dir, "json.out")); err != nil {
				t.Fatal(err)
			}
			if test.judge != nil && !testing.Short() {
				test.judge(e, t)
			}
		})
	}
}

// example brings an example to where its commands find it, and returns its text.
func (p *program) example(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(repository(t, "examples", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if preset, ok := examples.Preset(name); ok {
		if p.run(t, "init", "--preset", name); string(preset) != string(text) {
			t.Errorf("the preset %s is not the example", name)
		}
		return text
	}
	for _, dir := range []string{"examples", "testdata/example"} {
		if err := os.CopyFS(filepath.Join(p.dir, dir), os.DirFS(repository(t, dir))); err != nil {
			t.Fatal(err)
		}
	}
	return text
}

// commands returns those in the comment at the top of an example.
func commands(text []byte) (out []string) {
	for line := range strings.Lines(string(text)) {
		line, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "#   ")
		switch last := len(out) - 1; {
		case !ok:
			continue
		case last >= 0 && strings.HasSuffix(out[last], `\`):
			out[last] = strings.TrimSuffix(out[last], `\`) + strings.TrimLeft(line, " ")
		default:
			out = append(out, line)
		}
	}
	return out
}

// kernel adds the kernel and the initrd of the large caches to the example's
// directory.
func (e *example) kernel(t *testing.T) {
	t.Helper()
	p := newProgram(t, "--cache", testbed.Dir(t, "caches/xz"), "--trusted-key", testbedKey)
	var paths []string
	for _, path := range lines(t, testbed.Dir(t, "caches/lists/system.closure")) {
		if q, err := storepath.Parse(path); err == nil && (q.Name() == "linux-6.1-cloud" || q.Name() == "initrd-testbed") {
			paths = append(paths, path)
		}
	}
	p.run(t, append([]string{"build", "-o", "boot.tar", "--kernel-out", filepath.Join(e.dir, "KERNEL"), "--initrd-out", filepath.Join(e.dir, "INITRD")}, paths...)...)
}

func (e *example) sum(t *testing.T, image string) string {
	t.Helper()
	return string(testbed.Run(t, "sha256sum", filepath.Join(e.dir, image)))
}

// A container runs what is in it as its user, who can write to /tmp and nowhere
// else but at home; Nix believes its store.
func (e *example) container(t *testing.T) {
	if os.Geteuid() != 0 || exec.Command("unshare", "--net", "--pid", "--fork", "true").Run() != nil {
		t.Skip("SKIPPED: this system gives us no namespaces to run a container in")
	}
	layout := filepath.Join(e.dir, "layout")
	testbed.Run(t, "skopeo", "--insecure-policy", "copy", "--quiet", "oci-archive:"+filepath.Join(e.dir, "container.oci.tar"), "oci:"+layout+":web")
	testbed.Run(t, "umoci", "unpack", "--image", layout+":web", filepath.Join(e.dir, "bundle"))
	root := filepath.Join(e.dir, "bundle/rootfs")
	if out, err := exec.Command(testbed.Tool(t, "nix-store"), "--store", root, "--verify", "--check-contents").CombinedOutput(); err != nil || strings.Contains(string(out), "error") {
		t.Errorf("nix-store --verify: %v\n%s", err, out)
	}
	cmd := exec.Command("unshare", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", `ip link set lo up; exec chroot --userspec 1000:1000 "$0" /bin/sh -c "$1"`, root, `
id -un
pwd
touch /tmp/mine && rm /tmp/mine
touch ~/mine && rm ~/mine
touch /etc/mine
cat /etc/shadow
grep -q BEGIN /etc/ssl/certs/ca-certificates.crt && echo certificates
httpd -p 127.0.0.1:8080 -h /srv/www
wget -q -O - http://127.0.0.1:8080/`)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "HOME=/home/app"}
	out, err := cmd.CombinedOutput()
	const want = `app
/
touch: /etc/mine: Permission denied
cat: can't open '/etc/shadow': Permission denied
certificates
<h1>It works.</h1>
`
	if err != nil || string(out) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out, want)
	}
}

// An initramfs starts with a kernel alone.
func (e *example) initramfs(t *testing.T) {
	e.kernel(t)
	m := start(t, e.dir, e.qemu)
	m.expect("A shell on initramfs; exit powers off.")
	m.expect("# ")
	m.ask("id -u", "0")
	m.ask("tty", "/dev/ttyS0")
	m.ask("grep -c '^rootfs / ' /proc/mounts", "1")
	m.ask("ping -c 1 -q initramfs >/dev/null && echo up", "up")
	m.send("exit\n")
	m.ends()
}

// hostForwards are options of qemu that open ports of this machine.
var hostForwards = regexp.MustCompile(`,hostfwd=[^, ]*`)

// A virtual machine lets its user in on the console and by SSH, serves, and
// powers off, with a clean file system, when the button is pressed.
func (e *example) vm(t *testing.T) {
	m := start(t, e.dir, hostForwards.ReplaceAllString(e.qemu, ""))
	m.login("alice", "thaw", "$ ")
	m.ask("id -un; id -Gn; pwd; hostname", "alice\nalice wheel\n/home/alice\nvm")
	m.ask("touch mine && ls -l mine | cut -d ' ' -f 3; touch /etc/mine 2>&1", "alice\ntouch: cannot touch '/etc/mine': Permission denied")
	m.ask("python3 -c 'print(6*7)'", "42")
	for _, port := range []string{"22", "8080"} {
		m.ask("until netstat -ltn | grep -q ':"+port+" '; do sleep 0.1; done; echo listens", "listens")
	}
	m.ask("wget -q -O - http://vm:8080/", "<h1>It works.</h1>")
	m.ask("ps -o user,args | grep '[h]ttpd -f' | cut -d ' ' -f 1 | sort -u", "www")
	m.ask("until ip address show eth0 | grep -o 10.0.2.15/24; do sleep 0.1; done; cat /etc/resolv.conf", "10.0.2.15/24\nnameserver 10.0.2.3")
	m.send("dbclient -y alice@127.0.0.1 'echo $(id -un) by $(echo $SSH_CONNECTION | cut -c -9)'\n")
	m.expect("password: ")
	m.send("thaw\n")
	m.expect("alice by 127.0.0.1")
	m.send("\x01csystem_powerdown\n") // to qemu's own console
	m.ends()
	testbed.Run(t, "e2fsck", "-fn", filepath.Join(e.dir, "vm.img?offset=1048576"))
}

// A router forwards between two networks, with a root that nobody can write to.
func (e *example) router(t *testing.T) {
	before := e.sum(t, "router.img")
	m := start(t, e.dir, regexp.MustCompile("socket,model=virtio,mcast=[^ ]*").ReplaceAllString(e.qemu, "user,model=virtio,restrict=on"))
	m.login("root", "thaw", "# ")
	e.readOnly(m, "router")
	m.ask("cat /proc/sys/net/ipv4/ip_forward", "1")
	m.ask("until ip address show eth0 | grep -o 10.0.2.15/24; do sleep 0.1; done; cat /etc/resolv.conf", "10.0.2.15/24\nnameserver 10.0.2.3")
	m.ask("ip address show eth1 | grep -o '192.*/24'; ip route | grep -c eth", "192.168.77.1/24\n3")
	m.ask("until netstat -lun | grep -q ':67 '; do sleep 0.1; done; echo listens", "listens")
	m.ask("touch /tmp/a /run/a /var/lib/misc/a && echo in memory", "in memory")
	m.send("poweroff\n")
	m.ends()
	if after := e.sum(t, "router.img"); after != before {
		t.Errorf("the router wrote to its disk")
	}
}

// A card for a board has its fixed size, and is not written to.
func (e *example) sbc(t *testing.T) {
	if st, err := os.Stat(filepath.Join(e.dir, "sbc.img")); err != nil || st.Size() != 256<<20 {
		t.Errorf("the disk: %v, %v", st, err)
	}
	e.kernel(t)
	before := e.sum(t, "sbc.img")
	m := start(t, e.dir, `qemu-system-x86_64 -nographic -no-reboot -m 256 -drive file=sbc.img,format=raw,if=virtio \
		-kernel KERNEL -initrd INITRD -append "console=ttyS0 quiet root=PARTLABEL=sbc ro rootwait"`)
	m.login("root", "thaw", "# ")
	e.readOnly(m, "board")
	m.ask("until netstat -ltn | grep -q ':8080 '; do sleep 0.1; done; wget -q -O - http://board:8080/", "<h1>It works.</h1>")
	m.send("poweroff\n")
	m.ends()
	if after := e.sum(t, "sbc.img"); after != before {
		t.Errorf("the board wrote to its disk")
	}
}

// readOnly holds that root cannot write to a machine's root file system.
func (e *example) readOnly(m *machine, hostname string) {
	m.t.Helper()
	m.ask("id -un; hostname", "root\n"+hostname)
	m.ask("grep ' / ext4 ' /proc/mounts | cut -d ' ' -f 4 | cut -d , -f 1", "ro")
	m.ask("touch /etc/mine 2>&1", "touch: /etc/mine: Read-only file system")
}
