package spec

import (
	"cmp"
	"path"
	"slices"
)

// files checks and completes what is put into the image beside the store.
func (c *checker) files() {
	r := &c.spec.Rootfs
	byPath := map[string]int{}
	for i := range r.Files {
		f := &r.Files[i]
		at := item("rootfs.files", i)
		if j, ok := byPath[f.Path]; ok {
			c.errorf(at+".path", "%s is the path of %s, too", f.Path, item("rootfs.files", j))
			continue
		}
		byPath[f.Path] = i
		c.taken(f, at)
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
		if within(t.Path, "/nix/store") {
			c.errorf(at+".path", "what is in %s comes from packages", t.Path)
		}
		c.owner(&t.Owner, at+".owner")
	}
	slices.SortFunc(r.Files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
}

// taken reports a file at a place that something else has.
func (c *checker) taken(f *File, at string) {
	r := &c.spec.Rootfs
	accounts := len(r.Users) > 0 || len(r.Groups) > 0
	switch at += ".path"; {
	case f.Path == "/":
		c.errorf(at, "the root directory is always there")
	case within(f.Path, "/nix/store"):
		c.errorf(at, "what is in /nix/store comes from packages")
	case !f.Dir && (f.Path == "/nix" || r.Nix.DB && within("/nix/var/nix", f.Path)):
		c.errorf(at, "%s is a directory", f.Path)
	case r.Nix.DB && within(f.Path, "/nix/var/nix"):
		c.errorf(at, "rootfs.nix.db writes what is in /nix/var/nix")
	case r.Hostname != "" && f.Path == "/etc/hostname":
		c.errorf(at, "rootfs.hostname writes %s", f.Path)
	case accounts && (f.Path == "/etc/passwd" || f.Path == "/etc/group" || f.Path == "/etc/shadow"):
		c.errorf(at, "rootfs.users and rootfs.groups write %s", f.Path)
	}
}
