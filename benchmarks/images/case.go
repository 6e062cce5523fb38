package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"thaw/benchmarks/internal/measure"
)

// A bench runs programs in turns.
type bench struct {
	ctx       context.Context // ends with the first signal
	dir, self string
	only      *regexp.Regexp
	runs      int
}

// A comparison is a job of ours beside a program that does the same.
type comparison struct {
	job   string   // of ours
	in    string   // the tree, or the disk
	label string   // of the other's
	peer  []string // its arguments, with IN and OUT in them
	// What the ratios are meant to be at most; zero is anything.
	cpu, wall, size float64
	// What peak memory is meant to be at most, in MiB; without it, no more is
	// meant of the row.
	memory float64
	sparse bool // bytes are those that are not in holes
	effort effort
}

// An effort is how long a comparison takes.
type effort int

const (
	quick  effort = iota // for all trees
	medium               // for the first one only
	slow                 // for the sample only
)

// cases are the comparisons for a tree.
func (b *bench) cases(t *tree, wanted []effort) ([]comparison, error) {
	jobs := float64(runtime.GOMAXPROCS(0))
	memory := 64 + 2*jobs/8 // blocks of 128 KiB
	entries := float64(t.entries) * 300 / (1 << 20)
	disk := filepath.Join(b.dir, "disk.raw")
	cmd := exec.Command(b.self, "-job", "ext4", t.dir, disk)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%v: %w: %s", cmd.Args, err, out)
	}
	info, err := os.Stat(disk)
	if err != nil {
		return nil, err
	}

	cases := []comparison{{
		job: "ext4", label: "mkfs.ext4 -d", sparse: true, cpu: 0.5, memory: memory + entries,
		peer: []string{"mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-b", "4096", "-m", "0",
			"-N", strconv.FormatInt(t.entries+1000, 10), "-d", "IN", "OUT", fmt.Sprintf("%dK", info.Size()/1024*5/4)},
	}}
	for _, c := range []struct {
		job, label string
		args       string
		effort     effort
	}{
		{"zstd", "zstd, level 15, its default", "-comp zstd", quick},
		{"zstd", "zstd, level 10", "-comp zstd -Xcompression-level 10", medium},
		{"zstd fast", "zstd, level 6", "-comp zstd -Xcompression-level 6", quick},
		{"zstd fast", "zstd, level 3", "-comp zstd -Xcompression-level 3", medium},
		{"gzip", "gzip, level 9, its default", "-comp gzip", slow},
		{"gzip fast", "gzip, level 6", "-comp gzip -Xcompression-level 6", medium},
		{"lz4", "lz4 -Xhc", "-comp lz4 -Xhc", slow},
		{"lz4 fast", "lz4", "-comp lz4", quick},
		{"xz", "xz", "-comp xz", slow},
		{"none", "nothing compressed", "-noI -noId -noD -noF -noX", quick},
	} {
		p := comparison{
			job: "squashfs " + c.job, label: "mksquashfs, " + c.label, effort: c.effort,
			wall: 1.2, size: 1.03, memory: memory,
			peer: append([]string{"mksquashfs", "IN", "OUT", "-noappend", "-no-progress", "-quiet", "-all-root", "-all-time", "1"}, strings.Fields(c.args)...),
		}
		cases = append(cases, p)
	}
	for _, c := range []struct {
		job, args string
		effort    effort
	}{
		{"none", "", quick},
		{"lz4 4096", "-zlz4 -C4096", quick},
		{"lz4 65536", "-zlz4 -C65536", quick},
		{"lz4hc 4096", "-zlz4hc -C4096", slow},
		{"lz4hc 65536", "-zlz4hc -C65536", slow},
	} {
		peer := []string{"mkfs.erofs", "--quiet", "-T1", "--all-root"}
		if c.args != "" {
			peer = append(append(peer, "-Eztailpacking"), strings.Fields(c.args)...)
		}
		cases = append(cases, comparison{
			job: "erofs " + c.job, label: strings.TrimSpace("mkfs.erofs " + c.args), effort: c.effort, cpu: 1.5, memory: memory + entries,
			peer: append(peer, "OUT", "IN"),
		})
	}
	for i := range cases {
		cases[i].in = t.dir
	}
	for _, c := range []struct {
		job    string
		args   []string
		effort effort
		wall   float64
	}{
		{"none", nil, quick, 0},
		{"zlib", []string{"-c", "-o", "compression_type=zlib"}, medium, 0},
		{"zstd", []string{"-c", "-o", "compression_type=zstd"}, quick, 0.6},
	} {
		cases = append(cases, comparison{
			job: "qcow2 " + c.job, in: disk, label: strings.TrimSpace("qemu-img convert " + strings.Join(c.args, " ")),
			peer: append(append([]string{"qemu-img", "convert", "-f", "raw", "-O", "qcow2"}, c.args...), "IN", "OUT"),
			wall: c.wall, memory: memory, effort: c.effort,
		})
	}
	return slices.DeleteFunc(cases, func(c comparison) bool {
		return !slices.Contains(wanted, c.effort) || !b.only.MatchString(c.job+" "+c.label)
	}), nil
}

// A usage is what runs of a program took, and how large the last image is.
type usage struct {
	measure.Usage
	size int64
}

// A result is of both, ours first.
type result [2]usage

// compare runs both in turns.
func (b *bench) compare(c *comparison) (*result, error) {
	r := new(result)
	image := filepath.Join(b.dir, "image")
	for range b.runs {
		for i, args := range [][]string{{b.self, "-job", c.job, "IN", "OUT"}, c.peer} {
			args = slices.Clone(args)
			for k, a := range args {
				switch a {
				case "IN":
					args[k] = c.in
				case "OUT":
					args[k] = image
				}
			}
			if _, err := r[i].Run(exec.CommandContext(b.ctx, measure.Program(args[0]), args[1:]...)); err != nil {
				return nil, err
			}
			info, err := os.Stat(image)
			if err != nil {
				return nil, err
			}
			if r[i].size = info.Size(); c.sparse {
				r[i].size = info.Sys().(*syscall.Stat_t).Blocks * 512
			}
			if err := os.Remove(image); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}
