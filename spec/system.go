package spec

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// system checks and completes what a running system reads: hosts, mounts,
// devices and services.
func (c *checker) system() {
	r := &c.spec.Rootfs
	for i, h := range r.Hosts {
		path := join("rootfs.hosts", h.Address)
		if len(h.Names) == 0 {
			c.errorf(path, "it has no names")
		}
		if j := slices.IndexFunc(r.Hosts, func(o Host) bool { return o.Address == h.Address }); j < i {
			c.errorf("rootfs.hosts", "the address %s is given twice", h.Address)
		}
	}
	slices.SortFunc(r.Hosts, func(a, b Host) int {
		return netip.MustParseAddr(a.Address).Compare(netip.MustParseAddr(b.Address))
	})
	sortVariables(r.OSRelease)
	c.mounts()
	c.devices()
	if r.Services != nil {
		c.services(r.Services)
	}
}

func sortVariables(vs []Variable) {
	slices.SortFunc(vs, func(a, b Variable) int { return strings.Compare(a.Name, b.Name) })
}

// mounts checks what is mounted where. The order is that in which it is done.
func (c *checker) mounts() {
	mounts := c.spec.Rootfs.Mounts
	for i := range mounts {
		m := &mounts[i]
		at := item("rootfs.mounts", i)
		m.Origin = c.origin(at, i)
		switch {
		case m.Type == "swap" && m.Path != "":
			c.errorf(at+".path", "swap has no path")
		case m.Type != "swap" && m.Path == "":
			c.errorf(at, "the key \"path\" is needed")
		case m.Path == "":
			continue
		}
		for j, other := range mounts[:i] {
			switch {
			case other.Path == m.Path:
				c.errorf(at+".path", "%s is the path of %s, too", m.Path, item("rootfs.mounts", j))
			case m.Path != "/" && other.Path != "" && within(other.Path, m.Path):
				c.errorf(at+".path", "%s would hide %s, which %s mounts before it: list it first", m.Path, other.Path, item("rootfs.mounts", j))
			}
		}
	}
}

func (c *checker) devices() {
	r := &c.spec.Rootfs
	byPath := map[string]int{}
	for i, f := range r.Files {
		byPath[f.Path] = -1 - i
	}
	for i := range r.Devices {
		d := &r.Devices[i]
		at := item("rootfs.devices", i)
		d.Origin = c.origin(at, i)
		if j, ok := byPath[d.Path]; ok && j < 0 {
			c.errorf(at+".path", "%s is the path of %s, too", d.Path, item("rootfs.files", -1-j))
		} else if ok {
			c.errorf(at+".path", "%s is the path of %s, too", d.Path, item("rootfs.devices", j))
		}
		byPath[d.Path] = i
		c.place(d.Path, false, at)
		for _, n := range []struct {
			key string
			is  *uint32
		}{{"major", d.Major}, {"minor", d.Minor}} {
			switch {
			case d.Type == "fifo" && n.is != nil:
				c.errorf(join(at, n.key), "a fifo has no device number")
			case d.Type != "fifo" && n.is == nil:
				c.errorf(at, "the key %q is needed", n.key)
			}
		}
		c.owner(&d.Owner, at+".owner")
	}
	slices.SortFunc(r.Devices, func(a, b Device) int { return cmp.Compare(a.Path, b.Path) })
}

func (c *checker) services(s *Services) {
	const run, getty = "rootfs.services.run", "rootfs.services.getty"
	twice(c, getty, s.Getty, func(t string) string { return t }, "this terminal")
	twice(c, run, s.Run, func(s Service) string { return s.Name }, "its name")
	consoles := map[string]string{}
	for i, t := range s.Getty {
		consoles[t] = item(getty, i)
	}
	for i := range s.Run {
		service := &s.Run[i]
		at := item(run, i)
		service.Origin = c.origin(at, i)
		if service.Name == "rcS" || service.Name == "rcK" || strings.HasPrefix(service.Name, "getty-") {
			c.errorf(at+".name", "thaw has this name for itself")
		}
		if !service.Once && service.Console != "" {
			if other, ok := consoles[service.Console]; ok {
				c.errorf(at+".console", "%s is that of %s, too", service.Console, other)
			}
			consoles[service.Console] = at
		}
		if service.User != "root" && !slices.ContainsFunc(c.spec.Rootfs.Users, func(u User) bool { return u.Name == service.User }) {
			c.errorf(at+".user", "there is no user %s: list it in rootfs.users", clip(service.User))
		}
		sortVariables(service.Environment)
	}
}

// origin is where the item i of a list is, which has that path.
func (c *checker) origin(path string, i int) Origin {
	o := Origin{Index: i}
	if n := c.at[path]; n != nil {
		o.Line = n.line
	}
	return o
}

// address reads an IP address and writes it in its usual form.
func address(s string) (string, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return "", fmt.Errorf("%s is not an IP address", clip(s))
	}
	return a.String(), nil
}

var dnsNames = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*$`)

func dnsName(s string) (string, error) {
	if len(s) > 253 || !dnsNames.MatchString(s) {
		return "", fmt.Errorf("%s is not the name of a host: up to 253 letters, digits, dashes and underscores, in parts separated by dots", clip(s))
	}
	return s, nil
}

// mountSource reads what is mounted: a device, a tag such as LABEL=data, a
// directory, or the name of what has no device.
func mountSource(s string) (string, error) {
	if s == "" || len(s) > maxPath || strings.ContainsFunc(s, isControl) {
		return "", fmt.Errorf("%s is nothing to mount: write a device, LABEL=…, UUID=…, a directory, or tmpfs", clip(s))
	}
	return s, nil
}

// line reads a text of one line.
func line(s string) (string, error) {
	if strings.ContainsFunc(s, isControl) {
		return "", fmt.Errorf("%s has a control character: it is one line", clip(s))
	}
	return s, nil
}
