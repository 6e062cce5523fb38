// Command scale measures how time and memory grow with a closure. It runs a thaw
// binary on caches that it makes up, of any number of paths, files and bytes:
//
//	go build -o /tmp/thaw ./cmd/thaw && go run ./benchmarks/scale -thaw /tmp/thaw -paths 10000
//	go run ./benchmarks/scale -thaw /tmp/thaw -entries 1000000
//	go run ./benchmarks/scale -thaw /tmp/thaw -gigabytes 20
//
// Each case is run at a quarter, at half and at the whole of that size; the last
// column is the processor time for a path, an entry or a byte against that of the
// first of them: 1 where time is linear. The disk in -dir needs room for the NARs and for
// one image.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"thaw/benchmarks/internal/measure"
)

func main() {
	var b bench
	flag.StringVar(&b.thaw, "thaw", "", "the program to measure")
	flag.StringVar(&b.dir, "dir", "", "the directory to work in (default that for temporary files)")
	flag.StringVar(&b.codec, "compression", "none", "of the NARs: none, zstd, or xz with dictionaries of 64 MiB")
	flag.StringVar(&b.only, "only", "", "the rows to run, separated by commas, such as ext4,squashfs (default all)")
	flag.StringVar(&b.profile, "profile", "", "the directory for profiles of each run")
	flag.BoolVar(&b.whole, "whole", false, "run the whole size alone")
	flag.IntVar(&b.jobs, "jobs", 0, "as of thaw")
	paths := flag.Int("paths", 0, "measure so many paths of three files")
	entries := flag.Int("entries", 0, "measure so many files and directories, about a thousand to a path")
	gigabytes := flag.Int("gigabytes", 0, "measure so many GB, in files of 100 MB")
	served := flag.String("serve", "", "")
	flag.Parse()
	if *served != "" {
		var s shape
		fmt.Sscan(*served, &s.paths, &s.files, &s.bytes, &s.codec)
		serve(s)
		return
	}
	if b.thaw == "" {
		fmt.Fprintln(os.Stderr, "give -thaw FILE")
		os.Exit(2)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		check(errors.New("interrupted"))
	}()
	machine, err := measure.Machine()
	check(err)
	fmt.Printf("%s, load %s\n", machine, measure.Load())
	fmt.Println("what               paths    entries       GB  seconds    CPU s    MiB  per unit")
	if n := *paths; n > 0 {
		b.sizes(n, func(n int) {
			b.measure(shape{n, 3, 500, b.codec}, float64(n), "closure", "lock", "plan", "page", "ext4", "all", "db")
		})
	}
	if n := *entries; n > 0 {
		b.sizes(n, func(n int) {
			s := shape{max(n/1015, 1), 1000, 500, b.codec}
			b.measure(s, float64(s.entries()), "ext4", "squashfs", "erofs", "tar", "cpio", "dir", "oci")
		})
	}
	if n := *gigabytes; n > 0 {
		b.sizes(n, func(n int) {
			b.measure(shape{n * 10, 1, 100e6, b.codec}, float64(n), "ext4", "squashfs")
		})
	}
}

type bench struct {
	thaw, dir, codec, only, profile string
	whole                           bool
	jobs                            int
	first                           map[string]float64 // seconds of processor time per unit, by row
}

// sizes calls f with a quarter of n, half of it, and n.
func (b *bench) sizes(n int, f func(n int)) {
	b.first = map[string]float64{}
	for _, part := range []int{4, 2, 1} {
		if part == 1 || !b.whole {
			f(n / part)
		}
	}
}

// measure runs some rows on a closure. The first has everything to fetch, the others
// find it in the local cache.
func (b *bench) measure(s shape, units float64, rows ...string) {
	dir, err := os.MkdirTemp(b.dir, "thaw-scale-")
	check(err)
	working = dir
	defer os.RemoveAll(dir)
	url, stop := start(s)
	defer stop()
	cold := true
	for _, row := range rows {
		if b.only != "" && !strings.Contains(","+b.only+",", ","+row+",") {
			continue
		}
		args := append(b.command(row, dir, s), "--quiet", "--cache", url, "--trusted-key", signer.Key().String(), "--cache-dir", dir+"/cache")
		if b.jobs > 0 {
			args = append(args, "--jobs", fmt.Sprint(b.jobs))
		}
		if b.profile != "" {
			args = append(args, "--profile", filepath.Join(b.profile, fmt.Sprintf("%s-%d", row, int(units))))
		}
		cmd := exec.Command(b.thaw, args...)
		cmd.Stderr = os.Stderr
		started := time.Now()
		check(cmd.Run())
		took := time.Since(started).Seconds()
		cpu := (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
		if b.first[row] == 0 {
			b.first[row] = cpu / units
		}
		what := row
		if cold && row != "closure" {
			what, cold = row+", cold", false
		}
		// Most of what wait4(2) says of memory is the program's, since this one is small.
		rss := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss >> 10
		gb := float64(s.paths) * float64(s.files) * float64(s.bytes) / 1e9
		fmt.Printf("%-15s %7d %10d %8.2f %8.2f %8.2f %6d %9.2f\n", what, s.paths, s.entries(), gb, took, cpu, rss, cpu/units/b.first[row])
		check(os.RemoveAll(dir + "/out"))
	}
}

// command returns the command line of a row.
func (b *bench) command(row, dir string, s shape) []string {
	check(os.MkdirAll(dir+"/out", 0o755))
	root := packages(1)
	switch row {
	case "closure":
		return append([]string{"closure", "--size"}, root...)
	case "all": // of which the view shows all
		return append([]string{"build", "--format", "cpio", "-o", dir + "/out/all.cpio"}, packages(s.paths)...)
	case "lock", "plan", "page", "db":
		spec := dir + "/out/spec.yaml"
		text := "version: 1\nname: scale\npackages:\n  - " + root[0] + "\nrootfs:\n  nix:\n    db: true\noutputs:\n  db:\n    type: ext4\n"
		check(os.WriteFile(spec, []byte(text), 0o644))
		switch row {
		case "lock":
			return []string{"lock", spec}
		case "plan":
			return []string{"plan", spec}
		case "page":
			return []string{"plan", "--html", dir + "/out/page.html", spec}
		}
		return []string{"build", spec, "-o", dir + "/out/db.ext4"}
	}
	return append([]string{"build", "--format", row, "--arch", "x86_64-linux", "-o", dir + "/out/image"}, root...)
}

// start serves a closure from another process: neither its time nor its memory
// counts.
func start(s shape) (url string, stop func()) {
	cmd := exec.Command(os.Args[0], "-serve", fmt.Sprintf("%d %d %d %s", s.paths, s.files, s.bytes, s.codec))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	check(err)
	out, err := cmd.StdoutPipe()
	check(err)
	check(cmd.Start())
	url, err = bufio.NewReader(out).ReadString('\n')
	check(err)
	return strings.TrimSpace(url), func() { in.Close(); cmd.Wait() }
}

// working is removed before an error ends the program.
var working string

func check(err error) {
	if err != nil {
		if working != "" {
			os.RemoveAll(working)
		}
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}
