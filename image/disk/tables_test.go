package disk_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"thaw/image/disk"
	"thaw/internal/testbed"
)

// create writes a disk to a file.
func create(t *testing.T, o disk.Options, raws []disk.Raw, parts []part) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := write(f, o, raws, parts)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return name
}

// run runs a tool and returns all that it says, lines without the spaces between
// columns.
func run(t *testing.T, tool string, args ...string) string {
	t.Helper()
	cmd := exec.Command(testbed.Tool(t, tool), args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", tool, args, err, out)
	}
	return regexp.MustCompile(`[ \t]+`).ReplaceAllString(string(out), " ")
}

func verifyGPT(t *testing.T, name string) {
	t.Helper()
	if out := run(t, "sgdisk", "--verify", name); !strings.Contains(out, "No problems found") || strings.Contains(out, "aution") || strings.Contains(out, "arning") {
		t.Errorf("sgdisk:\n%s", out)
	}
}

var (
	esp  = disk.Partition{Type: disk.TypeESP, GUID: guid(1), Name: "esp", Attributes: disk.AttrLegacyBoot}
	root = disk.Partition{Type: disk.TypeRootX86_64, GUID: guid(2), Name: "root"}
	data = disk.Partition{Type: disk.TypeLinux, GUID: guid(3), Name: "data"}
	swap = disk.Partition{Type: disk.TypeSwap, GUID: guid(4), Name: "swap", Size: 2 * mib}
)

func TestMBR(t *testing.T) {
	type slot struct {
		Start, Size int64
		Type        string
		Bootable    bool
	}
	for _, test := range []struct {
		name  string
		o     disk.Options
		raws  []disk.Raw
		parts []part
		total int64
		want  []slot
	}{
		{"four", disk.Options{}, nil, []part{{Partition: esp, content: mib + 1, end: true}, {Partition: root, content: 5, end: true}, {Partition: swap}, {Partition: data, end: true}}, 7 * mib, []slot{
			{2048, 4096, "ef", true}, {6144, 2048, "83", false}, {8192, 4096, "82", false}, {12288, 2048, "83", false},
		}},
		{"close", disk.Options{Align: 512}, nil, []part{{Partition: disk.Partition{Name: "fat", MBRType: 0x0b}, content: 700, end: true}}, 1536, []slot{{1, 2, "b", false}}},
		{"fills", disk.Options{Size: 9*mib + 512}, nil, []part{{Partition: disk.Partition{Type: disk.TypeData, Number: 3}}}, 9*mib + 512, []slot{{2048, 8 * 2048, "c", false}}},
		{"far", disk.Options{Size: 3 << 40}, nil, []part{{Partition: disk.Partition{Type: disk.TypeLinux}}}, 3 << 40, []slot{{2048, 1<<32 - 4096, "83", false}}},
		{"u-boot", disk.Options{}, []disk.Raw{{Name: "mbr.bin", Size: 440}, {Name: "u-boot", Offset: 8192, Size: mib}},
			[]part{{Partition: disk.Partition{Type: disk.TypeLinux, Start: 4 * mib}, end: true}}, 5 * mib, []slot{{8192, 2048, "83", false}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.o.Table, test.o.Signature = disk.MBR, 0x1234abcd
			name := create(t, test.o, test.raws, test.parts)
			if info, err := os.Stat(name); err != nil || info.Size() != test.total {
				t.Errorf("%d bytes, %v, want %d", info.Size(), err, test.total)
			}
			var list struct {
				PartitionTable struct {
					Label, ID  string
					Partitions []slot
				}
			}
			if err := json.Unmarshal(testbed.Run(t, "sfdisk", "--json", name), &list); err != nil {
				t.Fatal(err)
			}
			table := list.PartitionTable
			if table.Label != "dos" || table.ID != "0x1234abcd" || !slices.Equal(table.Partitions, test.want) {
				t.Errorf("%+v", table)
			}
			// fdisk warns of sectors that do not agree.
			if out := run(t, "sfdisk", "--verify", name); !strings.Contains(out, "No errors detected") || strings.Contains(out, "arning") {
				t.Errorf("sfdisk: %s", out)
			}
			if out := run(t, "fdisk", "-l", name); strings.Contains(out, "not") {
				t.Errorf("fdisk: %s", out)
			}
		})
	}
}

func TestHybrid(t *testing.T) {
	beside := func(p disk.Partition) part {
		p.InMBR = true
		return part{Partition: p, end: true, content: 100}
	}
	for _, test := range []struct {
		name  string
		parts []part
		want  []string // of the MBR
	}{
		{"first", []part{beside(esp), {Partition: root, end: true}}, []string{"1 1 2047 primary 0xEE", "2 * 2048 4095 primary 0xEF"}},
		{"last", []part{{Partition: root, end: true}, {Partition: swap}, beside(data)}, []string{"1 1 8191 primary 0xEE", "2 8192 10239 primary 0x83"}},
		{"three", []part{beside(root), {Partition: swap}, beside(esp), beside(data)}, []string{"1 1 2047 primary 0xEE", "2 2048 4095 primary 0x83", "3 * 8192 10239 primary 0xEF", "4 10240 12287 primary 0x83"}},
		{"none", []part{{Partition: root, end: true}}, []string{"1 1 6143 primary 0xEE"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := create(t, disk.Options{Table: disk.Hybrid, GUID: guid(9), Signature: 0xfedcba98}, nil, test.parts)
			verifyGPT(t, name)
			out := run(t, "sgdisk", "--print-mbr", name)
			var got []string
			for line := range strings.Lines(out) {
				if strings.Contains(line, "primary") {
					got = append(got, strings.TrimSpace(line))
				}
			}
			if !slices.Equal(got, test.want) || !strings.Contains(out, "MBR disk identifier: 0xFEDCBA98") {
				t.Errorf("%q\n%s", got, out)
			}
			if out := run(t, "partx", "--raw", "--noheadings", "--output", "NR,NAME", name); strings.Count(out, "\n") != len(test.parts) {
				t.Errorf("partx: %s", out)
			}
		})
	}
}

// TestSectors checks disks of both sizes of sectors, with every attribute.
func TestSectors(t *testing.T) {
	all := root
	all.Attributes = disk.AttrRequired | disk.AttrNoBlockIO | disk.AttrLegacyBoot | disk.AttrGrowFS | disk.AttrReadOnly | disk.AttrHidden | disk.AttrNoAuto
	parts := []part{{Partition: esp, content: mib + 1, end: true}, {Partition: all, content: 10, end: true}, {Partition: swap}, {Partition: data, end: true, content: 5000}}
	for _, table := range []disk.Table{disk.GPT, disk.MBR, disk.Hybrid} {
		for _, sector := range []int64{512, 4096} {
			t.Run(fmt.Sprint(table, sector), func(t *testing.T) {
				parts := slices.Clone(parts)
				if table == disk.MBR {
					parts[1].Partition = root
				}
				name := create(t, disk.Options{Table: table, GUID: guid(9), Signature: 1, SectorSize: int(sector)}, nil, parts)
				out := run(t, "partx", "--sector-size", fmt.Sprint(sector), "--raw", "--noheadings", "--output", "NR,START,SECTORS,NAME,SCHEME", name)
				want := ""
				for i, at := range [][2]int64{{1, 2}, {3, 1}, {4, 2}, {6, 1}} {
					label, scheme := parts[i].Name, "gpt"
					if table == disk.MBR {
						label, scheme = "", "dos"
					}
					want += fmt.Sprintf("%d %d %d %s %s\n", i+1, at[0]*mib/512, at[1]*mib/512, label, scheme)
				}
				if out != strings.ReplaceAll(want, "  ", " ") {
					t.Errorf("partx:\n%swant\n%s", out, want)
				}
				out = run(t, "fdisk", "-b", fmt.Sprint(sector), "-x", name)
				if strings.Contains(out, "orrupt") || strings.Contains(out, "not") || strings.Contains(out, "ignored") {
					t.Errorf("fdisk:\n%s", out)
				}
				if attrs := "RequiredPartition NoBlockIOProtocol LegacyBIOSBootable GUID:59,60,62,63"; table != disk.MBR && !strings.Contains(out, attrs) {
					t.Errorf("attributes:\n%s", out)
				}
				if table != disk.MBR && sector == 512 {
					verifyGPT(t, name)
				}
				f, err := os.Open(name)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				for i, at := range []int64{1, 3, 4, 6} {
					checkPart(t, f, i, parts[i], at*mib)
				}
				if table != disk.MBR && sector == 4096 {
					verifyGPT(t, loop(t, name, sector))
				}
			})
		}
	}
}

// loop makes a device of a file: sgdisk takes files for disks of 512-byte sectors.
func loop(t *testing.T, name string, sector int64) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root has loop devices")
	}
	out, err := exec.Command(testbed.Tool(t, "losetup"), "--find", "--show", "--read-only", "--sector-size", fmt.Sprint(sector), name).CombinedOutput()
	if err != nil {
		t.Skipf("SKIPPED: this system has no loop devices: %v: %s", err, out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { testbed.Run(t, "losetup", "--detach", device) })
	return device
}

// TestEmpty checks a disk without partitions: the least of both tables.
func TestEmpty(t *testing.T) {
	name := create(t, disk.Options{GUID: guid(9), Align: 512}, nil, nil)
	verifyGPT(t, name)
	if info, err := os.Stat(name); err != nil || info.Size() != 68*512 {
		t.Errorf("%d bytes", info.Size())
	}
	name = create(t, disk.Options{Table: disk.MBR, Signature: 1}, nil, nil)
	if out := run(t, "sfdisk", "--verify", name); !strings.Contains(out, "No errors detected") {
		t.Error(out)
	}
}

func TestTypes(t *testing.T) {
	known := map[string]string{}
	for line := range strings.Lines(run(t, "sfdisk", "--list-types", "--label", "gpt")) {
		id, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		known[id] = name
	}
	for name, want := range map[string]string{
		"esp": "EFI System", "xbootldr": "Linux extended boot", "bios-boot": "BIOS boot", "data": "Microsoft basic data", "swap": "Linux swap",
		"linux-generic": "Linux filesystem", "home": "Linux home", "srv": "Linux server data", "var": "Linux variable data", "tmp": "Linux temporary data",
		"root-x86-64": "Linux root (x86-64)", "root-x86": "Linux root (x86)", "root-arm64": "Linux root (ARM-64)", "root-arm": "Linux root (ARM)",
		"root-riscv64": "Linux root (RISC-V-64)", "root-riscv32": "Linux root (RISC-V-32)", "root-loongarch64": "Linux root (LoongArch-64)",
		"root-ppc64-le": "Linux root (PPC64LE)", "root-ppc64": "Linux root (PPC64)", "root-mips-le": "Linux root (MIPS-32 LE)",
		"root-mips64-le": "Linux root (MIPS-64 LE)", "root-s390x": "Linux root (S390X)",
	} {
		g, ok := disk.TypeNamed(name)
		if !ok || known[string(g)] != want || g.TypeName() != name || disk.GUID(strings.ToLower(string(g))).TypeName() != name {
			t.Errorf("%s is %s, %q", name, g, known[string(g)])
		}
	}
	if g, ok := disk.TypeNamed("root"); ok || guid(1).TypeName() != "" {
		t.Errorf("root is %s", g)
	}
}

// TestTableBytes holds the bytes of disks of each kind.
func TestTableBytes(t *testing.T) {
	first := esp
	first.InMBR = true
	for _, test := range []struct {
		o    disk.Options
		want string
	}{
		{disk.Options{Table: disk.MBR, Signature: 7}, "04c666a88facbd21743544aadfa1068b871e2647076e51a1b21519abc67ff218"},
		{disk.Options{Table: disk.Hybrid, GUID: guid(9)}, "1ac707e9d1915cf9c3f640b52257798859e9f2dc3deffc28e7665b3d39aca4c1"},
		{disk.Options{GUID: guid(9), SectorSize: 4096}, "8ed571a6adba9297f564fcb709f47b025ad9a90b0a4710c2b4f42ca03dddc44f"},
	} {
		for range 2 {
			var m memory
			p := esp
			if test.o.Table == disk.Hybrid {
				p = first
			}
			if _, err := write(&m, test.o, []disk.Raw{{Name: "code", Size: 100}}, []part{{Partition: p, content: 100, end: true}, {Partition: root, content: 5, end: true}}); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%x", sha256.Sum256(m)); got != test.want {
				t.Errorf("%v: digest %s", test.o, got)
			}
		}
	}
}
