package main

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// placePattern is what temporary directories of the run verb are called.
const placePattern = "thaw-run-*"

// errTaken says that a directory belongs to another process, or to nobody any more.
var errTaken = errors.New("somebody else has it")

// A place is where what is built or decompressed lies.
type place struct {
	dir  string   // "" for none
	lock *os.File // of a temporary one, which is removed
}

// place returns the directory for what is built or decompressed. A temporary one is
// locked while thaw or QEMU runs: those without a lock are of runs that were killed,
// and the next one removes them.
func (o *runOptions) place() (*place, error) {
	switch {
	case o.dir != "":
		return &place{dir: o.dir}, os.MkdirAll(o.dir, 0o777)
	case o.print || o.write:
		return &place{}, nil
	}
	sweepPlaces()
	for {
		dir, err := os.MkdirTemp("", placePattern)
		if err != nil {
			return nil, err
		}
		lock, err := lockPlace(dir)
		if err == nil {
			return &place{dir, lock}, nil
		}
		if err != errTaken { // else one who sweeps was faster
			os.Remove(dir)
			return nil, err
		}
	}
}

// sweepPlaces removes the places of this user that nobody has locked.
func sweepPlaces() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), placePattern))
	for _, dir := range dirs {
		if lock, err := lockPlace(dir); err == nil {
			(&place{dir, lock}).remove()
		}
	}
}

// lockPlace locks a directory of this user.
func lockPlace(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil, errTaken
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	f := os.NewFile(uintptr(fd), dir)
	var own, there unix.Stat_t
	err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = errors.Join(unix.Fstat(fd, &own), unix.Lstat(dir, &there))
	}
	if err != nil || own.Uid != uint32(os.Geteuid()) || own.Dev != there.Dev || own.Ino != there.Ino {
		f.Close()
		return nil, errTaken
	}
	return f, nil
}

// remove removes what is temporary.
func (p *place) remove() {
	if p.lock != nil {
		os.RemoveAll(p.dir)
		p.lock.Close()
	}
}

// needsDir says that a directory has to be given.
func (o *runOptions) needsDir(what string) error {
	option := "--print"
	if o.write {
		option = "--write"
	}
	return usage("say where, with --dir DIR", "%s, and with %s that must stay", what, option)
}
