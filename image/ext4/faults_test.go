package ext4_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"thaw/image/ext4"
	"thaw/rootfs"
)

// failing fails at one write, and notes it.
type failing struct {
	memory
	left int // writes before that
}

var errFull = errors.New("the disk is full")

func (f *failing) WriteAt(p []byte, off int64) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errFull
	}
	return f.memory.WriteAt(p, off)
}

func TestFailingWrites(t *testing.T) {
	entries := []entry{
		directory("."), file("a", 3<<20, all), directory("d"),
		withXattrs(file("d/b", 5*9*4096, func(b int64) bool { return b%9 == 0 }), rootfs.Xattr{Name: "user.x", Value: make([]byte, 900)}),
		symlink("d/c", strings.Repeat("x", 100)),
	}
	for i := range 1000 {
		entries = append(entries, file(fmt.Sprintf("d/%d", i), 1, all))
	}
	entries = append(entries, entry{Entry: entries[1].Entry, data: entries[1].data})
	entries[len(entries)-1].Path = "d/equal"
	for _, v := range variants {
		o := v.options
		o.Dedupe, o.Free = true, 20*mib
		t.Run(v.name, func(t *testing.T) { failEveryWrite(t, o, entries) })
	}
}

func failEveryWrite(t *testing.T, o ext4.Options, entries []entry) {
	for n := 0; ; n++ {
		w, err := ext4.NewWriter(&failing{left: n}, o)
		if err != nil {
			t.Fatal(err)
		}
		err = add(w, entries, nil)
		if err == nil {
			if n < 10 {
				t.Errorf("only %d writes", n)
			}
			break
		}
		if !errors.Is(err, errFull) {
			t.Fatalf("write %d fails with %v", n, err)
		}
		for _, again := range []error{w.Add(directory("x").Entry, nil), w.AddSame("y", "a"), w.Close(), w.Close()} {
			if again != err {
				t.Fatalf("after %v comes %v", err, again)
			}
		}
	}
}

func TestAfterClose(t *testing.T) {
	w, err := ext4.NewWriter(&memory{}, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	if err := add(w, []entry{directory(".")}, nil); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{w.Add(directory("x").Entry, nil), w.AddSame("y", "a"), w.Close()} {
		if err == nil {
			t.Error("a closed writer works on")
		}
	}
}
