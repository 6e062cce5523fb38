package vfat

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// reserved are the characters that no name has, beside those below the space
// (section "Long Directory Entries"). U+FFFF fills up what follows a name.
const reserved = `"*/:<>?\|` + "\uffff"

// refusesName says why FAT holds no entry of this name, or "".
func refusesName(name string) string {
	if !utf8.ValidString(name) {
		return "FAT holds names in UTF-16, and this one is not UTF-8"
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return r < ' ' || strings.ContainsRune(reserved, r) }); i >= 0 {
		r, _ := utf8.DecodeRuneInString(name[i:])
		return fmt.Sprintf("FAT holds no %q in a name", r)
	}
	if strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") {
		return "FAT holds no name that ends in a dot or a space"
	}
	return ""
}

// foldCase returns what is equal for names that differ in case only, to any system:
// it looks through both Unicode's case folding and its capital letters.
func foldCase(name string) string {
	return strings.Map(func(r rune) rune {
		r = unicode.ToUpper(r)
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, name)
}

// unitsPerSlot is how many UTF-16 units of a long name a slot has.
const unitsPerSlot = 13

// slots returns how many slots an entry of this name takes in its directory.
func slots(name string) int64 {
	if short, ok := plain(name); ok && short.is(name) {
		return 1
	}
	units := int64(0)
	for _, r := range name {
		units += int64(utf16.RuneLen(r))
	}
	return 1 + ceilDiv(units, unitsPerSlot)
}

// An alias is a short name: eight characters and three, filled up with spaces.
type alias [11]byte

func newAlias(base, ext string) alias {
	a := alias([]byte("           "))
	copy(a[:8], base)
	copy(a[8:], ext)
	return a
}

// is reports whether a is the name itself.
func (a alias) is(name string) bool {
	base, ext, _ := strings.Cut(name, ".")
	return newAlias(base, ext) == a
}

// checksum ties the slots of a long name to its alias (section "Long Directory
// Entries", ChkSum).
func (a alias) checksum() byte {
	sum := byte(0)
	for _, c := range a {
		sum = sum<<7 | sum>>1 // turns right
		sum += c
	}
	return sum
}

// shortChar returns what a character becomes in a short name, or 0 if there is no
// place for it.
func shortChar(r rune) byte {
	switch {
	case 'a' <= r && r <= 'z':
		return byte(r) - 'a' + 'A'
	case 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r < utf8.RuneSelf && strings.ContainsRune("!#$%&'()-@^_`{}~", r):
		return byte(r)
	}
	return 0
}

// plain returns a name as a short one, if it is one but for case.
func plain(name string) (a alias, ok bool) {
	base, ext, dot := strings.Cut(name, ".")
	if len(base) < 1 || len(base) > 8 || len(ext) > 3 || dot && ext == "" {
		return a, false
	}
	for _, r := range base + ext {
		if shortChar(r) == 0 {
			return a, false
		}
	}
	return newAlias(strings.ToUpper(base), strings.ToUpper(ext)), true
}

// basis returns what an alias for a name is made of.
func basis(name string) (base, ext string) {
	name = strings.TrimLeft(strings.ReplaceAll(name, " ", ""), ".")
	base = name
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		base, ext = name[:i], name[i+1:]
	}
	return shorten(base, 8), shorten(ext, 3)
}

func shorten(s string, most int) string {
	var b []byte
	for _, r := range s {
		switch c := shortChar(r); {
		case len(b) == most:
			return string(b)
		case c != 0:
			b = append(b, c)
		case r != '.':
			b = append(b, '_')
		}
	}
	return string(b)
}

// aliases returns an alias for each of the names, which no two share. Names that
// are short ones but for case have themselves; the others, in their order, a
// number.
func aliases(children []node) []alias {
	all := make([]alias, len(children))
	used := make(map[alias]bool, len(children))
	for i := range children {
		if a, ok := plain(children[i].name); ok {
			all[i] = a
			used[a] = true
		}
	}
	type series struct {
		base, ext string
		digits    int
	}
	next := map[series]int{}
	number := func(base, ext string) alias {
		for digits, first := 1, 1; ; digits, first = digits+1, 10*first {
			s := series{base[:min(len(base), 7-digits)], ext, digits}
			for n := max(first, next[s]); n < 10*first; n++ {
				if a := newAlias(s.base+"~"+strconv.Itoa(n), ext); !used[a] {
					next[s] = n + 1
					return a
				}
			}
			next[s] = 10 * first
		}
	}
	for i := range children {
		if all[i] == (alias{}) {
			all[i] = number(basis(children[i].name))
			used[all[i]] = true
		}
	}
	return all
}
