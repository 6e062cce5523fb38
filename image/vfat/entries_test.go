package vfat_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"thaw/image/vfat"
	"thaw/rootfs"
)

// TestTimes checks what becomes of times.
func TestTimes(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	entries, want := []entry{dir(".")}, []string{}
	for i, test := range [][2]string{
		{"1970-01-01T00:00:01Z", "1980-01-01T00:00:00Z"}, // of every store object
		{"0002-01-01T00:00:00Z", "1980-01-01T00:00:00Z"},
		{"1980-01-01T00:00:00Z", "1980-01-01T00:00:00Z"},
		{"1980-01-01T01:00:00+02:00", "1980-01-01T00:00:00Z"},
		{"1980-01-01T00:00:03.9Z", "1980-01-01T00:00:02Z"},
		{"2000-02-29T23:59:59.999Z", "2000-02-29T23:59:58Z"},
		{"2024-06-01T00:30:00+01:00", "2024-05-31T23:30:00Z"},
		{"2107-12-31T23:59:59.999Z", "2107-12-31T23:59:58Z"},
	} {
		e := file(fmt.Sprint(i), 0)
		e.ModTime = at(test[0])
		entries, want = append(entries, e), append(want, test[1])
	}
	path, err := build(t, vfat.Options{}, entries)
	if err != nil {
		t.Fatal(err)
	}
	_, nodes, err := readImage(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range nodes[1:] {
		if got := n.ModTime.Format(time.RFC3339Nano); got != want[i] {
			t.Errorf("%s became %s", entries[i+1].ModTime, got)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	late := file("a", 0)
	late.ModTime = time.Date(2108, 1, 1, 0, 0, 0, 0, time.UTC)
	attr := file("a", 0)
	attr.Xattrs = []rootfs.Xattr{{Name: "user.x"}}
	full := []entry{dir(".")}
	for i := range 511 {
		full = append(full, file(fmt.Sprintf("F%d", i), 0))
	}
	const rootFull = "the root directory of FAT12 is full: it has 512 slots, and a long name takes several"
	for _, test := range []struct {
		o       vfat.Options
		entries []entry // after the root
		want    string
	}{
		{vfat.Options{}, []entry{{Entry: rootfs.Entry{Path: "a", Mode: fs.ModeSymlink, Target: "b"}}}, "FAT holds no symbolic links"},
		{vfat.Options{}, []entry{{Entry: rootfs.Entry{Path: "a", Mode: fs.ModeNamedPipe}}}, "FAT holds no devices and no pipes"},
		{vfat.Options{}, []entry{{Entry: rootfs.Entry{Path: "a", Mode: fs.ModeDevice | fs.ModeCharDevice}}}, "FAT holds no devices and no pipes"},
		{vfat.Options{}, []entry{attr}, `FAT holds no extended attributes ("user.x")`},
		{vfat.Options{}, []entry{file("a", 1<<32)}, "FAT holds no file of 4294967296 bytes, at most 4294967295"},
		{vfat.Options{}, []entry{late}, "FAT holds no time after 2107: 2108-01-01T00:00:00Z"},
		{vfat.Options{}, []entry{file("caf\xe9", 0)}, "FAT holds names in UTF-16, and this one is not UTF-8"},
		{vfat.Options{}, []entry{file("a:b", 0)}, "FAT holds no ':' in a name"},
		{vfat.Options{}, []entry{file("a\n", 0)}, `FAT holds no '\n' in a name`},
		{vfat.Options{}, []entry{file("\uffff", 0)}, `FAT holds no '\uffff' in a name`},
		{vfat.Options{}, []entry{file("a.", 0)}, "FAT holds no name that ends in a dot or a space"},
		{vfat.Options{}, []entry{file("a ", 0)}, "FAT holds no name that ends in a dot or a space"},
		{vfat.Options{}, []entry{dir("d"), file("d/readme", 0), file("d/README", 0)}, `FAT cannot tell its name from that of "d/readme"`},
		{vfat.Options{}, []entry{file("gr\u00f6\u00dfe", 0), file("GR\u00d6\u1e9eE", 0)}, "FAT cannot tell its name from that of \"gr\u00f6\u00dfe\""},
		{vfat.Options{}, []entry{file("\u212a", 0), dir("k")}, "FAT cannot tell its name from that of \"\u212a\""},
		{vfat.Options{}, []entry{file("\u0131", 0), file("I", 0)}, "FAT cannot tell its name from that of \"\u0131\""},
		{vfat.Options{}, []entry{file("d/a", 0)}, `comes before its parent "d"`},
		{vfat.Options{}, []entry{dir(".")}, "comes twice"},
		{vfat.Options{Size: mib}, append(full[1:512:512], file("long name", 0)), rootFull},
		{vfat.Options{Label: "L"}, append(full[1:511:511], file("long name", 0)), rootFull},
		{vfat.Options{Size: mib, Label: "L"}, append(full[1:512:512], file("G", 0)), rootFull},
	} {
		last := test.entries[len(test.entries)-1].Path
		_, err := build(t, test.o, append([]entry{dir(".")}, test.entries...))
		var refusal *rootfs.EntryError
		if !errors.As(err, &refusal) || *refusal != (rootfs.EntryError{Path: last, Reason: test.want}) {
			t.Errorf("%q: %v, want %s", last, err, test.want)
		}
	}
	mustBuild(t, vfat.Options{Size: mib}, append(full, file("G", 0)))
}

// TestDirectory fills a directory up: 21 slots for a name of 255 characters.
func TestDirectory(t *testing.T) {
	t.Parallel()
	entries := []entry{dir("."), dir("D")}
	for i := range (1<<16 - 2) / 21 {
		entries = append(entries, file(fmt.Sprintf("D/%0255d", i), 0))
	}
	for i := range (1<<16 - 2) % 21 {
		entries = append(entries, file(fmt.Sprintf("D/F%d", i), 0))
	}
	mustBuild(t, vfat.Options{}, entries)
	var refusal *rootfs.EntryError
	if _, err := build(t, vfat.Options{}, append(entries, file("D/G", 0))); !errors.As(err, &refusal) || refusal.Path != "D/G" || !strings.Contains(refusal.Reason, "the directory is full") {
		t.Error(err)
	}
}
