// Package atomicfile writes files and directories that appear whole or not at
// all.
//
// Until it is committed a file is named .NAME.RANDOM.part and lies in the
// directory of its target, under an advisory lock that ends with the process.
// What a killed process left can so be told from what a living one is writing,
// and the next writer of the same name removes it.
//
// No tree in which something is mounted is replaced or removed.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	suffix     = ".part"
	keptSuffix = ".old" // of what was replaced and may have to come back: no orphan
)

// flock is a variable so that a test can do something just before it.
var flock = unix.Flock

// File is a file that is being written.
type File struct {
	*os.File
	target string
	done   bool
}

// Create opens a new file that [File.Commit] will put at path. It first
// removes what killed processes left of earlier attempts.
func Create(path string, perm fs.FileMode) (*File, error) {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	if err := RemoveOrphans(dir, name); err != nil {
		return nil, err
	}
	return create(dir, name, perm)
}

// CreateNew is [Create] without a look for orphans, for directories with many
// files.
func CreateNew(path string, perm fs.FileMode) (*File, error) {
	dir, name := filepath.Split(path)
	return create(dir, name, perm)
}

func create(dir, name string, perm fs.FileMode) (*File, error) {
	for {
		temp := tempName(dir, name)
		f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "create", Path: filepath.Join(dir, name), Err: errors.Unwrap(err)}
		}
		// A file system without locks costs only the removal of orphans.
		err = flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		var st unix.Stat_t
		if err == unix.EWOULDBLOCK || unix.Fstat(int(f.Fd()), &st) == nil && st.Nlink == 0 {
			f.Close() // being taken for an orphan, or removed as one, before it was locked
			continue
		}
		return &File{File: f, target: filepath.Join(dir, name)}, nil
	}
}

// Commit closes the file and renames it to its target, replacing what is there.
func (f *File) Commit() error {
	if f.done {
		return os.ErrClosed
	}
	if err := os.Rename(f.Name(), f.target); err != nil {
		f.Abort()
		return err
	}
	f.done = true
	return f.Close()
}

func (f *File) place() (temp, target string) { return f.Name(), f.target }

func (f *File) mayReplace() error {
	if f.done {
		return os.ErrClosed
	}
	if st, err := os.Lstat(f.target); err == nil && st.IsDir() {
		return &fs.PathError{Op: "create", Path: f.target, Err: unix.EISDIR}
	}
	return nil
}

func (f *File) end() error {
	f.done = true
	return f.Close()
}

// Abort closes and removes the file; after Commit it does nothing.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	os.Remove(f.Name())
	f.Close()
}

// Dir is a directory that is being filled.
type Dir struct {
	Path string // for now
	// Replace is asked before a directory that is not empty is replaced. If it is nil,
	// none is.
	Replace func(path string) error

	lock   *os.File
	target string
	done   bool
}

// CreateDir makes a new directory that [Dir.Commit] will put at path, where
// nothing is, an empty directory, or one that Replace allows. It first removes what killed processes left
// of earlier attempts.
func CreateDir(path string) (*Dir, error) {
	dir, name := filepath.Split(filepath.Clean(path))
	if dir == "" {
		dir = "."
	}
	if err := RemoveOrphans(dir, name); err != nil {
		return nil, err
	}
	for {
		temp := tempName(dir, name)
		if err := os.Mkdir(temp, 0o700); errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return nil, &fs.PathError{Op: "create", Path: filepath.Join(dir, name), Err: errors.Unwrap(err)}
		}
		lock, err := os.Open(temp)
		if errors.Is(err, fs.ErrNotExist) {
			continue // taken for an orphan before it was locked
		}
		if err != nil {
			return nil, err
		}
		err = flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if _, statErr := os.Lstat(temp); err == unix.EWOULDBLOCK || errors.Is(statErr, fs.ErrNotExist) {
			lock.Close() // being taken for an orphan, or removed as one
			continue
		}
		return &Dir{Path: temp, lock: lock, target: filepath.Join(dir, name)}, nil
	}
}

// Commit renames the directory to its target.
func (d *Dir) Commit() error { return CommitAll(d) }

func (d *Dir) place() (temp, target string) { return d.Path, d.target }

func (d *Dir) mayReplace() error {
	if d.done {
		return os.ErrClosed
	}
	st, err := os.Lstat(d.target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !st.IsDir():
		return &fs.PathError{Op: "create", Path: d.target, Err: unix.ENOTDIR}
	}
	list, err := os.ReadDir(d.target)
	switch {
	case err != nil || len(list) == 0:
		return err
	case d.Replace == nil:
		return &fs.PathError{Op: "create", Path: d.target, Err: unix.ENOTEMPTY}
	}
	if err := unmounted(d.target); err != nil {
		return fmt.Errorf("%s cannot be replaced: %w", d.target, err)
	}
	return d.Replace(d.target)
}

func (d *Dir) end() error {
	d.done = true
	return d.lock.Close()
}

// Abort removes the directory and all in it; after Commit it does nothing.
func (d *Dir) Abort() {
	if d.done {
		return
	}
	d.done = true
	removeOwn(d.Path)
	d.lock.Close()
}

// removeTree removes a file, or a directory in which nothing is mounted.
func removeTree(path string) error {
	if st, err := os.Lstat(path); err != nil || !st.IsDir() || os.Remove(path) == nil {
		return os.RemoveAll(path) // which follows no link
	}
	if err := unmounted(path); err != nil {
		return err
	}
	return removeOwn(path)
}

// unmounted refuses a directory in which something is mounted.
func unmounted(path string) error {
	point, err := Mounted(path)
	if err == nil && point != "" {
		err = fmt.Errorf("something is mounted at %s", point)
	}
	return err
}

// removeOwn removes a directory whose directories may be read-only.
func removeOwn(path string) error {
	filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(p, 0o700)
		}
		return nil
	})
	return os.RemoveAll(path)
}

func tempName(dir, name string) string {
	return filepath.Join(dir, fmt.Sprintf(".%s.%08x%s", name, rand.Uint32(), suffix))
}

// kept returns the name that a temporary one has while it must not be removed.
func kept(temp string) string { return strings.TrimSuffix(temp, suffix) + keptSuffix }

// RemoveOrphans removes what killed processes left in dir of files and
// directories that were to be called name, or of all files if name is "".
func RemoveOrphans(dir, name string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		n := e.Name()
		if name == "" && !e.Type().IsRegular() || name != "" && !isTempOf(n, name) {
			continue
		}
		if (e.IsDir() || e.Type().IsRegular()) && strings.HasPrefix(n, ".") && strings.HasSuffix(n, suffix) {
			removeUnlocked(filepath.Join(dir, n))
		}
	}
	return nil
}

// isTempOf reports whether n is .NAME.8HEX.part.
func isTempOf(n, name string) bool {
	mid, ok := strings.CutPrefix(strings.TrimSuffix(n, suffix), "."+name+".")
	return ok && len(mid) == 8 && strings.Trim(mid, "0123456789abcdef") == ""
}

// removeUnlocked removes a file or directory unless a living process holds its
// lock.
func removeUnlocked(path string) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		removeTree(path)
	}
}
