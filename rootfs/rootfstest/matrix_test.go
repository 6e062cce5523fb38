package rootfstest

import (
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"strings"
	"testing"

	"thaw/rootfs"
)

// TestGenerate checks that the matrix has what it is for, and that what a format
// cannot hold is not in it.
func TestGenerate(t *testing.T) {
	var most, deepest, links int
	var largest int64
	kinds, names := map[fs.FileMode]int{}, map[byte]bool{}
	for n := range uint64(matrixTrees) {
		tree := generate(n, full, &everything)
		in := map[string]int{}
		for _, s := range tree.steps {
			parent, name := rootfs.Split(s.entry.Path)
			in[parent]++
			most, largest = max(most, in[parent]), max(largest, s.entry.Size)
			deepest = max(deepest, strings.Count(s.entry.Path, "/")+1)
			if kinds[s.entry.Kind()]++; s.same != "" {
				links++
			}
			for _, b := range []byte(name) {
				names[b] = true
			}
		}
		if again := generate(n, full, &everything); !reflect.DeepEqual(again.steps, tree.steps) {
			t.Errorf("tree %d is another the second time", n)
		}
		for _, s := range generate(n, full, &little).steps {
			if reason := little.refuses(s); reason != "" {
				t.Errorf("tree %d has %.100q, refused for its %s", n, s.entry.Path, reason)
			}
		}
	}
	if most < 19_000 || deepest < 100 || largest <= 4<<30 || len(names) != 254 || len(kinds) != 6 || links < 1000 {
		t.Errorf("%d entries in a directory, %d deep, %d bytes, %d bytes in names, %d kinds, %d links", most, deepest, largest, len(names), len(kinds), links)
	}
}

// TestMatrixFaults checks that a writer with any one fault fails with some tree.
func TestMatrixFaults(t *testing.T) {
	for _, test := range []struct {
		fault fault
		can   Abilities
	}{
		{"", everything}, {"", little},
		{"loses setuid", everything}, {"loses owners", everything}, {"loses times", everything}, {"loses xattrs", everything},
		{"cuts targets", everything}, {"cuts names", everything}, {"copies links", everything},
		{"writes as it reads", everything}, {"counts jobs", everything}, {"leaves a goroutine", everything},
	} {
		t.Run(string(test.fault), func(t *testing.T) {
			f := modelFormat(test.can, test.fault)
			m := Matrix{
				Create: func(dir string, _ *Tree, jobs int) (Writer, error) {
					w, err := f.Create(dir, noLimit)
					if test.fault == "counts jobs" {
						fmt.Fprint(w.(*model).data, jobs)
					}
					return w, err
				},
				Judges: []Judge{{Can: test.can, Read: func(dir string, _ *Tree) ([]Node, error) { return f.Read(dir) }}},
				Can:    func(uint64) Abilities { return test.can },
				Jobs:   true,
			}
			noticed := 0
			for n := uint64(4); n < 30; n++ {
				tree := m.tree(n)
				err := owned(0, func() error { _, err := m.judge(t.TempDir(), tree, test.can); return err })
				if err == nil {
					continue
				}
				if noticed++; test.fault == "" {
					t.Errorf("tree %d: %v", n, err)
				}
				break
			}
			if test.fault != "" && noticed == 0 {
				t.Error("not noticed")
			}
		})
	}
}

// TestRaggedReader checks that nothing is lost between reads.
func TestRaggedReader(t *testing.T) {
	want := strings.Repeat("0123456789", 10_000)
	got, err := io.ReadAll(matrixBuilds[1].chunk(strings.NewReader(want)))
	if err != nil || string(got) != want {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
