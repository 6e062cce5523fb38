package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"thaw/config"
	"thaw/narinfo"
	"thaw/spec"
	"thaw/storepath"
)

// global holds the options that all verbs have, and what else is set for a run.
type global struct {
	caches      []string
	keys        []string
	exempt      []string
	jobs        int
	connections int
	cacheDir    string
	noCache     bool
	offline     bool
	netrc       string
	nixConf     string
	progress    string
	verbose     bool
	quiet       bool
	profile     string

	spec      []config.Layer   // what a spec says of caches and keys
	effective config.Effective // of the options and everything below them
}

func (g *global) flags(f *pflag.FlagSet) {
	f.StringArrayVar(&g.caches, "cache", nil, "binary cache `URL`: https://…, http://…, s3://BUCKET, file://DIR or a directory; may be repeated (default https://cache.nixos.org)")
	f.StringArrayVar(&g.keys, "trusted-key", nil, "public `KEY` NAME:BASE64, or a file that holds some; may be repeated (default the key of cache.nixos.org)")
	f.StringArrayVar(&g.exempt, "no-check-sigs", nil, "take what the cache with this `URL` says without a signature; may be repeated")
	f.IntVar(&g.jobs, "jobs", 0, "`N` NARs decoded at a time (default the number of cores)")
	f.IntVar(&g.connections, "connections", 0, "`N` requests at a time to one host (default 64)")
	f.StringVar(&g.cacheDir, "cache-dir", "", "`DIR` where fetched objects are kept (default thaw in the user's cache directory)")
	f.BoolVar(&g.noCache, "no-cache", false, "keep nothing: use a temporary directory instead of --cache-dir")
	f.BoolVar(&g.offline, "offline", false, "fetch nothing: use what is in --cache-dir alone")
	f.StringVar(&g.netrc, "netrc", "", "`FILE` of passwords for caches (default $NETRC, else ~/.netrc if it is there)")
	f.StringVar(&g.nixConf, "nix-conf", "", "take caches, keys and network settings that are not set otherwise from this nix.conf `FILE`")
	f.StringVar(&g.progress, "progress", "auto", "`HOW`: auto, plain, json or none")
	f.BoolVarP(&g.verbose, "verbose", "v", false, "say more")
	f.StringVar(&g.profile, "profile", "", "write what took processor time and memory into `DIR`, for go tool pprof")
	f.BoolVarP(&g.quiet, "quiet", "q", false, "print only results, warnings and errors")
}

// defaultCache is used when nothing names one.
const defaultCache = "https://cache.nixos.org"

// limit is the largest number of jobs or connections.
const limit = 1024

// check completes the options and refuses what makes no sense.
func (g *global) check() error {
	switch {
	case slices.Contains(g.caches, "") || slices.Contains(g.keys, "") || slices.Contains(g.exempt, ""):
		return usage("perhaps a variable is not set", "an empty value for --cache, --trusted-key or --no-check-sigs")
	case g.jobs < 0 || g.jobs > limit:
		return usage("", "--jobs %d is not from 1 to %d", g.jobs, limit)
	case g.connections < 0 || g.connections > limit:
		return usage("", "--connections %d is not from 1 to %d", g.connections, limit)
	case !slices.Contains([]string{"auto", "plain", "json", "none"}, g.progress):
		return usage("", "--progress %s is not auto, plain, json or none", g.progress)
	case g.noCache && g.cacheDir != "":
		return usage("leave one of them out", "--no-cache and --cache-dir contradict each other")
	case g.noCache && g.offline:
		return usage("leave one of them out", "--no-cache and --offline contradict each other")
	}
	layers, err := g.layers()
	if err != nil {
		return err
	}
	g.effective = config.Merge(layers...)
	g.jobs, g.connections = min(g.effective.Jobs, limit), min(g.effective.Connections, limit)
	return nil
}

// use adds what a spec says of caches and keys, below the options. It comes before
// check.
func (g *global) use(s *spec.Spec, file string) {
	l := config.Layer{Source: file}
	for _, k := range s.Keys {
		l.Keys = append(l.Keys, k.String())
	}
	for _, c := range s.Caches {
		cache := config.Cache{URL: c.URL, Trust: c.Trust}
		if dir, ok := cacheDir(c.URL); ok {
			cache.URL = s.File(dir)
		}
		if c.Priority != nil {
			cache.Priority = *c.Priority
		}
		if a := c.Auth; a != nil {
			cache.AuthEnv = a.AuthorizationEnv
			if a.AuthorizationFile != "" {
				cache.AuthFile = s.File(a.AuthorizationFile)
			}
			if a.Netrc != "" {
				cache.Netrc = s.File(a.Netrc)
			}
		}
		l.Caches = append(l.Caches, cache)
	}
	g.spec = append(g.spec, l)
}

// layers returns the places that settings come from, the strongest first.
func (g *global) layers() ([]config.Layer, error) {
	options := config.Layer{Source: "command line", Keys: g.keys, Netrc: g.netrc, CacheDir: g.cacheDir, Jobs: g.jobs, Connections: g.connections}
	for _, url := range g.caches {
		options.Caches = append(options.Caches, config.Cache{URL: url})
	}
	environment, err := config.Environment(os.Getenv)
	if err != nil {
		return nil, usage("", "%v", err)
	}
	layers := slices.Concat([]config.Layer{options}, g.spec, []config.Layer{environment})
	if dir, err := os.UserConfigDir(); err == nil {
		file := filepath.Join(dir, "thaw", "config.yaml")
		text, err := os.ReadFile(file)
		if err == nil {
			l, err := config.YAML(file, text)
			if err != nil {
				return nil, usage("thaw config --help lists its keys", "%v", err)
			}
			layers = append(layers, l)
		} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, err // another user's home has no configuration for this one
		}
	}
	if g.nixConf != "" {
		defaults := config.NixDefaults{Caches: []string{defaultCache}, Keys: []string{narinfo.CacheNixosOrg}}
		l, err := config.NixConf(g.nixConf, defaults, func(file string) (string, error) {
			text, err := os.ReadFile(file)
			return string(text), err
		})
		if err != nil {
			return nil, usage("", "--nix-conf: %v", err)
		}
		if !exists(l.Netrc) {
			l.Netrc = "" // Nix's own default often is not there
		}
		layers = append(layers, l)
	}
	return append(layers, builtIn()), nil
}

func builtIn() config.Layer {
	l := config.Layer{
		Source:  "built in",
		Caches:  []config.Cache{{URL: defaultCache}},
		Keys:    []string{narinfo.CacheNixosOrg},
		Connect: 15 * time.Second, Stall: 30 * time.Second,
		Jobs: runtime.GOMAXPROCS(0), Connections: 64,
	}
	if home, err := os.UserHomeDir(); err == nil {
		if file := filepath.Join(home, ".netrc"); exists(file) {
			l.Netrc = file
		}
	}
	if dir, err := os.UserCacheDir(); err == nil {
		l.CacheDir = filepath.Join(dir, "thaw")
	}
	return l
}

// exists reports whether file is there, for this user.
func exists(file string) bool {
	f, err := os.Open(file)
	if err == nil {
		f.Close()
	}
	return err == nil
}

// trusted returns the keys of this run and warnings about them.
func (g *global) trusted() (keys narinfo.Keys, warnings []string, err error) {
	official, err := narinfo.ParseKey(narinfo.CacheNixosOrg)
	if err != nil {
		return nil, nil, err
	}
	for _, text := range g.effective.Keys {
		if !strings.Contains(text, ":") || strings.HasPrefix(text, "/") || strings.HasPrefix(text, ".") {
			content, err := os.ReadFile(text)
			if err != nil {
				return nil, nil, usage("give NAME:BASE64, or a file that holds it", "trusted key %s: %v", text, errors.Unwrap(err))
			}
			text = string(content)
		}
		for _, t := range strings.Fields(text) {
			k, err := narinfo.ParseKey(t)
			if err != nil {
				return nil, nil, usage("a cache publishes its key beside its URL", "trusted key: %v", err)
			}
			if k.Name == official.Name && !k.Public.Equal(official.Public) {
				warnings = append(warnings, fmt.Sprintf("the key given for %s is not the one of cache.nixos.org, which is %s", k.Name, official))
			}
			keys = append(keys, k)
		}
	}
	return keys, warnings, nil
}

// storePaths reads the arguments of a verb.
func storePaths(args []string, verb string) ([]storepath.Path, error) {
	if len(args) == 0 {
		return nil, usage("thaw "+verb+" --help shows an example", "which store path? Give one or more, like /nix/store/…-hello-2.12.1")
	}
	var out []storepath.Path
	for _, arg := range args {
		text := strings.TrimRight(arg, "/")
		p, err := storepath.Parse(text)
		if err != nil {
			hint := ""
			if rest, ok := strings.CutPrefix(text, storepath.Dir+"/"); ok && strings.Contains(rest, "/") {
				base, _, _ := strings.Cut(rest, "/")
				hint = "perhaps " + storepath.Dir + "/" + base
			} else if q, err := storepath.ParseBase(text); err == nil {
				hint = "perhaps " + q.String()
			}
			return nil, usage(hint, "%v", err)
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, nil
}
