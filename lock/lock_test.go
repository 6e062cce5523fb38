package lock

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"thaw/internal/faultserver"
	"thaw/internal/testbed"
	"thaw/narinfo"
	"thaw/nixhash"
	"thaw/storepath"
)

// The text is this one, whatever the order in which things became known.
func TestGolden(t *testing.T) {
	const file = "testdata/vm.lock.json"
	got := newFile(t).Encode()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	roots, infos := fixture(t)
	slices.Reverse(infos)
	f, err := New(specDigest, "x86_64-linux", roots, infos)
	if err != nil || !bytes.Equal(f.Encode(), want) {
		t.Errorf("from a list in another order: %v", err)
	}
}

// A lock comes back equal, also after a formatter has had it.
func TestRoundTrip(t *testing.T) {
	f := newFile(t)
	text := f.Encode()
	got := parse(t, text)
	got.file = ""
	if !reflect.DeepEqual(got, f) {
		t.Errorf("got\n%+v\nwant\n%+v", got, f)
	}
	for name, filter := range map[string][]string{"jq": {"jq", "."}, "jq -c": {"jq", "-c", "."}, "jq --tab": {"jq", "--tab", "."}} {
		file := t.TempDir() + "/vm.lock.json"
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		if again := parse(t, testbed.Run(t, filter[0], append(filter[1:], file)...)).Encode(); !bytes.Equal(again, text) {
			t.Errorf("after %s it is\n%s", name, again)
		}
	}
	empty, err := New(specDigest, "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again := parse(t, empty.Encode()); !bytes.Equal(again.Encode(), empty.Encode()) {
		t.Errorf("the lock of nothing becomes\n%s", again.Encode())
	}
}

// The digest is what the documentation says: that of the file without it.
func TestDigest(t *testing.T) {
	file := t.TempDir() + "/vm.lock.json"
	text := newFile(t).Encode()
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	out := testbed.Run(t, "sh", "-c", `sed 's/"digest": "[^"]*"/"digest": ""/' "$0" | sha256sum`, file)
	sum, err := hex.DecodeString(strings.Fields(string(out))[0])
	if err != nil {
		t.Fatal(err)
	}
	if want := `"digest": "` + nixhash.Of(nixhash.SHA256, sum).SRI() + `"`; !bytes.Contains(text, []byte(want)) {
		t.Errorf("%s is not in\n%s", want, text)
	}
}

// No character can be changed, but white space between others.
func TestEveryEdit(t *testing.T) {
	text := newFile(t).Encode()
	if line := difference(text, text); line != 0 {
		t.Fatalf("it differs from itself in line %d", line)
	}
	quoted := false
	n := 0
	for i, c := range text {
		if c == '"' {
			quoted = !quoted
		}
		if !quoted && isSpace(c) {
			continue
		}
		for _, with := range []byte{'"', '1', c ^ 1} {
			if with == c {
				continue
			}
			bad := slices.Clone(text)
			bad[i] = with
			if _, err := Parse("vm.lock.json", bad); err == nil {
				t.Fatalf("accepted with %q in place of %q:\n%s", with, c, text[max(0, i-40):i+40])
			} else if e := (*Error)(nil); !errors.As(err, &e) || !strings.HasPrefix(err.Error(), "vm.lock.json:") || strings.Contains(err.Error(), "\n") {
				t.Fatalf("the error is %T, %q", err, err)
			}
			n++
		}
	}
	if n < 5000 {
		t.Errorf("only %d edits", n)
	}
}

// What is wrong is named, with the file, and with the path or the line.
func TestBad(t *testing.T) {
	f := newFile(t)
	text := f.Encode()
	lib, app := faultserver.Path("lib-1.0"), faultserver.Path("app-2.0")
	libHash := nixhash.Sum256(faultserver.NAR([]byte("lib"))).SRI()
	tests := []struct{ name, old, new, want string }{
		{"syntax", `"version": 1,`, `"version": 1`, `vm.lock.json:3: this is not JSON: invalid character '"' after object key:value pair`},
		{"merge", `  "arch"`, "<<<<<<< HEAD\n  \"arch\"", "vm.lock.json:5: this is an unfinished merge"},
		{"version", `"version": 1,`, `"version": 2, "new": 3,`, "vm.lock.json: has version 2 of the format, and this thaw knows version 1"},
		{"no version", `"version": 1,`, ``, "vm.lock.json: has version 0 of the format, and this thaw knows version 1"},
		{"unknown key", `"arch"`, `"arhc"`, `vm.lock.json: unknown key "arhc"`},
		{"unknown key below", `"narSize"`, `"narsizes"`, `vm.lock.json: unknown key "narsizes"`},
		{"key twice", `"arch": "x86_64-linux",`, "\"arch\": \"\",\n\"arch\": \"x86_64-linux\",", "vm.lock.json:5: this is not as thaw writes it: a key twice or out of its place, or another spelling"},
		{"key in another case", `"arch"`, `"Arch"`, "vm.lock.json:5: this is not as thaw writes it: a key twice or out of its place, or another spelling"},
		{"null", `"arch": "x86_64-linux"`, `"arch": null`, "vm.lock.json:5: this is not as thaw writes it: a key twice or out of its place, or another spelling"},
		{"type", `"arch": "x86_64-linux"`, `"arch": 5`, "vm.lock.json:5: arch must not be a JSON number"},
		{"text after it", "\n}\n", "\n}\n{}", ""},
		{"spec", `"spec": "sha256-`, `"spec": "sha512-`, "vm.lock.json: spec: "},
		{"hash in another spelling", libHash, nixhash.Sum256(faultserver.NAR([]byte("lib"))).Base32(), "this is not as thaw writes it: a key twice or out of its place, or another spelling"},
		{"bad hash", libHash, "sha256-AAAA", "vm.lock.json: " + lib.String() + `: narHash: "sha256-AAAA" is not a sha256 hash: a digest of 4 characters`},
		{"hash of another kind", libHash, "md5-AAAAAAAAAAAAAAAAAAAAAA==", "vm.lock.json: " + lib.String() + ": narHash is not a SHA-256"},
		{"size", `"narSize": 1`, `"narSize": -1`, ": narSize is -"},
		{"no path", `"path": "` + lib.String() + `",` + "\n      \"narHash\"", `"narHash"`, ": an object without its path"},
		{"bad path", `"path": "` + lib.String() + `",` + "\n      \"narHash\"", `"path": "/gnu/store/x", "narHash"`, "is not a store path"},
		{"another path", `"path": "` + lib.String() + `",` + "\n      \"narHash\"", `"path": "` + lib.String() + `x", "narHash"`, "lib-1.0 is not in the lock"},
		{"unsorted", "", "", "vm.lock.json: " + app.String() + ": "}, // see below
		{"reference twice", `"` + lib.String() + `",` + "\n        \"" + app.String() + `"`, `"` + lib.String() + `", "` + lib.String() + `"`, "vm.lock.json: " + app.String() + ": the reference " + lib.Base() + " comes twice"},
		{"line break", "nar/local", `nar/local\nNarSize: 1`, `: url: "nar/local\nNarSize: 1" is not a line of text`},
		{"exempt elsewhere", `"exempt": "file:///srv/cache"`, `"exempt": "https://elsewhere"`, "exempt is not the cache of the hints"},
		{"no cache", `"cache": "` + cacheURL + `"`, `"cache": ""`, `the cache "" is not a URL`},
		{"cache without a name", `"cache": "` + cacheURL + `"`, `"cache": "the local cache"`, `the cache "the local cache" is not a URL`},
		{"root elsewhere", `"resolved": [` + "\n        \"" + app.String(), `"resolved": [` + "\n        \"" + lib.String(), "vm.lock.json: roots[0]: " + app.Base() + " is resolved to " + lib.Base()},
		{"root not there", f.Roots[3].File.SRI() + `",` + "\n      \"resolved\": [", f.Roots[3].File.SRI() + `", "resolved": [ "` + faultserver.Path("x").String() + `",`,
			"vm.lock.json: roots[3]: " + faultserver.Path("x").Base() + " is not in the lock"},
		{"root of two kinds", `"closure-of": "lists/store-paths"`, `"path": "` + lib.String() + `", "closure-of": "x"`, "vm.lock.json: roots[3]: has not exactly one of path, name and closure-of"},
		{"list without its digest", `"file": "` + f.Roots[3].File.SRI() + `",`, ``, "vm.lock.json: roots[3]: file is not a SHA-256"},
		{"name without a place", `"from": "devbox.lock",`, ``, "vm.lock.json: roots[2]: has a name without from"},
		{"nobody refers to it", `,` + "\n        \"" + content(t, "plain", []byte("plain")).StorePath.String() + `"`, "", ": is in the lock, and nothing refers to it"},
		{"digest alone", `"arch": "x86_64-linux"`, `"arch": "aarch64-linux"`, "vm.lock.json: was changed after thaw wrote it: its digest is "},
	}
	for _, test := range tests {
		var bad []byte
		if test.name == "unsorted" {
			f := newFile(t)
			f.Paths[0], f.Paths[1] = f.Paths[1], f.Paths[0]
			bad = f.Encode()
			test.want = "vm.lock.json: " + f.Paths[1].Path.String() + ": stands after " + f.Paths[0].Path.Base() + ": paths are sorted"
		} else {
			bad = edit(t, text, test.old, test.new)
		}
		if test.name != "digest alone" {
			bad = reseal(bad)
		}
		_, err := Parse("vm.lock.json", bad)
		if e := (*Error)(nil); !errors.As(err, &e) || !strings.Contains(err.Error(), test.want) || strings.HasPrefix(test.want, "vm") && !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: %v\nwant %s", test.name, err, test.want)
		}
	}
	for _, test := range []struct{ text, want string }{
		{"", "vm.lock.json:1: this is not JSON: unexpected end of JSON input"},
		{"[]", "vm.lock.json:1: the whole must not be a JSON array"},
		{strings.Repeat("[", 20000), "vm.lock.json:1: this is not JSON: invalid character '[' exceeded max depth"},
		{strings.Repeat(" ", MaxSize+1), "vm.lock.json: is longer than 64 MiB"},
		{`{"version": 1, "roots": [` + strings.Repeat("{},", 9999) + `{}]}`, "vm.lock.json: is no lock: "},
		{`{"version": 1, "paths": [{"references": [` + strings.Repeat(`"",`, 9999) + `""]}]}`, "vm.lock.json: is no lock: "},
	} {
		if _, err := Parse("vm.lock.json", []byte(test.text)); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%.10q…: %v", test.text, err)
		}
	}
}

// What no narinfo should say is no lock either.
func TestNewRefuses(t *testing.T) {
	for name, spoil := range map[string]func(roots []Root, i *narinfo.Info){
		"a signature that is no text": func(_ []Root, i *narinfo.Info) { i.Sigs = append(i.Sigs, "x:\xff") },
		"the local cache":             func(_ []Root, i *narinfo.Info) { i.Source = "the local cache" },
		"a reference that is missing": func(_ []Root, i *narinfo.Info) { i.References = append(i.References, faultserver.Path("x")) },
		"a root that is missing":      func(r []Root, _ *narinfo.Info) { r[3].Resolved = []storepath.Path{faultserver.Path("x")} },
	} {
		roots, infos := fixture(t)
		spoil(roots, infos[0])
		if f, err := New(specDigest, "", roots, infos); err == nil {
			t.Errorf("%s: there is a lock\n%s", name, f.Encode())
		}
	}
}

// A root may be given by another name than the signed one.
func TestSignedName(t *testing.T) {
	roots, infos := fixture(t)
	other, err := storepath.New(roots[0].Path.Hash(), "called-otherwise")
	if err != nil {
		t.Fatal(err)
	}
	roots[0] = Root{Path: other, Resolved: []storepath.Path{other}}
	f, err := New(specDigest, "", roots, infos)
	if err != nil {
		t.Fatal(err)
	}
	r := parse(t, f.Encode()).Root(Root{Path: other})
	if r == nil || r.Resolved[0] != faultserver.Path("app-2.0") {
		t.Errorf("it is resolved to %v", r)
	}
}

func FuzzParse(f *testing.F) {
	text := newFile(f).Encode()
	f.Add(text)
	f.Add(edit(f, text, `"arch": "x86_64-linux"`, `"arch": "<&>\u2028"`))
	f.Add([]byte(`{"version":1,"digest":"","spec":"","roots":[],"paths":[]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, text := range [][]byte{in, reseal(in)} {
			got, err := Parse("x", text)
			if err != nil {
				continue
			}
			again, err := Parse("x", got.Encode())
			if err != nil || !reflect.DeepEqual(got, again) {
				t.Fatalf("%v\n%s\n%s", err, text, got.Encode())
			}
			if difference(text, got.Encode()) != 0 {
				t.Fatalf("accepted, and written otherwise:\n%s\n%s", text, got.Encode())
			}
		}
	})
}
