package spec

import (
	"fmt"
	"regexp"
	"strings"
)

// Command is a program and its arguments.
type Command struct {
	Words []string // the first is the absolute path of the program
}

// ParseCommand reads the words of a command as a shell does, with quotes and
// backslashes. Nothing is expanded: what a shell would make something else of is
// an error.
func ParseCommand(s string) (Command, error) {
	words, err := splitWords(s)
	switch {
	case err != nil:
		return Command{}, fmt.Errorf("%s: %w", clip(s), err)
	case len(words) == 0:
		return Command{}, fmt.Errorf("%s is no command", clip(s))
	case !strings.HasPrefix(words[0], "/"):
		return Command{}, fmt.Errorf("%s does not start with the absolute path of a program in the image, such as /bin/sh", clip(s))
	}
	return Command{words}, nil
}

// splitWords splits a text at blanks that are not in quotes.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune // the quote that is open, or 0
	inWord, escaped := false, false
	for _, r := range strings.TrimSuffix(s, "\n") { // which a block of YAML ends in
		switch {
		case isControl(r) && r != '\t' && r != '\n':
			return nil, fmt.Errorf("it has a control character")
		case escaped && r == '\n': // the line goes on
			escaped = false
		case escaped:
			if escaped, inWord = false, true; quote == '"' && !strings.ContainsRune("\"\\$`", r) {
				word.WriteByte('\\')
			}
			word.WriteRune(r)
		case quote == '\'' && r != '\'':
			word.WriteRune(r)
		case quote != 0 && r == quote:
			quote = 0
		case r == '\\':
			escaped = true
		case r == '$' || r == '`':
			return nil, fmt.Errorf("a shell would expand the %c, and none reads this: put it in single quotes, or write /bin/sh -c '…'", r)
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			inWord, quote = true, r
		case r == '\n':
			return nil, fmt.Errorf("it has several lines: end all but the last in a backslash, or write /bin/sh -c '…'")
		case r == ' ' || r == '\t':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		case strings.ContainsRune("|&;<>()*?[", r) || !inWord && (r == '#' || r == '~'):
			return nil, fmt.Errorf("the %c means something to a shell, and none reads this: put it in quotes, or write /bin/sh -c '…'", r)
		default:
			inWord = true
			word.WriteRune(r)
		}
	}
	switch {
	case quote != 0:
		return nil, fmt.Errorf("a quote (%c) has no end", quote)
	case escaped:
		return nil, fmt.Errorf("nothing follows the last backslash")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// bare are words that a shell takes as they are.
var bare = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// String returns the text that [ParseCommand] reads, which a shell reads as the
// same words.
func (c Command) String() string {
	words := make([]string, len(c.Words))
	for i, w := range c.Words {
		words[i] = Quote(w)
	}
	return strings.Join(words, " ")
}

// Quote writes a text as one word for a shell.
func Quote(word string) string {
	if bare.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
