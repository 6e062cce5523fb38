package nar_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"thaw/nar"
)

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.name, func(t *testing.T) {
			err := checkCanonical(t, v.data)
			if (err == nil) != v.accept {
				t.Errorf("error %v, but accept is %v: %s", err, v.accept, v.why)
			}
			_, skipped := walk(bytes.NewReader(v.data))
			if fmt.Sprint(err) != fmt.Sprint(skipped) {
				t.Errorf("error %v when reading contents, %v when skipping them", err, skipped)
			}
			var fe *nar.FormatError
			if err != nil && !errors.As(err, &fe) {
				t.Errorf("%T is no FormatError", err)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	got, err := walk(strings.NewReader(sample))
	if err != nil {
		t.Fatal(err)
	}
	want := []nar.Header{
		{Path: ".", Kind: nar.Directory},
		{Path: "a", Kind: nar.Directory},
		{Path: "b", Kind: nar.Directory},
		{Path: "b/b", Kind: nar.Directory},
		{Path: "b/b/c", Size: 1},
		{Path: "b/x\xff", Kind: nar.Executable, Size: 17},
		{Path: "b-", Kind: nar.Symlink, Target: "../over/there"},
		{Path: "c"},
		{Path: "d", Kind: nar.Executable, Size: 8},
		{Path: "e", Kind: nar.Symlink, Target: "12345678"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for kind, mode := range map[nar.Kind]string{
		nar.Regular: "-r--r--r--", nar.Executable: "-r-xr-xr-x",
		nar.Directory: "dr-xr-xr-x", nar.Symlink: "Lrwxrwxrwx",
		9: "?---------", // no such kind
	} {
		if m := kind.Mode(); m.String() != mode || kind.IsFile() != (m&fs.ModeType == 0) {
			t.Errorf("%v has mode %v, IsFile %v", kind, m, kind.IsFile())
		}
	}
}

func TestGrammar(t *testing.T) {
	long := strings.Repeat("n", nar.MaxName)
	target := strings.Repeat("t", nar.MaxTarget)
	for _, c := range []struct {
		name, data string
		reason     string // part of the error; empty: accepted
	}{
		{"file", archive(file("hello")), ""},
		{"empty file", archive(file("")), ""},
		{"program", archive(program("#!")), ""},
		{"link", archive(link("/x")), ""},
		{"empty directory", archive(dir()), ""},
		{"sample", sample, ""},
		{"file at the depth limit", archive(nested(63, file("x"))), ""},
		{"directory at the depth limit", archive(nested(63, dir())), ""},
		{"many at the depth limit", archive(nested(62, dir(entry("a", link("x")), entry("b", dir()), entry("c", file(""))))), ""},
		{"longest name", archive(dir(entry(long, file("")))), ""},
		{"longest target", archive(link(target)), ""},
		{"names like tags", archive(dir(entry("(", file(")")), entry("entry", dir(entry(")", link("type")))))), ""},
		{"order of names, not of paths", archive(dir(entry("a", dir(entry("z", dir()))), entry("a-", dir()), entry("a.b", dir()))), ""},
		{"hidden names", archive(dir(entry("...", dir()), entry("..b", dir()), entry(".a", dir()))), ""},

		{"empty stream", "", "too early"},
		{"web page", "<!DOCTYPE html><html><head>", `tag of 5789751444030890300 bytes where "nix-archive-1" belongs`},
		{"other version", str("nix-archive-2") + file("x"), `the tag "nix-archive-2" where "nix-archive-1" belongs`},
		{"magic twice", str("nix-archive-1") + archive(file("x")), `the tag "nix-archive-1" where "(" belongs`},
		{"magic with padding", strings.Replace(archive(file("x")), "1\x00", "1\x01", 1), "padding that is not zero"},
		{"length in the high bytes", "\x0d\x00\x00\x00\x01" + archive(file("x"))[5:], "tag of 4294967309 bytes"},
		{"long tag", archive(str("(", strings.Repeat("type", 9)) + file("x")), `a tag of 36 bytes where "type" belongs`},
		{"huge tag", archive(str("(", "type", "regular") + u64(math.MaxUint64) + str("contents", "x", ")", ")")), "tag of 18446744073709551615 bytes"},
		{"other type", archive(str("(", "type", "fifo", "contents", "", ")") + str(")")), `"fifo" where "regular" or "directory" or "symlink" belongs`},
		{"no type", archive(str("(", "contents", "x", ")") + str(")", ")", ")")), `"contents" where "type" belongs`},
		{"type last", archive(str("(", "contents", "x", "type", "regular", ")")), `"contents" where "type" belongs`},
		{"type twice", archive(str("(", "type", "regular", "type", "regular", "contents", "", ")")), `"type" where "contents" or "executable" belongs`},
		{"no contents", archive(str("(", "type", "regular", ")") + str(")", ")", ")")), `")" where "contents"`},
		{"contents twice", archive(str("(", "type", "regular", "contents", "", "contents", "", ")")), `"contents" where ")" belongs`},
		{"executable twice", archive(str("(", "type", "regular", "executable", "", "executable", "", "contents", "", ")")), `starts with "executab" where "contents" belongs`},
		{"executable last", archive(str("(", "type", "regular", "contents", "", "executable", "", ")")), `starts with "executab" where ")" belongs`},
		{"executable with a value", archive(str("(", "type", "regular", "executable", "1", "contents", "", ")")), `"1" where "" belongs`},
		{"executable link", archive(str("(", "type", "symlink", "executable", "", "target", "x", ")")), `"executable" where "target" belongs`},
		{"link without target", archive(str("(", "type", "symlink", ")") + str(")", ")")), `")" where "target" belongs`},
		{"link with two targets", archive(str("(", "type", "symlink", "target", "x", "target", "y", ")")), `"target" where ")" belongs`},
		{"link with contents", archive(str("(", "type", "symlink", "contents", "x", ")")), `"contents" where "target" belongs`},
		{"directory with contents", archive(str("(", "type", "directory", "contents", "x", ")")), `"contents" where "entry" or ")" belongs`},
		{"entry without name", archive(dir(str("entry", "(", "node") + file("x") + str(")"))), `"node" where "name" belongs`},
		{"entry without node", archive(dir(str("entry", "(", "name", "x", ")"))), `")" where "node" belongs`},
		{"entry with two nodes", archive(dir(str("entry", "(", "name", "x", "node") + file("x") + str("node") + file("x") + str(")"))), `"node" where ")" belongs`},
		{"entry with two names", archive(dir(str("entry", "(", "name", "x", "name", "y", "node") + file("x") + str(")"))), `"name" where "node" belongs`},
		{"name after node", archive(dir(str("entry", "(", "node") + file("x") + str("name", "x", ")"))), `"node" where "name" belongs`},
		{"empty entry", archive(dir(str("entry", "(", ")"))), `")" where "name" belongs`},
		{"node without brackets", archive(str("type", "regular", "contents", "x", ")", ")")), `"type" where "(" belongs`},

		{"beyond the depth limit", archive(nested(64, file("x"))), "deeper than 64"},
		{"directory beyond the depth limit", archive(nested(64, dir())), "deeper than 64"},
		{"link beyond the depth limit", archive(nested(64, link("x"))), "deeper than 64"},
		{"far beyond the depth limit", archive(nested(2000, file("x"))), "deeper than 64"},

		{"long name", archive(dir(entry(long+"n", file("")))), "a name of 256 bytes"},
		{"no name", archive(dir(entry("", file("")))), "a name of 0 bytes"},
		{"dot", archive(dir(entry(".", file("")))), `the name "."`},
		{"dot dot", archive(dir(entry("..", dir()))), `the name ".."`},
		{"slash", archive(dir(entry("a/b", file("")))), "'/' in the name"},
		{"only a slash", archive(dir(entry("/", file("")))), "'/' in the name"},
		{"NUL in a name", archive(dir(entry("a\x00", file("")))), `'\x00' in the name`},
		{"huge name", archive(str("(", "type", "directory", "entry", "(", "name") + u64(1<<63) + str("x", "y", "z")), "a name of 9223372036854775808 bytes"},
		{"name with padding", strings.Replace(archive(dir(entry("q", file("")))), "q\x00", "q\x01", 1), "padding that is not zero"},
		{"name twice", archive(dir(entry("a", file("")), entry("a", file("")))), `"a" comes twice`},
		{"name of a left directory twice", archive(dir(entry("a", nested(2, file(""))), entry("a", nested(2, file(""))))), `"a" comes twice`},
		{"link, then a directory of that name", archive(dir(entry("a", link("/")), entry("a", dir(entry("b", file("")))))), `"a" comes twice`},
		{"not sorted", archive(dir(entry("b", file("")), entry("a", file("")))), `"a" comes after "b"`},
		{"not sorted, prefix", archive(dir(entry("ab", file("")), entry("a", file("")))), `"a" comes after "ab"`},
		{"not sorted after a directory", archive(dir(entry("b", nested(3, file(""))), entry("a", file("")))), `"a" comes after "b"`},
		{"not sorted below", archive(dir(entry("x", dir(entry("b", file("")), entry("a", file("")))))), `"a" comes after "b"`},
		{"signed order", archive(dir(entry("\xc3", file("")), entry("a", file("")))), `"a" comes after "\xc3"`},

		{"long target", archive(link(target + "t")), "a target of 4096 bytes"},
		{"no target", archive(link("")), "a target of 0 bytes"},
		{"NUL in a target", archive(link("a\x00b")), "NUL in a target"},
		{"huge target", archive(str("(", "type", "symlink", "target") + u64(1<<40) + str("x", ")", ")")), "a target of 1099511627776 bytes"},
		{"target with padding", strings.Replace(archive(link("q")), "q\x00", "q\x01", 1), "padding that is not zero"},

		{"negative contents", archive(str("(", "type", "regular", "contents") + u64(1<<63) + str("x", ")", ")")), "contents of 9223372036854775808 bytes"},
		{"overflowing contents", archive(str("(", "type", "regular", "contents") + u64(math.MaxUint64-7) + str("x", ")")), "contents of 18446744073709551608 bytes"},
		{"longest contents", archive(str("(", "type", "regular", "contents") + u64(math.MaxInt64) + str("x", ")")), "too early"},
		{"contents with padding", strings.Replace(archive(file("q")), "q\x00", "q\x01", 1), "padding that is not zero"},
		{"contents with padding at the end", strings.Replace(archive(file("q")), "q\x00\x00\x00\x00\x00\x00\x00", "q\x00\x00\x00\x00\x00\x00\x01", 1), "padding that is not zero"},
		{"contents without padding", strings.Replace(archive(file("q")), "q\x00\x00\x00\x00\x00\x00\x00", "q", 1), "padding that is not zero"},

		{"a byte after the root", archive(file("x")) + "\x00", "data after the end"},
		{"eight zeros after the root", sample + u64(0), "data after the end"},
		{"two archives", sample + sample, "data after the end"},
		{"a bracket too many", archive(dir()) + str(")"), "data after the end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := checkCanonical(t, []byte(c.data))
			if c.reason == "" && err != nil || c.reason != "" && (err == nil || !strings.Contains(err.Error(), c.reason)) {
				t.Errorf("error %v, want one with %q", err, c.reason)
			}
			var fe *nar.FormatError
			if err != nil && (!errors.As(err, &fe) || fe.Offset < 0 || fe.Offset > int64(len(c.data))) {
				t.Errorf("%#v is no FormatError with an offset up to %d", err, len(c.data))
			}
			if cut := strings.Contains(c.reason, "too early"); errors.Is(err, io.ErrUnexpectedEOF) != cut {
				t.Errorf("%v is ErrUnexpectedEOF: %v", err, !cut)
			}
			for name, in := range readers(c.data) {
				if _, e := reencode(in); fmt.Sprint(e) != fmt.Sprint(err) {
					t.Errorf("%s: error %v, but %v in one piece", name, e, err)
				}
			}
		})
	}
}

// readers gives data in ways in which a reader may do so.
func readers(data string) map[string]io.Reader {
	return map[string]io.Reader{
		"one byte":            iotest.OneByteReader(strings.NewReader(data)),
		"half":                iotest.HalfReader(strings.NewReader(data)),
		"error with data":     iotest.DataErrReader(strings.NewReader(data)),
		"one byte with error": iotest.OneByteReader(iotest.DataErrReader(strings.NewReader(data))),
	}
}

func TestOffset(t *testing.T) {
	for _, c := range []struct {
		data string
		want int
	}{
		{str("nix-archive-2"), 0},
		{archive(str("(", "type", "fifo") + file("x")), len(archive(str("(", "type")))},
		{archive(str("(", "type", "regular", "executable", "1") + file("x")), len(archive(str("(", "type", "regular", "executable")))},
		{archive(dir(entry("b", file("")), entry("a", file("")))), len(archive(str("(", "type", "directory") + entry("b", file("")) + str("entry", "(", "name")))},
		{strings.Replace(archive(link("q")), "q\x00", "q\x01", 1), len(archive(str("(", "type", "symlink", "target"))) + 9},
		{strings.Replace(archive(file("qrs")), "s\x00", "s\x01", 1), len(archive(str("(", "type", "regular", "contents"))) + 11},
		{sample + "x", len(sample)},
		{sample[:len(sample)-1], len(sample) - 1},
		{archive(str("(", "type", "regular", "contents") + u64(100) + "12345"), len(archive(str("(", "type", "regular", "contents"))) + 13},
	} {
		_, err := walk(strings.NewReader(c.data))
		var fe *nar.FormatError
		if !errors.As(err, &fe) || fe.Offset != int64(c.want) {
			t.Errorf("%q: %v, want offset %d", c.data, err, c.want)
		}
	}
}

// A good archive that stops anywhere is io.ErrUnexpectedEOF; if the stream's
// error is another one, it is that one.
func TestTruncation(t *testing.T) {
	broken := errors.New("stream broken")
	for name, data := range map[string]string{
		"sample": sample, "file": archive(file("contents")), "program": archive(program("hello")),
		"link": archive(link("target")), "directory": archive(dir()),
	} {
		for n := range len(data) {
			for how, in := range readers(data[:n]) {
				_, err := reencode(in)
				var fe *nar.FormatError
				if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.As(err, &fe) || fe.Offset != int64(n) {
					t.Fatalf("%s cut at %d of %d, %s: %v", name, n, len(data), how, err)
				}
			}
			for _, f := range []func(io.Reader) error{
				func(r io.Reader) error { _, err := reencode(r); return err },
				func(r io.Reader) error { _, err := walk(r); return err },
			} {
				if err := f(io.MultiReader(strings.NewReader(data[:n]), iotest.ErrReader(broken))); err != broken {
					t.Fatalf("%s broken at %d of %d: %v", name, n, len(data), err)
				}
				if err := f(&lastWords{data[:n], broken}); err != broken {
					t.Fatalf("%s broken with the last data at %d of %d: %v", name, n, len(data), err)
				}
			}
		}
	}
}

// lastWords gives all it has and its error in one call, and then pretends that
// all is well.
type lastWords struct {
	data string
	err  error
}

func (l *lastWords) Read(p []byte) (int, error) {
	n := copy(p, l.data)
	if l.data = l.data[n:]; l.data != "" {
		return n, nil
	}
	err := l.err
	l.err = io.EOF
	return n, err
}

// A stream that checks a hash tells the result where it would end.
func TestErrorAtTheEnd(t *testing.T) {
	wrong := errors.New("wrong hash")
	for name, in := range map[string]io.Reader{
		"after the data": io.MultiReader(strings.NewReader(sample), iotest.ErrReader(wrong)),
		"with the data":  &lastWords{sample, wrong},
		"one byte":       iotest.OneByteReader(io.MultiReader(strings.NewReader(sample), iotest.ErrReader(wrong))),
	} {
		r := nar.NewReader(in)
		n := 0
		for {
			_, err := r.Next()
			if err == nil {
				n++
				continue
			}
			if err != wrong || n != 10 {
				t.Errorf("%s: %v after %d entries", name, err, n)
			}
			break
		}
		if _, err := r.Next(); err != wrong {
			t.Errorf("%s: then %v", name, err)
		}
	}
	if _, err := walk(io.MultiReader(strings.NewReader(sample), stuck{})); err != io.ErrNoProgress {
		t.Errorf("a stream that never ends: %v", err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestFlippedBits(t *testing.T) {
	accepted := 0
	for i := range len(sample) * 8 {
		b := []byte(sample)
		b[i/8] ^= 1 << (i % 8)
		if checkCanonical(t, b) == nil {
			accepted++
		}
	}
	// Those in contents, targets and some in names.
	if accepted == 0 || accepted > 8*64 {
		t.Errorf("%d of %d flipped bits are accepted", accepted, len(sample)*8)
	}
}

func TestStickyErrors(t *testing.T) {
	r := nar.NewReader(strings.NewReader(archive(dir(entry("b", file("x")), entry("a", file("x"))))))
	var err error
	for err == nil {
		_, err = r.Next()
	}
	_, again := r.Next()
	_, read := r.Read(make([]byte, 1))
	_, written := r.WriteTo(io.Discard)
	if again != err || read != err || written != err {
		t.Errorf("%v, then %v, %v, %v", err, again, read, written)
	}

	r.Reset(strings.NewReader(sample)) // also out of an error
	for n := 0; ; n++ {
		if _, err := r.Next(); err == io.EOF && n == 10 {
			break
		} else if err != nil {
			t.Fatal(n, err)
		}
	}
	_, again = r.Next()
	_, read = r.Read(make([]byte, 1))
	n, written := r.WriteTo(io.Discard)
	if again != io.EOF || read != io.EOF || n != 0 || written != nil {
		t.Errorf("after the end: %v, %v, %d, %v", again, read, n, written)
	}
}

func TestRead(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 20_000) + "tail"
	r := nar.NewReader(strings.NewReader(archive(dir(entry("a", file(big)), entry("b", file(big)), entry("c", file("c"))))))
	if n, err := r.Read(make([]byte, 9)); n != 0 || err != io.EOF {
		t.Errorf("before the first entry: %d, %v", n, err)
	}
	next := func(path string) *nar.Header {
		t.Helper()
		h, err := r.Next()
		if err != nil || h.Path != path {
			t.Fatal(h, err)
		}
		return h
	}
	next(".")
	if n, err := r.Read(make([]byte, 9)); n != 0 || err != io.EOF {
		t.Errorf("of a directory: %d, %v", n, err)
	}
	h := next("a")
	h.Kind, h.Size, h.Path = nar.Directory, 7, "changed by the caller"
	if err := iotest.TestReader(io.MultiReader(r), []byte(big)); err != nil {
		t.Error(err)
	}
	if n, err := r.Read(make([]byte, 9)); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
	next("b")
	p := make([]byte, 100_000)
	if _, err := io.ReadFull(r, p); err != nil || string(p) != big[:len(p)] {
		t.Errorf("the start of the second file: %v", err)
	}
	full := errors.New("disk full")
	w := &limited{n: 100_000, err: full}
	n, err := r.WriteTo(w)
	if n != 100_000 || err != full || string(w.got) != big[100_000:200_000] {
		t.Errorf("to a full disk: %d, %v", n, err)
	}
	w = &limited{n: 50_000}
	n, err = r.WriteTo(w)
	if n != 50_000 || err != io.ErrShortWrite || string(w.got) != big[200_000:250_000] {
		t.Errorf("a short write: %d, %v", n, err)
	}
	if n, err := r.WriteTo(liar{}); n != 0 || err == nil {
		t.Errorf("to a writer that claims too much: %d, %v", n, err)
	}
	var rest strings.Builder
	if n, err := r.WriteTo(&rest); n != int64(len(big))-250_000 || err != nil || rest.String() != big[250_000:] {
		t.Errorf("the rest: %d, %v", n, err)
	}
	next("c")
	if _, err := r.Next(); err != io.EOF {
		t.Error(err)
	}
}

// limited takes n bytes.
type limited struct {
	got []byte
	n   int
	err error
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) <= l.n-len(l.got) {
		l.got = append(l.got, p...)
		return len(p), nil
	}
	n := l.n - len(l.got)
	l.got = append(l.got, p[:n]...)
	return n, l.err
}

// liar claims to take more than it is given.
type liar struct{}

func (liar) Write(p []byte) (int, error) { return len(p) + 1, nil }

// Large reads fill the caller's slice in one call.
func TestReadsGoStraightThrough(t *testing.T) {
	in := &counting{r: strings.NewReader(archive(file(strings.Repeat("x", 10<<20))))}
	r := nar.NewReader(in)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 10<<20)); err != nil {
		t.Fatal(err)
	}
	if in.calls > 3 {
		t.Errorf("10 MiB in %d reads", in.calls)
	}
}

type counting struct {
	r     io.Reader
	calls int
}

func (c *counting) Read(p []byte) (int, error) { c.calls++; return c.r.Read(p) }

// A size of 2^63-1 costs nothing until so much comes.
func TestLongestContents(t *testing.T) {
	const head = 1 << 20
	r := nar.NewReader(io.MultiReader(
		strings.NewReader(archive(str("(", "type", "regular", "contents"))+u64(math.MaxInt64)),
		io.LimitReader(zeros{}, head)))
	h, err := r.Next()
	if err != nil || h.Size != math.MaxInt64 {
		t.Fatal(h, err)
	}
	n, err := r.WriteTo(io.Discard)
	if n != head || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d, %v", n, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestAllocations(t *testing.T) {
	const entries = 1000
	var files, links, dirs []string
	for i := range entries {
		name := fmt.Sprintf("name-%06d", i)
		files = append(files, entry(name, file(name)))
		links = append(links, entry(name, link(name)))
		dirs = append(dirs, entry(name, dir()))
	}
	for _, c := range []struct {
		name string
		data string
		most float64 // an entry
	}{
		{"files", archive(dir(files...)), 1},
		{"directories", archive(dir(dirs...)), 1},
		{"links", archive(dir(links...)), 2},
	} {
		in := strings.NewReader("")
		r := nar.NewReader(in)
		w := nar.NewWriter(io.Discard)
		if err := w.WriteHeader(&nar.Header{Path: ".", Kind: nar.Directory}); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 64)
		got := testing.AllocsPerRun(10, func() {
			in.Reset(c.data)
			r.Reset(in)
			n := -1
			for ; ; n++ {
				if _, err := r.Next(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				if _, err := r.Read(p); err != nil && err != io.EOF {
					t.Fatal(err)
				}
			}
			if n != entries {
				t.Fatalf("%d entries", n)
			}
		})
		if got > c.most*entries+1 {
			t.Errorf("%s: %v allocations for %d entries", c.name, got, entries)
		}
	}
}
