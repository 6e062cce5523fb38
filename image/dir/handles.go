package dir

import (
	"container/list"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"thaw/rootfs"
)

// maxOpen is how many directories are open at once, besides the root. The last
// two to be asked for are always among them.
const maxOpen = 128

// place is where an entry is made: a name in an open directory.
type place struct {
	dir  int // a descriptor, good until two more places are asked for
	name string
}

// handles keeps the directories that were last used open.
type handles struct {
	root   *os.File
	rootFD int
	byPath map[string]*list.Element // of handle
	order  *list.List               // last used first
}

type handle struct {
	path string
	fd   int
}

func newHandles(root *os.File) handles {
	return handles{root: root, rootFD: int(root.Fd()), byPath: map[string]*list.Element{}, order: list.New()}
}

// place finds the parent directory of path. The root is "." in itself.
func (h *handles) place(path string) (place, error) {
	dir, name := rootfs.Split(path)
	fd, err := h.dir(dir)
	return place{fd, name}, err
}

// dir opens the directory at path, from the nearest parent that is open.
func (h *handles) dir(path string) (int, error) {
	if path == "." {
		return h.rootFD, nil
	}
	if el, ok := h.byPath[path]; ok {
		h.order.MoveToFront(el)
		return el.Value.(handle).fd, nil
	}
	from, rest := h.nearest(path)
	fd := from
	for more := true; more; {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		next, err := openAt(fd, name, unix.O_PATH|unix.O_DIRECTORY, 0)
		if fd != from {
			unix.Close(fd)
		}
		if err != nil {
			return -1, fail("open", path, err)
		}
		fd = next
	}
	h.byPath[path] = h.order.PushFront(handle{path, fd})
	if h.order.Len() > maxOpen {
		old := h.order.Remove(h.order.Back()).(handle)
		delete(h.byPath, old.path)
		unix.Close(old.fd)
	}
	return fd, nil
}

// nearest finds the last open directory on the way to path, and the rest of it.
func (h *handles) nearest(path string) (fd int, rest string) {
	for i := len(path); ; {
		if i = strings.LastIndexByte(path[:i], '/'); i < 0 {
			return h.rootFD, path
		}
		if el, ok := h.byPath[path[:i]]; ok {
			return el.Value.(handle).fd, path[i+1:]
		}
	}
}

func (h *handles) close() {
	for el := h.order.Front(); el != nil; el = el.Next() {
		unix.Close(el.Value.(handle).fd)
	}
	h.order.Init()
	clear(h.byPath)
	h.root.Close()
}

// openAt opens name in the directory dir, and never what a link points to.
func openAt(dir int, name string, flags int, perm uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, perm)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
