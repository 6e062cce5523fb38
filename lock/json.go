package lock

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"thaw/nixhash"
	"thaw/storepath"
)

// The file is these, with their keys in this order. Hashes are spelled as Nix
// spells them in JSON, SRI.
type (
	fileJSON struct {
		Version int          `json:"version"`
		Digest  string       `json:"digest"` // of the file as Encode writes it, with nothing in this place
		Spec    string       `json:"spec"`
		Arch    string       `json:"arch,omitempty"`
		Roots   []rootJSON   `json:"roots"`
		Paths   []objectJSON `json:"paths"`
	}
	rootJSON struct {
		Path      string   `json:"path,omitempty"`
		Name      string   `json:"name,omitempty"`
		Output    string   `json:"output,omitempty"`
		From      string   `json:"from,omitempty"`
		ClosureOf string   `json:"closure-of,omitempty"`
		File      string   `json:"file,omitempty"`
		Resolved  []string `json:"resolved"`
		How       string   `json:"how,omitempty"`
	}
	objectJSON struct {
		Path       string    `json:"path"`
		NarHash    string    `json:"narHash"`
		NarSize    int64     `json:"narSize"`
		References []string  `json:"references"`
		CA         string    `json:"ca,omitempty"`
		Sigs       []string  `json:"signatures"`
		Deriver    string    `json:"deriver,omitempty"`
		Exempt     string    `json:"exempt,omitempty"`
		Hints      hintsJSON `json:"hints"`
	}
	hintsJSON struct {
		Cache       string `json:"cache"`
		URL         string `json:"url"`
		Compression string `json:"compression"`
		FileHash    string `json:"fileHash,omitempty"`
		FileSize    int64  `json:"fileSize,omitempty"`
	}
)

// Encode returns the text of the lock. [Parse] reads it back equal.
func (f *File) Encode() []byte {
	open := f.open()
	return seal(open, digest(open))
}

// open returns the text without its digest.
func (f *File) open() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(f.raw()); err != nil {
		panic(err) // these types cannot fail
	}
	return b.Bytes()
}

// digest returns the digest for a text without one.
func digest(open []byte) string { return nixhash.Sum256(open).SRI() }

// seal puts a digest into a text without one, which begins with head.
func seal(open []byte, digest string) []byte {
	return slices.Concat(open[:len(head)], []byte(digest), open[len(head):])
}

const head = "{\n  \"version\": 1,\n  \"digest\": \""

func (f *File) raw() *fileJSON {
	raw := &fileJSON{
		Version: Version, Spec: nixhash.Of(nixhash.SHA256, f.Spec[:]).SRI(), Arch: f.Arch,
		Roots: make([]rootJSON, len(f.Roots)), Paths: make([]objectJSON, len(f.Paths)),
	}
	for n, r := range f.Roots {
		raw.Roots[n] = rootJSON{r.Path.String(), r.Name, r.Output, r.From, r.ClosureOf, sri(r.File), texts(r.Resolved), r.How}
	}
	for n, o := range f.Paths {
		h := o.Hints
		raw.Paths[n] = objectJSON{
			o.Path.String(), o.NarHash.SRI(), o.NarSize, texts(o.References), o.CA, append([]string{}, o.Sigs...), o.Deriver.String(), o.Exempt,
			hintsJSON{h.Cache, h.URL, h.Compression, sri(h.FileHash), h.FileSize},
		}
	}
	return raw
}

// sri returns the text of a hash, "" for none.
func sri(h nixhash.Hash) string {
	if h.IsZero() {
		return ""
	}
	return h.SRI()
}

func texts(paths []storepath.Path) []string {
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = p.String()
	}
	return out
}

// Parse reads a lock and holds it to the laws of this package. The name of the
// file is for messages. Errors are of type [*Error].
func Parse(filename string, text []byte) (*File, error) {
	fail := func(line int, err error) (*File, error) { return nil, &Error{File: filename, Line: line, Err: err} }
	if len(text) > MaxSize {
		return fail(0, fmt.Errorf("is longer than %d MiB", MaxSize>>20))
	}
	if bytes.Count(text, []byte("{")) > 1000+len(text)/64 || bytes.Count(text, []byte(`"`)) > 1000+len(text)/4 {
		// Store paths and hashes are longer. What is empty costs next to nothing
		// here, and much in memory.
		return fail(0, errors.New("is no lock: it has next to nothing in most of its objects or texts"))
	}
	if n := bytes.Index(text, []byte("\n<<<<<<< ")); n >= 0 {
		return fail(lineAt(text, n+2), errors.New("this is an unfinished merge"))
	}
	var about struct{ Version int }
	if err := json.Unmarshal(text, &about); err != nil {
		return fail(place(text, err))
	}
	if about.Version != Version {
		return fail(0, fmt.Errorf("has version %d of the format, and this thaw knows version %d", about.Version, Version))
	}
	var raw fileJSON
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&raw); err != nil {
		return fail(place(text, err))
	}
	f, err := raw.file(filename)
	if err == nil {
		err = f.check()
	}
	if err != nil {
		return nil, err
	}
	given, err := nixhash.Parse(raw.Digest)
	if err != nil {
		return nil, f.errorAt("digest", err)
	}
	open := f.open()
	if line := difference(text, seal(open, given.SRI())); line > 0 {
		return fail(line, errors.New("this is not as thaw writes it: a key twice or out of its place, or another spelling"))
	}
	if want := digest(open); given.SRI() != want {
		return fail(0, fmt.Errorf("was changed after thaw wrote it: its digest is %s, that of its content %s", given.SRI(), want))
	}
	return f, nil
}

// file makes a File of what was read.
func (raw *fileJSON) file(name string) (*File, error) {
	f := &File{Arch: raw.Arch, file: name, Roots: make([]Root, len(raw.Roots)), Paths: make([]Object, len(raw.Paths))}
	spec, err := nixhash.Parse(raw.Spec)
	if err == nil && spec.Algo() != nixhash.SHA256 {
		err = errors.New("is not a SHA-256")
	}
	if err != nil {
		return nil, f.errorAt("spec", err)
	}
	copy(f.Spec[:], spec.Digest())
	for n, r := range raw.Roots {
		f.Roots[n] = Root{Name: r.Name, Output: r.Output, From: r.From, ClosureOf: r.ClosureOf, How: r.How}
		d := decoder{}
		f.Roots[n].Path = d.path("path", r.Path)
		f.Roots[n].File = d.hash("file", r.File)
		f.Roots[n].Resolved = d.paths("resolved", r.Resolved)
		if d.err != nil {
			return nil, f.errorAt(fmt.Sprintf("roots[%d]", n), d.err)
		}
	}
	for n, o := range raw.Paths {
		d := decoder{}
		f.Paths[n] = Object{
			Path: d.path("path", o.Path), NarHash: d.hash("narHash", o.NarHash), NarSize: o.NarSize, References: d.paths("references", o.References),
			CA: o.CA, Sigs: o.Sigs, Deriver: d.path("deriver", o.Deriver), Exempt: o.Exempt,
			Hints: Hints{o.Hints.Cache, o.Hints.URL, o.Hints.Compression, d.hash("fileHash", o.Hints.FileHash), o.Hints.FileSize},
		}
		if len(o.Sigs) == 0 {
			f.Paths[n].Sigs = nil
		}
		if d.err != nil {
			where := fmt.Sprintf("paths[%d]", n)
			if p := f.Paths[n].Path; !p.IsZero() {
				where = p.String()
			}
			return nil, f.errorAt(where, d.err)
		}
	}
	return f, nil
}

// decoder keeps the first error. An empty text is the zero value.
type decoder struct{ err error }

func (d *decoder) note(key string, err error) {
	if err != nil && d.err == nil {
		d.err = fmt.Errorf("%s: %w", key, err)
	}
}

func (d *decoder) path(key, s string) storepath.Path {
	if s == "" {
		return storepath.Path{}
	}
	p, err := storepath.Parse(s)
	d.note(key, err)
	return p
}

func (d *decoder) paths(key string, list []string) []storepath.Path {
	if len(list) == 0 {
		return nil
	}
	out := make([]storepath.Path, len(list))
	for i, s := range list {
		var err error
		out[i], err = storepath.Parse(s)
		d.note(key, err)
	}
	return out
}

func (d *decoder) hash(key, s string) nixhash.Hash {
	if s == "" {
		return nixhash.Hash{}
	}
	h, err := nixhash.Parse(s)
	d.note(key, err)
	return h
}

// place returns the line that an error of package json is about, and the error
// in its own words.
func place(text []byte, err error) (line int, why error) {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	why = errors.New(strings.Replace(err.Error(), "json: unknown field", "unknown key", 1))
	switch {
	case errors.As(err, &syntax):
		return lineAt(text, int(syntax.Offset)), fmt.Errorf("this is not JSON: %w", why)
	case errors.As(err, &typ):
		return lineAt(text, int(typ.Offset)), fmt.Errorf("%s must not be a JSON %s", cmp.Or(typ.Field, "the whole"), typ.Value)
	}
	return 0, why
}

// lineAt returns the line of an offset, from 1.
func lineAt(text []byte, offset int) int {
	return 1 + bytes.Count(text[:max(0, min(offset-1, len(text)))], []byte("\n"))
}

// difference returns the line where a JSON text differs from what Encode writes,
// in more than white space; 0 if it does not.
func difference(text, canonical []byte) (line int) {
	line = 1
	rest, quoted, escaped := canonical, false, false
	for _, c := range text {
		if !quoted && isSpace(c) {
			if c == '\n' {
				line++
			}
			continue
		}
		for !quoted && len(rest) > 0 && isSpace(rest[0]) {
			rest = rest[1:]
		}
		if len(rest) == 0 || rest[0] != c {
			return line
		}
		rest = rest[1:]
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		}
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return line
	}
	return 0
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
