package spec

import (
	"fmt"
	"reflect"
	"strconv"
)

// encoder makes a tree of a Spec: all its keys but those that have neither a
// value nor a default.
type encoder struct {
	objects objects
	visit   func(key *node, f *field, isDefault bool) // sees each key; may be nil
}

// mapping turns a struct into a mapping.
func (e *encoder) mapping(v reflect.Value) *node {
	n := &node{kind: mapping}
	o := e.objects.of(v.Type())
	e.fields(n, v, o)
	for _, variant := range o.variants {
		if p := v.Field(variant.index); !p.IsNil() {
			e.fields(n, p.Elem(), e.objects.of(variant.typ))
		}
	}
	return n
}

func (e *encoder) fields(n *node, v reflect.Value, o *object) {
	for i := range o.fields {
		f := &o.fields[i]
		value := v.FieldByIndex(f.index)
		if value.Kind() == reflect.Pointer {
			if value.IsNil() {
				continue
			}
			value = value.Elem()
		} else if f.def == nil && !f.need && value.IsZero() && !f.isObject() {
			continue
		}
		item := e.value(value, f)
		if f.isObject() && len(item.keys) == 0 {
			continue
		}
		n.put(f.key, item)
		if e.visit != nil {
			e.visit(n.keys[len(n.keys)-1], f, f.def != nil && same(item, f.defaultNode()))
		}
	}
}

// value turns the value of a field into a node.
func (e *encoder) value(v reflect.Value, f *field) *node {
	switch {
	case v.Kind() == reflect.Slice:
		n := &node{kind: list}
		o := e.objects.named(v.Type())
		if o != nil {
			n.kind = mapping
		}
		for i := range v.Len() {
			item := v.Index(i)
			switch {
			case o == nil:
				n.items = append(n.items, e.value(item, f.elem()))
			case o.value != nil:
				n.put(item.FieldByIndex(o.name.index).String(), e.value(item.FieldByIndex(o.value.index), o.value))
			default:
				n.put(item.FieldByIndex(o.name.index).String(), e.mapping(item))
			}
		}
		return n
	case f.is != nil || v.Kind() == reflect.String:
		return &node{kind: text, text: fmt.Sprint(v.Interface())}
	case v.Kind() == reflect.Struct:
		return e.mapping(v)
	case v.Kind() == reflect.Bool:
		return &node{kind: boolean, text: strconv.FormatBool(v.Bool())}
	default:
		return &node{kind: number, text: fmt.Sprint(v.Interface())}
	}
}

// same reports whether two trees have the same values in the same order.
func same(a, b *node) bool {
	if a.kind != b.kind || a.text != b.text || len(a.items) != len(b.items) || len(a.keys) != len(b.keys) {
		return false
	}
	for i := range a.keys {
		if a.keys[i].text != b.keys[i].text {
			return false
		}
	}
	for i := range a.items {
		if !same(a.items[i], b.items[i]) {
			return false
		}
	}
	return true
}
