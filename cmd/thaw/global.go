package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"thaw/narinfo"
	"thaw/storepath"
	"thaw/substituter"
)

// defaultCache is used when the command line names none.
const defaultCache = "https://cache.nixos.org"

// global holds the options that all verbs have.
type global struct {
	caches      []string
	keys        []string
	exempt      []string
	jobs        int
	connections int
	cacheDir    string
	noCache     bool
	progress    string
	verbose     bool
	quiet       bool
}

func (g *global) flags(f *pflag.FlagSet) {
	f.StringArrayVar(&g.caches, "cache", nil, "binary cache: https://…, http://…, file://DIR or a directory; may be repeated (default "+defaultCache+")")
	f.StringArrayVar(&g.keys, "trusted-key", nil, "public key NAME:BASE64, or a file that holds one; may be repeated (default the key of cache.nixos.org)")
	f.StringArrayVar(&g.exempt, "no-check-sigs", nil, "take what the cache with this URL says without a signature; may be repeated")
	f.IntVar(&g.jobs, "jobs", 0, "NARs decoded at a time (default the number of cores)")
	f.IntVar(&g.connections, "connections", 64, "requests at a time to one host")
	f.StringVar(&g.cacheDir, "cache-dir", "", "where fetched objects are kept (default thaw in the user's cache directory)")
	f.BoolVar(&g.noCache, "no-cache", false, "keep nothing: use a temporary directory instead of --cache-dir")
	f.StringVar(&g.progress, "progress", "auto", "auto, plain, json or none")
	f.BoolVarP(&g.verbose, "verbose", "v", false, "say more")
	f.BoolVarP(&g.quiet, "quiet", "q", false, "print only results, warnings and errors")
}

// check completes the options and refuses what makes no sense.
func (g *global) check() error {
	if g.jobs == 0 {
		g.jobs = runtime.GOMAXPROCS(0)
	}
	switch {
	case g.jobs < 1 || g.jobs > 1024:
		return usage("", "--jobs %d is not from 1 to 1024", g.jobs)
	case g.connections < 1 || g.connections > 1024:
		return usage("", "--connections %d is not from 1 to 1024", g.connections)
	case !slices.Contains([]string{"auto", "plain", "json", "none"}, g.progress):
		return usage("", "--progress %s is not auto, plain, json or none", g.progress)
	case g.noCache && g.cacheDir != "":
		return usage("leave one of them out", "--no-cache and --cache-dir contradict each other")
	}
	if len(g.caches) == 0 {
		g.caches = []string{defaultCache}
	}
	return nil
}

// trusted returns the keys of this run and warnings about them.
func (g *global) trusted() (keys narinfo.Keys, warnings []string, err error) {
	texts := g.keys
	if len(texts) == 0 {
		texts = []string{narinfo.CacheNixosOrg}
	}
	official, err := narinfo.ParseKey(narinfo.CacheNixosOrg)
	if err != nil {
		return nil, nil, err
	}
	for _, text := range texts {
		if !strings.Contains(text, ":") || strings.HasPrefix(text, "/") || strings.HasPrefix(text, ".") {
			content, err := os.ReadFile(text)
			if err != nil {
				return nil, nil, usage("give NAME:BASE64, or a file that holds it", "--trusted-key %s: %v", text, err)
			}
			text = string(content)
		}
		for _, t := range strings.Fields(text) {
			k, err := narinfo.ParseKey(t)
			if err != nil {
				return nil, nil, usage("a cache publishes its key beside its URL", "--trusted-key: %v", err)
			}
			if k.Name == official.Name && !k.Public.Equal(official.Public) {
				warnings = append(warnings, fmt.Sprintf("the key given for %s is not the one of cache.nixos.org, which is %s", k.Name, official))
			}
			keys = append(keys, k)
		}
	}
	return keys, warnings, nil
}

// source is where a run gets its store objects.
type source struct {
	*substituter.Disk
	list   *substituter.List
	remove func()
}

// open opens the caches of the run.
func (g *global) open(ev *substituter.Events) (*source, error) {
	keys, warnings, err := g.trusted()
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		ev.Warn(w)
	}
	settings := substituter.HTTPSettings{Connections: g.connections, UserAgent: "thaw/" + version()}
	client, err := settings.Client()
	if err != nil {
		return nil, err
	}
	list := &substituter.List{Events: ev}
	exempt := map[string]bool{}
	for _, e := range g.exempt {
		exempt[cacheName(e)] = true
	}
	for _, c := range g.caches {
		t, err := transport(c, client, settings)
		if err != nil {
			return nil, usage("http://…, https://…, file://DIR and directories are supported", "--cache %s: %v", redacted(c), err)
		}
		r := &substituter.Remote{From: t, Keys: keys, Exempt: exempt[t.String()], Events: ev}
		if r.Exempt {
			ev.Warn("signatures of " + t.String() + " are not checked")
			delete(exempt, t.String())
		}
		list.Caches = append(list.Caches, r)
	}
	for e := range exempt {
		return nil, usage("it takes the URL of one of the caches", "--no-check-sigs=%s: there is no --cache of that URL", redacted(e))
	}
	src := &source{list: list, remove: func() {}}
	dir := g.cacheDir
	switch {
	case g.noCache:
		if dir, err = os.MkdirTemp("", "thaw-"); err != nil {
			return nil, err
		}
		src.remove = func() { os.RemoveAll(dir) }
	case dir == "":
		base, err := os.UserCacheDir()
		if err != nil {
			return nil, usage("give --cache-dir DIR, or --no-cache", "there is no place for the cache: %v", err)
		}
		dir = filepath.Join(base, "thaw")
	}
	if src.Disk, err = substituter.OpenDisk(dir, list, keys, g.jobs, ev); err != nil {
		src.remove()
		return nil, fmt.Errorf("the cache directory: %w", err)
	}
	return src, nil
}

// transport returns the cache at a URL or in a directory.
func transport(c string, client *http.Client, s substituter.HTTPSettings) (substituter.Transport, error) {
	if dir, ok := cacheDir(c); ok {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		if st, err := os.Stat(abs); err != nil {
			return nil, fmt.Errorf("there is no directory %s", abs)
		} else if !st.IsDir() {
			return nil, fmt.Errorf("%s is not a directory", abs)
		}
		return substituter.File{Dir: abs}, nil
	}
	return substituter.NewHTTP(c, client, s)
}

// cacheDir returns the directory that a cache is in, if it is in one.
func cacheDir(c string) (dir string, ok bool) {
	if dir, ok = strings.CutPrefix(c, "file://"); ok {
		return dir, true
	}
	return c, !strings.Contains(c, "://")
}

// cacheName returns the URL that the cache calls itself.
func cacheName(c string) string {
	if t, err := transport(c, nil, substituter.HTTPSettings{}); err == nil {
		return t.String()
	}
	return c
}

// redacted returns a cache's URL for messages: without credentials.
func redacted(c string) string {
	if scheme, rest, ok := strings.Cut(c, "://"); ok {
		host, path, _ := strings.Cut(rest, "/")
		if i := strings.LastIndex(host, "@"); i >= 0 {
			return scheme + "://…@" + host[i+1:] + "/" + path
		}
	}
	return c
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
			}
			return nil, usage(hint, "%v", err)
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, nil
}
