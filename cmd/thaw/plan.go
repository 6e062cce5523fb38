package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"thaw/assemble"
	"thaw/closure"
	"thaw/estimate"
	"thaw/image/disk"
	"thaw/internal/atomicfile"
	"thaw/storepath"
)

func (a *app) plan() *cobra.Command {
	var asJSON, locked bool
	var page, layout string
	cmd := &cobra.Command{
		Use:   "plan PATH…|SPEC",
		Short: "Tell what an image takes, before anything is fetched",
		Long: `Tell what is to be fetched for an image, how large its outputs will be, what each
package adds and which paths are the largest. Nothing but narinfos is fetched.

For store paths every type of output that they alone can be is estimated. An output
takes at least the first size and at most the last one, whatever the files are; it is
likely to take the one between.

The exit code is 7 if an output is certain to exceed its max-size, or a path is
forbidden.`,
		Example: `  thaw plan --cache testdata/example --trusted-key testdata/example/key.pub \
      /nix/store/4816nf1754f3jnz5brkh5n9y252l4san-busybox-static-1.35.0
  thaw plan vm.yaml --html vm.html`,
		GroupID: "make",
		RunE: func(cmd *cobra.Command, args []string) error {
			if i := slices.IndexFunc(args, func(arg string) bool { return strings.HasSuffix(arg, ".svg") }); i >= 0 && layout == "-" {
				return usage("--map="+args[i], "--map takes the name of a file after =")
			}
			t, err := a.target(cmd, args)
			if err != nil {
				return err
			}
			if locked && t.lock == nil {
				if err := t.pin(); err != nil {
					return err
				}
			}
			if page == "-" {
				return usage("give it a name", "the map does not go to standard output")
			}
			for _, file := range []string{page, strings.TrimPrefix(layout, "-")} {
				if file != "" {
					if err := writable(file); err != nil {
						return err
					}
				}
			}
			if err := t.describeOutputs(); err != nil {
				return err
			}
			// What is forbidden is told at the end.
			forbid := t.spec.Forbid
			t.spec.Forbid = nil
			w, err := a.resolve(cmd.Context(), t)
			if err != nil {
				return err
			}
			defer w.close()
			w.ui.close()
			b, err := w.bill(forbid)
			if err != nil {
				return err
			}
			if page != "" {
				m := b.treemap()
				if err := writeFile(page, m.Write); err != nil {
					return err
				}
			}
			if layout != "" && layout != "-" {
				if err := b.writeLayout(layout); err != nil {
					return err
				}
			}
			out := bufio.NewWriter(a.stdout)
			if asJSON {
				err = json.NewEncoder(out).Encode(b)
			} else {
				b.print(out)
				if layout == "-" {
					b.printLayouts(out)
				}
			}
			if err := errors.Join(err, out.Flush()); err != nil {
				return err
			}
			return b.verdict(w, forbid)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	f.StringVar(&page, "html", "", "also draw the closure as a map, in this `FILE`")
	f.StringVar(&layout, "map", "", "also draw what is where on disks, as text, or as SVG in this `FILE` (--map=FILE)")
	f.Lookup("map").NoOptDefVal = "-"
	f.BoolVar(&locked, "locked", false, "plan what the spec's lock pins, and fail if it is out of date")
	return cmd
}

// describeOutputs gives store paths, and a spec without outputs, one of every format
// but those that are forms of a raw disk.
func (t *target) describeOutputs() error {
	s := t.spec
	if len(s.Outputs) > 0 {
		return nil
	}
	for _, f := range formats {
		if f.typ == "oci" && s.Arch == "" || f.typ == "iso" && !s.Boot.BootsISO() {
			continue // these need to know it
		}
		if (f.typ != "disk" || f.name == "disk") && f.typ != "files" {
			s.Outputs = append(s.Outputs, f.output(f.name))
		}
	}
	return t.complete()
}

// name returns that of the spec, or the names of the store paths.
func (t *target) name() string {
	if !t.paths() {
		return t.spec.Name
	}
	var names []string
	for i, p := range t.spec.Packages {
		if i == 3 {
			names = append(names, fmt.Sprintf("%d more", len(t.spec.Packages)-i))
			break
		}
		names = append(names, p.Path.Name())
	}
	return strings.Join(names, ", ")
}

// A bill is what a plan costs. It is what --json prints.
type bill struct {
	Name     string         `json:"name"`
	Paths    int            `json:"paths"`
	NarSize  int64          `json:"narSize"`
	Cached   tally          `json:"cached"` // in the local cache; bytes of NARs
	Fetch    fetchBill      `json:"fetch"`
	Signed   map[string]int `json:"signed"`    // paths by the names of trusted keys
	ByCA     int            `json:"byContent"` // paths that have a content address that recomputes, and no such signature
	Unsigned int            `json:"unsigned"`
	Outputs  []outputBill   `json:"outputs"`
	Packages []packageBill  `json:"packages"` // what adds most first
	Largest  []pathBill     `json:"largest"`
	Forbid   []forbidBill   `json:"forbidden"`

	graph *closure.Graph
	plan  *assemble.Plan
}

type tally struct {
	Paths int   `json:"paths"`
	Bytes int64 `json:"bytes"`
}

type fetchBill struct {
	tally
	Caches map[string]tally `json:"caches"`
}

type outputBill struct {
	Name    string `json:"name"`
	Format  string `json:"format"`
	Least   int64  `json:"least"`
	Likely  int64  `json:"likely"`
	Most    int64  `json:"most"`
	MaxSize int64  `json:"maxSize,omitempty"`
	Verdict string `json:"verdict,omitempty"` // on MaxSize

	Partitions []partition `json:"partitions,omitempty"` // of a disk, as they are likely to lie on it

	layout *disk.Map // of a disk
}

type packageBill struct {
	Path        string `json:"path"`
	Name        string `json:"-"`
	NarSize     int64  `json:"narSize"`
	ClosureSize int64  `json:"closureSize"`
	Added       int64  `json:"added"`
}

type pathBill struct {
	Path    string `json:"path"`
	Name    string `json:"-"`
	NarSize int64  `json:"narSize"`
	Only    string `json:"only,omitempty"` // the package that alone needs it
}

type forbidBill struct {
	Path    string   `json:"path"`
	Pattern string   `json:"pattern"`
	Why     []string `json:"why"`
}

// billed is how many of the largest paths are listed.
const billed = 20

// bill sums up a plan.
func (w *work) bill(forbid []string) (*bill, error) {
	p := w.plan
	g, err := closure.NewGraph(p.Infos)
	if err != nil {
		return nil, err
	}
	b := &bill{
		Name: w.target.name(), Paths: len(p.Infos), NarSize: p.NarSize(), Signed: map[string]int{},
		Fetch:   fetchBill{Caches: map[string]tally{}},
		Outputs: []outputBill{}, Packages: []packageBill{}, Largest: []pathBill{}, Forbid: []forbidBill{},
		graph: g, plan: p,
	}
	absent := map[storepath.Path]bool{} // also what an output takes from outside the closure
	for _, i := range w.toFetch {
		absent[i.StorePath] = true
		n, size := b.Fetch.Caches[i.Source], expected(i)
		b.Fetch.Caches[i.Source] = tally{n.Paths + 1, n.Bytes + size}
		b.Fetch.Paths, b.Fetch.Bytes = b.Fetch.Paths+1, b.Fetch.Bytes+size
	}
	for _, i := range p.Infos {
		if !absent[i.StorePath] {
			b.Cached = tally{b.Cached.Paths + 1, b.Cached.Bytes + i.NarSize}
		}
		for _, key := range i.Trust.Keys {
			b.Signed[key]++
		}
		switch {
		case len(i.Trust.Keys) > 0:
		case i.Trust.ByCA:
			b.ByCA++
		default:
			b.Unsigned++
		}
	}
	if err := b.outputs(w); err != nil {
		return nil, err
	}
	b.packages()
	var forbidden assemble.ForbiddenError
	if err := p.Allowed(forbid); err != nil && !errors.As(err, &forbidden) {
		return nil, err
	}
	for _, f := range forbidden {
		bad := forbidBill{Path: f.Why[len(f.Why)-1].String(), Pattern: f.Pattern}
		for _, q := range f.Why {
			bad.Why = append(bad.Why, q.String())
		}
		b.Forbid = append(b.Forbid, bad)
	}
	return b, nil
}

// outputs estimates the outputs.
func (b *bill) outputs(w *work) error {
	c, err := w.content()
	if err != nil {
		return err
	}
	for _, o := range w.target.spec.Outputs {
		s, m, err := w.estimate(c, &o)
		if err != nil {
			return err
		}
		b.Outputs = append(b.Outputs, outputBill{
			o.Name, formatOf(&o).name, s.Least, s.Likely, s.Most, o.MaxSize.Bytes, judge(s, o.MaxSize.Bytes), partitions(m), m,
		})
	}
	return nil
}

// judge says whether an output is within a limit, which is 0 for none.
func judge(s estimate.Size, limit int64) string {
	switch {
	case limit == 0:
		return ""
	case s.Least > limit:
		return "too large"
	case s.Likely > limit:
		return "likely too large"
	case s.Most > limit:
		return "likely fits"
	}
	return "fits"
}

// packages lists the packages by what they add, and the largest paths.
func (b *bill) packages() {
	g, roots := b.graph, b.plan.Roots()
	closures, added, alone := g.Sizes(), g.Added(roots), g.Alone(roots)
	only := map[string]string{}
	size := map[string]int64{}
	for i, info := range g.Infos {
		path := info.StorePath.String()
		size[path] = closures[i]
		if n := alone[i]; n >= 0 && roots[n] != info.StorePath {
			only[path] = roots[n].String()
		}
	}
	for n, r := range roots {
		path := r.String()
		b.Packages = append(b.Packages, packageBill{path, r.Name(), b.plan.Info(r).NarSize, size[path], added[n]})
	}
	slices.SortStableFunc(b.Packages, func(x, y packageBill) int { return cmp.Compare(y.Added, x.Added) })
	for _, i := range largest(g.Infos, billed) {
		path := i.StorePath.String()
		b.Largest = append(b.Largest, pathBill{path, i.StorePath.Name(), i.NarSize, only[path]})
	}
}

// verdict is the error of a plan that no build may follow.
func (b *bill) verdict(w *work, forbid []string) error {
	return errors.Join(w.withinLimits(), w.plan.Allowed(forbid))
}

// writeFile writes a file that appears when it is whole.
func writeFile(name string, write func(w io.Writer) error) error {
	f, err := atomicfile.Create(name, 0o666)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		f.Abort()
		return err
	}
	return f.Commit()
}

// caches returns the names of the caches that something is fetched from, those
// with most first.
func (b *bill) caches() []string {
	return slices.SortedFunc(maps.Keys(b.Fetch.Caches), func(x, y string) int {
		return cmp.Or(cmp.Compare(b.Fetch.Caches[y].Bytes, b.Fetch.Caches[x].Bytes), cmp.Compare(x, y))
	})
}
