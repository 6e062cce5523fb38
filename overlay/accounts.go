package overlay

import (
	"fmt"
	"slices"
	"strings"

	"thaw/rootfs"
	"thaw/spec"
)

// root is the account that is always there.
var root = spec.User{Name: "root", Group: "root", Description: "root", Home: "/root", Shell: "/bin/sh"}

// users returns the accounts, root first.
func (b *builder) users() []spec.User {
	if users := b.rootfs.Users; len(users) > 0 && users[0].UID == 0 {
		return users
	}
	return append([]spec.User{root}, b.rootfs.Users...)
}

// groups returns the groups, root first.
func (b *builder) groups() []spec.Group {
	if groups := b.rootfs.Groups; len(groups) > 0 && groups[0].GID == 0 {
		return groups
	}
	return append([]spec.Group{{Name: "root"}}, b.rootfs.Groups...)
}

// gids are the numbers of groups by name.
func (b *builder) gids() map[string]uint32 {
	gids := map[string]uint32{}
	for _, g := range b.groups() {
		gids[g.Name] = g.GID
	}
	return gids
}

// hasAccounts reports whether the spec says anything about accounts.
func (b *builder) hasAccounts() bool { return len(b.rootfs.Users)+len(b.rootfs.Groups) > 0 }

// accounts writes /etc/passwd, /etc/group and /etc/shadow.
//
// An account without a hash gets a *, which no password fits; a ! would be a
// locked account, which sshd refuses even with a key. The last change of a
// password is day 1: day 0 demands a new one at the next login, and today would
// differ from build to build. Only root reads /etc/shadow, as not every image has
// a group called shadow.
func (b *builder) accounts() error {
	if !b.hasAccounts() {
		return nil
	}
	gids := b.gids()
	var passwd, shadow, group strings.Builder
	members := map[string][]string{}
	for _, u := range b.users() {
		fmt.Fprintf(&passwd, "%s:x:%d:%d:%s:%s:%s\n", u.Name, u.UID, gids[u.Group], u.Description, u.Home, u.Shell)
		hash := u.Password
		if hash == "" {
			hash = "*"
		}
		fmt.Fprintf(&shadow, "%s:%s:1::::::\n", u.Name, hash)
		for _, g := range u.Groups {
			members[g] = append(members[g], u.Name)
		}
	}
	for _, g := range b.groups() {
		fmt.Fprintf(&group, "%s:x:%d:%s\n", g.Name, g.GID, strings.Join(members[g.Name], ","))
	}
	const place = "rootfs.users"
	if err := b.file("etc/passwd", 0o644, passwd.String(), place); err != nil {
		return err
	}
	if err := b.file("etc/group", 0o644, group.String(), place); err != nil {
		return err
	}
	return b.file("etc/shadow", 0o600, shadow.String(), place)
}

// notHomes are directories that accounts may have as homes, and that stay as they
// are: of no one, or of the system.
var notHomes = []string{".", "nonexistent", "tmp", "var", "var/cache", "var/lib", "var/log", "var/spool", "var/tmp"}

// systemTops are the directories in the root with everything below that is the
// system's, or mounted over.
var systemTops = []string{"bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "nix", "proc", "run", "sbin", "sys", "usr"}

// isHome reports whether a home directory is made.
func isHome(p string) bool {
	top, _, _ := strings.Cut(p, "/")
	return !slices.Contains(notHomes, p) && !slices.Contains(systemTops, top)
}

// homes makes the home directories.
func (b *builder) homes() error {
	if !b.hasAccounts() {
		return nil
	}
	shared := map[string]int{}
	for _, u := range b.users() {
		shared[u.Home]++
	}
	gids := b.gids()
	for i, u := range b.users() {
		home := path(u.Home)
		place := b.spec.Place("rootfs.users", u.Origin)
		if i == 0 && len(b.users()) > len(b.rootfs.Users) {
			place = "rootfs.users" // root is not listed
		}
		e := rootfs.Dir(home, 0o700)
		e.UID, e.GID = u.UID, gids[u.Group]
		switch {
		case !isHome(home):
			continue
		case home == "var/empty":
			e = rootfs.Dir(home, 0o555)
		case shared[u.Home] > 1:
			e = rootfs.Dir(home, dirMode(home))
		}
		if err := b.put(e, nil, place); err != nil {
			return err
		}
	}
	return nil
}

// volatile reports whether a path is in a directory that a running system mounts
// over.
func volatile(p string) bool {
	top, _, _ := strings.Cut(p, "/")
	return top == "dev" || top == "proc" || top == "run" || top == "sys"
}
