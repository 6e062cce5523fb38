package overlay

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/internal/testbed"
)

// dump writes down what it was started as, once it is started again. Then it
// waits.
const dump = `#!/bin/sh
out=/out/$1
: >>$out.started
if [ "$1" = web ] && [ ! -e $out.again ]; then
	: >$out.again
	exit 1
fi
{
	printf '<%s>\n' "$@"
	pwd
	id -u
	id -G
	env | grep -v '^\(SHLVL\|TERM\|PWD\|OLDPWD\|SHELL\|container\|BOOT_IMAGE\)=' | sort
	cat /out/order
	cat /proc/sys/kernel/hostname
	grep -o ' /data/[^ ]* .*mode=700' /proc/mounts
	grep -c ' /run/cache ' /proc/mounts
	grep -c ' /proc ' /proc/mounts
	grep -c ' /run/later ' /proc/mounts
} >$out.tmp
mv $out.tmp $out
exec sleep 1000
`

const dumped = `<web>
<a b>
<it's>
<$HOME>
<100%>
<;>
<>
<back\slash "quote">
/srv/my site
1000
1000 10 44
GREETING=it's $5, 100% \o/
HOME=/home/alice
LOGNAME=alice
PATH=/opt/mine:/bin
USER=alice
seed
load
demo
 /data/my\040disk tmpfs rw,relatime,size=64k,mode=700
1
1
0
`

// TestBoot starts images in namespaces of their own, with the supervisors as the
// first process, and looks at what services find there: all the same with all
// supervisors.
func TestBoot(t *testing.T) {
	if testing.Short() {
		t.Skip("boots take seconds")
	}
	for _, tool := range []string{"unshare", "chroot", "busybox", "runsvdir", "s6-svscan"} {
		testbed.Tool(t, tool)
	}
	if os.Geteuid() != 0 || exec.Command("unshare", "--mount", "--pid", "--uts", "--net", "--fork", "--mount-proc", "true").Run() != nil {
		t.Skip("SKIPPED: this system gives us no namespaces to boot in")
	}
	for supervisor, init := range map[string]struct{ path, stop string }{
		"busybox": {"/sbin/init", "kill -USR2 1"},
		"runit":   {"/usr/sbin/runit", "cd /run; : >runit.stopit; chmod 100 runit.stopit; kill -CONT 1"}, // where Debian's looks
		"s6":      {"/sbin/init", "kill -USR2 1"},
	} {
		t.Run(supervisor, func(t *testing.T) {
			var links strings.Builder
			for _, name := range strings.Fields("sh mount umount mkdir mv rm cp su getty poweroff swapoff ip sync sleep chmod id env cat kill grep sort printf") {
				fmt.Fprintf(&links, "    - { path: /bin/%s, symlink: busybox }\n", name)
			}
			o := mustRead(t, ".", fmt.Sprintf(`
  hostname: demo
  users: [{ name: alice, uid: 1000, groups: [wheel, video] }]
  groups: [{ name: wheel, gid: 10 }, { name: video, gid: 44 }]
  mounts:
    - { source: LABEL=nixos, path: /, type: ext4, options: [noatime] }
    - { source: none, path: /data/my disk, type: tmpfs, options: [mode=700, size=64k] }
    - { source: tmpfs, path: /run/cache, type: tmpfs }
    - { source: tmpfs, path: /run/later, type: tmpfs, options: [noauto] }
    - { source: proc, path: /proc, type: proc }
  services:
    supervisor: %s
    getty: [ttyS0]
    run:
      - { name: seed, command: /bin/sh -c 'echo seed >>/out/order', once: true }
      - { name: fails, command: /bin/sh -c 'exit 3', once: true, console: "null" }
      - { name: load, command: /bin/sh -c 'echo load >>/out/order', once: true, user: alice }
      - name: web
        command: /bin/dump web 'a b' "it's" '$HOME' 100%% ';' '' 'back\slash "quote"'
        user: alice
        directory: /srv/my site
        environment: { GREETING: "it's $5, 100%% \\o/", PATH: "/opt/mine:/bin" }
      - { name: other, command: /bin/dump other, console: "null" }
      - { name: end, command: "/bin/sh -c 'until [ -e /out/web ] && [ -e /out/other ]; do sleep 0.1; done; %s; sleep 1000'" }
  files:
    - { path: /bin/busybox, source: %s, mode: "0755" }
    - { path: /bin/dump, mode: "0755", content: %q }
    - { path: /lib, symlink: usr/lib }
    - { path: /lib64, symlink: usr/lib64 }
    - { path: /out, dir: true, mode: "1777" }
    - { path: /out/order, content: "", mode: "0666" }
    - { path: /srv/my site, dir: true }
    - { path: /usr, dir: true }
    - { path: /proc, dir: true }
    - { path: /sys, dir: true }
    - { path: /dev, dir: true }
    - { path: /run, dir: true }
%s`, supervisor, init.stop, testbed.Tool(t, "busybox"), dump, links.String()))
			o.Defaults.Lay(&o.Tree)
			root := unpack(t, &o.Defaults)
			t.Parallel() // only now: a program that is being started has open what is written meanwhile, and that cannot be run
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			boot := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--uts", "--net", "--fork", "--kill-child", "sh", "-ec", `
mount --bind "$1" "$1"
mount --rbind /usr "$1/usr"
mount -t tmpfs tmpfs "$1/dev"
: >"$1/dev/null"
mount --bind /dev/null "$1/dev/null"
exec env -i "$(command -v chroot)" "$1" "$2" </dev/null`, "sh", root, init.path)
			log, err := boot.CombinedOutput()
			t.Logf("%v\n%s", err, log)
			if ctx.Err() != nil {
				t.Error("it does not end")
			}
			got, err := os.ReadFile(filepath.Join(root, "out/web"))
			if err != nil || string(got) != dumped {
				t.Errorf("%v\n%s\nwant\n%s", err, got, dumped)
			}
			other, err := os.ReadFile(filepath.Join(root, "out/other"))
			if want := "<other>\n/\n0\n"; err != nil || !strings.HasPrefix(string(other), want) || !strings.Contains(string(other), "HOME=/root\nLOGNAME=root\n") {
				t.Errorf("%v\n%s\nwant\n%s", err, other, want)
			}
		})
	}
}
