package config

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// file is the form of config.yaml.
type file struct {
	Caches []struct {
		URL           string `yaml:"url"`
		Authorization struct {
			File string `yaml:"file"`
			Env  string `yaml:"env"`
		} `yaml:"authorization"`
		ClientCertificate struct {
			Cert string `yaml:"cert"`
			Key  string `yaml:"key"`
		} `yaml:"client-certificate"`
	} `yaml:"caches"`
	TrustedKeys    []string `yaml:"trusted-keys"`
	Netrc          string   `yaml:"netrc"`
	CAFile         string   `yaml:"ca-file"`
	ConnectTimeout string   `yaml:"connect-timeout"`
	StallTimeout   string   `yaml:"stall-timeout"`
	CacheDir       string   `yaml:"cache-dir"`
	Jobs           int      `yaml:"jobs"`
	Connections    int      `yaml:"connections"`
}

// maxYAML bounds a config.yaml, in bytes.
const maxYAML = 1 << 20

// YAML reads a config.yaml. File names in it are relative to it. Unknown keys
// are errors.
func YAML(name string, text []byte) (Layer, error) {
	l := Layer{Source: name}
	if len(text) > maxYAML {
		return l, fmt.Errorf("%s: longer than %d bytes", name, maxYAML)
	}
	var f file
	if len(bytes.TrimSpace(text)) == 0 {
		return l, nil
	}
	if err := yaml.UnmarshalWithOptions(text, &f, yaml.Strict()); err != nil {
		return l, fmt.Errorf("%s: %s", name, yaml.FormatError(err, false, true))
	}
	path := func(p string) string {
		if p == "" {
			return ""
		}
		return beside(name, p)
	}
	for i, c := range f.Caches {
		switch {
		case c.URL == "":
			return l, fmt.Errorf("%s: caches[%d] has no url", name, i)
		case c.Authorization.File != "" && c.Authorization.Env != "":
			return l, fmt.Errorf("%s: the authorization of %s has both a file and an env", name, Redacted(c.URL))
		case c.ClientCertificate.Cert == "" && c.ClientCertificate.Key != "":
			return l, fmt.Errorf("%s: the client-certificate of %s has a key and no cert", name, Redacted(c.URL))
		}
		l.Caches = append(l.Caches, Cache{
			URL: c.URL, AuthFile: path(c.Authorization.File), AuthEnv: c.Authorization.Env,
			Cert: path(c.ClientCertificate.Cert), CertKey: path(c.ClientCertificate.Key),
		})
	}
	for _, span := range []struct {
		text string
		into *time.Duration
	}{{f.ConnectTimeout, &l.Connect}, {f.StallTimeout, &l.Stall}} {
		if span.text == "" {
			continue
		}
		d, err := time.ParseDuration(span.text)
		if err != nil || d <= 0 {
			return l, fmt.Errorf("%s: %q is not a time, like 30s or 2m", name, span.text)
		}
		*span.into = d
	}
	if f.Jobs < 0 || f.Connections < 0 {
		return l, fmt.Errorf("%s: jobs and connections are numbers from 1 on", name)
	}
	l.Netrc, l.CAFile, l.CacheDir = path(f.Netrc), path(f.CAFile), path(f.CacheDir)
	for i, k := range f.TrustedKeys {
		if !strings.Contains(k, ":") {
			f.TrustedKeys[i] = path(k)
		}
	}
	l.Keys, l.Jobs, l.Connections = f.TrustedKeys, f.Jobs, f.Connections
	return l, nil
}
