package rootfs_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"thaw/rootfs"
)

func TestValidate(t *testing.T) {
	const link = fs.ModeSymlink | 0o777
	long := strings.Repeat("n", rootfs.MaxName)
	xattr := func(names ...string) (x []rootfs.Xattr) {
		for _, name := range names {
			x = append(x, rootfs.Xattr{Name: name})
		}
		return x
	}
	for _, test := range []struct {
		entry rootfs.Entry
		want  string // of the error after the path, "" if the entry is valid
	}{
		{rootfs.Entry{Path: ".", Mode: fs.ModeDir | 0o755}, ""},
		{rootfs.Entry{Path: "a", Mode: 0o644, Size: 1<<63 - 1, UID: 1<<32 - 1, ModTime: time.Unix(-1, 0)}, ""},
		{rootfs.Entry{Path: "\xff\n/" + long + "/...", Mode: fs.ModeDir}, ""},
		{rootfs.Entry{Path: "a", Mode: rootfs.ModeBits}, ""},
		{rootfs.Entry{Path: "a", Mode: link, Target: "\xff\n"}, ""},
		{rootfs.Entry{Path: "a", Mode: link, Target: strings.Repeat("t", rootfs.MaxTarget)}, ""},
		{rootfs.Entry{Path: "a", Mode: fs.ModeNamedPipe}, ""},
		{rootfs.Entry{Path: "a", Mode: fs.ModeDevice, Dev: rootfs.Mkdev(8, 1)}, ""},
		{rootfs.Entry{Path: "a", Mode: fs.ModeDevice | fs.ModeCharDevice}, ""},
		{rootfs.Entry{Path: "a", Xattrs: []rootfs.Xattr{{Name: "a", Value: make([]byte, rootfs.MaxXattrValue)}}}, ""},
		{rootfs.Entry{Path: "a", Xattrs: xattr("a", "a.", "b", strings.Repeat("x", rootfs.MaxXattrName))}, ""},

		{rootfs.Entry{Path: ""}, "not a valid path"},
		{rootfs.Entry{Path: "/"}, "not a valid path"},
		{rootfs.Entry{Path: "/a"}, "not a valid path"},
		{rootfs.Entry{Path: "a/"}, "not a valid path"},
		{rootfs.Entry{Path: "a//b"}, "not a valid path"},
		{rootfs.Entry{Path: ".."}, "not a valid path"},
		{rootfs.Entry{Path: "a/../b"}, "not a valid path"},
		{rootfs.Entry{Path: "a/."}, "not a valid path"},
		{rootfs.Entry{Path: "./a"}, "not a valid path"},
		{rootfs.Entry{Path: "a\x00"}, "not a valid path"},
		{rootfs.Entry{Path: "a/" + long + "n"}, "not a valid path"},
		{rootfs.Entry{Path: ".", Mode: 0o644}, "the root is not a directory"},
		{rootfs.Entry{Path: ".", Mode: link, Target: "a"}, "the root is not a directory"},
		{rootfs.Entry{Path: "a", Mode: fs.ModeSocket}, "mode S--------- is of no kind that a root file system holds"},
		{rootfs.Entry{Path: "a", Mode: fs.ModeIrregular}, "mode ?--------- is of no kind that a root file system holds"},
		{rootfs.Entry{Path: "a", Mode: fs.ModeCharDevice}, "mode c--------- is of no kind that a root file system holds"},
		{rootfs.Entry{Path: "a", Mode: fs.ModeDir | fs.ModeSymlink}, "mode dL--------- is of no kind that a root file system holds"},
		{rootfs.Entry{Path: "a", Mode: fs.ModeAppend}, "mode a--------- has bits that a root file system does not hold"},
		{rootfs.Entry{Path: "a", Size: -1}, "size -1"},
		{rootfs.Entry{Path: "a", Size: 1, Mode: fs.ModeDir}, "size 1"},
		{rootfs.Entry{Path: "a", Size: 1, Mode: link, Target: "x"}, "size 1"},
		{rootfs.Entry{Path: "a", Mode: link}, "a link's target has 1 to 4095 bytes and no NUL"},
		{rootfs.Entry{Path: "a", Mode: link, Target: "a\x00"}, "a link's target has 1 to 4095 bytes and no NUL"},
		{rootfs.Entry{Path: "a", Mode: link, Target: strings.Repeat("t", rootfs.MaxTarget+1)}, "a link's target has 1 to 4095 bytes and no NUL"},
		{rootfs.Entry{Path: "a", Target: "x"}, "has a link target and is no link"},
		{rootfs.Entry{Path: "a", Dev: 1}, "has a device number and is no device"},
		{rootfs.Entry{Path: "a", Mode: fs.ModeNamedPipe, Dev: 1}, "has a device number and is no device"},
		{rootfs.Entry{Path: "a", Xattrs: xattr("")}, `extended attribute "" is not valid`},
		{rootfs.Entry{Path: "a", Xattrs: xattr("a\x00")}, `extended attribute "a\x00" is not valid`},
		{rootfs.Entry{Path: "a", Xattrs: xattr("a", long+"n")}, `extended attribute "` + long + `n" is not valid`},
		{rootfs.Entry{Path: "a", Xattrs: []rootfs.Xattr{{Name: "a", Value: make([]byte, rootfs.MaxXattrValue+1)}}}, `extended attribute "a" is not valid`},
		{rootfs.Entry{Path: "a", Xattrs: xattr("b", "a")}, `extended attributes are not sorted at "a"`},
		{rootfs.Entry{Path: "a", Xattrs: xattr("a", "a")}, `extended attributes are not sorted at "a"`},
	} {
		err := test.entry.Validate()
		if test.want == "" {
			if err != nil {
				t.Errorf("%.40q: %v", test.entry.Path, err)
			}
			continue
		}
		var refusal *rootfs.EntryError
		if !errors.As(err, &refusal) || *refusal != (rootfs.EntryError{Path: test.entry.Path, Reason: test.want}) {
			t.Errorf("%.40q: error %v, want %s", test.entry.Path, err, test.want)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, test := range [][3]string{{".", ".", "."}, {"a", ".", "a"}, {"a/b", "a", "b"}, {"a/b/c", "a/b", "c"}} {
		if dir, name := rootfs.Split(test[0]); dir != test[1] || name != test[2] {
			t.Errorf("Split(%q) = %q, %q", test[0], dir, name)
		}
	}
}

func TestMkdev(t *testing.T) {
	for _, test := range []struct {
		major, minor uint32
		dev          uint64
	}{
		{0, 0, 0}, {1, 3, 0x103}, {8, 255, 0x8ff}, {8, 256, 0x100800}, {259, 1<<20 - 1, 0xfff103ff}, {4095, 0, 0xfff00},
		{4096, 0, 0x100000000000}, {1<<32 - 1, 1<<32 - 1, 1<<64 - 1},
	} {
		dev := rootfs.Mkdev(test.major, test.minor)
		if dev != test.dev {
			t.Errorf("Mkdev(%d, %d) = %#x, want %#x", test.major, test.minor, dev, test.dev)
		}
		if major, minor := rootfs.Major(dev), rootfs.Minor(dev); major != test.major || minor != test.minor {
			t.Errorf("%#x is %d,%d, want %d,%d", dev, major, minor, test.major, test.minor)
		}
	}
}

func TestUnixMode(t *testing.T) {
	for _, test := range []struct {
		mode fs.FileMode
		want uint32
	}{
		{0o644, 0o100644},
		{0o755 | fs.ModeSetuid, 0o104755},
		{0o755 | fs.ModeSetgid, 0o102755},
		{rootfs.ModeBits, 0o107777},
		{fs.ModeDir | fs.ModeSticky | 0o777, 0o041777},
		{fs.ModeSymlink | 0o777, 0o120777},
		{fs.ModeNamedPipe | 0o600, 0o010600},
		{fs.ModeDevice | 0o660, 0o060660},
		{fs.ModeDevice | fs.ModeCharDevice | 0o666, 0o020666},
	} {
		e := rootfs.Entry{Mode: test.mode}
		if got := e.UnixMode(); got != test.want {
			t.Errorf("%v: %#o, want %#o", test.mode, got, test.want)
		}
	}
}

func FuzzValidPath(f *testing.F) {
	for _, s := range []string{".", "a", "a/b", "a//b", "/", "..", "\xff", "a\x00b", strings.Repeat("n", 256)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		want := p == "."
		if !want {
			want = true
			for _, name := range strings.Split(p, "/") {
				want = want && rootfs.ValidName(name)
			}
		}
		if got := rootfs.ValidPath(p); got != want {
			t.Errorf("ValidPath(%q) = %v", p, got)
		}
		if want && p != "." {
			if dir, name := rootfs.Split(p); !rootfs.ValidPath(dir) || !rootfs.ValidName(name) {
				t.Errorf("Split(%q) = %q, %q", p, dir, name)
			}
		}
	})
}
