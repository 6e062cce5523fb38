package nar_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thaw/nar"
)

// str encodes strings as an archive does, without the help of the package.
func str(ss ...string) string {
	var b []byte
	for _, s := range ss {
		b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
		for len(b)%8 != 0 {
			b = append(b, 0)
		}
	}
	return string(b)
}

func u64(n uint64) string { return string(binary.LittleEndian.AppendUint64(nil, n)) }

func archive(node string) string { return str("nix-archive-1") + node }

func file(contents string) string { return str("(", "type", "regular", "contents", contents, ")") }

func program(contents string) string {
	return str("(", "type", "regular", "executable", "", "contents", contents, ")")
}

func link(target string) string { return str("(", "type", "symlink", "target", target, ")") }

func dir(entries ...string) string {
	return str("(", "type", "directory") + strings.Join(entries, "") + str(")")
}

func entry(name, node string) string {
	return str("entry", "(", "name", name, "node") + node + str(")")
}

// nested returns a node within n directories.
func nested(n int, node string) string {
	for range n {
		node = dir(entry("d", node))
	}
	return node
}

// sample has every construct of the grammar, with contents of every padding.
var sample = archive(dir(
	entry("a", dir()),
	entry("b", dir(entry("b", dir(entry("c", file("x")))), entry("x\xff", program("seventeen bytes!!")))),
	entry("b-", link("../over/there")),
	entry("c", file("")),
	entry("d", program("12345678")),
	entry("e", link("12345678")),
))

// writeError is an error of the Writer about what a Reader gave, which must not
// be.
type writeError struct{ error }

// reencode writes what it reads again, contents by Read and WriteTo by turns.
func reencode(in io.Reader) ([]byte, error) {
	var out bytes.Buffer
	r, w := nar.NewReader(in), nar.NewWriter(&out)
	for i := 0; ; i++ {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, writeError{err}
		}
		var n int64
		if i%2 == 0 {
			n, err = r.WriteTo(w)
		} else {
			n, err = io.Copy(w, struct{ io.Reader }{r})
		}
		if err != nil {
			return nil, err
		}
		if n != h.Size {
			return nil, writeError{fmt.Errorf("%q: read %d bytes of %d", h.Path, n, h.Size)}
		}
	}
	if err := w.Close(); err != nil {
		return nil, writeError{err}
	}
	return out.Bytes(), nil
}

// walk reads an archive and skips all contents.
func walk(in io.Reader) (hs []nar.Header, err error) {
	r := nar.NewReader(in)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return hs, nil
		}
		if err != nil {
			return hs, err
		}
		hs = append(hs, *h)
	}
}

// checkCanonical demands of an archive that was accepted that it comes out as
// it went in.
func checkCanonical(t *testing.T, in []byte) error {
	t.Helper()
	out, err := reencode(bytes.NewReader(in))
	if we, ok := err.(writeError); ok {
		t.Fatalf("the Reader accepts what the Writer refuses: %v", we.error)
	}
	if err == nil && !bytes.Equal(in, out) {
		t.Fatalf("accepted, but written differently:\n%q\n%q", in, out)
	}
	return err
}

type vector struct {
	name   string
	data   []byte
	accept bool
	why    string
}

func vectors(t testing.TB) []vector {
	t.Helper()
	const folder = "../testdata/vectors/nar"
	table, err := os.ReadFile(filepath.Join(folder, "VERDICTS.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	var vs []vector
	for _, line := range strings.Split(strings.TrimSpace(string(table)), "\n")[1:] {
		f := strings.Split(line, "\t")
		if len(f) != 3 || f[1] != "accept" && f[1] != "reject" {
			t.Fatalf("VERDICTS.tsv: %q", line)
		}
		data, err := os.ReadFile(filepath.Join(folder, f[0]))
		if err != nil {
			t.Fatal(err)
		}
		listed[f[0]] = true
		vs = append(vs, vector{f[0], data, f[1] == "accept", f[2]})
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.nar"))
	if err != nil || len(files) != len(vs) {
		t.Fatalf("%d verdicts over %d files (%v)", len(vs), len(files), err)
	}
	for _, f := range files {
		if !listed[filepath.Base(f)] {
			t.Fatalf("%s has no verdict", f)
		}
	}
	return vs
}
