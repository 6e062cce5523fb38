// Package spec reads the description of an image: which store paths, what else
// is in its root file system, how it boots and as what it is written.
//
// A spec is a YAML file, or a JSON file as it is. It is read strictly: what is
// unknown, given twice, ambiguous or of another type than asked for is an error
// with its place, and so are the features of YAML that make a text mean
// something else than it says (anchors, aliases, merge keys, tags, directives).
//
// The structs of this package are the table of keys: their tags say what a key
// is called, what it may hold and what it is when left out, and [Parse],
// [Schema], [Spec.Explain] and [Spec.Digest] all follow them. The texts that
// values are written as are in the table of syntaxes, the words that describe
// keys in the table of docs.
//
//	key       the name; ",short" for the key that a bare text stands for;
//	          "*" for the name of an entry of a mapping, "=" for its value
//	need      "yes" for a key that must be there
//	one       keys of which exactly one is given
//	is        the syntax of a text
//	only      the texts that are allowed, separated by blanks
//	range     the least and the greatest number
//	default   the value of a key that is left out
//	unset     what it means that the key is left out, if that is no fixed value
//	variant   the type of output that has the keys of a struct
//	digest    "no" for what does not change the image
//
// The package reads no file and knows no cache: names are checked, not what they
// lead to.
package spec

import (
	"fmt"
	"path/filepath"

	"thaw/narinfo"
	"thaw/storepath"
)

// Spec describes an image. What [Parse] and [Spec.Normalise] return is complete
// and canonical: defaults are filled in, paths cleaned, names of owners
// resolved, and what has no order of its own is sorted.
type Spec struct {
	Version  int           `key:"version" need:"yes" range:"1 1"`
	Name     string        `key:"name" is:"name" default:"image"`
	Arch     string        `key:"arch" only:"x86_64-linux aarch64-linux i686-linux armv7l-linux armv6l-linux riscv64-linux powerpc64le-linux s390x-linux loongarch64-linux" unset:"not stated"`
	Epoch    int64         `key:"epoch" range:"1 4294967295" default:"1"` // seconds since 1970
	Seed     string        `key:"seed" is:"seed" unset:"derived from the content"`
	Caches   []Cache       `key:"caches" digest:"no" unset:"those of the command line or the configuration"`
	Keys     []narinfo.Key `key:"keys" is:"public key" digest:"no" unset:"those of the command line or the configuration"`
	Packages []Package     `key:"packages" unset:"none"`
	Forbid   []string      `key:"forbid" is:"name pattern" unset:"none"` // sorted
	Rootfs   Rootfs        `key:"rootfs"`
	Boot     *Boot         `key:"boot" unset:"nothing to boot"`
	Outputs  []Output      `key:"outputs" digest:"no" unset:"those of the command line"` // sorted by name

	file string // the name of the file that it was read from, for messages
	dir  string // where relative names of files start
}

// File returns the name by which a file that the spec names can be opened:
// relative names are relative to the file of the spec.
func (s *Spec) File(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.dir, name)
}

// Place names an item of the spec for messages, with its line if it is known:
// "spec.yaml:12: rootfs.files[2]".
func (s *Spec) Place(list string, o Origin) string {
	if o.Line > 0 {
		return fmt.Sprintf("%s:%d: %s[%d]", s.file, o.Line, list, o.Index)
	}
	return item(list, o.Index)
}

// Cache is a binary cache.
type Cache struct {
	// URL has the scheme https, http, s3 or file, or is the name of a directory.
	URL      string   `key:"url,short" is:"cache" need:"yes"`
	Priority *int     `key:"priority" range:"1 1000000" unset:"what the cache says, or 50"` // lower is asked first
	Auth     *Auth    `key:"auth" unset:"the netrc file"`
	Trust    []string `key:"trust" is:"key name" unset:"all keys"` // names of the keys that count for it
}

// Auth says where the credentials for a cache are. One of its fields is set.
type Auth struct {
	Netrc             string `key:"netrc" is:"file" one:"of"`              // a file
	AuthorizationFile string `key:"authorization-file" is:"file" one:"of"` // a file that holds the value of the header Authorization
	AuthorizationEnv  string `key:"authorization-env" is:"variable" one:"of"`
}

// DefaultPriority is the priority of a package that states none.
const DefaultPriority = 5

// LeastPriority is the priority that wins over all others.
const LeastPriority = -1000

// Package is something that goes into the image. One of Path, Name and ClosureOf
// is set.
type Package struct {
	Path      storepath.Path `key:"path,short" is:"store path" one:"of"`
	Name      string         `key:"name" is:"package name" one:"of"`
	ClosureOf string         `key:"closure-of" is:"file" one:"of"`
	Output    string         `key:"output" is:"output name" unset:"\"out\", with name"` // with Name
	From      From           `key:"from" is:"source of names" unset:"needed with name"` // with Name
	Priority  int            `key:"priority" range:"-1000 1000" default:"5"`            // lower wins in the merged view
	Origin    Origin
}

// Origin is where an item of a list is in the spec, for messages.
type Origin struct {
	Index int // in the list as it was written
	Line  int // in the file of the spec, from 1; 0 if it was not read from one
}

// Rootfs is what the root file system has besides the closure of the packages.
type Rootfs struct {
	Layout    string     `key:"layout" only:"store" default:"store"`
	Merge     Merge      `key:"merge"`
	Nix       Nix        `key:"nix"`
	Users     []User     `key:"users" unset:"root alone"`  // sorted by number
	Groups    []Group    `key:"groups" unset:"root alone"` // sorted by number; with those that are made for users
	Hostname  string     `key:"hostname" is:"host name" unset:"no /etc/hostname"`
	Hosts     []Host     `key:"hosts" unset:"none"`                                                                                        // sorted by address
	OSRelease []Variable `key:"os-release" unset:"NAME=Linux and ID=linux with services, where no package has it; otherwise no such file"` // sorted by name
	MachineID string     `key:"machine-id" only:"empty uninitialized none" unset:"empty with services of systemd, otherwise none"`
	Mounts    []Mount    `key:"mounts" unset:"no /etc/fstab"`
	Devices   []Device   `key:"devices" unset:"none"` // sorted by path
	Services  *Services  `key:"services" unset:"none: what starts is the business of the packages"`
	Files     []File     `key:"files" unset:"none"` // sorted by path
	Trees     []Tree     `key:"trees" unset:"none"` // a later one replaces files of an earlier one
}

// Merge is the merged view of the packages: links into the store.
type Merge struct {
	Into       string   `key:"into" is:"path" default:"/"`
	Link       []string `key:"link" is:"path" default:"/bin /etc /init /lib /sbin /share"` // sorted; none for no view
	Exclude    []string `key:"exclude" is:"path pattern" unset:"none"`                     // sorted
	Collisions string   `key:"collisions" only:"priority first error" default:"priority"`
	Report     bool     `key:"report" digest:"no" default:"false"`
}

// Nix is what a Nix inside the image finds.
type Nix struct {
	DB          bool        `key:"db" default:"false"`
	Profiles    []NamedPath `key:"profiles" unset:"none"` // sorted by name
	GCRoots     []NamedPath `key:"gcroots" unset:"none"`  // sorted by name
	ClosureInfo string      `key:"closure-info" is:"path" unset:"not written"`
}

// NamedPath is a store path with a name.
type NamedPath struct {
	Name string         `key:"*" is:"relative path"`
	Path storepath.Path `key:"=" is:"store path"`
}

// User is an account. There is always root, with number 0, whether listed or not.
type User struct {
	Name        string   `key:"name" is:"account" need:"yes"`
	UID         uint32   `key:"uid" range:"0 4294967294" need:"yes"`
	Group       string   `key:"group" is:"account" unset:"one with the name and number of the user"`
	Groups      []string `key:"groups" is:"account" unset:"none"` // sorted; besides Group
	Description string   `key:"description" is:"account text" unset:"empty"`
	Home        string   `key:"home" is:"account path" unset:"/home/NAME; /root for root"`
	Shell       string   `key:"shell" is:"account path" default:"/bin/sh"`
	Password    string   `key:"password" is:"password hash" unset:"no password fits"` // a hash, or ""
	Origin      Origin
}

// Group is a group of users. There is always root, with number 0.
type Group struct {
	Name string `key:"name" is:"account" need:"yes"`
	GID  uint32 `key:"gid" range:"0 4294967294" need:"yes"`
}

// Host is a line of /etc/hosts.
type Host struct {
	Address string   `key:"*" is:"IP address"`
	Names   []string `key:"=" is:"DNS name"`
}

// Variable is a name with a text.
type Variable struct {
	Name  string `key:"*" is:"variable"`
	Value string `key:"=" is:"line"`
}

// Mount is a line of /etc/fstab.
type Mount struct {
	Source  string   `key:"source" is:"mount source" need:"yes"`
	Path    string   `key:"path" is:"path" unset:"needed, but for swap"` // "" for swap
	Type    string   `key:"type" is:"file system type" need:"yes"`
	Options []string `key:"options" is:"mount option" default:"defaults"`
	Pass    int      `key:"pass" range:"0 2" default:"0"` // when fsck looks at it; 0 for never
	Origin  Origin
}

// Device is a device or a named pipe.
type Device struct {
	Path   string  `key:"path" is:"path" need:"yes"`
	Type   string  `key:"type" only:"char block fifo" need:"yes"`
	Major  *uint32 `key:"major" range:"0 4095" unset:"needed, but for a fifo"`    // nil for a fifo
	Minor  *uint32 `key:"minor" range:"0 1048575" unset:"needed, but for a fifo"` // nil for a fifo
	Mode   Mode    `key:"mode" is:"mode" default:"0600"`
	Owner  Owner   `key:"owner" is:"owner" default:"0:0"`
	Origin Origin
}

// Services is what runs in the image, and what starts it.
type Services struct {
	Supervisor string    `key:"supervisor" only:"busybox runit s6 systemd" need:"yes"`
	Getty      []string  `key:"getty" is:"terminal" unset:"none"`
	Run        []Service `key:"run" unset:"none"` // in the order in which what runs once does
}

// Service is a program that runs in the image.
type Service struct {
	Name        string     `key:"name" is:"name" need:"yes"`
	Command     Command    `key:"command" is:"command" need:"yes"`
	User        string     `key:"user" is:"account" default:"root"`
	Directory   string     `key:"directory" is:"path" default:"/"`
	Environment []Variable `key:"environment" unset:"PATH, and who the user is"` // sorted by name
	Console     string     `key:"console" is:"terminal" unset:"what the supervisor has"`
	Once        bool       `key:"once" default:"false"`
	Origin      Origin
}

// File is a file, directory or symbolic link in the image. One of Content,
// Source, Dir and Symlink is set.
type File struct {
	Path    string  `key:"path" is:"path" need:"yes"`
	Content *string `key:"content" one:"of"`                                             // a file with this text
	Source  string  `key:"source" is:"file" one:"of"`                                    // a file with the content of this one
	Dir     bool    `key:"dir" one:"of"`                                                 // a directory
	Symlink string  `key:"symlink" is:"link target" one:"of"`                            // a symbolic link to this
	Mode    *Mode   `key:"mode" is:"mode" unset:"\"0644\", or \"0755\" for a directory"` // nil for a link
	Owner   Owner   `key:"owner" is:"owner" default:"0:0"`
	Origin  Origin
}

// Tree is a directory of this machine that is copied into the image.
type Tree struct {
	Source string `key:"source" is:"file" need:"yes"`
	Path   string `key:"path" is:"path" default:"/"` // where its content goes
	Owner  Owner  `key:"owner" is:"owner" default:"0:0"`
	Origin Origin
}
