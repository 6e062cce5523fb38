package rootfstest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"thaw/rootfs"
)

// Matrix is what a test says about the writer whose trees are of chance. Jobs
// may be false; all else is required.
type Matrix struct {
	// Create opens a writer of a new image under dir, an empty directory, for
	// a tree, which chooses the writer's options by its number and what it
	// has. The writer works with that many jobs, of which no byte depends.
	Create func(dir string, t *Tree, jobs int) (Writer, error)
	// Judges read finished images. A tree that none of them can is skipped.
	Judges []Judge
	// Can says what the writer of the tree of a number can hold, which may
	// depend on its options.
	Can  func(number uint64) Abilities
	Jobs bool // Create heeds its jobs
}

// A Judge is a real tool, or a kernel, that reads images.
type Judge struct {
	Name string
	// Can is what the judge tells of what the writer can hold: in modes,
	// owners, times, hard links, and whether it tells of extended attributes.
	Can Abilities
	// Read reads the finished image under dir after checking it, as
	// [Format.Read] does. Where it cannot read a tree like this, it answers
	// [errors.ErrUnsupported].
	Read func(dir string, t *Tree) ([]Node, error)
}

// Tree is one of the matrix. It follows from its number and what a format can
// hold.
type Tree struct {
	Number  uint64
	Entries []rootfs.Entry // a hard link is a file like its first name
	steps   []step
}

// Rand is a source of chance for the writer's options, always the same.
func (t *Tree) Rand() *rand.Rand { return rand.New(rand.NewPCG(t.Number, 1)) }

// Bytes returns the size of all files.
func (t *Tree) Bytes() (sum int64) {
	for _, e := range t.Entries {
		sum += e.Size
	}
	return sum
}

// Inodes returns how many entries are no hard links.
func (t *Tree) Inodes() (n int) {
	for _, s := range t.steps {
		if s.same == "" {
			n++
		}
	}
	return n
}

// matrixTrees is how many trees [TestMatrix] has.
const matrixTrees = 104

// TestMatrix builds trees of chance with options of chance, each several times:
// with 1, 2 and 8 jobs, and with data that is cut into reads in several ways. All
// of that must make the same bytes, and every judge must find in them what was
// added. Under -short it takes every tenth tree. -run 'TestMatrix/7$' runs one.
func TestMatrix(t *testing.T, m Matrix) {
	for n := range uint64(matrixTrees) {
		if testing.Short() && n%10 != 0 {
			continue
		}
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			m.test(t, n)
		})
	}
}

// FuzzMatrix goes on where [TestMatrix] ends.
func FuzzMatrix(f *testing.F, m Matrix) {
	f.Add(uint64(matrixTrees))
	f.Fuzz(func(t *testing.T, n uint64) { m.test(t, n) })
}

// matrixBuilds are the ways in which each tree is built.
var matrixBuilds = []struct {
	jobs  int
	chunk chunker
}{
	{1, wholeReader},
	{2, func(r io.Reader) io.Reader { return &raggedReader{r: r, rnd: rand.New(rand.NewPCG(0, 0))} }},
	{8, func(r io.Reader) io.Reader { return iotest.DataErrReader(r) }},
}

// tree makes the one of a number.
func (m Matrix) tree(n uint64) *Tree {
	can := m.Can(n)
	t := &Tree{Number: n, steps: generate(n, full, &can).steps}
	for _, s := range t.steps {
		t.Entries = append(t.Entries, s.entry)
	}
	return t
}

func (m Matrix) test(t *testing.T, n uint64) {
	tree, judged := m.tree(n), false
	check(t, func(dir string) (err error) { judged, err = m.judge(dir, tree, m.Can(n)); return err })
	if t.Failed() {
		t.Logf("tree %d:\n%s", n, tree)
	} else if !judged {
		t.Skip("SKIPPED: no judge that this system has can read the tree")
	}
}

// judge builds a tree and has it judged, if there is a judge for it.
func (m Matrix) judge(dir string, t *Tree, can Abilities) (judged bool, err error) {
	builds := matrixBuilds
	if !m.Jobs {
		builds = builds[:2]
	}
	var first string
	var want map[string]string
	for _, b := range builds {
		f := Format{Can: can, Create: func(dir string, _ int64) (Writer, error) { return m.Create(dir, t, b.jobs) }}
		sub := filepath.Join(dir, fmt.Sprint(b.jobs))
		if err := os.Mkdir(sub, 0o777); err != nil {
			return false, err
		}
		got, err := testBytes(f, sub, t.steps, b.chunk)
		switch {
		case err != nil:
			return false, err
		case want == nil:
			first, want = sub, got
			continue
		case !maps.Equal(got, want):
			return false, fmt.Errorf("the image's bytes with %d jobs and other reads differ from those with one", b.jobs)
		}
		makeRemovable(sub)
		if err := os.RemoveAll(sub); err != nil {
			return false, err
		}
	}
	nodes := expected(t.steps, can)
	for _, j := range m.Judges {
		got, err := j.Read(first, t)
		if err == errors.ErrUnsupported {
			continue
		}
		if judged = true; err == nil {
			err = Diff(j.Can, j.tells(nodes), got)
		}
		if err != nil {
			return false, fmt.Errorf("%s: %w", j.Name, err)
		}
	}
	return judged, nil
}

// tells leaves away what the judge does not tell.
func (j *Judge) tells(nodes []Node) []Node {
	nodes = slices.Clone(nodes)
	for i := range nodes {
		if !j.Can.HardLinks {
			nodes[i].Inode = 0
		}
		if j.Can.Xattrs == nil {
			nodes[i].Xattrs = nil
		}
	}
	return nodes
}

// String lists the beginning of the tree.
func (t *Tree) String() string {
	var b strings.Builder
	for i, s := range t.steps {
		if i == 40 {
			fmt.Fprintf(&b, "… %d entries\n", len(t.steps))
			break
		}
		e := &s.entry
		fmt.Fprintf(&b, "%v %d:%d %v %d bytes %.100q", e.Mode, e.UID, e.GID, e.ModTime.UTC(), e.Size, e.Path)
		switch {
		case s.same != "":
			fmt.Fprintf(&b, " same as %.100q", s.same)
		case e.Target != "":
			fmt.Fprintf(&b, " -> %.30q (%d bytes)", e.Target, len(e.Target))
		case e.Dev != 0:
			fmt.Fprintf(&b, " device %d,%d", rootfs.Major(e.Dev), rootfs.Minor(e.Dev))
		}
		for _, x := range e.Xattrs {
			fmt.Fprintf(&b, " %.30q (%d bytes)", x.Name, len(x.Value))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// raggedReader reads in pieces of chance.
type raggedReader struct {
	r   io.Reader
	rnd *rand.Rand
}

func (r *raggedReader) Read(p []byte) (int, error) {
	if len(p) > 0 {
		p = p[:1+r.rnd.IntN(min(len(p), 1<<r.rnd.IntN(20)))]
	}
	return r.r.Read(p)
}
