package resolve

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"thaw/internal/decompress"
	"thaw/spec"
	"thaw/storepath"
	"thaw/substituter"
)

// Bounds of what is read, in bytes. The list of a channel has 20 MB.
const (
	maxPacked = 64 << 20  // a list as it is served
	maxList   = 256 << 20 // a list
	maxLine   = 4 << 10   // a line of it
	maxJSON   = 64 << 20  // a file that is read as a whole
)

// maxFound is how many paths that fit a query are noted.
const maxFound = 256

// want is a query of a list, and what the list has for it.
type want struct {
	query int
	pattern
	found  []storepath.Path
	more   bool                       // there are others
	absent []Candidate                // what fits, and Nix did not have
	others map[string]map[string]bool // names of outputs, by the name of the path without it
	near   nearest
}

// matcher holds the paths of a list against queries.
type matcher []*want

func (r *run) matcher(queries []int) matcher {
	var m matcher
	for _, i := range queries {
		q := r.queries[i]
		m = append(m, &want{query: i, pattern: newPattern(q.Name, q.Output), others: map[string]map[string]bool{}, near: newNearest(q.Name)})
	}
	return m
}

func (m matcher) add(p storepath.Path) {
	full := p.Name()
	usual := pattern{output: "out"}.split(full)
	derivation := strings.HasSuffix(full, ".drv")
	for _, w := range m {
		if derivation && full != w.name {
			continue // it is no package
		}
		x := usual
		if w.output != "out" {
			x = w.split(full)
		}
		switch {
		case w.matches(x) && len(w.found) < maxFound:
			w.found = append(w.found, p)
		case w.matches(x):
			w.more = true
		case len(w.found) == 0:
			w.near.add(x)
		}
		if w.of(x) && len(w.others) < maxFound {
			if w.others[x.base] == nil {
				w.others[x.base] = map[string]bool{}
			}
			if len(w.others[x.base]) < maxFound {
				w.others[x.base][x.output] = true
			}
		}
	}
}

// invalid notes a path that is listed only to say that it is not there.
func (m matcher) invalid(p storepath.Path) error {
	for _, w := range m {
		if w.matches(w.split(p.Name())) && len(w.absent) < maxFound {
			w.absent = append(w.absent, Candidate{p, "Nix did not have it when the list was made"})
		}
	}
	return nil
}

// outputsOf lists the outputs of a package that a list has.
func (w *want) outputsOf(base string) (names []string) {
	for name := range w.others[base] {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// listed answers queries of a file, or of a channel.
func (r *run) listed(ctx context.Context, from spec.From, queries []int) error {
	m := r.matcher(queries)
	var where string
	var err error
	if from.Kind == spec.FromChannel {
		where, err = r.channel(ctx, from.Place, m.add)
	} else {
		var lock *devboxLock
		if lock, err = r.file(from.Place, m); lock != nil {
			for _, i := range queries {
				r.answers[i], r.errs[i] = lock.find(r.queries[i], from.Place)
			}
			return nil
		}
		where = from.Place
	}
	if err != nil {
		return err
	}
	each(len(m), func(i int) {
		w := m[i]
		r.answers[w.query], r.errs[w.query] = r.choose(ctx, r.queries[w.query], w, where)
	})
	return nil
}

// choose makes an answer of the paths of a list that fit.
func (r *run) choose(ctx context.Context, q Query, w *want, where string) (Answer, error) {
	slices.SortFunc(w.found, func(a, b storepath.Path) int {
		return cmp.Or(strings.Compare(a.Name(), b.Name()), a.Compare(b))
	})
	w.found = slices.Compact(w.found)
	if len(w.found) == 0 {
		e := &NotFoundError{Name: q.asked(), Where: where, Rejected: w.absent}
		bases := make([]string, 0, len(w.others))
		for base := range w.others {
			bases = append(bases, base)
		}
		slices.Sort(bases)
		for _, base := range bases[:min(len(bases), maxNear)] {
			e.Reason = strings.TrimPrefix(e.Reason+", and ", ", and ") + base + " has the outputs " + strings.Join(w.outputsOf(base), ", ")
		}
		if e.Reason == "" && len(e.Rejected) == 0 {
			e.Near = w.near.names()
		}
		return Answer{}, e
	}
	p, evidence, err := r.narrow(ctx, q, w, where)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Path: p, How: where}
	if evidence != "" {
		a.How += "; " + evidence
	}
	x := w.split(p.Name())
	a.Others = slices.DeleteFunc(w.outputsOf(x.base), func(name string) bool { return name == x.output })
	return a, nil
}

// file reads a file of any kind: a devbox.lock is returned, and of all others the
// matcher gets the paths.
func (r *run) file(name string, m matcher) (*devboxLock, error) {
	f, err := r.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	br, done, err := unpack(f)
	if err != nil {
		return nil, at(name, err)
	}
	defer done()
	if !startsJSON(br) {
		return nil, at(name, readLines(br, m.add))
	}
	text, err := io.ReadAll(io.LimitReader(br, maxJSON+1))
	if err == nil && len(text) > maxJSON {
		err = fmt.Errorf("is longer than %d MiB", maxJSON>>20)
	}
	if err != nil {
		return nil, at(name, err)
	}
	if isDevbox(text) {
		lock, err := parseDevbox(text)
		return lock, at(name, err)
	}
	return nil, at(name, readPathInfo(text, m.add, m.invalid))
}

// ReadPaths reads a file that lists store paths: one a line, as closureInfo and
// nix path-info write them, where empty lines and those that start with # do not
// count, or what nix path-info --json printed. The order stays, and what comes
// twice is there once. A path that is marked as not valid is an error.
func ReadPaths(filename string, text []byte) ([]storepath.Path, error) {
	var list []storepath.Path
	seen := map[storepath.Path]bool{}
	add := func(p storepath.Path) {
		if !seen[p] {
			seen[p] = true
			list = append(list, p)
		}
	}
	var err error
	switch br := bufio.NewReader(bytes.NewReader(text)); {
	case !startsJSON(br):
		err = readLines(br, add)
	case isDevbox(text):
		err = errors.New("is a devbox.lock, which does not list all that its packages refer to")
	default:
		err = readPathInfo(text, add, func(p storepath.Path) error {
			return fmt.Errorf("%s is marked as not valid: Nix did not have it", p)
		})
	}
	if err != nil {
		return nil, at(filename, err)
	}
	return list, nil
}

// unpack decompresses what is compressed.
func unpack(r io.Reader) (plain *bufio.Reader, done func() error, err error) {
	br := bufio.NewReaderSize(r, 64<<10)
	head, err := br.Peek(24)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	codec := decompress.Sniff(head)
	if codec == "" || codec == "none" {
		return br, func() error { return nil }, nil
	}
	z, err := decompress.NewReader(codec, br, -1)
	if err != nil {
		return nil, nil, err
	}
	return bufio.NewReaderSize(z, 64<<10), z.Close, nil
}

// startsJSON reports whether an object or array begins here.
func startsJSON(br *bufio.Reader) bool {
	head, _ := br.Peek(64) // an error comes again
	head = bytes.TrimLeft(head, " \t\r\n")
	return len(head) > 0 && (head[0] == '{' || head[0] == '[')
}

// readLines reads store paths, one a line.
func readLines(r io.Reader, add func(storepath.Path)) error {
	var size int64
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, maxLine), maxLine)
	n := 0
	for lines.Scan() {
		n++
		if size += int64(len(lines.Bytes())) + 1; size > maxList {
			return fmt.Errorf("is longer than %d MiB", maxList>>20)
		}
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		p, err := storepath.Parse(line)
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		add(p)
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("line %d: it has more than %d bytes, and is not a store path", n+1, maxLine)
	} else if err != nil {
		return err
	}
	return nil
}

// at says where something went wrong.
func at(place string, err error) error {
	var e *substituter.Error
	var local *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e // it says so
	case errors.As(err, &local):
		return local
	case isURL(place):
		return &substituter.Error{URL: place, Kind: substituter.Integrity, Err: err}
	}
	return fmt.Errorf("%s: %w", place, err)
}

func isURL(place string) bool { return strings.Contains(place, "://") }
