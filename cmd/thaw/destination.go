package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/term"

	"thaw/internal/atomicfile"
	"thaw/spec"
)

// destination is an output that a build shall write, and where.
type destination struct {
	path string // "-" for standard output
	of   spec.Output
}

// format is a form of images.
type format struct {
	name      string
	typ       string // of outputs
	container string // of disks: the format of the file; of container images: the archive
	compress  string // of archives and raw disks
	endings   []string
}

// formats are what --format takes and the endings of names that choose it.
var formats = []format{
	{"disk", "disk", "raw", "none", []string{".img", ".raw"}},
	{"disk.gz", "disk", "raw", "gzip", []string{".img.gz", ".raw.gz"}},
	{"disk.xz", "disk", "raw", "xz", []string{".img.xz", ".raw.xz"}},
	{"disk.zst", "disk", "raw", "zstd", []string{".img.zst", ".raw.zst"}},
	{"qcow2", "disk", "qcow2", "", []string{".qcow2"}},
	{"vdi", "disk", "vdi", "", []string{".vdi"}},
	{"vhd-fixed", "disk", "vhd-fixed", "", []string{".vhd"}},
	{"vhd", "disk", "vhd", "", []string{".vhd"}},
	{"vhdx", "disk", "vhdx", "", []string{".vhdx"}},
	{"vmdk", "disk", "vmdk", "", []string{".vmdk"}},
	{"iso", "iso", "", "", []string{".iso"}},
	{"ext4", "ext4", "", "", []string{".ext4"}},
	{"squashfs", "squashfs", "", "", []string{".squashfs", ".sqfs"}},
	{"erofs", "erofs", "", "", []string{".erofs"}},
	{"tar", "tar", "", "none", []string{".tar"}},
	{"tar.gz", "tar", "", "gzip", []string{".tar.gz", ".tgz"}},
	{"tar.zst", "tar", "", "zstd", []string{".tar.zst"}},
	{"cpio", "cpio", "", "none", []string{".cpio"}},
	{"cpio.gz", "cpio", "", "gzip", []string{".cpio.gz"}},
	{"cpio.zst", "cpio", "", "zstd", []string{".cpio.zst"}},
	{"oci", "oci", "dir", "", []string{".oci"}},
	{"oci.tar", "oci", "tar", "", []string{".oci.tar", ".docker.tar"}},
	{"dir", "dir", "", "", nil},
	{"files", "files", "", "", nil},
}

// output returns an output of that format.
func (f *format) output(name string) spec.Output {
	out := spec.NewOutput(name, f.typ)
	switch {
	case out.Disk != nil:
		out.Disk.Format = f.container
		if f.compress != "" {
			out.Disk.Compress = f.compress
		}
	case out.Tar != nil:
		out.Tar.Compress = f.compress
	case out.Cpio != nil:
		out.Cpio.Compress = f.compress
	case out.OCI != nil:
		out.OCI.Archive = f.container
	}
	return out
}

// is reports whether an output has the format.
func (f *format) is(o *spec.Output) bool {
	container, compress := "", ""
	switch {
	case o.Disk != nil:
		container, compress = o.Disk.Format, o.Disk.Compress
	case o.Tar != nil:
		compress = o.Tar.Compress
	case o.Cpio != nil:
		compress = o.Cpio.Compress
	case o.OCI != nil:
		container = o.OCI.Archive
	}
	return f.typ == o.Type && f.container == container && (f.compress == "" || f.compress == compress)
}

// formatOf returns the format of an output.
func formatOf(o *spec.Output) *format {
	for i := range formats {
		if formats[i].is(o) {
			return &formats[i]
		}
	}
	panic("the output " + o.Name + " has no format") // the spec knows what there is
}

// byEnding returns the format that the ending of a file's name stands for, nil for
// none. The longest counts, and of equal ones the last.
func byEnding(file string) (found *format) {
	most := 0
	for i := range formats {
		for _, e := range formats[i].endings {
			if strings.HasSuffix(file, e) && len(e) >= most {
				found, most = &formats[i], len(e)
			}
		}
	}
	return found
}

// ending returns how the name of an output's file ends.
func ending(o *spec.Output) string {
	if e := formatOf(o).endings; len(e) > 0 {
		return e[0]
	}
	return ""
}

// foreign are the endings of names of other formats: a disk called so would be
// taken for one.
var foreign = []string{".ova", ".gz", ".xz", ".zst", ".bz2", ".zip"}

// described returns the output that the options describe.
func (o *buildOptions) described() (spec.Output, error) {
	f := byEnding(o.output)
	if o.format != "" {
		var names []string
		for _, f := range formats {
			names = append(names, f.name)
		}
		i := slices.Index(names, o.format)
		if i < 0 {
			return spec.Output{}, usage("the formats are "+strings.Join(names, ", "), "unknown format %q", o.format)
		}
		f = &formats[i]
	}
	if ext := filepath.Ext(o.output); f == nil && slices.Contains(foreign, ext) {
		return spec.Output{}, usage("name it .img, or give --format", "thaw does not write %s files", ext)
	}
	if f == nil {
		f = &formats[0]
	}
	if f.typ == "oci" && o.arch == "" {
		return spec.Output{}, usage("give --arch, for example --arch x86_64-linux", "a container image says what it runs on")
	}
	out := f.output("image")
	return out, o.fileSystem(&out)
}

// fileSystem writes --size, --label and --uuid into an output.
func (o *buildOptions) fileSystem(out *spec.Output) error {
	if o.size == "" && o.label == "" && o.uuid == "" {
		return nil
	}
	if out.Type != "ext4" && out.Type != "disk" {
		return usage("leave them out, or choose disk or ext4", "--size, --label and --uuid are for ext4 and disks with it, not for %s", formatOf(out).name)
	}
	size, err := spec.ParseSize(o.size)
	if o.size != "" && (err != nil || size.Kind == spec.Fill) {
		return usage("write fit, fit+256M, fit+10% or 2G; the units are B, K, M, G and T, powers of 1024", "--size %s is not a size", o.size)
	}
	var fs *spec.Ext4
	if out.Disk != nil {
		root := spec.NewPartition("ext4")
		switch {
		case o.size == "":
		case size.Kind == spec.Fixed:
			out.Disk.Size = size
		default:
			root.Size = size
		}
		out.Disk.Partitions, fs = []spec.Partition{root}, root.Ext4
	} else {
		fs = &out.Ext4.Ext4
		if o.size != "" {
			out.Ext4.Size = size
		}
	}
	if o.label != "" {
		if len(o.label) > 16 {
			return usage("ext4 has room for 16 bytes", "the label %q is too long", o.label)
		}
		fs.Label = &o.label
	}
	if o.uuid != "" {
		id, err := spec.ParseUUID(o.uuid)
		if err != nil {
			return usage("", "--uuid %s is not a UUID, like 6f2c2ac4-3b1e-4d0c-9a53-0b9c7c1f6f10", o.uuid)
		}
		fs.UUID = id
	}
	return nil
}

// files returns the outputs of a spec with the files that they become: -o for one,
// files in the directory -o for several.
func (o *buildOptions) files(s *spec.Spec, stdout *results) (outs []*destination, err error) {
	path := o.output
	if path != "-" {
		path = filepath.Clean(path)
	}
	if path == ".." || path == "/" || path == "." && len(s.Outputs) == 1 {
		return nil, usage("give it a name", "the output cannot be %s", o.output)
	}
	if len(s.Outputs) == 1 {
		out := &destination{path, s.Outputs[0]}
		if path != "-" {
			return []*destination{out}, nil
		}
		if f, ok := stdout.w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return nil, usage("send it into a pipe or a file", "an archive does not go to a terminal")
		}
		if !pipes(&out.of) {
			return nil, usage("give -o FILE, or --format tar", "only an archive can go to standard output")
		}
		return []*destination{out}, nil
	}
	if st, err := os.Stat(path); path == "-" || err == nil && !st.IsDir() {
		return nil, usage("give a directory", "the spec has %d outputs, and -o %s is none", len(s.Outputs), path)
	}
	for _, of := range s.Outputs {
		outs = append(outs, &destination{filepath.Join(path, of.Name+ending(&of)), of})
	}
	return outs, nil
}

// ready refuses, before anything is fetched, files that cannot be written: the
// outputs, and the boot files beside them. It makes the directory of several
// outputs, and returns its name if it was not there.
func ready(outs []*destination, beside ...string) (made string, err error) {
	if len(outs) > 1 {
		dir := filepath.Dir(outs[0].path)
		switch err := os.Mkdir(dir, 0o777); {
		case err == nil:
			made = dir
		case !errors.Is(err, fs.ErrExist):
			return "", err
		}
	}
	return made, free(outs, beside)
}

// free refuses files that cannot be written, or would be written twice.
func free(outs []*destination, beside []string) error {
	seen := map[string]bool{}
	once := func(file string) error {
		if file != "-" && seen[filepath.Clean(file)] {
			return usage("give each its own name", "%s would be written twice", file)
		}
		seen[filepath.Clean(file)] = true
		return nil
	}
	for _, out := range outs {
		if err := once(out.path); err != nil {
			return err
		}
		if err := out.writable(); err != nil {
			return err
		}
	}
	for _, file := range beside {
		switch file {
		case "":
			continue
		case "-":
			return usage("give it a name", "boot files do not go to standard output")
		}
		if err := once(file); err != nil {
			return err
		}
		for _, out := range outs {
			if out.of.IsDir() && atomicfile.Within(linkFree(file), linkFree(out.path)) {
				return usage("give the name of a file elsewhere", "%s is in the output %s, where only what the image has may be", file, out.path)
			}
		}
		if err := writable(file); err != nil {
			return err
		}
	}
	return nil
}

// linkFree returns the absolute path of a file that need not be there, without links in
// what leads to it.
func linkFree(file string) string {
	file, _ = filepath.Abs(file) // else writable says what is wrong
	if dir, err := filepath.EvalSymlinks(filepath.Dir(file)); err == nil {
		return filepath.Join(dir, filepath.Base(file))
	}
	return file
}

// writable refuses a file, or a directory, that cannot be made or replaced.
func (o *destination) writable() error {
	st, err := os.Lstat(o.path)
	switch {
	case o.path == "-":
		return nil
	case !o.of.IsDir() || errors.Is(err, fs.ErrNotExist):
		return writable(o.path)
	case err != nil:
		return err
	case !st.IsDir():
		return usage("give the name of a new directory", "%s is there, and is not a directory", o.path)
	}
	list, err := os.ReadDir(o.path)
	if err != nil {
		return err
	}
	point, err := atomicfile.Mounted(o.path)
	switch {
	case point != "":
		return usage("unmount it, or give the name of a new directory", "the directory %s cannot be replaced: something is mounted at %s", o.path, point)
	case len(list) == 0: // then nothing is removed that could be in a mount
		return nil
	case err != nil:
		return err
	}
	return o.replaceable(o.path)
}

// writable refuses a file that cannot be made or replaced.
func writable(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if parent, err := os.Stat(filepath.Dir(path)); err != nil || !parent.IsDir() {
			return usage("make it first", "there is no directory %s", filepath.Dir(path))
		}
		return nil
	case err == nil && !st.Mode().IsRegular():
		return usage("give the name of a file", "%s is not a regular file", path)
	}
	return err
}

// within holds that an output is not larger than it may be.
func (o *destination) within(size int64) error {
	if most := o.of.MaxSize.Bytes; most > 0 && size > most {
		return &limitError{fmt.Sprintf("output %s: it takes %d bytes (%s), and max-size is %s", o.of.Name, size, inBytes(size), inBytes(most))}
	}
	return nil
}

// suits refuses a file whose name ends like that of another format.
func (o *destination) suits() error {
	if m := o.misnamed(); m != "" {
		hint := "name it otherwise, for example " + o.of.Name + ending(&o.of)
		if named := byEnding(o.path); named != nil && named.container != "" && named.typ == o.of.Type {
			hint += ", or change outputs." + o.of.Name + " in the spec"
		}
		return usage(hint, "output %s of the spec is %s", o.of.Name, m)
	}
	return nil
}

// places returns the spec if errors shall say where in it they are: that of store
// paths nobody has seen.
func (t *target) places() *spec.Spec {
	if t.paths() {
		return nil
	}
	return t.spec
}
