package assemble

import (
	"context"
	"fmt"
	"io"
	"strings"

	"thaw/rootfs"
	"thaw/storepath"
)

// BootFile is a file that a machine needs before it has the root file system.
type BootFile struct {
	root   *Root
	object storepath.Path
	rel    string
}

// String returns the file's path in the store.
func (f *BootFile) String() string { return f.object.String() + "/" + f.rel }

// Kernel finds the kernel of the requested paths: kernel, as in the top level of
// a NixOS system, else bzImage, Image or vmlinux.
func (r *Root) Kernel() (*BootFile, error) {
	return r.bootFile("kernel", "kernel", "bzImage", "Image", "vmlinux")
}

// Initrd finds the initrd of the requested paths: initrd, as in the top level of
// a NixOS system.
func (r *Root) Initrd() (*BootFile, error) { return r.bootFile("initrd", "initrd") }

// File finds a file of the image by its absolute path in the store, through links.
// what is the word for it in errors.
func (r *Root) File(what, path string) (*BootFile, error) {
	object, rel, mode, ok := r.view.Resolve(path)
	if !ok || !mode.IsRegular() {
		return nil, fmt.Errorf("the %s %s is not a file in the closure", what, path)
	}
	return &BootFile{r, object, rel}, nil
}

// NoBootFileError says that no requested path has such a file.
type NoBootFileError struct {
	What  string
	Names []string // what was looked for
}

func (e *NoBootFileError) Error() string {
	return fmt.Sprintf("no requested path has a %s (looked for %s)", e.What, strings.Join(e.Names, ", "))
}

func (r *Root) bootFile(what string, names ...string) (*BootFile, error) {
	for _, name := range names {
		for _, p := range r.plan.Roots() {
			if object, rel, mode, ok := r.view.Resolve(p.String() + "/" + name); ok && mode.IsRegular() {
				return &BootFile{r, object, rel}, nil
			}
		}
	}
	return nil, &NoBootFileError{what, names}
}

// Copy writes the content, verified once more, to w. Where it returns an error,
// what was written is worthless.
func (f *BootFile) Copy(ctx context.Context, w io.Writer) error {
	return f.root.read(ctx, f.object, func(e rootfs.Entry, data io.Reader) error {
		if e.Path != f.rel || data == nil {
			return nil
		}
		_, err := io.Copy(w, data)
		return err
	})
}
