package spec

import (
	"cmp"
	"slices"
	"strings"
)

// accounts checks users and groups, and completes them.
func (c *checker) accounts() {
	r := &c.spec.Rootfs
	gids := map[string]uint32{"root": 0}
	groupPath := map[uint32]string{}
	for i, g := range r.Groups {
		path := item("rootfs.groups", i)
		if (g.Name == "root") != (g.GID == 0) {
			c.errorf(path, "the group root has the number 0, and no other group has")
			continue
		}
		if other, ok := groupPath[g.GID]; ok {
			c.errorf(join(path, "gid"), "%d is the number of %s", g.GID, other)
		}
		if _, ok := gids[g.Name]; ok && g.Name != "root" || groupPath[0] != "" && g.GID == 0 {
			c.errorf(join(path, "name"), "there are two groups called %s", g.Name)
		}
		gids[g.Name] = g.GID
		groupPath[g.GID] = path + ", " + g.Name
	}
	names := map[string]bool{}
	uids := map[uint32]string{}
	for i := range r.Users {
		u := &r.Users[i]
		path := item("rootfs.users", i)
		u.Origin = c.origin(path, i)
		if (u.Name == "root") != (u.UID == 0) {
			c.errorf(path, "the user root has the number 0, and no other user has")
			continue
		}
		if names[u.Name] {
			c.errorf(join(path, "name"), "there are two users called %s", u.Name)
			continue
		}
		names[u.Name] = true
		if other, ok := uids[u.UID]; ok {
			c.errorf(join(path, "uid"), "%d is the number of %s", u.UID, other)
		}
		uids[u.UID] = path + ", " + u.Name
		home := "/home/" + u.Name
		if u.UID == 0 {
			home = "/root"
		}
		u.Home = cmp.Or(u.Home, home)
		if u.Group == "" {
			u.Group = c.ownGroup(u, path, gids, groupPath)
		}
	}
	for i := range r.Users { // now that all groups are known
		u := &r.Users[i]
		path := item("rootfs.users", i)
		known := func(path, g string) {
			if _, ok := gids[g]; !ok {
				c.errorf(path, "there is no group %s: list it in rootfs.groups", clip(g))
			}
		}
		if u.Group != "" { // else the user is wrong already
			known(join(path, "group"), u.Group)
		}
		for j, g := range u.Groups {
			known(item(join(path, "groups"), j), g)
		}
		if slices.Contains(u.Groups, u.Group) {
			c.errorf(join(path, "groups"), "%s is the user's main group already", u.Group)
		}
		u.Groups = sorted(u.Groups)
	}
	slices.SortFunc(r.Users, func(a, b User) int { return cmp.Compare(a.UID, b.UID) })
	slices.SortFunc(r.Groups, func(a, b Group) int { return cmp.Compare(a.GID, b.GID) })
}

// ownGroup returns the main group of a user for whom none is named: one of the
// user's own, which is made if it is not there.
func (c *checker) ownGroup(u *User, path string, gids map[string]uint32, groupPath map[uint32]string) string {
	if _, ok := gids[u.Name]; !ok {
		if other, ok := groupPath[u.UID]; ok {
			c.errorf(path, "%s gets a group of the same name and number, and %d is that of %s: name one with the key \"group\"", u.Name, u.UID, other)
		}
		gids[u.Name], groupPath[u.UID] = u.UID, path+", "+u.Name
		c.spec.Rootfs.Groups = append(c.spec.Rootfs.Groups, Group{u.Name, u.UID})
	}
	return u.Name
}

// owner looks up the names of an owner.
func (c *checker) owner(o *Owner, path string) {
	if o.names == "" {
		return
	}
	user, group, both := strings.Cut(o.names, ":")
	r := &c.spec.Rootfs
	if id, err := parseID(user); err == nil {
		o.UID = id
	} else if i := slices.IndexFunc(r.Users, func(u User) bool { return u.Name == user }); i >= 0 {
		o.UID = r.Users[i].UID
		if !both {
			group = r.Users[i].Group
		}
	} else if user != "root" {
		c.errorf(path, "there is no user %s: list it in rootfs.users", clip(user))
		return
	} else if !both {
		group = "root"
	}
	if id, err := parseID(group); err == nil {
		o.GID = id
	} else if i := slices.IndexFunc(r.Groups, func(g Group) bool { return g.Name == group }); i >= 0 {
		o.GID = r.Groups[i].GID
	} else if group != "root" {
		c.errorf(path, "there is no group %s: list it in rootfs.groups", clip(group))
		return
	}
	o.names = ""
}
