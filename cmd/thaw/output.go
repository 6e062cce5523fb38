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

	"thaw/spec"
)

// output is what a build shall write, and where.
type output struct {
	path string // "-" for standard output
	of   spec.Output
}

// format is a form of images.
type format struct {
	name, typ, compress string
	endings             []string
}

// output returns an output of that format.
func (f *format) output(name string) spec.Output {
	out := spec.NewOutput(name, f.typ)
	switch {
	case out.Tar != nil:
		out.Tar.Compress = f.compress
	case out.Cpio != nil:
		out.Cpio.Compress = f.compress
	}
	return out
}

// byEnding returns the name of the format that the ending of a file's name stands
// for, "" for none.
func byEnding(file string) (name string) {
	for _, f := range formats {
		if slices.ContainsFunc(f.endings, func(e string) bool { return strings.HasSuffix(file, e) }) {
			name = f.name
		}
	}
	return name
}

// formats are what --format takes and the endings of names that choose it: types
// of output, for archives with a compression.
var formats = []format{
	{"disk", "disk", "", []string{".img", ".raw"}},
	{"ext4", "ext4", "", []string{".ext4"}},
	{"tar", "tar", "none", []string{".tar"}},
	{"tar.gz", "tar", "gzip", []string{".tar.gz", ".tgz"}},
	{"tar.zst", "tar", "zstd", []string{".tar.zst"}},
	{"cpio", "cpio", "none", []string{".cpio"}},
	{"cpio.gz", "cpio", "gzip", []string{".cpio.gz"}},
	{"cpio.zst", "cpio", "zstd", []string{".cpio.zst"}},
	{"dir", "dir", "", nil},
}

// formatOf returns what --format calls an output.
func formatOf(o *spec.Output) string {
	for _, f := range formats {
		if f.typ == o.Type && (f.compress == "" || f.compress == compression(o)) {
			return f.name
		}
	}
	return o.Type
}

// ending returns how the name of an output's file ends.
func ending(o *spec.Output) string {
	for _, f := range formats {
		if f.name == formatOf(o) && len(f.endings) > 0 {
			return f.endings[0]
		}
	}
	return ""
}

// compression returns that of an archive, "" for other outputs.
func compression(o *spec.Output) string {
	switch {
	case o.Tar != nil:
		return o.Tar.Compress
	case o.Cpio != nil:
		return o.Cpio.Compress
	}
	return ""
}

// foreign are the endings of names of other formats: a disk called so would be
// taken for one.
var foreign = []string{".qcow2", ".vmdk", ".vdi", ".vhd", ".vhdx", ".iso", ".squashfs", ".sqfs", ".erofs", ".gz", ".xz", ".zst", ".bz2", ".zip"}

// described returns the output that the options describe.
func (o *buildOptions) described() (spec.Output, error) {
	name := o.format
	if name == "" {
		name = byEnding(o.output)
	}
	if ext := filepath.Ext(o.output); name == "" && slices.Contains(foreign, ext) {
		return spec.Output{}, usage("name it .img, or give --format; qemu-img convert and compressors make others of it", "thaw does not write %s files", ext)
	}
	if name == "" {
		name = "disk"
	}
	for _, f := range formats {
		if f.name == name {
			out := f.output("image")
			return out, o.fileSystem(&out)
		}
	}
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	return spec.Output{}, usage("the formats are "+strings.Join(names, ", "), "unknown format %q", name)
}

// fileSystem writes --size, --label and --uuid into an output.
func (o *buildOptions) fileSystem(out *spec.Output) error {
	if o.size == "" && o.label == "" && o.uuid == "" {
		return nil
	}
	var fs *spec.FileSystem
	switch out.Type {
	case "ext4":
		fs = &out.Ext4.FileSystem
	case "disk":
		out.Disk.Partitions = []spec.Partition{{FS: "ext4", Content: "rootfs"}}
		fs = &out.Disk.Partitions[0].FileSystem
		fs.Label = "nixos"
	default:
		return usage("leave them out, or choose disk or ext4", "--size, --label and --uuid are for file systems, not for %s", out.Type)
	}
	if o.label != "" {
		fs.Label = o.label
	}
	if len(fs.Label) > 16 {
		return usage("ext4 has room for 16 bytes", "the label %q is too long", fs.Label)
	}
	if o.uuid != "" {
		id, err := spec.ParseUUID(o.uuid)
		if err != nil {
			return usage("", "--uuid %s is not a UUID, like 6f2c2ac4-3b1e-4d0c-9a53-0b9c7c1f6f10", o.uuid)
		}
		fs.UUID = id
	}
	if o.size == "" {
		return nil
	}
	size, err := spec.ParseSize(o.size)
	if err != nil || size.Kind == spec.Fill {
		return usage("write fit, fit+256M, fit+10% or 2G; the units are B, K, M, G and T, powers of 1024", "--size %s is not a size", o.size)
	}
	if out.Disk != nil && size.Kind == spec.Fixed {
		out.Disk.Size, size = size, spec.Size{Kind: spec.Fill}
	}
	fs.Size = size
	return nil
}

// files returns the outputs of a spec with the files that they become: -o for one,
// files in the directory -o for several.
func (o *buildOptions) files(s *spec.Spec, stdout *results) (outs []*output, err error) {
	path := o.output
	if path != "-" {
		path = filepath.Clean(path)
	}
	if path == ".." || path == "/" || path == "." && len(s.Outputs) == 1 {
		return nil, usage("give it a name", "the output cannot be %s", o.output)
	}
	if len(s.Outputs) == 1 {
		out := &output{path, s.Outputs[0]}
		if path != "-" {
			return []*output{out}, nil
		}
		if f, ok := stdout.w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return nil, usage("send it into a pipe or a file", "an archive does not go to a terminal")
		}
		if out.of.Type != "tar" && out.of.Type != "cpio" {
			return nil, usage("give -o FILE, or --format tar", "only an archive can go to standard output")
		}
		return []*output{out}, nil
	}
	if st, err := os.Stat(path); path == "-" || err == nil && !st.IsDir() {
		return nil, usage("give a directory", "the spec has %d outputs, and -o %s is none", len(s.Outputs), path)
	}
	for _, of := range s.Outputs {
		outs = append(outs, &output{filepath.Join(path, of.Name+ending(&of)), of})
	}
	return outs, nil
}

// ready refuses, before anything is fetched, files that cannot be written: the
// outputs, and the boot files beside them. It makes the directory of several
// outputs, and returns its name if it was not there.
func ready(outs []*output, beside ...string) (made string, err error) {
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
func free(outs []*output, beside []string) error {
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
		if err := writable(out.path, out.of.Type == "dir"); out.path != "-" && err != nil {
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
		if err := writable(file, false); err != nil {
			return err
		}
	}
	return nil
}

// writable refuses a file, or a directory, that cannot be made.
func writable(path string, dir bool) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if parent, err := os.Stat(filepath.Dir(path)); err != nil || !parent.IsDir() {
			return usage("make it first", "there is no directory %s", filepath.Dir(path))
		}
		return nil
	case err != nil:
		return err
	case dir && !st.IsDir():
		return usage("give the name of a new directory", "%s is there, and is not a directory", path)
	case dir:
		if list, err := os.ReadDir(path); err != nil {
			return err
		} else if len(list) > 0 {
			return usage("give the name of a new directory", "the directory %s is not empty", path)
		}
	case !st.Mode().IsRegular():
		return usage("give the name of a file", "%s is not a regular file", path)
	}
	return nil
}

// within holds that an output is not larger than it may be.
func (o *output) within(size int64) error {
	if most := o.of.MaxSize.Bytes; most > 0 && size > most {
		return &limitError{fmt.Sprintf("output %s: it takes %d bytes (%s), and max-size is %s", o.of.Name, size, inBytes(size), inBytes(most))}
	}
	return nil
}

// suits refuses a file whose name ends like that of another format.
func (o *output) suits() error {
	format, named := formatOf(&o.of), byEnding(o.path)
	if o.path == "-" || named == format || o.of.Type == "ext4" && named == "disk" {
		return nil
	}
	if ext := filepath.Ext(o.path); named != "" || slices.Contains(foreign, ext) {
		return usage("name it otherwise, for example "+o.of.Name+ending(&o.of), "output %s of the spec is %s, and %s ends like something else", o.of.Name, format, o.path)
	}
	return nil
}
