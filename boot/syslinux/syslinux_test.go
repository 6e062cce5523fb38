package syslinux_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thaw/boot/syslinux"
	"thaw/image/vfat"
	"thaw/internal/testbed"
	"thaw/rootfs"
)

var le = binary.LittleEndian

// installer opens an installer of Debian's.
func installer(t *testing.T, name string) *syslinux.Loader {
	t.Helper()
	f, err := os.Open(testbed.Tool(t, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := syslinux.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// image writes a file system with one file and returns its name, and where its boot
// sectors are.
func image(t *testing.T, o vfat.Options, path string, content []byte) (string, []int64) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fat.img")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := vfat.NewWriter(f, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(rootfs.Entry{Path: ".", Mode: fs.ModeDir}, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Add(rootfs.Entry{Path: path, Size: int64(len(content))}, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(w.Size()); err != nil {
		t.Fatal(err)
	}
	return name, w.BootSectors()
}

// TestInstaller compares with what syslinux -i writes to the same file system.
func TestInstaller(t *testing.T) {
	const mib = 1 << 20
	for name, o := range map[string]vfat.Options{
		"FAT12": {Serial: 1, Bits: 12, Size: 4 * mib}, "FAT16": {Serial: 1, Bits: 16, Size: 20 * mib, HiddenSectors: 2048}, "FAT32": {Serial: 1, Bits: 32, Size: 40 * mib, ClusterSize: 512},
		"FAT16 with a label": {Serial: 1, Bits: 16, Size: 64 * mib, Label: "BOOT"},
	} {
		t.Run(name, func(t *testing.T) {
			l := installer(t, "syslinux")
			theirs, boot := image(t, o, "first", bytes.Repeat([]byte("1"), 70_001))
			ours, err := os.ReadFile(theirs)
			if err != nil {
				t.Fatal(err)
			}
			testbed.Run(t, "syslinux", "-i", theirs)
			want, err := os.ReadFile(theirs)
			if err != nil {
				t.Fatal(err)
			}
			sys := testbed.Run(t, "mtype", "-i", theirs, "::ldlinux.sys")
			at := bytes.Index(want, sys)
			if at < 0 || len(sys) != len(l.Sys()) {
				t.Fatalf("syslinux made an ldlinux.sys of %d bytes at %d; ours has %d", len(sys), at, len(l.Sys()))
			}
			copy(ours[at:], l.Sys())
			if err := l.Install(memory(ours), boot, int64(at)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(ours[:512], want[:512]) {
				t.Errorf("the boot sectors differ:\n% x\n% x", ours[:512], want[:512])
			}
			if !bytes.Equal(ours[at:at+len(sys)], sys) {
				t.Error("ldlinux.sys differs")
			}
			file := filepath.Join(t.TempDir(), "ours.img")
			if err := os.WriteFile(file, ours, 0o666); err != nil {
				t.Fatal(err)
			}
			if said := testbed.Run(t, "fsck.vfat", "-n", file); bytes.Count(said, []byte("\n")) != 2 {
				t.Errorf("fsck.vfat says: %s", said)
			}
		})
	}
}

// memory is a disk in memory.
type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

// TestOpen finds the same in all installers.
func TestOpen(t *testing.T) {
	a, b := installer(t, "syslinux"), installer(t, "extlinux")
	if !bytes.Equal(a.Sys(), b.Sys()) {
		t.Error("syslinux and extlinux have other loaders")
	}
}

// made is a boot sector and an ldlinux.sys of a test's own.
func made() (boot, sys []byte) {
	boot, sys = make([]byte, 512), make([]byte, 40_960)
	copy(boot, "\xeb\x58\x90SYSLINUX")
	le.PutUint32(boot[504:], 0x3eb202fe)
	copy(boot[510:], "\x55\xaa")
	copy(sys, "\r\nSYSLINUX 6\r\n")
	le.PutUint32(sys[16:], 0x3eb202fe)
	le.PutUint16(sys[16+20:], 127)
	le.PutUint16(sys[16+22:], 600)
	for i, v := range []uint16{700, 0, 0, 0, 0, 800, 64, 100, 110, 120} {
		le.PutUint16(sys[600+2*i:], v)
	}
	return boot, sys
}

// program is an installer of a test's own.
func program(boot, sys []byte, numbers ...uint32) []byte {
	b := bytes.Clone(boot)
	b = append(b, sys...)
	b = append(b, make([]byte, -len(b)&511)...)
	for _, n := range numbers {
		b = le.AppendUint32(b, n)
	}
	return b
}

const when = 1_600_000_000

func TestRefused(t *testing.T) {
	boot, sys := made()
	change := func(b []byte, at int, v uint16) []byte {
		b = bytes.Clone(b)
		le.PutUint16(b[at:], v)
		return b
	}
	for _, c := range []struct {
		want    string
		program []byte
	}{
		{"", program(boot, sys, when, 512, when, 40960)},
		{"", program(boot, sys, 512, when, 40960, when, 40960, when)},
		{"has no boot sector", nil},
		{"has no boot sector", program(change(boot, 504, 0), sys, when, 512, when, 40960)},
		{"has no boot sector", program(boot, change(sys, 16, 0), when, 512, when, 40960)},
		{"is a script", []byte("#!/bin/sh\n")},
		{"does not say how long", program(boot, sys, 512, 40960)},
		{"does not say how long", program(boot, sys, when, 512, when, 1<<20)},
		{"of 20480 or of 40960 bytes", program(boot, sys, when, 512, when, 20480, when, 40960)},
		{"more than 16777216 bytes", make([]byte, syslinux.MaxProgram+1)},
		{"extended patch area beyond", program(boot, change(sys, 38, 0xffff), when, 512, when, 40960)},
		{"list of sectors beyond", program(boot, change(sys, 600, 0xffff), when, 512, when, 40960)},
		{"list of sectors beyond", program(boot, change(sys, 612, 0xffff), when, 512, when, 40960)},
		{"be patched at 8 of the other", program(boot, change(sys, 614, 8), when, 512, when, 40960)},
		{"be patched at 502 of the other", program(boot, change(sys, 616, 502), when, 512, when, 40960)},
	} {
		_, err := syslinux.Open(bytes.NewReader(c.program))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q: %v", c.want, err)
		}
	}
	if _, err := syslinux.New(sys[:512], sys); err == nil {
		t.Error("a boot sector that is none was taken")
	}
	if _, err := syslinux.New(boot, sys[:1000]); err == nil {
		t.Error("an ldlinux.sys of 1000 bytes was taken")
	}
}

// failing fails at the write that brings left to 0.
type failing struct{ left int }

var errFull = errors.New("full")

func (f *failing) WriteAt(p []byte, _ int64) (int, error) {
	if f.left--; f.left == 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestInstallFails(t *testing.T) {
	boot, sys := made()
	l, err := syslinux.New(boot, sys)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 5; n++ {
		if err := l.Install(&failing{n}, []int64{0, 3072}, 512); !errors.Is(err, errFull) {
			t.Errorf("write %d: %v", n, err)
		}
	}
	if err := l.Install(&failing{}, []int64{0, 3072}, 512); err != nil {
		t.Error(err)
	}
	for _, at := range []int64{-512, 0, 100} {
		if err := l.Install(&failing{}, []int64{0, 3072}, at); err == nil {
			t.Errorf("installed at %d", at)
		}
	}
	few := bytes.Clone(sys)
	le.PutUint16(few[612:], 0)
	if l, err = syslinux.New(boot, few); err != nil {
		t.Fatal(err)
	}
	if err := l.Install(&failing{}, []int64{0, 3072}, 512); err == nil || !strings.Contains(err.Error(), "no room for the list") {
		t.Errorf("no extents: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	boot, sys := made()
	f.Add(program(boot, sys, when, 512, when, 40960))
	f.Fuzz(func(t *testing.T, program []byte) {
		l, err := syslinux.Open(bytes.NewReader(program))
		if err != nil {
			return
		}
		if err := l.Install(&failing{}, []int64{0, 3072}, 4096); err != nil && !strings.Contains(err.Error(), "no room") {
			t.Error(err)
		}
	})
}
