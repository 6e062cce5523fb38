package vfat_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"thaw/image/vfat"
	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

const imageName = "image"

// testOptions are those of images whose options do not matter: FAT32, as the root of
// the others is too small for the suite, in its smallest form.
var testOptions = vfat.Options{Serial: 0x1234abcd, Label: "TEST", Bits: 32, ClusterSize: 512, Capacity: 200 << 20}

// names are those that FAT holds.
func names(name string) bool {
	return utf8.ValidString(name) && !strings.ContainsAny(name, `"*/:<>?\|`+"\uffff") && !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) &&
		!strings.HasSuffix(name, ".") && !strings.HasSuffix(name, " ")
}

func abilities() rootfstest.Abilities {
	return rootfstest.Abilities{
		Names: names, FoldsCase: true, MaxFile: vfat.MaxFile,
		Modes: rootfstest.Dropped, Owners: rootfstest.Dropped,
		Times: rootfstest.Held, MinTime: vfat.MinTime, MaxTime: vfat.MaxTime, Resolution: 2 * time.Second,
	}
}

// image is a writer and the file it writes to.
type image struct {
	*vfat.Writer
	file   *rootfstest.File
	refuse func(rootfs.Entry) string
}

// Add refuses what the judge cannot tell, and times that are changed.
func (i *image) Add(e rootfs.Entry, data io.Reader) error {
	reason := i.refuse(e)
	if e.ModTime.Unix() < vfat.MinTime {
		reason = "FAT begins in 1980"
	}
	if reason != "" {
		i.Writer.Close()
		return &rootfs.EntryError{Path: e.Path, Reason: reason}
	}
	return i.Writer.Add(e, data)
}

func (i *image) Close() error {
	err := i.Writer.Close()
	if err == nil {
		err = i.file.Truncate(i.Size())
	}
	return errors.Join(err, i.file.Close())
}

func create(o vfat.Options, refuse func(rootfs.Entry) string) func(string, int64) (rootfstest.Writer, error) {
	return func(dir string, limit int64) (rootfstest.Writer, error) {
		f, err := rootfstest.OpenFile(filepath.Join(dir, imageName), limit)
		if err != nil {
			return nil, err
		}
		w, err := vfat.NewWriter(f, o)
		return &image{w, f, refuse}, err
	}
}

// TestFsck has the suite judged by fsck.vfat and the tests' own reader.
func TestFsck(t *testing.T) {
	t.Parallel()
	tool := testbed.Tool(t, "fsck.vfat")
	rootfstest.Test(t, rootfstest.Format{
		Create: create(testOptions, func(rootfs.Entry) string { return "" }),
		Read: func(dir string) ([]rootfstest.Node, error) {
			path := filepath.Join(dir, imageName)
			if err := check(tool, path); err != nil {
				return nil, err
			}
			_, nodes, err := readImage(path)
			return nodes, err
		},
		Can: abilities(),
	})
}

// calm is what fsck.vfat says about a file system without fault.
var calm = regexp.MustCompile(`^fsck\.fat [\d.]+ .*\n.*: \d+ files, \d+/\d+ clusters\n$`)

func check(fsck, image string) error {
	if out, err := exec.Command(fsck, "-n", image).CombinedOutput(); err != nil || !calm.Match(out) {
		return fmt.Errorf("fsck.vfat: %v\n%.3000s", err, out)
	}
	return nil
}

// TestMtools has the suite judged by mtools.
func TestMtools(t *testing.T) {
	t.Parallel()
	tool := testbed.Tool(t, "mcopy")
	can := abilities()
	can.MaxPath, can.MaxTime = mtoolsPath, mtoolsTime
	can.Names = func(name string) bool { return names(name) && mtoolsRefuses(rootfs.Entry{Path: name}) == "" }
	rootfstest.Test(t, rootfstest.Format{
		Create: create(testOptions, mtoolsRefuses),
		Read:   func(dir string) ([]rootfstest.Node, error) { return readMtools(tool, dir) },
		Can:    can,
	})
}

const (
	mtoolsPath = 1000
	mtoolsTime = 4107542399 // the last second of February 2100
)

func mtoolsRefuses(e rootfs.Entry) string {
	switch _, name := rootfs.Split(e.Path); {
	case e.ModTime.Unix() > mtoolsTime:
		return "mtools knows a 29 February 2100"
	case len(e.Path) > mtoolsPath:
		return "mcopy goes no deeper"
	case strings.ContainsFunc(name, func(r rune) bool { return r > 0xffff }):
		return "mtools knows no surrogates"
	}
	return ""
}

// readMtools unpacks an image.
func readMtools(mcopy, dir string) ([]rootfstest.Node, error) {
	to := filepath.Join(dir, "unpacked")
	if err := os.Mkdir(to, 0o755); err != nil {
		return nil, err
	}
	cmd := exec.Command(mcopy, "-s", "-m", "-n", "-i", filepath.Join(dir, imageName), "::/", to)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TZ=UTC", "MTOOLSRC=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mcopy: %v\n%.3000s", err, out)
	}
	nodes, err := rootfstest.Walk(to)
	for i := range nodes {
		if nodes[i].Path == "." {
			nodes[i] = root
		}
	}
	return nodes, err
}
