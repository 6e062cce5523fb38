package squashfs

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"thaw/internal/testbed"
	"thaw/rootfs"
)

// TestEncodersForget demands of every encoder that what becomes of a block does
// not depend on the blocks before it, nor on the memory it is given: which
// worker gets a block is chance.
func TestEncodersForget(t *testing.T) {
	if testing.Short() {
		t.Skip("encoders take long under the race detector, and these are alone")
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	var blocks [][]byte
	for i := range 30 {
		b := make([]byte, 1+rnd.IntN(32<<10))
		for k := range b {
			switch i % 4 {
			case 0:
				b[k] = byte(rnd.Uint32())
			case 1:
				b[k] = "abcdefgh"[rnd.IntN(1+i%8)]
			case 2: // much the same as other blocks
				b[k] = byte(k * k >> 7)
			}
		}
		blocks = append(blocks, b)
	}
	for c := Zstd; c <= None; c++ {
		for _, fast := range []bool{false, true} {
			o := &Options{Compression: c, Fast: fast}
			one, err := newEncoder(o, 32<<10)
			if err != nil {
				t.Fatal(err)
			}
			other, err := newEncoder(o, 32<<10)
			if err != nil {
				t.Fatal(err)
			}
			var want [][]byte
			for _, b := range blocks {
				got, err := one.encode(nil, b)
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, slices.Clone(got))
			}
			var buf []byte
			for i, b := range slices.Backward(blocks) {
				got, err := other.encode(buf, b)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want[i]) && min(len(got), len(want[i])) < len(b) {
					t.Errorf("%v: block %d depends on those before it", c, i)
				}
				if len(got) < len(b) {
					buf = got
				}
			}
		}
	}
}

// TestFar has files whose blocks lie beyond 4 GiB. In front of them is a hole,
// which the format allows.
func TestFar(t *testing.T) {
	unsquashfs := testbed.Tool(t, "unsquashfs")
	path := filepath.Join(t.TempDir(), "image")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := NewWriter(f, Options{BlockSize: 64 << 10, Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	add := func(e rootfs.Entry, data []byte) {
		t.Helper()
		e.ModTime, e.Size = time.Unix(1, 0), int64(len(data))
		var err error
		if data == nil {
			err = w.Add(e, nil)
		} else {
			err = w.Add(e, bytes.NewReader(data))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	data := bytes.Repeat([]byte("not only zeros "), 10_000)
	add(rootfs.Entry{Path: ".", Mode: fs.ModeDir | 0o755}, nil)
	w.out.at = 5<<30 + 7
	add(rootfs.Entry{Path: "far", Mode: 0o644}, data)
	add(rootfs.Entry{Path: "again", Mode: 0o644}, data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(w.Size()); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(unsquashfs, "-cat", path, "far", "again").Output()
	if err != nil || !bytes.Equal(out, bytes.Repeat(data, 2)) {
		t.Errorf("unsquashfs: %v: %d bytes", err, len(out))
	}
}

// TestListings counts the headers and index entries of a large directory: one
// for each metadata block, except where inodes ask for more.
func TestListings(t *testing.T) {
	for _, test := range []struct{ children, indexed int }{{100, 0}, {454, 0}, {455, 1}, {4000, 8}} {
		w, err := NewWriter(nil, Options{Compression: None})
		if err != nil {
			t.Fatal(err)
		}
		d := &dir{}
		for i := range test.children {
			d.entries.Add(fmt.Sprintf("%010d", i), uint32(i))
			w.nodes = append(w.nodes, node{number: uint32(i + 1), kind: typeFile})
			w.references = append(w.references, uint64(i))
		}
		if err := w.writeListing(d); err != nil {
			t.Fatal(err)
		}
		if d.indexed != test.indexed {
			t.Errorf("%d children: %d entries in the index, not %d", test.children, d.indexed, test.indexed)
		}
		if least := uint32(test.children * 18); d.size < least+12 || d.size > least+12*uint32(test.children/256+test.indexed+2) {
			t.Errorf("%d children: %d bytes", test.children, d.size)
		}
	}
}
