package resolve

import (
	"slices"
	"strings"
	"testing"
)

// The first four are examples of Nix's own documentation and source.
func TestSplitVersion(t *testing.T) {
	for name, want := range map[string][2]string{
		"apache-httpd-2.0.48":      {"apache-httpd", "2.0.48"},
		"nix-0.12pre12876":         {"nix", "0.12pre12876"},
		"firefox-2.0.0.1":          {"firefox", "2.0.0.1"},
		"hello":                    {"hello", ""},
		"bash-5.2-p15":             {"bash", "5.2-p15"},
		"gtk+3-3.24.43":            {"gtk+3", "3.24.43"},
		"python3.12-requests-2.32": {"python3.12-requests", "2.32"},
		"perl5.40.0-JSON-4.10":     {"perl5.40.0-JSON", "4.10"},
		"a--b":                     {"a", "-b"},
		"x-":                       {"x-", ""},
		"-1":                       {"", "1"},
		"":                         {"", ""},
		"unstable-2024-01-02":      {"unstable", "2024-01-02"},
	} {
		if pname, version := splitVersion(name); pname != want[0] || version != want[1] {
			t.Errorf("%q: %q and %q, want %q", name, pname, version, want)
		}
	}
}

// packages are names as a channel's list has them.
var packages = strings.Fields(`
	git-2.49.0 git-2.49.0-doc git-2.49.0-debug git-lfs-3.6.1 git-minimal-2.49.0 gitlab-17.10.4 legit-1.2
	curl-8.14.1 curl-8.14.1-bin curl-8.14.1-dev curl-8.14.1-man curl-bin-1.0
	gcc-14.2.1.20250322 gcc-14.2.1.20250322-lib gcc-14.2.1.20250322-libgcc gcc-14.2.1.20250322-checksum
	bash-5.2-p15 bash-5.2 bash-interactive-5.2-p15
	python3-3.12.10 python3-3.13.3 python3-3.12.10-debug python3.12-requests-2.32.3 python3.12-requests-2.32.3-dist
	gtk-doc gtk-4.18.5 gtk-4.18.5-doc hello merge-lib openssl-3.4.1 postgresql-17.5-plperl
`)

func TestMatch(t *testing.T) {
	for _, tt := range []struct{ name, output, want string }{
		{"git", "out", "git-2.49.0"},
		{"git", "doc", "git-2.49.0-doc"},
		{"git", "man", ""},
		{"git-2.49.0", "out", "git-2.49.0"},
		{"git-2.49.0", "doc", "git-2.49.0-doc"},
		{"git-2.49.0-doc", "out", "git-2.49.0-doc"},
		{"git-2.49.0-doc", "doc", "git-2.49.0-doc"},
		{"git-2.49.0-doc", "dev", ""},
		{"git-2.49", "out", ""},
		{"git-", "out", ""},
		{"Git", "out", ""},
		{"git-doc", "out", "git-2.49.0-doc"},
		{"git-doc", "doc", ""},
		{"git-lfs", "out", "git-lfs-3.6.1"},
		{"curl", "out", "curl-8.14.1"},
		{"curl", "bin", "curl-8.14.1-bin"},
		{"curl-bin", "out", "curl-8.14.1-bin curl-bin-1.0"}, // either may be meant
		{"gcc", "out", "gcc-14.2.1.20250322 gcc-14.2.1.20250322-checksum"},
		{"gcc", "checksum", "gcc-14.2.1.20250322-checksum"},
		{"gcc", "lib", "gcc-14.2.1.20250322-lib"},
		{"gcc-14.2.1.20250322", "out", "gcc-14.2.1.20250322"},
		{"gcc-lib", "out", "gcc-14.2.1.20250322-lib"},
		{"bash", "out", "bash-5.2-p15 bash-5.2"},
		{"bash-5.2", "out", "bash-5.2"},
		{"bash-5.2-p15", "out", "bash-5.2-p15"},
		{"python3", "out", "python3-3.12.10 python3-3.13.3"},
		{"python3.12-requests", "dist", "python3.12-requests-2.32.3-dist"},
		{"gtk-doc", "out", "gtk-doc gtk-4.18.5-doc"},
		{"gtk", "doc", "gtk-doc gtk-4.18.5-doc"},
		{"hello", "out", "hello"},
		{"merge-lib", "out", "merge-lib"},
		{"postgresql", "plperl", "postgresql-17.5-plperl"},
		{"postgresql", "out", "postgresql-17.5-plperl"}, // who knows that it is an output
		{"", "out", ""},
	} {
		p := newPattern(tt.name, tt.output)
		var got []string
		for _, full := range packages {
			if p.matches(p.split(full)) {
				got = append(got, full)
			}
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s of %q: %q, want %q", tt.output, tt.name, s, tt.want)
		}
	}
}

func TestNearest(t *testing.T) {
	for name, want := range map[string]string{
		"gti":                       "git gtk",
		"GIT":                       "git",
		"git-2.48":                  "git-2.49.0 git-lfs git-minimal",
		"pyhton3":                   "python3",
		"requests":                  "python3.12-requests",
		"interactive":               "bash-interactive",
		"gitlab-ce":                 "gitlab",
		"zzzzzz":                    "",
		"q":                         "",
		"openssl-1.1":               "openssl-3.4.1",
		"posgresql":                 "postgresql",
		"python3.12":                "python3.12-requests",
		"python3-3.12":              "python3-3.12.10 python3-3.13.3",
		strings.Repeat("long", 100): "",
	} {
		n := newNearest(name)
		for _, full := range slices.Concat(packages, packages) {
			n.add(pattern{output: "out"}.split(full))
		}
		if got := strings.Join(n.names(), " "); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
		slices.Reverse(packages)
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"git", "git", 0}, {"git", "GIT", 0}, {"git", "gits", 1}, {"git", "gt", 1}, {"git", "got", 1},
		{"git", "gti", 1}, {"git", "abc", 3}, {"a", "abcd", 3}, {"", "ab", 2}, {"kitten", "sitting", 3},
		{strings.Repeat("a", 64), strings.Repeat("a", 66), 2}, {strings.Repeat("a", 65), strings.Repeat("a", 65), 3},
	} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q to %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if len(tt.a) < 65 && len(tt.b) < 65 {
			if got := distance(tt.b, tt.a); got != tt.want {
				t.Errorf("%q to %q: %d, want %d", tt.b, tt.a, got, tt.want)
			}
		}
	}
}
