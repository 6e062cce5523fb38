package nixdb

import (
	"errors"
	"fmt"
	"strings"

	"thaw/storepath"
)

// isDerivation reports whether Nix takes a path for a derivation.
func isDerivation(p storepath.Path) bool { return strings.HasSuffix(p.Name(), ".drv") }

// output is something that a derivation builds.
type output struct {
	name string // "out", "dev", …
	path storepath.Path
}

// errDerivation says that a .drv file is none.
var errDerivation = errors.New("its content is not that of a derivation")

// parseOutputs reads the outputs from the content of a .drv file, which begins
//
//	Derive([("out","/nix/store/…","HASHALGO","HASH"),("dev",…),…],
//
// (derivations.cc of Nix). What follows is not looked at. Outputs whose path is
// not known before they are built are left out.
func parseOutputs(content []byte) (outputs []output, err error) {
	rest, ok := strings.CutPrefix(string(content), "Derive([")
	if !ok {
		return nil, errDerivation
	}
	for {
		var fields [4]string
		for i, before := range [...]string{"(", ",", ",", ","} {
			if rest, ok = strings.CutPrefix(rest, before); !ok {
				return nil, errDerivation
			}
			if fields[i], rest, ok = cutString(rest); !ok {
				return nil, errDerivation
			}
		}
		if fields[1] != "" {
			path, err := storepath.Parse(fields[1])
			if err != nil {
				return nil, fmt.Errorf("output %q: %w", fields[0], err)
			}
			outputs = append(outputs, output{fields[0], path})
		}
		if after, ok := strings.CutPrefix(rest, "),"); ok {
			rest = after
			continue
		}
		if !strings.HasPrefix(rest, ")],") {
			return nil, errDerivation
		}
		return outputs, nil
	}
}

// cutString takes a string in quotes from the start of s. None of the fields
// that are read here has a character that Nix would escape.
func cutString(s string) (text, rest string, ok bool) {
	if s, ok = strings.CutPrefix(s, `"`); !ok {
		return "", "", false
	}
	text, rest, ok = strings.Cut(s, `"`)
	return text, rest, ok && !strings.Contains(text, `\`)
}
