package spec

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"thaw/internal/testbed"
	"thaw/storepath"
)

// mustParse reads a spec that is right.
func mustParse(t testing.TB, name, text string) *Spec {
	t.Helper()
	s, err := Parse(name, []byte(text))
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, text)
	}
	return s
}

// equal reports whether two specs say the same, wherever in their files.
func equal(a, b *Spec) bool {
	return reflect.DeepEqual(nowhere(reflect.ValueOf(*a)).Interface(), nowhere(reflect.ValueOf(*b)).Interface())
}

// nowhere copies a value without the places in files that it has.
func nowhere(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch {
	case v.Type() == reflect.TypeFor[Origin]():
		out.SetZero()
	case v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct && !v.IsNil():
		out.Set(reflect.New(v.Type().Elem()))
		out.Elem().Set(nowhere(v.Elem()))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				out.Field(i).Set(nowhere(v.Field(i)))
			}
		}
		if s, ok := out.Addr().Interface().(*Spec); ok {
			s.file = ""
		}
	case v.Kind() == reflect.Slice && !v.IsNil():
		out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			out.Index(i).Set(nowhere(v.Index(i)))
		}
	}
	return out
}

// toJSON spells the text of a spec as JSON.
func toJSON(t testing.TB, text string) string {
	t.Helper()
	n := readText(&problems{text: text}, false)
	if n == nil {
		t.Fatal("not YAML")
	}
	out, err := json.Marshal(plainValue(n))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func good(t testing.TB) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	out := map[string]string{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[f] = string(text)
	}
	return out
}

// checkSpellings holds a spec against itself as Explain writes it, as JSON, and
// as it comes back from Normalise.
func checkSpellings(t testing.TB, s *Spec, name string) {
	t.Helper()
	explained := s.Explain()
	again := mustParse(t, name, string(explained))
	if !equal(s, again) {
		t.Fatalf("what Explain wrote is another spec:\n%s\n%+v\n%+v", explained, s, again)
	}
	if text := again.Explain(); !bytes.Equal(text, explained) {
		t.Fatalf("Explain is not stable:\n%s\n%s", explained, text)
	}
	again = mustParse(t, name, toJSON(t, string(explained)))
	if !equal(s, again) {
		t.Fatalf("as JSON it is another spec:\n%s", explained)
	}
	if again.Digest() != s.Digest() {
		t.Fatal("as JSON it has another digest")
	}
	if err := again.Normalise(); err != nil || !equal(s, again) {
		t.Fatalf("Normalise changes it: %v", err)
	}
}

func TestGood(t *testing.T) {
	for name, text := range good(t) {
		s := mustParse(t, name, text)
		checkSpellings(t, s, name)
		if !equal(s, mustParse(t, name, toJSON(t, text))) {
			t.Errorf("%s is another spec as JSON", name)
		}
	}
}

func TestFromNix(t *testing.T) {
	out := testbed.Run(t, "nix-instantiate", "--eval", "--strict", "--json", "testdata/good/vm.nix")
	want := mustParse(t, "testdata/good/vm.yaml", good(t)["testdata/good/vm.yaml"])
	if got := mustParse(t, "testdata/good/vm.json", string(out)); !equal(got, want) {
		t.Errorf("Nix's JSON says %+v", got)
	}
}

// The order of users makes no difference, also where one is in the own group of
// another.
func TestOwnGroups(t *testing.T) {
	const alice, bob = "{ name: alice, uid: 1, groups: [bob] }", "{ name: bob, uid: 2, group: alice }"
	a, b := "version: 1\nrootfs: { users: [ "+alice+", { name: bob, uid: 2 } ] }", "version: 1\nrootfs: { users: [ { name: bob, uid: 2 }, "+alice+" ] }"
	if !equal(mustParse(t, "a.yaml", a), mustParse(t, "b.yaml", b)) {
		t.Error("the order makes a difference")
	}
	s := mustParse(t, "c.yaml", "version: 1\nrootfs: { users: [ "+bob+", { name: alice, uid: 1 } ] }")
	if r := s.Rootfs; r.Users[1].Group != "alice" || !reflect.DeepEqual(r.Groups, []Group{{"alice", 1}}) {
		t.Errorf("%+v %+v", r.Users, r.Groups)
	}
}

// TestNormalised holds what is filled in against what the documentation says.
func TestNormalised(t *testing.T) {
	const name = "testdata/good/everything.yaml"
	s := mustParse(t, name, good(t)[name])
	r := s.Rootfs
	out := func(name string) *Output {
		return &s.Outputs[slices.IndexFunc(s.Outputs, func(o Output) bool { return o.Name == name })]
	}
	for _, c := range []struct{ got, want any }{
		{r.Merge.Link, []string{"/bin", "/etc", "/share/man"}},
		{s.Forbid, []string{"*-doc", "gcc-[0-9]*", "perl-*"}},
		{r.Users[2].Groups, []string{"video", "wheel"}},
		{r.Users[2].Group, "alice"},
		{r.Users[2].Home, "/home/alice"},
		{r.Users[0].Name, "root"},
		{r.Groups[3], Group{"alice", 1000}},
		{r.Files[0].Path, "/etc/empty"},
		{*r.Files[0].Content, ""},
		{r.Files[0].Mode.String(), "0644"},
		{r.Files[2].Mode, (*Mode)(nil)},
		{r.Files[5].Owner, Owner{UID: 1000, GID: 80}},
		{r.Files[6].Owner, Owner{UID: 80, GID: 80}},
		{s.Packages[3].Origin, Origin{3, 24}},
		{out("board").Disk.Signature, Serial(0x1234abcd)},
		{out("board").Disk.Raw[1].Offset, Offset(40 << 10)},
		{out("board").Disk.Partitions[0].Content, "files"},
		{out("board").Disk.Partitions[0].Type, "esp"},
		{out("board").Disk.Partitions[0].Size, Size{Kind: Fixed, Bytes: 64 << 20}},
		{out("board").Disk.Partitions[2].Name, "nixos"},
		{out("board").Disk.Partitions[2].Attributes, []string{"legacy-boot", "read-only"}},
		{out("board").Disk.Partitions[3].Content, "empty"},
		{*out("board").Disk.Partitions[4].Erofs.Label, "spare"},
		{out("disk").Disk.Size, Size{Kind: Fixed, Bytes: 4 << 30}},
		{out("disk").Disk.Partitions[0].Size, Size{Kind: Fill}},
		{out("disk").Disk.Partitions[0].GUID.String(), "6f2c2ac4-3b1e-4d0c-9a53-0b9c7c1f6f10"},
		{out("old").Disk.Partitions[0].Name, ""},
		{out("root").Ext4.Size, Size{Kind: Fit, Bytes: 256 << 20}},
		{out("small").Disk.Partitions[0].Size, Size{Kind: Fit, Percent: 10}},
		{r.Hosts[0].Address, "10.0.0.5"},
		{r.Hosts[2], Host{"2001:db8::5", []string{"db.example.org"}}},
		{r.OSRelease[0], Variable{"ID", "demo"}},
		{r.Mounts[1], Mount{Source: "tmpfs", Path: "/var/cache", Type: "tmpfs", Options: []string{"defaults"}, Origin: Origin{1, 79}}},
		{r.Devices[0].Path, "/dev/backlog"},
		{*r.Devices[1].Minor, uint32(1)},
		{r.Services.Run[1].Command.Words, []string{"/bin/httpd", "-f", "-h", "/srv/www", "its"}},
		{r.Services.Run[1].Command.String(), "/bin/httpd -f -h /srv/www its"},
		{r.Services.Run[1].Environment[0].Name, "GREETING"},
		{r.Services.Run[0].User, "root"},
		{s.Place("rootfs.services.run", r.Services.Run[2].Origin), "testdata/good/everything.yaml:94: rootfs.services.run[2]"},
		{s.Place("rootfs.files", r.Files[0].Origin), "testdata/good/everything.yaml:62: rootfs.files[1]"},
		{out("archive").MaxSize, Size{Kind: Fixed, Bytes: 300 << 20}},
		{out("archive").Tar.Compress, "zstd"},
		{out("usb").ISO.EFI, Size{Kind: Fixed, Bytes: 64 << 20}},
		{*out("usb").ISO.Root.Erofs.Label, "cd"},
		{out("whole").Cpio.Compress, "gzip"},
		{s.File("motd"), "testdata/good/motd"},
		{s.File("../motd"), "testdata/motd"},
		{s.File("/etc/motd"), "/etc/motd"},
		{*s.Caches[1].Priority, 30},
		{s.Caches[0].Priority, (*int)(nil)},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%v instead of %v", c.got, c.want)
		}
	}
	if got := mustParse(t, "-", "version: 1").File("motd"); got != "motd" {
		t.Errorf("beside standard input a file is %q", got)
	}
}

// TestInMemory makes the spec of a command line, and the same one in YAML.
func TestInMemory(t *testing.T) {
	path, err := storepath.Parse("/nix/store/2q5bfwhm7zq2nlqcnd1iv8x83a8jjsgg-system")
	if err != nil {
		t.Fatal(err)
	}
	s := New()
	s.Packages = []Package{{Path: path, Priority: DefaultPriority}}
	s.Rootfs.Merge.Link = []string{"/etc", "/bin/"}
	out := NewOutput("vm", "disk")
	out.Disk.Size = Size{Kind: Fixed, Bytes: 1 << 30}
	s.Outputs = []Output{out}
	if err := s.Normalise(); err != nil {
		t.Fatal(err)
	}
	want := mustParse(t, "vm.yaml", `
version: 1
packages: [/nix/store/2q5bfwhm7zq2nlqcnd1iv8x83a8jjsgg-system]
rootfs: { merge: { link: [/bin, /etc] } }
outputs: { vm: { type: disk, size: 1G } }
`)
	if !equal(s, want) || s.Digest() != want.Digest() {
		t.Errorf("%s\ninstead of\n%s", s.Explain(), want.Explain())
	}
	s.Rootfs.Hostname = "-"
	err = s.Normalise()
	if err == nil || !strings.HasPrefix(err.Error(), `rootfs.hostname: "-" is not a host name`) {
		t.Errorf("the error is %v", err)
	}
}

// TestDigest spells one image in many ways, and other images like it.
func TestDigest(t *testing.T) {
	base := mustParse(t, "a.yaml", `
version: 1
forbid: [a, b]
rootfs: { users: [{ name: alice, uid: 1000 }], files: [{ path: /a, content: x }] }
outputs: { a: { type: disk }, b: { type: tar } }
`).Digest()
	same := []string{`
version: 1
caches: [https://cache.example.org]
keys: ["cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="]
epoch: 1
name: image
forbid: [b, a, b]
rootfs:
  layout: store
  merge: { report: true, into: /, link: [/share, /sbin, /lib, /init, /etc, /bin] }
  nix: { db: false }
  users: [{ uid: 1000, name: alice, home: /home/alice, shell: /bin/sh }]
  groups: [{ name: alice, gid: 1000 }]
  files: [{ path: //a/, content: x, mode: "644", owner: "root:root" }]
outputs: { z: { type: cpio, compress: gzip, max-size: 1G } }
`}
	for _, text := range same {
		if mustParse(t, "elsewhere/b.yaml", text).Digest() != base {
			t.Errorf("another digest of\n%s", text)
		}
	}
	seen := map[[32]byte]string{base: "the first"}
	for _, text := range []string{
		`{ name: a }`, `{ epoch: 2 }`, `{ seed: a }`, `{ arch: x86_64-linux }`, `{ boot: {} }`, `{ boot: { initrd: none } }`,
		`{ forbid: [a] }`, `{ forbid: [a, b] }`, `{ rootfs: { merge: { link: [] } } }`, `{ rootfs: { hostname: a } }`,
		`{ rootfs: { nix: { db: true, gcroots: { a: /nix/store/2q5bfwhm7zq2nlqcnd1iv8x83a8jjsgg-system } } } }`,
		`{ rootfs: { nix: { db: true, gcroots: { b: /nix/store/2q5bfwhm7zq2nlqcnd1iv8x83a8jjsgg-system } } } }`,
		`{ rootfs: { files: [{ path: /a, content: "" }] } }`, `{ rootfs: { files: [{ path: /a, dir: true }] } }`,
		`{ rootfs: { trees: [{ source: a }, { source: b }] } }`, `{ rootfs: { trees: [{ source: b }, { source: a }] } }`,
		`{ rootfs: { hosts: { 10.0.0.1: [a] } } }`, `{ rootfs: { hosts: { 10.0.0.1: [b] } } }`, `{ rootfs: { hosts: { 10.0.0.2: [a] } } }`,
		`{ rootfs: { os-release: { A: a } } }`, `{ rootfs: { machine-id: none } }`, `{ rootfs: { nix: { closure-info: /a } } }`,
		`{ rootfs: { mounts: [{ source: a, path: /a, type: a }] } }`, `{ rootfs: { mounts: [{ source: a, path: /a, type: a, pass: 1 }] } }`,
		`{ rootfs: { devices: [{ path: /a, type: fifo }] } }`, `{ rootfs: { devices: [{ path: /a, type: char, major: 0, minor: 0 }] } }`,
		`{ rootfs: { services: { supervisor: s6 } } }`, `{ rootfs: { services: { supervisor: s6, run: [{ name: a, command: /a b }] } } }`,
		`{ rootfs: { services: { supervisor: s6, run: [{ name: a, command: "/a 'b '" }] } } }`,
		`{ rootfs: { services: { supervisor: s6, run: [{ name: a, command: /a b }, { name: b, command: /a b }] } } }`,
		`{ rootfs: { services: { supervisor: s6, run: [{ name: b, command: /a b }, { name: a, command: /a b }] } } }`,
	} {
		text = "{ version: 1, " + text[1:]
		d := mustParse(t, "a.yaml", text).Digest()
		if other, ok := seen[d]; ok {
			t.Errorf("%s has the digest of %s", text, other)
		}
		seen[d] = text
	}
}

func TestLimits(t *testing.T) {
	keys := strings.Builder{}
	for i := range maxKeys + 2 {
		keys.WriteString("k" + strings.Repeat("x", i) + ": 1\n")
	}
	list := "version: 1\nforbid:\n" + strings.Repeat("  - perl\n", 20000)
	mustParse(t, "a.yaml", list)
	for text, want := range map[string]string{
		strings.Repeat(" ", MaxSize+1):                                    "a spec may have 1 MiB",
		strings.Repeat("- ", 1000):                                        "nested too deeply",
		strings.Repeat("a: ", 1000):                                       "nested too deeply",
		strings.Repeat("{a: ", 1000):                                      "nested too deeply",
		strings.Repeat("[", 8000):                                         "nested too deeply",
		`{"a":` + strings.Repeat("[", 50) + strings.Repeat("]", 50) + "}": "nested too deeply",
		strings.Repeat("&a ", 2000):                                       "anchors (&) are not allowed",
		strings.Repeat("? ", 2000):                                        "complex keys (?) are not allowed",
		strings.Repeat("---\n", 30000):                                    "one document",
		"- " + strings.Repeat("<", maxLine):                               "may have 8192 bytes",
		strings.Repeat("- a\n", maxLines+1):                               "may have 32768 lines",
		"name: |\n" + strings.Repeat("\n", 10000):                         "empty lines",
		keys.String():                                                     "too many keys",
		"version: 1\nname: \xff":                                          "not UTF-8",
		"{\"version\": 1, \"name\": \"\\ud800\"}":                         "half a character",
	} {
		_, err := Parse("a.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q…: the error is %v, and not that it is %s", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range good(f) {
		f.Add(text)
		f.Add(toJSON(f, text))
	}
	bad, err := filepath.Glob("testdata/bad/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range bad {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		text, _, _ := strings.Cut(string(content), "-- error --\n")
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("dir/a.yaml", []byte(text))
		if err == nil {
			checkSpellings(t, s, "dir/a.yaml")
			return
		}
		errs := err.(Errors)
		if len(errs) == 0 || len(errs) > MaxErrors {
			t.Fatalf("%d errors", len(errs))
		}
		lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
		line, column := 0, 0
		for _, e := range errs {
			if e.Line < line || e.Line == line && e.Column < column || e.Line > len(lines) || e.Text == "" || (e.Line > 0) != (e.Column > 0) {
				t.Fatalf("an error out of place: %+v", e)
			}
			line, column = e.Line, e.Column
		}
	})
}

// FuzzText writes any text into a spec and reads it again.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "a\n", "a\n\n b\n", "\n", "a: b # c\n---\n", "\t\"\\\u0085\u2028\U0001f600\ufeff\x00\x7f", "true", "- a\n", "a\r\nb\n", "|\n", "#\n", "%\n...\n", strings.Repeat("a ", 9000), strings.Repeat("\n", 300) + "a\n", "a" + strings.Repeat("\n", 300) + "a\n", strings.Repeat("\x01", 9000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || strings.ContainsRune(text, utf8.RuneError) || len(text) > 20000 {
			return
		}
		s := New()
		s.Rootfs.Files = []File{{Path: "/a", Content: &text}}
		if err := s.Normalise(); err != nil {
			t.Fatal(err)
		}
		if got := *s.Rootfs.Files[0].Content; got != text {
			t.Fatalf("%q instead of %q", got, text)
		}
		s.dir = "dir"
		checkSpellings(t, s, "dir/a.yaml")
	})
}
