package rootfstest

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"thaw/rootfs"
)

// everything is what rootfs itself can hold.
var everything = Abilities{
	MaxTarget: rootfs.MaxTarget, MaxMajor: math.MaxUint32, MaxMinor: math.MaxUint32, Fifos: true, HardLinks: true,
	Modes: Held, Owners: Held,
	Times: Held, MinTime: -1 << 40, MaxTime: 1 << 40, Resolution: time.Nanosecond,
	Xattrs: func(rootfs.Entry) bool { return true },
}

// little is what a format of the kind of FAT holds.
var little = Abilities{
	Names:     func(name string) bool { return utf8.ValidString(name) && !strings.ContainsAny(name, "\n:") },
	FoldsCase: true, MaxPath: 1000, MaxFile: 1<<32 - 1,
	Modes: Dropped, Times: Held, MinTime: 315532800, MaxTime: 1<<32 - 1, Resolution: 2 * time.Second,
}

func TestModel(t *testing.T) {
	t.Run("everything", func(t *testing.T) { Test(t, modelFormat(everything, "")) })
	t.Run("little", func(t *testing.T) { Test(t, modelFormat(little, "")) })
	t.Run("nothing", func(t *testing.T) { Test(t, modelFormat(Abilities{Times: Dropped}, "")) })
}

// TestFaults checks that a writer with any one fault fails the test meant for it.
func TestFaults(t *testing.T) {
	treeNamed := func(name string, can Abilities) *tree {
		for _, tree := range trees(short, can) {
			if tree.name == name {
				return tree
			}
		}
		t.Fatalf("no tree %q", name)
		return nil
	}
	holds := func(name string) func(Format, string) error {
		return func(f Format, dir string) error {
			held, _ := treeNamed(name, f.Can).sift(f.Can)
			return testHolds(f, dir, held)
		}
	}
	refuses := func(f Format, dir string) error {
		_, refused := treeNamed("links", f.Can).sift(f.Can)
		return testRefuses(f, dir, refused["target"][0])
	}
	sample, _ := sampleTree().sift(everything)
	chunks := func(f Format, dir string) error {
		a, err := testBytes(f, dir, sample, wholeReader)
		if err != nil {
			return err
		}
		dir = filepath.Join(dir, "second")
		if err := os.Mkdir(dir, 0o777); err != nil {
			return err
		}
		b, err := testBytes(f, dir, sample, chunkings[1].chunk)
		if err == nil && a["/data"] != b["/data"] {
			err = errors.New("different bytes")
		}
		return err
	}
	full := func(f Format, dir string) error { return testFull(f, dir, sample, 1000) }
	faults := func(f Format, dir string) error { return testFaults(f, dir, sample) }
	goroutines := func(f Format, dir string) error {
		return owned(100*time.Millisecond, func() error { return testHolds(f, dir, sample) })
	}
	readError := func(f Format, dir string) error { return testReadError(f, dir, sample) }
	afterClose := func(f Format, dir string) error { return testAfterClose(f, dir, sample) }

	noLinks := everything
	noLinks.MaxTarget = 100
	for _, test := range []struct {
		fault fault
		can   Abilities
		run   func(Format, string) error
	}{
		{"loses setuid", everything, holds("modes")},
		{"loses owners", everything, holds("owners")},
		{"loses times", everything, holds("times")},
		{"loses xattrs", everything, holds("xattrs")},
		{"loses an entry", everything, holds("sizes")},
		{"loses a byte", everything, holds("sizes")},
		{"cuts targets", everything, holds("links")},
		{"cuts names", everything, holds("names")},
		{"copies links", everything, holds("hard links")},
		{"accepts all", noLinks, refuses},
		{"names no path", noLinks, refuses},
		{"names the path twice", noLinks, refuses},
		{"refuses with another error", noLinks, refuses},
		{"writes as it reads", everything, chunks},
		{"swallows read errors", everything, readError},
		{"works on after an error", everything, readError},
		{"closes well after an error", everything, readError},
		{"swallows write errors", everything, full},
		{"blames the entry", everything, full},
		{"swallows write errors", everything, faults},
		{"blames the entry", everything, faults},
		{"works on after an error", everything, faults},
		{"leaves a goroutine", everything, goroutines},
		{"works on after Close", everything, afterClose},
	} {
		t.Run(string(test.fault), func(t *testing.T) {
			if err := test.run(modelFormat(test.can, ""), t.TempDir()); err != nil {
				t.Fatalf("without the fault: %v", err)
			}
			err := test.run(modelFormat(test.can, test.fault), t.TempDir())
			if err == nil {
				t.Fatal("not noticed")
			}
			t.Logf("%.200v", err)
		})
	}
}

func TestWalk(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "sub"), 0o755),
		os.WriteFile(filepath.Join(dir, "sub/\xff"), []byte("hello"), 0o600),
		os.Link(filepath.Join(dir, "sub/\xff"), filepath.Join(dir, "same")),
		os.Symlink("to", filepath.Join(dir, "link")),
		os.Chmod(filepath.Join(dir, "sub"), 0o755|fs.ModeSticky),
		os.Chtimes(filepath.Join(dir, "same"), baseTime, baseTime),
		os.Chtimes(filepath.Join(dir, "sub"), baseTime, baseTime),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	nodes, err := Walk(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range nodes {
		if nodes[i].Path == "." || nodes[i].Path == "link" {
			nodes[i].ModTime = baseTime
		}
	}
	sum, _, _ := Digest(strings.NewReader("hello"))
	file := Node{Entry: rootfs.Entry{Path: "same", Mode: 0o600, Size: 5, ModTime: baseTime}, SHA256: sum, Inode: 1}
	want := []Node{
		{Entry: rootfs.Entry{Path: ".", Mode: fs.ModeDir | nodes[0].Mode.Perm(), ModTime: baseTime}},
		{Entry: rootfs.Entry{Path: "sub", Mode: fs.ModeDir | fs.ModeSticky | 0o755, ModTime: baseTime}},
		{Entry: rootfs.Entry{Path: "link", Mode: fs.ModeSymlink | 0o777, Target: "to", ModTime: baseTime}},
		file, file,
	}
	want[4].Path = "sub/\xff"
	can := everything
	can.Owners = Dropped
	if err := Diff(can, want, nodes); err != nil {
		t.Error(err)
	}
}

// model writes a format that holds what can says: a file of all contents, each
// up to 1 MiB, and at the end a file that lists the entries.
type model struct {
	dir   string
	data  *File
	can   Abilities
	fault fault
	nodes []Node
	err   error
}

// fault is something a writer does wrong.
type fault string

func modelFormat(can Abilities, f fault) Format {
	return Format{
		Create: func(dir string, limit int64) (Writer, error) {
			data, err := OpenFile(filepath.Join(dir, "data"), limit)
			return &model{dir: dir, data: data, can: can, fault: f}, err
		},
		Read: func(dir string) (nodes []Node, err error) {
			list, err := os.ReadFile(filepath.Join(dir, "list"))
			if err != nil {
				return nil, err
			}
			return nodes, gob.NewDecoder(bytes.NewReader(list)).Decode(&nodes)
		},
		Can: can,
	}
}

func (m *model) Add(e rootfs.Entry, data io.Reader) error {
	if m.err != nil && m.fault != "works on after an error" {
		return m.err
	}
	if err := m.add(e, data); err != nil {
		m.err = err
		return err
	}
	return nil
}

func (m *model) add(e rootfs.Entry, data io.Reader) error {
	s := step{entry: e}
	if e.Path == "Case" {
		s.twin = "case"
	}
	if reason := m.can.refuses(s); reason != "" {
		refusal := &rootfs.EntryError{Path: e.Path, Reason: reason}
		switch m.fault {
		case "accepts all":
		case "names no path":
			refusal.Path = "."
			return refusal
		case "names the path twice":
			return fmt.Errorf("%q: %w", e.Path, refusal)
		case "refuses with another error":
			return fs.ErrInvalid
		default:
			return refusal
		}
	}
	n := Node{Entry: e}
	switch m.fault {
	case "loses setuid":
		n.Mode &^= fs.ModeSetuid
	case "loses owners":
		n.UID = 0
	case "loses times":
		n.ModTime = baseTime
	case "loses xattrs":
		n.Xattrs = nil
	case "cuts targets":
		n.Target = n.Target[:min(len(n.Target), 1023)]
	case "cuts names":
		n.Path = n.Path[:min(len(n.Path), 254)]
	case "loses a byte":
		if e.Size == 4096 {
			data = io.MultiReader(io.LimitReader(data, 4095), strings.NewReader("x"), data)
		}
	case "loses an entry":
		if e.Path == "4096" {
			_, err := io.Copy(io.Discard, data)
			return err
		}
	}
	if data != nil {
		if err := m.content(&n, data); err != nil {
			return err
		}
	}
	m.nodes = append(m.nodes, n)
	return nil
}

func (m *model) content(n *Node, data io.Reader) error {
	if m.fault == "writes as it reads" {
		data = io.TeeReader(data, counter{m.data})
	}
	var start bytes.Buffer
	var err error
	n.SHA256, _, err = Digest(io.TeeReader(data, &firstBytes{&start, 1 << 20}))
	if err != nil && m.fault != "swallows read errors" {
		return err
	}
	_, err = m.data.Write(start.Bytes())
	switch {
	case err != nil && m.fault == "swallows write errors":
		return nil
	case err != nil && m.fault == "blames the entry":
		return &rootfs.EntryError{Path: n.Path, Reason: err.Error()}
	}
	return err
}

func (m *model) AddSame(path, earlier string) error {
	if !m.can.HardLinks {
		return errors.ErrUnsupported
	}
	for i, n := range m.nodes {
		if n.Path == earlier {
			if n.Inode == 0 && m.fault != "copies links" {
				n.Inode = uint64(i + 1)
				m.nodes[i] = n
			}
			n.Path = path
			m.nodes = append(m.nodes, n)
			return nil
		}
	}
	return fs.ErrNotExist
}

func (m *model) Close() error {
	err := m.err
	if err == nil {
		var list bytes.Buffer
		err = errors.Join(gob.NewEncoder(&list).Encode(m.nodes), os.WriteFile(filepath.Join(m.dir, "list"), list.Bytes(), 0o666))
		if m.err = fs.ErrClosed; m.fault == "works on after Close" {
			m.err = nil
		}
	}
	switch m.fault {
	case "closes well after an error":
		err = nil
	case "leaves a goroutine":
		go func() { <-make(chan int) }()
	}
	return errors.Join(err, m.data.Close())
}

// firstBytes passes on the first left bytes and drops the others.
type firstBytes struct {
	w    io.Writer
	left int
}

func (f *firstBytes) Write(p []byte) (int, error) {
	n, err := f.w.Write(p[:min(len(p), f.left)])
	f.left -= n
	if err == nil {
		n = len(p)
	}
	return n, err
}

// counter writes how long each write was.
type counter struct{ w io.Writer }

func (c counter) Write(p []byte) (int, error) {
	fmt.Fprintf(c.w, "%d.", len(p))
	return len(p), nil
}
