package oci

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Config is what a container of an image runs, if nobody says otherwise. The zero
// value runs nothing.
type Config struct {
	Entrypoint []string          // the program and its first arguments
	Cmd        []string          // further arguments, which others replace
	Env        []string          // "NAME=value"
	User       string            // "user", "user:group", by names or numbers
	WorkingDir string            // an absolute path
	Labels     map[string]string // by their names
	Ports      []string          // "80", "80/tcp" or "53/udp"
	Volumes    []string          // absolute paths
	StopSignal string            // "SIGTERM", "9"
}

// configFile is the configuration of an image (image-spec, config.md).
type configFile struct {
	Architecture string     `json:"architecture"`
	Config       execution  `json:"config"`
	Created      string     `json:"created,omitempty"`
	History      []history  `json:"history"`
	OS           string     `json:"os"`
	RootFS       rootFSPart `json:"rootfs"`
	Variant      string     `json:"variant,omitempty"`
}

type execution struct {
	Cmd          []string            `json:"Cmd,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
	User         string              `json:"User,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
}

// history tells of a layer.
type history struct {
	Created   string `json:"created,omitempty"`
	CreatedBy string `json:"created_by"`
	Comment   string `json:"comment,omitempty"`
}

// rootFSPart lists the digests of layers before compression.
type rootFSPart struct {
	Type    string   `json:"type"` // "layers"
	DiffIDs []string `json:"diff_ids"`
}

// file returns the configuration file, without layers.
func (o *Options) file() *configFile {
	c := &o.Config
	f := &configFile{
		Architecture: o.Platform.Architecture, OS: o.Platform.OS, Variant: o.Platform.Variant,
		RootFS: rootFSPart{Type: "layers"},
		Config: execution{
			Cmd: c.Cmd, Entrypoint: c.Entrypoint, Env: c.Env, Labels: c.Labels, StopSignal: c.StopSignal, User: c.User,
			WorkingDir: c.WorkingDir, Volumes: set(c.Volumes), ExposedPorts: map[string]struct{}{},
		},
	}
	for _, p := range c.Ports {
		if !strings.Contains(p, "/") {
			p += "/tcp"
		}
		f.Config.ExposedPorts[p] = struct{}{}
	}
	if !o.Created.IsZero() {
		f.Created = o.Created.UTC().Format(time.RFC3339)
	}
	return f
}

func set(list []string) map[string]struct{} {
	m := make(map[string]struct{}, len(list))
	for _, s := range list {
		m[s] = struct{}{}
	}
	return m
}

var (
	word   = regexp.MustCompile(`^[a-z0-9]+([._-][a-z0-9]+)*$`)
	port   = regexp.MustCompile(`^[1-9][0-9]{0,4}(/(tcp|udp|sctp))?$`)
	signal = regexp.MustCompile(`^([A-Z][A-Z0-9+-]*|[1-9][0-9]?)?$`)
)

// checkConfig refuses what a configuration file cannot say, or what no container
// can be.
func (o *Options) checkConfig() error {
	if o.Platform.OS == "" {
		o.Platform.OS = "linux"
	}
	p, c := o.Platform, &o.Config
	if !word.MatchString(p.OS) || !word.MatchString(p.Architecture) || p.Variant != "" && !word.MatchString(p.Variant) {
		return fmt.Errorf("an image has an architecture like amd64 or arm64: there is no platform %q", p.String())
	}
	if y := o.Created.UTC().Year(); !o.Created.IsZero() && (y < 0 || y > 9999) {
		return fmt.Errorf("an image cannot be of the year %d", y)
	}
	for _, e := range c.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" {
			return fmt.Errorf("the variable %q is not NAME=value", e)
		}
	}
	for _, p := range c.Ports {
		if !port.MatchString(p) {
			return fmt.Errorf("the port %q is not like 80 or 53/udp", p)
		}
	}
	for _, dir := range append(slices.Clone(c.Volumes), c.WorkingDir) {
		if dir != "" && dir[0] != '/' {
			return fmt.Errorf("the directory %q is not absolute", dir)
		}
	}
	if slices.Contains(c.Volumes, "") {
		return fmt.Errorf("a volume is no empty path")
	}
	if !signal.MatchString(c.StopSignal) {
		return fmt.Errorf("the stop signal %q is not like SIGTERM", c.StopSignal)
	}
	labels := func(m map[string]string) []string {
		return append(slices.Sorted(maps.Keys(m)), slices.Sorted(maps.Values(m))...)
	}
	for _, part := range []struct {
		what string
		list []string
	}{
		{"entrypoint", c.Entrypoint}, {"cmd", c.Cmd}, {"env", c.Env}, {"user", []string{c.User}}, {"working directory", []string{c.WorkingDir}},
		{"volumes", c.Volumes}, {"labels", labels(c.Labels)}, {"annotations", labels(o.Annotations)},
	} {
		for _, s := range part.list {
			if err := text(part.what, s); err != nil {
				return err
			}
		}
	}
	if _, ok := c.Labels[""]; ok {
		return fmt.Errorf("a label has no name")
	}
	return nil
}

// text refuses what JSON or a process cannot hold.
func text(what, s string) error {
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return fmt.Errorf("%s: %q is not UTF-8 without NUL", what, s)
	}
	return nil
}
