package assemble

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"thaw/internal/faultserver"
	"thaw/nar"
	"thaw/narinfo"
	"thaw/nixhash"
	"thaw/rootfs"
	"thaw/storepath"
)

// made is a closure of any size, whose objects are made up when they are opened. Their
// narinfos are not signed.
type made struct {
	paths, files int
	infos        map[storepath.Path]*narinfo.Info
}

func newMade(paths, files int) *made {
	m := &made{paths, files, map[storepath.Path]*narinfo.Info{}}
	for n := range paths {
		i := &narinfo.Info{StorePath: m.path(n), NarHash: nixhash.Sum256(nil), NarSize: 1}
		for j := 4*n + 1; j <= 4*n+4 && j < paths; j++ {
			i.References = append(i.References, m.path(j))
		}
		m.infos[i.StorePath] = i
	}
	return m
}

func (m *made) path(n int) storepath.Path { return faultserver.Path(fmt.Sprintf("object-%d", n)) }

// packages are all paths.
func (m *made) packages() (all []storepath.Path) {
	for n := range m.paths {
		all = append(all, m.path(n))
	}
	return all
}

func (m *made) Info(_ context.Context, p storepath.Path) (*narinfo.Info, error) {
	return m.infos[p], nil
}

// Open gives a program, a library, a link and files in directories of a hundred.
func (m *made) Open(_ context.Context, i *narinfo.Info) (io.ReadCloser, error) {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	name := i.StorePath.Name()
	add := func(path string, kind nar.Kind) {
		h := nar.Header{Path: path, Kind: kind}
		if kind == nar.Symlink {
			h.Target = name
		}
		if err := w.WriteHeader(&h); err != nil {
			panic(err)
		}
	}
	add(".", nar.Directory)
	add("bin", nar.Directory)
	add("bin/"+name, nar.Executable)
	add("bin/"+name+"-too", nar.Symlink)
	add("share", nar.Directory)
	add("share/"+name, nar.Directory)
	for f := range m.files {
		dir := fmt.Sprintf("share/%s/directory%04d", name, f/100)
		if f%100 == 0 {
			add(dir, nar.Directory)
		}
		add(fmt.Sprintf("%s/file%04d", dir, f), nar.Regular)
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return io.NopCloser(&b), nil
}

// build builds the closure, of which all is in the view, and counts the entries.
func (m *made) build(t testing.TB, all bool) *tally {
	packages := []storepath.Path{m.path(0)}
	if all {
		packages = m.packages()
	}
	r := request([]string{"bin", "share"}, packages...)
	r.Nix = Nix{DB: all, ClosureInfo: "closure"}
	p, err := Resolve(t.Context(), m.Info, r)
	if err != nil {
		t.Fatal(err)
	}
	var n tally
	if _, err := Build(t.Context(), m, p, &n); err != nil {
		t.Fatal(err)
	}
	return &n
}

// tally is a sink that counts, and notes what is in memory when the last store object has
// come.
type tally struct {
	entries int
	weigh   bool
	live    uint64
}

func (n *tally) Add(e rootfs.Entry, data io.Reader) error {
	if n.live == 0 && n.weigh && n.entries > 10 && !strings.HasPrefix(e.Path, "nix/store/") {
		n.live = heap()
	}
	n.entries++
	if data == nil {
		return nil
	}
	_, err := io.Copy(io.Discard, data)
	return err
}

// What a build allocates grows with paths and with entries, and no faster: a quadratic
// step would take 16 times as much of four times as many.
func TestLinear(t *testing.T) {
	cost := func(paths, files int, all bool) (objects, size float64) {
		m := newMade(paths, files)
		// A collection takes buffers from pools, which are then made anew.
		defer debug.SetGCPercent(debug.SetGCPercent(-1))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		n := m.build(t, all)
		runtime.ReadMemStats(&after)
		if n.entries < paths*files {
			t.Fatalf("only %d entries", n.entries)
		}
		return float64(after.Mallocs - before.Mallocs), float64(after.TotalAlloc - before.TotalAlloc)
	}
	for _, test := range []struct {
		name        string
		few, many   [2]int // paths, files of each
		allAreShown bool
	}{
		{"paths", [2]int{100, 10}, [2]int{400, 10}, true},
		{"files", [2]int{4, 1000}, [2]int{4, 4000}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cost(test.few[0], test.few[1], test.allAreShown) // what is made once
			objects, size := cost(test.few[0], test.few[1], test.allAreShown)
			more, larger := cost(test.many[0], test.many[1], test.allAreShown)
			t.Logf("%.0f objects, then × %.2f; %.0f bytes, then × %.2f", objects, more/objects, size, larger/size)
			if more > 5*objects || larger > 5*size {
				t.Errorf("× 4 takes × %.2f objects and × %.2f bytes", more/objects, larger/size)
			}
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// Memory of what a build keeps of entries.
func BenchmarkMemory(b *testing.B) {
	for _, test := range [][2]int{{100, 1000}, {400, 1000}, {10_000, 3}} {
		b.Run(fmt.Sprint(test[0], "x", test[1]), func(b *testing.B) {
			for b.Loop() {
				m := newMade(test[0], test[1])
				r := request([]string{"bin", "share"}, m.path(0))
				p, err := Resolve(b.Context(), m.Info, r)
				if err != nil {
					b.Fatal(err)
				}
				n := tally{weigh: true}
				before := heap()
				if _, err := Build(b.Context(), m, p, &n); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(n.live-before)/float64(n.entries), "live-B/entry")
			}
		})
	}
}
