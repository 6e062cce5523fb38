package spec

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// isJSON reports whether a text is a JSON object.
func isJSON(s string) bool {
	return strings.HasPrefix(strings.TrimLeft(s, " \t\r\n"), "{") && json.Valid([]byte(s))
}

// readJSON reads the text of a spec that is JSON.
func readJSON(p *problems) *node {
	r := &jsonReader{problems: p, dec: json.NewDecoder(strings.NewReader(p.text)), line: 1, col: 1}
	r.dec.UseNumber()
	var any json.RawMessage
	if err := json.Unmarshal([]byte(p.text), &any); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			r.moveTo(int(syntax.Offset) - 1)
		}
		p.add(r.here(), "", "this is not JSON: %v", err)
		return nil
	}
	return r.value(0)
}

// jsonReader makes nodes of the tokens of a text that is valid JSON.
type jsonReader struct {
	*problems
	dec       *json.Decoder
	offset    int // in bytes, of line and col
	line, col int
}

// moveTo follows the text up to an offset.
func (r *jsonReader) moveTo(offset int) {
	offset = max(r.offset, min(offset, len(r.text)))
	for _, c := range r.text[r.offset:offset] {
		if r.col++; c == '\n' {
			r.line, r.col = r.line+1, 1
		}
	}
	r.offset = offset
}

func (r *jsonReader) here() *node { return &node{line: r.line, col: r.col} }

// next returns the next token and an empty node at its place.
func (r *jsonReader) next() (json.Token, *node) {
	start := int(r.dec.InputOffset())
	r.moveTo(start + len(r.text[start:]) - len(strings.TrimLeft(r.text[start:], " \t\r\n,:")))
	tk, err := r.dec.Token()
	if err != nil && err != io.EOF {
		r.add(r.here(), "", "this is not JSON: %v", err)
	}
	return tk, r.here()
}

// value reads a value. It returns nil after an error.
func (r *jsonReader) value(depth int) *node {
	tk, n := r.next()
	if depth > maxDepth {
		r.add(n, "", "this is nested too deeply")
		return nil
	}
	switch tk := tk.(type) {
	case nil:
		n.kind = null
	case bool:
		n.kind, n.text = boolean, "false"
		if tk {
			n.text = "true"
		}
	case json.Number:
		n.kind, n.text = number, tk.String()
	case string:
		n.kind, n.text = text, tk
		if strings.ContainsRune(tk, utf8.RuneError) {
			r.add(n, "", "this text has half a character (a lone surrogate), or U+FFFD in place of one")
			return nil
		}
	case json.Delim:
		n.kind = list
		if tk == '{' {
			n.kind = mapping
		}
		for r.dec.More() {
			if n.kind == mapping {
				key := r.value(depth + 1)
				if key == nil {
					return nil
				}
				n.keys = append(n.keys, key)
			}
			item := r.value(depth + 1)
			if item == nil {
				return nil
			}
			n.items = append(n.items, item)
		}
		r.next() // the end
	}
	return n
}
