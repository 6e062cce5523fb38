package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"thaw/internal/faultserver"
	"thaw/lock"
	"thaw/nixhash"
	"thaw/storepath"
)

// lockSigner signs the objects of these tests.
const lockSigner = faultserver.Signer("lock-1")

// lockRig is a server that is a cache and a Hydra, and a spec that uses both.
type lockRig struct {
	t      *testing.T
	files  faultserver.Files
	server *faultserver.Server
	dir    string // of the spec
}

func newLockRig(t *testing.T) *lockRig {
	r := &lockRig{t: t, files: faultserver.Files{}, dir: t.TempDir()}
	lib := r.files.Add(lockSigner, "lib", "gzip", faultserver.NAR([]byte("lib")))
	r.files.Add(lockSigner, "app", "zstd", faultserver.NAR([]byte("app")), lib.StorePath)
	r.files.Add(lockSigner, "tool-1", "none", faultserver.NAR([]byte("tool 1")), lib.StorePath)
	r.files.Add(lockSigner, "tool-2", "none", faultserver.NAR([]byte("tool 2")), lib.StorePath)
	r.files.Add(lockSigner, "other-1", "none", faultserver.NAR([]byte("other 1")))
	r.files.Add(lockSigner, "other-2", "none", faultserver.NAR([]byte("other 2")))
	r.files.Add(lockSigner, "listed", "none", faultserver.NAR([]byte("listed")))
	r.built("tool", "tool-1")
	r.built("other", "other-1")
	r.server = faultserver.New(t, maps.Clone(r.files))
	r.write("lists/paths", faultserver.Path("listed").String()+"\n")
	r.write("vm.yaml", fmt.Sprintf(`version: 1
arch: x86_64-linux
caches: [ %[1]q ]
keys: [ %[2]q ]
packages:
  - { name: tool, from: "hydra:%[1]s/p/j" }
  - %[3]s
  - { name: other, from: "hydra:%[1]s/p/j" }
  - { closure-of: lists/paths }
outputs: { root: { type: tar } }
`, r.server.URL, lockSigner.Key(), faultserver.Path("app")))
	return r
}

// built makes the Hydra say that a job gave a store path.
func (r *lockRig) built(job, name string) {
	text, err := json.Marshal(map[string]any{"id": 7, "finished": 1, "buildstatus": 0, "system": "x86_64-linux",
		"buildoutputs": map[string]any{"out": map[string]string{"path": faultserver.Path(name).String()}}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.files["job/p/j/"+job+"/latest-finished"] = text
}

// serve makes the server have these files from now on.
func (r *lockRig) serve(files faultserver.Files) {
	r.server.Log() // whose lock orders this before and after requests
	r.server.Files = maps.Clone(files)
	r.server.Log()
}

func (r *lockRig) file(name string) string { return filepath.Join(r.dir, name) }

func (r *lockRig) write(name, text string) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(r.file(name)), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.file(name), []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *lockRig) read(name string) string {
	r.t.Helper()
	text, err := os.ReadFile(r.file(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

// locks returns what thaw lock writes on a machine.
func (r *lockRig) locks(p *program, args ...string) string {
	r.t.Helper()
	p.run(r.t, append([]string{"lock", r.file("vm.yaml")}, args...)...)
	return r.read("vm.lock.json")
}

// builds returns the digest of the image.
func (r *lockRig) builds(p *program, args ...string) string {
	r.t.Helper()
	return p.run(r.t, append([]string{"build", "-o", "out.tar"}, args...)...).digest(r.t)
}

// asked returns how many narinfos, and files of the Hydra, are asked for by f.
func (r *lockRig) asked(f func()) (narinfos, names, all int) {
	before := len(r.server.Log())
	f()
	for _, q := range r.server.Log()[before:] {
		all++
		if strings.HasSuffix(q.Path, ".narinfo") {
			narinfos++
		}
		if strings.HasPrefix(q.Path, "job/") {
			names++
		}
	}
	return narinfos, names, all
}

// hostile returns the cache with other contents under all its paths, signed as
// well as the first ones, which it still has the NARs of.
func (r *lockRig) hostile() faultserver.Files {
	out := maps.Clone(r.files)
	for _, name := range []string{"lib", "app", "tool-1", "other-1", "listed"} {
		var refs []storepath.Path
		if name == "app" || name == "tool-1" {
			refs = append(refs, faultserver.Path("lib"))
		}
		out.Add(lockSigner, name, "none", faultserver.NAR([]byte("hostile "+name)), refs...)
	}
	return out
}

// An image from the lock, without a network, is the image from the spec with one,
// and stays it whatever caches and channels say later.
func TestLockRoundTrip(t *testing.T) {
	r := newLockRig(t)
	spec, lockFile := r.file("vm.yaml"), r.file("vm.lock.json")
	first := newProgram(t)
	image := r.builds(first, spec)

	// A lock is the same on a cold and on a warm machine, and again.
	cold := newProgram(t)
	text := r.locks(cold)
	if warm := r.locks(first, "--update"); warm != text {
		t.Errorf("cold\n%s\nwarm\n%s", text, warm)
	}
	if _, _, all := r.asked(func() { r.locks(cold) }); all != 0 {
		t.Errorf("what is locked is locked again with %d requests", all)
	}
	if again := r.read("vm.lock.json"); again != text {
		t.Errorf("locked again it is\n%s", again)
	}
	first.run(t, "lock", "--check", spec)

	// By it no narinfo is asked for and no name, then nothing.
	for _, args := range [][]string{{spec, "--locked"}, {lockFile}} {
		p := newProgram(t)
		narinfos, names, all := r.asked(func() {
			if got := r.builds(p, args...); got != image {
				t.Errorf("%q: another image", args)
			}
		})
		if narinfos+names > 0 || all != 1+5 { // nix-cache-info, NARs
			t.Errorf("%q: %d requests, %d of them for narinfos and %d for names", args, all, narinfos, names)
		}
		if _, _, all := r.asked(func() { r.builds(p, args...) }); all > 0 {
			t.Errorf("%q: %d requests although all is here", args, all)
		}
		if got := r.builds(p, append(args, "--offline")...); got != image {
			t.Errorf("%q, offline: another image", args)
		}
	}
	if o := newProgram(t).try(t, "build", spec, "--locked", "--offline", "-o", "x.tar"); o.code != exitNotFound || strings.Count(o.stderr, "is not in the local cache") != 5 {
		t.Errorf("offline, with nothing here: exit %d\n%s", o.code, o.stderr)
	}

	// Other contents and other answers do not matter.
	r.serve(r.hostile())
	if got := r.builds(newProgram(t), spec); got == image {
		t.Error("the other contents make the same image")
	}
	for name, args := range map[string][]string{"the same cache": nil, "a second cache": {"--cache", r.server.URL}} {
		if args != nil {
			good := maps.Clone(r.files)
			good["nix-cache-info"] = []byte("StoreDir: /nix/store\nPriority: 90\n")
			args = append(args, "--cache", faultserver.New(t, good).URL)
		}
		p := newProgram(t)
		if got := r.builds(p, append(args, spec, "--locked")...); got != image {
			t.Errorf("%s with other contents: another image", name)
		}
	}
	o := first.try(t, "lock", "--check", spec)
	if o.code != exitStale || strings.Count(o.stdout, ": narHash: ") != 5 || !strings.Contains(o.stderr, "vm.lock.json is out of date: ") {
		t.Errorf("--check after other contents: exit %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if got := r.locks(newProgram(t)); got != text {
		t.Errorf("what is pinned moves:\n%s", got)
	}
}

// NarHash is the truth where caches disagree: also where the lock's own cache has
// lost the NAR, and another one has it under another name.
func TestLockedElsewhere(t *testing.T) {
	r := newLockRig(t)
	spec := r.file("vm.yaml")
	image := r.builds(newProgram(t), spec)
	r.locks(newProgram(t))
	elsewhere := faultserver.Files{}
	for _, i := range []string{"lib", "app", "tool-1", "other-1", "listed"} {
		var refs []storepath.Path
		if i == "app" || i == "tool-1" {
			refs = append(refs, faultserver.Path("lib"))
		}
		elsewhere.Add(lockSigner, i, "gzip", faultserver.NAR([]byte(strings.Replace(i, "-", " ", 1))), refs...)
	}
	other := faultserver.New(t, elsewhere)
	gone := r.hostile()
	for name := range gone {
		if strings.HasPrefix(name, "nar/") && r.files[name] != nil {
			delete(gone, name)
		}
	}
	r.serve(gone)
	if got := r.builds(newProgram(t), spec, "--locked", "--cache", r.server.URL, "--cache", other.URL); got != image {
		t.Error("another image")
	}
	o := newProgram(t).try(t, "build", spec, "--locked", "-o", "x.tar")
	if o.code != exitNotFound || !strings.Contains(o.stderr, "has other content for this path") {
		t.Errorf("nobody has it: exit %d\n%s", o.code, o.stderr)
	}
}

// What changed in the spec or on the way is brought into the lock, and no more.
func TestLockUpdate(t *testing.T) {
	r := newLockRig(t)
	spec := r.file("vm.yaml")
	p := newProgram(t)
	text := r.locks(p)
	r.built("tool", "tool-2")
	r.built("other", "other-2")
	r.serve(r.files)
	o := p.try(t, "lock", "--check", spec)
	want := func(name string) string {
		return "hydra:" + r.server.URL + "/p/j: " + faultserver.Path(name+"-1").String() + " → " + faultserver.Path(name+"-2").String() + "\n"
	}
	if o.code != exitStale || !strings.Contains(o.stdout, want("tool")) || !strings.Contains(o.stdout, want("other")) || !strings.Contains(o.stdout, "\n+ "+faultserver.Path("tool-2").String()+"\n") {
		t.Errorf("--check: exit %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if got := r.locks(p); got != text {
		t.Errorf("without --update names move:\n%s", got)
	}
	image := r.builds(p, spec, "--locked")

	// One of them alone, although all else has other contents now.
	pinned, err := lock.Parse("", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	r.serve(r.hostile())
	now, err := lock.Parse("", []byte(r.locks(p, "--update", "tool")))
	if err != nil {
		t.Fatal(err)
	}
	diff := lock.Diff(pinned, now)
	slices.Sort(diff)
	if want := []string{"+ " + faultserver.Path("tool-2").String(), "- " + faultserver.Path("tool-1").String(), "tool^out from " + strings.TrimSuffix(want("tool"), "\n")}; !slices.Equal(diff, want) {
		t.Errorf("--update tool changes\n%s\nand not\n%s", strings.Join(diff, "\n"), strings.Join(want, "\n"))
	}
	if got := r.builds(p, spec, "--locked"); got == image {
		t.Error("the other tool makes the same image")
	}
	if o := p.try(t, "lock", spec, "--update", "nothing"); o.code != exitUsage || !strings.Contains(o.stderr, "names no package nothing") {
		t.Errorf("--update of a name that is not there: exit %d\n%s", o.code, o.stderr)
	}
	r.serve(r.files)
	if all := r.locks(p, "--update"); all == text || strings.Contains(all, "tool-1") || strings.Contains(all, "other-1") {
		t.Errorf("--update leaves\n%s", all)
	}

	// A changed spec is out of date. What stays in it stays pinned.
	r.built("other", "other-1")
	r.built("new", "listed")
	r.serve(r.files)
	for _, edit := range []struct{ old, new, want string }{
		{"arch: x86_64-linux", "arch: x86_64-linux # a remark", ""},
		{"version: 1", "version: 1\nepoch: 5", "the spec was changed"},
		{"  - { closure-of: lists/paths }", "", "closure-of lists/paths is no longer asked for"},
		{"  - { closure-of: lists/paths }", "  - { closure-of: lists/paths }\n  - { name: new, from: \"hydra:" + r.server.URL + "/p/j\" }", "new^out from hydra:" + r.server.URL + "/p/j is new"},
	} {
		r.locks(p)
		before := r.read("vm.yaml")
		r.write("vm.yaml", strings.Replace(before, edit.old, edit.new, 1))
		o := p.try(t, "build", spec, "--locked", "-o", "x.tar")
		if edit.want == "" && o.code != 0 || edit.want != "" && (o.code != exitStale || !strings.Contains(o.stderr, "vm.lock.json is out of date: "+edit.want)) {
			t.Errorf("after %q: exit %d\n%s", edit.new, o.code, o.stderr)
		}
		if got := r.locks(p); !strings.Contains(got, "other-2") || strings.Contains(got, "other-1") {
			t.Errorf("after %q what was there moves:\n%s", edit.new, got)
		}
		p.run(t, "build", spec, "--locked", "-o", "x.tar")
		r.write("vm.yaml", before)
	}
	r.locks(p)
	r.write("lists/paths", "# another list\n"+faultserver.Path("listed").String())
	if o := p.try(t, "build", spec, "--locked", "-o", "x.tar"); o.code != exitStale || !strings.Contains(o.stderr, "closure-of lists/paths: the file was changed") {
		t.Errorf("after the list was changed: exit %d\n%s", o.code, o.stderr)
	}
	r.locks(p)
	p.run(t, "build", spec, "--locked", "-o", "x.tar")
}

// Each hash and signature in a lock is of consequence.
func TestEditedLock(t *testing.T) {
	r := newLockRig(t)
	spec := r.file("vm.yaml")
	p := newProgram(t)
	text := r.locks(p)
	r.builds(p, spec, "--locked")
	fails := func(what, edited string, online ...string) {
		t.Helper()
		r.write("vm.lock.json", edited)
		o := p.try(t, append(append([]string{"build", "--locked", "-o", "edited.tar"}, online...), spec)...)
		if o.code != exitIntegrity || !strings.Contains(o.stderr, "thaw: ") || strings.Count(o.stderr, "\n") != 2 {
			t.Errorf("%s: exit %d\n%s", what, o.code, o.stderr)
		}
		if _, err := os.Stat(filepath.Join(p.dir, "edited.tar")); err == nil {
			t.Errorf("%s: there is an image", what)
		}
	}
	hashes := regexp.MustCompile(`sha256-[A-Za-z0-9+/]{43}=|lock-1:[A-Za-z0-9+/]{86}==`).FindAllStringIndex(text, -1)
	if len(hashes) != 1+1+1+3*5 { // the digest, the spec, the list; NarHash, FileHash, signature
		t.Errorf("%d hashes", len(hashes))
	}
	for _, at := range hashes {
		edited := []byte(text)
		edited[at[0]+20] ^= 1
		fails(text[at[0]:at[1]], string(edited))
	}

	// The same by somebody who computes the digest anew, but has no key.
	digest := regexp.MustCompile(`"digest": "[^"]*"`)
	reseal := func(text string) string {
		open := digest.ReplaceAllString(text, `"digest": ""`)
		return strings.Replace(open, `"digest": ""`, `"digest": "`+nixhash.Sum256([]byte(open)).SRI()+`"`, 1)
	}
	if reseal(text) != text {
		t.Fatal("the digest is computed otherwise here")
	}
	good := nixhash.Sum256(faultserver.NAR([]byte("app"))).SRI()
	evil := faultserver.NAR([]byte("evil"))
	r.files["nar/evil"] = evil
	r.serve(r.files)
	fails("another NarHash, with its NAR", reseal(strings.Replace(text, good, nixhash.Sum256(evil).SRI(), 1)))
	fails("a reference less", reseal(regexp.MustCompile(`"references": \[\n *"[^"]*"\n *\]`).ReplaceAllString(text, `"references": []`)))

	// Hints are hints.
	r.write("vm.lock.json", reseal(regexp.MustCompile(`"url": "[^"]*"`).ReplaceAllString(text, `"url": "nar/evil"`)))
	if o := newProgram(t).try(t, "build", "--locked", "-o", "x.tar", spec); o.code != 0 || o.digest(t) != r.builds(p, spec) {
		t.Errorf("other hints: exit %d\n%s", o.code, o.stderr)
	}
}

// What was locked on the word of a cache is believed on its word alone.
func TestLockExempt(t *testing.T) {
	r := newLockRig(t)
	spec := r.file("vm.yaml")
	for name, text := range r.files {
		if strings.HasSuffix(name, ".narinfo") {
			r.files[name] = regexp.MustCompile(`Sig: .*\n`).ReplaceAll(bytes.Clone(text), nil)
		}
	}
	r.serve(r.files)
	exempt := "--no-check-sigs=" + r.server.URL
	image := r.builds(newProgram(t), spec, exempt)
	p := newProgram(t)
	if o := p.try(t, "lock", spec); o.code != exitIntegrity {
		t.Errorf("unsigned: exit %d\n%s", o.code, o.stderr)
	}
	if text := r.locks(p, exempt); strings.Count(text, `"exempt": "`+r.server.URL+`"`) != 5 {
		t.Errorf("the lock is\n%s", text)
	}
	for range 2 {
		if got := r.builds(p, spec, "--locked", exempt); got != image {
			t.Error("another image")
		}
	}
	if got := r.builds(p, spec, "--locked", exempt, "--offline"); got != image {
		t.Error("another image")
	}
	elsewhere := faultserver.New(t, r.files)
	for _, args := range [][]string{nil, {"--cache", r.server.URL, "--cache", elsewhere.URL, "--no-check-sigs", elsewhere.URL}} {
		o := p.try(t, append(args, "build", spec, "--locked", "-o", "x.tar")...)
		if o.code != exitIntegrity || !strings.Contains(o.stderr, "it was locked on the word of "+r.server.URL+" alone") {
			t.Errorf("%q: exit %d\n%s", args, o.code, o.stderr)
		}
	}
}
