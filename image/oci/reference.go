package oci

import (
	"fmt"
	"regexp"
	"strings"
)

// reference is the name of an image: a repository and a tag.
type reference struct{ repository, tag string }

var (
	repository = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]+)?/)?[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tag        = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
)

// parseReference reads a name like "example.org:5000/tools/hello:1.0". Without a tag
// it is "latest".
func parseReference(s string) (*reference, error) {
	r := &reference{s, "latest"}
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		r.repository, r.tag = s[:i], s[i+1:]
	}
	if len(r.repository) > 255 || !repository.MatchString(r.repository) || !tag.MatchString(r.tag) {
		return nil, fmt.Errorf("the name of an image is like hello, tools/hello:1.0 or example.org/hello:1.0: not %q", s)
	}
	return r, nil
}

// full returns the name with the registry and the path that Docker leaves out.
func (r *reference) full() string {
	first, rest, ok := strings.Cut(r.repository, "/")
	switch {
	case !ok:
		return "docker.io/library/" + r.short()
	case !strings.ContainsAny(first, ".:") && first != "localhost":
		return "docker.io/" + first + "/" + rest + ":" + r.tag
	}
	return r.short()
}

func (r *reference) short() string { return r.repository + ":" + r.tag }
