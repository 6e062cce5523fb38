// Package atomicfile writes files that appear whole or not at all.
//
// Until it is committed a file is named .NAME.RANDOM.part and lies in the
// directory of its target, under an advisory lock that ends with the process.
// What a killed process left can so be told from what a living one is writing,
// and the next writer of the same name removes it.
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

const suffix = ".part"

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
		temp := filepath.Join(dir, fmt.Sprintf(".%s.%08x%s", name, rand.Uint32(), suffix))
		f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "create", Path: filepath.Join(dir, name), Err: errors.Unwrap(err)}
		}
		// A file system without locks costs only the removal of orphans.
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
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

// Abort closes and removes the file; after Commit it does nothing.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	os.Remove(f.Name())
	f.Close()
}

// RemoveOrphans removes what killed processes left in dir of files that were to
// be called name, or of all files if name is "".
func RemoveOrphans(dir, name string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if n := e.Name(); e.Type().IsRegular() && strings.HasPrefix(n, ".") && strings.HasSuffix(n, suffix) && (name == "" || isTempOf(n, name)) {
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

// removeUnlocked removes a file unless a living process holds its lock.
func removeUnlocked(path string) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		os.Remove(path)
	}
}
