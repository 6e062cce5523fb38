package resolve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"thaw/storepath"
)

// maxDepth is how deep JSON may be nested.
const maxDepth = 32

// parseJSON reads a text that is one JSON value. Unlike package json it refuses
// keys that come twice, of which it would take the last.
func parseJSON(text []byte, into any) error {
	if n := bytes.Count(text, []byte("{")) + bytes.Count(text, []byte("[")); n > 1000+len(text)/16 {
		return errors.New("has next to nothing in most of its objects") // which take much more memory than text
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := strictJSON(dec, 0); err != nil {
		return jsonError(text, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something follows its JSON value")
	}
	return jsonError(text, json.Unmarshal(text, into))
}

func jsonError(text []byte, err error) error {
	var typ *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &typ):
		where := ""
		if typ.Field != "" {
			where = " in " + clip(typ.Field)
		}
		return fmt.Errorf("a JSON %s stands where something else must be%s", clip(typ.Value), where)
	case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("is cut off after %d bytes", len(text))
	case errors.As(err, &syntax):
		return fmt.Errorf("is not JSON: %s", clip(syntax.Error()))
	}
	return err
}

// strictJSON reads one value.
func strictJSON(dec *json.Decoder, depth int) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	if depth == maxDepth {
		return fmt.Errorf("is nested deeper than %d", maxDepth)
	}
	keys := map[string]bool{}
	for dec.More() {
		if open == '{' {
			t, err := dec.Token()
			if err != nil {
				return err
			}
			key, _ := t.(string) // a decoder gives nothing else here
			if keys[key] {
				return fmt.Errorf("the key %q comes twice", clip(key))
			}
			keys[key] = true
		}
		if err := strictJSON(dec, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token() // the end
	return err
}

// readPathInfo passes on the paths of what nix path-info --json prints. Nix up to
// 2.18, and Lix, print an array of objects with a path; later ones an object by
// path; the newest, asked for it, that object by the last elements of the paths,
// in one with a version. Paths that Nix did not have go to invalid.
func readPathInfo(text []byte, add func(storepath.Path), invalid func(storepath.Path) error) error {
	type info struct {
		Path     *string `json:"path"`
		Valid    *bool   `json:"valid"`
		StoreDir *string `json:"storeDir"`
	}
	note := func(p storepath.Path, i *info) error {
		switch {
		case i == nil || i.Valid != nil && !*i.Valid:
			return invalid(p)
		case i.StoreDir != nil && *i.StoreDir != storepath.Dir:
			return fmt.Errorf("%s is of the store %q, only %s is supported", p, clip(*i.StoreDir), storepath.Dir)
		}
		add(p)
		return nil
	}
	if text = bytes.TrimLeft(text, " \t\r\n"); bytes.HasPrefix(text, []byte("[")) {
		var list []*info
		if err := parseJSON(text, &list); err != nil {
			return err
		}
		for n, i := range list {
			if i == nil || i.Path == nil {
				return fmt.Errorf("entry %d has no path", n+1)
			}
			p, err := storepath.Parse(*i.Path)
			if err == nil {
				err = note(p, i)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	var members map[string]json.RawMessage
	if err := parseJSON(text, &members); err != nil {
		return err
	}
	parse := storepath.Parse
	if members["info"] != nil {
		var outer info
		if err := json.Unmarshal(text, &outer); err != nil {
			return jsonError(text, err)
		}
		if outer.StoreDir != nil && *outer.StoreDir != storepath.Dir {
			return fmt.Errorf("it is of the store %q, only %s is supported", clip(*outer.StoreDir), storepath.Dir)
		}
		inner := members["info"]
		members = nil
		if err := json.Unmarshal(inner, &members); err != nil {
			return jsonError(text, err)
		}
		parse = func(s string) (storepath.Path, error) {
			return storepath.ParseBase(strings.TrimPrefix(s, storepath.Dir+"/"))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(members)) {
		p, err := parse(key)
		if err != nil {
			return err
		}
		var i *info
		if err := json.Unmarshal(members[key], &i); err != nil {
			return jsonError(text, err)
		}
		if err := note(p, i); err != nil {
			return err
		}
	}
	return nil
}
