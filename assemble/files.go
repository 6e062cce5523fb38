package assemble

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"thaw/narinfo"
	"thaw/rootfs"
	"thaw/storepath"
	"thaw/substituter"
)

// Files finds files in the closure of a plan and in what is aside of it, without
// building anything: kernels, boot loaders, firmware. It keeps a list of the entries
// of each object that it had to look into.
type Files struct {
	plan    *Plan
	from    substituter.Substituter
	listing map[storepath.Path]map[string]rootfs.Entry
}

// NewFiles makes a Files that reads objects from s.
func NewFiles(s substituter.Substituter, p *Plan) *Files {
	return &Files{p, s, map[storepath.Path]map[string]rootfs.Entry{}}
}

// A Place is where a file or directory is.
type Place struct {
	Object *narinfo.Info
	Path   string // in the object; "." for the object itself
	Mode   fs.FileMode
}

// String returns the absolute path of the place.
func (p *Place) String() string {
	return strings.TrimSuffix(p.Object.StorePath.String()+"/"+p.Path, "/.")
}

// NotThereError says that there is no file or directory at a path in the store.
type NotThereError struct{ Path, Reason string }

func (e *NotThereError) Error() string { return e.Path + " is not there: " + e.Reason }

// maxHops is how many links a path may lead through: what Linux follows.
const maxHops = 40

// Find follows an absolute path in the store, through links.
func (f *Files) Find(ctx context.Context, name string) (*Place, error) {
	at := path.Clean(name)
	for range maxHops {
		info := f.plan.Holder(at)
		if info == nil {
			return nil, &NotThereError{name, "it leads to " + at + ", which is not in the closure"}
		}
		list, err := f.list(ctx, info)
		if err != nil {
			return nil, err
		}
		_, rest, _ := strings.Cut(strings.TrimPrefix(at, storepath.Dir+"/"), "/")
		e, next, ok := follow(list, rest)
		switch {
		case !ok:
			return nil, &NotThereError{name, "there is no such file in " + info.StorePath.Base()}
		case next == "":
			return &Place{info, e.Path, e.Mode}, nil
		case path.IsAbs(next):
			at = path.Clean(next)
		default:
			at = path.Join(info.StorePath.String(), next)
		}
	}
	return nil, &NotThereError{name, "it leads through too many links"}
}

// follow goes along a path in an object up to a link. next is then where it leads,
// from the object on if it is relative.
func follow(list map[string]rootfs.Entry, rest string) (e rootfs.Entry, next string, ok bool) {
	at, names := ".", strings.Split(rest, "/")
	if rest == "" {
		names = nil
	}
	for i := 0; ; i++ {
		e, ok = list[at]
		if !ok {
			return e, "", false
		}
		left := strings.Join(names[i:], "/")
		if e.Kind() == fs.ModeSymlink {
			if path.IsAbs(e.Target) {
				return e, path.Join(e.Target, left), true
			}
			return e, path.Join(path.Dir(at), e.Target, left), true
		}
		if i == len(names) {
			return e, "", true
		}
		at = path.Join(at, names[i])
	}
}

// list returns the entries of an object by path.
func (f *Files) list(ctx context.Context, info *narinfo.Info) (map[string]rootfs.Entry, error) {
	if list := f.listing[info.StorePath]; list != nil {
		return list, nil
	}
	list := map[string]rootfs.Entry{}
	err := ReadObject(ctx, f.from, info, func(e rootfs.Entry, _ io.Reader) error {
		list[e.Path] = e
		return nil
	})
	if err == nil {
		f.listing[info.StorePath] = list
	}
	return list, err
}

// Walk calls visit for a file, or for all entries of a directory, parents first. Paths
// of entries are relative to it, and its own is ".". What is said of visit at
// [ReadObject] holds here.
func (f *Files) Walk(ctx context.Context, p *Place, visit func(e rootfs.Entry, data io.Reader) error) error {
	return ReadObject(ctx, f.from, p.Object, func(e rootfs.Entry, data io.Reader) error {
		switch {
		case p.Path == ".":
		case e.Path == p.Path:
			e.Path = "."
		case strings.HasPrefix(e.Path, p.Path+"/"):
			e.Path = e.Path[len(p.Path)+1:]
		default:
			return nil
		}
		return visit(e, data)
	})
}

// Copy writes the content of a file to w. Where it returns an error, what was written
// is worthless.
func (f *Files) Copy(ctx context.Context, p *Place, w io.Writer) error {
	return f.Walk(ctx, p, func(_ rootfs.Entry, data io.Reader) error {
		if data == nil {
			return fmt.Errorf("%s is not a file", p)
		}
		_, err := io.Copy(w, data)
		return err
	})
}

// Kernel finds the kernel of the packages: kernel, as in the top level of a NixOS
// system, else bzImage, Image or vmlinux.
func (f *Files) Kernel(ctx context.Context) (*Place, error) {
	return f.first(ctx, "kernel", "kernel", "bzImage", "Image", "vmlinux")
}

// Initrd finds the initrd of the packages: initrd, as in the top level of a NixOS
// system.
func (f *Files) Initrd(ctx context.Context) (*Place, error) { return f.first(ctx, "initrd", "initrd") }

// NoBootFileError says that no package has such a file.
type NoBootFileError struct {
	What  string
	Names []string // what was looked for
}

func (e *NoBootFileError) Error() string {
	return fmt.Sprintf("no requested path has a %s (looked for %s)", e.What, strings.Join(e.Names, ", "))
}

func (f *Files) first(ctx context.Context, what string, names ...string) (*Place, error) {
	for _, name := range names {
		for _, root := range f.plan.Roots() {
			p, err := f.Find(ctx, root.String()+"/"+name)
			if _, absent := err.(*NotThereError); absent || err == nil && !p.Mode.IsRegular() {
				continue
			}
			return p, err
		}
	}
	return nil, &NoBootFileError{what, names}
}
