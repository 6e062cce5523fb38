package spec

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"thaw/internal/testbed"
)

// TestReference holds the tables of keys and values in docs/spec.md against the
// tables here, and its examples against Parse.
func TestReference(t *testing.T) {
	file := filepath.Join(testbed.Root(t), "docs", "spec.md")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- begin of what go test -u ./spec writes -->\n", "<!-- end of what go test -u ./spec writes -->\n"
	head, rest, ok1 := strings.Cut(string(content), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no %q", file, begin)
	}
	keys := reference()
	if *update {
		if err := os.WriteFile(file, []byte(head+begin+keys+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if old != keys {
		t.Errorf("%s is out of date: go test ./spec -u writes it", file)
	}
	blocks := strings.Split(head+tail, "\n```yaml\n")[1:]
	if len(blocks) == 0 {
		t.Error("there is no example")
	}
	for _, block := range blocks {
		text, _, _ := strings.Cut(block, "\n```\n")
		mustParse(t, "docs/spec.md", text)
	}
}

// reference writes the tables of docs/spec.md.
func reference() string {
	var b strings.Builder
	os := objects{}
	for _, p := range os.places() {
		fmt.Fprintf(&b, "### %s\n\n", title(p))
		b.WriteString("| key | value | if left out | |\n|---|---|---|---|\n")
		for i := range p.fields {
			f := &p.fields[i]
			doc := docOf(f.id)
			if p.variant != "" && f.only != nil && slices.Contains(f.only, p.variant) {
				fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", f.key, p.variant, leftOut(f), cell(doc.text))
				continue
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s For example `%s` |\n", f.key, cell(valueOf(os, f)), cell(leftOut(f)), cell(doc.text), cell(doc.example))
		}
		b.WriteString("\n")
		for _, f := range p.fields {
			if f.short {
				fmt.Fprintf(&b, "A text in place of the mapping is the value of `%s`.\n\n", f.key)
			}
		}
	}
	b.WriteString("### Values\n\n| value | |\n|---|---|\n")
	for _, s := range syntaxes {
		fmt.Fprintf(&b, "| %s | %s |\n", s.name, cell(s.doc))
	}
	b.WriteString("\n")
	return b.String()
}

func title(p place) string {
	switch {
	case p.path == "":
		return "The whole spec"
	case p.variant != "":
		return fmt.Sprintf("`%s` with `%s: %s`", p.path, p.object.fields[0].key, p.variant)
	}
	return "`" + p.path + "`"
}

// valueOf says what a key may hold.
func valueOf(os objects, f *field) string {
	t := f.form()
	if o := os.named(t); o != nil {
		if o.value != nil {
			return fmt.Sprintf("mapping: %s to %s", o.name.is.name, valueOf(os, o.value))
		}
		return fmt.Sprintf("mapping of a %s to a mapping, see below", o.name.is.name)
	}
	switch {
	case t.Kind() == reflect.Slice:
		return "list: " + valueOf(os, f.elem())
	case f.is != nil:
		return f.is.name
	case f.only != nil:
		return "`" + strings.Join(f.only, "`, `") + "`"
	case t.Kind() == reflect.Struct:
		return "mapping, see below"
	case t.Kind() == reflect.Bool:
		return "`true`, `false`"
	case t.Kind() == reflect.String:
		return "text"
	case f.least == f.most:
		return fmt.Sprintf("`%d`", f.least)
	}
	return fmt.Sprintf("number from %d to %d", f.least, f.most)
}

// leftOut says what a key is that is not there.
func leftOut(f *field) string {
	switch {
	case f.need:
		return "an error"
	case f.one:
		return "one of these keys is needed"
	case f.def != nil && f.typ.Kind() == reflect.Slice:
		return "`[" + strings.ReplaceAll(*f.def, " ", ", ") + "]`"
	case f.def != nil && f.is != nil && scalar(f.defaultNode()) != *f.def:
		return "`\"" + *f.def + "\"`"
	case f.def != nil:
		return "`" + *f.def + "`"
	case f.isObject():
		return "its defaults"
	}
	return f.unset
}

// cell escapes a text for a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
