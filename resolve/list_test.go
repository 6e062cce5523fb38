package resolve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"thaw/internal/testbed"
	"thaw/storepath"
	"thaw/substituter"
)

const (
	pathA = "/nix/store/00000000000000000000000000000001-a-1.0"
	pathB = "/nix/store/00000000000000000000000000000002-b-2.0"
)

// The shapes of a list, of which each names both paths.
var shapes = map[string]string{
	"lines":         pathA + "\n" + pathB + "\n",
	"no last line":  pathA + "\n" + pathB,
	"comments":      "# what is needed\n\n  " + pathA + "\r\n" + pathA + "\n" + pathB + "\n\n",
	"array":         `[{"path":"` + pathA + `","narHash":"sha256-x","narSize":1,"references":[]},{"path":"` + pathB + `","valid":true}]`,
	"object":        ` {"` + pathA + `":{"narHash":"sha256-x","references":[],"ca":null},"` + pathB + `":{}}`,
	"version 2":     `{"info":{"` + pathA[11:] + `":{"storeDir":"/nix/store","version":2},"` + pathB[11:] + `":{}},"storeDir":"/nix/store","version":2}`,
	"version 3":     `{"info":{"` + pathA + `":{},"` + pathB[11:] + `":{}},"storeDir":"/nix/store","version":3}` + "\n",
	"pretty object": "{\n  \"" + pathA + "\": {\n  },\n  \"" + pathB + "\": { \"path\": \"x\" }\n}\n",
}

func TestReadPaths(t *testing.T) {
	for name, text := range shapes {
		list, err := ReadPaths("list", []byte(text))
		if err != nil || fmt.Sprint(list) != "["+pathA+" "+pathB+"]" {
			t.Errorf("%s: %v, %v", name, list, err)
		}
	}
	for _, text := range []string{"", "\n", "# nothing\n", "[]", "{}", `{"info":{},"storeDir":"/nix/store","version":2}`} {
		if list, err := ReadPaths("list", []byte(text)); err != nil || len(list) != 0 {
			t.Errorf("%q: %v, %v", text, list, err)
		}
	}
	if list, err := ReadPaths("list", []byte(pathB+"\n"+pathA+"\n"+pathB)); err != nil || fmt.Sprint(list) != "["+pathB+" "+pathA+"]" {
		t.Errorf("the order: %v, %v", list, err)
	}
}

// refused are lists that are wrong, with what is said of them.
var refused = []struct{ text, want string }{
	{"git\n", `list: line 1: "git" is not a store path: does not start with /nix/store/`},
	{pathA + "\n" + pathA + "/bin\n", `list: line 2: "` + pathA + `/bin" is not a store path: its name has the character '/'; allowed are letters, digits and +-._?=`},
	{pathA + " " + pathB, `is not a store path: its name has the character ' '`},
	{"<!doctype html>", `list: line 1: "<!doctype html>" is not a store path`},
	{"\x00\x01", `is not a store path`},
	{"\n" + strings.Repeat("x", maxLine+1), `list: line 2: it has more than 4096 bytes, and is not a store path`},
	{`[{"path":"` + pathA + `"`, `list: is cut off after 60 bytes`},
	{`[`, `list: is cut off after 1 bytes`},
	{`{`, `list: is cut off after 1 bytes`},
	{`{"a"}`, `list: is not JSON: invalid character '}' after object key`},
	{`[{"path":"x"}]`, `list: "x" is not a store path`},
	{`["` + pathA + `"]`, `list: a JSON string stands where something else must be`},
	{`[null]`, `list: entry 1 has no path`},
	{`[{}]`, `list: entry 1 has no path`},
	{`[{"path":"` + pathA + `","valid":false}]`, `list: ` + pathA + ` is marked as not valid: Nix did not have it`},
	{`{"` + pathA + `":null}`, `list: ` + pathA + ` is marked as not valid: Nix did not have it`},
	{`{"` + pathA + `":{"storeDir":"/gnu/store"}}`, `list: ` + pathA + ` is of the store "/gnu/store", only /nix/store is supported`},
	{`{"info":{},"storeDir":"/gnu/store","version":2}`, `list: it is of the store "/gnu/store", only /nix/store is supported`},
	{`{"info":{"x":{}},"version":2}`, `list: "x" is not a store path`},
	{`{"info":[],"version":2}`, `list: a JSON array stands where something else must be`},
	{`{"` + pathA + `":{},"` + pathA + `":{}}`, `list: the key "` + pathA + `" comes twice`},
	{`{"` + pathA[11:] + `":{}}`, `is not a store path: does not start with /nix/store/`},
	{`{} {}`, `list: something follows its JSON value`},
	{`[` + strings.Repeat(`{},`, 2000) + `{}]`, `list: has next to nothing in most of its objects`},
	{strings.Repeat("[", 100), `list: is nested deeper than 32`},
	{`{"lockfile_version":"1"}`, `list: is a devbox.lock, which does not list all that its packages refer to`},
	{`{"a":1e999}`, `list: "a" is not a store path`},
}

func TestReadPathsRefuses(t *testing.T) {
	for _, tt := range refused {
		list, err := ReadPaths("list", []byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) || list != nil {
			t.Errorf("%.80q: %v, %v; want %s", tt.text, list, err, tt.want)
		}
		if err != nil && (strings.ContainsAny(err.Error(), "\n\x00") || len(err.Error()) > 1000) {
			t.Errorf("%.80q: the error %q is no line", tt.text, err)
		}
	}
}

// What Nix prints of a cache is read as it is.
func TestReadPathsOfNix(t *testing.T) {
	cache := "file://" + testbed.Root(t) + "/testdata/caches/tiny/cache-xz"
	nix := func(args ...string) []byte {
		t.Setenv("HOME", t.TempDir())
		return testbed.Run(t, "nix", append([]string{"--extra-experimental-features", "nix-command", "path-info", "--all", "--store", cache}, args...)...)
	}
	plain, err := ReadPaths("plain", nix())
	if err != nil || len(plain) == 0 {
		t.Fatal(plain, err)
	}
	list, err := ReadPaths("json", nix("--json"))
	slices.SortFunc(plain, storepath.Path.Compare)
	slices.SortFunc(list, storepath.Path.Compare)
	if err != nil || !slices.Equal(plain, list) {
		t.Errorf("%v as lines, %v as JSON, %v", plain, list, err)
	}
}

// Names are looked up in all shapes, plain and compressed.
func TestNamesInLists(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range shapes {
		for _, codec := range []string{"none", "xz", "zstd"} {
			place := strings.ReplaceAll(name, " ", "-") + "." + codec
			writeFile(t, dir, place, packed(t, codec, text))
			a, err := one(t, source(t, dir, nil), Query{Name: "b", From: from(t, place)})
			checkText(t, a, err, pathB+" | "+place+" | ")
		}
	}
	for i, tt := range refused {
		if strings.Contains(tt.want, "devbox.lock") || strings.Contains(tt.want, "not valid") {
			continue
		}
		place := fmt.Sprint("refused", i)
		writeFile(t, dir, place, tt.text)
		_, err := one(t, source(t, dir, nil), Query{Name: "b", From: from(t, place)})
		if want := strings.Replace(tt.want, "list: ", place+": ", 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: %v; want %s", tt.text, err, want)
		}
	}
}

// What a list has and does not have.
func TestNamesNotFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var lines strings.Builder
	for i, name := range packages {
		fmt.Fprintf(&lines, "/nix/store/%032d-%s\n", i, name)
	}
	fmt.Fprintln(&lines, "/nix/store/00000000000000000000000000000099-git-2.49.0.drv")
	writeFile(t, dir, "list", lines.String())
	writeFile(t, dir, "null", `{"`+pathA+`":null,"`+pathB+`":{}}`)
	src := source(t, dir, nil)
	for _, tt := range []struct{ place, name, output, want string }{
		{"list", "gti", "", "gti is not in list; did you mean git or gtk?"},
		{"list", "nothing", "", "nothing is not in list"},
		{"list", "curl", "doc", "curl, output doc is not in list: curl-8.14.1 has the outputs bin, dev, man, out"},
		{"list", "git\x1b", "", "git? is not in list; did you mean git?"},
		{"list", "python3", "", `python3: 2 store paths may be meant in list
  /nix/store/00000000000000000000000000000019-python3-3.12.10
  /nix/store/00000000000000000000000000000020-python3-3.13.3`},
		{"list", "curl", "", "/nix/store/00000000000000000000000000000007-curl-8.14.1 | list | bin dev man"},
		{"list", "git", "", "/nix/store/00000000000000000000000000000000-git-2.49.0 | list | debug doc"},
		{"list", "git-2.49.0.drv", "", "/nix/store/00000000000000000000000000000099-git-2.49.0.drv | list | "},
		{"null", "a", "", "a is not in null\n  " + pathA + "  (Nix did not have it when the list was made)"},
		{"null", "b", "", pathB + " | null | "},
	} {
		a, err := one(t, src, Query{Name: tt.name, Output: tt.output, From: from(t, tt.place)})
		checkText(t, a, err, tt.want)
	}
}

// Bounds hold whatever comes.
func TestListBounds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var same strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&same, "/nix/store/%032d-a-1.0\n", i)
	}
	writeFile(t, dir, "same", same.String())
	_, err := one(t, source(t, dir, nil), Query{Name: "a", From: from(t, "same")})
	if err == nil || strings.Count(err.Error(), "\n") != maxShown+1 || !strings.Contains(err.Error(), "a: 256 or more store paths") || !strings.Contains(err.Error(), "\n  and 236 more") {
		t.Error(err)
	}
	for want, plain := range map[string][]byte{
		"bomb: line 1: it has more than 4096 bytes, and is not a store path": make([]byte, 64<<20),
		"bomb: is longer than 256 MiB":                                       bytes.Repeat([]byte(strings.Repeat("#", 4000)+"\n"), maxList/4001+1),
		"bomb: is longer than 64 MiB":                                        bytes.Repeat([]byte("["), maxJSON+1),
	} {
		writeFile(t, dir, "bomb", packed(t, "zstd", string(plain)))
		if _, err := one(t, source(t, dir, nil), Query{Name: "a", From: from(t, "bomb")}); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, dir, "list", shapes["lines"])
	src := source(t, dir, nil)
	answers, err := Resolve(t.Context(), src, []Query{
		{Name: "b", From: from(t, "list")}, {Name: "a", From: from(t, "list")}, {Name: "b-2.0", From: from(t, "list")},
	})
	if err != nil || answers[0].Path.String() != pathB || answers[1].Path.String() != pathA || answers[2].Path.String() != pathB {
		t.Error(answers, err)
	}
	if answers, err := Resolve(t.Context(), src, nil); err != nil || len(answers) != 0 {
		t.Error(answers, err)
	}
	_, err = Resolve(t.Context(), src, []Query{
		{Name: "x", From: from(t, "list")}, {Name: "a", From: from(t, "list")}, {Name: "y", From: from(t, "list")}, {Name: "z"}, {Name: "z", From: from(t, "nowhere")},
	})
	want := "x is not in list\ny is not in list\nz: it is not said where to look it up\nopen " + dir + "/nowhere: no such file or directory"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func FuzzReadPaths(f *testing.F) {
	for _, text := range shapes {
		f.Add([]byte(text))
	}
	for _, tt := range refused {
		f.Add([]byte(tt.text))
	}
	lock, err := os.ReadFile("testdata/devbox.lock")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(lock)
	f.Add([]byte(build123))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := ReadPaths("list", text)
		var again bytes.Buffer
		for _, p := range list {
			fmt.Fprintln(&again, p)
		}
		if other, err2 := ReadPaths("again", again.Bytes()); err == nil && (err2 != nil || !slices.Equal(list, other)) {
			t.Errorf("%v is read again as %v, %v", list, other, err2)
		}
		if isDevbox(text) {
			if lock, err := parseDevbox(text); err == nil {
				for _, name := range []string{"curl", "a"} {
					if a, err := lock.find(Query{Name: name, Output: "out", Arch: "x86_64-linux"}, "lock"); err == nil && a.Path.IsZero() {
						t.Error("an answer without a path")
					}
				}
			}
		}
		a, err := Query{Name: "j", Output: "out"}.built(text, "hydra", "j", "latest")
		if (err == nil) == a.Path.IsZero() || err != nil && substituter.KindOf(err) == 0 && !json.Valid(text) {
			t.Errorf("%v, %v", a, err)
		}
	})
}
