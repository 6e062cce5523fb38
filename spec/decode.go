package spec

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// decoder makes a Spec of a tree.
type decoder struct {
	*problems
	objects objects
	at      map[string]*node // what was decoded, by path
}

// mapping fills the struct v from a mapping.
func (d *decoder) mapping(v reflect.Value, n *node, path string) {
	o := d.objects.of(v.Type())
	short := false
	if n.kind != mapping {
		i := slices.IndexFunc(o.fields, func(f field) bool { return f.short })
		if i < 0 || n.kind == list || n.kind == null {
			d.wrong(n, path, "a mapping (KEY: VALUE)")
			return
		}
		short = true
		value := n
		n = &node{kind: mapping, line: n.line, col: n.col}
		n.put(o.fields[i].key, value)
	}
	fields := d.variant(o, v, n)
	given := map[string]bool{}
	unknown := false
	for i, k := range n.keys {
		if d.enough() {
			return
		}
		j := slices.IndexFunc(fields, func(f field) bool { return f.key == k.text })
		if j < 0 {
			unknown = d.unknown(o, k, path, fields, n) || unknown
			continue
		}
		given[k.text] = true
		at := join(path, k.text)
		if short {
			at = path
		}
		d.field(v, &fields[j], n.items[i], at)
	}
	if !unknown { // which may be a missing one, mistyped
		d.one(n, path, fields, given)
	}
	for i := range fields {
		f := &fields[i]
		switch def := f.defaultNode(); {
		case given[f.key] || f.need && unknown:
		case f.need:
			d.add(n, path, "the key %q is needed", f.key)
		case def != nil:
			d.field(v, f, def, join(path, f.key))
		case f.isObject():
			d.mapping(v.FieldByIndex(f.index), &node{kind: mapping, line: n.line, col: n.col}, join(path, f.key))
		}
	}
}

// variant allocates the variant that a mapping chooses, and returns all keys that
// the mapping may have.
func (d *decoder) variant(o *object, v reflect.Value, n *node) []field {
	if len(o.variants) == 0 {
		return o.fields
	}
	typ := n.get(o.fields[0].key)
	if typ == nil {
		return o.fields
	}
	chosen, ok := o.variant(typ.text)
	if !ok {
		return o.fields
	}
	v.Field(chosen.index).Set(reflect.New(chosen.typ))
	fields := slices.Clone(o.fields)
	for _, f := range d.objects.of(chosen.typ).fields {
		f.index = append([]int{chosen.index}, f.index...)
		fields = append(fields, f)
	}
	return fields
}

// one checks that of the fields that exclude each other one is given.
func (d *decoder) one(n *node, path string, fields []field, given map[string]bool) {
	var keys, found []string
	for _, f := range fields {
		if f.one {
			keys = append(keys, f.key)
			if given[f.key] {
				found = append(found, f.key)
			}
		}
	}
	switch {
	case len(keys) == 0 || len(found) == 1:
	case len(found) == 0:
		d.add(n, path, "one of %s is needed", strings.Join(keys, ", "))
	default:
		d.add(n, path, "%s exclude each other", strings.Join(found, " and "))
	}
}

// unknown reports a key that a mapping does not have, unless that follows from
// another error.
func (d *decoder) unknown(o *object, k *node, path string, fields []field, n *node) bool {
	where := ""
	if path != "" {
		where = " in " + path
	}
	if len(o.variants) > 0 {
		typ := n.get(o.fields[0].key)
		if typ == nil || !slices.Contains(o.fields[0].only, typ.text) {
			for _, v := range o.variants {
				if slices.Contains(names(d.objects.of(v.typ).fields), k.text) {
					return false // the type, which is missing or wrong
				}
			}
		}
	}
	hint := didYouMean(k.text, names(fields))
	if hint == "" {
		hint = d.elsewhere(k.text)
	}
	if hint == "" && len(fields) <= 8 {
		hint = fmt.Sprintf(" (the keys are %s)", strings.Join(names(fields), ", "))
	}
	d.add(k, "", "unknown key %s%s%s", clip(k.text), where, hint)
	return true
}

// elsewhere says where a key would be right.
func (d *decoder) elsewhere(key string) string {
	var found []string
	last := ""
	for _, p := range d.objects.places() {
		switch {
		case !slices.Contains(names(p.fields), key):
			continue
		case p.variant != "" && p.path == last: // several forms of the same mapping
			found[len(found)-1] += ", " + p.variant
			continue
		case p.variant != "":
			found = append(found, fmt.Sprintf("%s with %s %s", p.path, p.object.fields[0].key, p.variant))
		case p.path == "":
			found = append(found, "the whole spec")
		default:
			found = append(found, p.path)
		}
		last = p.path
	}
	if len(found) == 0 || len(found) > 5 {
		return ""
	}
	return fmt.Sprintf(" (it is a key of %s)", strings.Join(found, " and "))
}

// wrong reports a value of another kind than asked for.
func (d *decoder) wrong(n *node, path, want string) {
	if n.kind == null {
		d.add(n, path, "it has no value: give %s, or leave the key out", want)
		return
	}
	d.add(n, path, "this is %s, and %s is needed", n, want)
}

// field decodes the value of a key into its field of the struct v.
func (d *decoder) field(v reflect.Value, f *field, n *node, path string) {
	target := v.FieldByIndex(f.index)
	if target.Kind() == reflect.Pointer {
		target.Set(reflect.New(target.Type().Elem()))
		target = target.Elem()
	}
	d.value(target, f, n, path)
}

func (d *decoder) value(v reflect.Value, f *field, n *node, path string) {
	d.at[path] = n
	if v.Kind() == reflect.Slice {
		d.list(v, f, n, path)
		return
	}
	if f.is != nil || f.only != nil || v.Kind() == reflect.String {
		d.text(v, f, n, path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(v, n, path)
	case reflect.Bool:
		if n.kind != boolean {
			d.wrong(n, path, "true or false")
			return
		}
		v.SetBool(strings.EqualFold(n.text, "true"))
	default:
		d.number(v, f, n, path)
	}
}

// list decodes a list, or a mapping with free names.
func (d *decoder) list(v reflect.Value, f *field, n *node, path string) {
	o := d.objects.named(v.Type())
	switch {
	case o != nil && n.kind != mapping:
		d.wrong(n, path, "a mapping (NAME: …)")
		return
	case o == nil && n.kind != list:
		d.wrong(n, path, "a list ([ … ], or lines that start with -)")
		return
	case len(n.items) == 0:
		v.SetZero()
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
	for i, item := range n.items {
		e := v.Index(i)
		if o == nil {
			d.value(e, f.elem(), item, fmt.Sprintf("%s[%d]", path, i))
			continue
		}
		at := join(path, n.keys[i].text)
		d.text(e.FieldByIndex(o.name.index), o.name, n.keys[i], at)
		d.at[at] = item
		if o.value != nil {
			d.value(e.FieldByIndex(o.value.index), o.value, item, at)
		} else {
			d.mapping(e, item, at)
		}
	}
}

var decimal = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

// number decodes a whole number.
func (d *decoder) number(v reflect.Value, f *field, n *node, path string) {
	if n.kind != number {
		if n.kind == text && decimal.MatchString(n.text) {
			d.add(n, path, "%s is in quotes, and a number is not: write %s", clip(n.text), n.text)
			return
		}
		d.wrong(n, path, "a number")
		return
	}
	i, err := strconv.ParseInt(n.text, 10, 64)
	switch {
	case !decimal.MatchString(n.text):
		d.add(n, path, "%s is not a whole decimal number", n.text)
	case f.least == f.most && (err != nil || i != f.least):
		d.add(n, path, "%s is not known; it is %d", n.text, f.least)
	case err != nil || i < f.least || i > f.most:
		d.add(n, path, "%s is not from %d to %d", n.text, f.least, f.most)
	case v.CanUint():
		v.SetUint(uint64(i))
	default:
		v.SetInt(i)
	}
}

// text decodes a text by its syntax.
func (d *decoder) text(v reflect.Value, f *field, n *node, path string) {
	n.secret = f.is != nil && (f.is.name == "password hash" || (f.is.name == "cache" || f.is.name == "source of names") && strings.Contains(n.text, "@"))
	if n.kind != text {
		if n.kind == boolean || n.kind == number {
			if f.is != nil {
				if _, err := f.is.parse(n.text); err != nil {
					d.add(n, path, "%v", err)
					return
				}
			}
			d.add(n, path, "%s must be in quotes here: \"%s\"", n.text, n.text)
			return
		}
		d.wrong(n, path, "a text")
		return
	}
	if f.only != nil && !slices.Contains(f.only, n.text) {
		if len(f.only) == 1 {
			d.add(n, path, "%s is not supported; %q is", clip(n.text), f.only[0])
		} else {
			hint := didYouMean(n.text, f.only)
			parent := path[:max(0, strings.LastIndexByte(path, '.'))]
			if slices.ContainsFunc(d.objects.places(), func(p place) bool { return p.path == parent && slices.Contains(names(p.fields), n.text) }) {
				hint = " (it is a key beside this one)"
			}
			d.add(n, path, "%s is not one of %s%s", clip(n.text), strings.Join(f.only, ", "), hint)
		}
		return
	}
	if f.is == nil {
		v.SetString(n.text)
		return
	}
	value, err := f.is.parse(n.text)
	if err != nil {
		d.add(n, path, "%v", err)
		return
	}
	v.Set(reflect.ValueOf(value))
}
