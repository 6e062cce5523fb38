package device

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Errors of [Open].
var (
	ErrBusy       = errors.New("the kernel or another program uses it")
	ErrPermission = errors.New("no right to write to it")
	ErrReadOnly   = errors.New("it is read-only")
)

// A File is a block device that is open for writing, and that nobody else can mount or
// claim meanwhile. It goes past the page cache where the device allows that: what is
// written is on its way to the device, and what is read comes from there.
type File struct {
	f      *os.File
	size   int64
	sector int64
	direct bool
}

var _ Target = (*File)(nil)

// Open claims a device that [Host.Find] found.
func Open(d *Device) (*File, error) {
	fail := func(err error) (*File, error) { return nil, fmt.Errorf("%s: %w", d.Path, err) }
	const flags = unix.O_RDWR | unix.O_EXCL | unix.O_CLOEXEC
	direct := true
	fd, err := unix.Open(d.Path, flags|unix.O_DIRECT, 0)
	if err == unix.EINVAL {
		direct = false
		fd, err = unix.Open(d.Path, flags|unix.O_DSYNC, 0)
	}
	switch err {
	case nil:
	case unix.EBUSY:
		return fail(ErrBusy)
	case unix.EACCES, unix.EPERM:
		return fail(ErrPermission)
	case unix.EROFS:
		return fail(ErrReadOnly)
	case unix.ENOMEDIUM:
		return fail(errors.New("there is no medium in it"))
	default:
		return fail(err)
	}
	f := &File{f: os.NewFile(uintptr(fd), d.Path), direct: direct}
	if err := f.claim(d); err != nil {
		f.f.Close()
		return fail(err)
	}
	return f, nil
}

// claim finds out what is open, and keeps udev from looking into it.
func (f *File) claim(d *Device) error {
	fd := int(f.f.Fd())
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return ErrNotBlock
	}
	if d.Number != fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)) {
		return errors.New("it has just become another device")
	}
	switch err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err {
	case nil:
	case unix.EWOULDBLOCK:
		return ErrBusy
	default:
		return err
	}
	if ro, err := unix.IoctlGetInt(fd, unix.BLKROGET); err != nil {
		return err
	} else if ro != 0 {
		return ErrReadOnly
	}
	if err := ioctl(fd, unix.BLKGETSIZE64, unsafe.Pointer(&f.size)); err != nil {
		return err
	}
	sector, err := unix.IoctlGetInt(fd, unix.BLKSSZGET)
	f.sector = int64(max(sector, 512))
	return err
}

func ioctl(fd int, request uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// Size implements [Target].
func (f *File) Size() int64 { return f.size }

// Sector implements [Target].
func (f *File) Sector() int64 { return f.sector }

// Close lets go of the device.
func (f *File) Close() error { return f.f.Close() }

// alignment is what all devices are content with for memory.
const alignment = 4096

// buffer returns aligned memory.
func buffer(n int64) []byte {
	b := make([]byte, n+alignment)
	return b[-uintptr(unsafe.Pointer(&b[0]))&(alignment-1):][:n]
}

// ready tells whether the kernel takes p for input and output past the page cache.
func (f *File) ready(p []byte, off int64) bool {
	return !f.direct || len(p) > 0 && uintptr(unsafe.Pointer(&p[0]))%alignment == 0 && int64(len(p))%f.sector == 0 && off%f.sector == 0
}

// ReadAt implements [io.ReaderAt].
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if f.ready(p, off) || off < 0 || off >= f.size {
		return f.f.ReadAt(p, off)
	}
	start := off / f.sector * f.sector
	end := min((off+int64(len(p))+f.sector-1)/f.sector*f.sector, f.size)
	b := buffer(end - start)
	n, err := f.f.ReadAt(b, start)
	if int64(n) <= off-start {
		return 0, err
	}
	n = copy(p, b[off-start:n])
	if n == len(p) {
		err = nil
	} else if err == nil {
		err = io.EOF
	}
	return n, err
}

// WriteAt implements [io.WriterAt] for whole sectors.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if !f.ready(p, off) {
		b := buffer(int64(len(p)))
		copy(b, p)
		p = b
	}
	return f.f.WriteAt(p, off)
}

// blkZeroOut is the BLKZEROOUT of Linux, which x/sys does not have: the thirtieth after
// BLKFLSBUF on all architectures.
const blkZeroOut = unix.BLKFLSBUF + 0x7f - 0x61

// Zero implements [Target]. The kernel makes the device do it, or writes zeros itself.
func (f *File) Zero(off, n int64) error {
	span := [2]uint64{uint64(off), uint64(n)}
	err := ioctl(int(f.f.Fd()), blkZeroOut, unsafe.Pointer(&span))
	if err != unix.ENOTTY && err != unix.EINVAL && err != unix.EOPNOTSUPP {
		return err
	}
	zeros := buffer(min(n, 1<<20))
	for n > 0 {
		k, err := f.f.WriteAt(zeros[:min(n, int64(len(zeros)))], off)
		if err != nil {
			return err
		}
		off, n = off+int64(k), n-int64(k)
	}
	return nil
}

// Flush implements [Target].
func (f *File) Flush() error {
	if err := f.f.Sync(); err != nil {
		return err
	}
	// Where it is read through the page cache, nothing may be left in there.
	fd := int(f.f.Fd())
	if err := unix.IoctlSetInt(fd, unix.BLKFLSBUF, 0); err != nil && !f.direct {
		return err
	}
	unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
	return nil
}

// Reread has the kernel read the partition table anew. It reports false if it does not:
// the device has to be plugged in again then.
func (f *File) Reread() bool {
	err := unix.IoctlSetInt(int(f.f.Fd()), unix.BLKRRPART, 0)
	return err == nil || err == unix.EINVAL // a device that has no partitions
}
