package nixdb

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"thaw/internal/testbed"
	"thaw/storepath"
)

// Garbage is what neither a root nor a profile refers to.
func TestNixCollectsGarbage(t *testing.T) {
	infos := tiny(t)
	refs := map[string][]string{}
	var all []string
	for _, info := range infos {
		all = append(all, info.StorePath.String())
		for _, ref := range info.References {
			refs[info.StorePath.String()] = append(refs[info.StorePath.String()], ref.String())
		}
	}
	tests := []struct {
		name            string
		profiles, roots []string
	}{
		{"nothing kept", nil, nil},
		{"root", nil, []string{tinyTool}},
		{"roots", nil, []string{tinyLib, tinyData}},
		{"profile", []string{tinyTool}, nil},
		{"both", []string{tinyLib}, []string{tinyData}},
		{"all", []string{tinySystem}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &Store{Infos: infos}
			for i, p := range tt.profiles {
				s.Profiles = append(s.Profiles, Root{[]string{"system", "per-user/root/profile"}[i], path(t, p)})
			}
			for i, p := range tt.roots {
				s.Roots = append(s.Roots, Root{[]string{"a", "thaw/b"}[i], path(t, p)})
			}
			live := reachable(refs, slices.Concat(tt.profiles, tt.roots)...)
			dead := slices.DeleteFunc(slices.Clone(all), func(p string) bool { return slices.Contains(live, p) })
			slices.Sort(dead)
			root := unpack(t, s)
			nixEnv(t)
			if len(tt.profiles) == 0 { // gcroots/profiles leads outside of the root here
				if got := sortedFields(alone(t, "nix-store", "--store", root, "--gc", "--print-dead")); !slices.Equal(got, dead) {
					t.Errorf("from outside, dead are %q; want %q", got, dead)
				}
			}
			if got := sortedFields(inside(t, root, "nix-store --gc --print-dead")); !slices.Equal(got, dead) {
				t.Errorf("dead are %q; want %q", got, dead)
			}
			inside(t, root, "nix-store --gc && nix-store --verify --check-contents")
			left, err := filepath.Glob(root + storepath.Dir + "/*-*")
			if err != nil {
				t.Fatal(err)
			}
			for i := range left {
				left[i] = strings.TrimPrefix(left[i], root)
			}
			if !slices.Equal(left, live) {
				t.Errorf("after collecting, %q is left; want %q", left, live)
			}
		})
	}
}

func sortedFields(b []byte) []string { return slices.Sorted(slices.Values(strings.Fields(string(b)))) }

// A Nix inside takes the profile as its own, and goes on from there.
func TestNixInside(t *testing.T) {
	root := unpack(t, tinyStore(t))
	nixEnv(t)
	out := string(inside(t, root, `
		nix-store --verify --check-contents
		nix-env -p /nix/var/nix/profiles/system --list-generations
		nix-env -p /nix/var/nix/profiles/system --set `+tinyTool+`
		nix-env -p /nix/var/nix/profiles/system --list-generations
		readlink /nix/var/nix/profiles/system /nix/var/nix/profiles/system-1-link /nix/var/nix/profiles/system-2-link
		nix-env -p /nix/var/nix/profiles/system --rollback
		readlink /nix/var/nix/profiles/system
		echo new >/tmp-new
		nix-store -q --references $(nix-store --add /tmp-new)
		nix-store -q --roots `+tinyData+` | LC_ALL=C sort
	`))
	var got []string
	for line := range strings.Lines(out) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	generation := regexp.MustCompile(`^(\d+) \S+ \S+( \(current\))?$`)
	for i := range got {
		got[i] = generation.ReplaceAllString(got[i], "generation $1$2")
	}
	want := []string{
		"generation 1 (current)",
		"generation 1", "generation 2 (current)",
		"system-2-link", tinySystem, tinyTool,
		"system-1-link",
		"/nix/var/nix/gcroots/thaw/data -> " + tinyData,
		"/nix/var/nix/profiles/per-user/root/profile-1-link -> " + tinyTool,
		"/nix/var/nix/profiles/system-1-link -> " + tinySystem,
		"/nix/var/nix/profiles/system-2-link -> " + tinyTool,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A closure with derivations is a valid store: Nix reads them for what they
// build, and finds it there.
func TestDerivations(t *testing.T) {
	const drv = "/nix/store/b9cwi2p5mbmsas2zpmh7728mmsfq79rs-system-toplevel.drv"
	root := unpack(t, withDerivations(t))
	nixEnv(t)
	out := inside(t, root, "nix-store --verify --check-contents; nix-store -q --outputs "+drv+"; nix-store --realise "+drv)
	if got, want := string(out), tinySystem+"\n"+tinySystem+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	copied := tempStore(t)
	testbed.Run(t, "nix", "copy", "--derivation", "--no-check-sigs", "--from", "file://"+testbed.Root(t)+"/testdata/caches/tiny/cache-drvs", "--to", copied, drv)
	const query = "select p.path, o.id, o.path from DerivationOutputs o, ValidPaths p where o.drv = p.id order by 1, 2"
	got, want := queryFile(t, filepath.Join(root, dbDir, "db.sqlite"), query), queryFile(t, filepath.Join(copied, dbDir, "db.sqlite"), query)
	if len(got) < 10 || !slices.Equal(got, want) {
		t.Errorf("outputs are\n%s\nin Nix's own database\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// inside runs a script with root as the root directory, this machine's programs
// mounted into it, and returns what it prints.
func inside(t *testing.T, root, script string) []byte {
	t.Helper()
	testbed.Tool(t, "nix-store")
	const mounts = `set -e
		for d in bin dev etc lib lib64 sbin usr; do
			if [ -e /$d ]; then mkdir -p "$1/$d"; mount --rbind "/$d" "$1/$d"; fi
		done
		mkdir -p "$1/proc"
		mount -t proc proc "$1/proc"
		HOME=/ NIX_CONF_DIR=/ exec chroot "$1" /bin/sh -ec "$2"`
	return alone(t, "/bin/sh", "-c", mounts, "sh", root, script)
}

// alone runs a program that sees no other process, and returns what it prints. What
// processes have open or in their environment Nix takes for roots of its garbage.
func alone(t *testing.T, command ...string) []byte {
	t.Helper()
	unshare := testbed.Tool(t, "unshare")
	args := []string{"--map-root-user", "--mount", "--mount-proc", "--pid", "--fork"}
	if err := exec.Command(unshare, append(args, "true")...).Run(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no namespaces, and CI must have them: %v", err)
		}
		t.Skipf("SKIPPED: this user may not make namespaces: %v", err)
	}
	return testbed.Run(t, unshare, append(args, command...)...)
}
