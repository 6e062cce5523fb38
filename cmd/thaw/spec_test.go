package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thaw/internal/testbed"
)

// writeSpec writes a spec, with the lines given in front of it, and returns the name
// of the file.
func writeSpec(t *testing.T, p *program, text string) string {
	t.Helper()
	file := filepath.Join(p.dir, "s.yaml")
	if err := os.WriteFile(file, []byte("version: 1\n"+text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// Collisions name the file, both packages with what they have there and where the
// spec names them, and what to write there; what is written then settles them.
func TestCollisionsOfSpecs(t *testing.T) {
	caches := testbed.Dir(t, "caches")
	p := newProgram(t, "--cache", caches+"/small", "--trusted-key", testbedKey, "-q")
	const a, b = "/nix/store/01ppy91hvw33im7b132cqifjbyz05k3d-merge-a", "/nix/store/0xz7nd6y9ygdc42c5y075y612mdma8h9-merge-b"
	outputs := "outputs: { t: { type: tar } }\n"
	out := p.dir + "/t.tar"
	file := writeSpec(t, p, "packages:\n  - "+a+"\n  - { path: "+b+", priority: 5 }\n"+outputs)
	got := p.try(t, "build", file, "-o", out)
	want := strings.NewReplacer("A", filepath.Base(a), "B", filepath.Base(b), "FILE", file).Replace(`thaw: bin/tool comes from both A (packages[0], FILE:3; file of 2 bytes) and B (packages[1], FILE:4; file of 2 bytes)
thaw: lib/thing comes from both A (packages[0], FILE:3; file of 5 bytes) and B (packages[1], FILE:4; directory)
thaw: share/x/diff comes from both A (packages[0], FILE:3; file of 2 bytes) and B (packages[1], FILE:4; file of 2 bytes)
      let one win: { path: /nix/store/A, priority: 4 } (packages[0], FILE:3) or { path: /nix/store/B, priority: 4 } (packages[1], FILE:4)
      leave it out, in rootfs: merge: { exclude: [/lib/thing] }
      or in rootfs: merge: { collisions: first }
`)
	if got.code != exitFailed || got.stderr != want {
		t.Errorf("exit %d\n%s\nwant\n%s", got.code, got.stderr, want)
	}
	if _, err := os.Lstat(out); err == nil {
		t.Error("an image appeared")
	}
	for name, text := range map[string]string{
		"priority": "packages:\n  - { path: " + a + ", priority: 4 }\n  - " + b + "\nrootfs: { merge: { exclude: [/lib/thing] } }\n",
		"first":    "packages: [ " + a + ", " + b + " ]\nrootfs: { merge: { collisions: first } }\n",
	} {
		p.run(t, "build", writeSpec(t, p, text+outputs), "-o", out)
		list := string(testbed.Run(t, "tar", "-tvf", out))
		if !strings.Contains(list, "bin/tool -> "+a+"/bin/tool") {
			t.Errorf("%s: bin/tool is not that of merge-a", name)
		}
		if excluded := strings.Contains(list, " lib/thing"); excluded != (name == "first") {
			t.Errorf("%s: lib/thing is there: %v", name, excluded)
		}
	}
	strict := writeSpec(t, p, "packages:\n  - { path: "+a+", priority: 4 }\n  - "+b+"\nrootfs: { merge: { collisions: error } }\n"+outputs)
	if got := p.try(t, "build", strict, "-o", out); got.code != exitFailed || !strings.Contains(got.stderr, "bin/tool comes from both") {
		t.Errorf("collisions: error: exit %d\n%s", got.code, got.stderr)
	}
	best := writeSpec(t, p, "packages:\n  - { path: "+a+", priority: -1000 }\n  - { path: "+b+", priority: -1000 }\n"+outputs)
	if got := p.try(t, "build", best, "-o", out); got.code != exitFailed || strings.Contains(got.stderr, "let one win") {
		t.Errorf("the least priority: exit %d\n%s", got.code, got.stderr)
	}
	report := newProgram(t, "--cache", caches+"/small", "--trusted-key", testbedKey)
	got = report.run(t, "build", writeSpec(t, report, "packages: [ "+a+", "+b+" ]\nrootfs: { merge: { collisions: first, report: true } }\n"+outputs), "-o", report.dir+"/t.tar")
	if !strings.Contains(got.stderr, "merging    bin/tool comes from 01ppy91hvw33im7b132cqifjbyz05k3d-merge-a (file of 2 bytes), not from") {
		t.Errorf("nothing is reported:\n%s", got.stderr)
	}
}

// What a spec says of caches and keys is below the options and above all else; trust
// narrows the keys of one cache.
func TestCachesOfSpecs(t *testing.T) {
	tiny := repository(t, "testdata/caches/tiny/cache-xz")
	path := narinfoPaths(t, tiny)[0]
	p := newProgram(t, "--no-cache", "-q")
	const other = "other-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	build := func(text string, args ...string) outcome {
		t.Helper()
		file := writeSpec(t, p, "packages: [ \""+path+"\" ]\noutputs: { t: { type: tar } }\n"+text)
		return p.try(t, append([]string{"build", file, "-o", p.dir + "/t.tar"}, args...)...)
	}
	key := "\"" + tinyKey + "\""
	name, _, _ := strings.Cut(tinyKey, ":")
	if err := os.Symlink(tiny, p.dir+"/here"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		text string
		args []string
		code int
		want string
	}{
		{"caches: [ " + tiny + " ]\nkeys: [ " + key + " ]\n", nil, exitOK, ""},
		{"caches: [ here ]\nkeys: [ " + key + " ]\n", nil, exitOK, ""}, // beside the spec
		{"caches: [ " + tiny + " ]\n", nil, exitIntegrity, "is signed by"},
		{"caches: [ " + tiny + " ]\n", []string{"--trusted-key", tinyKey}, exitOK, ""},
		{"caches: [ " + tiny + " ]\nkeys: [ " + key + " ]\n", []string{"--trusted-key", other}, exitIntegrity, "is signed by"},
		{"caches: [ " + p.dir + " ]\nkeys: [ " + key + " ]\n", []string{"--cache", tiny}, exitOK, ""},
		{"caches: [ { url: " + tiny + ", trust: [ " + name + " ] } ]\nkeys: [ " + key + ", \"" + other + "\" ]\n", nil, exitOK, ""},
		{"caches: [ { url: " + tiny + ", trust: [ other-1 ] } ]\nkeys: [ " + key + ", \"" + other + "\" ]\n", nil, exitIntegrity, "is signed by"},
		{"caches: [ { url: " + tiny + ", trust: [ other-1 ] } ]\n", []string{"--trusted-key", tinyKey}, exitUsage, "no trusted key is called other-1"},
		{"caches: [ { url: " + tiny + ", auth: { authorization-env: NO_SUCH_VARIABLE } } ]\nkeys: [ " + key + " ]\n", nil, exitUsage, "NO_SUCH_VARIABLE"},
	} {
		got := build(test.text, test.args...)
		if got.code != test.code || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%s%q: exit %d\n%s", test.text, test.args, got.code, got.stderr)
		}
	}
}
