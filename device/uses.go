package device

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// system are the places whose file systems the running system needs.
var system = []string{"/", "/boot", "/boot/efi", "/efi", "/etc", "/nix", "/nix/store", "/usr", "/var"}

// uses returns what each device is needed for, by its name.
func (h Host) uses() map[string][]Use {
	out := map[string][]Use{}
	add := func(name string, u Use) {
		if !slices.Contains(out[name], u) {
			out[name] = append(out[name], u)
		}
	}
	// below has what is on a device be on all that the device is made of.
	var below func(name string, u Use, depth int)
	below = func(name string, u Use, depth int) {
		add(name, u)
		for _, slave := range names(h.sys(name, "slaves")) {
			if depth < 16 {
				below(slave, u, depth+1)
			}
		}
	}
	for _, m := range h.mounts() {
		below(m.name, Use{m.name, "is mounted at " + m.at, slices.Contains(system, m.at)}, 0)
	}
	swaps, _ := os.ReadFile(h.path("proc/swaps"))
	for line := range strings.Lines(string(swaps)) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == "partition" {
			if name, ok := h.node(unescape(f[0])); ok {
				below(name, Use{name, "is swap space in use", true}, 0)
			}
		}
	}
	for _, name := range names(h.path("sys/class/block")) {
		for _, holder := range names(h.sys(name, "holders")) {
			what := "is in use by " + holder
			if title := h.attribute(holder, "dm/name"); title != "" {
				what += " (" + title + ")"
			}
			add(name, Use{name, what, false})
		}
	}
	return out
}

// mount is a file system that is mounted from a block device.
type mount struct {
	name string // of the device
	at   string
}

// mounts reads mountinfo (proc_pid_mountinfo(5)). A device is known by its number, or,
// where the file system has one of its own, as btrfs does, by its path.
func (h Host) mounts() (out []mount) {
	text, _ := os.ReadFile(h.path("proc/self/mountinfo"))
	numbers := map[string]string{}
	for _, name := range names(h.path("sys/class/block")) {
		numbers[h.attribute(name, "dev")] = name
	}
	for line := range strings.Lines(string(text)) {
		fields, rest, _ := strings.Cut(strings.TrimSpace(line), " - ")
		f, r := strings.Fields(fields), strings.Fields(rest)
		if len(f) < 5 || len(r) < 2 {
			continue
		}
		name, ok := numbers[f[2]]
		if source := unescape(r[1]); !ok && strings.HasPrefix(source, "/dev/") {
			name, ok = h.node(source)
		}
		if ok {
			out = append(out, mount{name, unescape(f[4])})
		}
	}
	return out
}

// node returns the name of the device at a path, which may be a link.
func (h Host) node(path string) (string, bool) {
	path = h.path(path)
	if name, ok := h.named(path); ok {
		return name, true
	}
	if p, err := filepath.EvalSymlinks(path); err == nil {
		path = p
	}
	name := strings.ReplaceAll(strings.TrimPrefix(path, h.path("dev")+"/"), "/", "!")
	_, err := os.Stat(h.sys(name))
	return name, err == nil && name != ""
}

// unescape undoes the octal escapes of files in /proc.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// Holds reports whether a file lies on the device, or is what a loop device shows.
func (h Host) Holds(d *Device, file string) bool {
	path, err := filepath.Abs(file)
	if err != nil {
		return false
	}
	if p, err := filepath.EvalSymlinks(path); err == nil {
		path = p
	}
	if backing := h.attribute(d.Name, "loop/backing_file"); backing != "" && backing == path {
		return true
	}
	if name, ok := h.node(path); ok && strings.HasPrefix(path, "/dev/") {
		return name == d.Name || h.disk(name) == d.Name
	}
	// The longest place where something is mounted is the one of the file.
	best := mount{}
	for _, m := range h.mounts() {
		if (path == m.at || strings.HasPrefix(path, strings.TrimSuffix(m.at, "/")+"/")) && len(m.at) >= len(best.at) {
			best = m
		}
	}
	return best.name != "" && slices.ContainsFunc(d.Uses, func(u Use) bool { return u.Part == best.name })
}
