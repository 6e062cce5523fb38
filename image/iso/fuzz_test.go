package iso_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"thaw/image/iso"
	"thaw/internal/testbed"
	"thaw/rootfs"
)

// FuzzTrees builds random trees twice, and has xorriso read some of them.
func FuzzTrees(f *testing.F) {
	for seed := range uint64(24) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		var images [2][]byte
		var path string
		paths := 0
		for i := range images {
			v := newVolume(t, iso.Options{Label: fmt.Sprint(seed), Time: time.Unix(int64(seed), 0)})
			paths = randomTree(rand.New(rand.NewPCG(seed, 0)), v)
			path = v.close()
			var err error
			if images[i], err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(images[0], images[1]) {
			t.Error("the bytes differ")
		}
		if seed%4 == 0 {
			said := testbed.Run(t, "xorriso", "-no_rc", "-abort_on", "WARNING", "-indev", path, "-find", "/", "--")
			if n := bytes.Count(append([]byte("\n"), said...), []byte("\n'/")); n != paths {
				t.Errorf("xorriso finds %d paths, not %d", n, paths)
			}
		}
	})
}

// randomTree adds entries of every kind, and returns how many there are with the root.
func randomTree(rnd *rand.Rand, v *volume) int {
	dirs, files := []string{"."}, []string(nil)
	n := 1 << rnd.IntN(10)
	for i := range n {
		path := fmt.Sprintf("%s/%d%s", dirs[rnd.IntN(len(dirs))], i, strings.Repeat("é.", rnd.IntN(80)))
		path = strings.TrimPrefix(path, "./")
		e := rootfs.Entry{
			Path: path, Mode: fs.FileMode(rnd.IntN(0o1000)), UID: rnd.Uint32(), GID: rnd.Uint32N(3),
			ModTime: time.Unix(iso.MinTime+rnd.Int64N(iso.MaxTime-iso.MinTime+1), 0),
		}
		content := ""
		switch rnd.IntN(7) {
		case 0, 1:
			e.Mode |= fs.ModeDir
			dirs = append(dirs, path)
		case 2:
			e.Mode |= fs.ModeSymlink
			for len(e.Target) < 1<<rnd.IntN(10) {
				e.Target += []string{"/", "../", "./", "name", strings.Repeat("long", rnd.IntN(100))}[rnd.IntN(5)]
			}
		case 3:
			e.Mode |= fs.ModeDevice
			e.Dev = rootfs.Mkdev(1+rnd.Uint32N(iso.MaxMajor), rnd.Uint32N(iso.MaxMinor+1))
		case 4:
			if len(files) > 0 {
				if err := v.AddSame(path, files[rnd.IntN(len(files))]); err != nil {
					v.t.Fatal(err)
				}
				continue
			}
			fallthrough
		default:
			files = append(files, path)
			content = strings.Repeat("x", rnd.IntN(5000))
		}
		v.add(e, content)
	}
	return n + 1
}

// BenchmarkEntries adds small files and reports the bytes of memory that each takes
// until Close.
func BenchmarkEntries(b *testing.B) {
	const entries = 200_000
	for b.Loop() {
		w, err := iso.NewWriter(nowhere{}, testOptions)
		if err != nil {
			b.Fatal(err)
		}
		if err := w.Add(dir("."), nil); err != nil {
			b.Fatal(err)
		}
		before := heap()
		for i := range entries {
			parent := fmt.Sprintf("%032x-package-%d", i/50*7919, i/50)
			if i%50 == 0 {
				if err := w.Add(dir(parent), nil); err != nil {
					b.Fatal(err)
				}
			}
			data := fmt.Sprintf("%0100d", i)
			if err := w.Add(file(fmt.Sprintf("%s/file-with-a-name-%d", parent, i), int64(len(data))), strings.NewReader(data)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(heap()-before)/entries, "bytes/entry")
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
