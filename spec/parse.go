package spec

import (
	"path/filepath"
	"reflect"
	"strings"
)

// Parse reads a spec. The name of the file is for messages, and says where
// relative names in the spec start: at its directory, or for "-" and "" at the
// current one. A name that ends in .json promises JSON; any other file may be
// YAML or JSON. The error is [Errors].
func Parse(filename string, content []byte) (*Spec, error) {
	p := &problems{file: filename, text: string(content)}
	root := readText(p, strings.EqualFold(filepath.Ext(filename), ".json"))
	if root != nil && len(p.errs) == 0 {
		root.twice(p, "")
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	s, err := fromTree(p, root, filepath.Dir(filename))
	if err == nil {
		s.file = filename
	}
	return s, err
}

// fromTree makes a Spec of a tree.
func fromTree(p *problems, root *node, dir string) (*Spec, error) {
	s := &Spec{dir: dir}
	d := &decoder{p, objects{}, map[string]*node{"": root}}
	d.mapping(reflect.ValueOf(s).Elem(), root, "")
	if len(p.errs) == 0 {
		c := &checker{d, s}
		c.check()
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return s, nil
}

// New returns the spec of an image with nothing in it: the defaults. Specs that
// are not read from a file start with it, add to it, and end with
// [Spec.Normalise].
func New() *Spec {
	version := &node{kind: mapping}
	version.put("version", &node{kind: number, text: "1"})
	s, err := fromTree(&problems{}, version, ".")
	if err != nil {
		panic(err) // the defaults are constants
	}
	return s
}

// NewOutput returns an output of that type with its defaults.
func NewOutput(name, typ string) Output {
	out := Output{Name: name}
	made(&out, "type", typ)
	return out
}

// made fills a struct with the defaults of the variant that a key chooses.
func made(v any, key, value string) {
	d := &decoder{&problems{}, objects{}, map[string]*node{}}
	n := &node{kind: mapping}
	n.put(key, &node{kind: text, text: value})
	d.mapping(reflect.ValueOf(v).Elem(), n, "")
}

// Normalise checks a spec that was made in memory as [Parse] checks one that was
// read, and makes it canonical. Errors have no places in a file.
func (s *Spec) Normalise() error {
	e := encoder{objects: objects{}}
	n, err := fromTree(&problems{}, e.mapping(reflect.ValueOf(s).Elem()), s.dir)
	if err == nil {
		n.file = s.file
		*s = *n
	}
	return err
}
