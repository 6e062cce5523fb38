package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"thaw/examples"
	"thaw/spec"
)

func (a *app) init() *cobra.Command {
	var preset, output string
	cmd := &cobra.Command{
		Use:   "init --preset NAME [-o FILE]",
		Short: "Write a spec to begin with",
		Long: `Write a commented spec of an image to begin with, as NAME.yaml or to FILE, - for
standard output. A file that is there stays as it is. The presets:

  container   an image with accounts and certificates, for docker load
  initramfs   an archive that the kernel unpacks and starts, in memory
  sbc         a disk of fixed size with a read-only root, for a small board
  vm          a disk with accounts, SSH and services, for a virtual machine

Each is a whole spec, and says which lines to change: the packages are those of
thaw's own tests.`,
		Example: "  thaw init --preset vm",
		GroupID: "make",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			known := "the presets are " + strings.Join(examples.Presets(), ", ")
			text, ok := examples.Preset(preset)
			switch {
			case preset == "":
				return usage(known, "init needs --preset NAME")
			case !ok:
				return usage(known, "there is no preset %q%s", preset, nearest(preset, examples.Presets()))
			case output == "-":
				_, err := a.stdout.Write(text)
				return err
			}
			file := cmp.Or(output, preset+".yaml")
			if ext := specSuffixes[:2]; !slices.ContainsFunc(ext, func(e string) bool { return strings.HasSuffix(file, e) }) {
				return usage("name it "+preset+".yaml", "the spec is YAML, and is not to be called %s", file)
			}
			if err := writeNew(file, text); err != nil {
				return err
			}
			if !a.global.quiet {
				fmt.Fprintf(a.stderr, "%s is written. Change its packages to yours, and then:\n  %s\n", file, buildCommand(preset, text, file))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&preset, "preset", "", "the `NAME` of the preset: "+strings.Join(examples.Presets(), ", "))
	f.StringVarP(&output, "output", "o", "", "the `FILE` to write (default NAME.yaml)")
	return cmd
}

// writeNew writes a file that is not there yet.
func writeNew(file string, text []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	switch {
	case errors.Is(err, fs.ErrExist):
		return usage("give another name with -o FILE", "%s is there already, and stays as it is", file)
	case err != nil:
		return err
	}
	_, err = f.Write(text)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		os.Remove(file)
	}
	return err
}

// buildCommand returns the command at the top of a preset that builds it, for the
// file that it was written to.
func buildCommand(preset string, text []byte, file string) string {
	for line := range strings.Lines(string(text)) {
		if command, ok := strings.CutPrefix(line, "#   thaw build "+preset+".yaml "); ok {
			return "thaw build " + spec.Quote(file) + " " + strings.TrimSpace(command)
		}
	}
	return "thaw build " + spec.Quote(file)
}
