// Package narinfo parses narinfo files, what binary caches say of a store
// object, and decides whether to believe them.
//
// A narinfo is hostile until [Open] has accepted it: it must be about the path
// that was asked for, and either carry an ed25519 signature by a trusted key
// or be content-addressed, with a CA field from which the store path itself
// recomputes. [Parse] alone checks the syntax and is for looking at files.
//
// The signature covers the store path, the NAR's hash and size, and the
// references. All else (where the NAR is, how it is compressed, who built it)
// is a hint from the cache and may be wrong without being noticed here.
//
// The format is described by Nix's source, nar-info.cc and path-info.cc.
package narinfo

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"thaw/nixhash"
	"thaw/storepath"
)

// MaxSize is the length limit of a narinfo file in bytes. The longest genuine
// one known has 50 KB.
const MaxSize = 1 << 20

// Info is one narinfo file.
type Info struct {
	// Covered by signatures.
	StorePath  storepath.Path
	NarHash    nixhash.Hash     // SHA-256 of the NAR
	NarSize    int64            // bytes of the NAR, at least 1
	References []storepath.Path // as listed; may include StorePath itself

	// Who says so.
	Sigs []string // KEYNAME:BASE64, as listed, well-formed or not
	CA   string   // how the path follows from its content; "" if it does not

	// Hints from the cache, never trusted.
	URL         string
	Compression string       // lower case as listed; never "": a missing name is "bzip2"
	FileHash    nixhash.Hash // of the compressed file; zero if not given
	FileSize    int64        // bytes of the compressed file; 0 if not given
	Deriver     string       // base name of the .drv; "" if not known
	System      string

	// What Open found; empty after Parse.
	Trust Trust

	// Source says where it was read, as whoever did so names that place.
	Source string
	// Pinned says that it was read there when a lock was made, which has kept it:
	// the hints may be out of date.
	Pinned bool
}

// Trust says why [Open] believed a narinfo.
type Trust struct {
	Keys    []string // names of the trusted keys with a good signature, sorted
	Sigs    []string // the good signatures by these keys, KEYNAME:BASE64 with padding, sorted, each once
	ByCA    bool     // the store path recomputes from the CA field
	Warning string   // something odd that does not matter here, or ""
}

// SyntaxError says what is wrong with the text of a narinfo. Line counts from 1
// and is 0 when the whole file is meant.
type SyntaxError struct {
	Line   int
	Reason string
}

func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return "bad narinfo: " + e.Reason
	}
	return fmt.Sprintf("bad narinfo: line %d: %s", e.Line, e.Reason)
}

// Parse reads the text of a narinfo file and checks its syntax, nothing else.
// Errors are of type [*SyntaxError].
func Parse(text []byte) (*Info, error) {
	if err := sniff(text); err != nil {
		return nil, err
	}
	var (
		info Info
		seen [len(fields)]bool
		rest = string(text)
	)
	for n := 1; rest != ""; n++ {
		line, after, ok := strings.Cut(rest, "\n")
		if !ok {
			return nil, &SyntaxError{n, "the last line does not end: the file is cut off"}
		}
		rest = after
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, &SyntaxError{n, fmt.Sprintf("%q is not KEY: VALUE", clip(line))}
		}
		if value != "" {
			if value[0] != ' ' {
				return nil, &SyntaxError{n, fmt.Sprintf("no blank after %q", clip(key)+":")}
			}
			value = value[1:]
		}
		f := field(key)
		if f < 0 {
			continue
		}
		if seen[f] && f != fieldSig {
			return nil, &SyntaxError{n, key + " comes twice"}
		}
		seen[f] = true
		if err := info.set(f, value); err != nil {
			return nil, &SyntaxError{n, key + ": " + err.Error()}
		}
	}
	for _, f := range [...]int{fieldStorePath, fieldURL, fieldNarHash, fieldNarSize} {
		if !seen[f] {
			return nil, &SyntaxError{0, "there is no " + fields[f]}
		}
	}
	if info.Compression == "" {
		info.Compression = "bzip2"
	}
	return &info, nil
}

// The keys, in the order in which Nix writes them.
const (
	fieldStorePath = iota
	fieldURL
	fieldCompression
	fieldFileHash
	fieldFileSize
	fieldNarHash
	fieldNarSize
	fieldReferences
	fieldDeriver
	fieldSystem
	fieldSig
	fieldCA
)

var fields = [...]string{"StorePath", "URL", "Compression", "FileHash", "FileSize", "NarHash",
	"NarSize", "References", "Deriver", "System", "Sig", "CA"}

func field(key string) int {
	for i, k := range fields {
		if k == key {
			return i
		}
	}
	return -1
}

func (i *Info) set(f int, value string) (err error) {
	switch f {
	case fieldStorePath:
		i.StorePath, err = storepath.Parse(value)
	case fieldURL:
		if i.URL = value; value == "" {
			err = fmt.Errorf("is empty")
		}
	case fieldCompression:
		i.Compression = value
	case fieldFileHash:
		if value != "" {
			i.FileHash, err = nixhash.Parse(value)
		}
	case fieldFileSize:
		if value != "" {
			i.FileSize, err = size(value)
		}
	case fieldNarHash:
		i.NarHash, err = nixhash.Parse(value)
		if err == nil && i.NarHash.Algo() != nixhash.SHA256 {
			err = fmt.Errorf("%s is not a SHA-256", i.NarHash.Algo())
		}
	case fieldNarSize:
		i.NarSize, err = size(value)
		if err == nil && i.NarSize == 0 {
			err = fmt.Errorf("is 0")
		}
	case fieldReferences:
		i.References, err = references(value)
	case fieldDeriver:
		if value != "" && value != "unknown-deriver" {
			_, err = storepath.ParseBase(value)
			i.Deriver = value
		}
	case fieldSystem:
		i.System = value
	case fieldSig:
		i.Sigs = append(i.Sigs, value)
	case fieldCA:
		i.CA = value
	}
	return err
}

func references(value string) ([]storepath.Path, error) {
	if value == "" {
		return nil, nil
	}
	refs := make([]storepath.Path, 0, 1+strings.Count(value, " "))
	seen := make(map[storepath.Path]bool, cap(refs))
	for name := range strings.SplitSeq(value, " ") {
		p, err := storepath.ParseBase(name)
		if err != nil {
			return nil, err
		}
		if seen[p] {
			return nil, fmt.Errorf("%s comes twice", p.Base())
		}
		seen[p] = true
		refs = append(refs, p)
	}
	return refs, nil
}

func size(value string) (int64, error) {
	if value == "" || value[0] < '0' || value[0] > '9' {
		return 0, fmt.Errorf("%q is not a size in bytes", clip(value))
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size in bytes", clip(value))
	}
	return n, nil
}

// sniff refuses bodies that are no narinfo at all, with a word for what they are.
func sniff(text []byte) error {
	start := bytes.TrimLeft(text[:min(len(text), 512)], " \t\r\n\ufeff")
	switch {
	case len(text) > MaxSize:
		return &SyntaxError{0, fmt.Sprintf("more than %d bytes", MaxSize)}
	case len(text) == 0:
		return &SyntaxError{0, "the file is empty"}
	case len(start) > 0 && start[0] == '<':
		return &SyntaxError{0, "this is a web page, not a narinfo"}
	case bytes.HasPrefix(start, []byte("version https://git-lfs")):
		return &SyntaxError{0, "this is a git-lfs pointer; the cache's files were not fetched with git lfs"}
	case bytes.IndexByte(text, 0) >= 0:
		return &SyntaxError{0, "this is not text"}
	}
	return nil
}

// Text returns the file as Nix would write it. [Parse] reads it back equal, but
// for unknown keys, Trust, Source and Pinned.
func (i *Info) Text() []byte {
	var b []byte
	line := func(f int, value string) {
		b = append(append(append(append(b, fields[f]...), ": "...), value...), '\n')
	}
	line(fieldStorePath, i.StorePath.String())
	line(fieldURL, i.URL)
	line(fieldCompression, i.Compression)
	if !i.FileHash.IsZero() {
		line(fieldFileHash, i.FileHash.Base32())
	}
	if i.FileSize != 0 {
		line(fieldFileSize, strconv.FormatInt(i.FileSize, 10))
	}
	line(fieldNarHash, i.NarHash.Base32())
	line(fieldNarSize, strconv.FormatInt(i.NarSize, 10))
	names := make([]string, len(i.References))
	for n, r := range i.References {
		names[n] = r.Base()
	}
	line(fieldReferences, strings.Join(names, " "))
	if i.Deriver != "" {
		line(fieldDeriver, i.Deriver)
	}
	if i.System != "" {
		line(fieldSystem, i.System)
	}
	for _, s := range i.Sigs {
		line(fieldSig, s)
	}
	if i.CA != "" {
		line(fieldCA, i.CA)
	}
	return b
}

func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}
