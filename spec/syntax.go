package spec

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"thaw/narinfo"
	"thaw/storepath"
)

const maxPath = 4095 // bytes of a path that Linux takes

// syntax is how values of a kind are written as text.
type syntax struct {
	name    string // as the tag "is" has it
	doc     string
	pattern string // what the schema says; parse may be stricter
	parse   func(string) (any, error)
}

// syntaxes is the table of them, sorted by name. Values print as they are read,
// by their String method if they have one.
var syntaxes = []syntax{
	of("DNS name", "up to 253 letters, digits, dashes and underscores, in parts separated by dots",
		`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`, dnsName),
	of("FAT label", "1 to 11 characters of ASCII", `^[ -~]{1,11}$`, fatLabel),
	of("IP address", "an IPv4 or IPv6 address", `^[0-9A-Fa-f:.]+$`, address),
	of("UUID", "a UUID or GUID: 8-4-4-4-12 hexadecimal digits in any case, not all zero",
		`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`, ParseUUID),
	of("account", "the name of a user or group: up to 32 lower-case letters, digits, `_` and `-`; the first is a letter or `_`",
		`^[a-z_][a-z0-9_-]{0,31}$`, account),
	of("account path", "a path without a colon", `^/[^:]*$`, accountPath),
	of("account text", "a text of one line without a colon", `^[^:\n]*$`, accountText),
	of("argument", "a text without NUL", `^[^\x00]*$`, argument),
	of("boot file", "`auto`, `none`, or a file in a store path: `/nix/store/HASH-NAME/FILE`",
		`^(auto|none|/nix/store/[0-9a-z]{32}-[^/]+/.+)$`, bootFile),
	of("bus", "what disks are behind", `^[a-z]+$`, matching(`^(ata|mmc|nvme|scsi|usb|virtio)$`, "one of ata, mmc, nvme, scsi, usb, virtio")),
	of("cache", "the URL of a binary cache (`https://…`, `http://…`, `s3://…`, `file:///…`) or the name of a directory; without user and password",
		`^[^#]+$`, cacheURL),
	of("command", "the absolute path of a program in the image and its arguments: words as in a shell, with quotes; nothing is expanded",
		`/`, ParseCommand),
	of("container user", "`USER` or `USER:GROUP`, by names or numbers", `^[a-z0-9_][a-z0-9_-]*(:[a-z0-9_][a-z0-9_-]*)?$`, containerUser),
	of("file", "the name of a file of the machine that builds; a relative one starts at the directory of the spec",
		`.`, fileName),
	of("file pattern", "names separated by slashes, in which `*`, `?` and `[a-z]` stand for characters of one name", `^[^/]`, filePattern),
	of("file system type", "as mount -t has it", `^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`, matching(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`, "a type of file system, such as ext4 or tmpfs")),
	of("host name", "letters, digits and dashes, in parts separated by dots; up to 64 bytes",
		`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`, hostName),
	of("image name", "the name of a container image: `demo`, `tools/demo:1.0` or `example.org/demo:1.0`; without a tag it is `latest`",
		`^[A-Za-z0-9][A-Za-z0-9._:/-]*$`, imageName),
	of("initrd", "`auto`, `none`, `generate`, or a file in a store path: `/nix/store/HASH-NAME/FILE`",
		`^(auto|none|generate|/nix/store/[0-9a-z]{32}-[^/]+/.+)$`, initrdFile),
	of("kernel arguments", "printable ASCII, up to 2047 characters", `^[ -~]*$`, kernelArguments),
	of("kernel module", "the name of a module, or an alias of one", `^[^\s]+$`, matching(`^[^\s/\x00-\x20]{1,255}$`, "the name of a kernel module")),
	of("key name", "what is before the colon of a public key", `^[^:\s]+$`, matching(`^[^:\s]+$`, "the name of a key: that is what is before its colon")),
	of("label", "up to 16 bytes", `^.{0,16}$`, label),
	of("label name", "1 to 255 printable characters of ASCII without a blank", `^[!-~]{1,255}$`,
		matching(`^[!-~]{1,255}$`, "the name of a label: up to 255 printable characters of ASCII without a blank")),
	of("line", "a text of one line", `^[^\n]*$`, line),
	of("link target", "what a symbolic link has: 1 to 4095 bytes", `.`, linkTarget),
	of("mode", "three or four octal digits in quotes", `^[0-7]{3,4}$`, ParseMode),
	of("mount option", "one option of mount, without a comma", `^[^,\s]+$`, matching(`^[^,\s\x00-\x20\x7f]+$`, "an option of mount, without blanks and commas; list each by itself")),
	of("mount source", "a device (`/dev/vdb1`, `LABEL=data`, `UUID=…`), a directory, what a network has (`host:/path`), or a name such as `tmpfs`", `.`, mountSource),
	of("name", "letters, digits, `.`, `_` and `-`, up to 64; the first is a letter or digit",
		`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`, matching(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`, "a name: up to 64 letters, digits, ., _ and -, of which the first is a letter or digit")),
	of("name pattern", "a pattern for the name of a store path, which is what follows its hash; `*`, `?` and `[a-z]` stand for characters, `[^a-z]` for others",
		`^[^/]+$`, namePattern),
	of("number of bytes", "a number with a unit: B, K, M, G or T, powers of 1024", `^[0-9]+[BKMGT]$`, parseFixed),
	of("offset", "a number with a unit: B, K, M, G or T, powers of 1024; it may be 0B", `^[0-9]+[BKMGT]$`, ParseOffset),
	of("output name", "the name of an output of a package",
		`^[A-Za-z0-9_-]{1,64}$`, matching(`^[A-Za-z0-9_-]{1,64}$`, "the name of an output, such as out or bin")),
	of("overlay device", "`tmpfs`, or a device as for `root`", `.`, overlayDevice),
	of("owner", "`USER`, `USER:GROUP` or `UID:GID`; a user alone stands for the user and the user's group",
		`^[a-z0-9_][a-z0-9_-]*(:[a-z0-9_][a-z0-9_-]*)?$`, ParseOwner),
	of("package name", "the name of a package",
		`^[0-9A-Za-z+._?=@-]{1,211}$`, matching(`^[0-9A-Za-z+._?=@-]{1,211}$`, "the name of a package: letters, digits and +-._?=@")),
	of("partition name", "1 to 36 characters", `^.{1,36}$`, partitionName),
	of("partition type", "`esp`, `linux-generic`, `root-x86-64` or another name that systemd-repart takes, or a GUID", `^[A-Za-z0-9-]+$`, partitionType),
	of("password hash", "a hash of crypt(5) that starts with `$y$`, `$gy$`, `$7$`, `$6$`, `$5$` or `$2b$`, as mkpasswd makes it; never the password itself",
		`^\$(y|gy|7|6|5|2[aby])\$.+\$?.*$`, passwordHash),
	of("path", "an absolute path in the image, without `.` and `..`", `^/`, imagePath),
	of("path pattern", "an absolute path in the image in which `*`, `?`, `[a-z]` and `[^a-z]` stand for characters of one name; it means all below it, too",
		`^/`, pathPattern),
	of("port", "the number of a port in quotes; with `/udp` or `/sctp`, if it is not one of TCP", `^[1-9][0-9]{0,4}(/(tcp|udp|sctp))?$`, containerPort),
	of("public key", "`NAME:BASE64`, as in Nix's trusted-public-keys", `^[^:]+:[A-Za-z0-9+/]{43}=$`, narinfo.ParseKey),
	of("relative path", "names separated by slashes, without `.` and `..`", `^[^/]`, relativePath),
	of("root device", "`LABEL=…`, `UUID=…`, `PARTLABEL=…`, `PARTUUID=…` or `/dev/…`", `^(LABEL|UUID|PARTLABEL|PARTUUID)=.+|^/dev/.+`, rootDevice),
	of("seed", "a text of 1 to 1024 bytes", `.`, seed),
	of("serial number", "eight hexadecimal digits, with or without a dash in the middle", `^[0-9A-Fa-f]{4}-?[0-9A-Fa-f]{4}$`, ParseSerial),
	of("signal", "the name of a signal, such as `SIGINT`, or its number in quotes", `^(SIG[A-Z0-9]+([+-][0-9]+)?|[1-9][0-9]?)$`,
		matching(`^(SIG[A-Z0-9]+([+-][0-9]+)?|[1-9][0-9]?)$`, "a signal, such as SIGTERM or \"15\"")),
	of("size", "`fit`, `fit+256M`, `fit+10%`, `2G` or, for a partition, `fill`; B, K, M, G and T are powers of 1024",
		`^(fit(\+[0-9]+[BKMGT%])?|fill|[0-9]+[BKMGT])$`, ParseSize),
	of("source of names", "`channel:URL`, or `channel:./FILE` of its store-paths.xz; `hydra:URL` of a jobset; or the name of a file: a devbox.lock, what nix path-info --json printed, or a list of store paths",
		`.`, ParseFrom),
	of("store file", "a file or directory in a store path: `/nix/store/HASH-NAME/FILE`", `^/nix/store/[0-9a-z]{32}-[^/]+(/.*)?$`, storeFile),
	of("store path", "`/nix/store/HASH-NAME`", `^/nix/store/[0-9a-df-np-sv-z]{32}-[0-9A-Za-z+_?=-][0-9A-Za-z+._?=-]*/?$`, storePath),
	of("terminal", "the name of a terminal in /dev, without it", `^[A-Za-z][A-Za-z0-9]{0,31}$`, matching(`^[A-Za-z][A-Za-z0-9]{0,31}$`, "the name of a terminal, such as ttyS0 or tty1")),
	of("variable", "the name of an environment variable",
		`^[A-Za-z_][A-Za-z0-9_]*$`, matching(`^[A-Za-z_][A-Za-z0-9_]*$`, "the name of an environment variable")),
	of("volume label", "1 to 32 printable characters of ASCII, no space first or last", `^[!-~]([ -~]{0,30}[!-~])?$`,
		matching(`^[!-~]([ -~]{0,30}[!-~])?$`, "the label of a CD: 1 to 32 printable characters of ASCII, no space first or last")),
}

func of[T any](name, doc, pattern string, parse func(string) (T, error)) syntax {
	return syntax{name, doc, pattern, func(s string) (any, error) { return parse(s) }}
}

// syntaxOf returns the syntax of that name, nil for "".
func syntaxOf(name string) *syntax {
	for i := range syntaxes {
		if syntaxes[i].name == name {
			return &syntaxes[i]
		}
	}
	return nil
}

// matching reads texts that match a regular expression.
func matching(pattern, what string) func(string) (string, error) {
	re := regexp.MustCompile(pattern)
	return func(s string) (string, error) {
		if !re.MatchString(s) {
			return "", fmt.Errorf("%s is not %s", clip(s), what)
		}
		return s, nil
	}
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func storePath(s string) (storepath.Path, error) {
	if base, ok := strings.CutPrefix(s, storepath.Dir+"/"); ok {
		object, inside, _ := strings.Cut(base, "/")
		if p, err := storepath.ParseBase(object); err == nil {
			if inside != "" {
				return p, fmt.Errorf("%s is inside a store path: give %s", clip(s), p)
			}
			return p, nil
		}
	} else if s != "" && !strings.ContainsAny(s, "/ ") {
		return storepath.Path{}, fmt.Errorf("%s is not a store path, /nix/store/HASH-NAME; to look a package up by its name, write {name: %s, from: …}", clip(s), s)
	}
	return storepath.Parse(s)
}

// imagePath reads an absolute path and cleans it of doubled and final slashes.
func imagePath(s string) (string, error) {
	switch {
	case !strings.HasPrefix(s, "/"):
		return "", fmt.Errorf("%s is not an absolute path in the image: it starts with /", clip(s))
	case len(s) > maxPath:
		return "", fmt.Errorf("%s has more than %d bytes", clip(s), maxPath)
	case strings.ContainsFunc(s, isControl):
		return "", fmt.Errorf("%s has a control character", clip(s))
	}
	for name := range strings.SplitSeq(s, "/") {
		switch {
		case name == "." || name == "..":
			return "", fmt.Errorf("%s has %q in it: write %s", clip(s), name, path.Clean(s))
		case len(name) > 255:
			return "", fmt.Errorf("%s has a name of more than 255 bytes", clip(s))
		}
	}
	return path.Clean(s), nil
}

func relativePath(s string) (string, error) {
	p, err := imagePath("/" + s)
	if err != nil || p != "/"+s || s == "" {
		return "", fmt.Errorf("%s is not a name, or names separated by slashes", clip(s))
	}
	return s, nil
}

func pathPattern(s string) (string, error) {
	p, err := imagePath(s)
	if err != nil {
		return "", err
	}
	for name := range strings.SplitSeq(p, "/") {
		if _, err := path.Match(name, ""); err != nil {
			return "", fmt.Errorf("%s is not a pattern: a [ has no ], or a \\ nothing after it", clip(s))
		}
	}
	if strings.Contains(p, "**") {
		return "", fmt.Errorf("%s has **: * stands for characters of one name, and a directory for all below it", clip(s))
	}
	return p, nil
}

func namePattern(s string) (string, error) {
	if _, err := path.Match(s, ""); err != nil || s == "" {
		return "", fmt.Errorf("%s is not a pattern: a [ has no ], or a \\ nothing after it", clip(s))
	}
	if strings.Contains(s, "/") {
		return "", fmt.Errorf("%s has a slash: a pattern stands for the name of a store path, such as perl-*", clip(s))
	}
	return s, nil
}

func seed(s string) (string, error) {
	if s == "" || len(s) > 1024 {
		return "", fmt.Errorf("a seed has 1 to 1024 bytes")
	}
	return s, nil
}

func account(s string) (string, error) {
	if len(s) > 32 || s == "" || !(s[0] >= 'a' && s[0] <= 'z' || s[0] == '_') ||
		strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '-' }) {
		return "", fmt.Errorf("%s is not the name of a user or group: up to 32 lower-case letters, digits, _ and -, of which the first is a letter or _", clip(s))
	}
	return s, nil
}

func accountText(s string) (string, error) {
	if strings.Contains(s, ":") || strings.ContainsFunc(s, isControl) {
		return "", fmt.Errorf("%s has a colon or a control character, which /etc/passwd cannot hold", clip(s))
	}
	return s, nil
}

func accountPath(s string) (string, error) {
	if _, err := accountText(s); err != nil {
		return "", err
	}
	return imagePath(s)
}

// hashes are the password hashes of crypt(5) that are strong enough.
var hashes = regexp.MustCompile(`^\$(` +
	`6\$(rounds=[1-9][0-9]{0,8}\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{86}|` +
	`5\$(rounds=[1-9][0-9]{0,8}\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{43}|` +
	`2[aby]\$[0-9]{2}\$[./0-9A-Za-z]{53}|` +
	`(y|gy)\$[./0-9A-Za-z]+\$[./0-9A-Za-z]{1,86}\$[./0-9A-Za-z]{43}|` +
	`7\$[./0-9A-Za-z]{11,97}\$[./0-9A-Za-z]{43})$`)

func passwordHash(s string) (string, error) {
	if !hashes.MatchString(s) {
		return "", fmt.Errorf("this is no whole password hash (not shown), such as $6$SALT$HASH: make one with mkpasswd or openssl passwd -6")
	}
	return s, nil
}

var hostNames = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`)

func hostName(s string) (string, error) {
	if len(s) > 64 || !hostNames.MatchString(s) {
		return "", fmt.Errorf("%s is not a host name: up to 64 letters, digits and dashes, in parts separated by dots that start and end with no dash", clip(s))
	}
	return s, nil
}

func linkTarget(s string) (string, error) {
	if s == "" || len(s) > maxPath || strings.Contains(s, "\x00") {
		return "", fmt.Errorf("the target of a link has 1 to %d bytes and no NUL", maxPath)
	}
	return s, nil
}

func label(s string) (string, error) {
	if len(s) > 16 || strings.ContainsFunc(s, isControl) {
		return "", fmt.Errorf("%s is not a label: up to 16 bytes, of which %d are used, without control characters", clip(s), len(s))
	}
	return s, nil
}

func kernelArguments(s string) (string, error) {
	for _, r := range s {
		if r < ' ' || r > '~' {
			return "", fmt.Errorf("the kernel's arguments have the character %q: they are one line of printable ASCII", r)
		}
	}
	if len(s) > 2047 {
		return "", fmt.Errorf("the kernel's arguments have %d bytes; kernels take 2047", utf8.RuneCountInString(s))
	}
	return s, nil
}

func bootFile(s string) (string, error) {
	if s == "auto" || s == "none" {
		return s, nil
	}
	bad := fmt.Errorf("%s is not auto, none, or a file in a store path: /nix/store/HASH-NAME/FILE", clip(s))
	p, err := imagePath(s)
	if err != nil {
		return "", bad
	}
	base, _ := strings.CutPrefix(p, storepath.Dir+"/")
	object, _, inside := strings.Cut(base, "/")
	if _, err := storepath.ParseBase(object); err != nil || !inside {
		return "", bad
	}
	return p, nil
}

func initrdFile(s string) (string, error) {
	if s == "generate" {
		return s, nil
	}
	p, err := bootFile(s)
	if err != nil {
		return "", fmt.Errorf("%s is not auto, none, generate, or a file in a store path: /nix/store/HASH-NAME/FILE", clip(s))
	}
	return p, nil
}

func filePattern(s string) (string, error) {
	p, err := pathPattern("/" + s)
	if err != nil || p != "/"+s || s == "" {
		return "", fmt.Errorf("%s is not a pattern of names separated by slashes", clip(s))
	}
	return s, nil
}

var rootDevices = regexp.MustCompile(`^((LABEL|UUID|PARTLABEL|PARTUUID)=|/dev/)[!-~]+$`)

func rootDevice(s string) (string, error) {
	if !rootDevices.MatchString(s) || len(s) > 255 {
		return "", fmt.Errorf("%s is not a device: write LABEL=…, UUID=…, PARTLABEL=…, PARTUUID=… or /dev/…", clip(s))
	}
	return s, nil
}

func overlayDevice(s string) (string, error) {
	if s == "tmpfs" {
		return s, nil
	}
	if d, err := rootDevice(s); err == nil {
		return d, nil
	}
	return "", fmt.Errorf("%s is not tmpfs or a device, such as LABEL=data", clip(s))
}
