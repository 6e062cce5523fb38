package spec

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Explain writes a spec as YAML with all that was left out, and says of each key
// what it is for. [Parse] reads an equal spec from it, given the same name of a
// file. (A spec that came from JSON can be larger than YAML may be.)
func (s *Spec) Explain() []byte {
	w := explainer{comments: map[*node]string{}}
	said := map[string]bool{}
	e := encoder{objects: objects{}, visit: func(key *node, f *field, isDefault bool) {
		var parts []string
		if isDefault {
			parts = append(parts, "(default)")
		}
		if !said[f.id] {
			said[f.id] = true
			sentence, _, _ := strings.Cut(docOf(f.id).text, ". ")
			parts = append(parts, strings.TrimSuffix(sentence, "."))
		}
		w.comments[key] = strings.Join(parts, " ")
	}}
	w.mapping(e.mapping(reflect.ValueOf(s).Elem()), "", "")
	return []byte(w.out.String())
}

// explainer writes a tree as YAML in blocks.
type explainer struct {
	out      strings.Builder
	comments map[*node]string // by key
}

// mapping writes a mapping. The first line begins with first, all others with
// indent.
func (w *explainer) mapping(n *node, first, indent string) {
	for i, k := range n.keys {
		begin := indent
		if i == 0 {
			begin = first
		}
		w.out.WriteString(begin + scalar(k) + ":")
		w.value(n.items[i], indent, w.comments[k])
	}
}

// value writes what follows a colon, with a comment in the same line.
func (w *explainer) value(n *node, indent, comment string) {
	if comment != "" {
		comment = " # " + comment
	}
	switch {
	case n.kind == list && len(n.items) == 0:
		w.out.WriteString(" []" + comment + "\n")
	case n.kind == mapping && len(n.items) == 0:
		w.out.WriteString(" {}" + comment + "\n")
	case n.kind == mapping:
		w.out.WriteString(comment + "\n")
		w.mapping(n, indent+"  ", indent+"  ")
	case n.kind == list:
		w.out.WriteString(comment + "\n")
		for _, item := range n.items {
			if item.kind == mapping {
				w.mapping(item, indent+"  - ", indent+"    ")
			} else {
				fmt.Fprintf(&w.out, "%s  - %s\n", indent, scalar(item))
			}
		}
	case n.kind == text && isBlock(n.text):
		w.out.WriteString(" |" + comment + "\n")
		for line := range strings.Lines(n.text) {
			if line != "\n" {
				w.out.WriteString(indent + "  ")
			}
			w.out.WriteString(line)
		}
	default:
		w.out.WriteString(" " + scalar(n) + comment + "\n")
	}
}

// isBlock reports whether a text can be written as the lines that it has, within
// the limits on YAML.
func isBlock(s string) bool {
	body, ok := strings.CutSuffix(s, "\n")
	if !ok || body == "" || strings.HasSuffix(body, "\n") || strings.Count(body, "\n") > maxBlank {
		return false
	}
	for line := range strings.SplitSeq(body, "\n") {
		if len(line) > maxLine/2 || line != strings.TrimSpace(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return false
		}
	}
	return body[0] != '\n'
}

var (
	plain    = regexp.MustCompile(`^[A-Za-z/]([A-Za-z0-9/._+=@:-]*[A-Za-z0-9/._+=@-])?$`)
	reserved = []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"} // somewhere in the world of YAML
)

// scalar writes a scalar, in quotes if it could be mistaken, and in one line
// unless it is very long.
func scalar(n *node) string {
	if n.kind != text || plain.MatchString(n.text) && !slices.Contains(reserved, strings.ToLower(n.text)) {
		return n.text
	}
	var b strings.Builder
	b.WriteByte('"')
	start := 0
	for _, r := range n.text {
		if b.Len()-start > maxLine/2 { // break the line; blanks at the start of the next are not part of it
			start = b.Len()
			b.WriteString("\\\n" + strings.Repeat(" ", maxDepth))
			if r == ' ' {
				b.WriteString(`\x20`)
				continue
			}
		}
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
