// Package storepath names objects in a Nix store.
//
// A store path is /nix/store/HASH-NAME: HASH is 32 characters of Nix's base-32
// (160 bits that stand for what the object is or was made from), NAME is chosen
// by people. Stores in other places (/gnu/store, /home/me/store) have other
// hashes for the same things and are refused.
package storepath

import (
	"fmt"
	"strings"
)

// Dir is the one store directory that this package knows.
const Dir = "/nix/store"

// Alphabet is Nix's base-32: digits and lower-case letters without e, o, t, u.
const Alphabet = "0123456789abcdfghijklmnpqrsvwxyz"

const (
	// HashLen is the length of the hash part in characters.
	HashLen = 32
	// MaxName is the length limit of the name part in bytes.
	MaxName = 211
)

// Path is a store path. It is comparable; the zero value is no path and prints
// as the empty string.
type Path struct {
	base string // HASH-NAME
}

// Parse reads a full store path such as /nix/store/HASH-NAME.
func Parse(s string) (Path, error) {
	base, ok := strings.CutPrefix(s, Dir+"/")
	if !ok {
		if dir, _, found := strings.Cut(s, "/store/"); found && strings.HasPrefix(s, "/") {
			return Path{}, &Error{s, fmt.Sprintf("is in the store %s/store; only %s is supported", dir, Dir)}
		}
		return Path{}, &Error{s, "does not start with " + Dir + "/"}
	}
	p, err := ParseBase(base)
	if err != nil {
		err.(*Error).Text = s
	}
	return p, err
}

// ParseBase reads the last element of a store path, HASH-NAME, as narinfo files
// list references.
func ParseBase(s string) (Path, error) {
	if len(s) < HashLen+2 || s[HashLen] != '-' {
		return Path{}, &Error{s, "is not 32 characters of hash, a dash and a name"}
	}
	if !ValidHash(s[:HashLen]) {
		return Path{}, &Error{s, "its hash part has a character outside " + Alphabet}
	}
	name := s[HashLen+1:]
	switch {
	case len(name) > MaxName:
		return Path{}, &Error{s, fmt.Sprintf("its name has %d bytes, the limit is %d", len(name), MaxName)}
	case name[0] == '.':
		return Path{}, &Error{s, "its name starts with a dot"}
	}
	for i := range len(name) {
		if !nameChar(name[i]) {
			return Path{}, &Error{s, fmt.Sprintf("its name has the character %q; allowed are letters, digits and +-._?=", name[i])}
		}
	}
	return Path{s}, nil
}

// New joins a hash part and a name.
func New(hash, name string) (Path, error) { return ParseBase(hash + "-" + name) }

// ValidHash reports whether s is a hash part: 32 characters of base-32.
func ValidHash(s string) bool {
	if len(s) != HashLen {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' && c != 'e' && c != 'o' && c != 't' && c != 'u') {
			return false
		}
	}
	return true
}

func nameChar(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' ||
		c == '+' || c == '-' || c == '.' || c == '_' || c == '?' || c == '='
}

// IsZero reports whether p is the zero value.
func (p Path) IsZero() bool { return p.base == "" }

// String returns the full path, /nix/store/HASH-NAME.
func (p Path) String() string {
	if p.base == "" {
		return ""
	}
	return Dir + "/" + p.base
}

// Base returns HASH-NAME.
func (p Path) Base() string { return p.base }

// Hash returns the 32 characters of the hash part, the name of its narinfo.
func (p Path) Hash() string { return p.base[:min(HashLen, len(p.base))] }

// Name returns what follows the hash part and its dash.
func (p Path) Name() string { return p.base[min(HashLen+1, len(p.base)):] }

// Compare orders paths bytewise by their text, as Nix sorts references.
func (p Path) Compare(q Path) int { return strings.Compare(p.base, q.base) }

// MarshalText returns the full path.
func (p Path) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is [Parse].
func (p *Path) UnmarshalText(text []byte) error {
	q, err := Parse(string(text))
	*p = q
	return err
}

// Error says why a text is not a store path.
type Error struct {
	Text   string
	Reason string
}

func (e *Error) Error() string {
	t := e.Text
	if len(t) > 300 {
		t = t[:300] + "…"
	}
	return fmt.Sprintf("%q is not a store path: %s", t, e.Reason)
}
