package anatomy

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thaw/internal/testbed"
)

func TestFAT(t *testing.T) {
	for _, test := range []struct {
		bits string
		args []string
		size int64
	}{
		{"12", nil, 2 << 20},
		{"16", []string{"-s", "1"}, 8 << 20},
		{"32", []string{"-s", "1"}, 40 << 20},
	} {
		t.Run("FAT"+test.bits, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "fat")
			if err := os.WriteFile(path, nil, 0o666); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, test.size); err != nil {
				t.Fatal(err)
			}
			testbed.Run(t, "mkfs.vfat", append(append([]string{"-F", test.bits, "-n", "LABEL"}, test.args...), path)...)
			root := makeTree(t)
			testbed.Run(t, "mcopy", "-s", "-i", path, filepath.Join(root, "bin"), filepath.Join(root, "etc"), filepath.Join(root, "share"), "::/")
			m := open(t, path)
			fat := "FAT" + test.bits + ": "
			cluster := func(name string) int64 {
				return numbers(t, testbed.Run(t, "mshowfat", "-i", path, "::/"+name), `<(\d+)`)[0]
			}
			m.holds(t, func(name string, pos int) string { return fmt.Sprintf(": data of %s: byte %d", name, pos) })
			c := cluster("bin/hello")
			m.says(t, m.find(t, content("bin/hello", 40)), fmt.Sprintf("%scluster %d: data of bin/hello: byte 0", fat, c))

			info := testbed.Run(t, "minfo", "-i", path)
			reserved := numbers(t, info, `reserved \(boot\) sectors: (\d+)`)[0] * 512
			var bits int64
			fmt.Sscan(test.bits, &bits)
			m.says(t, reserved+(c*bits+bits-1)/8, fmt.Sprintf("%sFAT 1: entry of cluster %d (bin/hello)", fat, c))
			m.says(t, m.find(t, []byte("SMALL      "))+22,
				fmt.Sprintf("%scluster %d: directory etc: entry small: modification time", fat, cluster("etc")))
			m.says(t, 3, fat+"boot sector: name of the maker")
			m.says(t, 13, fat+"boot sector: cluster size")
			label := m.find(t, []byte("BIN     "))
			if bits == 32 {
				m.says(t, 67, fat+"boot sector: serial number")
				m.says(t, 512+488, fat+"FSInfo: free clusters")
				m.says(t, 6*512+67, fat+"backup of the boot sector: serial number")
				m.says(t, 7*512+492, fat+"backup of the FSInfo: next free cluster")
				m.says(t, label, fat+"cluster 2: directory .: entry bin: short name")
			} else {
				m.says(t, 39, fat+"boot sector: serial number")
				m.says(t, label, fat+"root directory: entry bin: short name")
			}
			m.says(t, int64(len(m))-512*8, fmt.Sprintf("%sfree cluster %d", fat, numbers(t, []byte(m.at(int64(len(m))-512*8)), `cluster (\d+)`)[0]))
			m.damaged(t)
		})
	}
}

// makeDisk makes a disk with a partition that has an ext4, and one that has nothing.
func makeDisk(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	disk := make([]byte, 16<<20)
	copy(disk[1<<20:], open(t, makeExt4(t, "-b", "4096")))
	if err := os.WriteFile(path, disk, 0o666); err != nil {
		t.Fatal(err)
	}
	testbed.Run(t, "sgdisk", "-n", "3:2048:+8M", "-c", "3:nixos", "-n", "5:22528:+1M", "-c", "5:the other", path)
	return path
}

func TestGPT(t *testing.T) {
	m := open(t, makeDisk(t))
	m.holds(t, func(name string, pos int) string { return fmt.Sprintf(" (%s): byte %d", name, pos) })
	end := int64(len(m))
	for off, want := range map[int64]string{
		0:                         "GPT: protective MBR: boot code",
		450:                       "GPT: protective MBR: entry of partition 1",
		510:                       "GPT: protective MBR: magic number",
		512 + 56:                  "GPT: header: GUID of the disk",
		512 + 88:                  "GPT: header: checksum of the entries",
		1024 + 16:                 "GPT: entry 1: GUID",
		1024 + 2*128 + 16:         `GPT: entry of partition 3 "nixos": GUID`,
		1024 + 4*128 + 56:         `GPT: entry of partition 5 "the other": name`,
		64 << 10:                  "GPT: gap before partition 3",
		1<<20 + 1024 + 0x68:       `partition 3 "nixos": ext4: superblock: UUID`,
		10 << 20:                  "GPT: gap before partition 5",
		11<<20 + 7:                `partition 5 "the other": unknown format: byte 7`,
		13 << 20:                  "GPT: gap behind the last partition",
		end - 33*512 + 2*128 + 20: `GPT: backup entry of partition 3 "nixos": GUID`,
		end - 512 + 16:            "GPT: backup header: header checksum",
	} {
		m.says(t, off, want)
	}
	m.damaged(t)
}

func TestMBR(t *testing.T) {
	path := makeDisk(t)
	testbed.Run(t, "sgdisk", "-m", "3", path)
	m := open(t, path)
	m.says(t, 441, "MBR: disk signature")
	m.says(t, 446+8, "MBR: entry of partition 1")
	m.says(t, 4096, "MBR: gap before partition 1")
	m.says(t, 1<<20+1024+0x68, "partition 1: ext4: superblock: UUID")
	m.says(t, 15<<20, "MBR: gap behind the last partition")
}

func TestDiskFormats(t *testing.T) {
	raw := makeDisk(t)
	for _, test := range []struct {
		name     string
		args     []string
		prefix   string
		sections []string
	}{
		{"qcow2", []string{"-O", "qcow2"}, "qcow2: cluster of guest offset ",
			[]string{"header: size of the disk", "L1 table: entry of guest offset 0", "L2 table: entry of guest offset 0", "refcount table: entry 0", "refcount block 0: count of the cluster at 0"}},
		{"old qcow2 of small clusters", []string{"-O", "qcow2", "-o", "compat=0.10,cluster_size=4096"}, "qcow2: cluster of guest offset ", nil},
		{"packed qcow2", []string{"-c", "-O", "qcow2"}, "", []string{"which begins with partition 3 \"nixos\": ext4: "}},
		{"packed qcow2, zstd", []string{"-c", "-O", "qcow2", "-o", "compression_type=zstd"}, "", []string{"which begins with partition 3 \"nixos\": ext4: "}},
		{"VHD", []string{"-O", "vpc"}, "VHD: block of guest offset ",
			[]string{"copy of the footer: checksum", "dynamic header: block size", "block table: entry of guest offset 0", "head of the block of guest offset 0", "VHD: footer: UUID"}},
		{"fixed VHD", []string{"-O", "vpc", "-o", "subformat=fixed"}, "VHD: guest offset ", []string{"VHD: footer: UUID"}},
		{"VDI", []string{"-O", "vdi"}, "VDI: block of guest offset ", []string{"header: UUID", "block table: entry of guest offset 0"}},
		{"VHDX", []string{"-O", "vhdx"}, "VHDX: block of guest offset ",
			[]string{"file identifier", "header 2: signature", "region table 1", "log", "metadata: file parameters", "block table: entry of guest offset 0"}},
		{"VMDK", []string{"-O", "vmdk"}, "VMDK: grain of guest offset ",
			[]string{"header: grain size", "descriptor", "VMDK: grain directory: entry of guest offset 0", "redundant grain table: entry of guest offset 0", "VMDK: grain table: entry of guest offset 0"}},
		{"packed VMDK", []string{"-O", "vmdk", "-o", "subformat=streamOptimized"}, "",
			[]string{"VMDK: grain directory", "VMDK: grain table: entry", "head of the grain of guest offset 1048576", "which begins with partition 3 \"nixos\": ext4: "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image")
			testbed.Run(t, "qemu-img", append(append([]string{"convert", "-f", "raw"}, test.args...), raw, path)...)
			m := open(t, path)
			if test.prefix != "" {
				m.holds(t, func(name string, pos int) string { return fmt.Sprintf(" (%s): byte %d", name, pos) })
				off := bytes.Index(open(t, raw), content("bin/hello", 40))
				if got, want := m.at(m.find(t, content("bin/hello", 40))), fmt.Sprintf(`%s%d: partition 3 "nixos": ext4: data of `, test.prefix, off); !strings.HasPrefix(got, want) {
					t.Errorf("%q, want %q…", got, want)
				}
			}
			m.sections(t, test.sections)
			m.damaged(t)
		})
	}
}
