package dir

import (
	"fmt"
	"io/fs"
	"math"

	"golang.org/x/sys/unix"

	"thaw/rootfs"
)

// expressible checks what system calls would take for something else.
func (w *Writer) expressible(e *rootfs.Entry) error {
	if w.options.Owners == KeepOwners && max(e.UID, e.GID) == math.MaxUint32 {
		return &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf("owner %d means none to Linux", uint32(math.MaxUint32))}
	}
	// mknod takes 12 bits of major number and 20 of minor, and drops others.
	if e.Dev > math.MaxUint32 {
		return &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf("device %d,%d is beyond Linux's 4095,1048575", rootfs.Major(e.Dev), rootfs.Minor(e.Dev))}
	}
	return nil
}

// permissions are the bits of e's mode that chmod takes.
func permissions(e *rootfs.Entry) uint32 { return e.UnixMode() &^ unix.S_IFMT }

// The order below: giving a file away takes its setuid bits and capabilities
// from it, and extended attributes may need the right to write, so owner, then
// attributes, then mode; and the time last.

// finishFile sets the metadata of an open regular file.
func (w *Writer) finishFile(fd int, e *rootfs.Entry, at place) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fail("stat", e.Path, err)
	}
	given := w.gives(e, &st)
	if given {
		if err := unix.Fchown(fd, int(e.UID), int(e.GID)); err != nil {
			return fail(chownTo(e), e.Path, err)
		}
	}
	for _, x := range e.Xattrs {
		if err := unix.Fsetxattr(fd, x.Name, x.Value, 0); err != nil {
			return failXattr(x.Name, e.Path, err)
		}
	}
	if mode := permissions(e); given || mode != st.Mode&^unix.S_IFMT {
		if err := unix.Fchmod(fd, mode); err != nil {
			return fail("chmod", e.Path, err)
		}
	}
	return setTime(e, at)
}

// finish sets the metadata of a link, pipe or device.
func (w *Writer) finish(e *rootfs.Entry, at place) error {
	var st unix.Stat_t
	if err := unix.Fstatat(at.dir, at.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fail("stat", e.Path, err)
	}
	given := w.gives(e, &st)
	if given {
		if err := unix.Fchownat(at.dir, at.name, int(e.UID), int(e.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fail(chownTo(e), e.Path, err)
		}
	}
	if err := setXattrs(e, at); err != nil {
		return err
	}
	if mode := permissions(e); (given || mode != st.Mode&^unix.S_IFMT) && e.Kind() != fs.ModeSymlink {
		// To open it might have effects. Nobody else can have put a link
		// in its place: the directory is still this user's alone.
		if err := unix.Fchmodat(at.dir, at.name, mode, 0); err != nil {
			return fail("chmod", e.Path, err)
		}
	}
	return setTime(e, at)
}

// finishDir sets the metadata of a directory that gets no more children.
func (w *Writer) finishDir(e *rootfs.Entry) error {
	at, err := w.open.place(e.Path)
	if err != nil {
		return err
	}
	fd, err := openAt(at.dir, at.name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return fail("open", e.Path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fail("stat", e.Path, err)
	}
	if w.gives(e, &st) {
		if err := unix.Fchown(fd, int(e.UID), int(e.GID)); err != nil {
			return fail(chownTo(e), e.Path, err)
		}
	}
	if err := unix.Fchmod(fd, permissions(e)); err != nil {
		return fail("chmod", e.Path, err)
	}
	return setTime(e, at)
}

// gives reports whether e is to have another owner than st says.
func (w *Writer) gives(e *rootfs.Entry, st *unix.Stat_t) bool {
	return w.options.Owners == KeepOwners && (st.Uid != e.UID || st.Gid != e.GID)
}

func chownTo(e *rootfs.Entry) string { return fmt.Sprintf("chown to %d:%d", e.UID, e.GID) }

// setXattrs sets extended attributes by the entry's name, for what cannot be
// opened.
func setXattrs(e *rootfs.Entry, at place) error {
	for _, x := range e.Xattrs {
		// There is no setxattrat before Linux 6.13.
		name := fmt.Sprintf("/proc/self/fd/%d/%s", at.dir, at.name)
		if err := unix.Lsetxattr(name, x.Name, x.Value, 0); err != nil {
			return failXattr(x.Name, e.Path, err)
		}
	}
	return nil
}

// failXattr is fail for an attribute that cannot be set: nearly always, even if
// there is "no space", because the file system has no room for such a one.
func failXattr(name, path string, err error) error {
	op := fmt.Sprintf("extended attribute %q", name)
	if err == unix.ENOSPC {
		return &rootfs.EntryError{Path: path, Reason: fmt.Sprintf("%s: %v", op, err)}
	}
	return fail(op, path, err)
}

// setTime sets the time of the last change.
func setTime(e *rootfs.Entry, at place) error {
	ts, err := unix.TimeToTimespec(e.ModTime)
	if err == nil {
		err = unix.UtimesNanoAt(at.dir, at.name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return fail("set time", e.Path, err)
	}
	if sec := e.ModTime.Unix(); sec >= 0 && sec <= math.MaxInt32 {
		return nil // every file system has these
	}
	// The kernel puts the nearest time the file system can keep for others.
	var st unix.Stat_t
	if err := unix.Fstatat(at.dir, at.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fail("stat", e.Path, err)
	}
	if st.Mtim.Sec != ts.Sec {
		return &rootfs.EntryError{Path: e.Path, Reason: fmt.Sprintf("the file system cannot hold the time %v", e.ModTime.UTC())}
	}
	return nil
}
