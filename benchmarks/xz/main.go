// Command xz compares package xz with other decoders: the xz of the machine
// and the module github.com/ulikunitz/xz. It runs them in turns, each in a
// process of its own, and prints medians of CPU seconds (for several cores: of
// wall seconds) and their ratios.
//
//	go run ./benchmarks/xz [-rounds 7] [-bed DIR] [-also 'NAME=COMMAND']
//
// The contents are ELF programs, Go's source tree, Python's library and
// compressed files, all from this machine, and the largest NARs of a test
// bed. COMMAND is a further decoder; the file's name is appended.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"thaw/benchmarks/internal/measure"
)

func main() {
	log.SetFlags(0)
	rounds := flag.Int("rounds", 7, "measure each decoder this often")
	bed := flag.String("bed", os.Getenv("THAW_TESTBED"), "the test bed with caches/xz, or nothing")
	also := flag.String("also", "", "a further decoder, as NAME=COMMAND")
	mode := flag.String("decode", "", "decode the file named by the argument instead: xz, xz-check or ulikunitz")
	workers := flag.Int("workers", 1, "with -decode: goroutines")
	size := flag.Int64("size", 0, "with -decode: the size of the content")
	flag.Parse()
	if *mode != "" {
		if err := decode(*mode, flag.Arg(0), *workers, *size); err != nil {
			log.Fatal(err)
		}
		return
	}
	dir, err := os.MkdirTemp("", "xz-benchmark-")
	if err != nil {
		log.Fatal(err)
	}
	err = run(dir, *rounds, *bed, *also)
	os.RemoveAll(dir)
	if err != nil {
		log.Fatal(err)
	}
}

// A decoder is one column of the table.
type decoder struct {
	name string
	args []string
}

func run(dir string, rounds int, bed, also string) error {
	files, err := contents(dir)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if bed != "" {
		nars, err := largest(filepath.Join(bed, "caches", "xz", "nar"), 8)
		if err != nil {
			return err
		}
		files = append(files, nars...)
	}
	fmt.Printf("CPU seconds, medians of %d rounds in turns; ratios to xz -T1 -dc\n\n", rounds)
	var ratios [][]float64
	for _, f := range files {
		ours := func(mode string) []string {
			return []string{self, "-decode", mode, "-size", strconv.FormatInt(f.size, 10)}
		}
		decoders := []decoder{
			{"xz -T1 -dc", []string{"xz", "-T1", "-dc"}},
			{"ours, check skipped", ours("xz")},
			{"ours, verified", ours("xz-check")},
			{"ulikunitz", ours("ulikunitz")},
		}
		if name, command, ok := strings.Cut(also, "="); ok {
			decoders = append(decoders, decoder{name, strings.Fields(command)})
		}
		cpu, _, err := inTurns(decoders, f.name, rounds)
		if err != nil {
			return err
		}
		fmt.Printf("%s, %.1f MB in %.1f MB\n", f.label, float64(f.size)/1e6, float64(f.packed)/1e6)
		var row []float64
		for i, d := range decoders {
			row = append(row, cpu[i]/cpu[0])
			fmt.Printf("  %-22s %7.3f s %7.1f MB/s  × %.3f\n", d.name, cpu[i], float64(f.size)/1e6/cpu[i], row[i])
		}
		ratios = append(ratios, row)
		fmt.Printf("  %-22s × %.2f\n", "ulikunitz / skipped", cpu[3]/cpu[1])
	}
	fmt.Printf("\nmedian ratios to xz: ")
	for i := range ratios[0] {
		column := make([]float64, len(ratios))
		for j := range ratios {
			column[j] = ratios[j][i]
		}
		fmt.Printf(" %.3f", measure.Median(column))
	}
	fmt.Println()

	f, err := blocks(dir)
	if err != nil {
		return err
	}
	size := strconv.FormatInt(f.size, 10)
	_, wall, err := inTurns([]decoder{
		{"", []string{self, "-decode", "xz", "-size", size}},
		{"", []string{self, "-decode", "xz", "-size", size, "-workers", "2"}},
	}, f.name, rounds)
	if err != nil {
		return err
	}
	fmt.Printf("%s: wall %.3f s on one core, %.3f s on two: × %.3f\n", f.label, wall[0], wall[1], wall[1]/wall[0])
	return nil
}

// inTurns runs the decoders in turns and returns each one's median CPU and
// wall seconds.
func inTurns(decoders []decoder, name string, rounds int) (cpu, wall []float64, err error) {
	cpus, walls := make([][]float64, len(decoders)), make([][]float64, len(decoders))
	for range rounds {
		for i, d := range decoders {
			cmd := exec.Command(d.args[0], append(d.args[1:], name)...)
			cmd.Stdout, cmd.Stderr = io.Discard, os.Stderr
			null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
			if err != nil {
				return nil, nil, err
			}
			cmd.Stdout = null
			begin := time.Now()
			err = cmd.Run()
			null.Close()
			if err != nil {
				return nil, nil, fmt.Errorf("%v: %w", cmd.Args, err)
			}
			walls[i] = append(walls[i], time.Since(begin).Seconds())
			cpus[i] = append(cpus[i], (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
		}
	}
	for i := range decoders {
		cpu = append(cpu, measure.Median(cpus[i]))
		wall = append(wall, measure.Median(walls[i]))
	}
	return cpu, wall, nil
}
