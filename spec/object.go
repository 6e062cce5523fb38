package spec

import (
	"reflect"
	"strconv"
	"strings"
)

// object is what the tags of a struct say: the keys of a mapping.
type object struct {
	fields   []field
	variants []variant
	name     *field // of the entries of a mapping with free names: the name, "*"
	value    *field // and, if they are no mappings, the value, "="
}

// field is a key of a mapping.
type field struct {
	id          string // STRUCT.KEY, its name in the table of docs
	key         string
	typ         reflect.Type
	index       []int
	is          *syntax // of texts
	only        []string
	least, most int64 // of numbers
	def         *string
	unset       string
	short       bool
	need        bool
	one         bool
	quiet       bool // not in the digest
}

// variant is the struct with the keys for one type of output.
type variant struct {
	name  string
	typ   reflect.Type
	index int
}

// objects describes structs, each once.
type objects map[reflect.Type]*object

func (os objects) of(t reflect.Type) *object {
	o := os[t]
	if o == nil {
		o = &object{}
		o.read(t, nil)
		os[t] = o
	}
	return o
}

// read adds the fields of a struct, which lies in another one at index.
func (o *object) read(t reflect.Type, index []int) {
	for i := range t.NumField() {
		sf := t.Field(i)
		tag := sf.Tag
		if name, ok := tag.Lookup("variant"); ok {
			o.variants = append(o.variants, variant{name, sf.Type.Elem(), i})
			continue
		}
		key, short := strings.CutSuffix(tag.Get("key"), ",short")
		at := append(index[:len(index):len(index)], i)
		if key == "+" {
			o.read(sf.Type, at)
			continue
		}
		if key == "" {
			continue
		}
		f := field{
			id: t.Name() + "." + key, key: key, typ: sf.Type, index: at, short: short,
			is: syntaxOf(tag.Get("is")), unset: tag.Get("unset"),
			need: tag.Get("need") != "", one: tag.Get("one") != "", quiet: tag.Get("digest") == "no",
		}
		if only, ok := tag.Lookup("only"); ok {
			f.only = strings.Fields(only)
		}
		if least, most, ok := strings.Cut(tag.Get("range"), " "); ok {
			f.least, _ = strconv.ParseInt(least, 10, 64)
			f.most, _ = strconv.ParseInt(most, 10, 64)
		}
		if def, ok := tag.Lookup("default"); ok {
			f.def = &def
		}
		switch key {
		case "*":
			o.name = &f
		case "=":
			o.value = &f
		default:
			o.fields = append(o.fields, f)
		}
	}
}

// keysOf returns all keys of a mapping: those of o and of the variant, if there is
// one for the type that the mapping names.
func (os objects) keysOf(o *object, variantType reflect.Type) []field {
	if variantType == nil {
		return o.fields
	}
	return append(o.fields[:len(o.fields):len(o.fields)], os.of(variantType).fields...)
}

// names returns the keys of fields.
func names(fields []field) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.key
	}
	return out
}

// form is what a field holds, behind pointers.
func (f *field) form() reflect.Type {
	if f.typ.Kind() == reflect.Pointer {
		return f.typ.Elem()
	}
	return f.typ
}

// isObject reports whether a field is a mapping that is always there.
func (f *field) isObject() bool { return f.typ.Kind() == reflect.Struct && f.is == nil }

// named returns the description of the entries of a mapping with free names, if
// the lists of type t are written as such.
func (os objects) named(t reflect.Type) *object {
	if t.Kind() != reflect.Slice || t.Elem().Kind() != reflect.Struct {
		return nil
	}
	if o := os.of(t.Elem()); o.name != nil {
		return o
	}
	return nil
}

// elem is the field of an item of a list.
func (f *field) elem() *field {
	e := *f
	e.typ, e.def = f.typ.Elem(), nil
	return &e
}

// defaultNode is the value of a field that is left out, nil if it has none.
func (f *field) defaultNode() *node {
	switch {
	case f.def == nil:
		return nil
	case f.typ.Kind() == reflect.Slice:
		n := &node{kind: list}
		for s := range strings.FieldsSeq(*f.def) {
			n.items = append(n.items, &node{kind: text, text: s})
		}
		return n
	case f.typ.Kind() == reflect.Bool:
		return &node{kind: boolean, text: *f.def}
	case f.is == nil && f.only == nil && f.typ.Kind() != reflect.String:
		return &node{kind: number, text: *f.def}
	}
	return &node{kind: text, text: *f.def}
}

// place is a mapping in a spec, with the path that documentation gives it.
type place struct {
	path    string // such as rootfs.files[] or outputs.NAME
	variant string
	object  *object
	fields  []field
}

// places returns all mappings with fixed keys, from the whole spec inwards.
func (os objects) places() []place {
	var out []place
	seen := map[string]bool{} // several variants have the same keys
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		if seen[path] {
			return
		}
		seen[path] = true
		o := os.of(t)
		from := len(out)
		if len(o.variants) == 0 {
			out = append(out, place{path, "", o, o.fields})
		}
		for _, v := range o.variants {
			out = append(out, place{path, v.name, o, os.keysOf(o, v.typ)})
		}
		if len(o.variants) > 0 {
			for _, name := range o.fields[0].only {
				if _, ok := o.variant(name); !ok {
					out = append(out, place{path, name, o, o.fields})
				}
			}
		}
		for _, p := range out[from:] {
			for i := range p.fields {
				f := &p.fields[i]
				t, below := f.form(), join(path, f.key)
				if os.named(t) != nil {
					t, below = t.Elem(), below+".NAME"
				} else if t.Kind() == reflect.Slice {
					t, below = t.Elem(), below+"[]"
				}
				if t.Kind() == reflect.Struct && f.is == nil && os.of(t).value == nil {
					walk(t, below)
				}
			}
		}
	}
	walk(reflect.TypeFor[Spec](), "")
	return out
}

// variant returns the variant of that name.
func (o *object) variant(name string) (v variant, ok bool) {
	for _, v := range o.variants {
		if v.name == name {
			return v, true
		}
	}
	return v, false
}
