package cpio_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"thaw/image/cpio"
	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

var can = rootfstest.Abilities{
	Names:   func(name string) bool { return name != "TRAILER!!!" },
	MaxPath: cpio.MaxPath, MaxFile: cpio.MaxFile, MaxTarget: rootfs.MaxTarget,
	MaxMajor: 1<<12 - 1, MaxMinor: 1<<20 - 1,
	Fifos: true,
	Modes: rootfstest.Held, Owners: rootfstest.Held,
	Times: rootfstest.Held, Resolution: time.Second, MinTime: 0, MaxTime: math.MaxUint32,
}

// TestConformance reads archives back by a reader of its own and by GNU cpio.
func TestConformance(t *testing.T) {
	tool := gnuCpio(t)
	if os.Geteuid() != 0 {
		t.Log("GNU cpio sets owners and makes devices for root only: reading by the test's own reader alone")
	}
	rootfstest.Test(t, rootfstest.Format{Create: create, Can: can, Read: func(dir string) ([]rootfstest.Node, error) {
		return readBoth(tool, dir)
	}})
}

// readBoth reads an archive, and demands of GNU cpio that it reads the same.
func readBoth(tool, dir string) ([]rootfstest.Node, error) {
	image := filepath.Join(dir, "image.cpio")
	b, err := os.ReadFile(image)
	if err != nil {
		return nil, err
	}
	nodes, err := read(b)
	if err != nil || os.Geteuid() != 0 {
		return nodes, err
	}
	return nodes, compareGNU(tool, image, filepath.Join(dir, "unpacked"), nodes)
}

// gnuCpio finds GNU cpio.
func gnuCpio(t testing.TB) string {
	tool := testbed.Tool(t, "cpio")
	out, err := exec.Command(tool, "--version").Output()
	if err != nil || !bytes.Contains(out, []byte("GNU cpio")) {
		if os.Getenv("CI") != "" {
			t.Fatal("cpio is not GNU cpio, and CI must have it")
		}
		t.Skip("SKIPPED: cpio is not GNU cpio")
	}
	return tool
}

type file struct {
	*cpio.Writer
	out *rootfstest.File
}

func (f file) Close() error { return errors.Join(f.Writer.Close(), f.out.Close()) }

func create(dir string, limit int64) (rootfstest.Writer, error) {
	out, err := rootfstest.OpenFile(filepath.Join(dir, "image.cpio"), limit)
	if err != nil {
		return nil, err
	}
	return file{cpio.NewWriter(out), out}, nil
}

// read reads an archive as strictly as the format can be read: padding is zero,
// inode numbers count, and nothing follows the trailer.
func read(b []byte) (nodes []rootfstest.Node, err error) {
	take := func(n int) (p []byte) {
		if err != nil || n > len(b) {
			err = io.ErrUnexpectedEOF
			return make([]byte, min(n, 1<<20))
		}
		p, b = b[:n], b[n:]
		return p
	}
	pad := func(n int) {
		if p := take(-n & 3); len(bytes.Trim(p, "\x00")) > 0 && err == nil {
			err = errors.New("padding is not zero")
		}
	}
	for {
		h := take(cpio.HeaderSize)
		var f [13]uint32
		for i := range f {
			n, err := strconv.ParseUint(string(h[6+8*i:][:8]), 16, 32)
			if err != nil {
				return nil, err
			}
			f[i] = uint32(n)
		}
		path := string(take(int(f[11])))
		pad(cpio.HeaderSize + len(path))
		if name, ok := strings.CutSuffix(path, "\x00"); err != nil || !ok || string(h[:6]) != "070701" {
			return nil, fmt.Errorf("header %q, path %q: %w", h, path, err)
		} else if path = name; path == "TRAILER!!!" {
			if len(b) > 0 {
				return nil, fmt.Errorf("%d bytes follow the trailer", len(b))
			}
			return nodes, nil
		}
		content := take(int(f[6]))
		pad(len(content))
		n := rootfstest.Node{Entry: rootfs.Entry{
			Path: path, Mode: rootfstest.FileMode(f[1]), UID: f[2], GID: f[3], ModTime: time.Unix(int64(f[5]), 0),
			Dev: rootfs.Mkdev(f[9], f[10]),
		}}
		links := uint32(1)
		switch n.Kind() {
		case 0:
			n.Size = int64(len(content))
			n.SHA256, _, _ = rootfstest.Digest(bytes.NewReader(content))
		case fs.ModeSymlink:
			n.Target = string(content)
		case fs.ModeDir:
			links = 2
			fallthrough
		default:
			if len(content) > 0 {
				return nil, fmt.Errorf("%q has content", path)
			}
		}
		if f[0] != uint32(len(nodes)+1) || f[4] != links || f[7]|f[8]|f[12] != 0 {
			return nil, fmt.Errorf("%q: inode %d, %d links, on device %d,%d, checksum %d", path, f[0], f[4], f[7], f[8], f[12])
		}
		nodes = append(nodes, n)
	}
}

// compareGNU unpacks an archive by GNU cpio and compares what is there with
// nodes.
func compareGNU(tool, image, dir string, nodes []rootfstest.Node) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	f, err := os.Open(image)
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := exec.Command(tool, "--extract", "--preserve-modification-time", "--quiet", "--no-absolute-filenames")
	cmd.Dir, cmd.Stdin = dir, f
	// What counts is what is there: Linux lets nobody chown to no owner.
	out, _ := cmd.CombinedOutput()
	got, err := rootfstest.Walk(dir)
	if err != nil {
		return err
	}
	unpacked := make(map[string]*rootfstest.Node)
	for i := range got {
		unpacked[got[i].Path] = &got[i]
	}
	for _, n := range nodes {
		u := unpacked[n.Path]
		if u == nil {
			continue
		}
		if n.UID == math.MaxUint32 || n.GID == math.MaxUint32 {
			u.UID, u.GID, u.Mode = n.UID, n.GID, n.Mode // no owner to chown, and then no setuid
		}
		// GNU cpio sets no times of directories and links, and nothing of the
		// directory it starts in. The test's own reader has seen them.
		if n.Kind() == fs.ModeDir || n.Kind() == fs.ModeSymlink {
			u.ModTime = n.ModTime
		}
		if n.Path == "." {
			u.Entry = n.Entry
		}
	}
	if err := rootfstest.Diff(can, nodes, got); err != nil {
		return fmt.Errorf("GNU cpio reads otherwise: %w\n%.500s", err, out)
	}
	return nil
}

// TestBytes checks an archive byte by byte.
func TestBytes(t *testing.T) {
	var b bytes.Buffer
	w := cpio.NewWriter(&b)
	for _, e := range []rootfs.Entry{
		{Path: ".", Mode: fs.ModeDir | 0o755},
		{Path: "f", Mode: 0o444, UID: 1, GID: 0xabcdef01, Size: 5},
		{Path: "li", Mode: fs.ModeSymlink | 0o777, Target: "to"},
		{Path: "tty", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o620, Dev: rootfs.Mkdev(4, 64)},
	} {
		e.ModTime = time.Unix(1, 999_999_999)
		if err := w.Add(e, strings.NewReader("hello")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want := "" +
		"07070100000001000041ED000000000000000000000002000000010000000000000000000000000000000000000000" + "0000000200000000" + ".\x00" +
		"0707010000000200008124" + "00000001ABCDEF0100000001000000010000000500000000000000000000000000000000" + "0000000200000000" + "f\x00" + "hello\x00\x00\x00" +
		"070701000000030000A1FF" + "00000000000000000000000100000001" + "00000002" + "00000000000000000000000000000000" + "0000000300000000" + "li\x00\x00\x00\x00" + "to\x00\x00" +
		"07070100000004000021900000000000000000" + "0000000100000001" + "00000000" + "0000000000000000" + "0000000400000040" + "0000000400000000" + "tty\x00\x00\x00" +
		"07070100000000" + "00000000" + "0000000000000000" + "0000000100000000" + "00000000" + "0000000000000000" + "0000000000000000" + "0000000B00000000" + "TRAILER!!!\x00\x00\x00\x00"
	if b.String() != want {
		t.Errorf("is   %q\nwant %q", b.String(), want)
	}
}

func TestRefusals(t *testing.T) {
	at := time.Unix(1, 0)
	long := strings.Repeat("n/", cpio.MaxPath/2) + "nn"
	for _, test := range []struct {
		entry rootfs.Entry
		want  string
	}{
		{rootfs.Entry{Path: "TRAILER!!!", Mode: 0o644, ModTime: at}, "a cpio archive ends at an entry of this name"},
		{rootfs.Entry{Path: long, Mode: 0o644, ModTime: at}, "a path of 4096 bytes, and the kernel unpacks none of more than 4095 from a cpio archive"},
		{rootfs.Entry{Path: "a", Mode: 0o644, ModTime: at, Size: 1 << 32}, "4294967296 bytes: a file in a cpio archive has at most 4294967295"},
		{rootfs.Entry{Path: "a", Mode: 0o644}, "a cpio archive cannot hold the time 0001-01-01 00:00:00 +0000 UTC, only 1970 to 2106"},
		{rootfs.Entry{Path: "a", Mode: fs.ModeDevice, ModTime: at, Dev: rootfs.Mkdev(4096, 1)}, "device 4096,1 is beyond 4095,1048575"},
		{rootfs.Entry{Path: "a", Mode: 0o644, ModTime: at, Xattrs: []rootfs.Xattr{{Name: "user.a"}}}, `a cpio archive holds no extended attributes ("user.a")`},
	} {
		err := cpio.NewWriter(io.Discard).Add(test.entry, strings.NewReader(""))
		var refusal *rootfs.EntryError
		if !errors.As(err, &refusal) || *refusal != (rootfs.EntryError{Path: test.entry.Path, Reason: test.want}) {
			t.Errorf("error %v, want %s", err, test.want)
		}
	}
}

// TestLargest writes the largest file that the format holds.
func TestLargest(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: a file of 4 GiB")
	}
	var end ending
	w := cpio.NewWriter(&end)
	e := rootfs.Entry{Path: "largest", Mode: 0o644, ModTime: time.Unix(1, 0), Size: cpio.MaxFile}
	if err := errors.Join(w.Add(e, zeros{}), w.Close()); err != nil {
		t.Fatal(err)
	}
	if want := int64(120 + 1<<32 + 124); end.size != want || !bytes.HasPrefix(end.last, []byte("070701")) {
		t.Errorf("%d bytes, want %d; the last are %q", end.size, want, end.last)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// ending counts bytes and keeps the last.
type ending struct {
	size int64
	last []byte
}

func (e *ending) Write(p []byte) (int, error) {
	e.size += int64(len(p))
	e.last = append(e.last, p...)
	e.last = append(e.last[:0], e.last[max(0, len(e.last)-124):]...)
	return len(p), nil
}

// FuzzWriter checks that what is written of an entry is read again, and that the
// same entry makes the same bytes.
func FuzzWriter(f *testing.F) {
	f.Add("a", uint32(0o644), uint32(1), int64(1), "content", uint64(0))
	f.Add("a/b", uint32(fs.ModeSymlink|0o777), uint32(0), int64(0), "target", uint64(0))
	f.Add("tty", uint32(fs.ModeDevice|fs.ModeCharDevice), uint32(0), int64(1<<32-1), "", uint64(0x440))
	f.Fuzz(func(t *testing.T, path string, mode, id uint32, sec int64, content string, dev uint64) {
		e := rootfs.Entry{Path: path, Mode: fs.FileMode(mode), UID: id, GID: ^id, ModTime: time.Unix(sec, 0), Dev: dev}
		switch e.Kind() {
		case 0:
			e.Size = int64(len(content))
		case fs.ModeSymlink:
			e.Target = content
		}
		if e.Validate() != nil {
			return
		}
		var b, again bytes.Buffer
		w := cpio.NewWriter(&b)
		if err := errors.Join(w.Add(e, strings.NewReader(content)), w.Close()); err != nil {
			return
		}
		w = cpio.NewWriter(&again)
		if err := errors.Join(w.Add(e, strings.NewReader(content)), w.Close()); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
			t.Fatalf("another time: %v, %q", err, again.Bytes())
		}
		want := rootfstest.Node{Entry: e}
		if e.Kind() == 0 {
			want.SHA256, _, _ = rootfstest.Digest(strings.NewReader(content))
		}
		got, err := read(b.Bytes())
		if err == nil {
			err = rootfstest.Diff(can, []rootfstest.Node{want}, got)
		}
		if err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	data := make([]byte, 4000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	w := cpio.NewWriter(io.Discard)
	r := bytes.NewReader(data)
	for i := 0; b.Loop(); i++ {
		r.Reset(data)
		e := rootfs.Entry{Path: fmt.Sprintf("nix/store/q6prk3mxcrz5dvz7d0qyv3ya9j7nbdyd-hello-2.12/share/file%d", i), Mode: 0o444, ModTime: time.Unix(1, 0), Size: int64(len(data))}
		if err := w.Add(e, r); err != nil {
			b.Fatal(err)
		}
	}
}
