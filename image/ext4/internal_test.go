package ext4

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thaw/internal/testbed"
)

// TestNameHash compares hashes with those that debugfs computes.
func TestNameHash(t *testing.T) {
	names := []string{"a", "ab", "abc", "abcd", "lost+found", "file-with-a-name"}
	for n := 1; n <= 255; n += 1 + n/16 {
		names = append(names, strings.Repeat("x", n), strings.Repeat("nAme", 64)[:n])
	}
	image := filepath.Join(t.TempDir(), "image")
	testbed.Run(t, "mkfs.ext4", "-q", image, "1M")
	for seed, text := range map[[16]byte]string{
		{}: "00000000-0000-0000-0000-000000000000",
		{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}: "01020304-0506-0708-090a-0b0c0d0e0f10",
	} {
		h := newNameHash(seed)
		var script strings.Builder
		for _, name := range names {
			fmt.Fprintf(&script, "dx_hash -h half_md4 -s %s %s\n", text, name)
		}
		path := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(path, []byte(script.String()), 0o666); err != nil {
			t.Fatal(err)
		}
		out := string(testbed.Run(t, "debugfs", "-f", path, image))
		for _, name := range names {
			if want := fmt.Sprintf("Hash of %s is 0x%x ", name, h.of(name)); !strings.Contains(out, want) {
				t.Errorf("the hash of %q is %#x", name, h.of(name))
			}
		}
		// A byte of more than 7 bits, unsigned.
		if h.of("\x80") == h.of("\x7f") {
			t.Error("bytes are not told apart")
		}
	}
}

var geometries = []geometry{{10}, {11}, {12}}

// blockMap holds the blocks that are written.
type blockMap struct {
	geometry
	blocks map[int64][]byte
}

func (m blockMap) WriteAt(p []byte, off int64) (int, error) {
	for i := int64(0); i < int64(len(p)); i += m.block() {
		m.blocks[(off+i)/m.block()] = append([]byte(nil), p[i:i+m.block()]...)
	}
	return len(p), nil
}

// walkTree returns the extents below a node, and checks its depth and checksum.
func walkTree(t *testing.T, m blockMap, node []byte, depth int, seed uint32) (all []extent) {
	t.Helper()
	if le.Uint16(node) != extentMagic || int(le.Uint16(node[6:])) != depth {
		t.Fatalf("at depth %d: %x", depth, node[:12])
	}
	entries := int(le.Uint16(node[2:]))
	if len(node) == int(m.block()) {
		most := map[uint]int{10: 84, 11: 169, 12: 340}[m.shift]
		end := 12 + 12*most
		if entries == 0 || entries > most || le.Uint32(node[end:]) != crc32c(seed, node[:end]) {
			t.Fatalf("a node of %d entries, or a wrong checksum", entries)
		}
	}
	for i := range entries {
		p := node[12+12*i:]
		if depth == 0 {
			all = append(all, extent{le.Uint32(p), le.Uint32(p[8:]), uint32(le.Uint16(p[4:]))})
			continue
		}
		below := walkTree(t, m, m.blocks[int64(le.Uint32(p[4:]))], depth-1, seed)
		if below[0].logical != le.Uint32(p) {
			t.Fatalf("an entry says %d, its node begins at %d", le.Uint32(p), below[0].logical)
		}
		all = append(all, below...)
	}
	return all
}

// TestExtentTree builds trees of up to four levels, which take more data than
// tests write.
func TestExtentTree(t *testing.T) {
	for _, g := range geometries {
		n := g.nodeEntries()
		for _, test := range []struct {
			extents, depth int
		}{
			{0, 0}, {1, 0}, {4, 0}, {5, 1}, {n, 1}, {4 * n, 1}, {4*n + 1, 2}, {4 * n * n, 2}, {4*n*n + 1, 3},
		} {
			m := blockMap{g, map[int64][]byte{}}
			out := newBlockWriter(m, newCursor(g, 129), 1<<31)
			tree := extentTree{out: &out, seed: 5}
			tree.reset(12)
			var want []extent
			for i := range test.extents {
				e := extent{uint32(3 * i), uint32(out.alloc()), 1}
				tree.add(e.logical, int64(e.block))
				if i%2 == 0 && i%n != 1 && out.place.next != out.place.front {
					tree.add(e.logical+1, out.alloc())
					e.blocks++
				}
				want = append(want, e)
			}
			root := tree.finish()
			out.flush()
			if out.err != nil {
				t.Fatal(out.err)
			}
			got := walkTree(t, m, root[:], test.depth, inodeSeed(5, 12))
			if len(got) != len(want) || int(tree.nodes) != len(m.blocks) || int64(tree.nodes) != g.treeNodes(len(want)) {
				t.Fatalf("%d extents in %d blocks, not %d in %d", len(got), len(m.blocks), len(want), tree.nodes)
			}
			for i := range got {
				if got[i] != want[i] {
					t.Fatalf("of %d, extent %d is %v, not %v", test.extents, i, got[i], want[i])
				}
			}
		}
	}
}

func TestLongExtents(t *testing.T) {
	m := blockMap{geometry{12}, nil}
	out := newBlockWriter(m, newCursor(m.geometry, 129), 1<<31)
	tree := extentTree{out: &out}
	for i := range uint32(2*maxExtent + 5) {
		tree.add(i, 1000+int64(i))
	}
	root := tree.finish()
	got := walkTree(t, m, root[:], 0, 0)
	want := []extent{{0, 1000, maxExtent}, {maxExtent, 1000 + maxExtent, maxExtent}, {2 * maxExtent, 1000 + 2*maxExtent, 5}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v and not %v", got, want)
	}
}

func TestHasCopy(t *testing.T) {
	want := map[int64]bool{0: true, 1: true, 3: true, 5: true, 7: true, 9: true, 25: true, 27: true, 49: true, 81: true, 125: true, 243: true, 343: true, 625: true, 729: true}
	for g := range int64(1000) {
		if hasCopy(g) != want[g] {
			t.Errorf("group %d: %v", g, hasCopy(g))
		}
	}
}

// TestHashCollisions has names of which several fall on one hash, over the end
// of a leaf: the index must say that they go on.
func TestHashCollisions(t *testing.T) {
	d := &dir{}
	for i := range 100 {
		d.entries.Add(strings.Repeat("n", 200), uint32(i))
	}
	tree, ok := newHashTree(geometry{12}, d, newNameHash([16]byte{})) // all alike
	if !ok || len(tree.leaves) < 2 {
		t.Fatal("no second leaf")
	}
	for i, e := range tree.leaves {
		if odd := e.hash&1 == 1; odd != (i > 0) {
			t.Errorf("leaf %d begins at %#x", i, e.hash)
		}
	}
}

func TestIndexNodes(t *testing.T) {
	for _, test := range []struct {
		shift         uint
		leaves, nodes int
		ok            bool
	}{
		{12, 2, 0, true}, {12, 507, 0, true}, {12, 508, 1, true}, {12, 510, 1, true}, {12, 511, 2, true}, {12, 507 * 510, 507, true}, {12, 507*510 + 1, 508, false},
		{11, 251, 0, true}, {11, 252, 1, true}, {11, 251 * 254, 251, true}, {11, 251*254 + 1, 252, false},
		{10, 123, 0, true}, {10, 124, 1, true}, {10, 123 * 126, 123, true}, {10, 123*126 + 1, 124, false},
	} {
		if nodes, ok := (geometry{test.shift}).indexNodes(test.leaves); nodes != test.nodes || ok != test.ok {
			t.Errorf("%d leaves take %d nodes, %v", test.leaves, nodes, ok)
		}
	}
}

// TestAutoJournal compares the sizes of journals with those that mke2fs chooses.
func TestAutoJournal(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	for _, blocks := range []int64{32 << 10, 256 << 10, 512 << 10, 4 << 20, 8 << 20, 16 << 20, 32 << 20} {
		for _, n := range []int64{blocks - 1, blocks} {
			if err := os.WriteFile(image, nil, 0o666); err != nil {
				t.Fatal(err)
			}
			testbed.Run(t, "mkfs.ext4", "-q", "-F", "-b", "1024", "-N", "16", "-O", "^metadata_csum", "-E", "lazy_itable_init,lazy_journal_init", image, fmt.Sprint(n))
			out := string(testbed.Run(t, "dumpe2fs", "-h", image))
			want := fmt.Sprintf("Total journal blocks:     %d\n", autoJournal(n))
			if !strings.Contains(out, want) {
				t.Errorf("of %d blocks, %q is not in\n%s", n, want, out)
			}
		}
	}
}
