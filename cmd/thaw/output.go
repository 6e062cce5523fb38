package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/term"

	"thaw/assemble"
	"thaw/image/dir"
	"thaw/image/disk"
	"thaw/image/ext4"
	"thaw/image/tarball"
	"thaw/internal/atomicfile"
	"thaw/rootfs"
)

// output is what a build shall write.
type output struct {
	path   string // "-" for standard output
	format string
	label  string
	uuid   [16]byte // zero: derived
	fixed  int64    // bytes; 0 for a size that fits
	free   int64    // bytes to leave free in a size that fits
}

// foreign are the endings of names of other formats: a disk called so would be
// taken for one.
var foreign = []string{".qcow2", ".vmdk", ".vdi", ".vhd", ".vhdx", ".iso", ".squashfs", ".sqfs", ".erofs", ".cpio", ".gz", ".xz", ".zst", ".bz2", ".zip", ".tgz"}

// check reads the options that say what to write.
func (o *buildOptions) check(stdout *results) (*output, error) {
	out := &output{path: o.output, format: o.format, label: o.label}
	if out.path == "" {
		return nil, usage("for example -o image.img", "build needs -o FILE")
	}
	if out.path != "-" {
		out.path = filepath.Clean(out.path)
	}
	if out.path == "." || out.path == ".." || out.path == "/" {
		return nil, usage("give it a name", "the output cannot be %s", o.output)
	}
	if out.format == "" {
		switch ext := filepath.Ext(out.path); {
		case ext == ".ext4":
			out.format = "ext4"
		case ext == ".tar":
			out.format = "tar"
		case slices.Contains(foreign, ext):
			return nil, usage("name it .img, or give --format; qemu-img convert and compressors make others of it", "thaw does not write %s files", ext)
		default:
			out.format = "disk"
		}
	}
	filesystem := false
	switch out.format {
	case "disk", "ext4":
		filesystem = true
	case "tar", "dir":
	default:
		return nil, usage("the formats are disk, ext4, tar and dir", "unknown format %q", out.format)
	}
	if f, ok := stdout.w.(*os.File); out.path == "-" && ok && term.IsTerminal(int(f.Fd())) {
		return nil, usage("send it into a pipe or a file", "an archive does not go to a terminal")
	}
	if out.path == "-" && out.format != "tar" {
		return nil, usage("give -o FILE, or --format tar", "only a tar archive can go to standard output")
	}
	if !filesystem && (o.size != "fit" || o.label != "" || o.uuid != "") {
		return nil, usage("leave them out, or choose disk or ext4", "--size, --label and --uuid are for file systems, not for %s", out.format)
	}
	if out.label == "" {
		out.label = "nixos"
	}
	if len(out.label) > 16 {
		return nil, usage("ext4 has room for 16 bytes", "the label %q is too long", out.label)
	}
	var err error
	if out.fixed, out.free, err = parseSize(o.size); err != nil {
		return nil, err
	}
	if o.uuid != "" {
		if out.uuid, err = parseUUID(o.uuid); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// parseSize reads fit, fit+SIZE or SIZE.
func parseSize(s string) (fixed, free int64, err error) {
	text, fit := strings.CutPrefix(s, "fit")
	if fit && text == "" {
		return 0, 0, nil
	}
	if fit {
		var plus bool
		if text, plus = strings.CutPrefix(text, "+"); !plus {
			text = "?"
		}
	}
	n, err := parseBytes(text)
	if err != nil {
		return 0, 0, usage("write fit, fit+256M or 2G; K, M, G and T are powers of 1024", "--size %s is not a size", s)
	}
	if fit {
		return 0, n, nil
	}
	return n, 0, nil
}

// parseBytes reads a number of bytes, at least 1, that may end in K, M, G or T.
func parseBytes(s string) (int64, error) {
	unit := int64(1)
	if n := len(s); n > 0 {
		if i := strings.IndexByte("KMGT", s[n-1]); i >= 0 {
			unit, s = 1<<(10*(i+1)), s[:n-1]
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err == nil && (n <= 0 || n > 1<<60/unit) {
		err = strconv.ErrRange
	}
	return n * unit, err
}

func parseUUID(s string) (id [16]byte, err error) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != 16 || len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' || [16]byte(b) == [16]byte{} {
		return id, usage("", "--uuid %s is not a UUID, like 6f2c2ac4-3b1e-4d0c-9a53-0b9c7c1f6f10", s)
	}
	return [16]byte(b), nil
}

// ready refuses, before anything is fetched, outputs that cannot be written: the
// image, and the files beside it.
func (o *output) ready(beside ...string) error {
	seen := map[string]bool{filepath.Clean(o.path): true}
	for _, file := range beside {
		if file == "" {
			continue
		}
		if file == "-" {
			return usage("give it a name", "boot files do not go to standard output")
		}
		if seen[filepath.Clean(file)] {
			return usage("give each its own name", "%s would be written twice", file)
		}
		seen[filepath.Clean(file)] = true
		if err := (&output{path: file}).ready(); err != nil {
			return err
		}
	}
	if o.path == "-" && o.format != "" {
		return nil
	}
	st, err := os.Lstat(o.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if parent, err := os.Stat(filepath.Dir(o.path)); err != nil || !parent.IsDir() {
			return usage("make it first", "there is no directory %s", filepath.Dir(o.path))
		}
		return nil
	case err != nil:
		return err
	case o.format == "dir" && !st.IsDir():
		return usage("give the name of a new directory", "%s is there, and is not a directory", o.path)
	case o.format == "dir":
		if list, err := os.ReadDir(o.path); err != nil {
			return err
		} else if len(list) > 0 {
			return usage("give the name of a new directory", "the directory %s is not empty", o.path)
		}
	case !st.Mode().IsRegular():
		return usage("give the name of a file", "%s is not a regular file", o.path)
	}
	return nil
}

// image is an output that is being written.
type image struct {
	sink   rootfs.Sink
	finish func(ctx context.Context) (*result, error) // ends the writing
	commit func() error                               // makes it appear
	abort  func()                                     // removes it; does nothing after commit
}

// create starts writing.
func (o *output) create(p *assemble.Plan, stdout io.Writer) (*image, error) {
	switch {
	case o.format == "dir":
		return o.createDir()
	case o.path == "-":
		return o.stream(stdout), nil
	}
	f, err := atomicfile.Create(o.path, 0o666)
	if err != nil {
		return nil, err
	}
	img := &image{commit: f.Commit, abort: f.Abort}
	var close func() (size int64, err error)
	switch o.format {
	case "tar":
		w := tarball.NewWriter(f)
		img.sink = w
		close = func() (int64, error) {
			if err := w.Close(); err != nil {
				return 0, err
			}
			return f.Seek(0, io.SeekCurrent)
		}
	case "ext4":
		img.sink, close, err = o.ext4(f, p, o.fixed)
	case "disk":
		img.sink, close, err = o.disk(f, p)
	}
	if err != nil {
		f.Abort()
		return nil, err
	}
	img.finish = func(ctx context.Context) (*result, error) {
		size, err := close()
		if err != nil {
			return nil, err
		}
		if err := f.Truncate(size); err != nil {
			return nil, err
		}
		digest, err := digestFile(ctx, f.File)
		if err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		return &result{o.path, size, digest, o.format}, nil
	}
	return img, nil
}

// ext4 writes a file system into w.
func (o *output) ext4(w io.WriterAt, p *assemble.Plan, size int64) (rootfs.Sink, func() (int64, error), error) {
	opt := ext4.Options{UUID: o.uuid, HashSeed: p.ID("root/ext4/hash-seed"), Label: o.label, Time: p.Time.Unix(), Size: size, Free: o.free}
	if o.free > 0 {
		opt.Capacity = max(ext4.DefaultCapacity, 2*o.free)
	}
	if opt.UUID == [16]byte{} {
		opt.UUID = p.ID("root/ext4/uuid")
	}
	fs, err := ext4.NewWriter(w, opt)
	if err != nil {
		return nil, nil, err
	}
	return fs, func() (int64, error) {
		err := fs.Close()
		return fs.Size(), err
	}, nil
}

// disk writes a partition table and one partition with a file system.
func (o *output) disk(w io.WriterAt, p *assemble.Plan) (rootfs.Sink, func() (int64, error), error) {
	if o.fixed%512 != 0 {
		return nil, nil, usage("", "--size %d of a disk is not a multiple of 512", o.fixed)
	}
	d, err := disk.NewWriter(w, disk.Options{GUID: disk.MakeGUID(p.ID("disk/guid")), Size: o.fixed})
	if err != nil {
		return nil, nil, err
	}
	part, err := d.Add(disk.Partition{Type: disk.TypeLinux, GUID: disk.MakeGUID(p.ID("root/partition-guid")), Name: o.label})
	if err != nil {
		return nil, nil, err
	}
	size := int64(0)
	if o.fixed > 0 {
		size = part.Size()
	}
	sink, closeFS, err := o.ext4(part, p, size)
	if err != nil {
		return nil, nil, err
	}
	return sink, func() (int64, error) {
		n, err := closeFS()
		if err == nil {
			err = part.End(n)
		}
		if err == nil {
			err = d.Close()
		}
		return d.Size(), err
	}, nil
}

// stream writes a tar archive to standard output.
func (o *output) stream(stdout io.Writer) *image {
	c := &counting{w: stdout, sum: sha256.New()}
	w := tarball.NewWriter(c)
	return &image{
		sink: w,
		finish: func(context.Context) (*result, error) {
			if err := w.Close(); err != nil {
				return nil, err
			}
			return &result{o.path, c.n, digest(c.sum), o.format}, nil
		},
		commit: func() error { return nil },
		abort:  func() {},
	}
}

// counting counts and hashes what is written.
type counting struct {
	w   io.Writer
	n   int64
	sum hash.Hash
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.sum.Write(p[:n])
	return n, err
}

// createDir writes a directory beside its place.
func (o *output) createDir() (*image, error) {
	d, err := atomicfile.CreateDir(o.path)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(d.Path)
	if err != nil {
		d.Abort()
		return nil, err
	}
	owners := dir.IgnoreOwners
	if os.Geteuid() == 0 {
		owners = dir.KeepOwners
	}
	w, err := dir.NewWriter(root, dir.Options{Owners: owners})
	if err != nil {
		root.Close()
		d.Abort()
		return nil, err
	}
	m := &manifest{next: w, sum: sha256.New()}
	return &image{
		sink: m,
		finish: func(context.Context) (*result, error) {
			defer root.Close()
			if err := w.Close(); err != nil {
				return nil, err
			}
			return &result{o.path, m.bytes, digest(m.sum), o.format}, nil
		},
		commit: d.Commit,
		abort:  d.Abort,
	}, nil
}

// manifest hashes a line for each entry on its way to another sink.
type manifest struct {
	next  rootfs.Sink
	sum   hash.Hash
	bytes int64 // of regular files
}

func (m *manifest) Add(e rootfs.Entry, data io.Reader) error {
	content := "-"
	if data != nil {
		h := sha256.New()
		if err := m.next.Add(e, io.TeeReader(data, h)); err != nil {
			return err
		}
		content = hex.EncodeToString(h.Sum(nil))
		m.bytes += e.Size
	} else if err := m.next.Add(e, nil); err != nil {
		return err
	}
	fmt.Fprintf(m.sum, "%q %o %d %d %d %d %q %s\n", e.Path, e.UnixMode(), e.UID, e.GID, e.ModTime.Unix(), e.Size, e.Target, content)
	return nil
}

func digest(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

// digestFile hashes a file from its start.
func digestFile(ctx context.Context, f *os.File) (string, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for {
		n, err := f.Read(buf)
		h.Write(buf[:n])
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if err == io.EOF {
			return digest(h), nil
		}
		if err != nil {
			return "", err
		}
	}
}
