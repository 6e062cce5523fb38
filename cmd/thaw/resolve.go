package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"thaw/resolve"
	"thaw/spec"
	"thaw/substituter"
)

func (a *app) resolveNames() *cobra.Command {
	var from, arch, output string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "resolve NAME… --from FROM",
		Short: "Find the store paths of packages by their names",
		Long: `Find the store paths of packages by their names, without evaluating anything, and
print them, one a line. What was found, and how, is said on standard error.

FROM is the URL of a channel, or a copy of its store-paths.xz (channel:https://…,
channel:./FILE); the URL of a jobset of Hydra (hydra:https://…), whose jobs are the
names; or a file: a devbox.lock, what nix path-info --json printed, or a list of
store paths. The URL of a job of Hydra needs no name.

Where several store paths may be meant, they are listed, and the exit code is 1: a
version (NAME-VERSION), --output or --arch tell which. With --arch, what a list has
is looked into for programs; see docs/names.md.`,
		Example: `  thaw resolve git --arch x86_64-linux --from channel:https://channels.nixos.org/nixos-25.05
  thaw resolve curl --output bin --arch x86_64-linux --from devbox.lock
  thaw resolve --from hydra:https://hydra.nixos.org/job/nixos/release-25.05/nixpkgs.git.x86_64-linux`,
		GroupID: "ask",
		RunE: func(cmd *cobra.Command, args []string) error {
			queries, err := nameQueries(args, from, arch, output)
			if err != nil {
				return err
			}
			ui, err := a.ui()
			if err != nil {
				return err
			}
			defer ui.close()
			src, err := a.global.open(ui.events())
			if err != nil {
				return err
			}
			defer src.remove()
			answers, err := a.lookUpNames(cmd.Context(), ui, src.Disk, func(name string) string { return name }, queries)
			if err != nil {
				return err
			}
			if asJSON {
				return writeNames(a.stdout, queries, answers)
			}
			for i, x := range answers {
				others := ""
				if len(x.Others) > 0 {
					others = "; other outputs: " + strings.Join(x.Others, ", ")
				}
				ui.step("resolved", "%s in %s%s", x.Path.Name(), x.How, others)
				if _, err := fmt.Fprintln(a.stdout, answers[i].Path); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "where the names are looked up: channel:URL, hydra:URL or a `FILE`")
	f.StringVar(&arch, "arch", "", "the `SYSTEM` that they are for, such as x86_64-linux")
	f.StringVar(&output, "output", "", "the `NAME` of the output (default out)")
	f.BoolVar(&asJSON, "json", false, "print one JSON array")
	return cmd
}

// nameQueries reads the arguments and options of the resolve verb.
func nameQueries(names []string, from, arch, output string) (queries []resolve.Query, err error) {
	const see = "thaw resolve --help shows examples"
	if from == "" {
		return nil, usage(see, "where are names looked up? Give --from")
	}
	place, err := spec.ParseFrom(from)
	if err != nil {
		return nil, usage(see, "--from: %v", err)
	}
	if place.Kind == spec.FromFile && !exists(place.Place) {
		return nil, usage("give channel:https://…, hydra:https://…, or a file that can be read", "--from %s cannot be read", from)
	}
	if arch != "" && !slices.Contains(resolve.Systems(), arch) {
		return nil, usage("give one of "+strings.Join(resolve.Systems(), ", "), "--arch %q is not a system that images are for", arch)
	}
	if len(names) == 0 && place.Kind == spec.FromHydra {
		names = []string{""} // the URL is that of the job
	} else if len(names) == 0 || slices.Contains(names, "") {
		return nil, usage(see, "which package? Give a name, such as git")
	}
	for _, name := range names {
		if strings.HasPrefix(name, "/nix/store/") {
			return nil, usage("it needs no looking up", "%s is a store path", name)
		}
		queries = append(queries, resolve.Query{Name: name, Output: output, From: place, Arch: arch})
	}
	return queries, nil
}

// lookUpNames finds the store paths that names mean. file returns the name of a
// file as it can be opened.
func (a *app) lookUpNames(ctx context.Context, ui *ui, disk *substituter.Disk, file func(string) string, queries []resolve.Query) ([]resolve.Answer, error) {
	for _, q := range queries {
		if a.global.offline && strings.Contains(q.From.Place, "://") {
			return nil, &substituter.Error{Object: q.Name, URL: q.From.Place, Kind: substituter.NotFound, Err: errors.New("--offline forbids to look it up there")}
		}
	}
	settings, err := a.global.http()
	if err != nil {
		return nil, err
	}
	client, err := settings.Client()
	if err != nil {
		return nil, err
	}
	web := &substituter.Web{Client: client, Settings: settings, Events: ui.events()}
	return resolve.Resolve(ctx, resolve.Source{
		Get:   web.Get,
		Open:  func(name string) (io.ReadCloser, error) { return os.Open(file(name)) },
		Store: disk,
	}, queries)
}

// writeNames prints what names mean as JSON.
func writeNames(out io.Writer, queries []resolve.Query, answers []resolve.Answer) error {
	type object struct {
		Name   string   `json:"name"`
		Output string   `json:"output"`
		Arch   string   `json:"arch,omitempty"`
		From   string   `json:"from"`
		Path   string   `json:"path"`
		How    string   `json:"how"`
		Others []string `json:"otherOutputs"`
	}
	list := make([]object, len(answers))
	for i, x := range answers {
		q := queries[i]
		output := q.Output
		if output == "" {
			output = "out"
		}
		list[i] = object{q.Name, output, q.Arch, q.From.String(), x.Path.String(), x.How, append([]string{}, x.Others...)}
	}
	return json.NewEncoder(out).Encode(list)
}

// explainNames returns what to do about an error of looking names up, and its exit
// code, if it is one.
func explainNames(err error) (hint string, code int, ok bool) {
	var (
		query     *resolve.QueryError
		place     *resolve.PlaceError
		ambiguous *resolve.AmbiguousError
		absent    *resolve.NotFoundError
	)
	switch kind := substituter.KindOf(err); {
	case errors.As(err, &query):
		return "docs/names.md lists the places that know names", exitUsage, true
	case errors.As(err, &place) && strings.Contains(err.Error(), "credentials"):
		return "they are looked for in the netrc file, see --netrc", exitNetwork, true
	case errors.As(err, &place) && kind == substituter.Network:
		return "try again later", exitNetwork, true
	case errors.As(err, &place) && kind == substituter.Integrity:
		return "perhaps this is another server than it should be; docs/names.md says what is expected of it", exitIntegrity, true
	case errors.As(err, &place):
		return "check the URL; docs/names.md says what is expected to be there", exitNotFound, true
	case kind != 0:
		return "", 0, false
	case errors.As(err, &ambiguous):
		return "say which: by its version (NAME-VERSION), output or arch, or give the store path itself", exitFailed, true
	case errors.As(err, &absent) && len(absent.Rejected) > 0:
		return "look elsewhere, or add a cache that has what is wanted with --cache URL", exitNotFound, true
	case errors.As(err, &absent):
		return "", exitNotFound, true
	}
	return "", 0, false
}
