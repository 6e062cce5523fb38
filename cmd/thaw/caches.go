package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"thaw/config"
	"thaw/narinfo"
	"thaw/substituter"
)

// source is where a run gets its store objects.
type source struct {
	*substituter.Disk
	list   *substituter.List
	remove func()
}

// open opens the caches of the run.
func (g *global) open(ev *substituter.Events) (*source, error) {
	list, keys, err := g.remotes(ev)
	if err != nil {
		return nil, err
	}
	src := &source{list: list, remove: func() {}}
	dir := g.effective.CacheDir
	if g.noCache {
		if dir, err = os.MkdirTemp("", "thaw-"); err != nil {
			return nil, err
		}
		src.remove = func() { os.RemoveAll(dir) }
	}
	if dir == "" {
		return nil, usage("give --cache-dir DIR, or --no-cache", "there is no place for the cache: neither XDG_CACHE_HOME nor HOME is set")
	}
	if src.Disk, err = substituter.OpenDisk(dir, list, keys, g.jobs, ev); err != nil {
		src.remove()
		if errors.Is(err, fs.ErrPermission) {
			return nil, usage("give --cache-dir DIR, or --no-cache", "the cache directory: %v", err)
		}
		return nil, fmt.Errorf("the cache directory: %w", err)
	}
	src.Offline = g.offline
	return src, nil
}

// remotes returns the caches of the run as one, and the trusted keys. They are
// read once: a file of them may be a pipe.
func (g *global) remotes(ev *substituter.Events) (list *substituter.List, keys narinfo.Keys, err error) {
	keys, warnings, err := g.trusted()
	if err != nil {
		return nil, nil, err
	}
	for _, w := range warnings {
		ev.Warn(w)
	}
	settings, err := g.http()
	if err != nil {
		return nil, nil, err
	}
	client, err := settings.Client()
	if err != nil {
		return nil, nil, err
	}
	list = &substituter.List{Events: ev}
	exempt := map[string]bool{}
	for _, e := range g.exempt {
		exempt[cacheName(e)] = true
	}
	for _, c := range g.effective.Caches {
		place, priority, err := splitPriority(c.URL)
		if err != nil {
			return nil, nil, err
		}
		s := settings
		if s.Authorization, err = authorization(c); err != nil {
			return nil, nil, err
		}
		if c.Netrc != "" {
			if s.Netrc, err = readNetrc(c.Netrc); err != nil {
				return nil, nil, err
			}
		}
		t, err := transport(place, client, s)
		if err != nil {
			return nil, nil, usage("https://…, http://…, s3://BUCKET, file://DIR and directories are supported", "cache %s: %v", config.Redacted(c.URL), err)
		}
		trusted, err := narrowed(keys, c)
		if err != nil {
			return nil, nil, err
		}
		r := &substituter.Remote{From: t, Keys: trusted, Exempt: exempt[t.String()], Priority: cmp.Or(priority, c.Priority), Events: ev}
		if r.Exempt {
			ev.Warn("signatures of " + t.String() + " are not checked")
			delete(exempt, t.String())
		}
		list.Caches = append(list.Caches, r)
	}
	for e := range exempt {
		return nil, nil, usage("it takes the URL of one of the caches", "--no-check-sigs=%s: there is no cache of that URL", config.Redacted(e))
	}
	return list, keys, nil
}

// http returns the settings that HTTP caches have in common.
func (g *global) http() (substituter.HTTPSettings, error) {
	e := &g.effective
	s := substituter.HTTPSettings{
		Connections: g.connections, Connect: e.Connect, Stall: e.Stall,
		UserAgent: "thaw/" + version(), CABundle: e.CAFile, Certificates: map[string]tls.Certificate{},
	}
	if e.Netrc != "" {
		var err error
		if s.Netrc, err = readNetrc(e.Netrc); err != nil {
			return s, err
		}
	}
	for _, c := range e.Caches {
		if c.Cert == "" {
			continue
		}
		key := c.CertKey
		if key == "" {
			key = c.Cert
		}
		cert, err := tls.LoadX509KeyPair(c.Cert, key)
		if err != nil {
			return s, usage("", "the client certificate for %s: %v", config.Redacted(c.URL), err)
		}
		if u, err := url.Parse(c.URL); err == nil {
			s.Certificates[u.Host] = cert
		}
	}
	return s, nil
}

// readNetrc reads a file of passwords.
func readNetrc(file string) (*substituter.Netrc, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usage("give a file that is there, or none", "netrc: %v", err)
	}
	n, err := substituter.ParseNetrc(file, string(text))
	if err != nil {
		return nil, usage("", "%v", err)
	}
	return n, nil
}

// narrowed returns the keys that count for a cache.
func narrowed(keys narinfo.Keys, c config.Cache) (out narinfo.Keys, err error) {
	if len(c.Trust) == 0 {
		return keys, nil
	}
	for _, name := range c.Trust {
		n := len(out)
		for _, k := range keys {
			if k.Name == name {
				out = append(out, k)
			}
		}
		if len(out) == n {
			return nil, usage("add it to the keys, or leave it out of the cache's trust", "cache %s: no trusted key is called %s", config.Redacted(c.URL), name)
		}
	}
	return out, nil
}

// authorization reads the value of a cache's Authorization header.
func authorization(c config.Cache) (string, error) {
	var value string
	switch {
	case c.AuthEnv != "":
		if value = os.Getenv(c.AuthEnv); value == "" {
			return "", usage("", "the environment variable %s, which authorizes at %s, is not set", c.AuthEnv, config.Redacted(c.URL))
		}
	case c.AuthFile != "":
		text, err := os.ReadFile(c.AuthFile)
		if err != nil {
			return "", usage("", "what authorizes at %s: %v", config.Redacted(c.URL), err)
		}
		value = string(text)
	}
	value = strings.TrimSpace(value)
	if strings.ContainsAny(value, "\r\n") {
		return "", usage("it has the form of the header's value, such as: Bearer TOKEN", "what authorizes at %s has more than one line", config.Redacted(c.URL))
	}
	return value, nil
}

// splitPriority takes priority=N out of the query of a cache's URL. 0 means that
// there is none.
func splitPriority(c string) (place string, priority int, err error) {
	place, query, ok := strings.Cut(c, "?")
	if !ok {
		return c, 0, nil
	}
	values, err := url.ParseQuery(query)
	if err == nil && values.Has("priority") {
		priority, err = strconv.Atoi(values.Get("priority"))
		if priority < 1 {
			err = strconv.ErrRange
		}
		values.Del("priority")
	}
	switch {
	case err != nil:
		return "", 0, usage("?priority=N has an N from 1 on", "cache %s: bad query", config.Redacted(c))
	case len(values) > 0 && strings.HasPrefix(place, "s3://"):
		place += "?" + values.Encode()
	case len(values) > 0:
		return "", 0, usage("only ?priority=N is known", "cache %s: bad query", config.Redacted(c))
	}
	return place, priority, nil
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
	if strings.HasPrefix(c, "s3://") {
		return substituter.NewS3(c, client, s)
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
	place, _, err := splitPriority(c)
	if err != nil {
		return c
	}
	if t, err := transport(place, nil, substituter.HTTPSettings{}); err == nil {
		return t.String()
	}
	return c
}
