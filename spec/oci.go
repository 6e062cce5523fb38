package spec

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// OCI is a container image: a directory as OCI's image layout has it, or one file
// with all of that, which Docker loads, too.
type OCI struct {
	Archive     string     `key:"archive" only:"dir tar" default:"dir"`
	Name        string     `key:"name" is:"image name" unset:"none"`
	Compress    string     `key:"compress" only:"gzip zstd none" default:"gzip"`
	MaxLayers   int        `key:"max-layers" range:"1 127" default:"100"`
	Entrypoint  []string   `key:"entrypoint" is:"argument" unset:"none"`
	Cmd         []string   `key:"cmd" is:"argument" unset:"none"`
	Env         []Variable `key:"env" unset:"none; PATH is then what runs the container says"` // sorted by name
	User        string     `key:"user" is:"container user" unset:"root"`
	Workdir     string     `key:"workdir" is:"path" unset:"/"`
	Labels      []Label    `key:"labels" unset:"none"`            // sorted by name
	Ports       []string   `key:"ports" is:"port" unset:"none"`   // sorted
	Volumes     []string   `key:"volumes" is:"path" unset:"none"` // sorted
	StopSignal  string     `key:"stop-signal" is:"signal" unset:"SIGTERM"`
	Annotations []Label    `key:"annotations" unset:"none"` // sorted by name
}

// Label is a name with a text, in a container image.
type Label struct {
	Name  string `key:"*" is:"label name"`
	Value string `key:"=" is:"argument"`
}

func (c *checker) oci(o *OCI, at string) {
	if c.spec.Arch == "" {
		c.errorf(at+".type", "the spec needs the key \"arch\": a container image says what it runs on")
	}
	for _, list := range []struct {
		key   string
		items []string
	}{{"entrypoint", o.Entrypoint}, {"cmd", o.Cmd}} {
		if len(list.items) > 0 && list.items[0] == "" && (list.key == "entrypoint" || o.Entrypoint == nil) {
			c.errorf(item(at+"."+list.key, 0), "the name of a program is not empty")
		}
	}
	for i, dir := range o.Volumes {
		if dir == "/" {
			c.errorf(item(at+".volumes", i), "the root directory is no volume")
		}
	}
	c.containerUser(o.User, at+".user")
	sortVariables(o.Env)
	for _, labels := range [][]Label{o.Labels, o.Annotations} {
		slices.SortFunc(labels, func(a, b Label) int { return cmp.Compare(a.Name, b.Name) })
	}
	o.Ports, o.Volumes = sorted(o.Ports), sorted(o.Volumes)
}

// containerUser holds that there are the user and the group that a container runs
// as. Where thaw writes no accounts, a package or a file may.
func (c *checker) containerUser(s, at string) {
	r := &c.spec.Rootfs
	if s == "" || r.Users == nil && r.Groups == nil {
		return
	}
	user, group, _ := strings.Cut(s, ":")
	_, err := parseID(user)
	if err != nil && user != "root" && !slices.ContainsFunc(r.Users, func(u User) bool { return u.Name == user }) {
		c.errorf(at, "there is no user %s: list it in rootfs.users", clip(user))
	}
	_, err = parseID(group)
	if group != "" && err != nil && group != "root" && !slices.ContainsFunc(r.Groups, func(g Group) bool { return g.Name == group }) {
		c.errorf(at, "there is no group %s: list it in rootfs.groups", clip(group))
	}
}

// containerUser reads USER or USER:GROUP, of which each is a name or a number.
func containerUser(s string) (string, error) {
	user, group, both := strings.Cut(s, ":")
	for i, name := range []string{user, group} {
		if i == 1 && !both {
			break
		}
		if _, err := parseID(name); err == nil {
			continue
		}
		if _, err := account(name); err != nil {
			return "", fmt.Errorf("%s is not who a container runs as: write USER or USER:GROUP, by names or numbers", clip(s))
		}
	}
	return s, nil
}

var (
	imageRepository = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]+)?/)?[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	imageTag        = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
)

// imageName reads the name of a container image.
func imageName(s string) (string, error) {
	repository, tag := s, "latest"
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		repository, tag = s[:i], s[i+1:]
	}
	if len(repository) > 255 || !imageRepository.MatchString(repository) || !imageTag.MatchString(tag) {
		return "", fmt.Errorf("%s is not the name of a container image, such as demo:1.0 or example.org/tools/demo:1.0, in lower case but for the tag", clip(s))
	}
	return s, nil
}

var containerPorts = regexp.MustCompile(`^([1-9][0-9]{0,4})(/(tcp|udp|sctp))?$`)

// containerPort reads the number of a port; it is one of TCP unless it says
// otherwise.
func containerPort(s string) (string, error) {
	m := containerPorts.FindStringSubmatch(s)
	if m == nil {
		return "", fmt.Errorf("%s is not a port, such as 80/tcp or 53/udp", clip(s))
	}
	if n, _ := strconv.Atoi(m[1]); n > 65535 {
		return "", fmt.Errorf("%s is not a port: they end at 65535", clip(s))
	}
	if m[2] == "" {
		s += "/tcp"
	}
	return s, nil
}

// argument reads a text that a process can be given.
func argument(s string) (string, error) {
	if strings.Contains(s, "\x00") {
		return "", fmt.Errorf("%s has a NUL", clip(s))
	}
	return s, nil
}
