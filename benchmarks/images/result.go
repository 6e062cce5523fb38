package main

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"thaw/benchmarks/internal/measure"
)

const tableHead = `| ours | beside | wall s | × | CPU s | × | MB | × | peak MiB | goals |
|---|---|---|---|---|---|---|---|---|---|
`

// row is a row of the table: ours, theirs, and what the ratio is.
func (r *result) row(c *comparison, t *tree) string {
	ours, theirs := &r[0], &r[1]
	wall, cpu := measure.Median(ours.Wall)/measure.Median(theirs.Wall), measure.Median(ours.CPU)/measure.Median(theirs.CPU)
	size := float64(ours.size) / float64(theirs.size)
	memory := measure.Median(ours.Memory)
	var goals []string
	for _, g := range []measure.Goal{
		{Name: "CPU", Is: cpu, Most: c.cpu, Digits: 2},
		{Name: "wall", Is: wall, Most: c.wall, Digits: 2},
		{Name: "size", Is: size, Most: c.size, Digits: 3},
		{Name: "MiB", Is: memory, Most: c.memory},
	} {
		if g.Most != 0 {
			goals = append(goals, g.String())
		}
	}
	return fmt.Sprintf("| %s | %s | %.2f / %.2f | %.2f | %.2f / %.2f | %.2f | %.1f / %.1f | %.3f | %.0f / %.0f | %s |",
		c.job, c.label, measure.Median(ours.Wall), measure.Median(theirs.Wall), wall, measure.Median(ours.CPU), measure.Median(theirs.CPU), cpu,
		float64(ours.size)/1e6, float64(theirs.size)/1e6, size, memory, measure.Median(theirs.Memory), strings.Join(goals, ", "))
}

// entries measures the memory of a million entries.
func (b *bench) entries(text *strings.Builder) error {
	const few, many = 1000, 1_000_000
	text.WriteString(`
## A million entries

Half of the files have 100 bytes, half 5000; no image is kept. "Live" is what is in
memory when the last entry has come, "peak" what the process took more than for
1,000 entries, with what the collector of garbage leaves about.

| writer | live bytes an entry | peak bytes an entry | peak MiB | CPU s | goals |
|---|---|---|---|---|---|
`)
	for _, format := range []string{"ext4", "erofs", "squashfs"} {
		if !b.only.MatchString("entries " + format) {
			continue
		}
		var u [2]measure.Usage
		var live float64
		for range min(b.runs, 3) {
			for i, n := range []int{few, many} {
				out, err := u[i].Run(exec.CommandContext(b.ctx, b.self, "-job", fmt.Sprintf("entries %s %d", format, n)))
				if err != nil {
					return err
				}
				if live, err = strconv.ParseFloat(strings.TrimSpace(string(out)), 64); err != nil {
					return err
				}
			}
		}
		peak := measure.Median(u[1].Memory)
		goal := "none"
		if format != "squashfs" {
			most := 64 + 300*float64(many)/(1<<20)
			goal = fmt.Sprintf("MiB ≤ %.0f", most)
			if peak > most {
				goal = "**missed: " + goal + "**"
			}
		}
		fmt.Fprintf(text, "| %s | %.0f | %.0f | %.0f | %.2f | %s |\n", format, live/many,
			(peak-measure.Median(u[0].Memory))*(1<<20)/many, peak, measure.Median(u[1].CPU), goal)
	}
	return nil
}

// header says what is compared, and on which machine.
func header(text *strings.Builder, runs int) error {
	machine, err := measure.Machine()
	if err != nil {
		return err
	}
	versions := measure.Versions([2]string{"mkfs.ext4", "-V"}, [2]string{"mksquashfs", "-version"}, [2]string{"mkfs.erofs", "--version"}, [2]string{"qemu-img", "--version"})
	fmt.Fprintf(text, `# The writers of images beside other tools

Written by `+"`go run ./benchmarks/images`"+`, whose doc comment lists the options.
Measured on %s; %s.

Each program is a process of its own, run in turns with the other; runs of each: %d.
The numbers are medians, ours first, and × is ours by theirs. CPU is user and system
time. Peak memory is what the kernel says of the process, and never less than what
this program has, about 16 MiB. Ours walks the tree, as the others do, on one
goroutine, and compresses on all processors. Images are written to the same disk,
which nobody waits for. MB are 1,000,000 bytes; of ext4, they are those that are not in
holes, as mkfs.ext4 is told the size of the image: 5/4 of ours, which is as small as it
can be.

mksquashfs gets the same block size, 128 KiB. Our encoder of zstd makes about what
levels 13 to 15 of the C library make, so it is put beside the 15 that mksquashfs
itself takes, and beside 10, the nearest in time; the fast one stands for 6. Its levels
of gzip are the same numbers, 9 and 6. mkfs.erofs gets the same size of clusters and packs
the ends of files as ours does. qemu-img converts the disk that is our ext4 of the
tree. mkfs.erofs and mkfs.ext4 use one core, mksquashfs and qemu-img all.

Goals: ext4 CPU × 0.5; squashfs wall × 1.2 and size × 1.03; erofs CPU × 1.5;
qcow2 of zstd wall × 0.6; peak memory 64 MiB and two blocks for each processor, of
ext4 and erofs 300 bytes an entry more.
`, machine, versions, runs)
	return nil
}
