package iso_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/image/iso"
	"thaw/internal/testbed"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

const imageName = "image.iso"

// testOptions are those of volumes whose options do not matter.
var testOptions = iso.Options{Label: "TEST", Time: noon}

// maxFile bounds the files of the suite: [TestExtents] has a larger one.
const maxFile = 1 << 30

// abilities are what ISO 9660 holds.
func abilities() rootfstest.Abilities {
	return rootfstest.Abilities{
		Names:     func(name string) bool { return len(name) <= iso.MaxName },
		MaxFile:   maxFile,
		MaxTarget: rootfs.MaxTarget,
		MaxMajor:  iso.MaxMajor, MaxMinor: iso.MaxMinor,
		Fifos:     true,
		HardLinks: true,
		Modes:     rootfstest.Held,
		Owners:    rootfstest.Held,
		Times:     rootfstest.Held, MinTime: iso.MinTime, MaxTime: iso.MaxTime, Resolution: time.Second,
	}
}

// image is a writer and the file it writes to.
type image struct {
	*iso.Writer
	file   *rootfstest.File
	refuse func(rootfs.Entry) string
	links  func(rootfs.Entry) // is told of symbolic links
}

// Add refuses what the judge cannot tell.
func (i *image) Add(e rootfs.Entry, data io.Reader) error {
	reason := i.refuse(e)
	if e.Size > maxFile {
		reason = "it takes long to read"
	}
	if reason != "" {
		i.Writer.Close()
		return &rootfs.EntryError{Path: e.Path, Reason: reason}
	}
	if e.Kind() == fs.ModeSymlink && i.links != nil {
		i.links(e)
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

func create(refuse func(rootfs.Entry) string, links func(rootfs.Entry)) func(string, int64) (rootfstest.Writer, error) {
	return func(dir string, limit int64) (rootfstest.Writer, error) {
		f, err := rootfstest.OpenFile(filepath.Join(dir, imageName), limit)
		if err != nil {
			return nil, err
		}
		w, err := iso.NewWriter(f, testOptions)
		return &image{w, f, refuse, links}, err
	}
}

// TestXorriso has the suite judged by what xorriso extracts, which of symbolic links
// is only their targets.
func TestXorriso(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root can extract devices")
	}
	tool := testbed.Tool(t, "xorriso")
	const (
		maxPath   = 1000 // xorriso goes no deeper
		maxTarget = 1023
		maxMinor  = 0xff     // it reads others otherwise than Linux
		minTime   = -1 << 31 // of the file system below
	)
	refuse := func(e rootfs.Entry) string {
		if len(e.Path) > maxPath || len(e.Target) > maxTarget || rootfs.Minor(e.Dev) > maxMinor || e.ModTime.Unix() < minTime || max(e.UID, e.GID) == math.MaxUint32 {
			return "xorriso cannot extract it"
		}
		return ""
	}
	can := abilities()
	can.MaxPath, can.MaxTarget, can.MaxMinor, can.MinTime, can.MaxID = maxPath, maxTarget, maxMinor, minTime, math.MaxUint32-1
	added := map[string]rootfs.Entry{}
	rootfstest.Test(t, rootfstest.Format{
		Create: create(refuse, func(e rootfs.Entry) { added[e.Path] = e }),
		Read: func(dir string) ([]rootfstest.Node, error) {
			nodes, err := readXorriso(tool, dir)
			for i, n := range nodes {
				if n.Kind() == fs.ModeSymlink {
					l := added[n.Path]
					if n.Target != strings.ReplaceAll(l.Target, "//", "/") { // as it reads them
						l.Target = n.Target
					}
					nodes[i].Entry = l
				}
			}
			clear(added)
			return nodes, err
		},
		Can: can,
	})
}

// readXorriso unpacks a volume.
func readXorriso(tool, dir string) ([]rootfstest.Node, error) {
	to := filepath.Join(dir, "unpacked")
	cmd := exec.Command(tool, "-no_rc", "-abort_on", "WARNING", "-hardlinks", "on", "-osirrox", "on:device_files:sort_lba_off",
		"-indev", filepath.Join(dir, imageName), "-extract", "/", to)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("xorriso: %v\n%.3000s", err, out)
	}
	return rootfstest.Walk(to)
}
