package rootfstest

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"thaw/rootfs"
)

// Walk reads a real directory into nodes: what a format's tool has unpacked or
// mounted there. It goes by directory descriptors, so paths may be of any
// length. The owner of files that he may not read is given the right to.
func Walk(dir string) ([]Node, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close()
	w := walker{}
	if err := w.node(f, ".", "."); err != nil {
		return nil, err
	}
	return w.nodes, w.children(f, ".")
}

type walker struct{ nodes []Node }

// children reads what is in the directory f, which has the given path.
func (w *walker) children(f *os.File, path string) error {
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		child := name
		if path != "." {
			child = path + "/" + name
		}
		if err := w.node(f, name, child); err != nil {
			return fmt.Errorf("%.300q: %w", child, err)
		}
		mode := w.nodes[len(w.nodes)-1].Mode
		if !mode.IsDir() {
			continue
		}
		sub, err := openAt(f, name, mode)
		if err != nil {
			return err
		}
		err = w.children(sub, child)
		sub.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// node reads one entry of the directory parent.
func (w *walker) node(parent *os.File, name, path string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(parent.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	n := Node{Entry: rootfs.Entry{
		Path: path, Mode: FileMode(st.Mode), UID: st.Uid, GID: st.Gid,
		ModTime: time.Unix(int64(st.Mtim.Sec), int64(st.Mtim.Nsec)),
	}}
	var err error
	switch n.Kind() {
	case 0:
		n.Size = st.Size
		if st.Nlink > 1 {
			n.Inode = st.Ino
		}
		f, err := openAt(parent, name, n.Mode)
		if err != nil {
			return err
		}
		defer f.Close()
		if n.SHA256, _, err = Digest(f); err != nil {
			return err
		}
	case fs.ModeSymlink:
		buf := make([]byte, rootfs.MaxTarget+1)
		size, err := unix.Readlinkat(int(parent.Fd()), name, buf)
		if err != nil {
			return err
		}
		n.Target = string(buf[:size])
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		n.Dev = st.Rdev
	}
	n.Xattrs, err = xattrs(fmt.Sprintf("/proc/self/fd/%d/%s", parent.Fd(), name))
	w.nodes = append(w.nodes, n)
	return err
}

// openAt opens an entry of parent, first taking the rights to it that its owner
// may lack. If that is not allowed, opening it tells. A file, which may be walked
// again under another name, has them until it is open.
func openAt(parent *os.File, name string, mode fs.FileMode) (*os.File, error) {
	chmod := func(mode fs.FileMode) {
		e := rootfs.Entry{Mode: mode}
		unix.Fchmodat(int(parent.Fd()), name, e.UnixMode()&0o7777, 0)
	}
	if mode.IsDir() && mode&0o500 != 0o500 {
		chmod(0o700)
	}
	fd, err := unix.Openat(int(parent.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.EACCES && mode.IsRegular() {
		chmod(0o700)
		defer chmod(mode)
		fd, err = unix.Openat(int(parent.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// FileMode is the mode of a [Node] whose mode is told as stat(2) does: the
// inverse of [rootfs.Entry.UnixMode].
func FileMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	for bit, to := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if mode&bit != 0 {
			m |= to
		}
	}
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return m
	case unix.S_IFDIR:
		return m | fs.ModeDir
	case unix.S_IFLNK:
		return m | fs.ModeSymlink
	case unix.S_IFIFO:
		return m | fs.ModeNamedPipe
	case unix.S_IFBLK:
		return m | fs.ModeDevice
	case unix.S_IFCHR:
		return m | fs.ModeDevice | fs.ModeCharDevice
	}
	return m | fs.ModeIrregular
}

// xattrs reads the extended attributes of path itself, sorted.
func xattrs(path string) ([]rootfs.Xattr, error) {
	buf := make([]byte, rootfs.MaxXattrValue) // also XATTR_LIST_MAX
	size, err := unix.Llistxattr(path, buf)
	if err == unix.ENOTSUP || size == 0 && err == nil {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	names := strings.Split(strings.TrimSuffix(string(buf[:size]), "\x00"), "\x00")
	slices.Sort(names)
	var all []rootfs.Xattr
	for _, name := range names {
		size, err := unix.Lgetxattr(path, name, buf)
		if err != nil {
			return nil, err
		}
		all = append(all, rootfs.Xattr{Name: name, Value: slices.Clone(buf[:size])})
	}
	return all, nil
}
