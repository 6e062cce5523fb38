package spec

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// Schema returns a JSON Schema (draft 2020-12) of specs, for editors. What it
// refuses is wrong; what it accepts can still be wrong, as it knows no rules that
// more than one key makes.
func Schema() []byte {
	w := schemaWriter{objects: objects{}, defs: map[string]any{}}
	root := w.object(reflect.TypeFor[Spec]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "thaw image spec"
	for _, s := range syntaxes {
		w.defs[defName(s.name)] = schema{"type": "string", "pattern": s.pattern, "description": s.doc}
	}
	root["$defs"] = w.defs
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		panic(err) // maps of texts and numbers
	}
	return out.Bytes()
}

type schema map[string]any

type schemaWriter struct {
	objects objects
	defs    map[string]any
}

func defName(s string) string { return strings.ReplaceAll(s, " ", "-") }

func refTo(name string) schema { return schema{"$ref": "#/$defs/" + defName(name)} }

// mapping refers to the schema of a struct, which may be given by a bare text.
func (w *schemaWriter) mapping(t reflect.Type) schema {
	name := t.Name()
	if _, ok := w.defs[name]; !ok {
		w.defs[name] = nil // it is being made
		o := w.objects.of(t)
		s := w.object(t)
		for _, f := range o.fields {
			if f.short {
				s = schema{"anyOf": []any{refTo(f.is.name), s}}
			}
		}
		w.defs[name] = s
	}
	return refTo(name)
}

// object is the schema of a struct.
func (w *schemaWriter) object(t reflect.Type) schema {
	o := w.objects.of(t)
	if len(o.variants) == 0 {
		return w.keys(o.fields, nil)
	}
	var forms []any
	for _, name := range o.fields[0].only {
		fields := o.fields
		if v, ok := o.variant(name); ok {
			fields = w.objects.keysOf(o, v.typ)
		}
		forms = append(forms, w.keys(fields, schema{o.fields[0].key: schema{"const": name}}))
	}
	return schema{"oneOf": forms}
}

// keys is the schema of a mapping with these keys, of which some may be fixed.
func (w *schemaWriter) keys(fields []field, fixed schema) schema {
	properties := schema{}
	var need []string
	var one []any
	for i := range fields {
		f := &fields[i]
		s, ok := fixed[f.key].(schema)
		if !ok {
			s = w.value(f)
		}
		s["description"] = docOf(f.id).text
		if def := f.defaultNode(); def != nil {
			s["default"] = plainValue(def)
		}
		properties[f.key] = s
		if f.need {
			need = append(need, f.key)
		}
		if f.one {
			one = append(one, schema{"required": []string{f.key}})
		}
	}
	s := schema{"type": "object", "properties": properties, "additionalProperties": false}
	if need != nil {
		s["required"] = need
	}
	if one != nil {
		s["oneOf"] = one
	}
	return s
}

// value is the schema of the value of a key.
func (w *schemaWriter) value(f *field) schema {
	t := f.form()
	if o := w.objects.named(t); o != nil {
		var items schema
		if o.value != nil {
			items = w.value(o.value)
		} else {
			items = w.mapping(t.Elem())
		}
		return schema{"type": "object", "propertyNames": refTo(o.name.is.name), "additionalProperties": items}
	}
	if t.Kind() == reflect.Slice {
		return schema{"type": "array", "items": w.value(f.elem())}
	}
	switch {
	case f.is != nil:
		return refTo(f.is.name)
	case f.only != nil:
		return schema{"enum": f.only}
	case t.Kind() == reflect.String:
		return schema{"type": "string"}
	case t.Kind() == reflect.Bool:
		return schema{"type": "boolean"}
	case t.Kind() == reflect.Struct:
		return w.mapping(t)
	case f.least == f.most:
		return schema{"const": f.least}
	}
	return schema{"type": "integer", "minimum": f.least, "maximum": f.most}
}

// plainValue turns a node into what encoding/json writes.
func plainValue(n *node) any {
	switch n.kind {
	case boolean:
		return n.text == "true"
	case number:
		i, _ := strconv.ParseInt(n.text, 10, 64)
		return i
	case text:
		return n.text
	case list:
		items := make([]any, len(n.items))
		for i, item := range n.items {
			items[i] = plainValue(item)
		}
		return items
	}
	m := make(map[string]any, len(n.items))
	for i, k := range n.keys {
		m[k.text] = plainValue(n.items[i])
	}
	return m
}
