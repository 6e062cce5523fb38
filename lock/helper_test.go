package lock

import (
	"bytes"
	"flag"
	"regexp"
	"slices"
	"testing"

	"thaw/internal/faultserver"
	"thaw/narinfo"
	"thaw/nixhash"
	"thaw/storepath"
)

var update = flag.Bool("u", false, "rewrite the golden lock")

// signer signs the objects of these tests.
const signer = faultserver.Signer("test-1")

// cacheURL is where they are.
const cacheURL = "https://cache.example.org"

// fixture has narinfos as a cache said them: app and tool refer to lib and to
// themselves, plain is content-addressed and signed by nobody, local comes from
// a cache that needs no signatures, with all that a narinfo may lack.
func fixture(t testing.TB) (roots []Root, infos []*narinfo.Info) {
	t.Helper()
	files := faultserver.Files{}
	lib := files.Add(signer, "lib-1.0", "gzip", faultserver.NAR([]byte("lib")))
	lib.Deriver = faultserver.Path("lib-1.0.drv").Base()
	app := files.Add(signer, "app-2.0", "zstd", faultserver.NAR([]byte("app")), lib.StorePath, faultserver.Path("app-2.0"))
	faultserver.Signer("test-2").Sign(app)
	tool := files.Add(signer, "tool", "none", faultserver.NAR([]byte("tool")), faultserver.Path("tool"), lib.StorePath)
	local := &narinfo.Info{StorePath: faultserver.Path("local"), NarHash: nixhash.Sum256([]byte("local")), NarSize: 5, URL: "nar/local", Compression: "bzip2"}
	for _, i := range []*narinfo.Info{lib, app, tool} {
		infos = append(infos, opened(t, i, cacheURL))
	}
	local.Source = "file:///srv/cache"
	infos = append(infos, content(t, "plain", []byte("plain")), local)
	return []Root{
		{Path: app.StorePath, Resolved: []storepath.Path{app.StorePath}},
		{Name: "tool", From: "channel:https://channels.example.org/c", Resolved: []storepath.Path{tool.StorePath}, How: "the only tool in https://channels.example.org/c, <git> 1234 & more"},
		{Name: "lib", Output: "dev", From: "devbox.lock", File: nixhash.Sum256([]byte("the file")), Resolved: []storepath.Path{lib.StorePath}},
		{ClosureOf: "lists/store-paths", File: nixhash.Sum256([]byte("the list")), Resolved: []storepath.Path{local.StorePath, infos[3].StorePath}},
	}, infos
}

// opened returns what a cache's narinfo is after it was believed.
func opened(t testing.TB, i *narinfo.Info, source string) *narinfo.Info {
	t.Helper()
	o, err := narinfo.Open(i.Text(), i.StorePath, narinfo.Keys{signer.Key()})
	if err != nil {
		t.Fatal(err)
	}
	o.Source = source
	return o
}

// content returns the narinfo of a content-addressed object that nobody signed.
func content(t testing.TB, name string, file []byte) *narinfo.Info {
	t.Helper()
	nar := faultserver.NAR(file)
	sum := nixhash.Sum256(nar)
	p, err := storepath.New(fold("source:"+sum.Base16()+":/nix/store:"+name), name)
	if err != nil {
		t.Fatal(err)
	}
	return opened(t, &narinfo.Info{StorePath: p, NarHash: sum, NarSize: int64(len(nar)), CA: "fixed:r:" + sum.Base32(), URL: "nar/" + name, Compression: "none"}, cacheURL)
}

// fold is how Nix makes the hash part of a store path of a text.
func fold(text string) string {
	var out [20]byte
	for i, b := range nixhash.Sum256([]byte(text)).Digest() {
		out[i%20] ^= b
	}
	return nixhash.Encode32(out[:])
}

var specDigest = [32]byte(nixhash.Sum256([]byte("spec")).Digest())

func newFile(t testing.TB) *File {
	t.Helper()
	roots, infos := fixture(t)
	f, err := New(specDigest, "x86_64-linux", roots, infos)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func parse(t testing.TB, text []byte) *File {
	t.Helper()
	f, err := Parse("vm.lock.json", text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var digestLine = regexp.MustCompile(`"digest": "[^"]*"`)

// reseal computes the digest of an edited lock, as somebody who wants to deceive
// does.
func reseal(text []byte) []byte {
	open := digestLine.ReplaceAll(text, []byte(`"digest": ""`))
	return bytes.Replace(open, []byte(`"digest": ""`), []byte(`"digest": "`+nixhash.Sum256(open).SRI()+`"`), 1)
}

// edit replaces the first occurrence of a text, which must be there.
func edit(t testing.TB, text []byte, old, new string) []byte {
	t.Helper()
	if !bytes.Contains(text, []byte(old)) {
		t.Fatalf("there is no %q to edit", old)
	}
	return bytes.Replace(slices.Clone(text), []byte(old), []byte(new), 1)
}
