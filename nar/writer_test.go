package nar_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"thaw/nar"
)

// put is an entry with its contents, which by default are as long as its size.
type put struct {
	nar.Header
	contents string
}

func (p put) header() *nar.Header { return &p.Header }

func fileAt(path, contents string) put {
	return put{nar.Header{Path: path, Size: int64(len(contents))}, contents}
}

func dirAt(path string) put { return put{Header: nar.Header{Path: path, Kind: nar.Directory}} }

func linkAt(path, target string) put {
	return put{Header: nar.Header{Path: path, Kind: nar.Symlink, Target: target}}
}

func write(out io.Writer, puts ...put) error {
	w := nar.NewWriter(out)
	for _, p := range puts {
		if err := w.WriteHeader(&p.Header); err != nil {
			return err
		}
		if _, err := io.WriteString(w, p.contents); err != nil {
			return err
		}
	}
	return w.Close()
}

func TestWriter(t *testing.T) {
	root := dirAt(".")
	long := strings.Repeat("n", nar.MaxName)
	target := strings.Repeat("t", nar.MaxTarget)
	chain := []put{root} // directories up to the depth limit
	for i := 1; i < nar.MaxDepth; i++ {
		chain = append(chain, dirAt(strings.Repeat("d/", i-1)+"d"))
	}
	deepest := chain[len(chain)-1].Path
	chain = chain[:len(chain):len(chain)]

	for _, c := range []struct {
		name   string
		puts   []put
		want   string // the archive
		reason string // or part of the error
	}{
		{"file", []put{fileAt(".", "hello")}, archive(file("hello")), ""},
		{"program", []put{{nar.Header{Path: ".", Kind: nar.Executable, Size: 2}, "#!"}}, archive(program("#!")), ""},
		{"link", []put{linkAt(".", "x")}, archive(link("x")), ""},
		{"empty directory", []put{root}, archive(dir()), ""},
		{"out of directories", []put{root, dirAt("a"), dirAt("a/b"), dirAt("a/b/c"), fileAt("a/b-", "1"), dirAt("a-"), linkAt("a-/x", "y"), fileAt("b", "")},
			archive(dir(
				entry("a", dir(entry("b", dir(entry("c", dir()))), entry("b-", file("1")))),
				entry("a-", dir(entry("x", link("y")))),
				entry("b", file("")))), ""},
		{"longest name and target", []put{root, linkAt(long, target)}, archive(dir(entry(long, link(target)))), ""},
		{"depth limit", chain, archive(nested(63, dir())), ""},

		{"nothing", nil, "", `".": the archive has no entry`},
		{"no root", []put{fileAt("a", "")}, "", `"a": the first entry is not "."`},
		{"zero header", []put{{}}, "", `"": the first entry is not "."`},
		{"root twice", []put{root, root}, "", `".": the name "."`},
		{"beside a file", []put{fileAt(".", ""), fileAt("a", "")}, "", "not an open directory"},
		{"below a file", []put{root, fileAt("a", ""), fileAt("a/b", "")}, "", "not an open directory"},
		{"below a link", []put{root, linkAt("a", "/"), fileAt("a/b", "")}, "", "not an open directory"},
		{"below nothing", []put{root, fileAt("a/b", "")}, "", "not an open directory"},
		{"below a longer name", []put{root, dirAt("ab"), fileAt("a/b", "")}, "", "not an open directory"},
		{"below a shorter name", []put{root, dirAt("a"), fileAt("ab/b", "")}, "", "not an open directory"},
		{"below another name", []put{root, dirAt("a"), fileAt("b/b", "")}, "", "not an open directory"},
		{"below a directory that was left", []put{root, dirAt("a"), fileAt("b", ""), fileAt("a/b", "")}, "", "not an open directory"},
		{"absolute", []put{root, fileAt("/a", "")}, "", "not an open directory"},
		{"dot slash", []put{root, fileAt("./a", "")}, "", "not an open directory"},
		{"two slashes", []put{root, dirAt("a"), fileAt("a//b", "")}, "", "not an open directory"},
		{"slash at the end", []put{root, dirAt("a"), dirAt("a/")}, "", "a name of 0 bytes"},
		{"no name", []put{root, dirAt("")}, "", "a name of 0 bytes"},
		{"dot", []put{root, dirAt("a"), dirAt("a/.")}, "", `the name "."`},
		{"dot dot", []put{root, dirAt("..")}, "", `the name ".."`},
		{"NUL", []put{root, fileAt("a\x00", "")}, "", `'\x00' in the name`},
		{"long name", []put{root, fileAt(long+"n", "")}, "", "a name of 256 bytes"},
		{"not sorted", []put{root, fileAt("b", ""), fileAt("a", "")}, "", `"a" comes after "b"`},
		{"not sorted, out of directories", []put{root, dirAt("b"), dirAt("b/c"), fileAt("a", "")}, "", `"a" comes after "b"`},
		{"signed order", []put{root, fileAt("\xc3", ""), fileAt("a", "")}, "", `"a" comes after "\xc3"`},
		{"twice", []put{root, linkAt("a", "/"), dirAt("a")}, "", `"a" comes twice`},
		{"directory twice", []put{root, dirAt("a"), fileAt("a/b", ""), dirAt("a")}, "", `"a" comes twice`},
		{"file beyond the depth limit", append(chain, fileAt(deepest+"/d", "")), "", "deeper than 64"},
		{"directory beyond the depth limit", append(chain, dirAt(deepest+"/d")), "", "deeper than 64"},

		{"long target", []put{linkAt(".", target+"t")}, "", "a target of 4096 bytes"},
		{"no target", []put{linkAt(".", "")}, "", "a target of 0 bytes"},
		{"NUL in a target", []put{linkAt(".", "a\x00")}, "", "NUL in a target"},
		{"target of a file", []put{{Header: nar.Header{Path: ".", Target: "x"}}}, "", "regular file with a target"},
		{"target of a directory", []put{{Header: nar.Header{Path: ".", Kind: nar.Directory, Target: "x"}}}, "", "directory with a target"},
		{"size of a directory", []put{{Header: nar.Header{Path: ".", Kind: nar.Directory, Size: 4096}}}, "", "directory with a size of 4096"},
		{"size of a link", []put{{Header: nar.Header{Path: ".", Kind: nar.Symlink, Target: "x", Size: 1}}}, "", "symlink with a size of 1"},
		{"negative size", []put{{Header: nar.Header{Path: ".", Size: -1}}}, "", "size of -1"},
		{"no such kind", []put{{Header: nar.Header{Path: ".", Kind: 4}}}, "", "kind 4"},

		{"contents missing", []put{root, {nar.Header{Path: "a", Size: 3}, "xy"}, fileAt("b", "")}, "", `"a": 1 bytes of contents are missing`},
		{"contents missing at the end", []put{{nar.Header{Path: ".", Size: 3}, "xy"}}, "", `".": 1 bytes of contents are missing`},
		{"most contents missing", []put{{nar.Header{Path: ".", Size: math.MaxInt64}, "x"}}, "", "9223372036854775806 bytes of contents are missing"},
		{"too much contents", []put{root, {nar.Header{Path: "a", Size: 1}, "xyz"}}, "", `"a": 2 bytes of contents too many`},
		{"contents of a directory", []put{{root.Header, "x"}}, "", `".": 1 bytes of contents too many`},
		{"contents of a link", []put{{linkAt(".", "x").Header, "x"}}, "", `".": 1 bytes of contents too many`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			err := write(&out, c.puts...)
			var ee *nar.EntryError
			switch {
			case c.reason == "" && err != nil:
				t.Fatal(err)
			case c.reason == "" && out.String() != c.want:
				t.Errorf("got  %q\nwant %q", out.String(), c.want)
			case c.reason != "" && (!errors.As(err, &ee) || !strings.Contains(err.Error(), c.reason)):
				t.Errorf("error %v, want one with %q", err, c.reason)
			}
			if c.reason == "" {
				if err := checkCanonical(t, out.Bytes()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestWriterStickyErrors(t *testing.T) {
	var out bytes.Buffer
	w := nar.NewWriter(&out)
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("contents before the first entry are accepted")
	} else if again := w.WriteHeader(dirAt(".").header()); again != err || w.Close() != err || w.Close() != err {
		t.Errorf("%v, then %v", err, again)
	}
	if out.Len() != 0 {
		t.Errorf("a refused archive has %d bytes", out.Len())
	}

	w = nar.NewWriter(&out)
	if err := w.WriteHeader(dirAt(".").header()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Error(err)
	}
	if out.String() != archive(dir()) {
		t.Errorf("closing twice writes %q", out.String())
	}
	if err := w.WriteHeader(fileAt("a", "").header()); err == nil {
		t.Error("an entry after Close is accepted")
	}
	if _, err := w.Write(nil); err == nil {
		t.Error("contents after Close are accepted")
	}
}

// Wherever the writer under it fails, that is the error.
func TestWriterUnderneathFails(t *testing.T) {
	full := errors.New("disk full")
	big := strings.Repeat("x", 100_000)
	for n := 0; n < 300_000; n += 997 {
		err := write(&limited{n: n, err: full},
			dirAt("."), fileAt("a", big), linkAt("b", "x"), dirAt("c"), fileAt("c/d", big), fileAt("c/e", big))
		if err != full {
			t.Fatalf("full after %d bytes: %v", n, err)
		}
	}
}

func TestWriteInPieces(t *testing.T) {
	data := strings.Repeat("0123456789", 30_001)
	want := archive(dir(entry("a", file(data)), entry("b", file("x"))))
	for _, piece := range []int{1, 7, 4096, 64 << 10, 64<<10 + 1, 1 << 20} {
		var out bytes.Buffer
		w := nar.NewWriter(&out)
		w.WriteHeader(dirAt(".").header())
		w.WriteHeader(&nar.Header{Path: "a", Size: int64(len(data))})
		n, err := io.CopyBuffer(w, struct{ io.Reader }{strings.NewReader(data)}, make([]byte, piece))
		if n != int64(len(data)) || err != nil {
			t.Fatal(n, err)
		}
		w.WriteHeader(fileAt("b", "x").header())
		io.WriteString(w, "x")
		if err := w.Close(); err != nil || out.String() != want {
			t.Errorf("in pieces of %d: %v, %d bytes of %d", piece, err, out.Len(), len(want))
		}
	}
}

func TestWriterAllocations(t *testing.T) {
	const entries = 1000
	hs := make([]nar.Header, entries)
	for i := range hs {
		hs[i] = nar.Header{Path: fmt.Sprintf("%06d", i), Kind: nar.Symlink, Target: "somewhere"}
	}
	root := nar.Header{Path: ".", Kind: nar.Directory}
	got := testing.AllocsPerRun(10, func() {
		w := nar.NewWriter(io.Discard)
		w.WriteHeader(&root)
		for i := range hs {
			w.WriteHeader(&hs[i])
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
	if got > 20 {
		t.Errorf("%v allocations for %d entries", got, entries)
	}
}

// What a Reader gives can be handed on while it is being read.
func TestCopyThroughOneByte(t *testing.T) {
	out, err := reencode(iotest.OneByteReader(strings.NewReader(sample)))
	if err != nil || string(out) != sample {
		t.Errorf("%v, %q", err, out)
	}
}
