package spec

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"thaw/internal/testbed"
)

// commands are read by a shell as they are here.
var commands = []string{
	`/bin/a`, "/bin/a\t-b  c", "/bin/a b \\\n  c\\\nd \"e\\\nf\" 'g\\\nh' \\\n i", `/bin/a 'b  c' "d  e" f\ g`, `/bin/a 'it'\''s' "it's" 'say "x"' "say \"x\""`,
	`/bin/a '$HOME' "\$HOME" \$HOME "\x\\" '\x' \x`, "/bin/a '`b`' \"\\`b\\`\" 'b\nc' \"b\nc\"", `/bin/a '' "" a''b --x=y a#b a~b a=b {} ! ] % ^`,
	`/bin/a '|' '&' ';' '<' '>' '(' ')' '*' '?' '[' '#' '~' \| \* \#`, `/bin/a "|&;<>()*?[#~"`, `'/bin/a b' c`, `/bin/ä "ü"`,
}

func TestCommandShell(t *testing.T) {
	for _, text := range commands {
		c, err := ParseCommand(text)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, spelled := range []string{text, c.String()} {
			out := testbed.Run(t, "sh", "-c", "printf '%s\\0' "+spelled)
			if words := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); !slices.Equal(words, c.Words) {
				t.Errorf("%s: a shell reads %q, and not %q", spelled, words, c.Words)
			}
		}
	}
}

func FuzzCommand(f *testing.F) {
	for _, text := range commands {
		f.Add(text)
	}
	for _, text := range []string{"", "a", "/a 'b", `/a \`, "/a $b", "/a | b", "\x00", "/a \"\\"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCommand(text)
		if err != nil {
			return
		}
		again, err := ParseCommand(c.String())
		if err != nil || fmt.Sprintf("%q", again) != fmt.Sprintf("%q", c) {
			t.Errorf("%q is %q, written as %q, which is %q, %v", text, c, c.String(), again, err)
		}
	})
}
