package anatomy

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"thaw/internal/testbed"
)

// numbers returns what the groups of an expression match in what a tool printed.
func numbers(t *testing.T, out []byte, expr string) []int64 {
	t.Helper()
	m := regexp.MustCompile(expr).FindSubmatch(out)
	if m == nil {
		t.Fatalf("no %s in %s", expr, out)
	}
	var all []int64
	for _, s := range m[1:] {
		n, err := strconv.ParseInt(string(s), 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

func TestExt4(t *testing.T) {
	for _, test := range []struct {
		name  string
		block int64
		args  []string
	}{
		{"ext4", 4096, []string{"-b", "4096"}},
		{"ext4 of small blocks", 1024, []string{"-b", "1024", "-g", "2048"}},
		{"ext2", 1024, []string{"-t", "ext2", "-b", "1024"}},
		{"ext3", 1024, []string{"-t", "ext3", "-b", "1024", "-O", "^dir_index"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := makeExt4(t, test.args...)
			m := open(t, path)
			debugfs := func(command string) []byte { return testbed.Run(t, "debugfs", "-R", command, path) }
			inode := func(name string) int64 { return numbers(t, debugfs("stat /"+name), `Inode: (\d+)`)[0] }
			m.holds(t, func(name string, pos int) string {
				return fmt.Sprintf("ext4: data of inode %d (%s): byte %d", inode(name), name, pos)
			})

			n := inode("bin/hello")
			at := numbers(t, debugfs("imap /bin/hello"), `block group (\d+)\s+located at block (\d+), offset (0x[0-9a-f]+)`)
			m.says(t, at[1]*test.block+at[2]+16,
				fmt.Sprintf("ext4: inode table of group %d: inode %d (bin/hello): modification time", at[0], n))

			dump := testbed.Run(t, "dumpe2fs", path)
			bitmap := numbers(t, dump, `Block bitmap at (\d+)`)[0]
			first := numbers(t, dump, `First block: +(\d+)`)[0]
			m.says(t, bitmap*test.block+3, fmt.Sprintf("ext4: block bitmap of group 0: blocks %d to %d", first+24, first+31))
			bitmap = numbers(t, dump, `Inode bitmap at (\d+)`)[0]
			m.says(t, bitmap*test.block+1, "ext4: inode bitmap of group 0: inodes 9 to 16")
			free := numbers(t, dump, `\n  Free blocks: (\d+)`)[0]
			m.says(t, free*test.block, fmt.Sprintf("ext4: free block %d of group %d", free, (free-first)/numbers(t, dump, `Blocks per group: +(\d+)`)[0]))

			m.says(t, 1024+0x68, "ext4: superblock: UUID")
			m.says(t, (first+1)*test.block+18, "ext4: descriptor of group 0: flags")
			if strings.Contains(string(dump), "Backup superblock") {
				at := numbers(t, dump, `Group (\d+)[^\n]*\n(?:[^\n]*checksum[^\n]*\n)?  Backup superblock at (\d+)`)
				m.says(t, at[1]*test.block+0x30, fmt.Sprintf("ext4: superblock, backup in group %d: write time", at[0]))
				m.says(t, (at[1]+1)*test.block+8, fmt.Sprintf("ext4: descriptor of group 0, backup in group %d: inode table", at[0]))
			}
			if strings.Contains(string(dump), "has_journal") {
				b := numbers(t, debugfs("bmap <8> 5"), `(\d+)`)[0]
				m.says(t, b*test.block, fmt.Sprintf("ext4: data of inode 8 (journal): byte %d", 5*test.block))
			}
			b := numbers(t, debugfs("bmap /etc 0"), `(\d+)`)[0]
			m.says(t, b*test.block+24, fmt.Sprintf("ext4: directory block of inode %d (etc): entry small", inode("etc")))
			m.damaged(t)
		})
	}
}

func TestSquashfs(t *testing.T) {
	for _, comp := range []string{"gzip", "xz", "lz4", "zstd"} {
		t.Run(comp, func(t *testing.T) {
			path, root := filepath.Join(t.TempDir(), "squashfs"), makeTree(t)
			if err := syscall.Setxattr(filepath.Join(root, "bin/hello"), "user.name", []byte("value"), 0); err != nil {
				t.Skipf("SKIPPED: the temporary directory has no extended attributes: %v", err)
			}
			testbed.Run(t, "mksquashfs", root, path, "-quiet", "-no-progress", "-comp", comp)
			m := open(t, path)
			all := content("bin/hello", files["bin/hello"])
			for _, pos := range []int{0, 131072} {
				m.says(t, m.find(t, all[pos:pos+40])+5, fmt.Sprintf("squashfs: data of bin/hello: bytes from %d on", pos))
			}
			end := m.find(t, content("etc/small", 100))
			if got := m.at(end); got != "squashfs: fragment 0, the ends of 2 files, among them etc/small" {
				t.Errorf("a fragment: %q", got)
			}
			m.says(t, 8, "squashfs: superblock: time")
			v := view{src: &source{r: bytes.NewReader(m), work: new(int64(maxWork))}, size: int64(len(m))}
			for name, place := range map[string]int64{
				"inode table: metadata block 0 (":     v.u64(64),
				"directory table: metadata block 0 (": v.u64(72),
				"index of the fragment table":         v.u64(80),
				"index of the export table":           v.u64(88),
				"index of the id table":               v.u64(48),
				"fragment table: metadata block 0 (":  v.u64(v.u64(80)),
				"export table: metadata block 0 (":    v.u64(v.u64(88)),
				"id table: metadata block 0 (":        v.u64(v.u64(48)),
				"xattr values: metadata block 0 (":    v.u64(v.u64(56)),
				"xattr table: metadata block 0 (":     v.u64(v.u64(56) + 16),
				"head of the xattr table":             v.u64(56),
				"index of the xattr table":            v.u64(56) + 16,
			} {
				if got := m.at(place + 4); !strings.HasPrefix(got, "squashfs: "+name) {
					t.Errorf("at %d: %q, want %q", place+4, got, name)
				}
			}
			if got := m.at(v.u64(64)); !strings.Contains(got, "10 inodes that begin in it, among them .") {
				t.Errorf("inode table: %q", got)
			}
			m.damaged(t)
		})
	}
}

func TestErofs(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
	}{
		{"small inodes", []string{"-T1", "--all-root"}},
		{"large inodes", []string{"-Eforce-inode-extended"}},
		{"chunks", []string{"--chunksize=8192"}},
		{"compressed", []string{"-zlz4", "-Elegacy-compress", "-C65536"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "erofs")
			testbed.Run(t, "mkfs.erofs", append(append([]string{"--quiet"}, test.args...), path, makeTree(t))...)
			m := open(t, path)
			nid := func(name string) int64 {
				return numbers(t, testbed.Run(t, "dump.erofs", "--path=/"+name, path), `NID: (\d+)`)[0]
			}
			if test.name != "compressed" {
				m.holds(t, func(name string, pos int) string {
					return fmt.Sprintf("erofs: data of inode %d (%s): byte %d", nid(name), name, pos)
				})
			}
			v := view{src: &source{r: bytes.NewReader(m), work: new(int64(maxWork))}, size: int64(len(m))}
			n := nid("bin/hello")
			m.says(t, v.u32(1024+40)*4096+n*32+4, fmt.Sprintf("erofs: inode %d (bin/hello): mode", n))
			m.says(t, 1024+48, "erofs: superblock: UUID")
			m.says(t, m.find(t, []byte("small")), fmt.Sprintf("erofs: directory block of inode %d (etc): entry small", nid("etc")))
			m.damaged(t)
		})
	}
}
