package narinfo

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"thaw/internal/testbed"
	"thaw/nixhash"
)

// testKey signs testdata/vectors/narinfo.
const testKey = "test-cache-1:Tc0hSzLq+PI4n+IQvbKYrUZU2AZ5lxzKhbcTdRQn6D4="

func keys(t testing.TB, texts ...string) (ks Keys) {
	for _, s := range texts {
		k, err := ParseKey(s)
		if err != nil {
			t.Fatal(err)
		}
		ks = append(ks, k)
	}
	return ks
}

const vectors = "../testdata/vectors/narinfo"

func vector(t testing.TB, name string) []byte {
	text, err := os.ReadFile(filepath.Join(vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// atFetch lists the vectors whose narinfo is good and whose NAR is refused.
var atFetch = map[string]bool{
	"url-absolute-http.narinfo": true, "url-file-scheme.narinfo": true, "compression-upper.narinfo": true,
}

func TestVectors(t *testing.T) {
	trusted := keys(t, testKey)
	base, err := Parse(vector(t, "base.narinfo"))
	if err != nil {
		t.Fatal(err)
	}
	table := strings.Split(strings.TrimSpace(string(vector(t, "VERDICTS.tsv"))), "\n")[1:]
	if len(table) < 45 {
		t.Fatalf("only %d vectors", len(table))
	}
	for _, line := range table {
		f := strings.Split(line, "\t")
		name, why, verdict := f[0], f[4], f[5]
		want := base.StorePath
		info, err := Open(vector(t, name), want, trusted)
		accepted := err == nil
		if should := !strings.HasPrefix(verdict, "reject") || atFetch[name]; accepted != should {
			t.Errorf("%s (%s): %v; verdict %q", name, why, err, verdict)
		}
		if accepted != (info != nil) {
			t.Errorf("%s: both %v and %v", name, info, err)
		}
		if strings.Contains(verdict, "parses;") {
			if _, err := Parse(vector(t, name)); err != nil {
				t.Errorf("%s: %v; verdict %q", name, err, verdict)
			}
		}
		if warned := accepted && info != nil && info.Trust.Warning != ""; warned != (name == "ca-garbage.narinfo") {
			t.Errorf("%s: warning %q", name, info.Trust.Warning)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	text := vector(t, "base.narinfo")
	info, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(info.Text(), text) {
		t.Errorf("written as\n%s\nread from\n%s", info.Text(), text)
	}
}

func TestUnsignedReasons(t *testing.T) {
	text := string(vector(t, "base.narinfo"))
	info, _ := Parse([]byte(text))
	other := "test-cache-1:bAfZWozyeMS2ceY4gY6T45LEeGXzfaXxZiS84Qvo+jY="
	unsigned := text[:strings.Index(text, "Sig:")]
	tests := []struct {
		text   string
		keys   Keys
		reason Untrusted
		words  string
	}{
		{text, nil, UnknownKeys, `is signed by "test-cache-1", which is not trusted (no key is trusted)`},
		{text, keys(t, CacheNixosOrg), UnknownKeys, `which is not trusted (trusted: cache.nixos.org-1)`},
		{text, keys(t, other), BadSignature, "forged, or the trusted key has the wrong value"},
		{unsigned, keys(t, testKey), NoSignature, "has no signature (trusted: test-cache-1)"},
		{unsigned + "Sig: \x1b[2J\n", keys(t, testKey), UnknownKeys, `"(no key name)"`},
		{unsigned + "CA: fixed:r:sha256:0000000000000000000000000000000000000000000000000000\n", nil, NoSignature, "its content address is no proof"},
	}
	for _, tt := range tests {
		_, err := Open([]byte(tt.text), info.StorePath, tt.keys)
		var u *UnsignedError
		if !errors.As(err, &u) || u.Reason != tt.reason || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%v; want reason %d with %q", err, tt.reason, tt.words)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("the error passes on control characters: %q", err)
		}
	}
	// The right key among others, even others of the same name.
	if _, err := Open([]byte(text), info.StorePath, keys(t, CacheNixosOrg, other, testKey)); err != nil {
		t.Error(err)
	}
}

// Only good signatures come through, in one spelling and order, whatever stands
// beside them.
func TestGoodSigs(t *testing.T) {
	text := string(vector(t, "base.narinfo"))
	before, good, ok := strings.Cut(text, "Sig: ")
	good, after, _ := strings.Cut(good, "\n")
	if !ok || !strings.HasSuffix(good, "=") {
		t.Fatalf("the vector's signature is %q", good)
	}
	name, _, _ := strings.Cut(good, ":")
	forged := name + ":" + strings.Repeat("A", 86) + "=="
	nobody := "nobody-1:" + strings.Repeat("A", 86) + "=="
	info, _ := Parse([]byte(text))
	for _, sigs := range [][]string{
		{good},
		{forged, good, nobody},
		{nobody, good, good, forged},
		{strings.TrimRight(good, "=")},
		{strings.TrimRight(good, "="), name, good},
	} {
		text := before + after
		for _, s := range sigs {
			text += "Sig: " + s + "\n"
		}
		info, err := Open([]byte(text), info.StorePath, keys(t, CacheNixosOrg, testKey))
		if err != nil {
			t.Errorf("%q: %v", sigs, err)
			continue
		}
		if !slices.Equal(info.Trust.Sigs, []string{good}) || !slices.Equal(info.Trust.Keys, []string{name}) {
			t.Errorf("of %q, %q are good, by %q", sigs, info.Trust.Sigs, info.Trust.Keys)
		}
	}
}

func TestContentAddress(t *testing.T) {
	open := func(file, ca string) *Info {
		text, err := os.ReadFile("../testdata/caches/tiny/cache-xz/" + file + ".narinfo")
		if err != nil {
			t.Fatal(err)
		}
		plain, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if ca != "" {
			text = bytes.Replace(text, []byte("CA: "+plain.CA), []byte("CA: "+ca), 1)
		}
		info, err := Open(text, plain.StorePath, keys(t, testKey))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	const (
		flat = "fixed:sha256:0rcnqrrdvppl92i39a6njnzq1icsqcqc9ffsy080qg40w8d7kkxd"
		text = "text:sha256:133sdcxmhx8f6k9rcjzj1jyw6ah7xm7a5n6r4p9vng38z37gibyc"
	)
	h, _ := nixhash.Parse(strings.TrimPrefix(flat, "fixed:"))
	tests := []struct{ file, ca, want string }{
		{"5m7hjqiixqw4sarn8ba78j4jpx83540k", "", flat},
		{"5m7hjqiixqw4sarn8ba78j4jpx83540k", "fixed:" + h.Base16(), flat},
		{"5m7hjqiixqw4sarn8ba78j4jpx83540k", "fixed:sha256:" + base64.StdEncoding.EncodeToString(h.Digest()), flat},
		{"5m7hjqiixqw4sarn8ba78j4jpx83540k", "fixed:r:" + h.Base32(), ""}, // leads elsewhere
		{"5m7hjqiixqw4sarn8ba78j4jpx83540k", "wat", ""},
		{"3hgf5lblkk8llrawpqazyq5nhnkvrxqw", "", text},
		{"46v79zj9kxjm2v8ak79kzk36vysi1a4a", "", ""}, // has none
	}
	for _, tt := range tests {
		if got := open(tt.file, tt.ca).ContentAddress(); got != tt.want {
			t.Errorf("%s with CA %q: %q, want %q", tt.file, tt.ca, got, tt.want)
		}
	}
}

// Every signed field, changed, spoils the signature; every other does not.
func TestSignatureCovers(t *testing.T) {
	text := string(vector(t, "base.narinfo"))
	info, _ := Parse([]byte(text))
	for key, covered := range map[string]bool{"NarHash": true, "NarSize": true, "URL": false, "FileHash": false, "FileSize": false} {
		value := map[string]string{"NarHash": "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73", "FileHash": "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
			"NarSize": "1", "FileSize": "1", "URL": "nar/x"}[key]
		var b strings.Builder
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, key+": ") {
				line = key + ": " + value + "\n"
			}
			b.WriteString(line)
		}
		if _, err := Open([]byte(b.String()), info.StorePath, keys(t, testKey)); (err != nil) != covered {
			t.Errorf("%s changed: %v", key, err)
		}
	}
}

func TestParseKey(t *testing.T) {
	for _, s := range []string{"", "name", ":6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=", "n:", "n:AAAA", "n:!", "n:" + strings.Repeat("A", 88)} {
		if k, err := ParseKey(s); err == nil {
			t.Errorf("%q is read as %v", s, k)
		}
	}
	if k, err := ParseKey(CacheNixosOrg); err != nil || k.String() != CacheNixosOrg {
		t.Errorf("%v, %v", k, err)
	}
}

// The paths of an unsigned cache that carry a CA are believed, and their NARs
// hold against it; one flipped byte does not.
func TestContentAddressed(t *testing.T) {
	dir := testbed.Dir(t, "caches/small-unsigned")
	files, _ := filepath.Glob(dir + "/*.narinfo")
	believed, checked := 0, 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := Parse(text)
		if err != nil {
			t.Fatal(file, err)
		}
		info, err := Open(text, plain.StorePath, keys(t, testKey))
		if err != nil {
			if plain.CA != "" {
				t.Errorf("%s: %v", file, err)
			}
			continue
		}
		believed++
		nar := testbed.Run(t, "xz", "-dc", filepath.Join(dir, info.URL))
		if c := info.ContentCheck(); c != nil {
			checked++
			writeInPieces(c, nar)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			for _, at := range []int{0, 8, 40, len(nar) / 2, len(nar) - 1} {
				nar[at] ^= 1
				c := info.ContentCheck()
				if err := errors.Join(writeInPieces(c, nar), c.Close()); err == nil {
					t.Errorf("%s: a NAR with byte %d changed passes", info.CA, at)
				}
				nar[at] ^= 1
			}
			c := info.ContentCheck()
			if err := errors.Join(writeInPieces(c, nar[:len(nar)-8]), c.Close()); err == nil {
				t.Errorf("%s: a NAR cut off passes", info.CA)
			}
		}
	}
	if believed != 14 || checked < 8 {
		t.Errorf("%d paths believed by CA, %d checked by content; want 14 and at least 8", believed, checked)
	}
}

func writeInPieces(w io.Writer, b []byte) error {
	for n := 1; len(b) > 0; n = n*2 + 1 {
		k := min(n, len(b))
		if _, err := w.Write(b[:k]); err != nil {
			return err
		}
		b = b[k:]
	}
	return nil
}

// All genuine narinfos parse, and each is verified by a signature or its CA.
func TestGenuine(t *testing.T) {
	dir := testbed.Dir(t, "real-narinfo")
	var trusted Keys
	text, err := os.ReadFile(dir + "/public-keys-used.txt")
	if err != nil {
		t.Fatal(err)
	}
	trusted = keys(t, strings.Fields(string(text))...)
	out := testbed.Run(t, "zstd", "-dcq", dir+"/corbanr-nixpkgs-all.txt.zst")
	n, signed, byCA, bad := 0, 0, 0, 0
	sc := bufio.NewScanner(bytes.NewReader(out))
	sc.Buffer(nil, 1<<20)
	sc.Split(func(data []byte, eof bool) (int, []byte, error) {
		if i := bytes.Index(data, []byte("\n\n")); i >= 0 {
			return i + 2, data[:i+1], nil
		}
		if eof && len(data) > 0 {
			return len(data), data, nil
		}
		return 0, nil, nil
	})
	for sc.Scan() {
		n++
		info, err := Parse(sc.Bytes())
		if err != nil {
			t.Errorf("%v in\n%s", err, sc.Bytes())
			continue
		}
		again, err := Parse(info.Text())
		if err != nil || !reflect.DeepEqual(again, info) {
			t.Errorf("%s does not survive being written: %v", info.StorePath, err)
		}
		opened, err := Open(sc.Bytes(), info.StorePath, trusted)
		switch {
		case err != nil:
			bad++
			t.Logf("%v", err)
		case len(opened.Trust.Keys) > 0:
			signed++
		case opened.Trust.ByCA:
			byCA++
		}
		if err == nil && opened.Trust.ByCA && opened.ContentAddress() != info.CA {
			t.Errorf("%s has the CA %q, in Nix's spelling %q", info.StorePath, info.CA, opened.ContentAddress())
		}
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d narinfos: %d verified by signature, %d by CA, %d not", n, signed, byCA, bad)
	if n != 20838 || bad != 0 {
		t.Errorf("%d narinfos, %d not verified", n, bad)
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob(vectors + "/*.narinfo")
	for _, file := range files {
		if text, _ := os.ReadFile(file); len(text) < 10000 {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		info, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(info.Text())
		if err != nil || !reflect.DeepEqual(again, info) {
			t.Fatalf("%q\nis written as\n%q\n%v", text, info.Text(), err)
		}
		Open(text, info.StorePath, keys(t, testKey))
	})
}

func BenchmarkOpen(b *testing.B) {
	text, trusted := vector(b, "base.narinfo"), keys(b, testKey)
	info, _ := Parse(text)
	for b.Loop() {
		if _, err := Open(text, info.StorePath, trusted); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	text := vector(b, "base.narinfo")
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}
