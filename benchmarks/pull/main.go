// Command pull measures the whole road from a binary cache to files and images: thaw
// beside what others do the same with. It runs them in turns, each in processes of
// its own and with nothing cached, and writes medians and their ratios to
// benchmarks/RESULTS.md, and what each run took to results.json beside it.
//
//	go run ./benchmarks/pull [-runs 5] [-only REGEXP] [-testbed DIR] [-caches DIR] [-o FILE]
//
// It builds thaw, makes caches in other compressions out of the test bed's (-caches
// keeps them for the next time), and serves them all over loopback from a process
// whose time is not counted. A row fails if two of its runs give different bytes.
// With -only, what is measured goes to standard output. What the file says under the
// heading "Findings" stays as it is.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"thaw/benchmarks/internal/measure"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("pull: ")
	var o options
	flag.IntVar(&o.runs, "runs", 5, "measure each this often")
	only := flag.String("only", "", "measure only rows with a name that this regular expression matches")
	flag.StringVar(&o.bed, "testbed", measure.DefaultBed(), "directory of the large test caches")
	flag.StringVar(&o.caches, "caches", "", "directory to keep the other caches in, or to find them")
	flag.StringVar(&o.out, "o", "benchmarks/RESULTS.md", "file to write, or - for standard output")
	serving := flag.Bool("serve", false, "instead of all else, serve the directory that is the argument until standard input ends")
	preparing := flag.Bool("prepare", false, "instead of all else, make the other caches in the directory that is the argument")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := func() (err error) {
		switch {
		case *serving:
			return serve(flag.Arg(0), os.Stdin)
		case *preparing:
			return prepare(ctx, o.bed, flag.Arg(0))
		}
		if o.only, err = regexp.Compile(*only); err != nil {
			return err
		}
		if *only != "" && !given("o") {
			o.out = "-"
		}
		return run(ctx, &o)
	}()
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func given(name string) (yes bool) {
	flag.Visit(func(f *flag.Flag) { yes = yes || f.Name == name })
	return yes
}

// An options has those of the command line.
type options struct {
	runs             int
	only             *regexp.Regexp
	bed, caches, out string
}

func run(ctx context.Context, o *options) (err error) {
	b := &bench{ctx: ctx, runs: max(o.runs, 1), results: map[string]string{}}
	if b.dir, err = os.MkdirTemp("", "pull-benchmark-"); err != nil {
		return err
	}
	defer removeAll(b.dir)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bed, err := filepath.Abs(o.bed)
	if err != nil {
		return err
	}
	b.thaw = filepath.Join(b.dir, "thaw")
	build := exec.CommandContext(ctx, "go", "build", "-o", b.thaw, "thaw/cmd/thaw")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}

	// In a process of its own: the kernel says of a child that it has at least the
	// memory that its parent had.
	b.caches = filepath.Join(b.dir, "caches")
	if o.caches != "" {
		if b.caches, err = filepath.Abs(o.caches); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(b.caches, ready)); err != nil {
		log.Print("making caches, which takes two minutes")
		if out, err := exec.CommandContext(ctx, self, "-prepare", "-testbed", bed, b.caches).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	server := exec.Command(self, "-serve", b.caches)
	server.Stderr = os.Stderr
	stdin, err := server.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	defer server.Wait()
	defer stdin.Close()
	if _, err := fmt.Fscanln(stdout, &b.url); err != nil {
		return fmt.Errorf("the server says nothing: %w", err)
	}

	rows, err := rows(filepath.Join(bed, "caches", "lists"))
	if err != nil {
		return err
	}
	begin, before := time.Now(), measure.Load()
	var done []*row
	for i := range rows {
		if r := &rows[i]; o.only.MatchString(r.Name) {
			if err := b.measure(r); err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
			log.Print(r.lines())
			done = append(done, r)
		}
	}
	log.Printf("measured for %.0f s", time.Since(begin).Seconds())
	return report(done, b.runs, before, o.out)
}
