package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) config() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the settings and where they come from",
		Long: `Settings come from the command line, from the environment (THAW_CACHES,
THAW_TRUSTED_KEYS, THAW_CACHE_DIR, THAW_JOBS, THAW_CONNECTIONS, NETRC,
NIX_SSL_CERT_FILE, SSL_CERT_FILE), from thaw/config.yaml in the user's
configuration directory, from the file given with --nix-conf, and are built in:
for each setting the first of these that has it counts.

config.yaml may have these keys:

  caches:
    - url: https://cache.example.org
      authorization: { env: TOKEN }            # or file: …; such as "Bearer …"
      client-certificate: { cert: …, key: … }  # PEM files
  trusted-keys: [ "cache.example.org-1:…" ]
  netrc: …
  ca-file: …
  connect-timeout: 15s
  stall-timeout: 30s
  cache-dir: …
  jobs: 4
  connections: 64`,
		Example: "  thaw config show",
		GroupID: "care",
		Args:    subcommands,
		RunE:    func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	var asJSON bool
	show := &cobra.Command{
		Use:     "show",
		Short:   "Print each setting, its value and its source",
		Long:    "Print each setting, its value and where that comes from, separated by tabs. Passwords are not printed.",
		Example: "  thaw config show --nix-conf /etc/nix/nix.conf",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.global.check(); err != nil {
				return err
			}
			if asJSON {
				out := map[string]map[string]string{}
				for _, s := range a.global.effective.Settings {
					out[s.Name] = map[string]string{"value": s.Value, "source": s.Source}
				}
				return json.NewEncoder(a.stdout).Encode(out)
			}
			for _, s := range a.global.effective.Settings {
				if _, err := fmt.Fprintf(a.stdout, "%s\t%s\t%s\n", s.Name, s.Value, s.Source); err != nil {
					return err
				}
			}
			return nil
		},
	}
	show.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.AddCommand(show)
	return cmd
}
