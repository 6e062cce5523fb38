package vfat

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestAliases(t *testing.T) {
	for _, test := range []struct{ names, want []string }{
		{[]string{"README", "A.B", "12345678.123", "~!#$%&'(.)-@"}, []string{"README", "A.B", "12345678.123", "~!#$%&'(.)-@"}},
		{[]string{"readme", "Read.Me", "vmlinuz"}, []string{"README", "READ.ME", "VMLINUZ"}},
		{[]string{"bootx64.efi", "systemd-bootx64.efi", "systemd-bootaa64.efi"}, []string{"BOOTX64.EFI", "SYSTEM~1.EFI", "SYSTEM~2.EFI"}},
		{[]string{"long name", "LONGNA~1", "longna~2", "long name 2"}, []string{"LONGNA~3", "LONGNA~1", "LONGNA~2", "LONGNA~4"}},
		{[]string{"a.b.c", "file.tar.gz", ".profile", ". x", "x.jpeg", "x.y z"}, []string{"AB~1.C", "FILETA~1.GZ", "PROFIL~1", "X~1", "X~1.JPE", "X~1.YZ"}},
		{[]string{"\u00e9t\u00e9", "a+b", "a=b", "\U0001f9ca", "[].,;"}, []string{"_T_~1", "A_B~1", "A_B~2", "_~1", "__~1.__"}},
		{[]string{"abcdefghi", "abcdefg hi", "abcdef+"}, []string{"ABCDEF~1", "ABCDEF~2", "ABCDEF~3"}},
		{[]string{"a b", "a  b", "a   b"}, []string{"AB~1", "AB~2", "AB~3"}},
		{[]string{"con", "nul", "a.b.", "123456789"}, []string{"CON", "NUL", "AB~1", "123456~1"}},
	} {
		var got []string
		for _, a := range aliases(nodes(test.names)) {
			got = append(got, strings.TrimRight(strings.TrimRight(string(a[:8]), " ")+"."+strings.TrimRight(string(a[8:]), " "), "."))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%q became %q, want %q", test.names, got, test.want)
		}
	}
}

func nodes(names []string) []node {
	all := make([]node, len(names))
	for i, name := range names {
		all[i].name = name
	}
	return all
}

// TestAliasesMany checks that aliases stay apart where there are as many as a
// directory can need, with names in the way.
func TestAliasesMany(t *testing.T) {
	var names []string
	for i := range 15_000 {
		names = append(names, fmt.Sprintf("same beginning %d", i))
	}
	for i := range 2_000 {
		names = append(names, fmt.Sprintf("samebe~%d", i), fmt.Sprintf("SAME~%d", i+10_000))
	}
	all := aliases(nodes(names))
	seen := map[alias]string{}
	for i, a := range all {
		if other, ok := seen[a]; ok {
			t.Fatalf("%q and %q are both %q", names[i], other, a)
		}
		seen[a] = names[i]
	}
	if first, last := string(all[0][:8]), string(all[14_999][:8]); first != "SAMEB~10" || last != "SA~15009" {
		t.Errorf("from %q to %q", first, last)
	}
}

func TestFoldCase(t *testing.T) {
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"readme", "README", true},
		{"gr\u00fc\u00df", "GR\u00dc\u00df", true},
		{"\u03c3\u03c2", "\u03a3\u03a3", true}, // both small sigmas
		{"\u0430", "\u0410", true},             // Cyrillic
		{"\u212b", "\u00e5", true},             // the sign of the angstrom
		{"\U00010428", "\U00010400", true},     // beyond 16 bits
		{"ss", "\u00df", false},
		{"e\u0301", "\u00e9", false}, // FAT composes nothing
		{"a", "b", false},
	} {
		if same := foldCase(test.a) == foldCase(test.b); same != test.same {
			t.Errorf("%q and %q: %v", test.a, test.b, same)
		}
	}
}
