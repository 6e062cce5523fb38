package vfat_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"thaw/image/vfat"
	"thaw/rootfs"
)

// FuzzTrees builds random trees, each twice, and has fsck.vfat and the tests' own
// reader judge them.
func FuzzTrees(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		o, entries := randomOptions(rnd), randomTree(rnd)
		if rnd.IntN(2) == 0 {
			o = mustFit(t, o, entries)
		}
		path, err := build(t, o, entries)
		if err != nil && strings.Contains(err.Error(), "is full") {
			return // the root directory, of a small type
		}
		if err != nil {
			t.Fatal(err)
		}
		verify(t, path, entries)
		again, err := build(t, o, entries)
		if err != nil || !same(t, path, again) {
			t.Errorf("the bytes are others another time: %v", err)
		}
	})
}

func same(t *testing.T, a, b string) bool {
	one, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(one, two)
}

func randomOptions(rnd *rand.Rand) vfat.Options {
	o := vfat.Options{Bits: []int{0, 0, 0, 12, 16, 32}[rnd.IntN(6)], SectorSize: []int{0, 512, 512, 1024, 2048, 4096}[rnd.IntN(6)]}
	if rnd.IntN(2) == 0 {
		o.Label = "LABEL"
	}
	if o.Bits != 12 && rnd.IntN(3) == 0 {
		o.ClusterSize = max(o.SectorSize, 512<<rnd.IntN(4))
	}
	if o.Bits == 32 {
		o.SectorSize, o.ClusterSize = 512, 512 // or it would be large
	}
	switch rnd.IntN(4) {
	case 0:
		o.Free = rnd.Int64N(mib)
	case 1:
		o.FreePercent = rnd.IntN(200)
	}
	return o
}

// randomTree makes entries of up to a mebibyte.
func randomTree(rnd *rand.Rand) []entry {
	all := []entry{dir(".")}
	dirs, left := []string{"."}, mib
	taken := map[string]bool{}
	for range 1 << rnd.IntN(10) {
		name := randomName(rnd)
		path := strings.TrimPrefix(dirs[rnd.IntN(min(len(dirs), 1+rnd.IntN(30)))]+"/"+name, "./")
		if taken[strings.ToLower(path)] {
			continue
		}
		taken[strings.ToLower(path)] = true
		size := rnd.IntN(1 << rnd.IntN(18))
		switch left -= size; {
		case rnd.IntN(4) == 0:
			all = append(all, dir(path))
			dirs = append(dirs, path)
		case left < 0:
			return all
		default:
			b := make([]byte, size)
			io.ReadFull(rand.NewChaCha8([32]byte{byte(size)}), b[:rnd.IntN(size+1)]) // the rest is zeros
			all = append(all, text(path, string(b)))
		}
		e := &all[len(all)-1]
		e.ModTime = time.Unix(vfat.MinTime+rnd.Int64N(vfat.MaxTime-vfat.MinTime+1), rnd.Int64N(1e9))
	}
	return all
}

func randomName(rnd *rand.Rand) string {
	n := rnd.IntN(1000)
	switch rnd.IntN(6) {
	case 0:
		return fmt.Sprint(n)
	case 1:
		return fmt.Sprintf("Name%d.Txt", n)
	case 2:
		return strings.Repeat("n", 1+rnd.IntN(30)) + fmt.Sprint(n)
	case 3:
		return strings.Repeat("\u00e9\U0001f9ca", rnd.IntN(40)) + fmt.Sprint(n)
	case 4:
		return fmt.Sprintf("NAME~%d", n%20)
	}
	return fmt.Sprintf(".%d+ =.%d", n, n)
}

// FuzzNames checks that a name is refused or held.
func FuzzNames(f *testing.F) {
	for _, name := range []string{"a", "A.B", ". a", "~1", "\u00e9", strings.Repeat("x", 255), "a.", "\xff", "a+b.c d.e"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !rootfs.ValidName(name) {
			return
		}
		path, err := build(t, vfat.Options{Capacity: mib}, []entry{dir("."), text(name, "x")})
		if held := err == nil; held != names(name) {
			t.Fatalf("%q: %v", name, err)
		} else if !held {
			return
		}
		if _, nodes, err := readImage(path); err != nil || len(nodes) != 2 || nodes[1].Path != name {
			t.Errorf("%v, %+v", err, nodes)
		}
	})
}
