package fhs

import (
	"errors"
	"strings"
	"testing"
)

// optionTests are about what is left out, and who wins.
var optionTests = []mergeTest{
	{
		name: "what is excluded, with all below it",
		world: `
			@a/bin/a exec 1
			@a/bin/a-config exec 1
			@a/lib/a file 1
			@a/share/doc/a file 1
			@a/share/man/a file 1
			@b/lib/b file 1
			@b/share/man/b file 1`,
		packages: "a b",
		exclude:  "share/doc bin/*-config",
		view: `
			bin
			bin/a @a/bin/a
			lib
			lib/a @a/lib/a
			lib/b @b/lib/b
			share
			share/man
			share/man/a @a/share/man/a
			share/man/b @b/share/man/b`,
	}, {
		name: "a link stays where a pattern has nothing to leave out",
		world: `
			@a/share/man/doc file 1
			@a/doc file 1
			@a/bin/config exec 1
			@a/lib/doc link gone`,
		packages: "a",
		exclude:  "share/doc */config/* bin/?onfi bin/[^c]onfig share/man/doc/x lib/doc/x",
		view: `
			bin @a/bin
			doc @a/doc
			lib @a/lib
			share @a/share`,
	}, {
		name: "a pattern stands for one name, not for several",
		world: `
			@a/x/y/z file 1
			@a/x/z file 1
			@a/u/z file 1`,
		packages: "a",
		exclude:  "x/*/z u*",
		view: `
			x
			x/y
			x/z @a/x/z`,
	}, {
		name: "what is excluded behind links",
		world: `
			@a/share link @b/data
			@b/data/doc link ../texts
			@b/data/man/b file 1
			@b/texts/x/y file 1
			@b/texts/z file 1`,
		packages: "a",
		exclude:  "share/doc/x/y",
		view: `
			share
			share/doc
			share/doc/x
			share/doc/z @a/share/doc/z
			share/man @a/share/man`,
	}, {
		name: "what is excluded does not collide, nor win",
		world: `
			@a/bin/x exec 1
			@a/share/doc file 1
			@a/etc/conf file 1
			@b/bin/x exec 2
			@b/share/doc/b file 2
			@b/etc link conf
			@b/conf/d file 2`,
		packages: "a b:4",
		exclude:  "bin/x share/doc etc/con[e-g] conf",
		view: `
			bin
			etc
			etc/d @b/etc/d
			share`,
		settled: " ",
	}, {
		name: "everything is excluded",
		world: `
			@a/init exec 1
			@a/bin/a exec 1`,
		packages: "a",
		exclude:  ".",
	}, {
		name: "a place within what is excluded, and the reverse",
		world: `
			@a/share/doc/x file 1
			@a/share/man/x file 1
			@a/share/man/y file 1`,
		packages: "a",
		link:     "share/doc/x share/man",
		exclude:  "share/doc share/man/x",
		view: `
			share
			share/man
			share/man/y @a/share/man/y`,
	}, {
		name: "the init of a package is not in the way of what is excluded",
		world: `
			@a/init exec 1
			@b/sbin/x exec 1`,
		packages: "a b",
		exclude:  "sbin/init init",
		view: `
			sbin @b/sbin`,
	}, {
		name: "excluding init alone leaves sbin/init",
		world: `
			@a/init exec 1`,
		packages: "a",
		exclude:  "init",
		view: `
			sbin
			sbin/init @a/init`,
	}, {
		name: "a claimed file wins, in directories of the view",
		world: `
			@a/etc/motd file 1
			@a/etc/ssh/sshd_config file 1
			@a/etc/ssh/keys/a file 1
			@a/etc/x/y file 1
			@a/bin/a exec 1`,
		packages: "a",
		claims:   "etc/motd etc/ssh/sshd_config.d/x.conf",
		view: `
			bin @a/bin
			etc
			etc/ssh
			etc/ssh/keys @a/etc/ssh/keys
			etc/ssh/sshd_config @a/etc/ssh/sshd_config
			etc/x @a/etc/x`,
	}, {
		name: "where etc is a link to another package's link",
		world: `
			@a/etc link @b/etc
			@b/etc link ./real/../real
			@b/real/x file 1
			@b/real/ssh link @c/ssh
			@c/ssh/k file 1
			@c/ssh/d/k file 1`,
		packages: "a",
		claims:   "etc/ssh/d/",
		view: `
			etc
			etc/ssh
			etc/ssh/d
			etc/ssh/d/k @a/etc/ssh/d/k
			etc/ssh/k @a/etc/ssh/k
			etc/x @a/etc/x`,
	}, {
		name: "one directory of two packages, opened",
		world: `
			@a/etc link @c/etc
			@b/etc link @a/etc
			@c/etc/x file 1
			@c/etc/d/x file 1`,
		packages: "a:6 b c",
		claims:   "etc/y",
		view: `
			etc
			etc/d @a/etc/d
			etc/x @b/etc/x`,
		settled: " ",
	}, {
		name: "what is no directory gives way to a claimed one",
		world: `
			@a/etc/conf file 1
			@a/etc/gone link /run/gone
			@a/var file 1
			@b/etc/conf/d/b file 2
			@b/etc/gone file 2
			@b/var/lib/b file 2`,
		packages: "a b",
		claims:   "etc/conf/d/c etc/gone/ var/lib/",
		view: `
			etc
			etc/conf
			etc/conf/d
			etc/conf/d/b @b/etc/conf/d/b
			var
			var/lib
			var/lib/b @b/var/lib/b`,
		settled: " ",
	}, {
		name: "what is claimed does not collide, nor does what is below",
		world: `
			@a/bin/x exec 1
			@a/lib/x/y file 1
			@a/lib/z file 1
			@b/bin/x exec 2
			@b/lib/x/y file 2
			@b/lib/x/z file 2
			@b/lib/z file 2`,
		packages: "a b",
		claims:   "bin/x lib/x",
		collide:  "lib/z @a @b",
	}, {
		name: "claims that are not in the view",
		world: `
			@a/bin/a exec 1
			@a/share/doc/a file 1
			@a/var/lib/a file 1`,
		packages: "a",
		link:     "bin share/doc",
		claims:   "var/lib/x share/man/x etc/ share/doc/b/c/",
		view: `
			bin @a/bin
			share
			share/doc
			share/doc/a @a/share/doc/a`,
	}, {
		name: "a place of the view is claimed",
		world: `
			@a/bin/a exec 1
			@a/share/doc/a file 1`,
		packages: "a",
		link:     "bin share/doc",
		claims:   "bin share",
	}, {
		name: "a claimed file above another claim",
		world: `
			@a/etc/x/y file 1
			@a/etc/z file 1`,
		packages: "a",
		claims:   "etc/x/y/z etc/x",
		view: `
			etc
			etc/z @a/etc/z`,
	}, {
		name: "a claim in what is ignored, and in what is excluded",
		world: `
			@a/share/log/x file 1
			@a/share/doc/x file 1`,
		packages: "a",
		exclude:  "share/doc",
		claims:   "share/log/y share/doc/y",
		view:     "share",
	}, {
		name: "links to themselves, opened by a claim",
		world: `
			@a/x/self link .
			@a/x/f file 1`,
		packages: "a",
		claims:   "x/self/self/g",
		view: `
			x
			x/f @a/x/f
			x/self
			x/self/f @a/x/self/f
			x/self/self
			x/self/self/f @a/x/self/self/f
			x/self/self/self @a/x/self/self/self`,
	}, {
		name: "init is claimed",
		world: `
			@a/init exec 1
			@a/sbin/x exec 1`,
		packages: "a",
		claims:   "sbin/init",
		view: `
			init @a/init
			sbin
			sbin/x @a/sbin/x`,
	}, {
		name: "something claims a place below init",
		world: `
			@a/init exec 1`,
		packages: "a",
		claims:   "sbin/init/x",
		view:     "init @a/init",
	}, {
		name: "sbin is claimed",
		world: `
			@a/init exec 1
			@a/sbin/x exec 1`,
		packages: "a",
		claims:   "sbin",
		view:     "init @a/init",
	}, {
		name: "a claim beside init, in what is a file",
		world: `
			@a/init exec 1
			@b/sbin file 1`,
		packages: "a b",
		claims:   "sbin/x init",
		view: `
			sbin
			sbin/init @a/init`,
	}, {
		name: "the first wins where priorities are equal",
		world: `
			@a/content exec 1
			@a/same exec 1
			@a/dir file 1
			@a/gone link gone
			@b/content exec 2
			@b/same exec 1
			@b/dir/x file 2
			@b/gone file 2
			@c/content exec 3
			@c/dir file 11
			@d/content exec 1`,
		packages: "a b c:4 d:4",
		policy:   First,
		view: `
			content @c/content
			dir @c/dir
			gone @a/gone
			same @a/same`,
		settled: `
			content @c @b
			content @c @a
			content @c @d
			dir @c @b
			dir @c @a
			gone @a @b`,
	}, {
		name: "a directory that is first wins, against what has no better priority",
		world: `
			@a/x/a file 1
			@b/x/b file 2
			@c/x file 3
			@d/x link gone`,
		packages: "a b:6 c d:7",
		policy:   First,
		view: `
			x
			x/a @a/x/a
			x/b @b/x/b`,
		settled: `
			x @a @c
			x @a @d`,
	}, {
		name: "neither wins where the directory is first and the file is better",
		world: `
			@a/x/a file 1
			@b/x file 2`,
		packages: "a b:4",
		policy:   First,
		collide:  "x @a @b",
	}, {
		name: "links to themselves, where the first wins",
		world: `
			@a/x/self link .
			@a/x/f file 1
			@b/x/self link .
			@b/x/g file 1`,
		packages: "a b",
		policy:   First,
		view: `
			x
			x/f @a/x/f
			x/g @b/x/g
			x/self @a/x/self`,
		settled: "x/self @a @b",
	}, {
		name: "what priorities decided",
		world: `
			@a/f file 1
			@a/g file 1
			@a/h file 1
			@a/nix-support/propagated-user-env-packages file @d
			@b/f file 2
			@b/g file 1
			@c/f file 1
			@c/g file 3
			@d/f file 4
			@d/g file 1
			@d/h file 11`,
		packages: "a b:4 c:3",
		view: `
			f @c/f
			g @c/g
			h @a/h`,
		settled: `
			f @c @b
			f @c @d
			g @c @a
			g @c @b
			g @c @d
			h @a @d`,
	}, {
		name: "links to one place are settled by nobody",
		world: `
			@a/null link /dev/null
			@b/null link /dev/zero
			@c/null link ../../../dev/null
			@d/null link /dev/full`,
		packages: "a b:4 c:3 d",
		view:     "null @c/null",
		settled: `
			null @c @b
			null @c @d`,
	}, {
		name: "all are told, whatever the priorities",
		world: `
			@a/f file 1
			@a/same file 1
			@a/one link @d/one
			@a/null link /dev/null
			@b/f file 2
			@b/same file 1
			@b/one link @d/one
			@b/null link /dev/null
			@c/f file 3
			@d/one file 1`,
		packages: "a b:4 c:6",
		policy:   Strict,
		collide: `
			f @a @b
			f @b @c`,
	}, {
		name: "equal files are none, and propagated ones lose, whatever the priorities",
		world: `
			@a/same file 1
			@a/f file 1
			@a/nix-support/propagated-user-env-packages file @c
			@b/same file 1
			@b/dir/x file 1
			@c/f file 3
			@c/dir file 3`,
		packages: "a b:4",
		policy:   Strict,
		view: `
			dir @b/dir
			f @a/f
			same @b/same`,
		settled: `
			dir @b @c
			f @a @c`,
	},
}

func TestExcludeMalformed(t *testing.T) {
	for _, pattern := range []string{"share/[a", "a]/[", `x\`, `x\/y`, "[a/b]", "[]", "*/[z-a"} {
		_, err := parse("@a/f file 1").view(packages("a"), Options{Link: []string{"."}, Exclude: []string{"bin", pattern}}).Merge(nil)
		if err == nil || !strings.HasPrefix(err.Error(), "the view cannot exclude ") || !strings.Contains(err.Error(), printable(pattern)) {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}

// Files are compared for an error, or for a report; not for a decision.
func TestNothingIsCompared(t *testing.T) {
	w := parse("@a/f file 1\n@b/f file 2\n@c/f link @a/f")
	for _, c := range []struct {
		packages string
		opt      Options
		want     bool
	}{
		{"a b", Options{}, true},
		{"a b:4", Options{}, false},
		{"a:4 b", Options{}, false},
		{"a b:4", Options{Report: true}, true},
		{"a b", Options{Collisions: First}, false},
		{"a b", Options{Collisions: First, Report: true}, true},
		{"a:4 b", Options{Collisions: Strict}, true},
		{"a:4 c", Options{Collisions: Strict, Report: true}, false},
		{"a b", Options{Claims: []Claim{{Path: "f"}}, Report: true}, false},
		{"a b", Options{Exclude: []string{"?"}, Report: true}, false},
	} {
		c.opt.Link = everything.Link
		compared := false
		wrong := errors.New("no such cache")
		m, err := w.view(packages(c.packages), c.opt).Merge(func(pairs [][2]string) ([]bool, error) {
			compared = true
			return nil, wrong
		})
		if compared != c.want || compared && (err != wrong || m != nil) || !compared && err != nil {
			t.Errorf("%s, %+v: compared %v, %v", c.packages, c.opt, compared, err)
		}
	}
}
