package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// MaxErrors is how many errors [Parse] reports at most.
const MaxErrors = 10

// Error is one mistake in a spec.
type Error struct {
	File    string // as it was given to Parse
	Line    int    // from 1; 0 if the spec was not read from a text
	Column  int    // from 1, in characters
	Path    string // the key, such as rootfs.files[2].mode; "" for none
	Text    string // what is wrong, and what to do
	Excerpt string // the line of the spec and below it a mark, two lines; "" for none
}

func (e *Error) Error() string {
	s := e.Text
	if e.Path != "" {
		s = e.Path + ": " + s
	}
	if e.Line > 0 {
		s = fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, s)
	} else if e.File != "" {
		s = e.File + ": " + s
	}
	if e.Excerpt != "" {
		s += "\n" + e.Excerpt
	}
	return s
}

// Errors are the mistakes in a spec, in the order of their places: at least one,
// and at most [MaxErrors].
type Errors []*Error

func (es Errors) Error() string {
	texts := make([]string, len(es))
	for i, e := range es {
		texts[i] = e.Error()
	}
	return strings.Join(texts, "\n")
}

// problems collects errors about one text.
type problems struct {
	file string
	text string // "" for a spec that was not read from a text
	errs []problem
}

type problem struct {
	*Error
	at *node
}

// enough reports whether so much is wrong that looking on is a waste of time.
func (p *problems) enough() bool { return len(p.errs) >= 10*MaxErrors }

// add notes an error at a node, which may be nil.
func (p *problems) add(n *node, path, format string, a ...any) {
	if p.enough() {
		return
	}
	e := &Error{File: p.file, Path: path, Text: fmt.Sprintf(format, a...)}
	if n != nil {
		e.Line, e.Column = n.line, n.col
	}
	p.errs = append(p.errs, problem{e, n})
}

// err returns what was collected, nil for nothing.
func (p *problems) err() error {
	if len(p.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(p.errs, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	var out Errors
	for _, e := range p.errs[:min(len(p.errs), MaxErrors)] {
		if e.Line > 0 && e.Excerpt == "" {
			e.Excerpt = excerpt(p.text, e.at)
		}
		out = append(out, e.Error)
	}
	return out
}

// excerptWidth is how many characters of a line an excerpt shows.
const excerptWidth = 72

// excerpt returns the line where n begins with a mark below it. Of a long line,
// such as a JSON file of one line, it shows what is around the mark. If n is
// secret, it ends before n.
func excerpt(text string, n *node) string {
	for range n.line - 1 {
		_, text, _ = strings.Cut(text, "\n")
	}
	text, _, _ = strings.Cut(text, "\n")
	line := []rune(text)
	at := min(n.col-1, len(line))
	if n.secret {
		line = append(line[:at:at], '…')
	}
	if len(line) > excerptWidth {
		from := max(0, min(at-excerptWidth/2, len(line)-excerptWidth))
		to := from + excerptWidth
		cut := slices.Clone(line[from:to])
		if from > 0 {
			cut[0] = '…'
		}
		if to < len(line) {
			cut[len(cut)-1] = '…'
		}
		line, at = cut, at-from
	}
	for i, r := range line {
		switch {
		case r == '\t':
			line[i] = ' '
		case !unicode.IsPrint(r):
			line[i] = '·'
		}
	}
	number := fmt.Sprintf("%5d", n.line)
	return fmt.Sprintf("%s | %s\n%*s | %s^", number, strings.TrimRight(string(line), " "), len(number), "", strings.Repeat(" ", at))
}

// clip shortens a text for a message, and quotes it.
func clip(s string) string {
	if r := []rune(s); len(r) > 80 {
		s = string(r[:79]) + "…"
	}
	return strconv.Quote(s)
}

// Nearest returns the candidate that a mistyped word most likely stands for, or else the
// only one that it is the beginning of; "" if there is none.
func Nearest(word string, candidates []string) string {
	best, least := "", max(1, min(len(word), 40)/3)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), c, least); d < least {
			best, least = c, d
		}
	}
	if best != "" || len(word) < 3 {
		return best
	}
	for _, c := range candidates {
		switch {
		case !strings.HasPrefix(c, strings.ToLower(word)):
		case best != "":
			return ""
		default:
			best = c
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour between a and b. From limit on it need not be exact.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := range len(a) {
		above, row := rows[1], rows[2]
		row[0] = i + 1
		for j := range len(b) {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			row[j+1] = min(above[j]+change, above[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], rows[0][j-1]+1)
			}
		}
		rows[0], rows[1], rows[2] = above, row, rows[0]
	}
	return rows[1][len(b)]
}

// didYouMean is the end of a message about a word that is none of the candidates.
func didYouMean(word string, candidates []string) string {
	if s := Nearest(word, candidates); s != "" {
		return fmt.Sprintf(" (did you mean %q?)", s)
	}
	return ""
}
