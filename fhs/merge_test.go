package fhs

import (
	"slices"
	"testing"
)

// A mergeTest is a world, and what comes of it: the view, or the collisions. What
// was settled on the way counts where a case says so.
type mergeTest struct {
	name     string
	world    string
	packages string
	link     string // default "."
	exclude  string
	claims   string // directories have a slash at the end
	policy   Policy
	view     string
	settled  string // " " for nothing
	collide  string
}

var mergeTests = []mergeTest{
	{
		name: "one package",
		world: `
			@a/bin/a exec 1
			@a/share/doc/a file 1
			@a/readme file 1`,
		packages: "a",
		view: `
			bin @a/bin
			readme @a/readme
			share @a/share`,
	}, {
		name: "directories of several become directories, others links",
		world: `
			@a/bin/a exec 1
			@a/share/doc/a/readme file 1
			@b/bin/b exec 1
			@b/share/doc/b/readme file 1
			@b/share/man/b file 1
			@c/share/man/c file 1`,
		packages: "a b c",
		view: `
			bin
			bin/a @a/bin/a
			bin/b @b/bin/b
			share
			share/doc
			share/doc/a @a/share/doc/a
			share/doc/b @b/share/doc/b
			share/man
			share/man/b @b/share/man/b
			share/man/c @c/share/man/c`,
	}, {
		name: "empty directories",
		world: `
			@a/bin dir
			@a/lib dir
			@b/bin dir`,
		packages: "a b",
		view: `
			bin
			lib @a/lib`,
	}, {
		name: "equal files, and links to files that are equal",
		world: `
			@a/f file 1
			@a/g link f
			@a/h exec 1
			@b/f file 1
			@b/g file 1
			@b/h exec 1`,
		packages: "a b",
		view: `
			f @a/f
			g @a/g
			h @a/h`,
	}, {
		name: "different contents, sizes, modes and kinds, sorted",
		world: `
			@a/kind file 1
			@a/content file 1
			@a/mode file 1
			@a/size file 1
			@a/bin/tool file 1
			@a/link link kind
			@b/kind/x file 1
			@b/content file 2
			@b/mode exec 1
			@b/size file 11
			@b/bin/tool file 2
			@b/link link nowhere`,
		packages: "a b",
		collide: `
			bin/tool @a @b
			content @a @b
			kind @a @b
			link @a @b
			mode @a @b
			size @a @b`,
	}, {
		name: "a collision with a directory of several names the first of them",
		world: `
			@a/x dir
			@b/x dir
			@c/x file 1
			@d/x file 1`,
		packages: "a b c d",
		collide: `
			x @a @c
			x @a @d`,
	}, {
		name: "priority decides between files, in any order",
		world: `
			@a/f file 1
			@a/g file 1
			@b/f file 2
			@b/h file 2
			@c/f file 3
			@c/g file 3`,
		packages: "a b:4 c:6",
		view: `
			f @b/f
			g @a/g
			h @b/h`,
	}, {
		name: "a directory takes the place of a worse file",
		world: `
			@a/x file 1
			@b/x/f file 2
			@c/x/f file 3`,
		packages: "a:6 b:4 c",
		view: `
			x
			x/f @b/x/f`,
	}, {
		name: "a file does not take the place of a worse directory",
		world: `
			@a/x/f file 1
			@b/x file 2`,
		packages: "a:6 b:4",
		collide:  "x @a @b",
	}, {
		name: "a worse directory does not matter to a file",
		world: `
			@a/x file 1
			@b/x/f file 2`,
		packages: "a:4 b:6",
		view:     "x @a/x",
	}, {
		name: "priority of a dangling link",
		world: `
			@a/x link nowhere
			@b/x file 2`,
		packages: "a b:4",
		view:     "x @b/x",
	}, {
		name: "what is left out",
		world: `
			@a/nix-support/x file 1
			@a/propagated-build-inputs file 1
			@a/nix/store/x file 1
			@a/log file 1
			@a/info/dir file 1
			@a/perllocal.pod file 1
			@a/share/info/dir file 1
			@a/share/texinfo/dir file 1
			@a/share/dir file 1
			@a/share/nix-support file 1
			@a/share/perl/perllocal.pod file 1
			@a/share/log/x file 1
			@a/share/mime/cache file 1
			@a/share/mime/packages file 1
			@a/share/mime/packages2 file 1
			@b/info/b file 2
			@b/share/mime/cache file 2
			@b/share/mime/packages file 1
			@b/share/info/dir file 2
			@b/share/texinfo/dir file 2
			@b/share/perl/perllocal.pod file 2`,
		packages: "a b",
		view: `
			info
			info/b @b/info/b
			share
			share/dir @a/share/dir
			share/info
			share/mime
			share/mime/packages @a/share/mime/packages
			share/mime/packages2 @a/share/mime/packages2
			share/nix-support @a/share/nix-support
			share/perl
			share/texinfo`,
	}, {
		name: "places to link",
		world: `
			@a/bin/a exec 1
			@a/binary file 1
			@a/sbin/a exec 1
			@a/share/man/a file 1
			@a/share/doc/a file 1
			@a/lib/a file 1
			@b/sbin/a exec 2
			@b/lib/a file 2`,
		packages: "a b",
		link:     "bin share/man etc opt/x",
		view: `
			bin @a/bin
			share
			share/man @a/share/man`,
	}, {
		name: "above a place to link are directories, even of links",
		world: `
			@a/share link data
			@a/data/man/x/y file 1
			@b/share file 1`,
		packages: "b a",
		link:     "share/man/x share/none",
		view: `
			share
			share/man
			share/man/x @a/share/man/x`,
	}, {
		name: "a place within a place",
		world: `
			@a/share/man/a file 1
			@a/share/doc file 1`,
		packages: "a",
		link:     "share share/man",
		view: `
			share
			share/doc @a/share/doc
			share/man @a/share/man`,
	}, {
		name: "no place there",
		world: `
			@a/share/doc file 1`,
		packages: "a",
		link:     "share/man bin",
	}, {
		name: "links to directories are descended, by their own names",
		world: `
			@a/bin/tool exec 1
			@a/etc/share link ../share
			@a/share/x/f file 1
			@b/bin link sbin
			@b/sbin/other exec 1
			@b/etc/share/e file 1`,
		packages: "a b",
		view: `
			bin
			bin/other @b/bin/other
			bin/tool @a/bin/tool
			etc
			etc/share
			etc/share/e @b/etc/share/e
			etc/share/x @a/etc/share/x
			sbin @b/sbin
			share @a/share`,
	}, {
		name: "one directory of two packages, and who has it itself",
		world: `
			@a/lib link @c/lib
			@b/lib link @a/lib
			@c/lib/f file 1`,
		packages: "a b c",
		view:     "lib @c/lib",
	}, {
		name: "one file of two packages",
		world: `
			@a/bin/x link @c/bin/x
			@b/bin/x link ../../` + object("c").Base() + `/bin/x
			@c/bin/x exec 1`,
		packages: "a b",
		view: `
			bin
			bin/x @a/bin/x`,
	}, {
		name: "links out of the store dangle, and are equal if they lead to one place",
		world: `
			@a/null link /dev/null
			@a/mask link /dev/null
			@a/bin link /bin
			@a/store link /nix/store
			@b/null link ../../../dev/null
			@b/mask link /dev/zero
			@b/bin/x exec 1
			@b/store/x file 1`,
		packages: "a b",
		collide: `
			bin @a @b
			mask @a @b
			store @a @b`,
	}, {
		name: "equal links that dangle",
		world: `
			@a/null link /dev/null
			@a/missing link @c/missing/f
			@a/loop link loop
			@b/null link ../../../../../dev/null
			@b/missing link @c/./x/../missing//f
			@c/x/y file 1`,
		packages: "a b",
		view: `
			loop @a/loop
			missing @a/missing
			null @a/null`,
	}, {
		name: "links that lead nowhere",
		world: `
			@a/loop link loop
			@b/loop link loop`,
		packages: "a b",
		collide:  "loop @a @b",
	}, {
		name: "links to themselves have no union",
		world: `
			@a/x/self link .
			@a/x/f file 1
			@b/x/self link .
			@b/x/g file 1`,
		packages: "a b",
		collide:  "x/self @a @b",
	}, {
		name: "a link to itself has one with a directory",
		world: `
			@a/x/self link .
			@a/x/f file 1
			@b/x/self/g file 1`,
		packages: "a b",
		view: `
			x
			x/f @a/x/f
			x/self
			x/self/f @a/x/self/f
			x/self/g @b/x/self/g
			x/self/self @a/x/self/self`,
	}, {
		name: "packages that are links, files or not there",
		world: `
			@a link @b
			@b link ` + object("c").Base() + `
			@c/bin/c exec 1
			@d file 1
			@f link /bin`,
		packages: "a d f g",
		view:     "bin @a/bin",
	}, {
		name: "a package twice",
		world: `
			@a/bin/a exec 1`,
		packages: "a a:3",
		view:     "bin @a/bin",
	}, {
		name: "propagated packages come last and lose, each against those before",
		world: `
			@a/bin/a exec 1
			@a/bin/x exec 1
			@a/nix-support/propagated-user-env-packages file @c @b
			@b/bin/b exec 2
			@b/bin/x exec 2
			@b/bin/y exec 2
			@b/nix-support/propagated-user-env-packages file @d @a @missing ./d /etc
			@c/bin/x/z exec 3
			@c/bin/y exec 3
			@d/bin/x exec 4
			@d/bin/z exec 4
			@d/bin/y/z exec 4`,
		packages: "a",
		view: `
			bin
			bin/a @a/bin/a
			bin/b @b/bin/b
			bin/x @a/bin/x
			bin/y @b/bin/y
			bin/z @d/bin/z`,
	}, {
		name: "a propagated file in place of a directory of several",
		world: `
			@a/x/a exec 1
			@a/nix-support/propagated-user-env-packages file @c
			@b/x/b exec 2
			@c/x exec 3`,
		packages: "a b",
		view: `
			x
			x/a @a/x/a
			x/b @b/x/b`,
	}, {
		name: "what is propagated through a link",
		world: `
			@a link @b
			@b/nix-support link @c/nix-support
			@c/nix-support/propagated-user-env-packages file @d
			@d/d file 1`,
		packages: "a",
		view:     "d @d/d",
	}, {
		name: "what is chosen and propagated is chosen",
		world: `
			@a/x exec 1
			@a/nix-support/propagated-user-env-packages file @b
			@b/x exec 2`,
		packages: "a b",
		collide:  "x @a @b",
	}, {
		name: "init, without a directory for it",
		world: `
			@a/init file 1
			@b/init link etc/init
			@b/etc/init exec 1`,
		packages: "a b",
		link:     "sbin bin",
		view: `
			sbin
			sbin/init @b/init`,
	}, {
		name: "init, in a directory that was a link",
		world: `
			@a/init exec 1
			@b/sbin link bin
			@b/bin/x exec 1
			@b/bin/log exec 1`,
		packages: "a b",
		link:     "sbin",
		view: `
			sbin
			sbin/init @a/init
			sbin/x @b/sbin/x`,
	}, {
		name: "init, in a directory",
		world: `
			@a/init exec 1
			@a/sbin/y exec 1
			@b/sbin/x exec 1`,
		packages: "a b",
		link:     "sbin/init sbin/x",
		view: `
			sbin
			sbin/init @a/init
			sbin/x @b/sbin/x`,
	}, {
		name: "init is there, behind a link",
		world: `
			@a/init exec 1
			@b/sbin/init link /run/init`,
		packages: "a b",
		link:     "sbin",
		view:     "sbin @b/sbin",
	}, {
		name: "init is there",
		world: `
			@a/init exec 1
			@b/sbin/init exec 2
			@c/sbin dir`,
		packages: "a b c",
		link:     "sbin",
		view: `
			sbin
			sbin/init @b/sbin/init`,
	}, {
		name: "init has no place",
		world: `
			@a/init exec 1
			@b/sbin file 2`,
		packages: "a b",
		link:     "sbin",
		view:     "sbin @b/sbin",
	}, {
		name: "init is not asked for, or only in the root",
		world: `
			@a/init exec 1`,
		packages: "a",
		link:     "bin init",
		view:     "init @a/init",
	},
}

func TestMerge(t *testing.T) {
	for _, c := range slices.Concat(mergeTests, optionTests) {
		t.Run(c.name, func(t *testing.T) {
			w, chosen, opt := parse(c.world), packages(c.packages), options(c.link, c.exclude, c.claims, c.policy)
			want := outcome{trim(c.view), trim(c.settled), trim(c.collide)}
			got := w.merged(t, chosen, opt)
			if b := got.brief(); b.view != want.view || b.collide != want.collide || c.settled != "" && b != want {
				t.Errorf("got:\n%s\nwant:\n%s", b, want)
			}
			if reference, ok := w.reference(chosen, opt); !ok || got != reference {
				t.Errorf("got:\n%s\nthe reference has:\n%s", got, reference)
			}
		})
	}
}
