package vfat_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
	"unicode/utf16"

	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

var le = binary.LittleEndian

// volume is a file system as the tests' own reader takes it apart, which finds
// everything wrong that is not as this package is to write it.
type volume struct {
	bits                    int
	sector, cluster         int
	reserved, table, root   int // sectors
	data, sectors, clusters int
	rootCluster             uint32
	serial, hidden          uint32
	label                   string // of the root directory

	image io.ReaderAt
	next  []uint32 // the allocation table
	owner []string // of each cluster
	free  int
}

// root is the root directory, whose time FAT does not hold: it is the suite's.
var root = rootfstest.Node{Entry: rootfs.Entry{Path: ".", Mode: fs.ModeDir | 0o755, ModTime: time.Unix(1_000_000_000, 0)}}

// readImage reads a whole file system.
func readImage(name string) (*volume, []rootfstest.Node, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	v, err := openVolume(f)
	if err != nil {
		return nil, nil, err
	}
	nodes := []rootfstest.Node{root}
	slots := make([]byte, v.root*v.sector)
	if v.bits == 32 {
		slots, err = v.chain(v.rootCluster, ".")
	} else {
		_, err = f.ReadAt(slots, int64(v.data-v.root)*int64(v.sector))
	}
	if err != nil {
		return nil, nil, err
	}
	if err := v.dir(&nodes, ".", slots, 0, 0); err != nil {
		return nil, nil, err
	}
	for c := 2; c < len(v.next); c++ {
		if v.next[c] != 0 && v.owner[c] == "" {
			return nil, nil, fmt.Errorf("cluster %d is lost", c)
		}
	}
	return v, nodes, nil
}

func (v *volume) read(off, n int) ([]byte, error) {
	b := make([]byte, n)
	got, err := v.image.ReadAt(b, int64(off))
	if err == io.EOF && got == n {
		err = nil
	}
	return b, err
}

func openVolume(image io.ReaderAt) (*volume, error) {
	v := &volume{image: image}
	b, err := v.read(0, 512)
	if err != nil {
		return nil, err
	}
	u16 := func(at int) int { return int(le.Uint16(b[at:])) }
	u32 := func(at int) int { return int(le.Uint32(b[at:])) }
	v.sector, v.cluster = u16(11), int(b[13])*u16(11)
	v.reserved, v.table, v.root = u16(14), u16(22), u16(17)*32/v.sector
	v.sectors, v.hidden = u16(19), uint32(u32(28))
	wide, ext := v.table == 0, b[36:]
	if wide {
		v.table, v.rootCluster, ext = u32(36), le.Uint32(b[44:]), b[64:]
	}
	if v.sectors == 0 {
		v.sectors = u32(32)
	}
	v.serial = le.Uint32(ext[3:])
	v.data = v.reserved + 2*v.table + v.root
	v.clusters = (v.sectors - v.data) * v.sector / v.cluster
	v.bits = 32
	if v.clusters < 4085 {
		v.bits = 12
	} else if v.clusters < 65525 {
		v.bits = 16
	}
	switch {
	case string(b[510:512]) != "\x55\xaa" || ext[2] != 0x29 || b[16] != 2 || b[21] != 0xf8:
		return nil, errors.New("no boot sector")
	case wide != (v.bits == 32) || string(ext[18:26]) != fmt.Sprintf("FAT%d   ", v.bits):
		return nil, fmt.Errorf("%d clusters, and it says %q", v.clusters, ext[18:26])
	case v.data*v.sector%max(4096, v.cluster) != 0:
		return nil, fmt.Errorf("data begins at sector %d", v.data)
	case v.sectors < 1<<16 && !wide && u32(32) != 0 || v.sectors >= 1<<16 && u16(19) != 0:
		return nil, errors.New("the count of sectors is in the wrong place")
	}
	if err := v.readTable(); err != nil {
		return nil, err
	}
	if wide {
		return v, v.checkInfo(b)
	}
	return v, nil
}

// checkInfo reads what FAT32 has beside its boot sector.
func (v *volume) checkInfo(boot []byte) error {
	backup, err := v.read(6*v.sector, 512)
	if err != nil || !bytes.Equal(backup, boot) || v.rootCluster != 2 {
		return fmt.Errorf("%v: the copy of the boot sector is none, or the root is at %d", err, v.rootCluster)
	}
	for _, at := range []int{1, 7} {
		b, err := v.read(at*v.sector, 512)
		if err != nil {
			return err
		}
		if string(b[:4]) != "RRaA" || string(b[484:488]) != "rrAa" || string(b[508:]) != "\x00\x00\x55\xaa" || int(le.Uint32(b[488:])) != v.free {
			return fmt.Errorf("sector %d: %d free clusters, not %d", at, le.Uint32(b[488:]), v.free)
		}
		if next := le.Uint32(b[492:]); v.free > 0 && v.next[next] != 0 || v.free == 0 && next != 0xffffffff {
			return fmt.Errorf("cluster %d is not the next free one", next)
		}
	}
	return nil
}

func (v *volume) readTable() error {
	one, err := v.read(v.reserved*v.sector, v.table*v.sector)
	if err != nil {
		return err
	}
	two, err := v.read((v.reserved+v.table)*v.sector, v.table*v.sector)
	if err != nil || !bytes.Equal(one, two) {
		return fmt.Errorf("%v: the tables differ", err)
	}
	v.next, v.owner = make([]uint32, v.clusters+2), make([]string, v.clusters+2)
	for i := range len(one) * 8 / v.bits {
		var n uint32
		switch v.bits {
		case 12:
			n = (uint32(one[i*3/2]) | uint32(one[min(i*3/2+1, len(one)-1)])<<8) >> (i % 2 * 4) & 0xfff
		case 16:
			n = uint32(le.Uint16(one[2*i:]))
		case 32:
			n = le.Uint32(one[4*i:])
		}
		if i < len(v.next) {
			v.next[i] = n
			if n == 0 {
				v.free++
			}
		} else if n != 0 {
			return fmt.Errorf("there is no cluster %d", i)
		}
	}
	if end := v.end(); v.next[0] != end&^7 || v.next[1] != end {
		return fmt.Errorf("the table begins with %x %x", v.next[0], v.next[1])
	}
	return nil
}

func (v *volume) end() uint32 { return 1<<min(v.bits, 28) - 1 }

// chain reads the clusters from first on.
func (v *volume) chain(first uint32, path string) (b []byte, err error) {
	for c := first; c != v.end(); c = v.next[c] {
		if c < 2 || int(c) >= len(v.next) || v.owner[c] != "" {
			return nil, fmt.Errorf("%.300q: cluster %d, which is out of range or belongs to %.300q", path, c, v.owner[c])
		}
		v.owner[c] = path
		piece, err := v.read(v.data*v.sector+(int(c)-2)*v.cluster, v.cluster)
		if err != nil {
			return nil, err
		}
		b = append(b, piece...)
	}
	return b, nil
}

// dir reads the entries of a directory.
func (v *volume) dir(nodes *[]rootfstest.Node, path string, b []byte, self, parent uint32) error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%.300q: %s", path, fmt.Sprintf(format, a...))
	}
	used := map[string]bool{}
	var long []uint16
	var order int
	var sum byte
	for at := 0; at < len(b); at += 32 {
		s := b[at : at+32]
		if s[0] == 0 {
			if len(bytes.Trim(b[at:], "\x00")) > 0 {
				return bad("something follows its end")
			}
			break
		}
		if s[11] == 0x0f {
			var units []uint16
			for _, r := range [][2]int{{1, 11}, {14, 26}, {28, 32}} {
				for k := r[0]; k < r[1]; k += 2 {
					units = append(units, le.Uint16(s[k:]))
				}
			}
			if s[0]&0x40 != 0 {
				long, order, sum = nil, int(s[0]&^0x40)+1, s[13]
			}
			if order--; int(s[0]&^0x40) != order || order == 0 || s[13] != sum || s[12]|s[26]|s[27] != 0 {
				return bad("a long name in disorder: % x", s)
			}
			long = append(units, long...)
			continue
		}
		alias := s[:11]
		name := strings.TrimRight(string(alias[:8]), " ")
		if ext := strings.TrimRight(string(alias[8:]), " "); ext != "" {
			name += "." + ext
		}
		if bytes.ContainsFunc(alias, func(r rune) bool { return r < ' ' || r > '~' || r >= 'a' && r <= 'z' }) && s[11] != 8 || used[name] {
			return bad("the short name %q", name)
		}
		used[name] = true
		if long != nil {
			check := byte(0)
			for _, c := range alias {
				check = check>>1 + check<<7 + c
			}
			for len(long) > 0 && long[len(long)-1] == 0xffff {
				long = long[:len(long)-1]
			}
			if end := len(long) - 1; end >= 0 && long[end] == 0 {
				long = long[:end]
			} else if len(long)%13 != 0 {
				return bad("a long name has no end")
			}
			if name = string(utf16.Decode(long)); check != sum || order != 1 || name == "" {
				return bad("the long name %q does not belong to %q", name, alias)
			}
			long = nil
		}
		if err := v.entry(nodes, path, name, s, at, self, parent); err != nil {
			return err
		}
	}
	if long != nil {
		return bad("a long name without an entry")
	}
	return nil
}

// entry reads one entry, and what is in it.
func (v *volume) entry(nodes *[]rootfstest.Node, path, name string, s []byte, at int, self, parent uint32) error {
	first := uint32(le.Uint16(s[20:]))<<16 | uint32(le.Uint16(s[26:]))
	size := int(le.Uint32(s[28:]))
	d, t := int(le.Uint16(s[24:])), int(le.Uint16(s[22:]))
	n := rootfstest.Node{Entry: rootfs.Entry{
		Path: strings.TrimPrefix(path+"/"+name, "./"), Mode: 0o644, Size: int64(size),
		ModTime: time.Date(1980+d>>9, time.Month(d>>5&15), d&31, t>>11, t>>5&63, t&31*2, 0, time.UTC),
	}}
	if !bytes.Equal(s[14:18], s[22:26]) || !bytes.Equal(s[18:20], s[24:26]) || s[12]|s[13] != 0 {
		return fmt.Errorf("%.300q: times differ: % x", n.Path, s)
	}
	var err error
	var content []byte
	switch {
	case s[11] == 8 && path == "." && v.label == "":
		v.label = strings.TrimRight(string(s[:11]), " ")
		return nil
	case s[11] == 0x10 && path != "." && at < 64:
		want, cluster := ".", self
		if at > 0 {
			want, cluster = "..", parent
		}
		if name != want || first != cluster || size != 0 {
			return fmt.Errorf("%.300q: %q is %d, not %q of %d", path, name, first, want, cluster)
		}
		return nil
	case s[11] == 0x10:
		if content, err = v.chain(first, n.Path); err != nil {
			return err
		}
		n.Mode = fs.ModeDir | 0o755
		*nodes = append(*nodes, n)
		return v.dir(nodes, n.Path, content, first, self)
	case s[11] == 0x20 && size > 0:
		if content, err = v.chain(first, n.Path); err != nil {
			return err
		}
	case s[11] != 0x20 || first != 0:
		return fmt.Errorf("%.300q: attributes %x, cluster %d", n.Path, s[11], first)
	}
	if len(content) < size || len(content) >= size+v.cluster || len(bytes.Trim(content[size:], "\x00")) > 0 {
		return fmt.Errorf("%.300q: %d bytes in %d", n.Path, size, len(content))
	}
	n.SHA256, _, _ = rootfstest.Digest(bytes.NewReader(content[:size]))
	*nodes = append(*nodes, n)
	return nil
}
