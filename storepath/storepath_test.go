package storepath

import (
	"slices"
	"strings"
	"testing"
)

const hash = "iv6mnmnw8z16ca4yawz70zfapazdfyvq"

func TestParse(t *testing.T) {
	long := strings.Repeat("m", MaxName)
	for _, name := range []string{"hello-static-1.0", "a", "odd+name-1.0_rc.2?x=y", "-", long, "x.drv", "a..b"} {
		p, err := Parse(Dir + "/" + hash + "-" + name)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if p.Hash() != hash || p.Name() != name || p.Base() != hash+"-"+name || p.String() != Dir+"/"+p.Base() {
			t.Errorf("%q: parts %q %q %q %q", name, p.Hash(), p.Name(), p.Base(), p)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ text, reason string }{
		{"", "does not start with /nix/store/"},
		{hash + "-hello", "does not start with /nix/store/"},
		{"/nix/store", "does not start with /nix/store/"},
		{"/gnu/store/" + hash + "-hello", "is in the store /gnu/store; only /nix/store is supported"},
		{"/home/me/nix/store/" + hash + "-hello", "is in the store /home/me/nix/store; only /nix/store is supported"},
		{"/nix/store/" + hash, "is not 32 characters of hash"},
		{"/nix/store/" + hash + "-", "is not 32 characters of hash"},
		{"/nix/store/" + hash + "_hello", "is not 32 characters of hash"},
		{"/nix/store/" + hash[:31] + "-hello", "is not 32 characters of hash"},
		{"/nix/store/" + hash[:31] + "e-hello", "outside"},
		{"/nix/store/" + strings.ToUpper(hash) + "-hello", "outside"},
		{"/nix/store/" + hash + "-.hello", "starts with a dot"},
		{"/nix/store/" + hash + "-..", "starts with a dot"},
		{"/nix/store/" + hash + "-a/b", `the character '/'`},
		{"/nix/store/" + hash + "-a b", `the character ' '`},
		{"/nix/store/" + hash + "-ü", `the character`},
		{"/nix/store/" + hash + "-" + strings.Repeat("m", MaxName+1), "212 bytes, the limit is 211"},
		{"/nix/store/../" + hash + "-hello", "is not 32 characters"},
	}
	for _, tt := range tests {
		p, err := Parse(tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.reason) || !p.IsZero() {
			t.Errorf("%q: %v, %v; want the reason %q", tt.text, p, err, tt.reason)
		}
	}
}

func TestZero(t *testing.T) {
	var p Path
	if p.String()+p.Hash()+p.Name()+p.Base() != "" || !p.IsZero() {
		t.Errorf("the zero path has parts: %q %q %q", p.String(), p.Hash(), p.Name())
	}
}

func TestCompare(t *testing.T) {
	a, _ := New(hash, "a")
	b, _ := New(hash, "b")
	c, _ := New("0"+hash[1:], "z")
	got := []Path{b, a, c}
	slices.SortFunc(got, Path.Compare)
	if !slices.Equal(got, []Path{c, a, b}) {
		t.Errorf("sorted: %v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Dir + "/" + hash + "-hello")
	f.Add("/nix/store/.." + hash)
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Parse(s)
		if err != nil {
			return
		}
		if p.String() != s {
			t.Fatalf("%q prints as %q", s, p)
		}
		if q, err := New(p.Hash(), p.Name()); err != nil || q != p {
			t.Fatalf("%q: its parts make %q, %v", s, q, err)
		}
		if strings.Contains(p.Base(), "/") || strings.Contains(p.Name(), "\x00") {
			t.Fatalf("%q holds a separator", p.Base())
		}
	})
}
