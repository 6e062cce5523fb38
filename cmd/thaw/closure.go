package main

import (
	"bufio"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"thaw/closure"
)

func (a *app) closure() *cobra.Command {
	var asJSON, size bool
	cmd := &cobra.Command{
		Use:   "closure PATH…|SPEC",
		Short: "List all that store paths refer to",
		Long: `List the given store paths, or the packages of a spec, and all they refer to,
directly or not, sorted, one a line. Only narinfos are fetched.

With --size each line has three columns, separated by tabs: the path, the bytes
of its NAR, and the bytes of the NARs of its own closure. With --json the result
is an array of objects like those of nix path-info --json.`,
		Example: `  thaw closure --size --cache testdata/example --trusted-key testdata/example/key.pub \
      /nix/store/4816nf1754f3jnz5brkh5n9y252l4san-busybox-static-1.35.0
  thaw closure --json /nix/store/…-hello-2.12.1 | jq '[.[].narSize] | add'`,
		GroupID: "ask",
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := a.target(cmd, args)
			if err != nil {
				return err
			}
			if asJSON && size {
				return usage("--json has the sizes too", "--json and --size exclude each other")
			}
			t.bare()
			w, err := a.resolve(cmd.Context(), t)
			if err != nil {
				return err
			}
			defer w.close()
			w.ui.close()
			g, err := closure.NewGraph(w.plan.Infos)
			if err != nil {
				return err
			}
			out := bufio.NewWriter(a.stdout)
			switch {
			case asJSON:
				err = writeClosureJSON(out, g)
			case size:
				for i, s := range g.Sizes() {
					fmt.Fprintf(out, "%s\t%d\t%d\n", g.Infos[i].StorePath, g.Infos[i].NarSize, s)
				}
			default:
				for _, i := range g.Infos {
					fmt.Fprintln(out, i.StorePath)
				}
			}
			if err != nil {
				return err
			}
			return out.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON array")
	cmd.Flags().BoolVar(&size, "size", false, "print the sizes of each path and of its closure")
	return cmd
}

func writeClosureJSON(out *bufio.Writer, g *closure.Graph) error {
	type object struct {
		Path        string   `json:"path"`
		NarHash     string   `json:"narHash"`
		NarSize     int64    `json:"narSize"`
		References  []string `json:"references"`
		CA          string   `json:"ca,omitempty"`
		Signatures  []string `json:"signatures,omitempty"`
		ClosureSize int64    `json:"closureSize"`
	}
	sizes := g.Sizes()
	list := make([]object, len(g.Infos))
	for n, i := range g.Infos {
		refs := make([]string, len(i.References))
		for k, r := range i.References {
			refs[k] = r.String()
		}
		list[n] = object{i.StorePath.String(), i.NarHash.SRI(), i.NarSize, refs, i.CA, i.Sigs, sizes[n]}
	}
	return json.NewEncoder(out).Encode(list)
}
