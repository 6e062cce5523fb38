package spec

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// readText reads the text of a spec into a tree, JSON if it is that, else YAML.
func readText(p *problems, jsonOnly bool) *node {
	if len(p.text) > MaxSize {
		p.add(nil, "", "a spec may have %d MiB, and this has %d bytes", MaxSize>>20, len(p.text))
		return nil
	}
	p.text = strings.TrimPrefix(p.text, "\ufeff")
	line, col := 1, 1
	for i, r := range p.text {
		if r == utf8.RuneError && !strings.HasPrefix(p.text[i:], "\ufffd") {
			p.add(&node{line: line, col: col}, "", "this is not UTF-8")
			return nil
		}
		if r < ' ' && r != '\n' && r != '\t' && (r != '\r' || !strings.HasPrefix(p.text[i:], "\r\n")) {
			p.add(&node{line: line, col: col}, "", "the control character %U is not text; in quotes, write it as an escape", r)
			return nil
		}
		if col++; r == '\n' {
			line, col = line+1, 1
		}
	}
	p.text = strings.ReplaceAll(p.text, "\r\n", "\n") // YAML's line breaks are all one
	if jsonOnly || isJSON(p.text) {
		return readJSON(p)
	}
	if !measure(p) {
		return nil
	}
	tokens := lexer.Tokenize(p.text)
	if !screen(p, tokens) {
		return nil
	}
	return readYAML(p, tokens)
}

// measure refuses YAML that the scanner would take too long for: it is quadratic
// in some things. It reports whether the text passed.
func measure(p *problems) bool {
	n, blank := &node{col: 1}, 0
	for line := range strings.Lines(p.text) {
		n.line++
		blank++
		if strings.TrimSpace(line) != "" {
			blank = 0
		}
		switch {
		case len(line) > maxLine:
			p.add(n, "", "a line of YAML may have %d bytes, and this has %d: break it, or write JSON", maxLine, len(line))
		case n.line > maxLines:
			p.add(n, "", "a spec in YAML may have %d lines: write JSON", maxLines)
		case blank > maxBlank:
			p.add(n, "", "there are more than %d empty lines before this one", maxBlank)
		default:
			continue
		}
		return false
	}
	return true
}

// screen refuses, before they are parsed, the tokens of what a spec may not use,
// and those that nest too deeply or make too large mappings. It reports whether
// the tokens passed.
func screen(p *problems, tokens token.Tokens) bool {
	type level struct{ col, keys int }
	var (
		flow   int // open brackets and braces
		blocks []level
	)
	// enter notes a key or the dash of an item in a column outside of brackets.
	enter := func(col int) *level {
		for len(blocks) > 0 && blocks[len(blocks)-1].col > col {
			blocks = blocks[:len(blocks)-1]
		}
		if len(blocks) == 0 || blocks[len(blocks)-1].col < col {
			blocks = append(blocks, level{col: col})
		}
		return &blocks[len(blocks)-1]
	}
	for i, tk := range tokens {
		var refuse string
		switch tk.Type {
		case token.InvalidType:
			return true // the parser has words for it
		case token.AnchorType:
			refuse = "anchors (&) are not allowed in a spec: write the value where it is needed"
		case token.AliasType:
			refuse = "aliases (*) are not allowed in a spec: write the value itself, or put it in quotes if it starts with *"
		case token.MergeKeyType:
			refuse = "merge keys (<<) are not allowed in a spec: write the keys themselves"
		case token.TagType:
			refuse = "tags (!) are not allowed in a spec: leave it out, or put the value in quotes if it starts with !"
		case token.DirectiveType:
			refuse = "directives (%) are not allowed in a spec: leave it out"
		case token.MappingKeyType:
			refuse = "complex keys (?) are not allowed in a spec: write KEY: VALUE"
		case token.DocumentHeaderType:
			if i > 0 && tokens[i-1].Type != token.CommentType || flow > 0 || len(blocks) > 0 {
				refuse = "a spec is one document: put the other one into a file of its own"
			}
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType:
			if flow == 0 {
				enter(tk.Position.Column)
			}
		case token.MappingValueType:
			if flow == 0 && tk.Prev != nil {
				l := enter(tk.Prev.Position.Column)
				if l.keys++; l.keys > maxKeys {
					refuse = "this mapping has too many keys"
				}
			}
		}
		if flow+len(blocks) > maxDepth {
			refuse = "this is nested too deeply"
		}
		if refuse != "" {
			p.add(at(tk), "", "%s", refuse)
			return false
		}
	}
	return true
}

// at is the place of a token.
func at(tk *token.Token) *node {
	if tk == nil || tk.Position == nil {
		return &node{line: 1, col: 1}
	}
	return &node{line: max(1, tk.Position.Line), col: max(1, tk.Position.Column)}
}

// readYAML parses tokens that have passed [screen].
func readYAML(p *problems, tokens token.Tokens) (root *node) {
	defer func() {
		if recover() != nil { // a bug in the parser is no reason to crash
			p.add(nil, "", "this is not YAML that can be understood")
			root = nil
		}
	}()
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var e interface { // not Error, which takes for ever to print a long text
			GetToken() *token.Token
			GetMessage() string
		}
		if !errors.As(err, &e) {
			p.add(nil, "", "this is not YAML: %v", err)
			return nil
		}
		p.add(at(e.GetToken()), "", "this is not YAML: %s", wording(e.GetMessage()))
		return nil
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			p.add(at(doc.Body.GetToken()), "", "a spec is one document: put the other one into a file of its own")
			return nil
		}
		body = doc.Body
	}
	if body == nil {
		p.add(nil, "", "the spec is empty; the smallest one is: version: 1")
		return nil
	}
	return fromYAML(p, body)
}

// wording improves what the parser says about common mistakes.
func wording(message string) string {
	switch {
	case strings.HasPrefix(message, "found character '\t'"):
		return "it is indented with a tab; use blanks"
	case strings.HasPrefix(message, "mapping value is not allowed"):
		return "a key cannot be here; if this is a text with a colon, put it in quotes, else check the indentation"
	case message == "value is not allowed in this context":
		return "a value cannot be here; check the indentation"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, message)
}

// fromYAML turns what the parser returns into nodes.
func fromYAML(p *problems, in ast.Node) *node {
	n := at(in.GetToken())
	switch in := in.(type) {
	case *ast.MappingNode:
		n.kind = mapping
		for _, kv := range in.Values {
			key := at(kv.Key.GetToken())
			key.kind, key.text = text, kv.Key.GetToken().Value
			n.keys = append(n.keys, key)
			n.items = append(n.items, fromYAML(p, kv.Value))
		}
		if !in.IsFlowStyle && len(n.keys) > 0 {
			n.line, n.col = n.keys[0].line, n.keys[0].col // it points to the colon
		}
	case *ast.SequenceNode:
		n.kind = list
		for _, item := range in.Values {
			n.items = append(n.items, fromYAML(p, item))
		}
	case *ast.StringNode:
		n.kind, n.text = text, in.Value
	case *ast.LiteralNode:
		n.kind, n.text = text, in.Value.Value
	case *ast.NullNode:
		n.kind = null
	case *ast.BoolNode:
		n.kind, n.text = boolean, in.Token.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		n.kind, n.text = number, in.GetToken().Value
	default:
		p.add(n, "", "this is not allowed in a spec")
	}
	if n.kind == text && !utf8.ValidString(n.text) {
		p.add(n, "", "this text is not UTF-8")
	}
	return n
}
