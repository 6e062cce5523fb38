// Command images compares the writers of images with the tools that others use:
// mkfs.ext4 -d, mksquashfs, mkfs.erofs and qemu-img convert. It runs them in turns,
// each in a process of its own, on real trees of files, and writes medians and
// their ratios to benchmarks/images/RESULTS.md.
//
//	go run ./benchmarks/images [-runs 5] [-only REGEXP] [-tree DIR]… [-testbed DIR] [-o FILE]
//
// The trees are the system closure of the test bed, unpacked, a sample of it for
// what is slow, and one of 34,000 entries, generated. Beside them, the writers that promise how much memory an entry
// takes get a million of them, without a tree on disk. What the file says under the
// heading "Findings" stays as it is.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"

	"thaw/benchmarks/internal/measure"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("images: ")
	var trees []tree
	runs := flag.Int("runs", 5, "measure each this often")
	only := flag.String("only", "", "measure only what has a name that this regular expression matches")
	bed := flag.String("testbed", measure.DefaultBed(), "directory of the large test caches")
	out := flag.String("o", "benchmarks/images/RESULTS.md", "file to write, or - for standard output")
	profile := flag.String("cpuprofile", "", "with -job: where a profile goes")
	job := flag.String("job", "", "instead of all else, make the image that is named so of the tree or disk that the first argument is, to the second")
	flag.Func("tree", "measure with this directory, not the usual ones; may be repeated", func(dir string) error {
		dir, err := filepath.Abs(dir)
		trees = append(trees, tree{name: filepath.Base(dir), dir: dir, efforts: []effort{quick, medium, slow}})
		return err
	})
	flag.Parse()
	if *job != "" {
		debug.SetGCPercent(25) // as thaw does
		if err := profiled(*profile, func() error { return make1(*job, flag.Arg(0), flag.Arg(1)) }); err != nil {
			log.Fatal(err)
		}
		return
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "images-benchmark-")
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err = run(&bench{ctx: ctx, dir: dir, runs: max(*runs, 1), only: pattern}, trees, *bed, *out)
	stop()
	os.RemoveAll(dir)
	if err != nil {
		log.Fatal(err)
	}
}

func run(b *bench, trees []tree, bed, out string) error {
	var err error
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if len(trees) == 0 {
		if trees, err = usualTrees(b.dir, bed); err != nil {
			return err
		}
	}
	var text strings.Builder
	if err := header(&text, b.runs); err != nil {
		return err
	}
	before := measure.Load()
	for _, t := range trees {
		if err := t.count(); err != nil {
			return err
		}
		cases, err := b.cases(&t, t.efforts)
		if err != nil {
			return err
		}
		if len(cases) == 0 {
			continue
		}
		fmt.Fprintf(&text, "\n## %s\n\n%d entries, %.1f MB in files.\n\n%s", t.name, t.entries, float64(t.bytes)/1e6, tableHead)
		for _, c := range cases {
			r, err := b.compare(&c)
			if err != nil {
				return err
			}
			row := r.row(&c, &t)
			log.Print(row)
			fmt.Fprintln(&text, row)
		}
	}
	if err := b.entries(&text); err != nil {
		return err
	}
	fmt.Fprintf(&text, "\nLoad of the machine, averages of a minute: %s before, %s after.\n", before, measure.Load())
	return measure.WriteReport(out, text.String())
}
