package nixhash

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"
)

// The digests of the empty string, in the spellings that `nix hash` prints.
var empty = []struct {
	algo              Algo
	base16, base32, b string
}{
	{MD5, "d41d8cd98f00b204e9800998ecf8427e", "3y8bwfr609h3lh9ch0izcqq7fl", "1B2M2Y8AsgTpgAmY7PhCfg=="},
	{SHA1, "da39a3ee5e6b4b0d3255bfef95601890afd80709", "143xibwh31h9bvxzalr0sjvbbvpa6ffs", "2jmj7l5rSw0yVb/vlWAYkK/YBwk="},
	{SHA256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
	{SHA512, "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
		"0zdl9zrg8r3i9c1g90lgg9ip5ijzv3yhz91i0zzn3r8ap9ws784gkp9dk9j3aglhgf1amqb0pj21mh7h1nxcl18akqvvf7ggqsy30yg", "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="},
}

func TestSpellings(t *testing.T) {
	for _, tt := range empty {
		name := tt.algo.String()
		want := Of(tt.algo, tt.algo.New().Sum(nil))
		for _, s := range []string{name + ":" + tt.base16, name + ":" + tt.base32, name + ":" + tt.b, name + "-" + tt.b} {
			if h, err := Parse(s); err != nil || h != want {
				t.Errorf("%s: %v, %v", s, h, err)
			}
		}
		if want.Base16() != name+":"+tt.base16 || want.Base32() != name+":"+tt.base32 || want.SRI() != name+"-"+tt.b {
			t.Errorf("%s prints as %s, %s, %s", name, want.Base16(), want.Base32(), want.SRI())
		}
	}
}

func TestParseRefuses(t *testing.T) {
	b32 := empty[2].base32
	for _, s := range []string{
		"", "sha256", "sha256:", "sha256-", "sha3:" + b32, b32, "sha256:" + b32[1:], "sha256:" + b32 + "0",
		"sha256:e" + b32[1:], "sha256:z" + b32[1:], "sha256:2" + b32[1:], "sha256:" + strings.ToUpper(empty[2].base16), "sha256-" + empty[2].base16, "sha256-" + b32,
		"sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=", "sha256:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=", "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuF\n=",
		"md5:000000000000000000000000", "sha256:" + strings.Repeat("0", 44), "sha512:" + strings.Repeat("0", 88), "md5:" + b32, "sha256:" + strings.Repeat("0", 1<<20),
	} {
		if h, err := Parse(s); err == nil || !h.IsZero() {
			t.Errorf("%.80q is read as %v", s, h)
		} else if len(err.Error()) > 400 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	}
}

func TestBase32RoundTrip(t *testing.T) {
	for n := range 65 {
		b := make([]byte, n)
		rand.Read(b)
		out := make([]byte, n)
		if err := decode32(out, Encode32(b)); err != nil || !bytes.Equal(b, out) {
			t.Errorf("%x: %q, %x, %v", b, Encode32(b), out, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, tt := range empty {
		f.Add(tt.algo.String() + ":" + tt.base32)
		f.Add(tt.algo.String() + "-" + tt.b)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := Parse(s)
		if err != nil {
			return
		}
		if s != h.Base32() && s != h.Base16() && s != h.SRI() && s != strings.Replace(h.SRI(), "-", ":", 1) {
			t.Fatalf("%q is not canonical", s)
		}
	})
}
