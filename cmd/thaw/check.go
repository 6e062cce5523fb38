package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"thaw/spec"
)

func (a *app) check() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check SPEC",
		Short: "Check the spec of an image, and print it in full",
		Long: `Check a file that describes an image, and print what it says with all defaults filled
in, as a spec again. SPEC is a YAML or JSON file, or - for standard input. Nothing is
fetched, and no other file is read.

docs/spec.md lists the keys.`,
		Example: "  thaw check vm.yaml",
		GroupID: "make",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("thaw check --help shows an example", "check takes one spec")
			}
			s, err := readSpec(cmd, args[0])
			if err != nil {
				return err
			}
			for _, text := range doubts(s) {
				fmt.Fprintf(a.stderr, "thaw: warning: %s\n", text)
			}
			text := s.Explain()
			if asJSON {
				text = s.JSON()
			}
			_, err = a.stdout.Write(text)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the spec as JSON")
	return cmd
}

func (a *app) spec() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "spec",
		Short:   "Print the schema of specs",
		Long:    "Print what editors and other tools want to know of the files that describe images.",
		Example: "  thaw spec schema > thaw.schema.json",
		GroupID: "ask",
		Args:    subcommands,
		RunE:    func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of specs",
		Long:    "Print the JSON Schema (draft 2020-12) of specs, for editors that check YAML while it is written.",
		Example: "  thaw spec schema > thaw.schema.json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := a.stdout.Write(spec.Schema())
			return err
		},
	})
	return cmd
}
