package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"thaw/image/oci"
	"thaw/image/oci/registry"
)

func (a *app) push() *cobra.Command {
	var o registry.Options
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "push DIR… NAME",
		Short: "Send a container image to a registry",
		Long: `Send the image, or the index of images, that the OCI image layout in DIR has to a
registry, under a NAME like example.org/team/hello:1.0. What the registry has is
not sent again. Several DIRs, with images for different platforms, become one
index; in the directory for temporary files there must be room for a copy of them.

Credentials are those of docker and podman: ~/.docker/config.json, with its
helpers, or containers/auth.json. They go to the registry of that name and to the
token service that it names. A registry without TLS must be on this machine, or be
allowed by --insecure.

It prints the name, the image's bytes and its digest, separated by tabs.`,
		Example: `  thaw push hello.oci localhost:5000/team/hello:1.0
  thaw push x86_64.oci aarch64.oci localhost:5000/team/hello:1.0`,
		GroupID: "carry",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usage("thaw push DIR… NAME", "push takes a directory and a name")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.global.offline {
				return usage("leave it out", "--offline sends nothing")
			}
			dirs, name := args[:len(args)-1], args[len(args)-1]
			for _, dir := range dirs {
				if st, err := os.Stat(dir); err == nil && !st.IsDir() {
					return usage("build it with archive: dir, or make a directory of it: mkdir DIR && tar -xf "+dir+" -C DIR", "%s is a file, and push takes directories", dir)
				}
			}
			ui, err := a.ui()
			if err != nil {
				return err
			}
			defer ui.close()
			o.UserAgent = "thaw/" + version()
			dir := dirs[0]
			if len(dirs) > 1 {
				if dir, err = os.MkdirTemp("", "thaw-push-"); err != nil {
					return err
				}
				defer os.RemoveAll(dir)
				if err := joinLayouts(dir, dirs); err != nil {
					return err
				}
			}
			r, err := registry.Push(cmd.Context(), dir, name, o)
			if err != nil {
				return err
			}
			ui.step("sent", "%d blobs, %s of %s", r.Blobs, inBytes(r.Sent), inBytes(r.Total))
			if asJSON {
				return json.NewEncoder(a.stdout).Encode(struct {
					Name   string `json:"name"`
					Size   int64  `json:"size"`
					Digest string `json:"digest"`
					Blobs  int    `json:"blobs"`
					Sent   int64  `json:"sent"`
				}{r.Name, r.Total, r.Digest, r.Blobs, r.Sent})
			}
			_, err = fmt.Fprintf(a.stdout, "%s\t%d\t%s\n", name, r.Total, r.Digest)
			return err
		},
	}
	cmd.Flags().BoolVar(&o.Insecure, "insecure", false, "allow a registry without TLS that is not on this machine")
	cmd.Flags().StringVar(&o.MountFrom, "mount-from", "", "take blobs from this `REPOSITORY` of the registry, if it has them")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// joinLayouts makes a layout of the images of others, in the order of their
// platforms.
func joinLayouts(to string, dirs []string) error {
	root, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer root.Close()
	layout, err := oci.Create(root)
	if err != nil {
		return err
	}
	var images []oci.Descriptor
	for _, dir := range dirs {
		found, err := imported(layout, dir)
		if err != nil {
			return err
		}
		images = append(images, found...)
	}
	slices.SortStableFunc(images, func(a, b oci.Descriptor) int { return strings.Compare(a.Platform.String(), b.Platform.String()) })
	_, err = layout.Finish("", images...)
	return err
}

// imported copies the images of the layout in a directory.
func imported(to *oci.Layout, dir string) ([]oci.Descriptor, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	from, err := oci.Open(root)
	if err != nil {
		return nil, err
	}
	return to.Import(from)
}
