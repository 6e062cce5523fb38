package rootfs_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"thaw/rootfs"
)

// recorder is a Sink that writes down what it gets. It reads as much of a file as
// its size says, and less or more by extra.
type recorder struct {
	got   []string
	extra int64
	fail  error // answered to everything
}

func (r *recorder) Add(e rootfs.Entry, data io.Reader) error {
	if r.fail != nil {
		return r.fail
	}
	line := e.Path
	if data != nil {
		b, err := io.ReadAll(io.LimitReader(data, e.Size+r.extra))
		if err != nil {
			return err
		}
		line += "=" + string(b)
	}
	r.got = append(r.got, line)
	return nil
}

// linker is a recorder with hard links.
type linker struct{ recorder }

func (l *linker) AddSame(path, earlier string) error {
	if l.fail != nil {
		return l.fail
	}
	l.got = append(l.got, path+"->"+earlier)
	return nil
}

// A call is Add of an entry with data, or AddSame.
type call struct {
	entry rootfs.Entry
	data  io.Reader
	same  string
}

func (c call) to(s rootfs.Sink) error {
	if c.same != "" {
		return rootfs.AddSame(s, c.entry.Path, c.same)
	}
	return s.Add(c.entry, c.data)
}

func dir(path string) call {
	return call{entry: rootfs.Entry{Path: path, Mode: fs.ModeDir | 0o755}}
}

func file(path string, size int64, data string) call {
	return call{entry: rootfs.Entry{Path: path, Size: size}, data: strings.NewReader(data)}
}

func link(path string) call {
	return call{entry: rootfs.Entry{Path: path, Mode: fs.ModeSymlink, Target: "x"}}
}

func same(path, earlier string) call {
	return call{entry: rootfs.Entry{Path: path}, same: earlier}
}

func read(path string, size int64, data io.Reader) call {
	return call{entry: rootfs.Entry{Path: path, Size: size}, data: data}
}

var errRead = errors.New("read error")

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name  string
		calls []call // the last one breaks a law, if want is not empty
		want  string
		got   string // by the sink
	}{
		{"nothing", nil, "", ""},
		{"laws kept", []call{dir("."), dir("d"), file("d/f", 2, "ab"), file("e", 0, ""), link("l"), same("d/g", "d/f"), same("h", "d/g"), dir("d/d")},
			"", ". d d/f=ab e= l d/g->d/f h->d/g d/d"},
		{"readers of all kinds", []call{dir("."),
			read("a", 3, iotest.OneByteReader(strings.NewReader("abc"))),
			read("b", 3, iotest.DataErrReader(strings.NewReader("abc"))),
			read("c", 3, iotest.HalfReader(strings.NewReader("abc")))}, "", ". a=abc b=abc c=abc"},

		{"entry not valid", []call{dir("."), dir("..")}, `"..": not a valid path`, "."},
		{"no root", []call{dir("a")}, `"a": comes before its parent "."`, ""},
		{"root later", []call{dir("."), dir("a"), dir(".")}, `".": comes twice`, ". a"},
		{"no parent", []call{dir("."), dir("a/b")}, `"a/b": comes before its parent "a"`, "."},
		{"no grandparent", []call{dir("."), dir("a"), dir("a/b/c")}, `"a/b/c": comes before its parent "a/b"`, ". a"},
		{"below a link", []call{dir("."), link("l"), file("l/f", 0, "")}, `"l/f": its parent "l" is not a directory`, ". l"},
		{"below a file", []call{dir("."), file("f", 0, ""), dir("f/d")}, `"f/d": its parent "f" is not a directory`, ". f="},
		{"below a hard link", []call{dir("."), file("f", 0, ""), same("g", "f"), dir("g/d")}, `"g/d": its parent "g" is not a directory`, ". f= g->f"},
		{"directory twice", []call{dir("."), dir("d"), dir("d")}, `"d": comes twice`, ". d"},
		{"link, then directory", []call{dir("."), link("d"), dir("d")}, `"d": comes twice`, ". d"},
		{"file over a hard link", []call{dir("."), file("f", 0, ""), same("g", "f"), file("g", 0, "")}, `"g": comes twice`, ". f= g->f"},
		{"no data", []call{dir("."), {entry: rootfs.Entry{Path: "f"}}}, `"f": no data follows a regular file`, "."},
		{"data of a directory", []call{dir("."), {entry: dir("d").entry, data: strings.NewReader("")}}, `"d": data follows what is not a regular file`, "."},
		{"short", []call{dir("."), file("f", 3, "ab")}, "unexpected EOF", "."},
		{"long", []call{dir("."), file("f", 3, "abcd")}, `"f": more data follows than its size says`, ". f=abc"},
		{"long and empty", []call{dir("."), file("f", 0, "a")}, `"f": more data follows than its size says`, ". f="},
		{"read error", []call{dir("."), read("f", 3, iotest.ErrReader(errRead))}, "read error", "."},
		{"read error with the last byte", []call{dir("."), read("f", 1, iotest.DataErrReader(io.MultiReader(strings.NewReader("a"), iotest.ErrReader(errRead))))}, "read error", "."},
		{"read error after the end", []call{dir("."), read("f", 1, io.MultiReader(strings.NewReader("a"), iotest.ErrReader(errRead)))}, "read error", ". f=a"},
		{"no end", []call{dir("."), read("f", 0, nothing{})}, "multiple Read calls return no data or error", ". f="},

		{"same of nothing", []call{dir("."), same("g", "f")}, `"g": "f" is no regular file added before`, "."},
		{"same of a directory", []call{dir("."), dir("d"), same("g", "d")}, `"g": "d" is no regular file added before`, ". d"},
		{"same of a link", []call{dir("."), link("l"), same("g", "l")}, `"g": "l" is no regular file added before`, ". l"},
		{"same of itself", []call{dir("."), same("g", "g")}, `"g": "g" is no regular file added before`, "."},
		{"same twice", []call{dir("."), file("f", 0, ""), same("f", "f")}, `"f": comes twice`, ". f="},
		{"same, not valid", []call{dir("."), file("f", 0, ""), same("../g", "f")}, `"../g": not a valid path`, ". f="},
		{"same without parent", []call{dir("."), file("f", 0, ""), same("d/g", "f")}, `"d/g": comes before its parent "d"`, ". f="},
		{"same as the root", []call{same(".", "f")}, `".": "f" is no regular file added before`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var sink linker
			c := rootfs.Check(&sink)
			for i, call := range test.calls {
				err := call.to(c)
				if i < len(test.calls)-1 || test.want == "" {
					if err != nil {
						t.Fatalf("%q: %v", call.entry.Path, err)
					}
					continue
				}
				if err == nil || err.Error() != test.want {
					t.Errorf("error %v, want %s", err, test.want)
				}
				for _, again := range []error{dir("new").to(c), same("other", "f").to(c)} {
					if again != err {
						t.Errorf("after it, %v", again)
					}
				}
			}
			if got := strings.Join(sink.got, " "); got != test.got {
				t.Errorf("the sink got %q, want %q", got, test.got)
			}
		})
	}
}

// nothing is a reader that never ends and never yields.
type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

// TestCheckSink checks what a bad Sink comes to.
func TestCheckSink(t *testing.T) {
	for _, test := range []struct {
		name string
		sink recorder
		data io.Reader
		want string
	}{
		{"reads too little", recorder{extra: -1}, strings.NewReader("abc"), `"f": the writer left 1 of 3 bytes unread`},
		{"reads too much", recorder{extra: 5}, strings.NewReader("abc"), ""},
		{"its own error", recorder{fail: io.ErrShortWrite}, strings.NewReader("abc"), "short write"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := rootfs.Check(&test.sink)
			if err := dir(".").to(c); err != nil && test.sink.fail == nil {
				t.Fatal(err)
			}
			err := read("f", 3, test.data).to(c)
			if got := fmt.Sprint(err); got != test.want && !(err == nil && test.want == "") {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
	c := rootfs.Check(ignorer{})
	if err := errors.Join(dir(".").to(c), read("f", 3, iotest.ErrReader(errRead)).to(c)); !errors.Is(err, errRead) {
		t.Errorf("a sink ignored a read error, and so did Check: %v", err)
	}
}

// ignorer is a Sink that ignores errors of data.
type ignorer struct{}

func (ignorer) Add(_ rootfs.Entry, data io.Reader) error {
	if data != nil {
		io.Copy(io.Discard, data)
	}
	return nil
}

// TestUnsupported checks that a Sink without hard links can go on: the same path
// is then added in full.
func TestUnsupported(t *testing.T) {
	var sink recorder
	c := rootfs.Check(&sink)
	if err := errors.Join(dir(".").to(c), file("f", 1, "a").to(c)); err != nil {
		t.Fatal(err)
	}
	if err := same("g", "f").to(c); err != errors.ErrUnsupported {
		t.Fatalf("AddSame: %v", err)
	}
	if err := errors.Join(file("g", 1, "a").to(c), dir("d").to(c)); err != nil {
		t.Fatal(err)
	}
	if want := []string{".", "f=a", "g=a", "d"}; !slices.Equal(sink.got, want) {
		t.Errorf("got %q", sink.got)
	}

	failing := linker{recorder{fail: io.ErrShortWrite}}
	if err := rootfs.AddSame(&failing, "g", "f"); err != io.ErrShortWrite {
		t.Errorf("AddSame: %v", err)
	}
}

func BenchmarkCheck(b *testing.B) {
	c := rootfs.Check(ignorer{})
	if err := dir(".").to(c); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := dir(fmt.Sprintf("directory%d", i)).to(c); err != nil {
			b.Fatal(err)
		}
	}
}
