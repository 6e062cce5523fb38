// Package kmod resolves names of Linux kernel modules to the files to load, in
// order, as modprobe would; but where a module has several lines of soft
// dependencies, modprobe heeds the first alone. It reads the lists that depmod and the kernel's build
// leave in /lib/modules/VERSION, in the text forms that depmod(8) and
// modules.dep(5) describe; modules themselves it does not read.
//
// In names, '-' and '_' are the same. The lists are bounded by [MaxList], and
// whatever they say, resolving ends: loops are cut where they close.
package kmod

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// MaxList is how many bytes each of the lists may have. Those of a kernel with
// everything in modules have less than 2 MiB.
const MaxList = 8 << 20

const (
	maxModules = 100_000 // in modules.dep, which bounds how deep dependencies go
	maxLookups = 4096    // of names that are in no file name, each in all aliases
)

// Lists are the contents of the files in /lib/modules/VERSION. All but Dep may
// be empty.
type Lists struct {
	Dep            []byte // modules.dep: which files there are, and which they need
	Softdep        []byte // modules.softdep: what they would like before and after them
	Alias          []byte // modules.alias: their other names
	Builtin        []byte // modules.builtin: what the kernel has in itself
	BuiltinModinfo []byte // modules.builtin.modinfo: with the other names of that
}

// Names of the files that [Lists] holds.
const (
	DepFile            = "modules.dep"
	SoftdepFile        = "modules.softdep"
	AliasFile          = "modules.alias"
	BuiltinFile        = "modules.builtin"
	BuiltinModinfoFile = "modules.builtin.modinfo"
)

// Index knows the modules of one kernel.
type Index struct {
	modules map[string]*module
	aliases aliases
	tried   map[string][]string // what aliased has found
}

// Module is one that can be loaded.
type Module struct {
	Name string // as the kernel writes it, without '-'
	File string // relative to the directory of the lists
	// Needs are the names of modules without which it cannot be loaded.
	Needs []string
}

// module is what is known of one. One that is built in has no file.
type module struct {
	name      string
	file      string
	deps      []string // names
	pre, post []string // names or aliases
}

// aliases are other names; those with wildcards are tried one after another.
type aliases struct {
	plain   map[string][]string
	pattern []alias
}

type alias struct{ pattern, name string }

// New makes an index. An error names the list and the line.
func New(l Lists) (*Index, error) {
	x := &Index{modules: map[string]*module{}, aliases: aliases{plain: map[string][]string{}}, tried: map[string][]string{}}
	for _, list := range []struct {
		file string
		text []byte
		sep  byte
		line func(string) error
	}{
		{DepFile, l.Dep, '\n', x.dep},
		{BuiltinFile, l.Builtin, '\n', x.builtin},
		{BuiltinModinfoFile, l.BuiltinModinfo, 0, x.modinfo},
		{AliasFile, l.Alias, '\n', x.alias},
		{SoftdepFile, l.Softdep, '\n', x.softdep},
	} {
		if len(list.text) > MaxList {
			return nil, fmt.Errorf("%s has %d bytes, and %d are the most that is read", list.file, len(list.text), MaxList)
		}
		n := 0
		for line := range bytes.SplitSeq(list.text, []byte{list.sep}) {
			if n++; len(line) == 0 || line[0] == '#' {
				continue
			}
			if err := list.line(string(line)); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", list.file, n, err)
			}
		}
	}
	return x, nil
}

func (x *Index) dep(line string) error {
	file, deps, ok := strings.Cut(line, ":")
	if !ok {
		return fmt.Errorf("no colon behind the name of a file")
	}
	if !fs.ValidPath(file) {
		return fmt.Errorf("%q is not a path below the list's directory", file)
	}
	m := &module{name: Name(file), file: file}
	for _, dep := range strings.Fields(deps) {
		m.deps = append(m.deps, Name(dep))
	}
	if x.modules[m.name] == nil { // as modprobe, which takes the first
		x.modules[m.name] = m
	}
	if len(x.modules) > maxModules {
		return fmt.Errorf("more than %d modules", maxModules)
	}
	return nil
}

func (x *Index) builtin(line string) error {
	name := Name(line)
	if x.modules[name] == nil {
		x.modules[name] = &module{name: name}
	}
	return nil
}

func (x *Index) modinfo(field string) error {
	key, pattern, _ := strings.Cut(field, "=")
	if name, ok := strings.CutSuffix(key, ".alias"); ok {
		x.aliases.add(pattern, Name(name))
	}
	return nil
}

func (x *Index) alias(line string) error {
	if f := strings.Fields(line); len(f) == 3 && f[0] == "alias" { // others are what some driver has in its section
		x.aliases.add(f[1], Name(f[2]))
	}
	return nil
}

func (x *Index) softdep(line string) error {
	f := strings.Fields(line)
	if len(f) < 2 || f[0] != "softdep" {
		return fmt.Errorf("want: softdep MODULE pre: MODULE… post: MODULE…")
	}
	m := x.modules[Name(f[1])]
	if m == nil {
		return nil
	}
	into := new([]string) // words before pre: and post: mean nothing to modprobe either
	for _, word := range f[2:] {
		switch word {
		case "pre:":
			into = &m.pre
		case "post:":
			into = &m.post
		default:
			*into = append(*into, normal(word))
		}
	}
	return nil
}

// Name returns the name of the module that is in a file, such as virtio_pci for
// kernel/drivers/virtio/virtio-pci.ko.xz.
func Name(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return normal(name)
}

// normal writes '_' for '-', except between brackets, where a pattern has ranges.
func normal(name string) string {
	if !strings.Contains(name, "-") {
		return name
	}
	b, in := []byte(name), false
	for i, c := range b {
		switch {
		case c == '[':
			in = true
		case c == ']':
			in = false
		case c == '-' && !in:
			b[i] = '_'
		}
	}
	return string(b)
}

// Has reports whether name names anything: a module, what is built in, or an
// alias of either.
func (x *Index) Has(name string) bool {
	found, err := x.find(normal(name))
	return err == nil && len(found) > 0
}

// Resolve returns the modules that the names name, and all that those need, each
// once and in an order in which they can be loaded. What is built in is left
// out. A name that names nothing is an [UnknownError]; that a module would like
// one which is not there is none.
func (x *Index) Resolve(names ...string) ([]Module, error) {
	r := resolver{x: x, seen: map[*module]bool{}}
	for _, name := range names {
		found, err := x.find(normal(name))
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, &UnknownError{name, x.near(normal(name))}
		}
		for _, m := range found {
			if err := r.add(m); err != nil {
				return nil, err
			}
		}
	}
	return r.modules, nil
}

// find returns what has a name: the module in a file, or else all that have it for
// an alias and what is built in.
func (x *Index) find(name string) ([]*module, error) {
	m := x.modules[name]
	if m != nil && m.file != "" {
		return []*module{m}, nil
	}
	names, err := x.aliased(name)
	if err != nil {
		return nil, err
	}
	var found []*module
	if m != nil {
		found = append(found, m)
	}
	for _, n := range names {
		if m := x.modules[n]; m != nil && !slices.Contains(found, m) {
			found = append(found, m)
		}
	}
	return found, nil
}

// aliased returns the names of what has an alias.
func (x *Index) aliased(alias string) ([]string, error) {
	if names, ok := x.tried[alias]; ok {
		return names, nil
	}
	if len(x.tried) == maxLookups {
		return nil, fmt.Errorf("%s: more than %d names that are not those of files", SoftdepFile, maxLookups)
	}
	names := slices.Clone(x.aliases.plain[alias])
	for _, a := range x.aliases.pattern {
		if match(a.pattern, alias) {
			names = append(names, a.name)
		}
	}
	x.tried[alias] = names
	return names, nil
}

// resolver collects the modules of one call of Resolve.
type resolver struct {
	x       *Index
	seen    map[*module]bool
	modules []Module
}

func (r *resolver) add(m *module) error {
	if r.seen[m] {
		return nil
	}
	r.seen[m] = true
	// The list names what is needed last first.
	for _, dep := range slices.Backward(m.deps) {
		d := r.x.modules[dep]
		if d == nil {
			return fmt.Errorf("%s: module %s needs %s, which is not in the list", DepFile, m.name, dep)
		}
		if err := r.add(d); err != nil {
			return err
		}
	}
	if err := r.soft(m.pre); err != nil {
		return err
	}
	if m.file != "" {
		r.modules = append(r.modules, Module{m.name, m.file, m.deps})
	}
	return r.soft(m.post)
}

func (r *resolver) soft(names []string) error {
	for _, name := range names {
		found, err := r.x.find(name)
		if err != nil {
			return err
		}
		for _, m := range found {
			if err := r.add(m); err != nil {
				return err
			}
		}
	}
	return nil
}
