package rootfstest

import (
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"thaw/rootfs"
)

// AddTree adds a real directory to a sink, as benchmarks beside a format's own tool
// do: with modes and times, all of it root's, links of a file as files.
func AddTree(s rootfs.Sink, dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		e := rootfs.Entry{Mode: info.Mode(), ModTime: info.ModTime()}
		if e.Path, err = filepath.Rel(dir, path); err != nil {
			return err
		}
		switch e.Kind() {
		case 0:
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			e.Size = info.Size()
			return s.Add(e, f)
		case fs.ModeSymlink:
			if e.Target, err = os.Readlink(path); err != nil {
				return err
			}
		}
		return s.Add(e, nil)
	})
}

// CPUTime returns the CPU time of this process, unix.RUSAGE_SELF, or of its ended
// children, unix.RUSAGE_CHILDREN.
func CPUTime(who int) time.Duration {
	var u unix.Rusage
	unix.Getrusage(who, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
