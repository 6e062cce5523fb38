package spec

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// JSON writes a spec as JSON with all that was left out, as [Spec.Explain] writes
// YAML.
func (s *Spec) JSON() []byte {
	e := encoder{objects: objects{}}
	var line, out bytes.Buffer
	writeJSON(&line, e.mapping(reflect.ValueOf(s).Elem()))
	if err := json.Indent(&out, line.Bytes(), "", "  "); err != nil {
		panic(err) // it was written just now
	}
	out.WriteByte('\n')
	return out.Bytes()
}

func writeJSON(b *bytes.Buffer, n *node) {
	separate := func(i int) {
		if i > 0 {
			b.WriteByte(',')
		}
	}
	switch n.kind {
	case list:
		b.WriteByte('[')
		for i, item := range n.items {
			separate(i)
			writeJSON(b, item)
		}
		b.WriteByte(']')
	case mapping:
		b.WriteByte('{')
		for i, k := range n.keys {
			separate(i)
			writeText(b, k.text)
			b.WriteByte(':')
			writeJSON(b, n.items[i])
		}
		b.WriteByte('}')
	case text:
		writeText(b, n.text)
	default:
		b.WriteString(n.text)
	}
}

func writeText(b *bytes.Buffer, s string) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // texts are UTF-8
	}
	b.Truncate(b.Len() - 1) // the newline
}
