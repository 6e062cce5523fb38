package initrd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thaw/image/disk"
	"thaw/internal/testbed"
)

// fakes stand for the programs that would change the machine: they write down how
// they are called. Time passes where the script sleeps. Hexdump is
// busybox's, as in an initrd.
const fakes = `
mount() { echo "mount $*"; case $* in *fails*) return 1 ;; esac; }
umount() { echo "umount $*"; }
mkdir() { echo "mkdir $*"; }
switch_root() { echo "switch_root $*"; }
busybox() { :; }
hexdump() { command busybox hexdump "$@"; }
cttyhack() { :; }
setsid() { [ "$2" = true ] || echo "shell"; [ ! -e /T/shell ] || { rm /T/shell; mv /T/root/later /T/root/init; }; }
sleep() { echo "sleep $*"; echo "$((slept += 7)).11 0.00" >/T/proc/uptime; }
findfs() { case $1 in LABEL=nixos) echo /dev/vda1 ;; UUID=data) echo /dev/vdb ;; *) return 1 ;; esac; }
insmod() {
	echo "insmod $*" >>/T/log
	case $1 in
	*again*) echo "insmod: can't insert '$1': File exists"; return 1 ;;
	*absent*) echo "insmod: can't insert '$1': No such device"; return 1 ;;
	*broken*) echo "insmod: can't insert '$1': invalid module format"; return 1 ;;
	esac
}
`

// TestScript runs init.sh, in two shells, with a directory in place of the machine.
func TestScript(t *testing.T) {
	const (
		guid  = "aaaaaaaa-bbbb-8ccc-8ddd-0123456789ab"
		moves = `mount -o move /dev /root/dev
mount -o move /proc /root/proc
mount -o move /sys /root/sys
`
		mounted = "mount -o rw /dev/vda1 /root\n" + moves + "switch_root /root /init arg\n"
		vda2    = "mount -o rw /dev/vda2 /root\n" + moves + "switch_root /root /init arg\n"
		gives   = "initrd: no root, no init (with the word rescue on the kernel's command line there is a shell here)\n"
	)
	for _, c := range []struct {
		name, cmdline string
		o             Options
		modules       string
		shell         string // what a shell does
		uevent        string // of the partition
		disk          disk.Options
		want          string
	}{
		{name: "label", cmdline: "quiet root=LABEL=nixos", want: mounted},
		{name: "of the spec", o: Options{Root: "LABEL=nixos"}, want: mounted},
		{name: "both", o: Options{Root: "LABEL=it's", FSType: "xfs", Flags: "a=$b", ReadOnly: true, Init: "/sbin/init"}, cmdline: "root=LABEL=nixos",
			want: "mount -t xfs -o ro,a=$b /dev/vda1 /root\n" + moves + "switch_root /root /sbin/init arg\n"},
		{name: "all words", o: Options{FSType: "xfs", Init: "/nope"}, cmdline: "root=LABEL=nixos rootfstype=ext4,erofs rootflags=x,y=z ro rootdelay=2 init=/sbin/init * -- rw root=x",
			want: "sleep 2\nmount -t ext4,erofs -o ro,x,y=z /dev/vda1 /root\n" + moves + "switch_root /root /sbin/init arg\n"},
		{name: "links", cmdline: "root=LABEL=nixos init=/system/bin/../bin//start", want: strings.Replace(mounted, "/init", "/system/bin/../bin//start", 1)},
		{name: "links out", cmdline: "root=LABEL=nixos init=/out", want: "mount -o rw /dev/vda1 /root\ninitrd: the root file system, LABEL=nixos, has no program /out\n" + gives},
		{name: "circles", cmdline: "root=LABEL=nixos init=/circle", want: "mount -o rw /dev/vda1 /root\ninitrd: the root file system, LABEL=nixos, has no program /circle\n" + gives},
		{name: "no program", cmdline: "root=LABEL=nixos init=/text", want: "mount -o rw /dev/vda1 /root\ninitrd: the root file system, LABEL=nixos, has no program /text\n" + gives},
		{name: "partition's label", cmdline: "root=PARTLABEL=the=root", uevent: "PARTNAME=the=root\n", want: vda2},
		{name: "link", cmdline: "root=/dev/disk/by-partlabel/root", uevent: "PARTN=2\nPARTNAME=root\n", want: vda2},
		{name: "partition's UUID", cmdline: "root=PARTUUID=" + strings.ToUpper(guid), uevent: "PARTUUID=" + guid + "\n", want: vda2},
		{name: "GPT", cmdline: "root=PARTUUID=" + guid, want: vda2},
		{name: "GPT, 4096", cmdline: "root=/dev/disk/by-partuuid/" + guid, disk: disk.Options{SectorSize: 4096}, want: vda2},
		{name: "MBR", cmdline: "root=PARTUUID=0234abcd-02", disk: disk.Options{Table: disk.MBR}, want: vda2},
		{name: "number", cmdline: "root=254:2", want: vda2},
		{name: "none", want: "initrd: the kernel has been told no root=\n" + gives},
		{name: "timeout", cmdline: "root=LABEL=x rootwait=10", want: "sleep 0.1\nsleep 0.1\ninitrd: LABEL=x is not there after 10 seconds; there are:\nmajor minor\n" + gives},
		{name: "fails", cmdline: "root=LABEL=nixos rootflags=fails", want: "mount -o rw,fails /dev/vda1 /root\n" + gives},
		{name: "shell", cmdline: "root=LABEL=nixos thaw.shell", want: "initrd: a shell; exit to go on\nshell\n" + mounted},
		{name: "rescue", o: Options{Rescue: true, Root: "LABEL=nixos"}, shell: "mv", want: "mount -o rw /dev/vda1 /root\n" +
			"initrd: the root file system, LABEL=nixos, has no program /init or /sbin/init\ninitrd: a shell; exit to try again\nshell\n" +
			"umount /root /run/overlay/data /run/overlay/root /run/medium /run\n" + mounted},
		{name: "overlay", cmdline: "root=LABEL=nixos rw overlay=tmpfs rootflags=x", want: `mkdir -p /run
mount -t tmpfs -o nosuid,nodev,mode=0755 tmpfs /run
mkdir -p /run/overlay/root /run/overlay/data
mount -o ro,x /dev/vda1 /run/overlay/root
mount -t tmpfs -o mode=0755 tmpfs /run/overlay/data
mkdir -p /run/overlay/data/upper /run/overlay/data/work
mount -t overlay -o lowerdir=/run/overlay/root,upperdir=/run/overlay/data/upper,workdir=/run/overlay/data/work overlay /root
` + moves + "mount -o move /run /root/run\nswitch_root /root /init arg\n"},
		{name: "overlay on a device", o: Options{Overlay: "UUID=data", Root: "LABEL=nixos"}, want: `mkdir -p /run
mount -t tmpfs -o nosuid,nodev,mode=0755 tmpfs /run
mkdir -p /run/overlay/root /run/overlay/data
mount -o ro /dev/vda1 /run/overlay/root
mount -o rw /dev/vdb /run/overlay/data
mkdir -p /run/overlay/data/upper /run/overlay/data/work
mount -t overlay -o lowerdir=/run/overlay/root,upperdir=/run/overlay/data/upper,workdir=/run/overlay/data/work overlay /root
` + moves + "mount -o move /run /root/run\nswitch_root /root /init arg\n"},
		{name: "image", o: Options{Root: "LABEL=nixos", Image: "/root.squashfs", FSType: "squashfs"}, cmdline: "rw", want: `mkdir -p /run
mount -t tmpfs -o nosuid,nodev,mode=0755 tmpfs /run
mkdir -p /run/medium
mount -o ro /dev/vda1 /run/medium
mount -t squashfs -o ro,loop /run/medium/root.squashfs /root
` + moves + "mount -o move /run /root/run\nswitch_root /root /init arg\n"},
		{name: "image and overlay", o: Options{Root: "LABEL=x"}, cmdline: "root=LABEL=nixos rootimage=/a/b overlay=tmpfs", want: `mkdir -p /run
mount -t tmpfs -o nosuid,nodev,mode=0755 tmpfs /run
mkdir -p /run/medium
mount -o ro /dev/vda1 /run/medium
mkdir -p /run/overlay/root /run/overlay/data
mount -o ro,loop /run/medium/a/b /run/overlay/root
mount -t tmpfs -o mode=0755 tmpfs /run/overlay/data
mkdir -p /run/overlay/data/upper /run/overlay/data/work
mount -t overlay -o lowerdir=/run/overlay/root,upperdir=/run/overlay/data/upper,workdir=/run/overlay/data/work overlay /root
` + moves + "mount -o move /run /root/run\nswitch_root /root /init arg\n"},
		{name: "another root than the image", o: Options{Root: "LABEL=x", Image: "/a"}, cmdline: "root=LABEL=nixos", want: mounted},
		{name: "modules", cmdline: "root=LABEL=nixos a.b=c a.d=* ab.c=d",
			modules: "a /m/a.ko\nagain /m/again.ko a\nabsent /m/absent.ko\nnext /m/next.ko again absent\nlast /m/last.ko next\nbroken /m/broken.ko\nb /m/b.ko a again\n",
			want: "initrd: insmod: can't insert '/m/broken.ko': invalid module format\n" + mounted +
				"insmod /m/a.ko b=c d=*\ninsmod /m/again.ko\ninsmod /m/absent.ko\ninsmod /m/broken.ko\ninsmod /m/b.ko\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, shell := range [][]string{{"busybox", "sh"}, {"dash"}} {
				dir := t.TempDir()
				machine(t, dir, c.uevent, c.disk)
				conf, err := c.o.conf()
				if err != nil {
					t.Fatal(err)
				}
				put(t, dir, "etc/initrd.conf", string(conf))
				put(t, dir, "etc/initrd.modules", c.modules)
				put(t, dir, "proc/cmdline", c.cmdline+"\n")
				if c.shell != "" {
					put(t, dir, "shell", "")
					if err := errors.Join(os.Remove(filepath.Join(dir, "root/sbin/init")), os.Rename(filepath.Join(dir, "root/init"), filepath.Join(dir, "root/later"))); err != nil {
						t.Fatal(err)
					}
				}
				// The paths that the script reads are those below dir; what it
				// has other programs do is not done.
				text := strings.NewReplacer("</proc/", "<"+dir+"/proc/", "cat /proc/", "cat "+dir+"/proc/", "/etc/", dir+"/etc/",
					"/sys/class/block", dir+"/sys/class/block", "/sys/dev/", dir+"/sys/dev/", "disk=/dev/", "disk="+dir+"/dev/",
					`"/root`, `"`+dir+`/root`, "exec switch_root", "switch_root").Replace(string(program))
				text = strings.ReplaceAll(fakes, "/T/", dir+"/") + "set -u\nslept=0 moved=\n" + text
				cmd := exec.Command(testbed.Tool(t, shell[0]), append(shell[1:], "-c", text, "/init", "arg")...)
				cmd.Dir = dir
				out, err := cmd.CombinedOutput()
				if fails := strings.HasSuffix(c.want, gives); fails != (err != nil) {
					t.Errorf("%s: %v", shell, err)
				}
				log, _ := os.ReadFile(filepath.Join(dir, "log"))
				if got := strings.ReplaceAll(string(out)+string(log), dir, ""); got != c.want {
					t.Errorf("%s:\n%swant\n%s", shell, got, c.want)
				}
			}
		})
	}
}

// machine makes what the script reads of the kernel, of a disk, and of a root.
func machine(t *testing.T, dir, uevent string, o disk.Options) {
	t.Helper()
	sector := max(o.SectorSize, 512)
	put(t, dir, "proc/uptime", "0.10 0.00\n")
	put(t, dir, "proc/partitions", "major minor\n")
	put(t, dir, "sys/devices/vda/uevent", "DEVNAME=vda\n")
	put(t, dir, "sys/devices/vda/queue/logical_block_size", fmt.Sprintln(sector))
	for n, uevent := range []string{"", uevent} {
		put(t, dir, fmt.Sprintf("sys/devices/vda/vda%d/partition", n+1), fmt.Sprintln(n+1))
		put(t, dir, fmt.Sprintf("sys/devices/vda/vda%d/uevent", n+1), fmt.Sprintf("MAJOR=254\nDEVNAME=vda%d\n%s", n+1, uevent))
	}
	for link, target := range map[string]string{
		"sys/class/block/vda":   "../../devices/vda",
		"sys/class/block/vda1":  "../../devices/vda/vda1",
		"sys/class/block/vda2":  "../../devices/vda/vda2",
		"sys/dev/block/254:2":   "../../devices/vda/vda2",
		"root/out":              "../../../../../../../bin/sh",
		"root/circle":           "/circle",
		"root/system":           "/./profiles//system",
		"root/profiles/system":  "system-1/",
		"root/system-2/bin":     "/store/bin",
		"root/store/bin/start":  "../start",
		"root/init":             "/store/start",
		"root/sbin/init":        "../init",
		"root/profiles/nothing": "nothing/nothing",
		// A link in the new root that would lead somewhere else here.
		"root/profiles/system-1": "/system-2",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, link)), 0o755), os.Symlink(target, filepath.Join(dir, link))); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []string{"dev", "proc", "run", "sys"} {
		put(t, dir, "root/"+at+"/there", "")
	}
	put(t, dir, "root/store/start", "")
	put(t, dir, "root/text", "")
	if err := os.Chmod(filepath.Join(dir, "root/text"), 0o644); err != nil {
		t.Fatal(err)
	}

	put(t, dir, "dev/vda", "")
	f, err := os.OpenFile(filepath.Join(dir, "dev/vda"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o.GUID, o.Signature = "AAAAAAAA-BBBB-8CCC-8DDD-0123456789AA", 0x0234abcd
	d, err := disk.NewWriter(f, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, guid := range []disk.GUID{dataGUID, rootGUID} {
		p := disk.Partition{Type: disk.TypeLinux, Size: disk.Align}
		if o.Table == disk.GPT {
			p.GUID, p.Name = guid, "x"
		}
		if _, err := d.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(d.Close(), f.Truncate(d.Size())); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, dir, file, content string) {
	t.Helper()
	file = filepath.Join(dir, file)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o755)); err != nil {
		t.Fatal(err)
	}
}
