package ext4_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"thaw/image/ext4"
	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

// testOptions are those of images whose options do not matter.
var testOptions = ext4.Options{
	UUID:     [16]byte{0x6b, 0xad, 0xca, 0xfe, 15: 1},
	HashSeed: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
	Label:    "thaw",
	Time:     1_000_000_000,
}

// TestMain has the judges tell times and all else as the tests expect, wherever they
// run.
func TestMain(m *testing.M) {
	os.Setenv("TZ", "UTC")
	os.Setenv("LC_ALL", "C")
	os.Exit(m.Run())
}

// fsck demands that e2fsck has no complaint about an image.
func fsck(t testing.TB, image string) {
	t.Helper()
	if err := check(testbed.Tool(t, "e2fsck"), image); err != nil {
		t.Fatal(err)
	}
}

// calm are the lines that e2fsck prints about a file system without fault.
var calm = regexp.MustCompile(`(?m)^(e2fsck [\d.]+ .*|Pass [1-5]: .*|.*: \d+/\d+ files \(.*% non-contiguous\), \d+/\d+ blocks|)\n`)

func check(e2fsck, image string) error {
	out, err := exec.Command(e2fsck, "-fn", image).CombinedOutput()
	if rest := calm.ReplaceAll(out, nil); err != nil || len(rest) > 0 {
		return fmt.Errorf("e2fsck: %v\n%.3000s", err, out)
	}
	return nil
}

// debugfs runs commands on an image and returns what each of them printed.
func debugfs(tool, image string, commands []string) ([]string, error) {
	script := filepath.Join(filepath.Dir(image), "commands")
	if err := os.WriteFile(script, []byte(strings.Join(commands, "\n")+"\n"), 0o666); err != nil {
		return nil, err
	}
	out, err := exec.Command(tool, "-f", script, image).Output()
	if err != nil {
		return nil, err
	}
	answers := make([]string, len(commands))
	for i, c := range commands {
		rest, ok := bytes.CutPrefix(out, []byte("debugfs: "+c+"\n"))
		if !ok {
			return nil, fmt.Errorf("debugfs: %.200q is no answer to %q", out, c)
		}
		end := len(rest)
		if i+1 < len(commands) {
			if end = bytes.Index(rest, []byte("debugfs: "+commands[i+1]+"\n")); end < 0 {
				return nil, fmt.Errorf("debugfs: no answer to %q in %.200q", commands[i+1], rest)
			}
		}
		answers[i], out = string(rest[:end]), rest[end:]
	}
	return answers, nil
}

// readDebugfs reads an image back with debugfs alone.
func readDebugfs(tool, image string, inodes int) ([]rootfstest.Node, error) {
	dumps := filepath.Join(filepath.Dir(image), "dumps")
	if err := os.Mkdir(dumps, 0o777); err != nil {
		return nil, err
	}
	defer os.RemoveAll(dumps)
	dump := func(i int) string { return filepath.Join(dumps, strconv.Itoa(i)) }

	var numbers []int
	var stats []string
	for number := 1; number <= inodes; number++ {
		if number == 2 || number > 11 { // the others are ext4's own
			numbers = append(numbers, number)
			stats = append(stats, fmt.Sprintf("stat <%d>", number))
		}
	}
	answers, err := debugfs(tool, image, stats)
	if err != nil {
		return nil, err
	}
	nodes := make([]rootfstest.Node, inodes+1)
	var more []string
	for i, a := range answers {
		number := numbers[i]
		n := &nodes[number]
		long, attrs, err := parseStat(n, a)
		if err != nil {
			return nil, fmt.Errorf("inode %d: %w\n%s", number, err, a)
		}
		if long {
			more = append(more, fmt.Sprintf("dump <%d> %s", number, dump(number)))
		}
		for k, x := range attrs {
			more = append(more, fmt.Sprintf("ea_get -f %s.%d <%d> %s", dump(number), k, number, x))
			n.Xattrs = append(n.Xattrs, rootfs.Xattr{Name: x})
		}
	}
	if len(more) > 0 {
		if _, err := debugfs(tool, image, more); err != nil {
			return nil, err
		}
	}
	for i := range nodes {
		n := &nodes[i]
		for k := range n.Xattrs {
			if n.Xattrs[k].Value, err = os.ReadFile(fmt.Sprintf("%s.%d", dump(i), k)); err != nil {
				return nil, err
			}
		}
		slices.SortFunc(n.Xattrs, func(a, b rootfs.Xattr) int { return strings.Compare(a.Name, b.Name) })
		switch {
		case n.Mode.IsRegular() && n.Inode != 0:
			var f *os.File
			if f, err = os.Open(dump(i)); err == nil {
				var size int64
				n.SHA256, size, err = rootfstest.Digest(f)
				f.Close()
				if size != n.Size {
					return nil, fmt.Errorf("inode %d has %d bytes and not %d", i, size, n.Size)
				}
			}
		case n.Kind() == fs.ModeSymlink && n.Target == "":
			var target []byte
			target, err = os.ReadFile(dump(i))
			n.Target = string(target)
		}
		if err != nil {
			return nil, err
		}
		if n.Kind() != 0 {
			n.Size = 0
		}
	}
	super := make([]byte, 1024)
	f, err := os.Open(image)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.ReadAt(super, 1024); err != nil {
		return nil, err
	}
	return readTree(nodes, 1024<<super[0x18], dump)
}

var (
	statLine  = regexp.MustCompile(`Type: (.*?) +Mode: +(\d+) +Flags: (0x[0-9a-f]+)`)
	ownerLine = regexp.MustCompile(`User: *(-?\d+) +Group: *(-?\d+) +Project: +0 +Size: (\d+)`)
	linksLine = regexp.MustCompile(`Links: (\d+) +Blockcount: (\d+)`)
	timeLine  = regexp.MustCompile(`(?m)^ ?([acm]|cr)time: 0x([0-9a-f]{8}):([0-9a-f]{8}) `)
	attrLine  = regexp.MustCompile(`(?m)^  (\S+) \((\d+)\)`)
	devLine   = regexp.MustCompile(`Device major/minor number: (\d+):(\d+) `)
)

// parseStat reads what debugfs says of an inode. It reports whether the inode
// has contents in blocks, and the names of its extended attributes. Inode is
// set to the count of links.
func parseStat(n *rootfstest.Node, stat string) (long bool, attrs []string, err error) {
	var typ, mode, flags string
	if m := statLine.FindStringSubmatch(stat); m == nil {
		return false, nil, fmt.Errorf("no type")
	} else {
		typ, mode, flags = m[1], m[2], m[3]
	}
	kinds := map[string]fs.FileMode{
		"regular": 0, "directory": fs.ModeDir, "symlink": fs.ModeSymlink, "FIFO": fs.ModeNamedPipe,
		"character special": fs.ModeDevice | fs.ModeCharDevice, "block special": fs.ModeDevice,
	}
	kind, ok := kinds[typ]
	if !ok {
		n.Mode = fs.ModeIrregular // an inode out of use
		return false, nil, nil
	}
	bits, _ := strconv.ParseUint(mode, 8, 16)
	n.Mode = kind | fs.FileMode(bits&0o777)
	for bit, to := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if bits&bit != 0 {
			n.Mode |= to
		}
	}
	owner, links := ownerLine.FindStringSubmatch(stat), linksLine.FindStringSubmatch(stat)
	if owner == nil || links == nil {
		return false, nil, fmt.Errorf("no owner or links")
	}
	uid, _ := strconv.ParseInt(owner[1], 10, 64) // large ones are shown as negative
	gid, _ := strconv.ParseInt(owner[2], 10, 64)
	n.UID, n.GID = uint32(uid), uint32(gid)
	n.Size, _ = strconv.ParseInt(owner[3], 10, 64)
	n.Inode, _ = strconv.ParseUint(links[1], 10, 64)

	times := timeLine.FindAllStringSubmatch(stat, -1)
	if len(times) == 4 {
		for _, m := range times[1:] {
			if m[2] != times[0][2] || m[3] != times[0][3] {
				return false, nil, fmt.Errorf("times differ")
			}
		}
		low, _ := strconv.ParseUint(times[0][2], 16, 32)
		extra, _ := strconv.ParseUint(times[0][3], 16, 32)
		n.ModTime = time.Unix(int64(int32(low))+int64(extra&3)<<32, int64(extra>>2))
	}
	if m := devLine.FindStringSubmatch(stat); m != nil {
		major, _ := strconv.ParseUint(m[1], 10, 32)
		minor, _ := strconv.ParseUint(m[2], 10, 32)
		n.Dev = rootfs.Mkdev(uint32(major), uint32(minor))
	}
	if _, rest, ok := strings.Cut(stat, "Fast link dest: \""); ok && int64(len(rest)) >= n.Size {
		n.Target = rest[:n.Size]
	}
	if _, rest, ok := strings.Cut(stat, "\nExtended attributes:\n"); ok {
		rest, _, _ = strings.Cut(rest, "\nInode checksum:")
		for _, m := range attrLine.FindAllStringSubmatch(rest, -1) {
			attrs = append(attrs, m[1])
		}
	}
	extents, _ := strconv.ParseUint(flags, 0, 32)
	return extents&0x80000 != 0, attrs, nil
}

// readTree puts inodes under their names, by what is dumped of directories.
func readTree(inodes []rootfstest.Node, blockSize int, dump func(int) string) ([]rootfstest.Node, error) {
	var nodes []rootfstest.Node
	var walk func(number int, path string) error
	walk = func(number int, path string) error {
		n := inodes[number]
		links := n.Inode
		if n.Inode = 0; links > 1 && n.Kind() == 0 {
			n.Inode = uint64(number)
		}
		n.Path = path
		nodes = append(nodes, n)
		if !n.Mode.IsDir() {
			return nil
		}
		entries, err := readDir(dump(number), blockSize)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		subdirs := uint64(2)
		for _, e := range entries {
			if inodes[e.number].Mode.IsDir() || e.number == 11 {
				subdirs++
			}
			child := e.name
			if path != "." {
				child = path + "/" + e.name
			}
			if child == "lost+found" {
				continue
			}
			if err := walk(e.number, child); err != nil {
				return err
			}
		}
		if links != subdirs && !(links == 1 && subdirs > 65000) {
			return fmt.Errorf("%s has %d links and not %d", path, links, subdirs)
		}
		return nil
	}
	return nodes, walk(2, ".")
}

type dirEntry struct {
	name   string
	number int
}

// readDir reads the blocks of a directory one entry after another, as a system
// does that knows nothing of indexes.
func readDir(dump string, blockSize int) (entries []dirEntry, err error) {
	f, err := os.Open(dump)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for block := make([]byte, blockSize); ; {
		if _, err := io.ReadFull(r, block); err == io.EOF {
			return entries, nil
		} else if err != nil {
			return nil, err
		}
		for p := block; len(p) > 0; {
			number, length, name := int(binary.LittleEndian.Uint32(p)), int(binary.LittleEndian.Uint16(p[4:])), string(p[8:8+int(p[6])])
			if length < 8 || length > len(p) {
				return nil, fmt.Errorf("an entry of %d bytes", length)
			}
			if number != 0 && name != "." && name != ".." {
				entries = append(entries, dirEntry{name, number})
			}
			p = p[length:]
		}
	}
}
