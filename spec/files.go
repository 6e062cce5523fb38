package spec

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// files checks and completes what is put into the image beside the store.
func (c *checker) files() {
	r := &c.spec.Rootfs
	byPath := map[string]int{}
	for i := range r.Files {
		f := &r.Files[i]
		at := item("rootfs.files", i)
		f.Origin = c.origin(at, i)
		if j, ok := byPath[f.Path]; ok {
			c.errorf(at+".path", "%s is the path of %s, too", f.Path, item("rootfs.files", j))
			continue
		}
		byPath[f.Path] = i
		c.place(f.Path, f.Dir, at)
		switch {
		case c.given(at+".dir") && !f.Dir:
			c.errorf(at+".dir", "it is true or left out")
		case f.Symlink != "" && f.Mode != nil:
			c.errorf(at+".mode", "a symbolic link has no mode")
		case f.Symlink == "" && f.Mode == nil:
			mode := Mode(0o644)
			if f.Dir {
				mode = 0o755
			}
			f.Mode = &mode
		}
		c.owner(&f.Owner, at+".owner")
	}
	for i, f := range r.Files {
		for dir := path.Dir(f.Path); dir != "/"; dir = path.Dir(dir) {
			if j, ok := byPath[dir]; ok && !r.Files[j].Dir {
				c.errorf(item("rootfs.files", i)+".path", "%s cannot be there: %s is no directory, as %s says", f.Path, dir, item("rootfs.files", j))
				break
			}
		}
	}
	for i := range r.Trees {
		t := &r.Trees[i]
		at := item("rootfs.trees", i)
		t.Origin = c.origin(at, i)
		if within(t.Path, "/nix/store") {
			c.errorf(at+".path", "what is in %s comes from packages", t.Path)
		}
		c.owner(&t.Owner, at+".owner")
	}
	slices.SortFunc(r.Files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
}

// place reports a file, directory or device at a place that something else has.
func (c *checker) place(p string, isDir bool, at string) {
	r := &c.spec.Rootfs
	switch at += ".path"; {
	case p == "/":
		c.errorf(at, "the root directory is always there")
	case p == "/nix":
		c.errorf(at, "%s is a directory that is always there", p)
	case within(p, "/nix/store"):
		c.errorf(at, "what is in /nix/store comes from packages")
	case !isDir && r.Nix.DB && within("/nix/var/nix", p):
		c.errorf(at, "%s is a directory", p)
	case r.Nix.DB && within(p, "/nix/var/nix"):
		c.errorf(at, "rootfs.nix.db writes what is in /nix/var/nix")
	}
	for _, w := range c.written() {
		switch {
		case p == w[0] && strings.Contains(w[1], " and "):
			c.errorf(at, "%s write %s", w[1], p)
			return
		case p == w[0]:
			c.errorf(at, "%s writes %s", w[1], p)
			return
		case !isDir && within(w[0], p):
			c.errorf(at, "%s is a directory: %s is in it", p, w[0])
			return
		}
	}
}

// written returns the files that other keys of the root file system write, and
// those keys.
func (c *checker) written() (out [][2]string) {
	r := &c.spec.Rootfs
	add := func(given bool, key string, paths ...string) {
		for _, p := range paths {
			if given {
				out = append(out, [2]string{p, key})
			}
		}
	}
	add(len(r.Users) > 0 || len(r.Groups) > 0, "rootfs.users and rootfs.groups", "/etc/passwd", "/etc/group", "/etc/shadow")
	add(r.Hostname != "", "rootfs.hostname", "/etc/hostname")
	add(len(r.Hosts) > 0, "rootfs.hosts", "/etc/hosts")
	add(len(r.OSRelease) > 0, "rootfs.os-release", "/etc/os-release")
	add(r.MachineID == "empty" || r.MachineID == "uninitialized", "rootfs.machine-id", "/etc/machine-id")
	add(len(r.Mounts) > 0, "rootfs.mounts", "/etc/fstab")
	if dir := r.Nix.ClosureInfo; dir != "" {
		add(true, "rootfs.nix.closure-info", path.Join(dir, "registration"), path.Join(dir, "store-paths"), path.Join(dir, "total-nar-size"))
	}
	return out
}
