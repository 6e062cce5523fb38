package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// signs are what the directory of an output has, by types.
var signs = map[string]string{"dir": "nix/store", "oci": "oci-layout", "files": "boot.ipxe"}

// replaceable holds that a directory is what an earlier run wrote for such an output,
// and that nothing in it was changed since. All that thaw writes has one of two times of
// modification, that of the image and that of store objects; what is made or changed by
// anything else has another. Nor may anything be mounted in it: see writable. (That it is
// all in one file system holds where the kernel does not list its mounts, too.)
func (o *destination) replaceable(path string) error {
	const hint = "remove it, or give the name of a new directory"
	if _, err := os.Lstat(filepath.Join(path, signs[o.of.Type])); err != nil {
		return usage(hint, "the directory %s is not empty, and is no earlier output: it has no %s", path, signs[o.of.Type])
	}
	top, err := os.Lstat(path)
	if err != nil {
		return err
	}
	return filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		if t := st.ModTime(); t.Nanosecond() != 0 || !t.Equal(top.ModTime()) && t.Unix() != 1 || st.IsDir() && deviceOf(st) != deviceOf(top) {
			if file == path {
				return usage(hint, "the directory %s is not as thaw left it", path)
			}
			return usage(hint, "the directory %s is not as thaw left it: %s is new or changed", path, file)
		}
		return nil
	})
}

// deviceOf returns the file system that a directory is in.
func deviceOf(st fs.FileInfo) uint64 {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return s.Dev
	}
	return 0
}

// settle gives a directory, and all files and directories in it, the time of the image.
func settle(dir string, t time.Time) error {
	return filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err == nil {
			err = os.Chtimes(file, t, t)
		}
		return err
	})
}
