package device

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// host makes a system out of files: paths and what they hold, "->" before the target of
// a link.
func host(t *testing.T, files string) Host {
	t.Helper()
	root := t.TempDir()
	for line := range strings.Lines(files) {
		name, content, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if name == "" {
			continue
		}
		path := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o777)
		if target, ok := strings.CutPrefix(content, "->"); err == nil && ok {
			err = os.Symlink(target, path)
		} else if err == nil {
			err = os.WriteFile(path, []byte(strings.ReplaceAll(content, `\n`, "\n")+"\n"), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return Host{root}
}

// laptop has an encrypted system with LVM below it on sda, btrfs on sdc, an unused stick
// sdb, a card, a locked card, swap, a reader without a card, and what is no candidate.
const laptop = `
sys/devices/ata1/block/sda/size	1000000
sys/devices/ata1/block/sda/dev	8:0
sys/devices/ata1/block/sda/queue/logical_block_size	512
sys/devices/ata1/block/sda/device/vendor	ATA     
sys/devices/ata1/block/sda/device/model	Samsung SSD
sys/devices/ata1/block/sda/sda1/size	2048
sys/devices/ata1/block/sda/sda1/dev	8:1
sys/devices/ata1/block/sda/sda1/partition	1
sys/devices/ata1/block/sda/sda2/size	900000
sys/devices/ata1/block/sda/sda2/dev	8:2
sys/devices/ata1/block/sda/sda2/partition	2
sys/devices/ata1/block/sda/sda2/holders/dm-0	
sys/devices/ata1/block/sda/sda3/size	2048
sys/devices/ata1/block/sda/sda3/dev	8:3
sys/devices/ata1/block/sda/sda3/partition	3
sys/devices/virtual/block/dm-0/size	890000
sys/devices/virtual/block/dm-0/dev	253:0
sys/devices/virtual/block/dm-0/dm/name	luks-root
sys/devices/virtual/block/dm-0/slaves/sda2	
sys/devices/virtual/block/dm-0/holders/dm-1	
sys/devices/virtual/block/dm-1/size	880000
sys/devices/virtual/block/dm-1/dev	253:1
sys/devices/virtual/block/dm-1/dm/name	vg-root
sys/devices/virtual/block/dm-1/slaves/dm-0	
sys/devices/usb1/1-1/block/sdb/size	60000
sys/devices/usb1/1-1/block/sdb/dev	8:16
sys/devices/usb1/1-1/block/sdb/removable	1
sys/devices/usb1/1-1/block/sdb/device/vendor	SanDisk
sys/devices/usb1/1-1/block/sdb/device/model	Ultra
sys/devices/usb1/1-1/block/sdb/sdb1/size	2048
sys/devices/usb1/1-1/block/sdb/sdb1/dev	8:17
sys/devices/usb1/1-1/block/sdb/sdb1/partition	1
sys/devices/ata2/block/sdc/size	70000
sys/devices/ata2/block/sdc/dev	8:32
sys/devices/ata2/block/sdc/sdc1/size	2048
sys/devices/ata2/block/sdc/sdc1/dev	8:33
sys/devices/ata2/block/sdc/sdc1/partition	1
sys/devices/ata2/block/sdc/sdc2/size	2048
sys/devices/ata2/block/sdc/sdc2/dev	8:34
sys/devices/ata2/block/sdc/sdc2/partition	2
sys/devices/usb1/1-2/block/sdd/size	0
sys/devices/usb1/1-2/block/sdd/dev	8:48
sys/devices/mmc_host/mmc0/block/mmcblk0/size	60000
sys/devices/mmc_host/mmc0/block/mmcblk0/dev	179:0
sys/devices/mmc_host/mmc0/block/mmcblk0/ro	1
sys/devices/mmc_host/mmc0/block/mmcblk0/queue/logical_block_size	4096
sys/devices/mmc_host/mmc0/block/mmcblk0/device/name	SC32G
sys/devices/virtual/block/zram0/size	60000
sys/devices/virtual/block/loop0/size	2000
sys/devices/virtual/block/loop0/dev	7:0
sys/devices/virtual/block/loop0/loop/backing_file	/home/me/disk.img
sys/class/block/sda	->../../devices/ata1/block/sda
sys/class/block/sda1	->../../devices/ata1/block/sda/sda1
sys/class/block/sda2	->../../devices/ata1/block/sda/sda2
sys/class/block/sda3	->../../devices/ata1/block/sda/sda3
sys/class/block/sdb	->../../devices/usb1/1-1/block/sdb
sys/class/block/sdb1	->../../devices/usb1/1-1/block/sdb/sdb1
sys/class/block/sdc	->../../devices/ata2/block/sdc
sys/class/block/sdc1	->../../devices/ata2/block/sdc/sdc1
sys/class/block/sdc2	->../../devices/ata2/block/sdc/sdc2
sys/class/block/sdd	->../../devices/usb1/1-2/block/sdd
sys/class/block/dm-0	->../../devices/virtual/block/dm-0
sys/class/block/dm-1	->../../devices/virtual/block/dm-1
sys/class/block/mmcblk0	->../../devices/mmc_host/mmc0/block/mmcblk0
sys/class/block/zram0	->../../devices/virtual/block/zram0
sys/class/block/loop0	->../../devices/virtual/block/loop0
dev/sdc1	
dev/sdc2	
dev/disk/by-label/data	->../../sdc1
proc/self/mountinfo	22 1 253:1 / / rw - ext4 /dev/mapper/vg-root rw\n23 22 8:1 / /boot rw - vfat /dev/sda1 rw\n24 22 0:40 /sub /mnt/my\040data rw - btrfs /dev/disk/by-label/data rw\n25 22 0:41 / /tmp rw - tmpfs tmpfs rw\nnonsense\n
proc/swaps	Filename Type Size Used Priority\n/dev/sdc2 partition 1 0 -2\n/swapfile file 1 0 -2
`

func TestList(t *testing.T) {
	list, err := host(t, laptop).List()
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, d := range list {
		fmt.Fprintf(&got, "%s %d %d %q %s removable=%v ro=%v %v\n", d.Path, d.Size, d.Sector, d.Model, d.Bus, d.Removable, d.ReadOnly, d.Parts)
		for _, u := range d.Uses {
			fmt.Fprintf(&got, "  %v system=%v\n", u, u.System)
		}
	}
	const want = `/dev/loop0 1024000 512 "/home/me/disk.img" loop removable=false ro=false []
/dev/mmcblk0 30720000 4096 "SC32G" mmc removable=true ro=true []
/dev/sda 512000000 512 "ATA Samsung SSD" ata removable=false ro=false [sda1 sda2 sda3]
  sda1 is mounted at /boot system=true
  dm-1 is mounted at / system=true
  sda2 is in use by dm-0 (luks-root) system=false
/dev/sdb 30720000 512 "SanDisk Ultra" usb removable=true ro=false [sdb1]
/dev/sdc 35840000 512 "" ata removable=false ro=false [sdc1 sdc2]
  sdc1 is mounted at /mnt/my data system=false
  sdc2 is swap space in use system=true
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
	if _, err := (Host{t.TempDir()}).List(); err == nil || !strings.HasPrefix(err.Error(), "block devices are known where Linux has sysfs") {
		t.Errorf("without sysfs: %v", err)
	}
}

// A partition is not to be written to if it is in use, or on the disk of the system.
func TestPartitions(t *testing.T) {
	h := host(t, laptop)
	uses := h.uses()
	for name, want := range map[string]string{
		"sda1": "[sda1 is mounted at /boot dm-1 is mounted at /]",
		"sda2": "[dm-1 is mounted at / sda2 is in use by dm-0 (luks-root) sda1 is mounted at /boot]",
		"sda3": "[sda1 is mounted at /boot dm-1 is mounted at /]",
		"sdb1": "[]",
		"sdc1": "[sdc1 is mounted at /mnt/my data sdc2 is swap space in use]",
	} {
		if d := h.device(name, uses); fmt.Sprint(d.Uses) != want || d.Disk != name[:3] {
			t.Errorf("%s of %s: %v", name, d.Disk, d.Uses)
		}
	}
}

func TestHolds(t *testing.T) {
	h := host(t, laptop)
	uses := h.uses()
	for _, c := range []struct {
		file, on string
		want     bool
	}{
		{"/home/me/disk.img", "loop0", true}, {"/home/me/other.img", "loop0", false},
		{"/home/me/other.img", "sda", true}, {"/mnt/my data/x", "sda", false}, {"/mnt/my data/x", "sdc", true}, {"/boot/x", "sda1", true},
		{"/dev/sdc1", "sdc", true}, {"/dev/sdc1", "sdb", false},
	} {
		if got := h.Holds(h.device(c.on, uses), c.file); got != c.want {
			t.Errorf("%s on %s: %v", c.file, c.on, got)
		}
	}
}

func TestFind(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, "/dev/null", t.TempDir()} {
		if _, err := (Host{}).Find(path); !errors.Is(err, ErrNotBlock) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := (Host{}).Find(file + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}
