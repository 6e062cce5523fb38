package nixdb

import (
	"fmt"
	"strings"
	"testing"

	"thaw/storepath"
)

const hashPart = "00000000000000000000000000000000"

func TestParseOutputs(t *testing.T) {
	tests := []struct{ text, want string }{
		{`Derive([("out","/nix/store/HASH-a","","")],[],[],"x","y",[],[])`, "out=HASH-a"},
		{`Derive([("dev","/nix/store/HASH-a-dev","",""),("out","/nix/store/HASH-a","","")],`, "dev=HASH-a-dev out=HASH-a"},
		{`Derive([("out","/nix/store/HASH-a","r:sha256","abcd")],`, "out=HASH-a"},
		{`Derive([("out","","r:sha256","")],`, ""},
		{`Derive([("out","/nix/store/HASH-a","","")`, "error"},
		{`Derive([("out","/nix/store/HASH-a","","")]`, "error"},
		{`Derive([("out","/nix/store/HASH-a","")],`, "error"},
		{`Derive([("out","/nix/store/HASH-a","","","")],`, "error"},
		{`Derive([("out","/nix/store/HASH-a\"","","")],`, "error"},
		{`Derive([("out","/etc/passwd","","")],`, "error"},
		{`Derive([("out"`, "error"},
		{`Derive([("out`, "error"},
		{`Derive([(out,`, "error"},
		{`Derive([],`, "error"},
		{`DrvWithVersion("xp-dyn-drv",[("out","","","")],`, "error"},
		{``, "error"},
	}
	for _, tt := range tests {
		outputs, err := parseOutputs([]byte(strings.ReplaceAll(tt.text, "HASH", hashPart)))
		var got []string
		for _, o := range outputs {
			got = append(got, fmt.Sprintf("%s=%s", o.name, strings.ReplaceAll(o.path.Base(), hashPart, "HASH")))
		}
		if err != nil {
			got = []string{"error"}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.text, got, err, tt.want)
		}
	}
}

func FuzzParseOutputs(f *testing.F) {
	f.Add([]byte(`Derive([("out","/nix/store/` + hashPart + `-a","",""),("dev","","r:sha256","")],[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		outputs, err := parseOutputs(text)
		if err != nil {
			return
		}
		// Each is in the text as Nix would write it.
		for _, o := range outputs {
			if part := fmt.Sprintf(`("%s","%s","`, o.name, o.path); !strings.Contains(string(text), part) {
				t.Errorf("%q has no %s", text, part)
			}
		}
	})
}

// withDerivations is the tiny closure with what it was built by.
func withDerivations(t *testing.T) *Store {
	s := &Store{Infos: tiny(t), Epoch: epoch, Derivations: map[storepath.Path][]byte{}}
	seen := map[storepath.Path]bool{}
	for _, info := range s.Infos {
		seen[info.StorePath] = true
	}
	for _, info := range openCache(t, tinyCache+"drvs", tinyKeys(t), func(p storepath.Path) bool { return !seen[p] }) {
		s.Infos = append(s.Infos, info)
		s.Derivations[info.StorePath] = fileOf(t, info)
	}
	if len(s.Derivations) != 10 {
		t.Fatalf("%d derivations; want 10", len(s.Derivations))
	}
	return s
}

func TestDerivationMissing(t *testing.T) {
	s := withDerivations(t)
	const drv = "/nix/store/z4c54n4w95h1d8d29k9ndg9hxdw5cmcd-lib-1.0.drv"
	s.Derivations[path(t, drv)] = []byte("Derive")
	if _, err := s.Database(); err == nil || !strings.Contains(err.Error(), drv+": its content is not that of a derivation") {
		t.Errorf("a broken derivation: %v", err)
	}
	delete(s.Derivations, path(t, drv))
	if _, err := s.Database(); err == nil || !strings.Contains(err.Error(), drv+": it is a derivation whose content is not given") {
		t.Errorf("a missing derivation: %v", err)
	}
}
