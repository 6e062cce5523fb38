package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"thaw/assemble"
	"thaw/spec"
	"thaw/storepath"
)

// optionError says what is wrong with an option.
func optionError(cmd *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		bare    *pflag.ValueRequiredError
		invalid *pflag.InvalidValueError
	)
	switch {
	case errors.As(err, &unknown):
		given := "-" + unknown.GetSpecifiedShortnames()
		if given == "-" {
			given = "--" + unknown.GetSpecifiedName()
		}
		return usage(cmd.CommandPath()+" --help lists the options", "unknown option %s%s", given, similarOption(cmd, "--"+strings.TrimLeft(given, "-")))
	case errors.As(err, &bare):
		return usage("", "--%s needs a value", bare.GetFlag().Name)
	case errors.As(err, &invalid):
		return usage("", "--%s %s: it %v", invalid.GetFlag().Name, invalid.GetValue(), invalid.Unwrap())
	}
	return usage(cmd.CommandPath()+" --help lists the options", "%v", err)
}

func similarOption(cmd *cobra.Command, name string) string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	})
	return nearest(name, names)
}

// nearest is the end of a message about a word that is none of the candidates.
func nearest(word string, candidates []string) string {
	if s := spec.Nearest(word, candidates); s != "" {
		return fmt.Sprintf(" (did you mean %q?)", s)
	}
	return ""
}

// noPath says what to do with an argument that is the name of a package, or anything
// else that looks like no store path; nil if it looks like one.
func noPath(arg string) error {
	if strings.HasPrefix(arg, "/") {
		return nil
	}
	if _, err := storepath.ParseBase(arg); err == nil {
		return nil
	}
	if to, err := filepath.EvalSymlinks(arg); err == nil {
		return usage("give a store path, like /nix/store/…-hello-2.12.1, or a spec", "%s is no regular file", to)
	}
	name := arg[strings.LastIndexByte(arg, '#')+1:] // as in nixpkgs#hello
	if strings.Contains(name, "/") {
		return usage("give a store path, like /nix/store/…-hello-2.12.1, or a spec", "there is no file %s", arg)
	}
	return usage("look up its store path with thaw resolve "+spec.Quote(name)+" --from …, or name it in a spec; docs/names.md says how",
		"%q is not a store path, and there is no such file", arg)
}

// clash holds that no two outputs of a spec become the same file.
func clash(s *spec.Spec, name string) error {
	seen := map[string]string{}
	for _, o := range s.Outputs {
		file := o.Name + ending(&o)
		if other := seen[file]; other != "" {
			return usage("give one of them another name", "%s: outputs.%s and outputs.%s would both be called %s", name, other, o.Name, file)
		}
		seen[file] = o.Name
	}
	return nil
}

// doubts says what of a spec is hardly meant.
func doubts(s *spec.Spec) (texts []string) {
	disk := ""
	for _, o := range s.Outputs {
		if o.Disk == nil || slices.ContainsFunc(o.Disk.Partitions, func(p spec.Partition) bool { return p.Content == "rootfs" }) {
			return nil
		}
		disk = o.Name
	}
	if disk != "" && len(s.Packages) > 0 {
		texts = append(texts, fmt.Sprintf("the packages are in no output: no partition of outputs.%s has content: rootfs", disk))
	}
	return texts
}

// misnamed says that the ending of a file's name stands for another format; "" if it
// does not.
func (o *destination) misnamed() string {
	format, named := formatOf(&o.of), byEnding(o.path)
	fileSystem := o.of.Ext4 != nil || o.of.Squashfs != nil || o.of.Erofs != nil
	if o.path == "-" || fileSystem && named == &formats[0] {
		return ""
	}
	for _, e := range format.endings {
		if strings.HasSuffix(o.path, e) {
			return ""
		}
	}
	if named == nil && !slices.Contains(foreign, filepath.Ext(o.path)) {
		return ""
	}
	return fmt.Sprintf("%s, and %s ends like something else", format.name, o.path)
}

// noKernel says what to do where store paths shall be started that have no kernel.
func noKernel(err error) error {
	var none *assemble.NoBootFileError
	if errors.As(err, &none) {
		err = &codedError{text: none.Error(), hint: "add the path of a kernel, or of a system, or give --kernel FILE", code: exitFailed}
	}
	return err
}
