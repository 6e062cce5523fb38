package spec

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
)

// Mode is the permission bits of a file, with the bits setuid (04000), setgid
// (02000) and sticky (01000).
type Mode uint16

// ParseMode reads three or four octal digits.
func ParseMode(s string) (Mode, error) {
	n, err := strconv.ParseUint(s, 8, 12)
	if err != nil || len(s) < 3 || len(s) > 4 {
		return 0, fmt.Errorf("%s is not a mode: write octal digits in quotes, such as \"0644\"", clip(s))
	}
	return Mode(n), nil
}

// String returns four octal digits.
func (m Mode) String() string { return fmt.Sprintf("%04o", uint16(m)) }

// UUID is a UUID, or the GUID of a partition table, in the order of its text. The
// zero value is none.
type UUID [16]byte

// ParseUUID reads 8-4-4-4-12 hexadecimal digits.
func ParseUUID(s string) (UUID, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != 16 || len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return UUID{}, fmt.Errorf("%s is not a UUID, such as 6f2c2ac4-3b1e-4d0c-9a53-0b9c7c1f6f10", clip(s))
	}
	if [16]byte(b) == [16]byte{} {
		return UUID{}, fmt.Errorf("a UUID of zeros stands for none: leave it out")
	}
	return UUID(b), nil
}

// String returns lower-case digits, "" for none.
func (u UUID) String() string {
	if u == (UUID{}) {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// Owner is the user and the group that a file belongs to.
type Owner struct {
	UID, GID uint32
	names    string // USER or USER:GROUP until they are looked up
}

// ParseOwner reads USER, USER:GROUP or UID:GID.
func ParseOwner(s string) (Owner, error) {
	user, group, both := strings.Cut(s, ":")
	uid, err1 := parseID(user)
	gid, err2 := parseID(group)
	switch {
	case err1 == nil && err2 == nil:
		return Owner{UID: uid, GID: gid}, nil
	case err1 == nil && !both:
		return Owner{}, fmt.Errorf("%s is a number without a group: write UID:GID", clip(s))
	}
	for i, name := range strings.SplitN(s, ":", 2) {
		if _, err := parseID(name); err == nil {
			continue
		}
		if _, err := account(name); err != nil {
			return Owner{}, fmt.Errorf("%s is not an owner: write %s", clip(s), []string{"USER, USER:GROUP or UID:GID", "USER:GROUP or UID:GID"}[i])
		}
	}
	return Owner{names: s}, nil
}

// parseID reads the number of a user or group. The greatest is that of none.
func parseID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err == nil && (n == 1<<32-1 || s != strconv.FormatUint(n, 10)) {
		err = strconv.ErrRange
	}
	return uint32(n), err
}

// String returns UID:GID, or the names that are still to be looked up.
func (o Owner) String() string {
	if o.names != "" {
		return o.names
	}
	return fmt.Sprintf("%d:%d", o.UID, o.GID)
}

// From is where the store path of a named package is looked up. The zero value is
// nowhere.
type From struct {
	Kind  FromKind
	Place string // a URL, or the name of a file, which is relative to the spec
}

// FromKind is a kind of place that knows names.
type FromKind string

// The kinds of places that know names.
const (
	FromChannel FromKind = "channel" // the URL of a channel, which has store-paths.xz, or a copy of that file
	FromHydra   FromKind = "hydra"   // the URL of a jobset of Hydra
	FromFile    FromKind = "file"    // devbox.lock, what nix path-info --json printed, or a list of store paths
)

// ParseFrom reads channel:URL, channel:FILE with a slash in it, hydra:URL or the
// name of a file.
func ParseFrom(s string) (From, error) {
	for _, kind := range []FromKind{FromChannel, FromHydra} {
		place, ok := strings.CutPrefix(s, string(kind)+":")
		if !ok {
			continue
		}
		if kind == FromChannel && strings.Contains(place, "/") && !strings.Contains(place, "://") {
			name, err := fileName(place)
			if !strings.Contains(name, "/") {
				name = "./" + name // as it must be written
			}
			return From{kind, name}, err
		}
		u, err := url.Parse(place)
		switch {
		case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
			return From{}, fmt.Errorf("%s: no http or https URL comes after %s", clip(s), kind)
		case u.User != nil:
			return From{}, errCredentials
		}
		return From{kind, strings.TrimRight(place, "/")}, nil
	}
	if strings.Contains(s, "://") {
		return From{}, fmt.Errorf("%s is a URL: write channel:URL or hydra:URL", clip(s))
	}
	name, err := fileName(s)
	return From{FromFile, name}, err
}

// String returns the text that [ParseFrom] reads.
func (f From) String() string {
	if f.Kind == FromFile || f.Kind == "" {
		return f.Place
	}
	return string(f.Kind) + ":" + f.Place
}

var errCredentials = fmt.Errorf("a URL in a spec has no user or password (not shown): name with auth where the credentials are")

// cacheURL reads the URL of a binary cache, or the name of a directory.
func cacheURL(s string) (string, error) {
	scheme, _, ok := strings.Cut(s, "://")
	if !ok {
		return fileName(s)
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", fmt.Errorf("this is not a URL")
	case u.User != nil:
		return "", errCredentials
	case u.Fragment != "" || strings.Contains(s, "#"):
		return "", fmt.Errorf("%s has a fragment (#), which a cache has not", clip(s))
	}
	switch scheme {
	case "https", "http", "s3":
		switch {
		case u.Hostname() == "" && scheme == "s3":
			return "", fmt.Errorf("%s names no bucket", clip(s))
		case u.Hostname() == "":
			return "", fmt.Errorf("%s names no host", clip(s))
		case u.RawQuery != "" && scheme != "s3":
			return "", fmt.Errorf("%s has a query, which is not sent to caches: leave out what follows the ?; settings are keys of their own", clip(s))
		}
	case "file":
		if u.Host != "" || !filepath.IsAbs(u.Path) {
			return "", fmt.Errorf("%s is not file:// and an absolute path; a relative one is written without file://", clip(s))
		}
	default:
		return "", fmt.Errorf("%s is no cache: its URL starts with https://, http://, s3:// or file://", clip(s))
	}
	return s, nil
}

// fileName reads the name of a file of this machine.
func fileName(s string) (string, error) {
	if s == "" || strings.ContainsFunc(s, isControl) || len(s) > maxPath {
		return "", fmt.Errorf("%s is not the name of a file", clip(s))
	}
	return filepath.Clean(s), nil
}
