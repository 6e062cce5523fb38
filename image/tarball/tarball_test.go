package tarball_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thaw/image/tarball"
	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

var can = rootfstest.Abilities{
	MaxTarget: rootfs.MaxTarget,
	MaxMajor:  1<<21 - 1, MaxMinor: 1<<21 - 1,
	Fifos: true, HardLinks: true,
	Modes: rootfstest.Held, Owners: rootfstest.Held,
	Times: rootfstest.Held, Resolution: time.Nanosecond, MinTime: -1 << 41, MaxTime: 1 << 41,
	Xattrs: func(e rootfs.Entry) bool {
		return !slices.ContainsFunc(e.Xattrs, func(x rootfs.Xattr) bool { return strings.ContainsAny(x.Name, "=%") })
	},
}

// TestConformance reads archives back by archive/tar and by GNU tar.
func TestConformance(t *testing.T) {
	tool := gnuTar(t)
	if os.Geteuid() != 0 {
		t.Log("GNU tar sets owners and makes devices for root only: reading by archive/tar alone")
	}
	rootfstest.Test(t, rootfstest.Format{Create: create, Can: can, Read: func(dir string) ([]rootfstest.Node, error) {
		return readBoth(tool, dir)
	}})
}

// readBoth reads an archive, and demands of GNU tar that it reads the same.
func readBoth(tool, dir string) ([]rootfstest.Node, error) {
	image := filepath.Join(dir, "image.tar")
	nodes, err := read(image)
	if err != nil || os.Geteuid() != 0 {
		return nodes, err
	}
	return nodes, compareGNU(tool, image, filepath.Join(dir, "unpacked"), nodes)
}

// gnuTar finds GNU tar.
func gnuTar(t testing.TB) string {
	tool := testbed.Tool(t, "tar")
	out, err := exec.Command(tool, "--version").Output()
	if err != nil || !bytes.Contains(out, []byte("GNU tar")) {
		if os.Getenv("CI") != "" {
			t.Fatal("tar is not GNU tar, and CI must have it")
		}
		t.Skip("SKIPPED: tar is not GNU tar")
	}
	return tool
}

type file struct {
	*tarball.Writer
	out *rootfstest.File
}

func (f file) Close() error { return errors.Join(f.Writer.Close(), f.out.Close()) }

func create(dir string, limit int64) (rootfstest.Writer, error) {
	out, err := rootfstest.OpenFile(filepath.Join(dir, "image.tar"), limit)
	if err != nil {
		return nil, err
	}
	return file{tarball.NewWriter(out), out}, nil
}

// read reads an archive by archive/tar.
func read(image string) ([]rootfstest.Node, error) {
	f, err := os.Open(image)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var nodes []rootfstest.Node
	files := make(map[string]int)
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			return nodes, nil
		} else if err != nil {
			return nil, err
		}
		n := rootfstest.Node{Entry: rootfs.Entry{
			Path: h.Name, Mode: rootfstest.FileMode(0o100000 | uint32(h.Mode)), UID: uint32(h.Uid), GID: uint32(h.Gid),
			ModTime: h.ModTime, Size: h.Size, Target: h.Linkname,
		}}
		if h.Uname+h.Gname != "" {
			return nil, fmt.Errorf("%q: owner by name %q:%q", h.Name, h.Uname, h.Gname)
		}
		for key, value := range h.PAXRecords {
			if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
				n.Xattrs = append(n.Xattrs, rootfs.Xattr{Name: name, Value: []byte(value)})
			}
		}
		slices.SortFunc(n.Xattrs, func(a, b rootfs.Xattr) int { return strings.Compare(a.Name, b.Name) })
		switch h.Typeflag {
		case tar.TypeReg:
			if n.SHA256, _, err = rootfstest.Digest(r); err != nil {
				return nil, err
			}
			files[n.Path] = len(nodes)
		case tar.TypeLink:
			first := &nodes[files[h.Linkname]]
			if first.Path != h.Linkname && first.Inode == 0 {
				return nil, fmt.Errorf("%q is a link to %q, which is not there", h.Name, h.Linkname)
			}
			if first.Inode == 0 {
				first.Inode = uint64(len(nodes))
			}
			files[n.Path] = files[h.Linkname]
			n.Target, n.Size, n.SHA256, n.Inode, n.Xattrs = "", first.Size, first.SHA256, first.Inode, first.Xattrs
		case tar.TypeDir:
			n.Mode |= fs.ModeDir
			if n.Path = strings.TrimSuffix(n.Path, "/"); n.Path == h.Name {
				return nil, fmt.Errorf("%q is a directory without a slash", h.Name)
			}
		case tar.TypeSymlink:
			n.Mode |= fs.ModeSymlink
		case tar.TypeFifo:
			n.Mode |= fs.ModeNamedPipe
		case tar.TypeBlock, tar.TypeChar:
			n.Mode |= fs.ModeDevice
			if h.Typeflag == tar.TypeChar {
				n.Mode |= fs.ModeCharDevice
			}
			n.Dev = rootfs.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
		default:
			return nil, fmt.Errorf("%q has type %q", h.Name, h.Typeflag)
		}
		nodes = append(nodes, n)
	}
}

// compareGNU unpacks an archive by GNU tar and compares what is there with
// nodes, as far as Linux lets tar make it.
func compareGNU(tool, image, dir string, nodes []rootfstest.Node) error {
	for _, n := range nodes {
		if len(n.Path) >= 4096 {
			return nil // tar goes by whole paths, which end at PATH_MAX
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	cmd := exec.Command(tool, "--extract", "--file", image, "--directory", dir,
		"--preserve-permissions", "--numeric-owner", "--delay-directory-restore")
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TZ=UTC")
	// Tar is not asked for its exit status, which tells also of what Linux
	// does not let it make, but for what is there.
	out, _ := cmd.CombinedOutput()
	got, err := rootfstest.Walk(dir)
	if err != nil {
		return err
	}
	unpacked := make(map[string]*rootfstest.Node)
	for i := range got {
		got[i].Xattrs = nil // see TestGNUXattrs
		unpacked[got[i].Path] = &got[i]
	}
	var want []rootfstest.Node
	for _, n := range nodes {
		n.Xattrs = nil
		if u, ok := unpacked[n.Path]; ok {
			if sec := n.ModTime.Unix(); sec < -1<<31 || sec >= 1<<33 {
				n.ModTime = u.ModTime // beyond what file systems keep
			}
			if n.UID == math.MaxUint32 || n.GID == math.MaxUint32 {
				n.UID, n.GID, n.Mode = u.UID, u.GID, u.Mode // no owner to chown, and then no setuid
			}
			if rootfs.Major(n.Dev) >= 1<<12 || rootfs.Minor(n.Dev) >= 1<<20 {
				n.Dev = u.Dev
			}
		} else if rootfs.Major(n.Dev) >= 1<<12 || rootfs.Minor(n.Dev) >= 1<<20 {
			continue
		}
		want = append(want, n)
	}
	if err := rootfstest.Diff(can, want, got); err != nil {
		return fmt.Errorf("GNU tar reads otherwise: %w\n%.500s", err, out)
	}
	return nil
}

// TestGNUXattrs checks that GNU tar sets extended attributes as they were.
func TestGNUXattrs(t *testing.T) {
	tool := gnuTar(t)
	dir := t.TempDir()
	var want []rootfstest.Node
	w, err := create(dir, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []rootfs.Entry{
		{Path: ".", Mode: fs.ModeDir | 0o755},
		{Path: "file", Mode: 0o644, Xattrs: []rootfs.Xattr{{Name: "user.empty"}, {Name: "user.note", Value: []byte("a\x00b\n=%\xff")}}},
		{Path: "\xffbytes", Mode: 0o600, Xattrs: []rootfs.Xattr{{Name: "user.\xff", Value: []byte("x")}}},
		{Path: strings.Repeat("l", 255), Mode: 0o600, Xattrs: []rootfs.Xattr{{Name: "user.k", Value: bytes.Repeat([]byte("1234567\n"), 100)}}},
		{Path: "dir", Mode: fs.ModeDir | 0o755, Xattrs: []rootfs.Xattr{{Name: "user.d", Value: []byte("dir")}}},
	} {
		e.ModTime = time.Unix(1, 0)
		e.UID, e.GID = uint32(os.Geteuid()), uint32(os.Getegid())
		if err := w.Add(e, strings.NewReader("")); err != nil {
			t.Fatal(err)
		}
		n := rootfstest.Node{Entry: e}
		if e.Kind() == 0 {
			n.SHA256 = sha256.Sum256(nil)
		}
		want = append(want, n)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	unpacked := filepath.Join(dir, "unpacked")
	if err := os.Mkdir(unpacked, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, "-xpf", filepath.Join(dir, "image.tar"), "-C", unpacked, "--xattrs", "--xattrs-include=*").CombinedOutput()
	if err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	got, err := rootfstest.Walk(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	if err := rootfstest.Diff(can, want, got); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestHeaders checks the headers that the package promises, and that GNU tar
// lists them.
func TestHeaders(t *testing.T) {
	tool := gnuTar(t)
	long := strings.Repeat("n", 200)
	for _, test := range []struct {
		entry rootfs.Entry
		types string // of the blocks that are headers
		names string // as tar lists it
	}{
		{rootfs.Entry{Path: ".", Mode: fs.ModeDir | 0o755}, "5", "./"},
		{rootfs.Entry{Path: "dir", Mode: fs.ModeDir | 0o755}, "5", "dir/"},
		{rootfs.Entry{Path: "file", Mode: 0o644}, "0", "file"},
		{rootfs.Entry{Path: "\xff\xe9", Mode: 0o644}, "0", "\xff\xe9"},
		{rootfs.Entry{Path: long, Mode: 0o644}, "L0", long},
		{rootfs.Entry{Path: long + "\xff", Mode: 0o644}, "L0", long + "\xff"},
		{rootfs.Entry{Path: long, Mode: fs.ModeSymlink | 0o777, Target: long}, "LK2", long},
		{rootfs.Entry{Path: "file", Mode: 0o644, UID: math.MaxUint32}, "0", "file"},
		{rootfs.Entry{Path: "file", Mode: 0o644, ModTime: time.Unix(1, 5)}, "x0", "file"},
		{rootfs.Entry{Path: "\xff", Mode: 0o644, ModTime: time.Unix(1, 5)}, "x0", "\xff"},
		{rootfs.Entry{Path: "file", Mode: 0o644, Xattrs: []rootfs.Xattr{{Name: "user.a"}}}, "x0", "file"},
	} {
		if test.entry.ModTime.IsZero() {
			test.entry.ModTime = time.Unix(1, 0)
		}
		var image bytes.Buffer
		w := tarball.NewWriter(&image)
		if err := errors.Join(w.Add(test.entry, strings.NewReader("")), w.Close()); err != nil {
			t.Error(err)
			continue
		}
		types := ""
		for b := image.Bytes(); len(b) >= 512; b = b[512:] {
			if bytes.HasPrefix(b[257:], []byte("ustar")) {
				types += string(b[156])
			}
		}
		if types != test.types {
			t.Errorf("%.30q: types %q, want %q", test.entry.Path, types, test.types)
		}
		cmd := exec.Command(tool, "--list", "--quoting-style=literal", "--file=-")
		cmd.Stdin = &image
		out, err := cmd.Output()
		if err != nil || string(out) != test.names+"\n" {
			t.Errorf("%.30q: listed as %q, %v", test.entry.Path, out, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	var many []rootfs.Xattr
	for i := range 16 {
		many = append(many, rootfs.Xattr{Name: fmt.Sprintf("user.%02d", i), Value: make([]byte, rootfs.MaxXattrValue)})
	}
	for _, test := range []struct {
		entry rootfs.Entry
		want  string
	}{
		{rootfs.Entry{Path: "a", Mode: 0o644, ModTime: time.Unix(1, 0), Xattrs: many},
			`"a": 1049200 bytes of extended attributes are more than the 983040 that a tar archive's readers take`},
		{rootfs.Entry{Path: "a", Mode: 0o644}, `"a": a tar archive cannot hold the time 0001-01-01 00:00:00 +0000 UTC`},
	} {
		w := tarball.NewWriter(io.Discard)
		err := w.Add(test.entry, strings.NewReader(""))
		var refusal *rootfs.EntryError
		if !errors.As(err, &refusal) || err.Error() != test.want {
			t.Errorf("error %v, want %s", err, test.want)
		}
	}
	// 15 of them pass, and are read.
	var image bytes.Buffer
	w := tarball.NewWriter(&image)
	e := rootfs.Entry{Path: "a", Mode: 0o644, ModTime: time.Unix(1, 0), Xattrs: many[:14]}
	if err := errors.Join(w.Add(e, strings.NewReader("")), w.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := tar.NewReader(&image).Next(); err != nil {
		t.Error(err)
	}
}

func BenchmarkWriter(b *testing.B) {
	data := make([]byte, 4000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	w := tarball.NewWriter(io.Discard)
	r := bytes.NewReader(data)
	for i := 0; b.Loop(); i++ {
		r.Reset(data)
		e := rootfs.Entry{Path: fmt.Sprintf("nix/store/q6prk3mxcrz5dvz7d0qyv3ya9j7nbdyd-hello-2.12/share/file%d", i), Mode: 0o444, ModTime: time.Unix(1, 0), Size: int64(len(data))}
		if err := w.Add(e, r); err != nil {
			b.Fatal(err)
		}
	}
}
