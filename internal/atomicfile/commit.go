package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A Part is a [File] or a [Dir].
type Part interface {
	// place returns where it is, and where it shall be.
	place() (temp, target string)
	// mayReplace holds that it may replace what is at its target.
	mayReplace() error
	// end comes when it is at its target, or not to come there any more.
	end() error
	Abort()
}

// LeftError says that all parts are at their targets, and that something they replaced
// could not be removed, and where it is.
type LeftError struct{ Err error }

func (e *LeftError) Error() string { return e.Err.Error() }
func (e *LeftError) Unwrap() error { return e.Err }

// CommitAll commits all parts, or none: where one cannot be, those before it are taken
// back, and what they replaced is there again. It ends all parts in any case. An error
// that is a [LeftError] comes of parts that are all committed.
func CommitAll(parts ...Part) (err error) {
	if len(parts) == 1 {
		if f, ok := parts[0].(*File); ok { // every file system can do that
			return f.Commit()
		}
	}
	old := make([]string, len(parts)) // where what was replaced is, "" for nothing
	for i, p := range parts {
		temp, target := p.place()
		if err = p.mayReplace(); err == nil {
			if old[i], err = swap(temp, target); err == nil {
				continue
			}
			err = &fs.PathError{Op: "create", Path: target, Err: err}
		}
		err = errors.Join(err, takeBack(parts[:i], old))
		for _, p := range parts {
			p.Abort()
		}
		return err
	}
	var left []error
	for i, p := range parts {
		if old[i] != "" {
			if err := removeTree(old[i]); err != nil {
				_, target := p.place()
				left = append(left, fmt.Errorf("%s is written, but what was there before is left in %s: %w", target, old[i], err))
			}
		}
		err = errors.Join(err, p.end())
	}
	if left != nil && err == nil {
		return &LeftError{errors.Join(left...)}
	}
	return errors.Join(append(left, err)...)
}

// takeBack undoes swaps.
func takeBack(parts []Part, old []string) error {
	var stay []string
	for i, p := range parts {
		temp, target := p.place()
		var err error
		switch old[i] {
		case "":
			err = unix.Rename(target, temp)
		case temp:
			err = exchange(temp, target)
		default:
			if err = unix.Rename(target, temp); err == nil {
				err = unix.Rename(old[i], target)
			}
		}
		if err != nil {
			p.end()
			if was := old[i]; was != "" {
				if was == temp && unix.Rename(temp, kept(temp)) == nil { // not an orphan
					was = kept(temp)
				}
				target += " (what was there before is in " + was + ")"
			}
			stay = append(stay, target)
		}
	}
	if stay != nil {
		return fmt.Errorf("already written: %s", strings.Join(stay, ", "))
	}
	return nil
}

// swap renames temp to target, and returns where what was there is now, "" for nothing.
func swap(temp, target string) (old string, err error) {
	if _, err := os.Lstat(target); errors.Is(err, fs.ErrNotExist) {
		return "", unix.Rename(temp, target)
	}
	err = exchange(temp, target)
	if err == nil {
		return temp, nil
	}
	if err != unix.EINVAL && err != unix.ENOSYS {
		return "", err
	}
	return makeWay(temp, target)
}

// makeWay is swap for what is there, on file systems that exchange nothing.
func makeWay(temp, target string) (old string, err error) {
	old = kept(tempName(filepath.Split(target)))
	if err := unix.Rename(target, old); err != nil {
		return "", err
	}
	if err := unix.Rename(temp, target); err != nil {
		if unix.Rename(old, target) != nil {
			return "", fmt.Errorf("%w, and what was there before is now in %s", err, old)
		}
		return "", err
	}
	return old, nil
}

func exchange(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}
