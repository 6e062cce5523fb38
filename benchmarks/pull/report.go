package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"thaw/benchmarks/internal/measure"
)

// judge puts the goals of a row to its peers.
func (r *row) judge() {
	for i := range r.Peers {
		p := &r.Peers[i]
		p.Goals = nil
		for _, g := range []measure.Goal{
			{Name: "wall", Is: ratio(r.Ours.Wall, p.Wall), Most: p.wall, Digits: 2},
			{Name: "CPU", Is: ratio(r.Ours.CPU, p.CPU), Most: p.cpu, Digits: 2},
			{Name: "MiB", Is: measure.Median(r.Ours.Memory), Most: float64(64 + 32*r.jobs)},
		} {
			if g.Most != 0 && (i == 0 || g.Name != "MiB") {
				p.Goals = append(p.Goals, g)
			}
		}
	}
}

// ratio is that of medians, zero if there is none.
func ratio(ours, theirs []float64) float64 {
	if len(theirs) == 0 {
		return 0
	}
	return measure.Median(ours) / measure.Median(theirs)
}

// beside shows two medians.
func beside(ours, theirs []float64, digits int) string {
	text := strconv.FormatFloat(measure.Median(ours), 'f', digits, 64)
	if len(theirs) > 0 {
		text += " / " + strconv.FormatFloat(measure.Median(theirs), 'f', digits, 64)
	}
	return text
}

func counts(ours, theirs int64) string {
	if ours == 0 && theirs == 0 {
		return "–"
	}
	if theirs == 0 {
		return fmt.Sprint(ours)
	}
	return fmt.Sprintf("%d / %d", ours, theirs)
}

// lines are those of the table.
func (r *row) lines() string {
	r.judge()
	var lines []string
	for _, p := range r.Peers {
		var goals []string
		for _, g := range p.Goals {
			goals = append(goals, g.String())
		}
		if r.Ours.Asked.Most > 1 {
			goals = append(goals, "**asked for something twice**")
		}
		cpu := "–"
		if len(p.CPU) > 0 {
			cpu = fmt.Sprintf("%.2f", ratio(r.Ours.CPU, p.CPU))
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %s | %.2f | %s | %s | %s | %s | %s | %s | %s |",
			r.Name, p.Label, beside(r.Ours.Wall, p.Wall, 2), ratio(r.Ours.Wall, p.Wall), beside(r.Ours.CPU, p.CPU, 2), cpu,
			beside(r.Ours.Memory, p.Memory, 0), beside(r.Ours.Written, p.Written, 0),
			counts(r.Ours.Syscalls, p.Syscalls), counts(int64(r.Ours.Asked.Requests), int64(p.Asked.Requests)), strings.Join(goals, ", ")))
	}
	return strings.Join(lines, "\n")
}

// report writes the table, and all figures beside it unless it goes to standard output.
func report(rows []*row, runs int, before, out string) error {
	machine, err := measure.Machine()
	if err != nil {
		return err
	}
	versions := measure.Versions([2]string{"nix", "--version"}, [2]string{"mkfs.ext4", "-V"}, [2]string{"mksquashfs", "-version"},
		[2]string{"xz", "--version"}, [2]string{"strace", "--version"})
	commit, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	thaw := strings.TrimSpace(string(commit))
	after := measure.Load()
	goals, missed := 0, 0
	var table strings.Builder
	for _, r := range rows {
		fmt.Fprintln(&table, r.lines())
		for _, p := range r.Peers {
			for _, g := range p.Goals {
				goals++
				if !g.Met() {
					missed++
				}
			}
		}
	}
	text := fmt.Sprintf(`# From a binary cache to files and images

Written by `+"`go run ./benchmarks/pull`"+`, whose doc comment lists the options. The scripts
that it runs, and the figures of each run, are in results.json. Thaw is commit %s.
Measured on %s; %s.
Runs of each: %d. Load of the machine, averages of a minute: %s before, %s after.

%d of %d goals are met.

| ours | beside | wall s | × | CPU s | × | peak MiB | MB written | system calls | requests | goals |
|---|---|---|---|---|---|---|---|---|---|---|
%s
The numbers are medians, ours first, and × is ours by theirs. The system that is unpacked
or made a disk has 55 paths, 54 MB of xz and 233 MB of NARs; its zstd and none are written
by nix copy. All comes by HTTP from the same machine; the server's time is not counted, but it
shares the cores. Each run begins with nothing cached, but for "warm", where all NARs are, and
their hashes are checked. Both sides check signatures. All runs gave the same bytes, and
what is unpacked is what Nix unpacks; otherwise the program would have failed.

CPU is user and system time of all processes of a side. Peak memory is that of its largest
process, never less than this program's, about 18 MiB, and meant to be at most 64 MiB and
32 for each of %d decoders. Written is what was
changed of files; the kernel writes it to disk later, and that nobody waits for: it
happens before the next run. System calls are those of one more run, under strace, which
makes threads wait more often. Latency alone is levels × latency and requests ÷ 64
connections × latency.
`, thaw, machine, versions, runs, before, after, goals-missed, goals, &table, runtime.GOMAXPROCS(0))
	if err := measure.WriteReport(out, text); err != nil || out == "-" {
		return err
	}
	data, err := json.MarshalIndent(struct {
		Thaw     string    `json:"thaw"`
		Machine  string    `json:"machine"`
		Versions string    `json:"versions"`
		Runs     int       `json:"runs"`
		Load     [2]string `json:"load"`
		Rows     []*row    `json:"rows"`
	}{thaw, machine, versions, runs, [2]string{before, after}, rows}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(filepath.Dir(out), "results.json"), append(data, '\n'), 0o666)
}
