// Package config collects the settings of a run from where people keep them:
// environment variables, thaw's own config.yaml, and the nix.conf of a machine
// that has one. It reads text and says where each value came from; what a value
// means is decided by who uses it.
package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Layer is what one place says. A zero field says nothing.
type Layer struct {
	Source string // "config.yaml", "environment", … as shown to people

	Caches []Cache
	Keys   []string // NAME:BASE64, or names of files

	Netrc   string        // file of passwords
	CAFile  string        // PEM file of certificate authorities
	Connect time.Duration // limit for making a connection
	Stall   time.Duration // longest silence of a server

	CacheDir    string
	Jobs        int
	Connections int
}

// Cache is a binary cache and how to talk to it.
type Cache struct {
	URL string
	// Where the value of the Authorization header is: at most one of them.
	AuthFile, AuthEnv string
	// PEM files of a client certificate and of its key, which may be one.
	Cert, CertKey string

	Netrc    string   // file of passwords for this cache alone, "" for the common one
	Priority int      // lower is asked first; 0 for what the URL or the cache says
	Trust    []string // names of the keys that count for it; none for all
}

// Setting is one effective setting, for people.
type Setting struct{ Name, Value, Source string }

// Effective is what a run uses, and why.
type Effective struct {
	Layer
	Settings []Setting // by name, in a fixed order
}

// Merge takes each setting from the first layer that has it.
func Merge(layers ...Layer) Effective {
	var e Effective
	take := func(name string, has func(*Layer) bool, use func(*Layer) string) {
		for i := range layers {
			if l := &layers[i]; has(l) {
				e.Settings = append(e.Settings, Setting{name, use(l), l.Source})
				return
			}
		}
		e.Settings = append(e.Settings, Setting{name, "", "unset"})
	}
	take("caches", func(l *Layer) bool { return len(l.Caches) > 0 }, func(l *Layer) string {
		e.Caches = l.Caches
		names := make([]string, len(l.Caches))
		for i, c := range l.Caches {
			names[i] = Redacted(c.URL)
		}
		return strings.Join(names, " ")
	})
	take("trusted-keys", func(l *Layer) bool { return len(l.Keys) > 0 }, func(l *Layer) string {
		e.Keys = l.Keys
		return strings.Join(l.Keys, " ")
	})
	text := func(name string, field func(*Layer) *string) {
		take(name, func(l *Layer) bool { return *field(l) != "" }, func(l *Layer) string {
			*field(&e.Layer) = *field(l)
			return *field(l)
		})
	}
	span := func(name string, field func(*Layer) *time.Duration) {
		take(name, func(l *Layer) bool { return *field(l) != 0 }, func(l *Layer) string {
			*field(&e.Layer) = *field(l)
			return field(l).String()
		})
	}
	number := func(name string, field func(*Layer) *int) {
		take(name, func(l *Layer) bool { return *field(l) != 0 }, func(l *Layer) string {
			*field(&e.Layer) = *field(l)
			return strconv.Itoa(*field(l))
		})
	}
	text("netrc", func(l *Layer) *string { return &l.Netrc })
	text("ca-file", func(l *Layer) *string { return &l.CAFile })
	span("connect-timeout", func(l *Layer) *time.Duration { return &l.Connect })
	span("stall-timeout", func(l *Layer) *time.Duration { return &l.Stall })
	text("cache-dir", func(l *Layer) *string { return &l.CacheDir })
	number("jobs", func(l *Layer) *int { return &l.Jobs })
	number("connections", func(l *Layer) *int { return &l.Connections })
	return e
}

// Redacted returns a cache's URL for messages: without what may be credentials.
func Redacted(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return url
	}
	rest, _, _ = strings.Cut(rest, "#")
	place, query, asked := strings.Cut(rest, "?")
	// Passwords may hold slashes, by mistake.
	if i := strings.LastIndex(place, "@"); i >= 0 {
		place = "…@" + place[i+1:]
	}
	if asked {
		place += "?" + query
	}
	return scheme + "://" + place
}

// Environment reads the variables of thaw's own, and those that others have made
// common.
func Environment(getenv func(string) string) (Layer, error) {
	l := Layer{
		Source:   "environment",
		Keys:     strings.Fields(getenv("THAW_TRUSTED_KEYS")),
		Netrc:    getenv("NETRC"),
		CacheDir: getenv("THAW_CACHE_DIR"),
	}
	for _, url := range strings.Fields(getenv("THAW_CACHES")) {
		l.Caches = append(l.Caches, Cache{URL: url})
	}
	for _, name := range []string{"NIX_SSL_CERT_FILE", "SSL_CERT_FILE"} {
		if l.CAFile == "" {
			l.CAFile = getenv(name)
		}
	}
	for name, field := range map[string]*int{"THAW_JOBS": &l.Jobs, "THAW_CONNECTIONS": &l.Connections} {
		if v := getenv(name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 {
				return l, fmt.Errorf("%s=%s is not a number from 1 on", name, v)
			}
			*field = n
		}
	}
	return l, nil
}

// nixConf is a nix.conf that is being read.
type nixConf struct {
	read     func(file string) (string, error)
	values   map[string][]string
	included []string // the files on the way to the one being read
}

// NixConf reads a nix.conf: substituters, trusted-public-keys, netrc-file,
// ssl-cert-file, connect-timeout and stalled-download-timeout, their older names,
// and what extra-… adds. Files that it includes are read by read, which is also
// used for file itself. All else in it is passed over.
//
// What is added to a list that the file does not set is added to defaults, as
// Nix does.
func NixConf(file string, defaults NixDefaults, read func(file string) (string, error)) (Layer, error) {
	c := nixConf{read: read, values: map[string][]string{}}
	if err := c.file(file); err != nil {
		return Layer{}, err
	}
	l := Layer{Source: file}
	for _, url := range c.all(defaults.Caches, []string{"substituters", "binary-caches"}, []string{"extra-substituters", "extra-binary-caches"}) {
		if url, ok := substituter(url); ok {
			l.Caches = append(l.Caches, Cache{URL: url})
		}
	}
	l.Keys = c.all(defaults.Keys, []string{"trusted-public-keys", "binary-cache-public-keys"}, []string{"extra-trusted-public-keys"})
	l.Netrc = strings.Join(c.list("netrc-file"), " ")
	l.CAFile = strings.Join(c.list("ssl-cert-file"), " ")
	for name, field := range map[string]*time.Duration{"connect-timeout": &l.Connect, "stalled-download-timeout": &l.Stall} {
		if v := c.list(name); len(v) > 0 {
			n, err := strconv.Atoi(v[0])
			if err != nil || n < 0 || n > 1e6 {
				return l, fmt.Errorf("%s: %s = %s is not a number of seconds", file, name, v[0])
			}
			*field = time.Duration(n) * time.Second
		}
	}
	return l, nil
}

// substituter returns the URL of a binary cache among Nix's substituters. Others,
// such as daemon and ssh://…, and settings of caches that only Nix knows, are left
// out.
func substituter(url string) (string, bool) {
	scheme, _, _ := strings.Cut(url, "://")
	if !slices.Contains([]string{"https", "http", "s3", "file"}, scheme) {
		return "", false
	}
	place, query, _ := strings.Cut(url, "?")
	known := []string{"priority"}
	if scheme == "s3" {
		known = append(known, "region", "endpoint", "profile", "scheme")
	}
	var kept []string
	for _, setting := range strings.Split(query, "&") {
		if name, _, ok := strings.Cut(setting, "="); ok && slices.Contains(known, name) {
			kept = append(kept, setting)
		}
	}
	if len(kept) > 0 {
		place += "?" + strings.Join(kept, "&")
	}
	return place, true
}

// NixDefaults are the lists that Nix has built in.
type NixDefaults struct{ Caches, Keys []string }

// all returns a list with what is added to it, nil if neither is set.
func (c *nixConf) all(defaults, set, added []string) []string {
	list, more := c.list(set...), c.list(added...)
	if list == nil && len(more) > 0 {
		list = defaults
	}
	return slices.Concat(list, more)
}

// list returns the value of the first of the names that is set.
func (c *nixConf) list(names ...string) []string {
	for _, n := range names {
		if v, ok := c.values[n]; ok {
			return v
		}
	}
	return nil
}

// maxIncludes is how deep nix.conf files may include each other.
const maxIncludes = 16

func (c *nixConf) file(name string) error {
	if len(c.included) == maxIncludes || slices.Contains(c.included, name) {
		return fmt.Errorf("%s includes itself", name)
	}
	text, err := c.read(name)
	if err != nil {
		return err
	}
	c.included = append(c.included, name)
	defer func() { c.included = c.included[:len(c.included)-1] }()
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case len(words) == 2 && (words[0] == "include" || words[0] == "!include"):
			err := c.file(beside(name, words[1]))
			if err != nil && words[0] == "include" {
				return err
			}
		case len(words) < 2 || words[1] != "=":
			return fmt.Errorf("%s:%d: this is not NAME = VALUE", name, n)
		default:
			if strings.HasPrefix(words[0], "extra-") {
				words = slices.Concat(words[:2], c.values[words[0]], words[2:])
			}
			c.values[words[0]] = words[2:]
		}
	}
	return nil
}

// beside resolves a file name that stands in another file.
func beside(file, name string) string {
	if i := strings.LastIndexByte(file, '/'); i >= 0 && !strings.HasPrefix(name, "/") {
		return file[:i+1] + name
	}
	return name
}
